//! The one place that builds a transfer client: what the line may cost, how fast it is, and where else to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::disk::{self, Lock};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::progress::{Monitor, Until, has_come};
use crate::transfer::{Client, Mirror, Options, Purse};

use super::error::{Error, Result};
use super::site;

/// The format of `line.json` that this program writes; another one is forgotten.
const FORMAT: u32 = 1;

/// Fewer bytes than this say nothing about a line's speed.
const LEAST_BYTES: u64 = 1024 * 1024;

/// Heads and TLS take about a byte in so many.
const HEADS_SHARE: u64 = 500;

/// How many packages in a row may fail because of the line, before it counts as down and no further one is tried.
pub(super) const MAX_LINE_FAILURES: usize = 2;

/// What the line may cost, and where else to ask.
#[derive(Debug, Clone, Default)]
pub struct LineOptions {
    /// Open no network connection.
    pub is_offline: bool,
    /// The most bytes a second over all connections.
    pub limit_bytes_per_second: Option<u64>,
    /// The most bytes on the wire, headers in; what is spent of them is kept in the home.
    pub budget_bytes: Option<u64>,
    /// Begins another budget.
    pub is_new_budget: bool,
    /// When it must be over, however this machine's clock is set meanwhile.
    pub ends_at: Option<Instant>,
    /// When it must be over, by this machine's clock.
    pub until: Option<SystemTime>,
    /// Where published addresses are looked for first.
    pub mirrors: Vec<Mirror>,
    /// Neighbours and folders that keep blobs by their digest; asked before all others.
    pub peers: Vec<url::Url>,
    /// How many connections a file may take; `None` lets the line decide.
    pub num_connections: Option<u32>,
    /// How long a line that is down is waited for in the middle of a file; `None` is for a download that has nothing else to
    /// do.
    pub outage_patience: Option<Duration>,
    /// Adds up what several commands spend, in bytes.
    pub meter: Option<Arc<AtomicU64>>,
}

/// What the line cost, and what it may still cost.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LineReport {
    /// The bytes that went over it in this run, headers in.
    pub spent_bytes: u64,
    /// What the budget has left; `None` where there is none.
    pub budget_left_bytes: Option<u64>,
    /// What the time has left, in seconds; `None` where there is no end.
    pub seconds_left: Option<u64>,
    /// How fast it is, measured now or remembered.
    pub bytes_per_second: Option<u64>,
}

impl LineReport {
    /// How long so many bytes take, in seconds; `None` where the line's speed is not known.
    pub fn expected_seconds(&self, bytes: u64) -> Option<u64> {
        self.bytes_per_second.map(|rate| bytes.div_ceil(rate.max(1)))
    }

    /// True when budget and time will do for so many bytes of files. What takes how long on a line that was never used is not known.
    pub(super) fn is_enough_for(&self, bytes: u64) -> bool {
        let wire_bytes = bytes.saturating_add(bytes / HEADS_SHARE);
        let has_money = self.budget_left_bytes.is_none_or(|left| wire_bytes <= left);
        let seconds = self.expected_seconds(bytes);
        let has_time = match (self.seconds_left, seconds) {
            (Some(left), Some(seconds)) => seconds <= left,
            _ => true,
        };
        has_money && has_time
    }
}

/// The way out: one client, its purse and its deadline.
#[derive(Debug)]
pub(super) struct Line {
    client: Client,
    deadline: Option<Instant>,
    home: Home,
    remembered: Option<f64>,
    limit_bytes_per_second: Option<u64>,
    meter: Option<Arc<AtomicU64>>,
}

impl Line {
    /// Opens the budget; no connection yet.
    ///
    /// # Errors
    /// When the budget's file cannot be read or written, or is damaged.
    pub(super) fn open(home: &Home, options: &LineOptions) -> Result<Self> {
        let purse = match options.budget_bytes {
            Some(limit_bytes) if options.is_new_budget => Some(Purse::create(&home.budget(), limit_bytes)?),
            Some(limit_bytes) => Some(Purse::open(&home.budget(), limit_bytes)?),
            None => None,
        };
        let (deadline, defaults) = (deadline(options), Options::default());
        let client = Client::new(Options {
            is_offline: options.is_offline,
            limit_bytes_per_second: options.limit_bytes_per_second,
            deadline,
            mirrors: options.mirrors.clone(),
            peers: options.peers.clone(),
            num_connections: options.num_connections,
            outage_patience: options.outage_patience.unwrap_or(defaults.outage_patience),
            ..defaults
        });
        let client = match purse {
            Some(purse) => client.with_purse(purse),
            None => client,
        };
        let home = home.clone();
        let remembered = read(&home).map(|line| line.bytes_per_second);
        let (limit_bytes_per_second, meter) = (options.limit_bytes_per_second, options.meter.clone());
        Ok(Self { client, deadline, home, remembered, limit_bytes_per_second, meter })
    }

    /// What fetches.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// What the budget has left; `None` where there is none.
    pub(super) fn budget_left_bytes(&self) -> Option<u64> {
        self.client.budget_left_bytes()
    }

    /// What the time has left; `None` where there is no end.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// What went over the line in this run, headers in.
    pub(super) fn spent_bytes(&self) -> u64 {
        self.client.spent_bytes()
    }

