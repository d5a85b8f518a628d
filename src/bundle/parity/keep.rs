//! Parity that waits at the site for the other sticks of its set: plain shards in staging, without tar.
//!
//! ```text
//! <staging>/PARITY-<bundle id>-P0001.TAR.part
//! ```

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bundle::error::{BundleError, Result};
use crate::bundle::id::BundleId;
use crate::bundle::stick::Bundle;
use crate::digest::Sha256;
use crate::disk::{self, StagingFile};
use crate::package::MAX_PIECE_BYTES;
use crate::progress::Monitor;

use super::{Parity, ParityVolume};

/// How long parity waits for another stick of its set: 60 days.
const MAX_AGE: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// Where the shard of a parity volume is kept.
pub(super) fn kept_path(staging: &Path, id: &BundleId, name: &str) -> PathBuf {
    staging.join(format!("PARITY-{id}-{name}.part"))
}

/// Keeps what is whole of the first `num_wanted` parity volumes that lie on this stick, as far as there is
/// room beside `reserved_bytes`, which the blobs themselves still need. What cannot be kept is only told of:
/// an import goes on without it.
///
/// # Errors
/// `Cancelled`.
pub(in crate::bundle) fn keep(
    bundle: &Bundle,
    staging: &Path,
    (num_wanted, reserved_bytes): (usize, u64),
    monitor: &dyn Monitor,
) -> Result<()> {
    let Some(parity) = &bundle.description.parity else { return Ok(()) };
    let lies_here = |volume: &&ParityVolume| bundle.folder.join(&volume.name).is_file();
    for volume in parity.volumes.iter().filter(lies_here).take(num_wanted) {
        let path = kept_path(staging, &bundle.description.id, &volume.name);
        let needed_bytes = parity.shard_bytes.saturating_sub(disk::allocated_bytes(&path));
        if needed_bytes.saturating_add(reserved_bytes) > disk::free_bytes(staging).unwrap_or(0) {
            monitor.note(&format!("`{}` is not kept: there is too little room for it here", volume.name));
            continue;
        }
        match keep_volume(bundle, parity, volume, &path, monitor) {
            Err(BundleError::Cancelled) => return Err(BundleError::Cancelled),
            Err(error) => {
                monitor.note(&format!("`{}` is not kept: {error}", volume.name));
                let _ = disk::remove_file(&path);
            }
            Ok(()) => {}
        }
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
            return Err(BundleError::Cancelled);
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

/// Lets go of what was kept for bundles that are complete, and of what waited too long. What cannot be removed
/// stays for the next time.
pub(in crate::bundle) fn forget(complete: &[&BundleId], staging: &Path) {
    for entry in std::fs::read_dir(staging).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("PARITY-")) else { continue };
        let is_complete = complete.iter().any(|id| rest.starts_with(&format!("{id}-")));
        let written = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = written.and_then(|written| written.elapsed().ok());
        if is_complete || age.is_some_and(|age| age > MAX_AGE) {
            let _ = disk::remove_file(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_goes_when_its_bundle_is_complete_or_it_is_old() {
        let staging = tempfile::tempdir().unwrap();
        let ids: Vec<BundleId> =
            ["0A1B2C3D", "00000001", "00000002"].iter().map(|id| id.parse().unwrap()).collect();
        let paths: Vec<PathBuf> = ids.iter().map(|id| kept_path(staging.path(), id, "P0001.TAR")).collect();
        paths.iter().for_each(|path| std::fs::write(path, "shard").unwrap());
        let long_ago = std::time::SystemTime::now() - MAX_AGE - Duration::from_secs(60);
        std::fs::File::options().write(true).open(&paths[1]).unwrap().set_modified(long_ago).unwrap();
        std::fs::write(staging.path().join("other.part"), "blob").unwrap();
        forget(&[&ids[0]], staging.path());
        let stays: Vec<bool> = paths.iter().map(|path| path.exists()).collect();
        assert_eq!((stays, staging.path().join("other.part").exists()), (vec![false, false, true], true));
    }
}
