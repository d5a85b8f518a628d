//! What lies where on a stick, and which names may stand there.
//!
//! ```text
//! LOCALML/  README.TXT              plain words for whoever finds the stick
//!           STICK.A  STICK.B        the commit record, twice
//!           TRUST/<id>.TAR          root chains and signed metadata, as plain tar
//!           B/<id>/BUNDLE.JSON      what the bundle holds
//!           B/<id>/V0001.TAR …      volumes (P0001.TAR … is kept for parity)
//!           REQ/  RCP/  BIN/        kept for requests, receipts and localml itself
//! ```

use std::fmt;
use std::str::FromStr;

/// The one folder that localml touches on a stick.
pub(super) const ROOT: &str = "LOCALML";
pub(super) const README: &str = "README.TXT";
pub(super) const SLOTS: [&str; 2] = ["STICK.A", "STICK.B"];
pub(super) const TRUST: &str = "TRUST";
pub(super) const BUNDLES: &str = "B";
pub(super) const DESCRIPTION: &str = "BUNDLE.JSON";

/// The most bytes a file can have on FAT32, and so the most that a volume may have.
pub const MAX_VOLUME_BYTES: u64 = 4 * 1024 * 1024 * 1024 - 1;

/// How large a volume gets when nobody says otherwise: 1 GiB.
pub const DEFAULT_VOLUME_BYTES: u64 = 1024 * 1024 * 1024;

/// The most volumes that `V0001.TAR` can number.
pub(super) const MAX_VOLUMES: usize = 9999;

/// The longest name of a file or folder on a stick, in characters.
const MAX_NAME_CHARS: usize = 40;

/// A bundle's name on a stick: 8 upper-case hexadecimal digits, taken from what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleId(String);

/// The text is not a bundle id.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a bundle id (8 upper-case hexadecimal digits)")]
pub struct InvalidBundleId(String);

impl BundleId {
    /// Takes the first 32 bits of a digest.
    pub(super) fn of(digest: &crate::digest::Sha256) -> Self {
        Self(hex::encode_upper(&digest.as_bytes()[..4]))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of one of the bundle's files, relative to `LOCALML`.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{BUNDLES}/{self}/{name}")
    }
}

impl FromStr for BundleId {
    type Err = InvalidBundleId;

    fn from_str(text: &str) -> Result<Self, InvalidBundleId> {
        let is_id = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        if is_id { Ok(Self(text.to_owned())) } else { Err(InvalidBundleId(text.chars().take(40).collect())) }
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl serde::Serialize for BundleId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for BundleId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The name of a volume, counted from 1.
pub(super) fn volume_name(number: usize) -> String {
    format!("V{number:04}.TAR")
}

/// True for `V0001.TAR` to `V9999.TAR` (and `P0001.TAR` …, kept for parity).
pub(super) fn is_volume_name(name: &str) -> bool {
    let digits = name.strip_prefix(['V', 'P']).and_then(|rest| rest.strip_suffix(".TAR"));
    digits.is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// True when every part of a path relative to `LOCALML` is a name that any stick can hold.
pub(super) fn is_safe_path(path: &str) -> bool {
    path.split('/').count() <= 4 && path.split('/').all(is_safe_name)
}

fn is_safe_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    !name.is_empty()
        && name.len() <= MAX_NAME_CHARS
        && !name.starts_with('.')
        && !name.ends_with('.')
        && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_upper_case_paths_are_safe() {
        assert!(is_safe_path("B/0A1B2C3D/V0001.TAR"));
        for path in ["", "/X", "B/../X", "b/x", "B//X", "B\\X", "A/B/C/D/E", "X.", ".X", "ä"] {
            assert!(!is_safe_path(path), "{path}");
        }
    }

    #[test]
    fn volumes_have_four_digits() {
        assert!(is_volume_name(&volume_name(1)) && is_volume_name("P0001.TAR"));
        for name in ["V1.TAR", "V00001.TAR", "V000A.TAR", "X0001.TAR", "V0001.TAR.ZST"] {
            assert!(!is_volume_name(name), "{name}");
        }
    }
}