    /// How fast the line is: measured in this run and smoothed, else as it was last time.
    pub(super) fn bytes_per_second(&self) -> Option<f64> {
        // A few small answers tell of the delay, not of the line.
        let measured = self.client.bytes_per_second().filter(|_| self.spent_bytes() >= LEAST_BYTES);
        measured.or(self.remembered)
    }

    /// What it cost so far.
    pub(super) fn report(&self) -> LineReport {
        LineReport {
            spent_bytes: self.spent_bytes(),
            budget_left_bytes: self.budget_left_bytes(),
            seconds_left: self.time_left().map(|left| left.as_secs()),
            bytes_per_second: self.bytes_per_second().map(|rate| rate as u64),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.fetch_add(self.spent_bytes(), Ordering::SeqCst);
        }
        let Some(bytes_per_second) = self.client.bytes_per_second() else { return };
        // A line that was held back may be faster than that.
        let is_held_back =
            self.limit_bytes_per_second.is_some_and(|limit| bytes_per_second >= limit as f64 * 0.8);
        if self.spent_bytes() < LEAST_BYTES || is_held_back {
            return;
        }
        let line = Remembered { format: FORMAT, bytes_per_second, measured_at: site::now() };
        // A plan without it only says less.
        if let Ok(bytes) = serde_json::to_vec(&line) {
            let _ = disk::write_forgettable(&self.home.line(), &bytes);
        }
    }
}

/// What a plan knows without opening the purse: nothing is begun, nothing is written.
///
/// # Errors
/// When the budget's file cannot be read, or is damaged.
pub(super) fn look(home: &Home, options: &LineOptions) -> Result<LineReport> {
    let budget_left_bytes = match options.budget_bytes {
        Some(limit_bytes) if options.is_new_budget => Some(limit_bytes),
        Some(limit_bytes) => Some(Purse::look(&home.budget(), limit_bytes)?),
        None => None,
    };
    let left = deadline(options).map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let remembered = read(home).map(|line| line.bytes_per_second as u64);
    let bytes_per_second = match (remembered, options.limit_bytes_per_second) {
        (Some(remembered), Some(limit)) => Some(remembered.min(limit)),
        (remembered, limit) => remembered.or(limit),
    };
    Ok(LineReport {
        spent_bytes: 0,
        budget_left_bytes,
        // A deadline a moment ago in the making has lost its last fraction of a second.
        seconds_left: left.map(|left| left.as_secs_f64().round() as u64),
        bytes_per_second,
    })
}

/// Takes the home's lock; waits for another localml, but no longer than the time lasts.
///
/// # Errors
/// `NoRoom` when the time is up; when the user stops the waiting, or the lock cannot be made.
pub(super) fn lock_in_turn(home: &Home, options: &LineOptions, monitor: &dyn Monitor) -> Result<Lock> {
    let end = deadline(options);
    let watch = Until { monitor, is_over: move || has_come(end) };
    site::lock_in_turn(home, &watch).map_err(|error| match watch.is_reason() {
        true => Error::new(
            ErrorKind::NoRoom,
            "the time is up; another localml was at work in this home all the time",
        )
        .with_hint("run the same command again when the other one has ended"),
        false => error,
    })
}

/// The earlier of the two ends.
fn deadline(options: &LineOptions) -> Option<Instant> {
    let now = Instant::now();
    let until = options.until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
    let until = until.and_then(|left| now.checked_add(left));
    [options.ends_at, until].into_iter().flatten().min()
}

/// How fast the line was when it was last used.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    format: u32,
    bytes_per_second: f64,
    measured_at: u64,
}

fn read(home: &Home) -> Option<Remembered> {
    let bytes = std::fs::read(home.line()).ok()?;
    let line: Remembered = serde_json::from_slice(&bytes).ok()?;
    (line.format == FORMAT && line.bytes_per_second.is_finite()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_end_counts() {
        let options = LineOptions {
            ends_at: Some(Instant::now() + Duration::from_secs(3600)),
            until: Some(SystemTime::now() + Duration::from_secs(600)),
            ..LineOptions::default()
        };
        let left = deadline(&options).expect("an end").saturating_duration_since(Instant::now());
        assert!(left <= Duration::from_secs(600) && left > Duration::from_secs(590));
        // Over already: the line is closed, not open for ever.
        let over = LineOptions { until: Some(SystemTime::UNIX_EPOCH), ..LineOptions::default() };
        assert!(deadline(&over).expect("an end") <= Instant::now());
    }

    #[test]
    fn what_fits_is_known_by_money_and_by_time() {
        let line = LineReport {
            budget_left_bytes: Some(10_000_000),
            seconds_left: Some(60),
            bytes_per_second: Some(100_000),
            ..LineReport::default()
        };
        // 100 kB/s for a minute are 6 MB.
        assert!(line.is_enough_for(6_000_000) && !line.is_enough_for(6_100_000));
        let unhurried = LineReport { seconds_left: None, ..line };
        assert!(unhurried.is_enough_for(9_900_000) && !unhurried.is_enough_for(10_000_000));
    }

    #[test]
    fn a_look_begins_no_budget_and_an_open_line_does() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let home = Home::at(folder.path());
        let options = LineOptions { budget_bytes: Some(5_000_000), ..LineOptions::default() };
        assert_eq!(look(&home, &options).expect("fine").budget_left_bytes, Some(5_000_000));
        assert!(!home.budget().exists());
        let line = Line::open(&home, &options).expect("room");
        assert_eq!(line.budget_left_bytes(), Some(5_000_000));
        assert!(home.budget().exists());
    }
}
