//! Making lost pieces good: what is left of the volumes, what this site has already, and parity.
//!
//! Nothing is believed: a piece counts as left when its bytes hash to its digest, and so does what comes
//! out. A wrong guess costs time, never a wrong byte.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use reed_solomon_simd::ReedSolomonDecoder;

use crate::bundle::codec;
use crate::bundle::description::PieceEntry;
use crate::bundle::error::{BundleError, Result};
use crate::bundle::stick::Bundle;
use crate::digest::Sha256;
use crate::disk;
use crate::package::MAX_PIECE_BYTES;
use crate::progress::Monitor;

use super::keep::kept_path;
use super::shard::{ShardPiece, fill, overlapping, shards_of};
use super::{Parity, block_bytes, impossible};

/// A piece that is wanted and did not come: blob and piece, by their numbers in the description.
pub(in crate::bundle) type Missing = (usize, usize);

/// Whole blobs of this site, by digest and size.
type Held<'a> = dyn Fn(&Sha256, u64) -> Option<PathBuf> + 'a;

/// One attempt to make good what is missing of a bundle.
pub(in crate::bundle) struct Recovery<'a> {
    bundle: &'a Bundle,
    parity: &'a Parity,
    staging: &'a Path,
    held: &'a Held<'a>,
    /// Pieces that lie in the part files of staging.
    in_parts: HashSet<Missing>,
    shards: Vec<Vec<ShardPiece>>,
    /// Where the bytes of a piece were found and verified; `None` when nowhere.
    found: HashMap<Missing, Option<Place>>,
    found_parity: HashMap<(usize, usize), Option<Place>>,
    files: HashMap<PathBuf, Option<File>>,
    /// The block that was made good last, by shard and place: many small pieces may lie in one.
    last_block: Option<((usize, u64), Vec<u8>)>,
}

/// Where the plain bytes of a piece begin, or its stored ones when they are compressed.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    at: u64,
    is_compressed: bool,
}

impl<'a> Recovery<'a> {
    /// Prepares for a bundle; `None` when it has no parity.
    pub(in crate::bundle) fn new(bundle: &'a Bundle, staging: &'a Path, held: &'a Held<'a>) -> Option<Self> {
        let description = &bundle.description;
        Some(Self {
            bundle,
            parity: description.parity.as_ref()?,
            staging,
            held,
            in_parts: HashSet::new(),
            shards: shards_of(description),
            found: HashMap::new(),
            found_parity: HashMap::new(),
            files: HashMap::new(),
            last_block: None,
        })
    }

    /// Says that a piece lies, verified, in the part file of its blob.
    pub(in crate::bundle) fn has_in_part(&mut self, piece: Missing) {
        self.in_parts.insert(piece);
    }

    /// Makes good what can be made good, and gives each piece to `take`. Returns how many there were.
    ///
    /// # Errors
    /// `Cancelled`; whatever `take` returns. What cannot be made good is no error.
    pub(in crate::bundle) fn run(
        &mut self,
        missing: &[Missing],
        take: &mut dyn FnMut(Missing, Vec<u8>) -> Result<()>,
        monitor: &dyn Monitor,
    ) -> Result<usize> {
        let missing: HashSet<Missing> = missing.iter().copied().collect();
        let mut num_recovered = 0;
        for volume in 0..self.shards.len() {
            for index in 0..self.shards[volume].len() {
                let piece = self.shards[volume][index];
                let id = (piece.blob, piece.piece);
                if !missing.contains(&id) || self.in_parts.contains(&id) {
                    continue;
                }
                if monitor.is_cancelled() {
                    return Err(BundleError::Cancelled);
                }
                if let Some(bytes) = self.piece(volume, &piece)? {
                    take(id, bytes)?;
                    self.in_parts.insert(id);
                    self.found.remove(&id);
                    num_recovered += 1;
                }
            }
        }
        Ok(num_recovered)
    }

