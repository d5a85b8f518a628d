//! More connections for one file, where that helps: lanes beside the first one, which is always there.
//!
//! Without a number from the user, a lane joins after every five seconds in which the line stays slow, up to four in
//! all, and only while the lane before it made the line faster. A lane that fails leaves; the first one goes on and takes over what
//! is left. Only files whose pieces are known are shared out: without a piece list, bytes that come out of order
//! could not be verified.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Moved};
use super::error::Result;
use super::fetch::wait_for;
use super::judge::Remedy;
use super::options::Options;
use super::sources::{Sources, jitter};
use crate::progress::Until;

/// How long the line is watched before another lane joins.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a waiting lane looks whether the first one is served.
const TICK: Duration = Duration::from_millis(50);

/// A line as fast as this is left to one connection, in bytes a second.
const FAST_BYTES_PER_SECOND: f64 = 2_000_000.0;

/// How much faster the lane before must have made the line.
const LEAST_GAIN: f64 = 1.15;

/// Fewer missing bytes are not shared out.
const LEAST_BYTES: u64 = 16 * 1024 * 1024;

/// How many lanes there are when the user names no number.
const DEFAULT_LANES: usize = 4;

/// The lanes of one fetch.
pub(super) struct Crew<'a> {
    options: &'a Options,
    sources: Vec<url::Url>,
    first: &'a Attempt<'a>,
    num_lanes: usize,
    /// What was missing at the start.
    missing_bytes: u64,
    is_over: AtomicBool,
    /// How fast the line was when each lane joined.
    rates: Mutex<Vec<f64>>,
    bell: Condvar,
}

impl<'a> Crew<'a> {
    /// Looks how many lanes make sense.
    pub(super) fn new(options: &'a Options, sources: &[url::Url], first: &'a Attempt<'a>) -> Self {
        let sources: Vec<url::Url> = sources.iter().filter(|url| url.scheme() != "file").cloned().collect();
        let asked = options.num_connections.map(|count| count as usize);
        let missing_bytes = first.part().missing_bytes();
        let is_shareable = !sources.is_empty()
            && !first.part().is_one_run()
            && missing_bytes >= LEAST_BYTES
            && is_affordable(first, missing_bytes);
        let num_lanes = if is_shareable { asked.unwrap_or(DEFAULT_LANES) } else { 1 };
        let (is_over, rates) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        Self { options, sources, first, num_lanes, missing_bytes, is_over, rates, bell: Condvar::new() }
    }

