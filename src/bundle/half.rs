//! Blobs of which only a part has come: `<sha256>.part` in staging, and beside it `<sha256>.pieces`,
//! the piece list by which that part was checked.
//!
//! The list makes it possible to say later, with no stick at hand, which bytes are right. Nothing is
//! taken from memory: the part is hashed again, piece by piece. What is missing is told in bytes, not in
//! piece numbers, because the next bundle may cut the same blob differently.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::disk;
use crate::package::PieceList;
use crate::progress::{Monitor, Task, Unit};

use super::error::{BundleError, Result, io_error};

/// A blob of which only a part has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfBlob {
    /// The blob.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The runs of bytes that are missing, in order.
    pub missing: Vec<Gap>,
}

/// A run of bytes that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

impl HalfBlob {
    /// How many bytes are missing.
    pub fn missing_bytes(&self) -> u64 {
        self.missing.iter().fold(0, |sum, gap| sum.saturating_add(gap.length))
    }

    /// True when a byte of this run is missing.
    pub fn lacks(&self, offset: u64, length: u64) -> bool {
        let ends_before = |gap: &Gap| gap.offset.saturating_add(gap.length) <= offset;
        self.missing.iter().any(|gap| !ends_before(gap) && gap.offset < offset.saturating_add(length))
    }
}

/// Finds the blobs in `staging` that have come in part, and hashes what is there of them.
///
/// # Errors
/// `Cancelled`, or when a part cannot be read.
pub fn half_blobs(staging: &Path, monitor: &dyn Monitor) -> Result<Vec<HalfBlob>> {
    let mut parts: Vec<(Sha256, PieceList)> = Vec::new();
    let names = fs::read_dir(staging).into_iter().flatten().flatten().map(|entry| entry.file_name());
    for name in names {
        let digest = name.to_str().and_then(|name| name.strip_suffix(".pieces")?.parse::<Sha256>().ok());
        let list = digest.and_then(|digest| read_list(&list_path(staging, &digest)));
        if let (Some(digest), Some(list)) = (digest, list) {
            parts.push((digest, list));
        }
    }
    parts.sort_by_key(|(digest, _)| *digest);
    let total_bytes = parts.iter().map(|(_, list)| list.size_bytes()).sum();
    let task = monitor.start("looking at what came in part", Some(total_bytes), Unit::Bytes);
    let mut halves = Vec::new();
    for (digest, list) in parts {
        let half = look_at(staging, (digest, &list), &*task, monitor)?;
        // Nothing came, or all did: in both cases there is no half to speak of.
        if (1..half.size_bytes).contains(&half.missing_bytes()) {
            halves.push(half);
        }
    }
    Ok(halves)
}

/// Hashes what is there of one blob; `None` when nothing of it is here, or nobody knows its pieces.
///
/// # Errors
/// `Cancelled`.
pub fn half_blob(staging: &Path, digest: Sha256, monitor: &dyn Monitor) -> Result<Option<HalfBlob>> {
    let list = read_list(&list_path(staging, &digest));
    let Some(list) = list.filter(|_| part_path(staging, &digest).is_file()) else { return Ok(None) };
    let task = monitor.start("looking at what came in part", Some(list.size_bytes()), Unit::Bytes);
    look_at(staging, (digest, &list), &*task, monitor).map(Some)
}

/// The piece list by which a half was checked, where one lies beside it.
pub fn half_list(staging: &Path, digest: &Sha256) -> Option<PieceList> {
    part_path(staging, digest).is_file().then(|| read_list(&list_path(staging, digest)))?
}