    /// The bytes of one lost piece; `None` when too much is lost with it.
    fn piece(&mut self, volume: usize, piece: &ShardPiece) -> Result<Option<Vec<u8>>> {
        let end = piece.at + piece.length;
        if !self.may_be_enough(volume, piece.at, piece.length) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let block = block_bytes(self.shards.len() + self.parity.volumes.len());
        let mut at = piece.at / block * block;
        while at < end {
            let length = block.min(self.parity.shard_bytes - at);
            let Some(restored) = self.known_block(volume, at, length)? else { return Ok(None) };
            let from = piece.at.max(at) - at;
            let to = end.min(at + length) - at;
            let part = usize::try_from(from).unwrap_or_default()..usize::try_from(to).unwrap_or_default();
            bytes.extend_from_slice(restored.get(part).unwrap_or_default());
            at += length;
        }
        Ok((Sha256::of(&bytes) == self.entry(piece).sha256).then_some(bytes))
    }

    /// One block of a lost shard; the one made good last is at hand.
    fn known_block(&mut self, volume: usize, at: u64, length: u64) -> Result<Option<&[u8]>> {
        let place = (volume, at);
        if self.last_block.as_ref().is_none_or(|(last, _)| *last != place) {
            self.last_block = self.block(volume, at, length)?.map(|block| (place, block));
        }
        Ok(self.last_block.as_ref().map(|(_, block)| block.as_slice()))
    }

    /// One block of a lost shard.
    fn block(&mut self, volume: usize, at: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let size = usize::try_from(length).unwrap_or_default();
        let mut decoder = ReedSolomonDecoder::new(self.shards.len(), self.parity.volumes.len(), size)
            .map_err(|error| impossible(&error))?;
        let mut buffer = vec![0; size];
        let mut num_lost = 0;
        for shard in 0..self.shards.len() {
            if shard != volume && self.read_block(shard, at, &mut buffer) {
                decoder.add_original_shard(shard, &buffer).map_err(|error| impossible(&error))?;
            } else {
                num_lost += 1;
            }
        }
        for parity in 0..self.parity.volumes.len() {
            if num_lost > 0 && self.read_parity(parity, at, &mut buffer) {
                decoder.add_recovery_shard(parity, &buffer).map_err(|error| impossible(&error))?;
                num_lost -= 1;
            }
        }
        if num_lost > 0 {
            return Ok(None);
        }
        let decoded = decoder.decode().map_err(|error| impossible(&error))?;
        Ok(decoded.restored_original(volume).map(<[u8]>::to_vec))
    }

    /// A quick look, without reading: are there enough shards that might be whole around this place?
    fn may_be_enough(&self, volume: usize, at: u64, length: u64) -> bool {
        let is_there = |shard: &usize| {
            *shard != volume
                && overlapping(&self.shards[*shard], at, length)
                    .iter()
                    .all(|piece| !self.candidates(piece, *shard).is_empty())
        };
        let num_there = (0..self.shards.len()).filter(is_there).count();
        let num_parity = (0..self.parity.volumes.len())
            .filter(|&volume| self.parity_paths(volume).iter().any(|(path, _)| path.is_file()))
            .count();
        num_there + num_parity >= self.shards.len()
    }

    /// Reads a block of a shard; false when one of its pieces is lost or damaged.
    fn read_block(&mut self, shard: usize, at: u64, buffer: &mut [u8]) -> bool {
        let pieces = overlapping(&self.shards[shard], at, buffer.len() as u64).to_vec();
        if !pieces.iter().all(|piece| self.find(piece, shard).is_some()) {
            return false;
        }
        let filled = fill(&pieces, at, buffer, &mut |piece, offset, bytes| {
            let place = self.find(piece, shard);
            let plain = place.and_then(|place| self.plain_bytes(piece, &place, offset, bytes.len()));
            let plain = plain.ok_or(BundleError::Parity { reason: "a piece is lost".into() })?;
            bytes.copy_from_slice(&plain);
            Ok(())
        });
        filled.is_ok()
    }

    /// Where a piece lies whole; looked up, and hashed, once.
    fn find(&mut self, piece: &ShardPiece, shard: usize) -> Option<Place> {
        let id = (piece.blob, piece.piece);
        if let Some(known) = self.found.get(&id) {
            return known.clone();
        }
        let length = usize::try_from(piece.length).unwrap_or_default();
        let expected = self.entry(piece).sha256;
        let place = self.candidates(piece, shard).into_iter().find(|place| {
            let plain = self.plain_bytes(piece, place, 0, length);
            plain.is_some_and(|plain| Sha256::of(&plain) == expected)
        });
        self.found.insert(id, place.clone());
        place
    }