    /// Does the first lane's work on this thread, while the others help.
    pub(super) fn work<T>(&self, lead: impl FnOnce() -> Result<(T, Moved)>) -> Result<(T, Moved)> {
        if self.num_lanes <= 1 {
            return lead();
        }
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..self.num_lanes)
                .filter_map(|lane| {
                    let name = format!("lane {lane}");
                    std::thread::Builder::new().name(name).spawn_scoped(scope, move || self.help(lane)).ok()
                })
                .collect();
            // However it ends: nobody helps a lane that is no more.
            let dismissal = Dismissal(self);
            let outcome = lead();
            drop(dismissal);
            let helped: Vec<Moved> = helpers.into_iter().filter_map(|helper| helper.join().ok()).collect();
            outcome.map(|(value, moved)| (value, helped.into_iter().fold(moved, Moved::and)))
        })
    }

    /// One more lane, from the moment it is called for until it fails or nothing is left.
    fn help(&self, lane: usize) -> Moved {
        let mut moved = Moved::default();
        if !self.is_called_for(lane) {
            return moved;
        }
        let monitor = Until { monitor: self.first.monitor, is_over: || self.is_dismissed() };
        let attempt = Attempt { lane, monitor: &monitor, ..*self.first };
        let _release = Release(&attempt);
        // Each lane begins with another source, where there are several.
        let mut urls = self.sources.clone();
        urls.rotate_left(lane % self.sources.len());
        let mut sources = Sources::new(&urls, self.options, |_, key| attempt.part().was_wrong(key));
        while self.lend_a_hand(&attempt, &mut sources, &mut moved) {}
        moved
    }

    /// One request of a lane; false when it has nothing more to do.
    fn lend_a_hand(&self, attempt: &Attempt<'_>, sources: &mut Sources, moved: &mut Moved) -> bool {
        attempt.leave_dropped(sources);
        let Some((source, delay)) = sources.next(Instant::now()) else { return false };
        if wait_for(delay, attempt.monitor).is_err() {
            return false;
        }
        let Some(gap) = self.wait_for_a_claim(attempt) else { return false };
        let before = moved.new_bytes;
        let outcome = attempt.run(&source, gap, moved);
        attempt.part().release(attempt.lane);
        let has_progressed = moved.new_bytes > before;
        if has_progressed {
            sources.progressed();
        }
        let Err(failure) = outcome else { return true };
        // A piece that another lane began may be its source's fault.
        let is_wrong = matches!(failure.error, super::error::TransferError::WrongPiece { .. });
        if is_wrong && failure.remedy == Remedy::Leave {
            attempt.monitor.warn(&failure.error.to_string());
            attempt.drop_source(&source, &failure.error);
        }
        // A server that wants fewer connections gets fewer.
        let is_welcome = matches!(failure.remedy, Remedy::Retry { after: None }) && has_progressed
            || failure.remedy == Remedy::Leave;
        is_welcome && sources.failed(failure.remedy, has_progressed, Instant::now(), jitter())
    }

    /// What this lane may work on; `None` when nothing is left, or the work is over. Another lane may come to a stand.
    fn wait_for_a_claim(&self, attempt: &Attempt<'_>) -> Option<(u64, u64)> {
        loop {
            if let Some(gap) = attempt.claim() {
                return Some(gap);
            }
            if !attempt.may_take_over() || attempt.part().is_whole() || !self.is_still_on_after(TICK) {
                return None;
            }
        }
    }

    /// Waits until the first lane is served, and the line turns out to be slow.
    fn is_called_for(&self, lane: usize) -> bool {
        // A server that takes one connection only must not take this one.
        while self.first.part().missing_bytes() == self.missing_bytes {
            if !self.is_still_on_after(TICK) {
                return false;
            }
        }
        if self.options.num_connections.is_some() {
            return !self.is_dismissed();
        }
        if !self.is_still_on_after(PATIENCE * lane as u32) {
            return false;
        }
        let Some(rate) = self.first.network.and_then(|network| network.toll().bytes_per_second()) else {
            return false;
        };
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let has_gained = rates.last().is_none_or(|before| rate >= before * LEAST_GAIN);
        let is_called = rates.len() + 1 == lane && has_gained && rate < self.worth_bytes_per_second();
        if is_called {
            rates.push(rate);
        }
        is_called
    }

    /// Waits; false as soon as the work is over.
    fn is_still_on_after(&self, delay: Duration) -> bool {
        let until = Instant::now() + delay;
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.is_dismissed() || left.is_zero() {
                return !self.is_dismissed();
            }
            rates = self.bell.wait_timeout(rates, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A line that is slow because the user wants it so needs no help.
    fn worth_bytes_per_second(&self) -> f64 {
        let limit = self.options.limit_bytes_per_second.map_or(f64::INFINITY, |limit| limit as f64 * 0.8);
        limit.min(FAST_BYTES_PER_SECOND)
    }

    fn is_dismissed(&self) -> bool {
        self.is_over.load(Ordering::SeqCst) || self.first.monitor.is_cancelled()
    }
}

/// Sends the helpers home when it is dropped.
struct Dismissal<'crew, 'a>(&'crew Crew<'a>);

impl Drop for Dismissal<'_, '_> {
    fn drop(&mut self) {
        {
            // Under the lock, so that nobody who is about to wait misses the bell.
            let _rates = self.0.rates.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.is_over.store(true, Ordering::SeqCst);
        }
        self.0.bell.notify_all();
    }
}

/// Gives a lane's claim back when it is dropped: the first lane waits for nobody who is gone.
struct Release<'attempt, 'a>(&'attempt Attempt<'a>);

impl Drop for Release<'_, '_> {
    fn drop(&mut self) {
        self.0.part().release(self.0.lane);
    }
}

/// Several connections must not race for the last bytes of a budget.
fn is_affordable(attempt: &Attempt<'_>, missing_bytes: u64) -> bool {
    let left_bytes = attempt.network.and_then(|network| network.toll().left_bytes());
    left_bytes.is_none_or(|left_bytes| left_bytes > missing_bytes.saturating_add(missing_bytes / 8))
}
