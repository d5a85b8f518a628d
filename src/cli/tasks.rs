//! The faces of a task: a bar where a person looks, a line every few seconds in a log, JSON for programs.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::{Value, json};

use crate::progress::{Cost, Task, Unit};

use super::meter::Meter;
use super::output::{harmless, say};

/// How often a bar is drawn anew while nothing comes.
const TICK: Duration = Duration::from_millis(250);

/// A bar on a terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    meter: Arc<Meter>,
}

/// The template for a window of so many columns, and how many of them it takes beside the words. What does not fit would
/// break the line, and each line drawn would leave another one behind.
fn face(has_total: bool, columns: usize) -> (&'static str, usize) {
    match (has_total, columns) {
        (true, 116..) => ("{msg:20!} [{bar:12}] {percent:>3} %  {words}", 43),
        (true, 90..) => ("{msg:20!} {percent:>3} %  {words}", 28),
        (true, 60..) => ("{msg:14!} {words}", 15),
        (true, _) => ("{msg:10!} {words}", 11),
        (false, 60..) => ("{msg:20!} {spinner} {words}", 23),
        (false, _) => ("{msg:10!} {spinner} {words}", 13),
    }
}

/// How wide the window is; 80 where nobody can tell.
fn columns() -> usize {
    let window = rustix::termios::tcgetwinsize(std::io::stderr());
    window.ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0).unwrap_or(80)
}

impl Bar {
    pub(super) fn begin(bars: &MultiProgress, meter: Meter) -> Self {
        let meter = Arc::new(meter);
        let (template, taken) = face(meter.total.is_some(), columns());
        let bar = bars.add(meter.total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        let for_words = Arc::clone(&meter);
        let words = move |_: &ProgressState, text: &mut dyn Write| {
            // A window may change its size; one column stays free, where a cursor would break the line.
            let room = columns().saturating_sub(taken + 1);
            // Writing to a line in memory cannot fail.
            let _ = text.write_str(&for_words.read().words_within(for_words.unit, room));
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("words", words).progress_chars("=> "));
        }
        bar.set_message(harmless(&meter.label));
        bar.enable_steady_tick(TICK);
        Self { bar, meter }
    }
}

impl Task for Bar {
    fn advance(&self, count: u64) {
        self.meter.advance(count);
        self.bar.inc(count);
    }

    fn skip(&self, count: u64) {
        self.meter.skip(count);
        self.bar.inc(count);
    }

    fn cost(&self, cost: Cost) {
        self.meter.set_cost(cost);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Tells, at most once in a while, that it is time to speak.
struct Rhythm {
    began: Instant,
    every: Duration,
    num_beats: AtomicU64,
}

impl Rhythm {
    fn new(every: Duration) -> Self {
        Self { began: Instant::now(), every, num_beats: AtomicU64::new(0) }
    }

    /// True for the first caller after each beat.
    fn is_due(&self) -> bool {
        let due = self.began.elapsed().as_millis() / self.every.as_millis().max(1);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        due > self.num_beats.fetch_max(due, Ordering::Relaxed)
    }

    fn has_spoken(&self) -> bool {
        self.num_beats.load(Ordering::Relaxed) > 0
    }
}

/// Plain progress lines for logs: nothing for short work, a line each few seconds for long.
pub(super) struct Lines {
    meter: Meter,
    rhythm: Rhythm,
}

impl Lines {
    pub(super) fn begin(meter: Meter, every: Duration) -> Self {
        Self { meter, rhythm: Rhythm::new(every) }
    }

    fn speak(&self) {
        if self.rhythm.is_due() {
            self.say(&self.meter.read().words(self.meter.unit));
        }
    }

    fn say(&self, words: &str) {
        say(&format!("{}: {words}", harmless(&self.meter.label)));
    }
}

impl Task for Lines {
    fn advance(&self, count: u64) {
        self.meter.advance(count);
        self.speak();
    }

    fn skip(&self, count: u64) {
        self.meter.skip(count);
    }

    fn cost(&self, cost: Cost) {
        self.meter.set_cost(cost);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.rhythm.has_spoken() {
            self.say(&self.meter.read().end_words(self.meter.unit));
        }
    }
}

/// Events for programs, each one line of JSON on stderr.
pub(super) struct Events {
    number: u64,
    meter: Meter,
    rhythm: Rhythm,
}

impl Events {
    pub(super) fn begin(number: u64, meter: Meter, every: Duration) -> Self {
        let unit = if meter.unit == Unit::Bytes { "bytes" } else { "items" };
        let (label, total) = (&meter.label, meter.total);
        emit(&json!({"event": "start", "task": number, "label": label, "total": total, "unit": unit}));
        Self { number, meter, rhythm: Rhythm::new(every) }
    }

    fn tell(&self, event: &str) {
        let reading = self.meter.read();
        let mut value = json!({
            "event": event,
            "task": self.number,
            "done": reading.done,
            "skipped": reading.skipped,
            "total": reading.total,
            "per_second": reading.per_second.map(|per_second| per_second as u64),
            "seconds": reading.elapsed.as_secs(),
            "seconds_left": reading.left.map(|left| left.as_secs()),
        });
        if let Some(Cost { spent_bytes, saved_bytes }) = reading.cost {
            value["spent_bytes"] = spent_bytes.into();
            value["saved_bytes"] = saved_bytes.into();
        }
        emit(&value);
    }
}

impl Task for Events {
    fn advance(&self, count: u64) {
        self.meter.advance(count);
        if self.rhythm.is_due() {
            self.tell("progress");
        }
    }

    fn skip(&self, count: u64) {
        self.meter.skip(count);
    }

    fn cost(&self, cost: Cost) {
        self.meter.set_cost(cost);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.tell("end");
    }
}

/// Prints one event.
pub(super) fn emit(event: &Value) {
    say(&event.to_string());
}
