//! Why a file could not be read; each becomes a line of `index status`.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{ErrorKind, Explain};

/// What can go wrong with one file.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The file could not be opened or read.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than a document can be.
    #[error("it has {size_bytes} bytes, more than {limit_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: u64,
        /// The most that is read.
        limit_bytes: u64,
    },
    /// The bytes are no text: a program, a picture, an archive.
    #[error("it is not text (a zero or control byte at {at_byte})")]
    Binary {
        /// Where the first such byte stands.
        at_byte: usize,
    },
    /// The format is known, but nothing here reads it yet.
    #[error("`.{extension}` files cannot be read yet")]
    Unsupported {
        /// The file's extension.
        extension: String,
    },
    /// The format's reader gave up.
    #[error("it is not readable as {format}: {reason}")]
    Malformed {
        /// What it was taken for.
        format: &'static str,
        /// What the reader said.
        reason: String,
    },
    /// The format's reader did not come back.
    #[error("reading it as {format} took longer than {} s", limit.as_secs())]
    TimedOut {
        /// What it was taken for.
        format: &'static str,
        /// How long it was given.
        limit: Duration,
    },
}

impl Explain for DocumentError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Io { .. } | Self::TimedOut { .. } => ErrorKind::Failed,
            Self::TooLarge { .. } => ErrorKind::NoRoom,
            Self::Unsupported { .. } => ErrorKind::Failed,
            Self::Binary { .. } | Self::Malformed { .. } => ErrorKind::Damaged,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported { .. } => Some("save it as PDF, HTML or text".into()),
            Self::TooLarge { .. } => Some("split the file into parts".into()),
            _ => None,
        }
    }
}
