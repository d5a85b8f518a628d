//! Hashing blobs again, on all cores: whole blobs side by side, and large ones piece by piece.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk::{Identity, identity};
use crate::package::{FileEntry, Piece, PieceList};

use super::Store;
use super::hashing::{Grid, MAX_THREADS, Watch, hash_run, hash_whole};

/// How many bytes of pieces one job hashes, so that cores share a large blob evenly.
const JOB_BYTES: u64 = 64 * 1024 * 1024;

/// What was found of one file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobHealth {
    /// The blob.
    pub digest: Sha256,
    /// How it is.
    pub verdict: Verdict,
    /// True when the bytes that were hashed lie aside, out of use, because they were found damaged before.
    pub is_aside: bool,
    /// The pieces of a whole blob whose pieces nobody had told, computed on the way and worth keeping.
    pub new_pieces: Option<PieceList>,
    /// The file that was hashed; another one may lie there by now.
    pub identity: Option<Identity>,
}

/// How a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte is as promised.
    Whole,
    /// The blob is not there.
    Missing,
    /// Some bytes differ.
    Damaged(Vec<DamagedPiece>),
}

/// Bytes that differ from what was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DamagedPiece {
    /// Where they begin.
    pub offset: u64,
    /// How many bytes they are.
    pub length: u64,
    /// The piece's number in the piece list, from 0; `None` when no pieces are known and the damage lies somewhere
    /// in these bytes, or when they stand behind the true end of the file.
    pub number: Option<usize>,
}

impl Store {
    /// Hashes the blobs of these files again. Cancelled, it ends early, with the blobs not reached reported as they
    /// were found so far. `grid` says how a blob is to be cut whose pieces nobody has told.
    ///
    /// Where pieces that were only found out here speak of damage, the sha256 of the whole has the last word.
    pub fn verify(&self, files: &[FileEntry], grid: Grid<'_>, watch: &Watch<'_>) -> Vec<BlobHealth> {
        let looks: Vec<Look<'_>> = files.iter().map(|file| self.look_at(file)).collect();
        let mut jobs: Vec<Job> =
            looks.iter().enumerate().flat_map(|(index, look)| look.jobs(index)).collect();
        // The longest first: what begins last must not be what takes longest.
        jobs.sort_by_key(|job| Reverse(job.length));
        let found = run_all(&jobs, &looks, grid, watch);
        looks.iter().enumerate().map(|(index, look)| look.health(index, &found, grid, watch)).collect()
    }

    /// Finds a file's bytes, in use or set aside, and by which pieces they can be checked.
    fn look_at<'a>(&self, file: &'a FileEntry) -> Look<'a> {
        let lies = |path: PathBuf| {
            let metadata = fs::symlink_metadata(&path).ok()?;
            metadata.is_file().then_some((path, metadata.len()))
        };
        let in_use = lies(self.place_of(&file.sha256));
        let is_aside = in_use.is_none();
        let lying = in_use.or_else(|| lies(self.set_aside_place(&file.sha256)));
        let pieces = lying.as_ref().and_then(|_| self.cut_of(file));
        let is_told = file.pieces.is_some_and(|told| self.piece_list(&told).is_ok_and(|list| list.is_some()));
        let identity = lying.as_ref().and_then(|(path, _)| identity(path));
        Look { file, is_aside: is_aside && lying.is_some(), lying, identity, pieces, is_told }
    }
}

/// Does all jobs, on as many threads as there are cores.
fn run_all(jobs: &[Job], looks: &[Look<'_>], grid: Grid<'_>, watch: &Watch<'_>) -> Vec<(usize, Found)> {
    let found: Mutex<Vec<(usize, Found)>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if (watch.is_cancelled)() {
                return;
            }
            let outcome = looks[job.file].run(job, grid, watch);
            if let Ok(mut found) = found.lock() {
                found.push((job.file, outcome));
            }
        }
    };
    thread::scope(|scope| {
        let num_cores = thread::available_parallelism().map_or(1, usize::from);
        for _ in 1..num_cores.min(MAX_THREADS).min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    found.into_inner().unwrap_or_default()
}

/// One file, before it is hashed.
struct Look<'a> {
    file: &'a FileEntry,
    /// Where its bytes lie, and how many they are.
    lying: Option<(PathBuf, u64)>,
    identity: Option<Identity>,
    is_aside: bool,
    pieces: Option<PieceList>,
    /// True when the publisher told these pieces.
    is_told: bool,
}

