//! The blobs on this machine, the list of installed packages, and their files under their own names.
//!
//! ```text
//! blobs/<sha256>                          verified bytes, read-only, one plain file each
//! blobs/<sha256>.damaged                  bytes that were found damaged, out of use, kept for `repair`
//! pieces/<sha256>                         piece lists, named by their own digest
//! packages/<name>/<version>+<variant>/…   hard links (or copies) that other programs can open
//! installed/<name>.json                   the record, written last: the last write is the commit
//! fetched/<name>@<version>….json          the same for a build that is only kept, to be carried on
//! previous/<name>@<version>….json         the record of the version before, for a way back
//! ```

mod blobs;
mod cuts;
mod error;
mod fetched;
mod garbage;
mod hashing;
mod installed;
mod names;
mod previous;
#[cfg(test)]
mod samples;
mod unreadable;
mod verify;

pub use cuts::CutBlob;
pub use error::{RecordKind, Result, StoreError};
pub use garbage::{Unneeded, UnneededKind, is_left_over};
pub use hashing::{Grid, HashedFile, Watch, hash_files, hash_whole};
pub use installed::{Installed, Origin};
pub use verify::{BlobHealth, DamagedPiece, Verdict};

use std::path::PathBuf;

/// Where the store's parts lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Verified blobs.
    pub blobs: PathBuf,
    /// Piece lists.
    pub pieces: PathBuf,
    /// Installed packages' files under their own names.
    pub packages: PathBuf,
    /// Installed records.
    pub installed: PathBuf,
    /// Records of packages that are kept, not installed.
    pub fetched: PathBuf,
    /// Records of the versions that installed packages had before.
    pub previous: PathBuf,
}

/// The store of one home. Opening it touches nothing; folders are made when something is kept.
#[derive(Debug, Clone)]
pub struct Store {
    folders: Folders,
}

impl Store {
    /// Opens the store that lies in these folders.
    pub fn open(folders: Folders) -> Self {
        Self { folders }
    }
}
