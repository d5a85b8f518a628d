//! Is a source worth waiting for, when there is another one?

use std::time::{Duration, Instant};

use super::error::TransferError;
use super::judge::Failure;
use super::sources::Source;

/// A shorter time says nothing of how fast a connection is.
const LEAST_SPAN: Duration = Duration::from_secs(1);

/// Looks at how fast a source is, a span at a time.
pub(super) struct Pace {
    begin: Instant,
    all_bytes: u64,
    since: Instant,
    bytes: u64,
    /// Less than this in a span is too slow; 0 means that nobody else is left to ask.
    least_bytes: u64,
    span: Duration,
}

impl Pace {
    pub(super) fn new(source: &Source) -> Self {
        let least_bytes = if source.has_rival { source.least_bytes } else { 0 };
        let now = Instant::now();
        Self { begin: now, all_bytes: 0, since: now, bytes: 0, least_bytes, span: source.span }
    }

    pub(super) fn add(&mut self, count: u64) {
        self.bytes += count;
        self.all_bytes += count;
    }

    /// True when it has sent so many bytes a second, from the beginning of its body on.
    pub(super) fn is_at_least(&self, bytes_per_second: u64) -> bool {
        self.all_bytes as f64 >= bytes_per_second as f64 * self.begin.elapsed().as_secs_f64()
    }

    /// How many bytes a second it has sent from the beginning of its body on; `None` before that says anything.
    pub(super) fn bytes_per_second(&self) -> Option<f64> {
        let elapsed = self.begin.elapsed();
        (elapsed >= LEAST_SPAN).then(|| self.all_bytes as f64 / elapsed.as_secs_f64())
    }

    /// Leaves the source when a whole span has brought too little.
    pub(super) fn judge(&mut self, source: &Source) -> Result<(), Failure> {
        let elapsed = self.since.elapsed();
        if self.least_bytes == 0 || elapsed < self.span {
            return Ok(());
        }
        if self.bytes < self.least_bytes {
            let bytes_per_second = (self.bytes as f64 / elapsed.as_secs_f64()) as u64;
            let address = source.address.clone();
            return Err(Failure::too_slow(TransferError::Slow { address, bytes_per_second }));
        }
        (self.since, self.bytes) = (Instant::now(), 0);
        Ok(())
    }
}
