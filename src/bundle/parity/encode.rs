//! Making parity volumes from the blobs on this machine, a block of every shard at a time.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use reed_solomon_simd::ReedSolomonEncoder;

use crate::bundle::description::Description;
use crate::bundle::error::{BundleError, Result, io_error};
use crate::bundle::outgoing::OutgoingBlob;
use crate::bundle::volume::Target;
use crate::digest::{Hasher, Sha256};
use crate::package::MAX_PIECE_BYTES;
use crate::progress::{Monitor, Task};

use super::shard::{ShardPiece, fill, shards_of};
use super::{Parity, block_bytes, header, impossible};

/// The most files that are open at the same time.
const MAX_OPEN_FILES: usize = 128;

/// What is encoded.
pub(in crate::bundle) struct Encoding<'a> {
    pub(in crate::bundle) description: &'a Description,
    pub(in crate::bundle) sources: &'a [OutgoingBlob],
    pub(in crate::bundle) monitor: &'a dyn Monitor,
    pub(in crate::bundle) task: &'a dyn Task,
}

/// Where one parity volume goes.
pub(in crate::bundle) struct ParityTarget {
    target: Target,
    volume: usize,
    hasher: Hasher,
    in_piece: u64,
    pieces: Vec<Sha256>,
}

/// What became of one target.
pub(in crate::bundle) struct Encoded {
    /// Which parity volume, counted from 0.
    pub(in crate::bundle) volume: usize,
    /// The digests of its pieces.
    pub(in crate::bundle) pieces: Vec<Sha256>,
    /// The digest of the whole volume; that of one on this stick is found when it is read back.
    pub(in crate::bundle) sha256: Option<Sha256>,
}

impl ParityTarget {
    /// `volume` counts from 0.
    pub(in crate::bundle) fn new(volume: usize, target: Target) -> Self {
        Self { target, volume, hasher: Hasher::new(), in_piece: 0, pieces: Vec::new() }
    }

    fn put(&mut self, encoding: &Encoding<'_>, parity: &Parity, bytes: &[u8]) -> Result<()> {
        let piece_bytes = parity.piece_bytes(self.pieces.len());
        if self.in_piece == 0 {
            let id = &encoding.description.id;
            self.target.put(&header(id, self.volume, self.pieces.len(), piece_bytes))?;
        }
        self.target.put(bytes)?;
        self.hasher.update(bytes);
        self.in_piece += bytes.len() as u64;
        if self.in_piece == piece_bytes {
            self.target.pad(piece_bytes)?;
            self.pieces.push(std::mem::replace(&mut self.hasher, Hasher::new()).finish());
            self.in_piece = 0;
        }
        Ok(())
    }

    fn finish(self) -> Result<Encoded> {
        Ok(Encoded { volume: self.volume, pieces: self.pieces, sha256: self.target.finish()? })
    }
}

/// Writes the parity volumes that are asked for, all in one pass over the blobs.
///
/// # Errors
/// `BlobDamaged` when a blob cannot be read; `Cancelled`; when the stick fails.
pub(in crate::bundle) fn encode(
    encoding: &Encoding<'_>,
    parity: &Parity,
    mut targets: Vec<ParityTarget>,
) -> Result<Vec<Encoded>> {
    let description = encoding.description;
    let shards = shards_of(description);
    let mut files = Files { sources: encoding.sources, open: HashMap::new() };
    let block = block_bytes(shards.len() + parity.volumes.len());
    debug_assert!(MAX_PIECE_BYTES.is_multiple_of(block));
    let (mut at, mut buffer) = (0, Vec::new());
    while at < parity.shard_bytes {
        if encoding.monitor.is_cancelled() {
            return Err(BundleError::Cancelled);
        }
        buffer.resize(usize::try_from(block.min(parity.shard_bytes - at)).unwrap_or_default(), 0);
        let mut encoder = ReedSolomonEncoder::new(shards.len(), parity.volumes.len(), buffer.len())
            .map_err(|error| impossible(&error))?;
        for shard in &shards {
            fill(shard, at, &mut buffer, &mut |piece, offset, bytes| files.read(piece, offset, bytes))?;
            encoder.add_original_shard(&buffer).map_err(|error| impossible(&error))?;
        }
        let encoded = encoder.encode().map_err(|error| impossible(&error))?;
        for target in &mut targets {
            target.put(encoding, parity, encoded.recovery(target.volume).unwrap_or_default())?;
        }
        at += buffer.len() as u64;
        encoding.task.advance(buffer.len() as u64);
    }
    targets.into_iter().map(ParityTarget::finish).collect()
}

/// The blobs on this machine, a few of them open.
struct Files<'a> {
    sources: &'a [OutgoingBlob],
    open: HashMap<usize, File>,
}

impl Files<'_> {
    fn read(&mut self, piece: &ShardPiece, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let source = &self.sources[piece.blob];
        if !self.open.contains_key(&piece.blob) {
            if self.open.len() >= MAX_OPEN_FILES {
                self.open.clear();
            }
            let file = File::open(&source.path).map_err(|error| io_error(&source.path, error))?;
            self.open.insert(piece.blob, file);
        }
        let Some(file) = self.open.get(&piece.blob) else { return Ok(()) };
        file.read_exact_at(bytes, piece.in_blob + offset).map_err(|error| BundleError::BlobDamaged {
            digest: source.digest,
            path: source.path.clone(),
            reason: error.to_string(),
        })
    }
}
