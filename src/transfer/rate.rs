//! The rate limit: a bucket that is full of one second's bytes at most.
//!
//! Generic cell rate algorithm (ITU-T I.371): `next_free` is when the line is free of all that was taken so far;
//! it may lie up to one burst in the past.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much may come at once after a pause, in seconds' worth.
const BURST: Duration = Duration::from_millis(250);

/// Shared by all connections of a client.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_second: u64,
    next_free: Mutex<Instant>,
}

impl Bucket {
    /// `bytes_per_second` of 0 counts as 1.
    pub(super) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), next_free: Mutex::new(now) }
    }

    /// Books bytes that have come; says how long to wait before asking for more.
    pub(super) fn take(&self, count: usize, now: Instant) -> Duration {
        let cost = Duration::from_secs_f64(count as f64 / self.bytes_per_second as f64);
        let mut next_free = self.next_free.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        *next_free = (*next_free).max(earliest) + cost;
        next_free.saturating_duration_since(now)
    }

    /// True while what has come is not worked off yet.
    pub(super) fn is_ahead(&self, now: Instant) -> bool {
        *self.next_free.lock().unwrap_or_else(PoisonError::into_inner) > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_what_the_bytes_cost() {
        let start = Instant::now();
        let bucket = Bucket::new(1000, start);
        // 500 bytes at 1000 bytes a second are half a second; 250 more make 0.75 s from the start.
        assert_eq!(bucket.take(500, start), Duration::from_millis(500));
        assert_eq!(bucket.take(250, start + Duration::from_millis(500)), Duration::from_millis(250));
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(bucket.is_ahead(after(749)) && !bucket.is_ahead(after(750)));
    }

    #[test]
    fn a_pause_saves_up_a_quarter_of_a_second_and_no_more() {
        let start = Instant::now();
        let bucket = Bucket::new(1000, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(bucket.take(250, later), Duration::ZERO);
        assert_eq!(bucket.take(100, later), Duration::from_millis(100));
    }
}
