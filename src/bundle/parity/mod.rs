//! Parity volumes: any m of them make up for any m lost volumes.
//!
//! The shard of a volume is the plain bytes of its pieces, one after the other, with zeros up to the
//! length of the longest shard. Parity volume j holds the j-th Reed-Solomon recovery shard over all of
//! them (`reed-solomon-simd`, Leopard codes over GF(2^16)), as a tar of entries of at most 4 MiB, named
//! `PARITY-<bundle id>-<j, 4 digits>.<number, 6 digits>`. Plain bytes, not the volumes' own: a site can
//! then use pieces that came from other sticks, or that it had before.

mod encode;
mod keep;
mod recover;
mod shard;

pub(super) use encode::{Encoding, ParityTarget, encode};
pub(super) use keep::{forget, keep};
pub(super) use recover::{Missing, Recovery};

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::package::MAX_PIECE_BYTES;

use super::description::Description;
use super::entry::{BLOCK_BYTES, Block, TRAILER_BYTES, entry_bytes, plain_header};
use super::error::{BundleError, Result};
use super::id::BundleId;
use super::layout::{self, MAX_VOLUME_BYTES};
use super::outgoing::nothing;

/// Shards are counted in units of this many bytes, as the code wants them.
pub(super) const UNIT_BYTES: u64 = 64;

/// The most volumes, data and parity together, that one code spans.
pub(super) const MAX_SHARDS: usize = 2048;

/// What makes up for lost volumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parity {
    /// The length of every shard in bytes, a multiple of 64.
    pub shard_bytes: u64,
    /// The parity volumes, the shards of the code in order.
    pub volumes: Vec<ParityVolume>,
}

/// One parity volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParityVolume {
    /// Its file's name, for example `P0001.TAR`.
    pub name: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The digest of the whole file.
    pub sha256: Sha256,
    /// The digests of its pieces: 4 MiB of the shard each, the last one shorter.
    pub pieces: Vec<Sha256>,
}

impl Parity {
    /// Plans parity for the volumes of a description; the digests are still to be found out.
    ///
    /// # Errors
    /// `Parity` when there are too many volumes for one code.
    pub(super) fn plan(description: &Description, percent: u32) -> Result<Option<Self>> {
        let num_volumes = description.volumes.len();
        if percent == 0 || num_volumes == 0 {
            return Ok(None);
        }
        let num_parity = (num_volumes * percent as usize).div_ceil(100);
        if num_volumes + num_parity > MAX_SHARDS {
            let reason =
                format!("{num_volumes} volumes are too many for one code; larger volumes make fewer of them");
            return Err(BundleError::Parity { reason });
        }
        let shard_bytes = shard::longest_bytes(description).next_multiple_of(UNIT_BYTES);
        let mut parity = Self { shard_bytes, volumes: Vec::new() };
        let num_pieces = parity.num_pieces();
        let size_bytes =
            (0..num_pieces).map(|piece| entry_bytes(parity.piece_bytes(piece))).sum::<u64>() + TRAILER_BYTES;
        parity.volumes = (1..=num_parity)
            .map(|number| ParityVolume {
                name: layout::parity_name(number),
                size_bytes,
                sha256: nothing(),
                pieces: vec![nothing(); num_pieces],
            })
            .collect();
        Ok(Some(parity))
    }

    /// The length of one piece of a shard.
    pub(super) fn piece_bytes(&self, piece: usize) -> u64 {
        self.shard_bytes.saturating_sub(piece as u64 * MAX_PIECE_BYTES).min(MAX_PIECE_BYTES)
    }

    /// Where the bytes of a piece begin in its volume.
    pub(super) fn place_of(piece: usize) -> u64 {
        piece as u64 * entry_bytes(MAX_PIECE_BYTES) + BLOCK_BYTES
    }

    /// How many pieces each parity volume has.
    pub(super) fn num_pieces(&self) -> usize {
        usize::try_from(self.shard_bytes.div_ceil(MAX_PIECE_BYTES)).unwrap_or(usize::MAX)
    }

    /// Says what is wrong with parity that a stranger described.
    pub(super) fn check(&self, description: &Description) -> std::result::Result<(), String> {
        let num_volumes = description.volumes.len();
        let has_length = self.shard_bytes >= shard::longest_bytes(description).max(1)
            && self.shard_bytes <= MAX_VOLUME_BYTES
            && self.shard_bytes.is_multiple_of(UNIT_BYTES);
        let num_shards = num_volumes.saturating_add(self.volumes.len());
        if !has_length || self.volumes.is_empty() || num_volumes == 0 || num_shards > MAX_SHARDS {
            return Err("its parity has a length or a count that no code has".into());
        }
        let is_right = |(number, volume): (usize, &ParityVolume)| {
            volume.name == layout::parity_name(number)
                && volume.size_bytes <= MAX_VOLUME_BYTES
                && volume.pieces.len() == self.num_pieces()
        };
        match (1..).zip(&self.volumes).all(is_right) {
            true => Ok(()),
            false => Err("a parity volume in it contradicts itself".into()),
        }
    }
}

/// The header of one piece of a parity volume; `volume` counts from 0.
pub(super) fn header(id: &BundleId, volume: usize, piece: usize, length: u64) -> Block {
    let name = format!("PARITY-{id}-{:04}.{piece:06}", volume + 1);
    plain_header(name.as_bytes(), length)
}

/// How many bytes of every shard are worked on at a time: a power of two, so that pieces are made of
/// whole blocks, and few enough that all shards together take about 8 MiB.
fn block_bytes(num_shards: usize) -> u64 {
    let share = (8 * 1024 * 1024 / num_shards.max(1) as u64).clamp(UNIT_BYTES, 256 * 1024);
    1 << share.ilog2()
}

fn impossible(error: &reed_solomon_simd::Error) -> BundleError {
    BundleError::Parity { reason: error.to_string() }
}