    /// Where a piece might lie.
    fn candidates(&self, piece: &ShardPiece, shard: usize) -> Vec<Place> {
        let description = &self.bundle.description;
        let blob = &description.blobs[piece.blob];
        let mut places = Vec::new();
        let mut add = |path: PathBuf, at, is_compressed| places.push(Place { path, at, is_compressed });
        if self.in_parts.contains(&(piece.blob, piece.piece)) {
            add(self.staging.join(format!("{}.part", blob.sha256)), piece.in_blob, false);
        } else if let Some(path) = (self.held)(&blob.sha256, blob.size_bytes) {
            add(path, piece.in_blob, false);
        }
        let volume = self.bundle.folder.join(&description.volumes[shard].name);
        if volume.symlink_metadata().is_ok_and(|metadata| metadata.len() > piece.in_volume) {
            add(volume, piece.in_volume, self.entry(piece).stored.is_some());
        }
        places
    }

    /// `count` plain bytes of a piece from `offset` on, as they lie at a place.
    fn plain_bytes(
        &mut self,
        piece: &ShardPiece,
        place: &Place,
        offset: u64,
        count: usize,
    ) -> Option<Vec<u8>> {
        let entry = self.entry(piece);
        if !place.is_compressed {
            return self.read(&place.path, place.at + offset, count);
        }
        let stored = self.read(&place.path, place.at, usize::try_from(entry.stored_bytes()).ok()?)?;
        let plain = codec::restore(&entry, stored).ok()?;
        let offset = usize::try_from(offset).ok()?;
        plain.get(offset..offset.checked_add(count)?).map(<[u8]>::to_vec)
    }

    fn read_parity(&mut self, volume: usize, at: u64, buffer: &mut [u8]) -> bool {
        let piece = usize::try_from(at / MAX_PIECE_BYTES).unwrap_or_default();
        let Some(place) = self.find_parity(volume, piece) else { return false };
        match self.read(&place.path, place.at + at % MAX_PIECE_BYTES, buffer.len()) {
            Some(bytes) => buffer.copy_from_slice(&bytes),
            None => return false,
        }
        true
    }

    /// Where a piece of a parity volume lies whole: on this stick, or kept from another.
    fn find_parity(&mut self, volume: usize, piece: usize) -> Option<Place> {
        if let Some(known) = self.found_parity.get(&(volume, piece)) {
            return known.clone();
        }
        let length = usize::try_from(self.parity.piece_bytes(piece)).unwrap_or_default();
        let expected = *self.parity.volumes.get(volume)?.pieces.get(piece)?;
        let place = self.parity_paths(volume).into_iter().find_map(|(path, is_kept)| {
            let at = if is_kept { piece as u64 * MAX_PIECE_BYTES } else { Parity::place_of(piece) };
            let bytes = self.read(&path, at, length)?;
            (Sha256::of(&bytes) == expected).then_some(Place { path, at, is_compressed: false })
        });
        self.found_parity.insert((volume, piece), place.clone());
        place
    }

    /// The files that may hold a parity shard, and whether each is kept here, without tar around it.
    fn parity_paths(&self, volume: usize) -> [(PathBuf, bool); 2] {
        let name = &self.parity.volumes[volume].name;
        let kept = kept_path(self.staging, &self.bundle.description.id, name);
        [(self.bundle.folder.join(name), false), (kept, true)]
    }

    fn read(&mut self, path: &Path, at: u64, count: usize) -> Option<Vec<u8>> {
        if !self.files.contains_key(path) {
            if self.files.len() >= 64 {
                self.files.clear();
            }
            self.files.insert(path.to_owned(), disk::open_plain(path).ok());
        }
        let mut bytes = vec![0; count];
        self.files.get(path)?.as_ref()?.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    fn entry(&self, piece: &ShardPiece) -> PieceEntry {
        self.bundle.description.blobs[piece.blob].pieces[piece.piece]
    }
}
