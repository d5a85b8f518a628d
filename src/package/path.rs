//! A file's path inside its package: relative and plain, whatever a manifest says.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path, in bytes, and the deepest, in folders.
const MAX_PATH_BYTES: usize = 200;
const MAX_DEPTH: usize = 8;

/// Names that Windows keeps for devices, whatever follows the dot.
const DEVICE_NAMES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
    "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// A relative path with `/` between folders, safe on every file system that sticks use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelativePath(String);

/// A text is not a usable path inside a package.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` cannot be a path inside a package: {reason}")]
pub struct InvalidPath {
    text: String,
    reason: &'static str,
}

impl RelativePath {
    /// The path as text, with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path for this system, still relative.
    pub fn to_path(&self) -> PathBuf {
        self.0.split('/').collect()
    }
}

impl FromStr for RelativePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let fail =
            |reason| InvalidPath { text: text.escape_default().take(MAX_PATH_BYTES).collect(), reason };
        if text.is_empty() || text.len() > MAX_PATH_BYTES {
            return Err(fail("it is empty or longer than 200 bytes"));
        }
        if text.split('/').count() > MAX_DEPTH {
            return Err(fail("it is deeper than 8 folders"));
        }
        match text.split('/').find_map(fault) {
            Some(reason) => Err(fail(reason)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

fn fault(part: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ' | '+');
    let stem = part.split('.').next().unwrap_or_default().to_ascii_lowercase();
    if part.is_empty() || part == "." || part == ".." {
        Some("`.`, `..` and empty parts are not allowed")
    } else if !part.chars().all(plain) {
        Some("only letters, digits, spaces and `. - _ +` are allowed")
    } else if part.starts_with([' ', '.']) || part.ends_with([' ', '.']) {
        Some("a part may not begin or end with a dot or a space")
    } else if DEVICE_NAMES.contains(&stem.as_str()) {
        Some("it is a device name on Windows")
    } else {
        None
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl serde::Serialize for RelativePath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for RelativePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_plain_relative_paths() {
        for path in ["model.gguf", "docs/01 buying.md", "onnx/model_quantized.onnx"] {
            assert!(path.parse::<RelativePath>().is_ok(), "{path}");
        }
    }

    #[test]
    fn refuses_every_way_out() {
        for path in
            ["/etc/passwd", "../x", "a/../b", "a//b", "C:x", "a\\b", "nul.txt", ".ssh/x", "x.", "a\0b"]
        {
            assert!(path.parse::<RelativePath>().is_err(), "{path}");
        }
    }
}
