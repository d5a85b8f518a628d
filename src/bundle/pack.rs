//! Dealing pieces to volumes, none longer than the limit.

use super::description::{BlobEntry, PieceEntry, Run, VolumeEntry};
use super::entry::{TRAILER_BYTES, entry_bytes};
use super::error::{BundleError, Result};
use super::layout::{MAX_VOLUME_BYTES, MAX_VOLUMES, volume_name};
use super::outgoing::nothing;

/// What is dealt, and how.
pub(super) struct Deal<'a> {
    /// The blobs, in the order in which they are carried.
    pub(super) blobs: &'a [BlobEntry],
    /// Says of a blob's number and a piece's number whether it is carried.
    pub(super) carries: &'a dyn Fn(usize, usize) -> bool,
    /// The most bytes that a volume may have.
    pub(super) limit_bytes: u64,
    /// Counts a compressed piece with its plain length, because parity is made of plain bytes.
    pub(super) counts_plain: bool,
}

impl Deal<'_> {
    /// Deals the pieces to volumes, in order, none longer than the limit.
    ///
    /// # Errors
    /// `VolumeSize` when the limit is impossible; `TooMany` volumes.
    pub(super) fn pack(&self) -> Result<Vec<VolumeEntry>> {
        let limit_bytes = self.limit_bytes;
        let longest = self.blobs.iter().flat_map(|blob| &blob.pieces).map(|piece| self.counted_bytes(piece));
        let least_bytes = longest.max().unwrap_or(entry_bytes(0)) + TRAILER_BYTES;
        if limit_bytes < least_bytes || limit_bytes > MAX_VOLUME_BYTES {
            let (asked_bytes, most_bytes) = (limit_bytes, MAX_VOLUME_BYTES);
            return Err(BundleError::VolumeSize { asked_bytes, least_bytes, most_bytes });
        }
        let mut volumes: Vec<VolumeEntry> = Vec::new();
        let mut counted_bytes = 0;
        for (blob, entry) in self.blobs.iter().enumerate() {
            let pieces = entry.pieces.iter().enumerate();
            for (index, piece) in pieces.filter(|(index, _)| (self.carries)(blob, *index)) {
                let added = self.counted_bytes(piece);
                if volumes.is_empty() || counted_bytes + added > limit_bytes {
                    volumes.push(empty_volume(volumes.len() + 1));
                    counted_bytes = TRAILER_BYTES;
                }
                if let Some(volume) = volumes.last_mut() {
                    counted_bytes += added;
                    volume.size_bytes += entry_bytes(piece.stored_bytes());
                    append(&mut volume.holds, blob, index);
                }
            }
        }
        match volumes.len() > MAX_VOLUMES {
            true => Err(BundleError::TooMany { what: "the volumes", limit: MAX_VOLUMES as u64 }),
            false => Ok(volumes),
        }
    }

    fn counted_bytes(&self, piece: &PieceEntry) -> u64 {
        let stored_bytes = entry_bytes(piece.stored_bytes());
        // A piece that grew when it was compressed counts as what it takes.
        if self.counts_plain { stored_bytes.max(entry_bytes(piece.length)) } else { stored_bytes }
    }
}

fn empty_volume(number: usize) -> VolumeEntry {
    let name = volume_name(number);
    VolumeEntry { name, size_bytes: TRAILER_BYTES, sha256: nothing(), holds: Vec::new() }
}

fn append(holds: &mut Vec<Run>, blob: usize, piece: usize) {
    match holds.last_mut() {
        Some(run) if run.blob == blob && run.first + run.count == piece => run.count += 1,
        _ => holds.push(Run { blob, first: piece, count: 1 }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::digest::Sha256;

    fn pack(blobs: &[BlobEntry], limit_bytes: u64) -> Result<Vec<VolumeEntry>> {
        Deal { blobs, carries: &|_, _| true, limit_bytes, counts_plain: false }.pack()
    }

    fn blob(seed: u64, lengths: Vec<u64>) -> BlobEntry {
        let piece = |length| PieceEntry { length, stored: None, sha256: nothing() };
        BlobEntry {
            sha256: Sha256::of(&seed.to_le_bytes()),
            size_bytes: lengths.iter().sum(),
            pieces: lengths.into_iter().map(piece).collect(),
        }
    }

    fn blobs() -> impl Strategy<Value = Vec<BlobEntry>> {
        let lengths = proptest::collection::vec(1..4000u64, 0..20);
        proptest::collection::vec((any::<u64>(), lengths), 0..12)
            .prop_map(|blobs| blobs.into_iter().map(|(seed, lengths)| blob(seed, lengths)).collect())
    }

    proptest! {
        #[test]
        fn no_volume_is_longer_than_the_limit_and_no_piece_is_lost(blobs in blobs(), spare in 0..9000u64) {
            // 4000 bytes take 512 + 4096; the end takes 1024.
            let limit_bytes = 512 + 4096 + 1024 + spare;
            let volumes = pack(&blobs, limit_bytes).unwrap();
            let mut dealt = Vec::new();
            for volume in &volumes {
                prop_assert!(volume.size_bytes <= limit_bytes);
                prop_assert!(!volume.holds.is_empty());
                for run in &volume.holds {
                    dealt.extend((run.first..run.first + run.count).map(|piece| (run.blob, piece)));
                }
            }
            let all: Vec<(usize, usize)> = blobs
                .iter()
                .enumerate()
                .flat_map(|(index, blob)| (0..blob.pieces.len()).map(move |piece| (index, piece)))
                .collect();
            prop_assert_eq!(dealt, all);
        }
    }

    #[test]
    fn a_volume_that_cannot_hold_a_piece_or_that_fat_cannot_hold_is_refused() {
        let blobs = [blob(1, vec![1000])];
        // 1000 bytes take 512 + 1024; the end takes 1024.
        assert!(pack(&blobs, 2560).is_ok());
        for asked in [0, 2559, MAX_VOLUME_BYTES + 1] {
            let error = pack(&blobs, asked).expect_err("impossible");
            assert!(matches!(error, BundleError::VolumeSize { least_bytes: 2560, .. }), "{error}");
        }
    }
}
