//! The files of one blob in the staging folder, and the lock that one process holds on them.

use std::path::{Path, PathBuf};

use super::error::{Result, TransferError};
use crate::digest::Sha256;
use crate::disk::{DiskError, Lock, remove_file};

/// Where the files of one blob lie.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) part: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) suspect: PathBuf,
}

impl Paths {
    pub(super) fn new(folder: &Path, digest: Sha256) -> Self {
        let path = |ending: &str| folder.join(format!("{digest}.{ending}"));
        Self { part: path("part"), journal: path("journal"), lock: path("lock"), suspect: path("suspect") }
    }
}

/// Keeps other processes away from a blob's files until dropped, then tidies up what is of no more use.
#[derive(Debug)]
pub(super) struct Keeper {
    paths: Paths,
    lock: Option<Lock>,
}

impl Keeper {
    /// Takes the lock.
    pub(super) fn take(paths: &Paths, name: &str) -> Result<Self> {
        match Lock::acquire(&paths.lock) {
            Ok(lock) => Ok(Self { paths: paths.clone(), lock: Some(lock) }),
            Err(DiskError::Locked { .. }) => Err(TransferError::InUse { name: name.into() }),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // A part file that went into the store needs its journal no more. What cannot be removed is harmless.
        if !self.paths.part.exists() {
            let _ = remove_file(&self.paths.journal);
        }
        if let Some(lock) = self.lock.take() {
            let _ = lock.remove();
        }
    }
}
