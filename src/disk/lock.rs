//! One writer at a time: an advisory lock on a file, released when dropped or when the process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
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
        Self::on_file(file, path)
    }

    /// Takes the lock of a folder itself, where no lock file may be left behind (on a stick).
    ///
    /// A file system without locks is not an error.
    ///
    /// # Errors
    /// `Locked` when another process holds it; otherwise when the folder cannot be opened.
    pub fn acquire_dir(path: &Path) -> Result<Self> {
        let folder = File::open(path).on(path)?;
        match folder.try_lock() {
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                Ok(Self { _file: folder })
            }
            _ => Self::on_file(folder, path),
        }
    }

    fn on_file(file: File, path: &Path) -> Result<Self> {
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
