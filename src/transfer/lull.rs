//! Nothing comes: the user is told, instead of looking at a picture that stands still.

use std::time::{Duration, Instant};

use crate::progress::Monitor;

/// After so long without a byte the user is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a source has sent nothing.
pub(super) struct Lull<'a> {
    address: &'a str,
    since: Instant,
    is_told: bool,
}

impl<'a> Lull<'a> {
    /// Begins to wait for the source at this address.
    pub(super) fn new(address: &'a str) -> Self {
        Self { address, since: Instant::now(), is_told: false }
    }

    /// Nothing has come by now, either.
    pub(super) fn goes_on(&mut self, monitor: &dyn Monitor) {
        if !self.is_told && self.since.elapsed() >= PATIENCE {
            let seconds = PATIENCE.as_secs();
            monitor.note(&format!("nothing has come from `{}` for {seconds} s; still waiting", self.address));
            self.is_told = true;
        }
    }

    /// Something came.
    pub(super) fn is_over(&mut self) {
        (self.since, self.is_told) = (Instant::now(), false);
    }
}
