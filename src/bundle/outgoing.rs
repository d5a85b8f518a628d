//! What an export carries, and how each blob is cut into pieces.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::digest::Sha256;
use crate::package::{Piece, PieceList};

use super::background::{Background, Buffers};
use super::codec;
use super::description::{BlobEntry, Item, PieceEntry};
use super::error::{BundleError, Result, io_error};
use super::id::SiteId;
use super::trust::TrustFile;

/// A blob that is to be carried.
#[derive(Debug, Clone)]
pub struct OutgoingBlob {
    /// Its digest; the bytes are checked against it while they are copied.
    pub digest: Sha256,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Where it lies on this machine.
    pub path: PathBuf,
    /// Its signed piece list, where there is one.
    pub pieces: Option<PieceList>,
    /// Lower numbers come first; among equals, small blobs.
    pub priority: u32,
    /// True for text, which is then compressed if that helps.
    pub is_text: bool,
    /// The pieces to carry, because the site has the others; all of them when absent.
    pub only: Option<Vec<Range<usize>>>,
}

/// All that one export carries.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// The packages.
    pub items: Vec<Item>,
    /// Their blobs, each once or more often.
    pub blobs: Vec<OutgoingBlob>,
    /// Blobs that the site must already hold.
    pub requires: Vec<Sha256>,
    /// The sites that it is meant for.
    pub recipients: Vec<SiteId>,
    /// Root chains and signed metadata.
    pub trust: Vec<TrustFile>,
    /// The time to write into the bundle, in seconds since 1970.
    pub created_at: u64,
}

/// A digest that stands for one not known yet.
pub(super) fn nothing() -> Sha256 {
    Sha256::from_bytes([0; 32])
}

impl OutgoingBlob {
    /// True when this piece is to be carried.
    pub(super) fn carries(&self, piece: usize) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|range| range.contains(&piece)))
    }

    /// Finds out the digests of all pieces where nobody signed them, by reading the blob once.
    ///
    /// # Errors
    /// `BlobDamaged` when its bytes are not what its name says.
    fn learn_pieces(&mut self) -> Result<()> {
        if self.pieces.as_ref().is_some_and(|list| list.size_bytes() == self.size_bytes) {
            return Ok(());
        }
        let damaged = |reason: String| BundleError::BlobDamaged {
            digest: self.digest,
            path: self.path.clone(),
            reason,
        };
        let file = File::open(&self.path).map_err(|error| damaged(error.to_string()))?;
        let (mut buffers, whole) = (Buffers::new(), Background::start());
        let mut pieces = Vec::new();
        for (offset, length) in PieceList::grid(self.size_bytes, &[]) {
            let fill = |buffer: &mut [u8]| file.read_exact_at(buffer, offset);
            let bytes = buffers
                .filled(usize::try_from(length).unwrap_or_default(), fill)
                .map_err(|error| damaged(error.to_string()))?;
            whole.update(&bytes);
            pieces.push(Piece { offset, length, sha256: Sha256::of(&bytes) });
        }
        let found = whole.finish();
        if found != self.digest {
            return Err(damaged(format!("its bytes have sha256 {found}")));
        }
        self.pieces = Some(PieceList::new(pieces).map_err(|error| damaged(error.to_string()))?);
        Ok(())
    }
}

/// Each blob once, the essential and small ones first.
pub(super) fn in_order(blobs: Vec<OutgoingBlob>) -> Vec<OutgoingBlob> {
    let mut once: HashMap<Sha256, OutgoingBlob> = HashMap::new();
    for blob in blobs {
        match once.entry(blob.digest) {
            Entry::Vacant(vacant) => {
                vacant.insert(blob);
            }
            Entry::Occupied(mut known) => known.get_mut().join(blob),
        }
    }
    let mut blobs: Vec<OutgoingBlob> = once.into_values().collect();
    blobs.sort_by_key(|blob| (blob.priority, blob.size_bytes, blob.digest));
    blobs
}

impl OutgoingBlob {
    /// Takes over what another mention of the same blob asks for.
    fn join(&mut self, other: Self) {
        self.priority = self.priority.min(other.priority);
        self.only = match (self.only.take(), other.only) {
            (Some(mut own), Some(others)) => {
                own.extend(others);
                Some(own)
            }
            _ => None,
        };
    }
}

/// A blob's entry with what is known before its bytes are copied; all of it when `is_complete`.
///
/// # Errors
/// `BlobDamaged` when the blob is not there with its length, or not what its name says.
pub(super) fn outline(blob: &mut OutgoingBlob, is_complete: bool) -> Result<BlobEntry> {
    let damaged =
        |reason: String| BundleError::BlobDamaged { digest: blob.digest, path: blob.path.clone(), reason };
    let file = File::open(&blob.path).map_err(|error| damaged(error.to_string()))?;
    let found_bytes = file.metadata().map_err(|error| io_error(&blob.path, error))?.len();
    if found_bytes != blob.size_bytes {
        return Err(damaged(format!("it has {found_bytes} bytes and should have {}", blob.size_bytes)));
    }
    // Pieces that stay behind are never read again, and yet have to be named.
    if is_complete || blob.only.is_some() {
        blob.learn_pieces()?;
    }
    let mut pieces = piece_entries(blob);
    if blob.is_text {
        let stored = stored_lengths(&file, &pieces).map_err(|error| io_error(&blob.path, error))?;
        for (piece, stored) in pieces.iter_mut().zip(stored) {
            piece.stored = Some(stored);
        }
    }
    Ok(BlobEntry { sha256: blob.digest, size_bytes: blob.size_bytes, pieces })
}

fn piece_entries(blob: &OutgoingBlob) -> Vec<PieceEntry> {
    match &blob.pieces {
        Some(list) if list.size_bytes() == blob.size_bytes => {
            let entry =
                |piece: &Piece| PieceEntry { length: piece.length, stored: None, sha256: piece.sha256 };
            list.pieces().iter().map(entry).collect()
        }
        _ => {
            let grid = PieceList::grid(blob.size_bytes, &[]);
            let entry = |(_, length)| PieceEntry { length, stored: None, sha256: nothing() };
            grid.into_iter().map(entry).collect()
        }
    }
}

/// The compressed length of every piece, or nothing when that saves less than a tenth.
///
/// All pieces or none, so that `cat … | zstd -dc` rebuilds the file.
fn stored_lengths(file: &File, pieces: &[PieceEntry]) -> std::io::Result<Vec<u64>> {
    let (mut offset, mut stored_total) = (0, 0);
    let mut lengths = Vec::with_capacity(pieces.len());
    let mut plain = Vec::new();
    for piece in pieces {
        plain.resize(usize::try_from(piece.length).unwrap_or_default(), 0);
        file.read_exact_at(&mut plain, offset)?;
        let stored = codec::compress(&plain)?.len() as u64;
        offset += piece.length;
        stored_total += stored;
        lengths.push(stored);
        // The first piece tells enough to spare the others.
        let saves = stored_total.saturating_mul(10) <= offset.saturating_mul(9);
        if !saves || stored > piece.length {
            return Ok(Vec::new());
        }
    }
    Ok(lengths)
}
