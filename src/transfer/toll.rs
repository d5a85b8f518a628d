//! What passes the line: counted, timed, and paid for.
//!
//! Bodies are counted as they come; heads by their real length, as HTTP/1.1 would write them. What TLS adds is an
//! estimate: 22 bytes a record of 16 KiB, and 6 KiB for the first request to each host. The packets' own headers (about 3 in 100)
//! are not counted: no program can see them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::Result;
use super::purse::Purse;

/// What TLS adds to a record, and how long records are, in bytes.
const RECORD_EXTRA_BYTES: u64 = 22;
const RECORD_BYTES: u64 = 16 * 1024;

/// What it takes to shake hands, certificates in, in bytes.
const HANDSHAKE_BYTES: u64 = 6 * 1024;

/// A connection that nobody uses is closed after so long at the latest.
const KEPT_OPEN: Duration = Duration::from_secs(60);

/// Fewer bytes than this, gathered over several bodies, tell of the answers' delay and not of the line.
const LEAST_BYTES: u64 = 64 * 1024;

/// How long bytes are gathered before they count as one measurement.
const SPAN: Duration = Duration::from_millis(500);

/// The weight of the newest measurement against all earlier ones.
const NEWEST_WEIGHT: f64 = 0.2;

/// Counts for one client.
#[derive(Debug, Default)]
pub(super) struct Toll {
    spent_bytes: AtomicU64,
    purse: Option<Purse>,
    /// Since when connections to a host stand ready for another request: the next one needs no handshake.
    ready: Mutex<BTreeMap<String, Vec<Instant>>>,
    meter: Mutex<Meter>,
}

impl Toll {
    pub(super) fn new(purse: Option<Purse>) -> Arc<Self> {
        Arc::new(Self { purse, ..Self::default() })
    }

    /// All bytes so far.
    pub(super) fn spent_bytes(&self) -> u64 {
        self.spent_bytes.load(Ordering::SeqCst)
    }

    /// What the budget has left; `None` where there is none.
    pub(super) fn left_bytes(&self) -> Option<u64> {
        self.purse.as_ref().map(Purse::left_bytes)
    }

    /// The whole budget.
    pub(super) fn limit_bytes(&self) -> Option<u64> {
        self.purse.as_ref().map(Purse::limit_bytes)
    }

    /// How fast bytes come while some do, smoothed; `None` before the first measurement.
    pub(super) fn bytes_per_second(&self) -> Option<f64> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).bytes_per_second
    }

    /// Sees to it that what comes next is paid for in advance.
    pub(super) fn book_ahead(&self) -> Result<()> {
        self.purse.as_ref().map_or(Ok(()), Purse::book_ahead)
    }

    /// True when what comes next might not be paid for in advance, and the caller must book first.
    pub(super) fn is_short(&self) -> bool {
        self.purse.as_ref().is_some_and(Purse::is_short)
    }

    /// Gives back what was booked and not spent.
    pub(super) fn settle(&self) {
        // What cannot be given back is lost to the budget, not to the purse of its owner.
        let _ = self.purse.as_ref().map(Purse::settle);
    }

    /// A request goes out, with so many bytes; returns what it costs.
    pub(super) fn request(&self, url: &url::Url, count: u64) -> u64 {
        let is_tls = url.scheme() == "https";
        let hello_bytes = if is_tls && !self.takes_ready(url) { HANDSHAKE_BYTES } else { 0 };
        let cost = count + hello_bytes + framing_bytes(is_tls, count);
        self.pay(cost);
        cost
    }

    /// A request did not go out after all, because there was no connection.
    pub(super) fn take_back(&self, count: u64) {
        self.spent_bytes.fetch_sub(count, Ordering::SeqCst);
        if let Some(purse) = &self.purse {
            purse.take_back(count);
        }
    }

    /// A body came to its end: its connection takes another request.
    pub(super) fn is_ready(&self, url: &url::Url) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.entry(host_of(url)).or_default().push(Instant::now());
    }

    /// A head came. False when the budget is spent.
    pub(super) fn head(&self, is_tls: bool, count: u64) -> bool {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).begin(Instant::now());
        self.pay(count + framing_bytes(is_tls, count))
    }

    /// Some of a body came, which tells how fast the line is.
    pub(super) fn measure(&self, count: u64) {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).add(count, Instant::now());
    }

    /// Some of a body came. False when the budget is spent.
    pub(super) fn body(&self, is_tls: bool, count: u64) -> bool {
        self.pay(count + if is_tls { count * RECORD_EXTRA_BYTES / RECORD_BYTES } else { 0 })
    }

    fn takes_ready(&self, url: &url::Url) -> bool {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let since = ready.get_mut(&host_of(url)).and_then(Vec::pop);
        since.is_some_and(|since| since.elapsed() < KEPT_OPEN)
    }

    fn pay(&self, count: u64) -> bool {
        self.spent_bytes.fetch_add(count, Ordering::SeqCst);
        self.purse.as_ref().is_none_or(|purse| purse.spend(count))
    }
}

