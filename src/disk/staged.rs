//! Bytes on their way into the store: written in any order, synced, and named by their digest.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::digest::Sha256;

use super::atomic::{create_dir_all, parent_of, sync_dir};
use super::error::{On as _, Result};

/// How much is handed to the kernel at a time, in bytes. ext4 looks for a page as large as what it is given, and
/// clears it first: writing 512 MiB in calls of 4 MiB took 0.9 s of its time, in calls of 256 KiB 0.15 s.
const WRITE_BYTES: usize = 256 * 1024;

/// A whole file whose digest was computed from its bytes, not yet in its place.
#[derive(Debug)]
pub struct Staged {
    /// Where it lies now.
    pub path: PathBuf,
    /// What its bytes hash to.
    pub digest: Sha256,
    /// How many bytes it has.
    pub size_bytes: u64,
}

impl Staged {
    /// Moves the file to its place: sync, rename, sync of both folders. It becomes read-only.
    ///
    /// # Errors
    /// When a step fails; the staged file then still lies where it was, or already in its place.
    pub fn move_to(&self, destination: &Path) -> Result<()> {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o444)).on(&self.path)?;
        self.move_shared_to(destination)
    }

    /// As `move_to`, for a file that has other names and belongs to somebody else: its mode stays as it is.
    ///
    /// # Errors
    /// As `move_to`.
    pub fn move_shared_to(&self, destination: &Path) -> Result<()> {
        let parent = parent_of(destination);
        create_dir_all(&parent)?;
        File::open(&self.path).and_then(|file| file.sync_all()).on(&self.path)?;
        fs::rename(&self.path, destination).on(destination)?;
        sync_dir(&parent)?;
        sync_dir(&parent_of(&self.path))
    }
}

/// A file under construction that survives being interrupted: opened again, it has what it had.
#[derive(Debug)]
pub struct StagingFile {
    file: File,
    path: PathBuf,
}

impl StagingFile {
    /// Opens the file, or creates it empty; what is in it stays. A new file's name is durable at once: bytes
    /// that are synced under a name that is lost would all have to be written again.
    ///
    /// # Errors
    /// When it cannot be opened or its folder cannot be made.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = parent_of(path);
        create_dir_all(&folder)?;
        let is_new = !path.exists();
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = match open() {
            // `Staged::move_to` was cut short between its last two steps.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && path.is_file() => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).and_then(|()| open())
            }
            opened => opened,
        };
        let file = file.on(path)?;
        if is_new {
            sync_dir(&folder)?;
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, for reading back.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// How many bytes the file has now.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn size_bytes(&self) -> Result<u64> {
        Ok(self.file.metadata().on(&self.path)?.len())
    }

    /// Writes all of `bytes` at `offset`, growing the file where needed.
    ///
    /// # Errors
    /// When writing fails, for example because the disk is full.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut at = offset;
        for slice in bytes.chunks(WRITE_BYTES) {
            self.file.write_all_at(slice, at).on(&self.path)?;
            at += slice.len() as u64;
        }
        Ok(())
    }

    /// Reads up to `buffer.len()` bytes at `offset`; returns how many there were.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).on(&self.path),
            }
        }
        Ok(filled)
    }

    /// False when no byte of these was ever written, as far as the file system tells.
    pub fn has_data(&self, offset: u64, length: u64) -> bool {
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(offset)) {
            Ok(next) => next < offset.saturating_add(length),
            // Behind the last byte that was written.
            Err(rustix::io::Errno::NXIO) => false,
            // A file system that does not know.
            Err(_) => true,
        }
    }

    /// Cuts the file to `size_bytes`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn truncate(&self, size_bytes: u64) -> Result<()> {
        self.file.set_len(size_bytes).on(&self.path)
    }

    /// Brings the data written so far to the medium.
    ///
    /// # Errors
    /// When the medium reports a failure.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().on(&self.path)
    }

    /// Declares the file whole. The caller has computed `digest` from exactly these bytes.
    pub fn finish(self, digest: Sha256, size_bytes: u64) -> Staged {
        Staged { path: self.path, digest, size_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_written_is_known_where_the_file_system_tells() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let file = StagingFile::open(&folder.path().join("x.part")).expect("new");
        file.write_at(b"here", 0).expect("room");
        file.write_at(b"and here", 8 << 20).expect("room");
        assert!(file.has_data(0, 4) && file.has_data(8 << 20, 8) && file.has_data(0, 16 << 20));
        assert!(!file.has_data(64 << 20, 4), "behind the end");
    }

    #[test]
    fn keeps_its_bytes_when_opened_again_and_moves_into_place() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("staging/x.part");
        StagingFile::open(&path).expect("new").write_at(b"world", 6).expect("room");
        let again = StagingFile::open(&path).expect("old");
        again.write_at(b"hello ", 0).expect("room");
        let staged = again.finish(Sha256::of(b"hello world"), 11);
        let place = folder.path().join("blobs/x");
        staged.move_to(&place).expect("same disk");
        assert_eq!(fs::read(place).expect("there"), b"hello world");
        assert!(!path.exists());
    }
}
