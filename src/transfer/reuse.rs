//! Pieces that lie on this machine in other files: copied into the part file before anybody is asked for them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use bytes::Bytes;

use super::error::Result;
use super::part::{Part, Step};
use super::reply::Chunk;
use super::resume::stopped;
use crate::digest::Sha256;
use crate::package::{MAX_PIECE_BYTES, Piece};
use crate::progress::{Monitor, Task};

/// How much is handed over between two waits for the disk, in bytes: what this may hold in memory.
const IN_FLIGHT_BYTES: u64 = 16 * 1024 * 1024;

/// A piece of the wanted file that another file on this machine should hold. Nothing of it is believed: it is
/// hashed before it is taken, and what differs is left to the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reusable {
    /// The piece as it stands in the wanted file.
    pub piece: Piece,
    /// The file that should hold it.
    pub path: PathBuf,
    /// Where it begins there, in bytes.
    pub at: u64,
}

/// Copies what holds into the part file; returns how many bytes that were.
///
/// # Errors
/// When the part file cannot be written, or the user stopped. A file that cannot be read only yields nothing.
pub(super) fn reuse(
    part: &mut Part,
    reusable: &[Reusable],
    task: &dyn Task,
    monitor: &dyn Monitor,
) -> Result<u64> {
    let (mut copied_bytes, mut in_flight_bytes) = (0, 0);
    for one in reusable.iter().filter(|one| one.piece.length <= MAX_PIECE_BYTES) {
        if monitor.is_cancelled() {
            return Err(stopped());
        }
        if !part.lacks(&one.piece) {
            continue;
        }
        let Some(bytes) = read(one) else { continue };
        let new_bytes = take(part, &one.piece, bytes, monitor)?;
        task.skip(new_bytes);
        copied_bytes += new_bytes;
        in_flight_bytes += new_bytes;
        if in_flight_bytes >= IN_FLIGHT_BYTES {
            part.settle()?;
            in_flight_bytes = 0;
        }
    }
    Ok(copied_bytes)
}

/// Reads a piece and hashes it; `None` when it is not what it should be.
fn read(one: &Reusable) -> Option<Bytes> {
    let mut bytes = vec![0; one.piece.length as usize];
    File::open(&one.path).ok()?.read_exact_at(&mut bytes, one.at).ok()?;
    (Sha256::of(&bytes) == one.piece.sha256).then(|| Bytes::from(bytes))
}

/// Hands over a piece that is right. A beginning in the part file that differs from it is wrong, and given up.
fn take(part: &mut Part, piece: &Piece, bytes: Bytes, monitor: &dyn Monitor) -> Result<u64> {
    let chunk = Chunk::new(bytes, None);
    for _ in 0..2 {
        match part.accept(piece.offset, &chunk)? {
            Step::Taken { new_bytes } => return Ok(new_bytes),
            Step::Differs { .. } => part.rewind(piece.offset, monitor)?,
            // The digest was compared before; only a disk that forgets comes here.
            Step::Wrong { .. } => return Ok(0),
        }
    }
    Ok(0)
}
