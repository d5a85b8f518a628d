//! Copies that share their room with the original where the file system can, and how much room a file takes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::atomic::{create_dir_all, parent_of, remove_file, sync_dir};
use super::error::{On as _, Result};

/// Copies a file to a new one that may be changed without changing the original. On btrfs, xfs and others of the kind
/// the two share their room until one is written to.
///
/// # Errors
/// When it cannot be read, or there is no room; half a copy may then be left.
pub fn clone_file(from: &Path, to: &Path) -> Result<()> {
    let folder = parent_of(to);
    create_dir_all(&folder)?;
    let mut source = File::open(from).on(from)?;
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).open(to).on(to)?;
    if rustix::fs::ioctl_ficlone(&copy, &source).is_err() {
        io::copy(&mut source, &mut copy).on(to)?;
    }
    sync_dir(&folder)
}

/// Fills `buffer` from `offset` on; returns how many bytes there were.
///
/// # Errors
/// When reading fails.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The room that a file takes on the disk; holes in it take none, and a file that is not there takes none.
pub fn allocated_bytes(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks().saturating_mul(512))
}

/// What two files have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Their room, until one of them is written to.
    Room,
    /// Everything: they are two names of one file.
    Name,
    /// Nothing: only a copy is possible, and none was made.
    Impossible,
}

/// Gives a file a second place without copying it, over whatever lies there: sharing its room where the file system
/// can, else its name. The file itself is not changed.
///
/// # Errors
/// When the folder cannot be made, or what lies there cannot be removed.
pub fn share_file(from: &Path, to: &Path) -> Result<Sharing> {
    let folder = parent_of(to);
    create_dir_all(&folder)?;
    remove_file(to)?;
    let is_cloned = File::open(from).is_ok_and(|source| {
        let copy = OpenOptions::new().write(true).create_new(true).open(to);
        copy.is_ok_and(|copy| rustix::fs::ioctl_ficlone(&copy, &source).is_ok())
    });
    if is_cloned {
        return Ok(Sharing::Room);
    }
    remove_file(to)?;
    // Another disk, a file of somebody else, a file system without links: all mean the same here.
    match fs::hard_link(from, to) {
        Ok(()) => Ok(Sharing::Name),
        Err(_) => Ok(Sharing::Impossible),
    }
}

/// Which file a path means, and in which state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    number: (u64, u64),
    size_bytes: u64,
    written: (i64, i64),
}

impl Identity {
    /// The disk, and the number of the file on it: all names of a file have the same.
    pub fn number(&self) -> (u64, u64) {
        self.number
    }
}

/// Which plain file lies at a path; `None` when none does.
pub fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Identity {
        number: (metadata.dev(), metadata.ino()),
        size_bytes: metadata.len(),
        written: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// True when both lie on one disk, as far as the nearest folder that exists tells.
pub fn is_same_disk(left: &Path, right: &Path) -> bool {
    let disk = |path: &Path| path.ancestors().find_map(|path| Some(fs::metadata(path).ok()?.dev()));
    disk(left) == disk(right)
}

/// A file, and what of the disk it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRoom {
    /// The disk and the number of the file on it: its names have the same.
    pub identity: (u64, u64),
    /// How many names it has.
    pub num_names: u64,
    /// The room that it takes.
    pub allocated_bytes: u64,
}

/// The files below a path: the path itself when it is one. Links are not followed; what cannot be read is passed over.
pub fn files_below(path: &Path) -> Vec<FileRoom> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Vec::new() };
    if metadata.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        return entries.flat_map(|entry| files_below(&entry.path())).collect();
    }
    vec![FileRoom {
        identity: (metadata.dev(), metadata.ino()),
        num_names: metadata.nlink(),
        allocated_bytes: metadata.blocks().saturating_mul(512),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_can_be_changed_and_the_original_stays() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("deep/to"));
        fs::write(&from, vec![7; 10_000]).expect("room");
        clone_file(&from, &to).expect("room");
        assert_eq!(fs::read(&to).expect("there"), vec![7; 10_000]);
        fs::write(&to, b"other").expect("room");
        clone_file(&from, &to).expect("over what lies there");
        assert_eq!(fs::read(&to).expect("there").len(), 10_000);
        assert_eq!(fs::read(&from).expect("there"), vec![7; 10_000]);
        assert!(allocated_bytes(&from) >= 10_000 && allocated_bytes(&folder.path().join("absent")) == 0);
        let mut buffer = [0; 8];
        assert_eq!(read_at(&File::open(&from).expect("there"), &mut buffer, 9_996).expect("readable"), 4);
    }
}
