//! Parity volumes: any m of them make up for any m lost volumes.
//!
//! The shard of a volume is the plain bytes of its pieces, one after the other, with zeros up to the
//! length of the longest shard. Parity volume j holds the j-th Reed-Solomon recovery shard over all of
//! them (`reed-solomon-simd`, Leopard codes over GF(2^16)), as a tar of entries of at most 4 MiB, named
//! `PARITY-<bundle id>-<j, 4 digits>.<number, 6 digits>`. Plain bytes, not the volumes' own: a site can
//! then use pieces that came from other sticks, or that it had before.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::package::MAX_PIECE_BYTES;

use super::layout::{self, MAX_VOLUME_BYTES};

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
    /// How many pieces each parity volume has.
    pub(super) fn num_pieces(&self) -> usize {
        usize::try_from(self.shard_bytes.div_ceil(MAX_PIECE_BYTES)).unwrap_or(usize::MAX)
    }

    /// Says what is wrong with parity that a stranger described.
    pub(super) fn check(&self, num_volumes: usize) -> Result<(), String> {
        let has_length = self.shard_bytes > 0
            && self.shard_bytes <= MAX_VOLUME_BYTES
            && self.shard_bytes.is_multiple_of(UNIT_BYTES);
        let num_shards = num_volumes.saturating_add(self.volumes.len());
        if !has_length || self.volumes.is_empty() || num_volumes == 0 || num_shards > MAX_SHARDS {
            return Err("its parity has a length or a count that no code has".into());
        }
        let is_right = |volume: &ParityVolume| {
            layout::is_volume_name(&volume.name)
                && volume.size_bytes <= MAX_VOLUME_BYTES
                && volume.pieces.len() == self.num_pieces()
        };
        match self.volumes.iter().all(is_right) {
            true => Ok(()),
            false => Err("a parity volume in it contradicts itself".into()),
        }
    }
}
