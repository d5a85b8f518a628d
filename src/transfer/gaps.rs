//! Who fetches which of the missing bytes, where several connections work on one file.
//!
//! ```text
//! runs     |####|##..|....|....|....|....|      # here   . missing
//! lane 0         [0---------------------)       the first gap
//! lane 1                   [1-----------)       joins: half of what lane 0 has left
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::resume::Run;

/// A claim is shared where each share is worth a request, in bytes, ...
const LEAST_SHARE_BYTES: u64 = 8 * 1024 * 1024;

/// ... and where it saves so much time: a slow lane must not hold up the end.
const LEAST_GAIN_SECONDS: f64 = 3.0;

/// Who has brought nothing for so long gives what it has left to whoever has nothing to do.
const STALL: Duration = Duration::from_secs(10);

/// The stretch of missing bytes that each lane works on: begin and end, in the file.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_lane: BTreeMap<usize, (u64, u64)>,
    /// How fast each lane is, in bytes a second, as far as that is known.
    rates: BTreeMap<usize, f64>,
    /// Where each lane was seen last by one that was idle, and since when it is there.
    seen: BTreeMap<usize, (u64, Instant)>,
    /// The first lane gets all of the file anyway.
    is_closed: bool,
}

impl Claims {
    /// The first gap that is nobody's, else a share of the claim that takes longest; `None` when neither is to be had.
    /// Where `now` is told, also what another lane stands still at.
    pub(super) fn claim(&mut self, lane: usize, runs: &[Run], now: Option<Instant>) -> Option<(u64, u64)> {
        self.release(lane);
        if self.is_closed && lane > 0 {
            return None;
        }
        let claim = match self.free_gap(runs) {
            Some(gap) => gap,
            None => self.share(lane, runs).or_else(|| self.take_over(runs, now?))?,
        };
        self.by_lane.insert(lane, claim);
        Some(claim)
    }

    /// Where the claim of a lane ends.
    pub(super) fn end_of(&self, lane: usize) -> Option<u64> {
        let claim = self.by_lane.get(&lane)?;
        Some(if self.is_closed && lane > 0 { claim.0 } else { claim.1 })
    }

    /// How fast a lane is now, in bytes a second.
    pub(super) fn note_rate(&mut self, lane: usize, bytes_per_second: f64) {
        self.rates.insert(lane, bytes_per_second.max(1.0));
    }

    /// Ends the work of all lanes but the first.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// True when no more than one lane is at work.
    pub(super) fn is_alone(&self) -> bool {
        self.by_lane.len() <= 1
    }

    /// Gives a claim back.
    pub(super) fn release(&mut self, lane: usize) {
        self.by_lane.remove(&lane);
        self.seen.remove(&lane);
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

    /// Takes the end of what the slowest lane has left, as much as makes both end at the same time, from the beginning of a
    /// run on.
    fn share(&mut self, lane: usize, runs: &[Run]) -> Option<(u64, u64)> {
        let open = |claim: &(u64, u64)| position_in(claim, runs);
        // Who is not known is as fast as whoever asks.
        let own = self.rates.get(&lane).copied();
        let rate = |other: &usize| own.and(self.rates.get(other).copied()).or(own).unwrap_or(1.0);
        let seconds = |(other, claim): &(&usize, &(u64, u64))| (claim.1 - open(claim)) as f64 / rate(other);
        let (&other, &claim) =
            self.by_lane.iter().max_by(|left, right| seconds(left).total_cmp(&seconds(right)))?;
        let (position, end) = (open(&claim), claim.1);
        let (theirs, ours) = (rate(&other), own.unwrap_or(1.0));
        let kept_bytes = (end - position) as f64 * theirs / (theirs + ours);
        let at = runs.partition_point(|run| run.offset < position + kept_bytes as u64);
        let begin = runs.get(at).filter(|run| run.filled == 0)?.offset;
        if begin >= end {
            return None;
        }
        let (kept, taken) = ((begin - position) as f64, (end - begin) as f64);
        let gain_seconds = (kept + taken) / theirs - (kept / theirs).max(taken / ours);
        let is_worth_it = kept.min(taken) >= LEAST_SHARE_BYTES as f64
            || own.is_some() && self.rates.contains_key(&other) && gain_seconds >= LEAST_GAIN_SECONDS;
        if !is_worth_it {
            return None;
        }
        self.by_lane.insert(other, (claim.0, begin));
        Some((begin, end))
    }

    /// Takes all that a lane has left which stands still; it notices that its claim is over.
    fn take_over(&mut self, runs: &[Run], now: Instant) -> Option<(u64, u64)> {
        let mut stalled = None;
        for (&other, claim) in &self.by_lane {
            let position = position_in(claim, runs);
            let seen = self.seen.entry(other).or_insert((position, now));
            if seen.0 != position {
                *seen = (position, now);
            } else if position < claim.1 && now.saturating_duration_since(seen.1) >= STALL {
                stalled = Some((other, position, claim.1));
            }
        }
        let (other, position, end) = stalled?;
        self.seen.remove(&other);
        self.by_lane.entry(other).and_modify(|claim| claim.1 = position);
        Some((position, end))
    }
}

/// How far the work on a claim is.
fn position_in(claim: &(u64, u64), runs: &[Run]) -> u64 {
    let from = runs.partition_point(|run| run.end() <= claim.0);
    runs[from..].iter().find(|run| !run.is_whole).map_or(claim.1, Run::position).min(claim.1)
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
        assert_eq!(claims.claim(0, &runs, None), Some((0, 64 * MIB)));
        assert_eq!(claims.claim(1, &runs, None), Some((32 * MIB, 64 * MIB)));
        assert_eq!(claims.end_of(0), Some(32 * MIB));
        // Both have as much; the later one is halved.
        assert_eq!(claims.claim(2, &runs, None), Some((48 * MIB, 64 * MIB)));
        assert_eq!((claims.end_of(0), claims.end_of(1)), (Some(32 * MIB), Some(48 * MIB)));
    }

