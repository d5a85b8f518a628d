//! What a shard is made of: the plain bytes of a volume's pieces, in the volume's order.

use crate::bundle::description::{BlobEntry, Description, PieceEntry, Run, VolumeEntry};
use crate::bundle::entry::{BLOCK_BYTES, entry_bytes};
use crate::bundle::error::Result;

/// A piece of a blob as part of a shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShardPiece {
    /// The blob, counted from 0 in the description.
    pub(super) blob: usize,
    /// The piece, counted from 0 in the blob.
    pub(super) piece: usize,
    /// Where it begins in the shard.
    pub(super) at: u64,
    /// How many plain bytes it has.
    pub(super) length: u64,
    /// Where it begins in its blob.
    pub(super) in_blob: u64,
    /// Where its stored bytes begin in the volume's file, behind the header.
    pub(super) in_volume: u64,
}

/// Reads plain bytes of a piece, from an offset inside it on.
pub(super) type Read<'a> = dyn FnMut(&ShardPiece, u64, &mut [u8]) -> Result<()> + 'a;

/// The pieces of every volume's shard, in order.
pub(super) fn shards_of(description: &Description) -> Vec<Vec<ShardPiece>> {
    let begins: Vec<Vec<u64>> = description.blobs.iter().map(begins).collect();
    description.volumes.iter().map(|volume| shard_of(&description.blobs, &begins, volume)).collect()
}

/// Where each piece begins in its blob.
fn begins(blob: &BlobEntry) -> Vec<u64> {
    let next = |at: &mut u64, piece: &PieceEntry| {
        let begin = *at;
        *at += piece.length;
        Some(begin)
    };
    blob.pieces.iter().scan(0, next).collect()
}

fn shard_of(blobs: &[BlobEntry], begins: &[Vec<u64>], volume: &VolumeEntry) -> Vec<ShardPiece> {
    let (mut at, mut entry_at) = (0, 0);
    let mut pieces = Vec::new();
    for &Run { blob, first, count } in &volume.holds {
        let listed = blobs[blob].pieces.iter().zip(&begins[blob]).enumerate();
        for (piece, (listed, &in_blob)) in listed.skip(first).take(count) {
            let (length, in_volume) = (listed.length, entry_at + BLOCK_BYTES);
            pieces.push(ShardPiece { blob, piece, at, length, in_blob, in_volume });
            at += length;
            entry_at += entry_bytes(listed.stored_bytes());
        }
    }
    pieces
}

/// The length of the longest shard.
pub(super) fn longest_bytes(description: &Description) -> u64 {
    let plain_bytes = |volume: &VolumeEntry| {
        let pieces = |run: &Run| &description.blobs[run.blob].pieces[run.first..run.first + run.count];
        volume.holds.iter().flat_map(pieces).map(|piece| piece.length).sum()
    };
    description.volumes.iter().map(plain_bytes).max().unwrap_or(0)
}

/// The pieces that have bytes in `at .. at + length` of a shard.
pub(super) fn overlapping(pieces: &[ShardPiece], at: u64, length: u64) -> &[ShardPiece] {
    let first = pieces.partition_point(|piece| piece.at + piece.length <= at);
    let end = pieces.partition_point(|piece| piece.at < at + length);
    &pieces[first.min(end)..end]
}

/// Fills a block with the bytes of a shard from `at` on; behind its end are zeros.
///
/// # Errors
/// Whatever `read` returns.
pub(super) fn fill(pieces: &[ShardPiece], at: u64, block: &mut [u8], read: &mut Read<'_>) -> Result<()> {
    block.fill(0);
    for piece in overlapping(pieces, at, block.len() as u64) {
        let begin = piece.at.max(at);
        let end = (piece.at + piece.length).min(at + block.len() as u64);
        let place = usize::try_from(begin - at).unwrap_or_default();
        let count = usize::try_from(end - begin).unwrap_or_default();
        read(piece, begin - piece.at, &mut block[place..place + count])?;
    }
    Ok(())
}
