//! Who fetches which of the missing bytes, where several connections work on one file.
//!
//! ```text
//! runs     |####|##..|....|....|....|....|      # here   . missing
//! lane 0         [0---------------------)       the first gap
//! lane 1                   [1-----------)       joins: half of what lane 0 has left
//! ```

use std::collections::BTreeMap;

use super::resume::Run;

/// A claim is halved only where each half is worth a request, in bytes.
const LEAST_HALF_BYTES: u64 = 8 * 1024 * 1024;

/// The stretch of missing bytes that each lane works on: begin and end, in the file.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_lane: BTreeMap<usize, (u64, u64)>,
}

impl Claims {
    /// The first gap that is nobody's, else the second half of the largest claim; `None` when neither is to be had.
    pub(super) fn claim(&mut self, lane: usize, runs: &[Run]) -> Option<(u64, u64)> {
        self.by_lane.remove(&lane);
        let claim = match self.free_gap(runs) {
            Some(gap) => gap,
            None => self.halve(runs)?,
        };
        self.by_lane.insert(lane, claim);
        Some(claim)
    }

    /// Where the claim of a lane ends.
    pub(super) fn end_of(&self, lane: usize) -> Option<u64> {
        self.by_lane.get(&lane).map(|claim| claim.1)
    }

    /// True when no more than one lane is at work.
    pub(super) fn is_alone(&self) -> bool {
        self.by_lane.len() <= 1
    }

    /// Gives a claim back.
    pub(super) fn release(&mut self, lane: usize) {
        self.by_lane.remove(&lane);
    }

    fn free_gap(&self, runs: &[Run]) -> Option<(u64, u64)> {
        let is_taken =
            |run: &Run| self.by_lane.values().any(|claim| claim.0 < run.end() && run.offset < claim.1);
        let first = runs.iter().position(|run| !run.is_whole && !is_taken(run))?;
        let mut end = runs[first].end();
        for run in &runs[first + 1..] {
            if run.is_whole || run.filled > 0 || is_taken(run) {
                break;
            }
            end = run.end();
        }
        Some((runs[first].position(), end))
    }

    /// Takes the second half of what the lane with the most has left, from the beginning of a run on.
    fn halve(&mut self, runs: &[Run]) -> Option<(u64, u64)> {
        let open = |claim: &(u64, u64)| {
            let from = runs.partition_point(|run| run.end() <= claim.0);
            runs[from..].iter().find(|run| !run.is_whole).map_or(claim.1, Run::position).min(claim.1)
        };
        let left = |claim: &(u64, u64)| claim.1 - open(claim);
        let (_, claim) = self.by_lane.iter_mut().max_by_key(|(_, claim)| left(claim))?;
        let (position, end) = (open(claim), claim.1);
        let middle = position + (end - position) / 2;
        let at = runs.partition_point(|run| run.offset < middle);
        let begin = runs.get(at).filter(|run| run.filled == 0)?.offset;
        if begin >= end || begin - position < LEAST_HALF_BYTES || end - begin < LEAST_HALF_BYTES {
            return None;
        }
        claim.1 = begin;
        Some((begin, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    const MIB: u64 = 1024 * 1024;

    fn runs(count: u64) -> Vec<Run> {
        (0..count).map(|index| Run::new(index * 4 * MIB, 4 * MIB, Sha256::of(b""))).collect()
    }

    #[test]
    fn the_first_lane_takes_all_and_the_second_one_half_of_it() {
        let runs = runs(16);
        let mut claims = Claims::default();
        assert_eq!(claims.claim(0, &runs), Some((0, 64 * MIB)));
        assert_eq!(claims.claim(1, &runs), Some((32 * MIB, 64 * MIB)));
        assert_eq!(claims.end_of(0), Some(32 * MIB));
        // Both have as much; the later one is halved.
        assert_eq!(claims.claim(2, &runs), Some((48 * MIB, 64 * MIB)));
        assert_eq!((claims.end_of(0), claims.end_of(1)), (Some(32 * MIB), Some(48 * MIB)));
    }

    #[test]
    fn what_a_lane_gives_back_is_taken_first() {
        let mut runs = runs(16);
        let mut claims = Claims::default();
        claims.claim(0, &runs);
        claims.claim(1, &runs);
        // Lane 1 got as far as 34 MiB and left.
        runs[8].filled = 2 * MIB;
        claims.release(1);
        assert_eq!(claims.claim(2, &runs), Some((34 * MIB, 64 * MIB)));
    }

    #[test]
    fn small_rests_are_left_to_who_has_them() {
        let runs = runs(3);
        let mut claims = Claims::default();
        claims.claim(0, &runs);
        assert_eq!(claims.claim(1, &runs), None);
        assert_eq!(claims.end_of(0), Some(12 * MIB));
    }

    #[test]
    fn what_is_here_is_claimed_by_nobody() {
        let mut runs = runs(4);
        runs[1].is_whole = true;
        runs[1].filled = 4 * MIB;
        let mut claims = Claims::default();
        assert_eq!(claims.claim(0, &runs), Some((0, 4 * MIB)));
        assert_eq!(claims.claim(1, &runs), Some((8 * MIB, 16 * MIB)));
        assert_eq!(claims.claim(2, &runs), None);
    }
}
