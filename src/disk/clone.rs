//! Copies: such that share their room with the original where the file system can, and such that are hashed on the way;
//! and how much room a file takes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::atomic::{create_dir_all, parent_of, remove_file, sync_dir};
use super::error::{On as _, Result};
use super::staged::{Staged, StagingFile};
use crate::digest::Hasher;

/// How much is copied between two looks whether the copy is still wanted, in bytes.
const BLOCK_BYTES: u64 = 4 * 1024 * 1024;

/// How much is read at a time where it is also hashed, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// Hears how many more bytes were copied; false ends the copying.
pub type Advance<'a> = &'a dyn Fn(u64) -> bool;

/// Copies a file to a new one that may be changed without changing the original; false when it was ended before. On
/// btrfs, xfs and others of the kind the two share their room until one is written to, and nothing is copied.
///
/// # Errors
/// When it cannot be read, or there is no room; half a copy may then be left, as when it was ended.
pub fn clone_file(from: &Path, to: &Path, advance: Advance<'_>) -> Result<bool> {
    let folder = parent_of(to);
    create_dir_all(&folder)?;
    let source = File::open(from).on(from)?;
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).open(to).on(to)?;
    let is_whole = rustix::fs::ioctl_ficlone(&copy, &source).is_ok()
        || copy_blocks(&source, &mut copy, advance).on(to)?;
    sync_dir(&folder)?;
    Ok(is_whole)
}

/// Copies block by block, within the kernel where it can; false when it was ended before.
fn copy_blocks(source: &File, copy: &mut File, advance: Advance<'_>) -> io::Result<bool> {
    loop {
        match io::copy(&mut source.take(BLOCK_BYTES), copy)? {
            0 => return Ok(true),
            count if !advance(count) => return Ok(false),
            _ => {}
        }
    }
}

/// Copies a file over whatever lies at `to`, and hashes what is copied, for the original may change meanwhile. `None`
/// when it was ended before; of that, as of a copy that failed, nothing is left.
///
/// # Errors
/// When it cannot be read, or there is no room.
pub fn copy_hashed(from: &Path, to: &Path, advance: Advance<'_>) -> Result<Option<Staged>> {
    let copied = hash_and_copy(from, to, advance);
    if !matches!(copied, Ok(Some(_))) {
        // The original is still where it was; why the copy failed is worth more than why half of it stays.
        let _ = remove_file(to);
    }
    copied
}

fn hash_and_copy(from: &Path, to: &Path, advance: Advance<'_>) -> Result<Option<Staged>> {
    let source = File::open(from).on(from)?;
    let staging = StagingFile::open(to)?;
    staging.truncate(0)?;
    let (mut hasher, mut at) = (Hasher::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = read_at(&source, &mut buffer, at).on(from)?;
        if count == 0 {
            return Ok(Some(staging.finish(hasher.finish(), at)));
        }
        hasher.update(&buffer[..count]);
        staging.write_at(&buffer[..count], at)?;
        at += count as u64;
        if !advance(count as u64) {
            return Ok(None);
        }
    }
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
    use crate::digest::Sha256;

    #[test]
    fn a_clone_can_be_changed_and_the_original_stays() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("deep/to"));
        fs::write(&from, vec![7; 10_000]).expect("room");
        assert!(clone_file(&from, &to, &|_| true).expect("room"));
        assert_eq!(fs::read(&to).expect("there"), vec![7; 10_000]);
        fs::write(&to, b"other").expect("room");
        assert!(clone_file(&from, &to, &|_| true).expect("over what lies there"));
        assert_eq!(fs::read(&to).expect("there").len(), 10_000);
        assert_eq!(fs::read(&from).expect("there"), vec![7; 10_000]);
        assert!(allocated_bytes(&from) >= 10_000 && allocated_bytes(&folder.path().join("absent")) == 0);
        let mut buffer = [0; 8];
        assert_eq!(read_at(&File::open(&from).expect("there"), &mut buffer, 9_996).expect("readable"), 4);
    }

    #[test]
    fn a_copy_is_hashed_and_replaces_what_lay_there() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("deep/to.part"));
        let bytes: Vec<u8> = (0..BUFFER_BYTES + 5).map(|at| (at % 251) as u8).collect();
        fs::write(&from, &bytes).expect("room");
        fs::create_dir(folder.path().join("deep")).expect("room");
        fs::write(&to, vec![1; 3 * BUFFER_BYTES]).expect("room");
        let copied = std::cell::Cell::new(0);
        let count = |more| {
            copied.set(copied.get() + more);
            true
        };
        let staged = copy_hashed(&from, &to, &count).expect("room").expect("nobody ended it");
        assert_eq!((staged.digest, staged.size_bytes), (Sha256::of(&bytes), bytes.len() as u64));
        assert_eq!((fs::read(&to).expect("there"), copied.get()), (bytes, staged.size_bytes));
    }

    #[test]
    fn a_copy_that_is_ended_leaves_nothing_and_a_clone_at_most_its_beginning() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let size_bytes = 3 * BLOCK_BYTES;
        fs::write(&from, vec![7; size_bytes as usize]).expect("room");
        assert!(copy_hashed(&from, &to, &|_| false).expect("room").is_none());
        assert!(!to.exists() && copy_hashed(&folder.path().join("absent"), &to, &|_| true).is_err());
        assert!(!to.exists());
        // Where room can be shared nothing is copied, and nothing can be ended.
        let is_whole = clone_file(&from, &to, &|_| false).expect("room");
        let expected_bytes = if is_whole { size_bytes } else { BLOCK_BYTES };
        assert_eq!(fs::metadata(&to).expect("there").len(), expected_bytes);
    }
}
