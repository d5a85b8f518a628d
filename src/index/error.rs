//! Index errors name the collection and say how to rebuild.

use std::path::PathBuf;

use crate::disk::DiskError;
use crate::error::{ErrorKind, Explain};

use super::collection::ROOTS_FILE;

/// What can go wrong with a collection's files.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// There is no such collection.
    #[error("there is no collection `{name}`")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// Its first indexing was cut off: nothing of it can be searched yet.
    #[error("the collection `{name}` is not finished: its indexing was cut off")]
    Unfinished {
        /// Its name.
        name: String,
    },
    /// A file of the index is not what the head says, or not what its format says.
    #[error("the index of `{collection}` is damaged: `{file}`: {reason}")]
    Damaged {
        /// The collection.
        collection: String,
        /// The file within its folder.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer localml wrote it.
    #[error("the index of `{collection}` has format {found}, this localml knows up to {known}")]
    Newer {
        /// The collection.
        collection: String,
        /// The format found.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The vectors offered have another length than those of the collection.
    #[error("a vector has {found} dimensions, the collection's have {expected}")]
    Dimensions {
        /// What was offered.
        found: usize,
        /// What the collection has.
        expected: usize,
    },
    /// The word index failed.
    #[error("the word index failed: {0}")]
    Words(#[from] tantivy::TantivyError),
    /// The neighbour graph failed.
    #[error("the vector graph failed: {0}")]
    Graph(String),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Reading a file of the index failed.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The result of index work.
pub(crate) type Result<T> = std::result::Result<T, IndexError>;

impl Explain for IndexError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Damaged { .. } => ErrorKind::Damaged,
            Self::Disk(error) => error.kind(),
            Self::Unfinished { .. }
            | Self::Newer { .. }
            | Self::Dimensions { .. }
            | Self::Words(_)
            | Self::Graph(_)
            | Self::Io { .. } => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("see `localml index list`".into()),
            Self::Unfinished { name } => Some(format!("`localml index refresh {name}` goes on with it")),
            // Nothing else says which folders the collection was made of.
            Self::Damaged { collection, file, .. } if file == ROOTS_FILE => Some(format!(
                "run `localml index remove {collection}`, then `localml index add` with its folders again"
            )),
            Self::Damaged { collection, .. } => {
                Some(format!("run `localml index refresh {collection}`; it rebuilds what is damaged"))
            }
            Self::Newer { .. } => Some("use the localml that wrote it, or a newer one".into()),
            Self::Dimensions { .. } => Some("the vectors come from another embedder".into()),
            Self::Disk(error) => error.hint(),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("check who owns it, or use another `--home`".into())
            }
            Self::Words(_) | Self::Graph(_) | Self::Io { .. } => None,
        }
    }
}
