//! What can go wrong between a text and its vector.

use std::io;
use std::path::PathBuf;

use crate::error::{ErrorKind, Explain};

/// The result of opening or using an embedder.
pub type Result<T> = std::result::Result<T, EmbeddingError>;

/// Why there is no vector.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingError {
    /// ONNX Runtime is in none of the places where it may be.
    #[error("the ONNX Runtime library was not found in {}", listed(looked_in))]
    RuntimeMissing {
        /// The files and folders that were looked at.
        looked_in: Vec<PathBuf>,
    },
    /// A file is there, but it cannot be loaded as ONNX Runtime.
    #[error("`{}` cannot be used as the ONNX Runtime library: {reason}", path.display())]
    RuntimeUnusable {
        /// The file.
        path: PathBuf,
        /// What the system's loader, or the library, said.
        reason: String,
    },
    /// A file of the model is not there or cannot be read.
    #[error("`{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The model's files are not what they should be.
    #[error("`{}` is not a model that ONNX Runtime can load: {reason}", path.display())]
    NotAModel {
        /// The model's file.
        path: PathBuf,
        /// What is wrong, in ONNX Runtime's or the tokenizer's words.
        reason: String,
    },
    /// The model makes longer or shorter vectors than its package says.
    #[error("the model makes vectors of {found} numbers, its package promises {promised}")]
    Dimensions {
        /// What the package says.
        promised: usize,
        /// What the model made.
        found: usize,
    },
    /// The model made infinities or not-a-numbers.
    #[error("the model made numbers that are not finite")]
    NotFinite,
    /// ONNX Runtime has no such pooling.
    #[error("an ONNX embedder cannot take the last token's vector (`pooling = \"last\"`)")]
    LastToken,
    /// The model failed on a text.
    #[error("the embedder failed: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
    /// The engine failed on a GGUF embedder.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}

impl Explain for EmbeddingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::RuntimeMissing { .. } => ErrorKind::NotFound,
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::NotAModel { .. } | Self::Dimensions { .. } | Self::NotFinite => ErrorKind::Damaged,
            Self::RuntimeUnusable { .. }
            | Self::Unreadable { .. }
            | Self::LastToken
            | Self::Failed { .. } => ErrorKind::Failed,
            #[cfg(feature = "engine")]
            Self::Engine(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::RuntimeMissing { .. } => {
                "`scripts/fetch-starter` fetches it; put its `lib` folder beside the `localml` executable"
            }
            Self::RuntimeUnusable { .. } => {
                "it must be ONNX Runtime 1.24 or later for this PC; `scripts/fetch-starter` fetches one that fits"
            }
            Self::Unreadable { .. } | Self::NotAModel { .. } => {
                "`localml verify` tells whether the package's files are damaged"
            }
            Self::Dimensions { .. } | Self::NotFinite | Self::LastToken => {
                "tell the package's publisher, and install another embedder: `localml search embedder`"
            }
            Self::Failed { .. } => return None,
            #[cfg(feature = "engine")]
            Self::Engine(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}

fn listed(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "any place (none was named)".to_owned();
    }
    let quoted: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    quoted.join(", ")
}
