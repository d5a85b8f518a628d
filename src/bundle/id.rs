//! Short names of 8 upper-case hexadecimal digits, safe in a file name on any stick.

use std::fmt;
use std::str::FromStr;

/// The text is not 8 upper-case hexadecimal digits.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an id (8 upper-case hexadecimal digits)")]
pub struct InvalidId(String);

/// A bundle's name on a stick, taken from what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleId(String);

/// A site's name, drawn once by its localml.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(String);

impl BundleId {
    /// Takes the first 32 bits of a digest.
    pub(super) fn of(digest: &crate::digest::Sha256) -> Self {
        Self(hex::encode_upper(&digest.as_bytes()[..4]))
    }
}

impl SiteId {
    /// The id of these 4 bytes, best random ones.
    pub fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(hex::encode_upper(bytes))
    }
}

/// Text form, parsing and serde of an id: all alike.
macro_rules! text_form {
    ($id:ident) => {
        impl $id {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $id {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let is_id =
                    text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
                if is_id { Ok(Self(text.to_owned())) } else { Err(InvalidId(text.chars().take(40).collect())) }
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl serde::Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_form!(BundleId);
text_form!(SiteId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_eight_upper_case_digits_are_an_id() {
        assert!("0A1B2C3D".parse::<BundleId>().is_ok());
        for text in ["", "0a1b2c3d", "0A1B2C3", "0A1B2C3D0", "../../..", "0A1B2C3G"] {
            assert!(text.parse::<SiteId>().is_err(), "{text}");
        }
        assert_eq!(SiteId::from_bytes([0x0A, 0x1B, 0x2C, 0x3D]).as_str(), "0A1B2C3D");
    }
}
