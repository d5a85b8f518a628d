//! Fingerprints as people say them: the sha256 of the first root, in groups of four.

use crate::digest::Sha256;

use super::error::{RegistryError, Result, grouped};

/// Reads a fingerprint, however it was grouped: spaces, colons, dashes and capitals do not matter.
///
/// # Errors
/// When it is not 64 hexadecimal digits.
pub fn parse_fingerprint(text: &str) -> Result<Sha256> {
    let is_filler = |c: char| c.is_whitespace() || c == ':' || c == '-';
    let digits: String = text.chars().filter(|&c| !is_filler(c)).collect();
    digits
        .to_lowercase()
        .parse()
        .map_err(|_| RegistryError::NotAFingerprint { text: text.chars().take(100).collect() })
}

/// Writes a fingerprint to be read over the telephone: two lines of eight groups of four.
pub fn show_fingerprint(fingerprint: &Sha256) -> String {
    grouped(&fingerprint.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed_back() {
        let digest = Sha256::of(b"abc");
        assert_eq!(
            show_fingerprint(&digest),
            "  ba78 16bf 8f01 cfea 4141 40de 5dae 2223\n  b003 61a3 9617 7a9c b410 ff61 f200 15ad"
        );
        assert_eq!(parse_fingerprint(&show_fingerprint(&digest)).expect("the same"), digest);
        assert!(parse_fingerprint("ba78").is_err());
    }
}
