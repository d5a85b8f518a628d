//! The beginning of a file that some other program downloaded: kept as if it had come by a fetch, which goes on there.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;

use super::client::Wanted;
use super::error::{Result, TransferError};
use super::held::held_bytes;
use super::part::{Part, Step};
use super::reply::Chunk;
use super::resume::stopped;
use super::staging::{Keeper, Paths};
use crate::disk::DiskError;
use crate::progress::{Monitor, Unit};

/// How much is read at a time, in bytes.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// How much is handed over between two waits for the disk, in bytes.
const IN_FLIGHT_BYTES: u64 = 16 * CHUNK_BYTES;

/// Takes the first `length` bytes of `file` for the beginning of a wanted file that has no piece list; returns how many
/// bytes are kept then, from this file or from earlier. Where both have bytes and these differ, those from earlier stay as
/// they are: two halves of different files make none. Nobody can tell yet whether they are right: the digest of the
/// whole decides in the end.
///
/// # Errors
/// `InUse` when another process fetches the same file; when the user stopped or a disk fails. What was taken is kept.
pub fn keep_prefix(
    wanted: &Wanted,
    (file, length): (&Path, u64),
    staging_dir: &Path,
    monitor: &dyn Monitor,
) -> Result<u64> {
    let paths = Paths::new(staging_dir, wanted.digest);
    let _keeper = Keeper::take(&paths, &wanted.name)?;
    let identity = (wanted.digest, wanted.size_bytes);
    let mut part = Part::open(&paths, identity, None, monitor).map_err(|error| {
        // Not read back yet, and still there.
        let held_bytes = held_bytes(staging_dir, wanted.digest, wanted.size_bytes);
        error.if_stopped_about(&wanted.name, held_bytes, wanted.size_bytes)
    })?;
    let task = monitor.start(&wanted.name, Some(length), Unit::Bytes);
    let taken = copy(&mut part, (file, length.min(wanted.size_bytes)), &|count| {
        task.advance(count);
        monitor.is_cancelled()
    });
    part.pause()?;
    let kept_bytes = part.kept_bytes();
    taken.map_err(|error| error.if_stopped_about(&wanted.name, kept_bytes, wanted.size_bytes))?;
    Ok(kept_bytes)
}

/// Compares what is there, and copies what is not; `advance` says whether to stop.
fn copy(part: &mut Part, (path, length): (&Path, u64), advance: &dyn Fn(u64) -> bool) -> Result<()> {
    let on = |source| TransferError::from(DiskError::Io { path: path.to_owned(), source });
    let file = File::open(path).map_err(on)?;
    let mut at = 0;
    while at < length {
        let mut bytes = vec![0; CHUNK_BYTES.min(length - at) as usize];
        file.read_exact_at(&mut bytes, at).map_err(on)?;
        let count = bytes.len() as u64;
        match part.accept(at, &Chunk::new(Bytes::from(bytes), None))? {
            Step::Taken { .. } => at += count,
            // Another file than was begun, or a whole file with the wrong digest: it is no prefix.
            Step::Differs { .. } | Step::Wrong { .. } => return Ok(()),
        }
        if at.is_multiple_of(IN_FLIGHT_BYTES) {
            part.settle()?;
        }
        if advance(count) {
            return Err(stopped());
        }
    }
    Ok(())
}
