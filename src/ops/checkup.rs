//! Hashing what packages consist of, each blob once, on all cores; shared by `verify` and `repair`.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk::identity;
use crate::package::{FileEntry, PackageRef, PieceList};
use crate::progress::{Monitor, Unit};
use crate::store::{BlobHealth, DamagedPiece, Installed, Store, Verdict, Watch};

use super::error::{Error, Result};
use super::path::held_all;
use super::reuse::gguf_header;

/// A file that is not as its publisher made it.
#[derive(Debug, Clone, Serialize)]
pub struct DamagedFile {
    /// Its name in the package.
    pub path: String,
    /// What it should hash to.
    pub sha256: Sha256,
    /// How many bytes it should have.
    pub size_bytes: u64,
    /// True when it is not there at all.
    pub is_missing: bool,
    /// True when its bytes were taken out of use; they are kept for `repair`.
    pub is_aside: bool,
    /// The damaged bytes, in order.
    pub damaged_pieces: Vec<DamagedPiece>,
}

impl DamagedFile {
    /// How many bytes have to come again.
    pub fn damaged_bytes(&self) -> u64 {
        self.damaged_ranges().into_iter().map(|range| range.end - range.start).sum()
    }

    /// Which bytes have to come again, in order.
    pub(super) fn damaged_ranges(&self) -> Vec<Range<u64>> {
        if self.is_missing {
            return std::iter::once(0..self.size_bytes).collect();
        }
        let within = |piece: &&DamagedPiece| piece.offset < self.size_bytes;
        let pieces = self.damaged_pieces.iter().filter(within);
        pieces.map(|piece| piece.offset..piece.offset + piece.length).collect()
    }
}

/// The health of every blob of some packages.
pub(super) struct Checkup {
    health: HashMap<Sha256, BlobHealth>,
    /// The bytes of all these blobs.
    pub(super) size_bytes: u64,
    /// False when it was stopped before the end.
    pub(super) is_complete: bool,
}

/// The packages that are meant: when none is named, all that are here, older versions that are kept among them; an
/// older one whose record is damaged is named and passed over.
///
/// # Errors
/// When one is not here, or a record is damaged.
pub(super) fn meant(store: &Store, packages: &[PackageRef], monitor: &dyn Monitor) -> Result<Vec<Installed>> {
    if packages.is_empty() {
        warn_of_lost_ways_back(store, monitor);
        return Ok([store.installed()?, store.fetched()?, store.previous()?].concat());
    }
    let mut meant: Vec<Installed> = Vec::new();
    for package in packages {
        for held in held_all(store, package)? {
            if !meant.contains(&held) {
                meant.push(held);
            }
        }
    }
    Ok(meant)
}

/// Names the versions before whose records are damaged: nothing else is the worse for it.
pub(super) fn warn_of_lost_ways_back(store: &Store, monitor: &dyn Monitor) {
    for (_, damage) in store.damaged_previous() {
        monitor.warn(&Error::from(damage).in_one_line());
    }
}

/// What the names of its files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is installed: its files have their names.
    Installed,
    /// It is only kept to be carried on: its files have none.
    Fetched,
    /// It is kept for a way back: its files have their names.
    Previous,
}

/// Where a package stands.
///
/// # Errors
/// When a record is damaged.
pub(super) fn place_of(store: &Store, package: &Installed) -> Result<Place> {
    if store.find(package.name())?.as_ref() == Some(package) {
        return Ok(Place::Installed);
    }
    let is_fetched = store.fetched_of(package.name())?.contains(package);
    Ok(if is_fetched { Place::Fetched } else { Place::Previous })
}

/// Hashes every blob of these packages. The pieces of whole blobs that nobody had told are kept, so that a later
/// damage is found to the piece.
pub(super) fn check_up(store: &Store, packages: &[Installed], monitor: &dyn Monitor) -> Checkup {
    let mut files: HashMap<Sha256, FileEntry> = HashMap::new();
    for file in packages.iter().flat_map(Installed::files) {
        let known = files.entry(file.sha256).or_insert_with(|| file.clone());
        known.pieces = known.pieces.or(file.pieces);
    }
    let mut files: Vec<FileEntry> = files.into_values().collect();
    files.sort_by_key(|file| file.sha256);
    let size_bytes = files.iter().map(|file| file.size_bytes).sum();
    let task = monitor.start("verifying", Some(size_bytes), Unit::Bytes);
    let watch = Watch { advance: &|count| task.advance(count), is_cancelled: &|| monitor.is_cancelled() };
    let health = store.verify(&files, &grid, &watch);
    for blob in &health {
        if let Some(list) = &blob.new_pieces {
            // Where the store cannot be written there is none, as before.
            let _ = store.keep_cut(&blob.digest, list);
        }
    }
    let health = health.into_iter().map(|blob| (blob.digest, blob)).collect();
    Checkup { health, size_bytes, is_complete: !monitor.is_cancelled() }
}

/// Cuts a file as its publisher would have: a GGUF anew at each large tensor.
pub(super) fn grid(path: &Path, size_bytes: u64) -> Vec<(u64, u64)> {
    let header = gguf_header(path).ok().flatten();
    PieceList::grid(size_bytes, &header.map(|header| header.piece_boundaries()).unwrap_or_default())
}

impl Checkup {
    /// What is wrong with the files of a package.
    pub(super) fn damaged_files(&self, package: &Installed) -> Vec<DamagedFile> {
        package.files().iter().filter_map(|file| self.damage(file)).collect()
    }

    /// The blobs that were set aside and are whole all the same.
    pub(super) fn wrongly_aside(&self, package: &Installed) -> Vec<Sha256> {
        let health = package.files().iter().filter_map(|file| self.health.get(&file.sha256));
        let wrongly = health.filter(|health| health.is_aside && health.verdict == Verdict::Whole);
        wrongly.map(|health| health.digest).collect()
    }

    /// True while the file lies there that was hashed: only then what was found of it counts.
    pub(super) fn is_current(&self, store: &Store, digest: &Sha256) -> bool {
        let hashed = self.health.get(digest).and_then(|health| health.identity.as_ref());
        let lying = store.lying_path(digest).and_then(|path| identity(&path));
        lying.as_ref() == hashed
    }

    fn damage(&self, file: &FileEntry) -> Option<DamagedFile> {
        let health = self.health.get(&file.sha256)?;
        let (is_missing, damaged_pieces) = match &health.verdict {
            Verdict::Whole => return None,
            Verdict::Missing => (true, Vec::new()),
            Verdict::Damaged(pieces) => (false, pieces.clone()),
        };
        Some(DamagedFile {
            path: file.path.to_string(),
            sha256: file.sha256,
            size_bytes: file.size_bytes,
            is_missing,
            is_aside: health.is_aside,
            damaged_pieces,
        })
    }
}
