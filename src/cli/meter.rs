//! How far a task is, how fast, how long it will still take, and what it cost: numbers first, then words.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::progress::{Cost, Unit};

use super::terminal::size;

/// How long the past counts when the speed of a line is told.
const MEMORY: Duration = Duration::from_secs(8);

/// The shortest time over which a speed is measured.
const SHORTEST: Duration = Duration::from_millis(200);

/// What would take longer is not told: nobody knows what the line does by then.
const LONGEST_LEFT: Duration = Duration::from_secs(99 * 24 * 60 * 60);

/// Counts one task.
pub(super) struct Meter {
    pub(super) label: String,
    pub(super) total: Option<u64>,
    pub(super) unit: Unit,
    began: Instant,
    done: AtomicU64,
    skipped: AtomicU64,
    cost: Mutex<Option<Cost>>,
    pace: Mutex<Pace>,
}

/// The speed when it was last measured.
struct Pace {
    at: Instant,
    fresh: u64,
    per_second: Option<f64>,
}

/// A task at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// How many bytes or items are done, those that were done before among them.
    pub(super) done: u64,
    /// How many those were.
    pub(super) skipped: u64,
    /// How many there are.
    pub(super) total: Option<u64>,
    /// How many come in a second, smoothed.
    pub(super) per_second: Option<f64>,
    /// How long the rest takes at this speed.
    pub(super) left: Option<Duration>,
    /// What it cost.
    pub(super) cost: Option<Cost>,
    /// How long it has taken by now.
    pub(super) elapsed: Duration,
}

impl Meter {
    pub(super) fn new(label: &str, total: Option<u64>, unit: Unit) -> Self {
        let began = Instant::now();
        Self {
            label: label.to_owned(),
            total,
            unit,
            began,
            done: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            cost: Mutex::default(),
            pace: Mutex::new(Pace { at: began, fresh: 0, per_second: None }),
        }
    }

    pub(super) fn advance(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn skip(&self, count: u64) {
        self.skipped.fetch_add(count, Ordering::Relaxed);
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set_cost(&self, cost: Cost) {
        if let Ok(mut place) = self.cost.lock() {
            *place = Some(cost);
        }
    }

    /// How far it is now.
    pub(super) fn read(&self) -> Reading {
        let (skipped, done) = (self.skipped.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed));
        let per_second = self.measure(done.saturating_sub(skipped));
        let rest = self.total.map(|total| total.saturating_sub(done));
        Reading {
            done,
            skipped,
            total: self.total,
            per_second,
            left: rest.zip(per_second).and_then(|(rest, per_second)| time_for(rest, per_second)),
            cost: self.cost.lock().ok().and_then(|cost| *cost),
            elapsed: self.began.elapsed(),
        }
    }

    fn measure(&self, fresh: u64) -> Option<f64> {
        let mut pace = self.pace.lock().ok()?;
        let passed = pace.at.elapsed();
        if passed >= SHORTEST {
            let now = fresh.saturating_sub(pace.fresh) as f64 / passed.as_secs_f64();
            let smoothed = pace.per_second.map_or(now, |before| smoothed(before, now, passed));
            *pace = Pace { at: Instant::now(), fresh, per_second: Some(smoothed) };
        }
        pace.per_second
    }
}

impl Reading {
    /// How far it is, in words: done, speed, time left, cost.
    pub(super) fn words(&self, unit: Unit) -> String {
        let costs = self.cost.map(|cost| [spent_words(cost), saved_words(cost)].concat());
        [self.done_words(unit), self.pace_words(unit), self.left_words(), costs.unwrap_or_default()].concat()
    }

    /// As `words`, without what has no room in so many columns: what counts least goes first.
    pub(super) fn words_within(&self, unit: Unit, columns: usize) -> String {
        let (done, pace, left) = (self.done_words(unit), self.pace_words(unit), self.left_words());
        let spent = self.cost.map(spent_words).unwrap_or_default();
        let shorter = [
            self.words(unit),
            [done.as_str(), &pace, &left, &spent].concat(),
            [done.as_str(), &left, &spent].concat(),
            [done.as_str(), &left].concat(),
            done,
        ];
        let fits = |words: &String| words.chars().count() <= columns;
        shorter.into_iter().find(fits).unwrap_or_else(|| show(unit, self.done))
    }

    fn done_words(&self, unit: Unit) -> String {
        let of = self.total.map(|total| format!(" of {}", show(unit, total))).unwrap_or_default();
        format!("{}{of}", show(unit, self.done))
    }

    fn pace_words(&self, unit: Unit) -> String {
        let per_second = self.per_second.filter(|_| unit == Unit::Bytes);
        per_second.map(|per_second| format!(", {}/s", size(per_second as u64))).unwrap_or_default()
    }

    fn left_words(&self) -> String {
        let left = self.left.filter(|_| Some(self.done) < self.total);
        left.map(|left| format!(", {} left", span(left))).unwrap_or_default()
    }

