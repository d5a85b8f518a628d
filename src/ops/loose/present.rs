//! A half download of a file that is here whole: nothing of it is needed, and it is no stranger.

use std::fs::File;
use std::path::Path;

use crate::disk::read_at;
use crate::package::FileEntry;
use crate::progress::Monitor;
use crate::store::Store;

/// How much is compared at a time, in bytes; the first of it tells most files apart.
const BUFFER_BYTES: usize = 64 * 1024;

/// True when the first bytes of this file, so many of them, are those of a file here that is no shorter than all of it.
pub(super) fn is_beginning_of_one_here<'a>(
    (path, length, size_bytes): (&Path, u64, u64),
    mut files: impl Iterator<Item = &'a FileEntry>,
    store: &Store,
    monitor: &dyn Monitor,
) -> bool {
    length > 0
        && files.any(|file| {
            let place = store.blob_path(&file.sha256, file.size_bytes);
            let place = place.filter(|_| file.size_bytes >= size_bytes);
            place.is_some_and(|place| begin_alike(path, &place, length, monitor))
        })
}

fn begin_alike(path: &Path, other: &Path, length: u64, monitor: &dyn Monitor) -> bool {
    let (Ok(one), Ok(other)) = (File::open(path), File::open(other)) else { return false };
    let (mut left, mut right) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    let mut at = 0;
    while at < length {
        let count = usize::try_from(length - at).map_or(BUFFER_BYTES, |rest| rest.min(BUFFER_BYTES));
        let (left, right) = (&mut left[..count], &mut right[..count]);
        let is_read =
            |file: &File, bytes: &mut [u8]| read_at(file, bytes, at).is_ok_and(|read| read == count);
        if monitor.is_cancelled() || !is_read(&one, left) || !is_read(&other, right) || left != right {
            return false;
        }
        at += count as u64;
    }
    true
}
