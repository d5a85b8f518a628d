//! Why a file is not a usable model: what was found, where, and what was expected.

use std::io;

use crate::error::{ErrorKind, Explain};

use super::sniff::FileKind;

/// A file is not a whole, well-formed model.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// Reading failed.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is {0}")]
    Foreign(FileKind),
    /// GGUF version 1, which llama.cpp gave up in 2023.
    #[error("it is GGUF version 1, which is no longer supported")]
    VersionOne,
    /// The numbers are stored the other way round.
    #[error("it is a big-endian GGUF, made for another kind of processor")]
    BigEndian,
    /// A version that this localml does not know.
    #[error("it is GGUF version {version}; versions 2 and 3 are known")]
    UnknownVersion {
        /// The version that the file names.
        version: u32,
    },
    /// Something reaches past the end of the file.
    #[error("{what} needs {needed_bytes} bytes at byte {at}, but the file ends after {file_bytes}")]
    CutShort {
        /// What was being read.
        what: String,
        /// How many bytes it needs.
        needed_bytes: u64,
        /// Where it begins.
        at: u64,
        /// How long the file is.
        file_bytes: u64,
    },
    /// Bytes above 127 were replaced by U+FFFD: it went through a program that took it for text.
    #[error("its bytes were mangled: a program copied it as if it were text")]
    CopiedAsText,
    /// A count that no real model has.
    #[error("it claims {count} {what}; at most {limit} are accepted")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many the file claims.
        count: u64,
        /// The bound.
        limit: u64,
    },
    /// A metadata entry is not well-formed.
    #[error("metadata `{key}`: {reason}")]
    Metadata {
        /// The entry's key.
        key: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A tensor is not well-formed.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A tensor's numbers are stored in a type that is not known.
    #[error("tensor `{name}` has the unknown type {type_id}")]
    UnknownTensorType {
        /// The tensor's name.
        name: String,
        /// The type's number.
        type_id: u32,
    },
    /// Two tensors share bytes.
    #[error("tensors `{first}` and `{second}` overlap")]
    Overlap {
        /// The one that begins first.
        first: String,
        /// The one that begins inside it.
        second: String,
    },
    /// An ONNX file whose protobuf fields make no sense.
    #[error("it is not a well-formed ONNX file: {reason}")]
    Onnx {
        /// What is wrong.
        reason: &'static str,
    },
}

/// The result of reading a model file.
pub type Result<T> = std::result::Result<T, GgufError>;

impl Explain for GgufError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(_) => ErrorKind::Failed,
            _ => ErrorKind::Damaged,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io(_) => return None,
            Self::Foreign(kind) => return kind.hint().map(str::to_owned),
            Self::VersionOne | Self::BigEndian => "look for a newer conversion of the same model",
            Self::UnknownVersion { .. } => "a newer localml may know it",
            Self::CutShort { .. } => "the download or copy stopped early; fetch the file again",
            Self::CopiedAsText => "fetch it again, with a program that copies bytes unchanged",
            _ => "the file is damaged; fetch it again",
        };
        Some(hint.to_owned())
    }
}
