//! Fingerprints as people say them: the beginning of a sha256, in groups of four.
//!
//! A person compares 24 hexadecimal digits, 96 bits. What must be impossible is a second preimage: a forger
//! has to make a root (or a courier's key) whose sha256 begins with the 96 bits that the publisher read
//! out, which takes about 2^96 tries, and still 2^76 where any of a million publishers would do. That two
//! files with one beginning can be found in 2^48 tries helps no forger: only the publisher could offer both,
//! and the publisher can sign anything anyway. What is accepted is recorded with all its 256 bits.

use std::fmt;

use crate::digest::Sha256;

use super::error::{RegistryError, Result, grouped, in_short_and_full};

/// The fewest digits that are compared, and as many as are shown: 96 bits.
const SHORT_DIGITS: usize = 24;

/// What a person was told of a sha256: its first 24 hexadecimal digits, or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    digits: String,
}

impl Fingerprint {
    /// True when the digest begins with what was told.
    pub fn matches(&self, digest: &Sha256) -> bool {
        digest.to_string().starts_with(&self.digits)
    }
}

impl From<Sha256> for Fingerprint {
    fn from(digest: Sha256) -> Self {
        Self { digits: digest.to_string() }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&grouped(&self.digits))
    }
}

/// Reads a fingerprint, however it was grouped: spaces, colons, dashes and capitals do not matter.
///
/// # Errors
/// When it is not 24 to 64 hexadecimal digits.
pub fn parse_fingerprint(text: &str) -> Result<Fingerprint> {
    let is_filler = |c: char| c.is_whitespace() || c == ':' || c == '-';
    let digits: String = text.chars().filter(|&c| !is_filler(c)).collect::<String>().to_lowercase();
    let is_long_enough = (SHORT_DIGITS..=64).contains(&digits.len());
    if is_long_enough && digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(Fingerprint { digits });
    }
    Err(RegistryError::NotAFingerprint { text: text.chars().take(100).collect() })
}

/// Writes a fingerprint to be read over the telephone: six groups of four.
pub fn show_fingerprint(fingerprint: &Sha256) -> String {
    grouped(&fingerprint.to_string()[..SHORT_DIGITS])
}

/// The same, and below it all 64 digits for programs.
pub fn show_full_fingerprint(fingerprint: &Sha256) -> String {
    in_short_and_full(&fingerprint.to_string())
}

/// The same digits as one word, to be typed or copied.
pub fn short_fingerprint(fingerprint: &Sha256) -> String {
    fingerprint.to_string()[..SHORT_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed_back() {
        let digest = Sha256::of(b"abc");
        assert_eq!(show_fingerprint(&digest), "  ba78 16bf 8f01 cfea 4141 40de");
        let full = "ba7816bf-8f01cfea-414140de-5dae2223 b00361a396177a9cb410ff61f20015AD";
        for told in
            [&show_fingerprint(&digest), &short_fingerprint(&digest), full, "BA:78 16bf8f01cfea414140de5d"]
        {
            let told = parse_fingerprint(told).expect("enough");
            assert!(told.matches(&digest) && !told.matches(&Sha256::of(b"abd")), "{told}");
        }
    }

    #[test]
    fn less_than_96_bits_or_other_digits_are_no_fingerprint() {
        for text in ["", "ba78", "ba7816bf8f01cfea414140d", "ba7816bf8f01cfea414140dg", &"ab".repeat(33)] {
            assert!(parse_fingerprint(text).is_err(), "{text}");
        }
        // One digit off in what was told is another registry.
        let told = parse_fingerprint("ba7816bf8f01cfea414140df").expect("enough");
        assert!(!told.matches(&Sha256::of(b"abc")));
    }
}
