//! Parity that waits at the site for the other sticks of its set: plain shards in staging, without tar.
//!
//! ```text
//! <staging>/PARITY-<bundle id>-P0001.TAR.part
//! ```

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::bundle::error::Result;
use crate::bundle::id::BundleId;
use crate::bundle::stick::Bundle;
use crate::digest::Sha256;
use crate::disk::{self, StagingFile};
use crate::package::MAX_PIECE_BYTES;
use crate::progress::Monitor;

use super::{Parity, ParityVolume};

/// Where the shard of a parity volume is kept.
pub(super) fn kept_path(staging: &Path, id: &BundleId, name: &str) -> PathBuf {
    staging.join(format!("PARITY-{id}-{name}.part"))
}

/// Keeps what is whole of the first `num_wanted` parity volumes that lie on this stick.
///
/// # Errors
/// When the disk fails; `Cancelled`.
pub(in crate::bundle) fn keep(
    bundle: &Bundle,
    staging: &Path,
    num_wanted: usize,
    monitor: &dyn Monitor,
) -> Result<()> {
    let Some(parity) = &bundle.description.parity else { return Ok(()) };
    let lies_here = |volume: &&ParityVolume| bundle.folder.join(&volume.name).is_file();
    for volume in parity.volumes.iter().filter(lies_here).take(num_wanted) {
        let path = kept_path(staging, &bundle.description.id, &volume.name);
        let lying_bytes = path.metadata().map_or(0, |metadata| metadata.len());
        if parity.shard_bytes.saturating_sub(lying_bytes) >= disk::free_bytes(staging)? / 2 {
            monitor.note(&format!("`{}` is not kept: there is too little room for it here", volume.name));
            continue;
        }
        keep_volume(bundle, parity, volume, &path, monitor)?;
    }
    Ok(())
}

fn keep_volume(
    bundle: &Bundle,
    parity: &Parity,
    volume: &ParityVolume,
    path: &Path,
    monitor: &dyn Monitor,
) -> Result<()> {
    let Ok(source) = disk::open_plain(&bundle.folder.join(&volume.name)) else { return Ok(()) };
    let kept = StagingFile::open(path)?;
    for (piece, expected) in volume.pieces.iter().enumerate() {
        if monitor.is_cancelled() {
            return Err(crate::bundle::error::BundleError::Cancelled);
        }
        let mut bytes = vec![0; usize::try_from(parity.piece_bytes(piece)).unwrap_or_default()];
        let at = piece as u64 * MAX_PIECE_BYTES;
        let count = kept.read_at(&mut bytes, at)?;
        if count == bytes.len() && Sha256::of(&bytes) == *expected {
            continue;
        }
        let is_read = source.read_exact_at(&mut bytes, Parity::place_of(piece)).is_ok();
        if is_read && Sha256::of(&bytes) == *expected {
            kept.write_at(&bytes, at)?;
        }
    }
    Ok(kept.sync()?)
}

/// Lets go of what was kept for a bundle of which nothing is missing any more.
///
/// # Errors
/// When the disk fails.
pub(in crate::bundle) fn forget(bundle: &Bundle, staging: &Path) -> Result<()> {
    for volume in bundle.description.parity.iter().flat_map(|parity| &parity.volumes) {
        let path = kept_path(staging, &bundle.description.id, &volume.name);
        if path.is_file() {
            disk::remove_file(&path)?;
        }
    }
    Ok(())
}