/// One share of the work: some pieces of a file, or all of it when there are none.
struct Job {
    file: usize,
    /// The first piece's number, and the pieces.
    pieces: (usize, Vec<Piece>),
    length: u64,
}

/// What one job came to.
#[derive(Default)]
struct Found {
    damaged: Vec<DamagedPiece>,
    new_pieces: Option<PieceList>,
}

impl Look<'_> {
    /// Pieces in groups where a piece list is known and fits, else the whole blob.
    fn jobs(&self, file: usize) -> Vec<Job> {
        match (&self.lying, &self.pieces) {
            (None, _) => Vec::new(),
            (Some(_), Some(list)) => group(file, list),
            (Some((_, length)), None) => {
                vec![Job { file, pieces: (0, Vec::new()), length: *length }]
            }
        }
    }

    fn run(&self, job: &Job, grid: Grid<'_>, watch: &Watch<'_>) -> Found {
        let Some((path, _)) = &self.lying else { return Found::default() };
        let (first, pieces) = &job.pieces;
        if pieces.is_empty() {
            return self.hash_all(path, grid, watch);
        }
        let is_bad = |piece: &Piece| {
            hash_run(path, piece.offset, piece.length, watch) != Some((piece.sha256, piece.length))
        };
        let mut found = Found::default();
        for (index, piece) in pieces.iter().enumerate() {
            // What was not read to its end is no damage.
            if is_bad(piece) && !(watch.is_cancelled)() {
                let number = Some(first + index);
                found.damaged.push(DamagedPiece { offset: piece.offset, length: piece.length, number });
            }
        }
        found
    }

    fn hash_all(&self, path: &Path, grid: Grid<'_>, watch: &Watch<'_>) -> Found {
        let FileEntry { sha256, size_bytes, .. } = self.file;
        match hash_whole(path, grid, watch) {
            Some(whole) if whole.digest == *sha256 && whole.size_bytes == *size_bytes => {
                Found { damaged: Vec::new(), new_pieces: whole.pieces }
            }
            _ if (watch.is_cancelled)() => Found::default(),
            _ => {
                let all = DamagedPiece { offset: 0, length: *size_bytes, number: None };
                Found { damaged: vec![all], new_pieces: None }
            }
        }
    }

    fn health(
        &self,
        index: usize,
        found: &[(usize, Found)],
        grid: Grid<'_>,
        watch: &Watch<'_>,
    ) -> BlobHealth {
        let own = || found.iter().filter(|(file, _)| *file == index).map(|(_, found)| found);
        let mut damaged: Vec<DamagedPiece> = own().flat_map(|found| found.damaged.clone()).collect();
        let mut new_pieces = own().find_map(|found| found.new_pieces.clone());
        if let (false, true, Some((path, _))) = (damaged.is_empty(), self.pieces.is_some(), &self.lying)
            && !self.is_told
        {
            let silent = Watch { advance: &|_| {}, ..*watch };
            let again = self.hash_all(path, grid, &silent);
            if again.damaged.is_empty() && !(watch.is_cancelled)() {
                damaged.clear();
                new_pieces = again.new_pieces;
            }
        }
        if self.pieces.is_some() {
            damaged.extend(self.surplus());
        }
        damaged.sort_unstable();
        let verdict = match (&self.lying, damaged.is_empty()) {
            (None, _) => Verdict::Missing,
            (Some(_), true) => Verdict::Whole,
            (Some(_), false) => Verdict::Damaged(damaged),
        };
        let (digest, identity) = (self.file.sha256, self.identity.clone());
        BlobHealth { digest, verdict, is_aside: self.is_aside, new_pieces, identity }
    }

    /// Bytes behind the end that the file should have; no piece speaks of them.
    fn surplus(&self) -> Option<DamagedPiece> {
        let (_, length) = self.lying.as_ref()?;
        let surplus = length.checked_sub(self.file.size_bytes).filter(|surplus| *surplus > 0)?;
        Some(DamagedPiece { offset: self.file.size_bytes, length: surplus, number: None })
    }
}

fn group(file: usize, list: &PieceList) -> Vec<Job> {
    let mut groups: Vec<Job> = Vec::new();
    for (number, piece) in list.pieces().iter().enumerate() {
        match groups.last_mut() {
            Some(job) if job.length < JOB_BYTES => {
                job.pieces.1.push(*piece);
                job.length += piece.length;
            }
            _ => groups.push(Job { file, pieces: (number, vec![*piece]), length: piece.length }),
        }
    }
    groups
}
