//! What of a damaged blob need not come over any line: what an earlier try has brought, and what lies here in other
//! files.

use std::ops::Range;

use crate::bundle;
use crate::home::Home;
use crate::progress::Monitor;
use crate::store::Store;
use crate::transfer::held_ranges;

use super::error::Result;
use super::repair::WantedBlob;
use super::reuse::{overlap, pieces_here, right_pieces};

/// What of the damaged bytes is here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AtHand {
    /// What an earlier try has brought, in bytes.
    pub(super) kept_bytes: u64,
    /// What other files here hold beside that, in bytes.
    pub(super) reused_bytes: u64,
}

impl AtHand {
    /// Looks at the half that an earlier try left, piece by piece or, where nobody knows the pieces, by its journal;
    /// then at the files here that should hold the rest; those that are not in use are hashed.
    ///
    /// # Errors
    /// When the half cannot be read, or the user stopped.
    pub(super) fn of(
        (home, store): (&Home, &Store),
        WantedBlob { file, damage, .. }: &WantedBlob<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let staging = home.stick_staging();
        let damaged = damage.damaged_ranges();
        let missing: Vec<Range<u64>> = match bundle::half_blob(&staging, damage.sha256, monitor)? {
            Some(half) => {
                let gaps = half.missing.iter().map(|gap| gap.offset..gap.offset + gap.length);
                let gaps: Vec<Range<u64>> = gaps.collect();
                damaged.iter().flat_map(|run| shared(run, &gaps)).collect()
            }
            None => {
                let held = held_ranges(&staging, damage.sha256, damage.size_bytes);
                damaged.iter().flat_map(|run| beside(run, &held)).collect()
            }
        };
        let missing_bytes: u64 = missing.iter().map(|run| run.end - run.start).sum();
        let kept_bytes = damage.damaged_bytes().saturating_sub(missing_bytes);
        let Some(list) = store.cut_of(file) else { return Ok(Self { kept_bytes, reused_bytes: 0 }) };
        let own = store.lying_path(&file.sha256);
        let lacking_bytes = |offset: u64, length: u64| overlap(&(offset..offset + length), &missing);
        // The record of another package may be damaged: then less is foreseen, and no repair is held up.
        let mut here = pieces_here(store, &list).unwrap_or_default();
        here.retain(|one| {
            Some(&one.path) != own.as_ref() && lacking_bytes(one.piece.offset, one.piece.length) > 0
        });
        let right = right_pieces(store, &here, monitor);
        let reused_bytes = right.iter().map(|(&offset, &length)| lacking_bytes(offset, length)).sum();
        Ok(Self { kept_bytes, reused_bytes })
    }

    /// All of it.
    pub(super) fn bytes(self) -> u64 {
        self.kept_bytes + self.reused_bytes
    }
}

/// The parts of a run that lie in one of these.
fn shared(run: &Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let parts = others.iter().map(|other| run.start.max(other.start)..run.end.min(other.end));
    parts.filter(|part| part.start < part.end).collect()
}

/// The parts of a run that lie in none of these, which are in order.
fn beside(run: &Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut parts, mut start) = (Vec::new(), run.start);
    for other in others.iter().filter(|other| other.end > run.start && other.start < run.end) {
        if other.start > start {
            parts.push(start..other.start);
        }
        start = start.max(other.end);
    }
    if start < run.end {
        parts.push(start..run.end);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_at_what_is_held() {
        let (run, held) = (10..50, [0..5, 8..12, 20..30, 45..60]);
        assert_eq!(shared(&run, &held), [10..12, 20..30, 45..50]);
        assert_eq!(beside(&run, &held), [12..20, 30..45]);
        assert_eq!(beside(&(0..4), &[]), std::slice::from_ref(&(0..4)));
        assert!(beside(&(20..30), &held).is_empty());
    }
}