fn look_at(
    staging: &Path,
    (sha256, list): (Sha256, &PieceList),
    task: &dyn Task,
    monitor: &dyn Monitor,
) -> Result<HalfBlob> {
    let mut missing: Vec<Gap> = Vec::new();
    let file = File::open(part_path(staging, &sha256));
    let mut bytes = Vec::new();
    for piece in list.pieces() {
        if monitor.is_cancelled() {
            return Err(BundleError::Cancelled);
        }
        task.advance(piece.length);
        bytes.resize(usize::try_from(piece.length).unwrap_or_default(), 0);
        let is_read = file.as_ref().is_ok_and(|file| file.read_exact_at(&mut bytes, piece.offset).is_ok());
        if is_read && Sha256::of(&bytes) == piece.sha256 {
            continue;
        }
        match missing.last_mut() {
            Some(gap) if gap.offset + gap.length == piece.offset => gap.length += piece.length,
            _ => missing.push(Gap { offset: piece.offset, length: piece.length }),
        }
    }
    Ok(HalfBlob { sha256, size_bytes: list.size_bytes(), missing })
}

fn part_path(staging: &Path, digest: &Sha256) -> PathBuf {
    staging.join(format!("{digest}.part"))
}

/// Keeps the piece list of a blob that is on its way in. One of a single piece cannot come in part.
///
/// # Errors
/// When it cannot be written.
pub fn remember(staging: &Path, digest: &Sha256, list: &PieceList) -> Result<()> {
    let path = list_path(staging, digest);
    if list.pieces().len() > 1 && read_list(&path).as_ref() != Some(list) {
        disk::write_atomic(&path, list.to_text().as_bytes())?;
    }
    Ok(())
}

/// Forgets the piece list of a blob that is whole.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(staging: &Path, digest: &Sha256) -> Result<()> {
    // What a repair over the network noted of the part means nothing without it.
    disk::remove_file(&staging.join(format!("{digest}.journal")))?;
    Ok(disk::remove_file(&list_path(staging, digest))?)
}

fn list_path(staging: &Path, digest: &Sha256) -> PathBuf {
    staging.join(format!("{digest}.pieces"))
}

/// A torn list counts as none.
fn read_list(path: &Path) -> Option<PieceList> {
    PieceList::parse(&fs::read_to_string(path).map_err(|error| io_error(path, error)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Piece;
    use crate::progress::Silent;

    fn list(bytes: &[u8], length: usize) -> PieceList {
        let piece = |(index, piece): (usize, &[u8])| Piece {
            offset: (index * length) as u64,
            length: piece.len() as u64,
            sha256: Sha256::of(piece),
        };
        PieceList::new(bytes.chunks(length).enumerate().map(piece).collect()).unwrap()
    }

    #[test]
    fn what_is_missing_is_found_by_hashing_again() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, digest) = (b"aaabbbcccddd", Sha256::of(b"aaabbbcccddd"));
        remember(folder.path(), &digest, &list(bytes, 3)).unwrap();
        let part = folder.path().join(format!("{digest}.part"));
        assert_eq!(half_blobs(folder.path(), &Silent).unwrap(), [], "nothing came");
        fs::write(&part, b"aaaXbbccc").unwrap();
        let half = half_blobs(folder.path(), &Silent).unwrap();
        let gaps = vec![Gap { offset: 3, length: 3 }, Gap { offset: 9, length: 3 }];
        assert_eq!(half, [HalfBlob { sha256: digest, size_bytes: 12, missing: gaps }]);
        assert_eq!(half[0].missing_bytes(), 6);
        fs::write(&part, bytes).unwrap();
        assert_eq!(half_blobs(folder.path(), &Silent).unwrap(), [], "all came");
        forget(folder.path(), &digest).unwrap();
        fs::write(&part, b"aaa").unwrap();
        assert_eq!(half_blobs(folder.path(), &Silent).unwrap(), [], "nobody knows what it should be");
    }

    #[test]
    fn a_run_lacks_bytes_when_it_touches_a_gap() {
        let missing = vec![Gap { offset: 4, length: 4 }, Gap { offset: u64::MAX, length: u64::MAX }];
        let half = HalfBlob { sha256: Sha256::of(b""), size_bytes: 16, missing };
        assert!(!half.lacks(0, 4) && !half.lacks(8, 8));
        assert!(half.lacks(0, 5) && half.lacks(5, 1) && half.lacks(7, 9));
        assert_eq!(half.missing_bytes(), u64::MAX, "absurd numbers do not wrap around");
    }
}