    #[test]
    fn what_a_lane_gives_back_is_taken_first() {
        let mut runs = runs(16);
        let mut claims = Claims::default();
        claims.claim(0, &runs, None);
        claims.claim(1, &runs, None);
        // Lane 1 got as far as 34 MiB and left.
        runs[8].filled = 2 * MIB;
        claims.release(1);
        assert_eq!(claims.claim(2, &runs, None), Some((34 * MIB, 64 * MIB)));
    }

    #[test]
    fn a_fast_lane_takes_what_a_slow_one_would_be_long_at() {
        let mut runs = runs(4);
        let mut claims = Claims::default();
        claims.claim(1, &runs, None);
        runs[0].filled = MIB;
        assert_eq!(claims.claim(0, &runs, None), None, "15 MiB are no two shares, for all that is known");
        claims.note_rate(0, 4e6);
        claims.note_rate(1, 60e3);
        // Four minutes at 60 kB/s: all but the run in the making.
        assert_eq!(claims.claim(0, &runs, None), Some((4 * MIB, 16 * MIB)));
        assert_eq!(claims.end_of(1), Some(4 * MIB));
        assert_eq!(claims.claim(2, &runs, None), None);
    }

    #[test]
    fn who_stands_still_gives_all_to_who_is_idle() {
        let mut runs = runs(2);
        let mut claims = Claims::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(claims.claim(1, &runs, Some(start)), Some((0, 8 * MIB)));
        runs[0].filled = MIB;
        assert_eq!(claims.claim(0, &runs, Some(after(1))), None, "too little to share");
        runs[0].filled = 2 * MIB;
        assert_eq!(claims.claim(0, &runs, Some(after(9))), None, "it moves");
        assert_eq!(claims.claim(0, &runs, Some(after(18))), None);
        assert_eq!(claims.claim(0, &runs, Some(after(19))), Some((2 * MIB, 8 * MIB)));
        assert_eq!(claims.end_of(1), Some(2 * MIB), "the other one has nothing left");
        assert_eq!(claims.claim(1, &runs, Some(after(20))), None);
    }

    #[test]
    fn shares_are_as_large_as_lanes_are_fast() {
        let runs = runs(16);
        let mut claims = Claims::default();
        claims.claim(0, &runs, None);
        claims.note_rate(0, 3e6);
        claims.note_rate(1, 1e6);
        assert_eq!(claims.claim(1, &runs, None), Some((48 * MIB, 64 * MIB)));
    }

    #[test]
    fn where_the_first_lane_gets_all_the_others_stop() {
        let runs = runs(16);
        let mut claims = Claims::default();
        claims.claim(0, &runs, None);
        claims.claim(1, &runs, None);
        claims.close();
        assert_eq!((claims.end_of(0), claims.end_of(1)), (Some(32 * MIB), Some(32 * MIB)));
        assert_eq!(claims.claim(1, &runs, None), None);
    }

    #[test]
    fn small_rests_are_left_to_who_has_them() {
        let runs = runs(3);
        let mut claims = Claims::default();
        claims.claim(0, &runs, None);
        assert_eq!(claims.claim(1, &runs, None), None);
        assert_eq!(claims.end_of(0), Some(12 * MIB));
    }

    #[test]
    fn what_is_here_is_claimed_by_nobody() {
        let mut runs = runs(4);
        runs[1].is_whole = true;
        runs[1].filled = 4 * MIB;
        let mut claims = Claims::default();
        assert_eq!(claims.claim(0, &runs, None), Some((0, 4 * MIB)));
        assert_eq!(claims.claim(1, &runs, None), Some((8 * MIB, 16 * MIB)));
        assert_eq!(claims.claim(2, &runs, None), None);
    }
}
