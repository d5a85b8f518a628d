//! Taking bundles off a stick: first a record without them, then their folders.

use std::path::Path;

use crate::disk::{self, Lock};

use super::error::Result;
use super::id::BundleId;
use super::layout::BUNDLES;
use super::record;
use super::stick::{Stick, is_folder};

/// Removes bundles from the stick at `folder`; returns the bytes that this freed. Whatever interrupts it,
/// the record never promises what is gone.
///
/// # Errors
/// When the stick cannot be written, or a link stands where one of its folders should be.
pub fn remove(folder: &Path, bundles: &[BundleId]) -> Result<u64> {
    let _lock = Lock::acquire_dir(Stick::open(folder)?.root())?;
    let stick = Stick::open(folder)?;
    let is_going = |path: &str| bundles.iter().any(|id| path.starts_with(&id.path_of("")));
    let mut next = stick.record().cloned().unwrap_or_default();
    if next.files.iter().any(|file| is_going(&file.path)) {
        next.generation += 1;
        next.files.retain(|file| !is_going(&file.path));
        record::commit(stick.root(), stick.slots(), &next)?;
    }
    let mut freed_bytes = 0;
    // A link in the place of `B` would lead out of `LOCALML`.
    if is_folder(&stick.root().join(BUNDLES))? {
        for id in bundles {
            let lying = stick.root().join(BUNDLES).join(id.as_str());
            if is_folder(&lying)? {
                freed_bytes += bytes_in(&lying);
                disk::remove_dir_all(&lying)?;
            }
        }
        disk::sync_dir(&stick.root().join(BUNDLES))?;
    }
    disk::sync_filesystem(stick.root())?;
    Ok(freed_bytes)
}

/// The bytes of the plain files in a folder.
pub(super) fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.path().symlink_metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}
