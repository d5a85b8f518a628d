//! Reading a file once and hashing it: a run of it, or all of it together with its pieces.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::digest::{Hasher, Sha256};
use crate::package::{Piece, PieceList};

/// How much of a run is read at a time, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// How much of a whole file is read at a time, in bytes: enough that a second thread pays.
const BLOCK_BYTES: usize = 1024 * 1024;

/// The most threads that hash at once: each has up to 1 MiB in memory, and no disk feeds more.
pub(super) const MAX_THREADS: usize = 24;

/// Who is told of bytes that were hashed, and may end the work.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Hears of each run of bytes done.
    pub advance: &'a (dyn Fn(u64) + Sync),
    /// True once nobody wants the rest.
    pub is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

/// Where a file is cut into pieces, as offset and length: a function of the file and its length in bytes.
pub type Grid<'a> = &'a (dyn Fn(&Path, u64) -> Vec<(u64, u64)> + Sync);

/// A file as it was read from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedFile {
    /// The digest of all its bytes.
    pub digest: Sha256,
    /// How many they are.
    pub size_bytes: u64,
    /// Its pieces; `None` when it has at most one.
    pub pieces: Option<PieceList>,
}

/// Hashes a whole file and each of its pieces in one reading; `None` when it cannot be read or nobody wants the rest.
///
/// A file of several pieces is hashed by two threads, one for the whole and one for the pieces.
pub fn hash_whole(path: &Path, grid: Grid<'_>, watch: &Watch<'_>) -> Option<HashedFile> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut whole = Hasher::new();
    let mut size_bytes = 0;
    let mut pieces = Vec::new();
    let mut block = vec![0; BLOCK_BYTES.min(usize::try_from(length).unwrap_or(BLOCK_BYTES))];
    for (offset, length) in grid(path, length) {
        let mut piece = Hasher::new();
        let mut left = length;
        while left > 0 {
            let want = block.len().min(usize::try_from(left).unwrap_or(block.len()));
            let count = fill(&mut file, &mut block[..want], watch).ok()?;
            if count == 0 {
                break;
            }
            hash_both(&mut whole, &mut piece, &block[..count]);
            left -= count as u64;
        }
        size_bytes += length - left;
        pieces.push(Piece { offset, length, sha256: piece.finish() });
    }
    let pieces = if pieces.len() > 1 { PieceList::new(pieces).ok() } else { None };
    Some(HashedFile { digest: whole.finish(), size_bytes, pieces })
}

/// Hashes several files, on as many threads as there are cores; `None` as in `hash_whole`.
pub fn hash_files(paths: &[&Path], grid: Grid<'_>, watch: &Watch<'_>) -> Vec<Option<HashedFile>> {
    let hashed: Mutex<Vec<Option<HashedFile>>> = Mutex::new(vec![None; paths.len()]);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(index) else { return };
            let file = hash_whole(path, grid, watch);
            if let Ok(mut hashed) = hashed.lock() {
                hashed[index] = file;
            }
        }
    };
    thread::scope(|scope| {
        let num_cores = thread::available_parallelism().map_or(1, usize::from);
        for _ in 1..num_cores.min(MAX_THREADS).min(paths.len()) {
            scope.spawn(work);
        }
        work();
    });
    hashed.into_inner().unwrap_or_default()
}

/// The digest and length of a run of a file; `None` when it cannot be read or nobody wants the rest.
pub(super) fn hash_run(path: &Path, offset: u64, length: u64, watch: &Watch<'_>) -> Option<(Sha256, u64)> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut reader = file.take(length);
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES.min(usize::try_from(length).unwrap_or(BUFFER_BYTES))];
    let mut size_bytes = 0;
    loop {
        let count = fill(&mut reader, &mut buffer, watch).ok()?;
        hasher.update(&buffer[..count]);
        size_bytes += count as u64;
        if count < buffer.len() || buffer.is_empty() {
            return Some((hasher.finish(), size_bytes));
        }
    }
}

/// Reads until the buffer is full or the end is reached.
fn fill(reader: &mut dyn Read, buffer: &mut [u8], watch: &Watch<'_>) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        if (watch.is_cancelled)() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                (watch.advance)(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Feeds both hashers, side by side where the block is worth a thread.
fn hash_both(whole: &mut Hasher, piece: &mut Hasher, block: &[u8]) {
    if block.len() < BLOCK_BYTES {
        whole.update(block);
        piece.update(block);
        return;
    }
    thread::scope(|scope| {
        scope.spawn(|| piece.update(block));
        whole.update(block);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::MAX_PIECE_BYTES;

    fn hashed(bytes: &[u8], boundaries: &[u64]) -> HashedFile {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).expect("room");
        let grid = |_: &Path, length| PieceList::grid(length, boundaries);
        hash_whole(&path, &grid, &Watch { advance: &|_| {}, is_cancelled: &|| false }).expect("readable")
    }

    #[test]
    fn one_reading_gives_the_digest_and_the_pieces() {
        let four_mib = MAX_PIECE_BYTES as usize;
        let bytes: Vec<u8> = (0..2 * four_mib + 5).map(|at| (at % 251) as u8).collect();
        let whole = hashed(&bytes, &[7]);
        assert_eq!((whole.digest, whole.size_bytes), (Sha256::of(&bytes), bytes.len() as u64));
        let list = whole.pieces.expect("four pieces");
        // 7 bytes up to the boundary, then a new grid from there on: 4 MiB and what is left, 4 MiB - 2.
        let lengths: Vec<u64> = list.pieces().iter().map(|piece| piece.length).collect();
        assert_eq!(lengths, [7, MAX_PIECE_BYTES, MAX_PIECE_BYTES - 2]);
        assert_eq!(list.pieces()[1].sha256, Sha256::of(&bytes[7..four_mib + 7]));
        assert_eq!(list.pieces()[2].sha256, Sha256::of(&bytes[four_mib + 7..]));
    }

    #[test]
    fn a_file_of_one_piece_or_none_needs_no_list() {
        assert_eq!(hashed(b"", &[]).digest, Sha256::of(b""));
        assert_eq!(hashed(b"abc", &[]).pieces, None);
        let bytes = vec![7; MAX_PIECE_BYTES as usize + 1];
        assert_eq!(hashed(&bytes[1..], &[]).pieces, None);
        assert_eq!(hashed(&bytes, &[]).pieces.map(|list| list.pieces().len()), Some(2));
    }

    #[test]
    fn work_that_nobody_wants_ends() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("file");
        std::fs::write(&path, [1; 100]).expect("room");
        let watch = Watch { advance: &|_| {}, is_cancelled: &|| true };
        assert_eq!(hash_whole(&path, &|_, length| PieceList::grid(length, &[]), &watch), None);
        assert_eq!(hash_run(&path, 0, 100, &watch), None);
    }
}
