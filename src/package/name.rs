//! Names of packages and variants: plain characters that are safe as file names everywhere.

use std::fmt;
use std::str::FromStr;

/// The longest name, in characters.
const MAX_NAME_CHARS: usize = 64;

/// A text is not a usable name.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a name: {reason}")]
pub struct InvalidName {
    text: String,
    reason: &'static str,
}

/// A package's name: lower-case letters, digits, `.`, `-` and `_`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// A variant's id, with the same characters as a name, for example `q4_k_m`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantId(String);

impl VariantId {
    /// What stands for a build in the record of a kit, which has none.
    pub fn of_kit() -> Self {
        Self("kit".to_owned())
    }
}

fn check(text: &str) -> Result<String, InvalidName> {
    let fail = |reason| InvalidName { text: text.chars().take(MAX_NAME_CHARS + 1).collect(), reason };
    if text.is_empty() {
        return Err(fail("it is empty"));
    }
    if text.len() > MAX_NAME_CHARS {
        return Err(fail("it is longer than 64 characters"));
    }
    if !text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit()) {
        return Err(fail("it must begin with a lower-case letter or a digit"));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if !text.chars().all(plain) {
        return Err(fail("only lower-case letters, digits, `.`, `-` and `_` may stand in it"));
    }
    if text.ends_with('.') || text.contains("..") {
        return Err(fail("dots must stand alone and not at the end"));
    }
    Ok(text.to_owned())
}

macro_rules! plain_name {
    ($type:ident) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check(text).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

plain_name!(Name);
plain_name!(VariantId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_names_of_real_models() {
        for name in ["qwen2.5-0.5b-instruct", "all-minilm-l6-v2", "q4_k_m"] {
            assert!(name.parse::<Name>().is_ok(), "{name}");
        }
    }

    #[test]
    fn refuses_what_could_leave_its_folder_or_confuse_a_file_system() {
        for name in ["", "..", "a/b", "a\\b", "Upper", ".hidden", "a..b", "dot.", "ä", &"x".repeat(65)] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
    }
}
