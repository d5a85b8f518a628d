//! Hashing blobs again, on all cores: whole blobs side by side, and large ones piece by piece.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::digest::{Hasher, Sha256};
use crate::package::{FileEntry, Piece, PieceList};

use super::Store;

/// How many bytes of pieces one job hashes, so that cores share a large blob evenly.
const JOB_BYTES: u64 = 64 * 1024 * 1024;

/// What was found of one file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobHealth {
    /// The blob.
    pub digest: Sha256,
    /// How it is.
    pub verdict: Verdict,
}

/// How a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte is as promised.
    Whole,
    /// The blob is not there.
    Missing,
    /// Some bytes differ; the damaged runs as `(offset, length)`, or the whole blob where no pieces are known.
    Damaged(Vec<(u64, u64)>),
}

impl Store {
    /// Hashes the blobs of these files again. `advance` hears of each run of bytes done; `is_cancelled`
    /// ends the work early, with the blobs not reached reported as they were found so far.
    pub fn verify(
        &self,
        files: &[FileEntry],
        advance: &(dyn Fn(u64) + Sync),
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Vec<BlobHealth> {
        let jobs: Vec<Job> =
            files.iter().enumerate().flat_map(|(index, file)| self.jobs_of(index, file)).collect();
        let damaged: Mutex<Vec<(usize, u64, u64)>> = Mutex::default();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if is_cancelled() {
                    return;
                }
                let found = self.run(job, &files[job.file], advance);
                if let Ok(mut damaged) = damaged.lock() {
                    damaged.extend(found.into_iter().map(|(offset, length)| (job.file, offset, length)));
                }
            }
        };
        thread::scope(|scope| {
            let num_threads = thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
            for _ in 1..num_threads {
                scope.spawn(work);
            }
            work();
        });
        let mut damaged = damaged.into_inner().unwrap_or_default();
        damaged.sort_unstable();
        files.iter().enumerate().map(|(index, file)| self.health(index, file, &damaged)).collect()
    }

    fn health(&self, index: usize, file: &FileEntry, damaged: &[(usize, u64, u64)]) -> BlobHealth {
        let runs: Vec<(u64, u64)> =
            damaged.iter().filter(|run| run.0 == index).map(|run| (run.1, run.2)).collect();
        let verdict = if !self.place_of(&file.sha256).is_file() {
            Verdict::Missing
        } else if runs.is_empty() {
            Verdict::Whole
        } else {
            Verdict::Damaged(runs)
        };
        BlobHealth { digest: file.sha256, verdict }
    }

    /// Pieces in groups where a piece list is known and fits, else the whole blob.
    fn jobs_of(&self, file: usize, entry: &FileEntry) -> Vec<Job> {
        let list = entry.pieces.and_then(|digest| self.piece_list(&digest).ok().flatten());
        match list {
            Some(list) if list.size_bytes() == entry.size_bytes => {
                group(&list).into_iter().map(|pieces| Job { file, pieces }).collect()
            }
            _ => vec![Job { file, pieces: Vec::new() }],
        }
    }

    fn run(&self, job: &Job, file: &FileEntry, advance: &(dyn Fn(u64) + Sync)) -> Vec<(u64, u64)> {
        let path = self.place_of(&file.sha256);
        if job.pieces.is_empty() {
            let is_whole = hash_run(&path, 0, u64::MAX, advance) == Some((file.sha256, file.size_bytes));
            return if is_whole { Vec::new() } else { vec![(0, file.size_bytes)] };
        }
        let is_bad = |piece: &&Piece| {
            hash_run(&path, piece.offset, piece.length, advance) != Some((piece.sha256, piece.length))
        };
        job.pieces.iter().filter(is_bad).map(|piece| (piece.offset, piece.length)).collect()
    }
}

/// One share of the work: some pieces of a file, or all of it when there are none.
struct Job {
    file: usize,
    pieces: Vec<Piece>,
}

fn group(list: &PieceList) -> Vec<Vec<Piece>> {
    let mut groups: Vec<Vec<Piece>> = Vec::new();
    let mut group_bytes = JOB_BYTES;
    for piece in list.pieces() {
        if group_bytes >= JOB_BYTES {
            groups.push(Vec::new());
            group_bytes = 0;
        }
        if let Some(last) = groups.last_mut() {
            last.push(*piece);
        }
        group_bytes += piece.length;
    }
    groups
}

/// The digest and length of a run of a file; `None` when it cannot be read.
fn hash_run(path: &Path, offset: u64, length: u64, advance: &(dyn Fn(u64) + Sync)) -> Option<(Sha256, u64)> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut reader = file.take(length);
    let mut size_bytes = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Some((hasher.finish(), size_bytes)),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size_bytes += count as u64;
                advance(count as u64);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
