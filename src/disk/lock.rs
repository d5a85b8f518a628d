//! One writer at a time: an advisory lock on a file, released when dropped or when the process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::create_dir_all;
use super::error::{DiskError, On as _, Result};

/// Holds a lock file until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock at once.
    ///
    /// # Errors
    /// `Locked` when another process holds it; otherwise when the file cannot be made.
    pub fn acquire(path: &Path) -> Result<Self> {
        if let Some(parent) = path.parent() {
            create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).on(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DiskError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(error).on(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("lock");
        let first = Lock::acquire(&path).expect("free");
        assert!(matches!(Lock::acquire(&path), Err(DiskError::Locked { .. })));
        drop(first);
        Lock::acquire(&path).expect("free again");
    }
}