fn host_of(url: &url::Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0))
}

fn framing_bytes(is_tls: bool, count: u64) -> u64 {
    if is_tls { RECORD_EXTRA_BYTES * count.div_ceil(RECORD_BYTES) } else { 0 }
}

/// Bytes over time, in spans of half a second, the newest weighing most.
#[derive(Debug, Default)]
struct Meter {
    since: Option<Instant>,
    /// When bytes last came.
    last: Option<Instant>,
    /// The time that earlier bodies of this span took.
    earlier: Duration,
    gathered_bytes: u64,
    bytes_per_second: Option<f64>,
}

impl Meter {
    /// A body begins: the pause before it says nothing about the line, nor do a few small answers.
    fn begin(&mut self, now: Instant) {
        match self.gathered_bytes < LEAST_BYTES {
            true => (self.gathered_bytes, self.earlier) = (0, Duration::ZERO),
            false => self.earlier += self.taken(self.last.unwrap_or(now)),
        }
        self.since = Some(now);
    }

    fn add(&mut self, count: u64, now: Instant) {
        self.since.get_or_insert(now);
        self.last = Some(now);
        self.gathered_bytes += count;
        let elapsed = self.earlier + self.taken(now);
        if elapsed < SPAN {
            return;
        }
        let newest = self.gathered_bytes as f64 / elapsed.as_secs_f64();
        let smoothed =
            self.bytes_per_second.map_or(newest, |old| old * (1.0 - NEWEST_WEIGHT) + newest * NEWEST_WEIGHT);
        (self.since, self.earlier, self.gathered_bytes) = (Some(now), Duration::ZERO, 0);
        self.bytes_per_second = Some(smoothed);
    }

    /// How long the body that comes now has taken until then.
    fn taken(&self, until: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| until.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_line_and_not_of_the_pauses() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.begin(start);
        meter.add(500_000, start + Duration::from_millis(500));
        assert_eq!(meter.bytes_per_second, Some(1_000_000.0));
        // An hour passes between two files; then as before.
        let later = start + Duration::from_secs(3600);
        meter.begin(later);
        meter.add(500_000, later + Duration::from_millis(500));
        assert_eq!(meter.bytes_per_second, Some(1_000_000.0));
        // Half as fast: 0.8 of the old and 0.2 of the new.
        meter.add(250_000, later + Duration::from_secs(1));
        assert_eq!(meter.bytes_per_second, Some(900_000.0));
        // The beginning of a span, a minute of failed tries, and its end: only bodies take the line's time.
        meter.add(100_000, later + Duration::from_millis(1250));
        let last = later + Duration::from_secs(61);
        meter.begin(last);
        meter.add(125_000, last + Duration::from_millis(250));
        assert_eq!(meter.bytes_per_second, Some(0.8 * 900_000.0 + 0.2 * 450_000.0));
    }

    #[test]
    fn heads_and_handshakes_count() {
        let toll = Toll::new(None);
        let url: url::Url = "https://host/a".parse().expect("a URL");
        toll.request(&url, 100);
        assert!(toll.head(true, 300) && toll.body(true, 16 * 1024));
        // 100 + 22, a handshake, 300 + 22, and one record.
        assert_eq!(toll.spent_bytes(), 122 + 6144 + 322 + 16_384 + 22);
        // Another request while that connection is busy needs one of its own; a third one finds it free.
        let before = toll.spent_bytes();
        toll.request(&url, 100);
        assert_eq!(toll.spent_bytes() - before, 122 + 6144);
        toll.is_ready(&url);
        toll.request(&url, 100);
        assert_eq!(toll.spent_bytes() - before, 2 * 122 + 6144);
        let cost = toll.request(&url, 100);
        toll.take_back(cost);
        assert_eq!(toll.spent_bytes() - before, 2 * 122 + 6144, "no connection, no cost");
    }
}
