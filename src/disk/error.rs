//! Disk errors name the path, and tell a full or read-only disk from other failures.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{ErrorKind, Explain};

/// What can go wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Reading, writing, renaming or syncing failed.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another localml holds the lock.
    #[error("another localml is at work in `{}`", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
}

/// The result of touching the disk.
pub type Result<T> = std::result::Result<T, DiskError>;

impl Explain for DiskError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoRoom,
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Failed,
            },
            Self::Locked { .. } => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Locked { .. } => Some("wait for it to end, or use another `--home`".into()),
            Self::Io { source, path } => match source.kind() {
                io::ErrorKind::StorageFull => Some(format!(
                    "free some space where `{}` lies; what is verified so far is kept",
                    path.display()
                )),
                io::ErrorKind::ReadOnlyFilesystem => {
                    Some(
                        "the disk is read-only; mount it writable or use another `--home`; a stick that became \
                         so by itself wants a repair first (`fsck`, or the error check of Windows)"
                            .into(),
                    )
                }
                _ if source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Some(
                    "the disk fails, or was pulled out while it was written; plug it in again, and if that does not \
                     help, let the system repair it (`fsck`, or the error check of Windows), then run this again"
                        .into(),
                ),
                io::ErrorKind::PermissionDenied => Some("check who owns it, or use another `--home`".into()),
                _ => None,
            },
        }
    }
}

impl DiskError {
    /// The same error once more, for another who has to know.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Io { path, source } => {
                let source = match source.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(source.kind(), source.to_string()),
                };
                Self::Io { path: path.clone(), source }
            }
            Self::Locked { path } => Self::Locked { path: path.clone() },
        }
    }
}

/// Adds the path to a system error.
pub(crate) trait On<T> {
    /// Names the file or folder that the operation was about.
    fn on(self, path: &Path) -> Result<T>;
}

impl<T> On<T> for io::Result<T> {
    fn on(self, path: &Path) -> Result<T> {
        self.map_err(|source| DiskError::Io { path: path.to_owned(), source })
    }
}
