//! What a faulty medium keeps: 4 KiB blocks, each at a place of its own, fewer than it claims perhaps.

use std::collections::HashMap;
use std::sync::Arc;

use super::drill::Dice;

pub(crate) const BLOCK_BYTES: u64 = 4096;
const SECTOR_BYTES: usize = 512;

pub(crate) type Block = Arc<[u8]>;

/// What becomes of a block that lies beyond the real end of a stick with a false label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// It is never kept; reading gives zeros.
    Vanishes,
    /// It overwrites a block at the beginning.
    Wraps,
    /// The controller remembers it until the stick is pulled out, then it is gone.
    IsRememberedUntilUnplugged,
}

#[derive(Debug, Default)]
pub(crate) struct Medium {
    blocks: HashMap<u64, Block>,
    /// What a lying controller remembers while it has power.
    remembered: HashMap<u64, Block>,
    next_place: u64,
    /// How many blocks there really are, and what happens to the others.
    pub(crate) real_end: Option<(u64, Beyond)>,
}

impl Medium {
    /// A place that no block has had yet.
    pub(crate) fn new_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place - 1
    }

    /// How many blocks were ever given a place.
    pub(crate) fn num_places(&self) -> u64 {
        self.next_place
    }

    pub(crate) fn write(&mut self, place: u64, block: Block) {
        match self.real_end {
            Some((end, Beyond::Vanishes)) if place >= end => {}
            Some((end, Beyond::Wraps)) if place >= end => {
                self.blocks.insert(place % end.max(1), block);
            }
            Some((end, Beyond::IsRememberedUntilUnplugged)) if place >= end => {
                self.remembered.insert(place, block);
            }
            _ => {
                self.blocks.insert(place, block);
            }
        }
    }

    pub(crate) fn read(&self, place: u64) -> Block {
        let place = match self.real_end {
            Some((end, Beyond::Wraps)) if place >= end => place % end.max(1),
            _ => place,
        };
        let block = self.remembered.get(&place).or_else(|| self.blocks.get(&place));
        block.cloned().unwrap_or_else(zeros)
    }

    pub(crate) fn flip(&mut self, place: u64, at: usize) {
        let mut bytes = self.read(place).to_vec();
        bytes[at] ^= 1;
        self.write(place, bytes.into());
    }

    /// The power is gone.
    pub(crate) fn lose_power(&mut self) {
        self.remembered.clear();
    }
}

pub(crate) fn zeros() -> Block {
    vec![0; BLOCK_BYTES as usize].into()
}

/// A block of which only some sectors were written when the power went.
pub(crate) fn torn(old: &[u8], new: &[u8], dice: &mut Dice) -> Block {
    let mut bytes = old.to_vec();
    for at in (0..bytes.len()).step_by(SECTOR_BYTES) {
        if dice.chance(50) {
            bytes[at..at + SECTOR_BYTES].copy_from_slice(&new[at..at + SECTOR_BYTES]);
        }
    }
    bytes.into()
}

/// What lay at a place before anyone wrote there: the rest of deleted files.
pub(crate) fn garbage(dice: &mut Dice) -> Block {
    (0..BLOCK_BYTES / 8).flat_map(|_| dice.roll().to_le_bytes()).collect()
}
