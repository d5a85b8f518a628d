//! How a person names a package: `registry/name@version:variant`, all but the name optional.

use std::fmt;
use std::str::FromStr;

use semver::Version;

use super::name::{InvalidName, Name, VariantId};

/// What a person typed to mean a package.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackageRef {
    /// The registry, when two hold the name.
    pub registry: Option<Name>,
    /// The package.
    pub name: Name,
    /// The exact version; the newest when absent.
    pub version: Option<Version>,
    /// The variant; the best that fits this machine when absent.
    pub variant: Option<VariantId>,
}

/// A text does not name a package.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum InvalidReference {
    /// One of its names is not a name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// What follows `@` is not a version.
    #[error("`{text}` is not a version like 1.0.0")]
    Version {
        /// What was typed.
        text: String,
    },
}

impl FromStr for PackageRef {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let (registry, rest) = match text.split_once('/') {
            Some((registry, rest)) => (Some(registry.parse()?), rest),
            None => (None, text),
        };
        let (rest, variant) = match rest.split_once(':') {
            Some((rest, variant)) => (rest, Some(variant.parse()?)),
            None => (rest, None),
        };
        let (name, version) = match rest.split_once('@') {
            Some((name, version)) => (name, Some(parse_version(version)?)),
            None => (rest, None),
        };
        Ok(Self { registry, name: name.parse()?, version, variant })
    }
}

fn parse_version(text: &str) -> Result<Version, InvalidReference> {
    Version::parse(text).map_err(|_| InvalidReference::Version { text: text.to_owned() })
}

impl fmt::Display for PackageRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(formatter, "{registry}/")?;
        }
        write!(formatter, "{}", self.name)?;
        if let Some(version) = &self.version {
            write!(formatter, "@{version}")?;
        }
        if let Some(variant) = &self.variant {
            write!(formatter, ":{variant}")?;
        }
        Ok(())
    }
}

impl serde::Serialize for PackageRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PackageRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_and_written_back() {
        let text = "clinic/qwen2.5-0.5b-instruct@1.2.3:q4_k_m";
        let reference: PackageRef = text.parse().expect("complete");
        assert_eq!(reference.registry.as_ref().map(Name::as_str), Some("clinic"));
        assert_eq!(reference.version, Some(Version::new(1, 2, 3)));
        assert_eq!(reference.to_string(), text);
    }

    #[test]
    fn the_name_alone_is_enough() {
        let reference: PackageRef = "qwen".parse().expect("plain");
        assert_eq!((reference.registry, reference.version, reference.variant), (None, None, None));
    }
}
