//! One writer at a time: an advisory lock on a file, released when dropped or when the process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::{DiskError, On as _, Result};
use super::{create_dir_all, remove_file};

/// How often a lock file that vanishes under our hands is made again.
const MAX_TRIES: u32 = 8;

/// Holds a lock file until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock at once.
    ///
    /// # Errors
    /// `Locked` when another process holds it; otherwise when the file cannot be made.
    pub fn acquire(path: &Path) -> Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            if let Some(parent) = path.parent() {
                create_dir_all(parent)?;
            }
            let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
            let file = match opened {
                // The holder before us removed it and its folder, between our making the folder and the file.
                Err(error) if error.kind() == ErrorKind::NotFound && tries < MAX_TRIES => continue,
                opened => opened.on(path)?,
            };
            match file.try_lock() {
                // Some file systems give a file another number each time it is looked at: not for ever.
                Ok(()) if tries == MAX_TRIES || is_at(&file, path) => {
                    return Ok(Self { file, path: path.to_owned() });
                }
                // The holder before us removed it between our opening and our locking: take the new one.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(DiskError::Locked { path: path.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(error).on(path),
            }
        }
    }

    /// Takes the lock of a folder itself, where no lock file may be left behind (on a stick).
    ///
    /// A file system without locks is not an error.
    ///
    /// # Errors
    /// `Locked` when another process holds it; otherwise when the folder cannot be opened.
    pub fn acquire_dir(path: &Path) -> Result<Self> {
        let file = File::open(path).on(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(DiskError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => Err(error).on(path),
            _ => Ok(Self { file, path: path.to_owned() }),
        }
    }

    /// Lets go and removes the file, for locks on things that come and go.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(self) -> Result<()> {
        remove_file(&self.path)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would not do: a child process that is just being started may still share it.
        let _ = self.file.unlock();
    }
}

/// True when the open file still is the one that `path` names.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
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

    #[test]
    fn a_removed_lock_can_be_taken_again() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("lock");
        Lock::acquire(&path).expect("free").remove().expect("ours");
        assert!(!path.exists());
        let _held = Lock::acquire(&path).expect("free again");
        assert!(matches!(Lock::acquire(&path), Err(DiskError::Locked { .. })));
    }
}
