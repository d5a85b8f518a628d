//! The only room that creates, renames or removes files: safe writes, locks, free space.
//!
//! What is named by its hash is written to a temporary file, synced, renamed and its folder synced,
//! so that a power cut leaves the old state or the new one, never a half.

mod atomic;
mod clone;
mod error;
mod flusher;
mod lock;
mod plain;
mod staged;

pub use atomic::{
    create_dir_all, create_private_dir, link_or_copy, make_private_dir, remove_any, remove_dir_all,
    remove_empty_dir, remove_file, rename, sync_dir, write_atomic, write_forgettable, write_private,
};
pub use clone::{
    Advance, FileRoom, Identity, Sharing, allocated_bytes, clone_file, copy_hashed, files_below, identity,
    is_same_disk, read_at, share_file,
};
pub use error::{DiskError, Result};
pub use flusher::Flusher;
pub use lock::Lock;
pub use plain::{is_plain_dir, link_unsynced, open_plain, sync_filesystem, write_unsynced};
pub use staged::{Staged, StagingFile};

use std::fs::File;
use std::num::NonZeroU64;
use std::path::Path;

use error::On as _;

/// The bytes that this user may still write to the file system that holds `path`.
///
/// `path` need not exist; its nearest existing parent is asked.
///
/// # Errors
/// When the file system cannot be asked.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let mut existing = path;
    while !existing.exists() {
        match existing.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => existing = parent,
            _ => existing = Path::new("."),
        }
    }
    let stat = rustix::fs::statvfs(existing).map_err(std::io::Error::from).on(existing)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// True when the file system that holds `path` takes no writes.
///
/// # Errors
/// When the file system cannot be asked.
pub fn is_read_only(path: &Path) -> Result<bool> {
    let stat = rustix::fs::statvfs(path).map_err(std::io::Error::from).on(path)?;
    Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The kind of file system that holds `path`, where it is one that sticks have.
///
/// # Errors
/// When the file system cannot be asked.
pub fn file_system(path: &Path) -> Result<Option<&'static str>> {
    let stat = rustix::fs::statfs(path).map_err(std::io::Error::from).on(path)?;
    // The magic numbers of linux/magic.h, and of ntfs3 and FUSE, which have theirs in their own sources.
    let kinds = [
        (0x4d44, "vfat"),
        (0x2011_bab0, "exfat"),
        (0x5346_544e, "ntfs"),
        (0x7366_746e, "ntfs"),
        (0x6573_5546, "fuse"),
        (0xef53, "ext4"),
    ];
    let found = u64::try_from(stat.f_type).unwrap_or(0);
    Ok(kinds.into_iter().find(|(magic, _)| *magic == found).map(|(_, name)| name))
}

/// Asks the kernel to forget its cached pages of a file, so that the next read comes from the medium.
///
/// Dirty pages stay; sync first.
pub fn drop_cached_pages(file: &File) {
    // A refusal costs honesty of the read-back only where the file system has no cache to drop.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Asks the kernel to begin reading `length` bytes from `at` on, while the caller works on earlier ones.
pub fn read_ahead(file: &File, at: u64, length: u64) {
    // A refusal costs nothing but the time that this would have saved.
    let _ = rustix::fs::fadvise(file, at, NonZeroU64::new(length), rustix::fs::Advice::WillNeed);
}