    /// What it came to, in words.
    pub(super) fn end_words(&self, unit: Unit) -> String {
        let cost = self.cost.map(|cost| [spent_words(cost), saved_words(cost)].concat()).unwrap_or_default();
        format!("{} in {}{cost}", show(unit, self.done), span(self.elapsed))
    }
}

fn show(unit: Unit, count: u64) -> String {
    if unit == Unit::Bytes { size(count) } else { count.to_string() }
}

fn spent_words(cost: Cost) -> String {
    format!(", spent {}", size(cost.spent_bytes))
}

fn saved_words(cost: Cost) -> String {
    format!(", saved {}", size(cost.saved_bytes))
}

/// A speed that forgets the past by and by: after 8 s it counts for a third.
fn smoothed(before: f64, now: f64, passed: Duration) -> f64 {
    let weight = 1.0 - (-passed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
    before + weight * (now - before)
}

fn time_for(rest: u64, per_second: f64) -> Option<Duration> {
    let seconds = rest as f64 / per_second;
    (seconds <= LONGEST_LEFT.as_secs_f64()).then(|| Duration::from_secs_f64(seconds))
}

/// A time for people: its two largest units.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let pair = |large: u64, large_name: &str, small: u64, small_name: &str| match small {
        0 => format!("{large} {large_name}"),
        _ => format!("{large} {large_name} {small} {small_name}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => pair(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading {
            done: 120_000_000,
            skipped: 0,
            total: Some(491_000_000),
            per_second: Some(2_000_000.0),
            left: time_for(371_000_000, 2_000_000.0),
            cost: None,
            elapsed: Duration::from_secs(75),
        }
    }

    #[test]
    fn words_say_how_far_how_fast_and_how_long() {
        assert_eq!(reading().words(Unit::Bytes), "120 MB of 491 MB, 2.00 MB/s, 3 min 5 s left");
        let cost = Some(Cost { spent_bytes: 121_000_000, saved_bytes: 40_000 });
        let words = Reading { cost, ..reading() }.words(Unit::Bytes);
        assert!(words.ends_with("left, spent 121 MB, saved 40.0 kB"), "{words}");
        let items = Reading { done: 12, total: Some(300), left: None, ..reading() };
        assert_eq!(items.words(Unit::Items), "12 of 300");
        assert_eq!(reading().end_words(Unit::Bytes), "120 MB in 1 min 15 s");
    }

    #[test]
    fn in_a_small_window_the_dearest_words_stay() {
        let cost = Some(Cost { spent_bytes: 121_000_000, saved_bytes: 40_000 });
        let reading = Reading { cost, ..reading() };
        let within = |columns| reading.words_within(Unit::Bytes, columns);
        assert_eq!(within(80), reading.words(Unit::Bytes));
        assert_eq!(within(64), "120 MB of 491 MB, 2.00 MB/s, 3 min 5 s left, spent 121 MB");
        assert_eq!(within(50), "120 MB of 491 MB, 3 min 5 s left, spent 121 MB");
        assert_eq!(within(40), "120 MB of 491 MB, 3 min 5 s left");
        assert_eq!((within(20), within(9)), ("120 MB of 491 MB".into(), "120 MB".into()));
        // The longest that 80 columns must hold beside a name.
        let long = Reading {
            done: 999_000_000,
            total: Some(1_230_000_000),
            left: Some(Duration::from_secs(779)),
            ..reading
        };
        assert_eq!(long.words_within(Unit::Bytes, 64).chars().count(), 60);
    }

    #[test]
    fn a_line_that_stands_still_tells_no_time() {
        assert_eq!(time_for(100, 0.0), None);
        assert_eq!(time_for(u64::MAX, 1.0), None);
        assert_eq!(time_for(100, 50.0), Some(Duration::from_secs(2)));
    }

    #[test]
    fn the_speed_follows_the_line_by_and_by() {
        // After 8 s the past counts for 1/e: 100 + (1 - 0.368) × (200 - 100) = 163.2.
        assert!((smoothed(100.0, 200.0, MEMORY) - 163.2).abs() < 0.1);
        assert!(smoothed(100.0, 200.0, Duration::from_millis(200)) < 103.0);
    }

    #[test]
    fn what_was_there_before_counts_as_done_and_not_as_speed() {
        let meter = Meter::new("x", Some(100), Unit::Bytes);
        meter.skip(60);
        meter.advance(10);
        let reading = meter.read();
        assert_eq!((reading.done, reading.skipped, reading.per_second), (70, 60, None));
    }

    #[test]
    fn times_have_two_units() {
        let spans = [0, 59, 60, 200, 3600, 7500, 90_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0 s", "59 s", "1 min", "3 min 20 s", "1 h", "2 h 5 min", "1 d 1 h"]);
    }
}
