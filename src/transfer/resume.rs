//! Runs: the stretches of a part file that are verified by one digest each.

use super::error::{Result, TransferError};
use crate::digest::{Hasher, Sha256};
use crate::disk::StagingFile;
use crate::progress::Monitor;

/// How much is read at a time, in bytes.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Bytes that are verified by one digest: a piece, or the whole file where no pieces are known.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) expected: Sha256,
    /// How many bytes from `offset` on are there.
    pub(super) filled: u64,
    /// Has taken those bytes.
    pub(super) hasher: Hasher,
    /// Lengths at which the digest was written down, rising, with the digest of so many bytes.
    pub(super) marks: Vec<(u64, Sha256)>,
    /// All bytes are there and have the expected digest, or that is left to the digest of the whole file.
    pub(super) is_whole: bool,
    /// Came too fast to be hashed by itself: `hasher` knows nothing of it.
    pub(super) is_unproven: bool,
}

impl Run {
    pub(super) fn new(offset: u64, length: u64, expected: Sha256) -> Self {
        let is_whole = length == 0 && expected == Sha256::of(b"");
        Self {
            offset,
            length,
            expected,
            filled: 0,
            hasher: Hasher::new(),
            marks: Vec::new(),
            is_whole,
            is_unproven: false,
        }
    }

    /// Forgets its bytes.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.offset, self.length, self.expected);
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// The first byte that is missing.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.filled
    }

    /// Takes note of bytes that are now there.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if !self.is_unproven {
            self.hasher.update(bytes);
        }
        self.filled += bytes.len() as u64;
    }

    /// The digest of what is there.
    pub(super) fn digest(&self) -> Sha256 {
        self.hasher.clone().finish()
    }
}

/// Goes back to `length` bytes of a run, which are read from the file again.
pub(super) fn rewind(file: &StagingFile, run: &mut Run, length: u64, monitor: &dyn Monitor) -> Result<()> {
    let mut marks = std::mem::take(&mut run.marks);
    marks.retain(|(mark, _)| *mark <= length);
    run.reset();
    let mut hasher = Hasher::new();
    hash(file, &mut hasher, run.offset, run.offset + length, monitor)?;
    (run.filled, run.hasher, run.marks) = (length, hasher, marks);
    Ok(())
}

/// Hashes what is there of a run that came too fast for it.
pub(super) fn prove(file: &StagingFile, run: &mut Run, monitor: &dyn Monitor) -> Result<()> {
    let mut hasher = Hasher::new();
    hash(file, &mut hasher, run.offset, run.position(), monitor)?;
    (run.hasher, run.is_unproven) = (hasher, false);
    Ok(())
}

/// Feeds `from..to` of the file to the hasher.
///
/// # Errors
/// When reading fails, the file is shorter, or the user stopped.
pub(super) fn hash(
    file: &StagingFile,
    hasher: &mut Hasher,
    from: u64,
    to: u64,
    monitor: &dyn Monitor,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES.min((to - from) as usize)];
    let mut at = from;
    while at < to {
        if monitor.is_cancelled() {
            return Err(stopped());
        }
        let want = buffer.len().min((to - at) as usize);
        let count = file.read_at(&mut buffer[..want], at)?;
        if count == 0 {
            let source = std::io::ErrorKind::UnexpectedEof.into();
            return Err(crate::disk::DiskError::Io { path: file.path().to_owned(), source }.into());
        }
        hasher.update(&buffer[..count]);
        at += count as u64;
    }
    Ok(())
}

/// The user stopped; `fetch` fills in what is kept.
pub(super) fn stopped() -> TransferError {
    TransferError::Cancelled { name: String::new(), kept_bytes: 0, size_bytes: 0 }
}
