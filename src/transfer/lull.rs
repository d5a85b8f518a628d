//! Nothing comes: the user is told, instead of looking at a picture that stands still.

use std::time::{Duration, Instant};

use super::network::Network;
use crate::progress::Monitor;

/// After so long without a byte the user is told ...
const PATIENCE: Duration = Duration::from_secs(10);

/// ... and again each time that so much more has passed.
const NEWS_EVERY: Duration = Duration::from_secs(30);

/// How long a source has sent nothing.
pub(super) struct Lull<'a> {
    address: &'a str,
    since: Instant,
    /// How long it must last until the user is told next.
    tell_after: Duration,
}

impl<'a> Lull<'a> {
    /// Begins to wait for the source at this address.
    pub(super) fn new(address: &'a str) -> Self {
        Self { address, since: Instant::now(), tell_after: PATIENCE }
    }

    /// Nothing has come by now, either.
    pub(super) fn goes_on(&mut self, monitor: &dyn Monitor) {
        let elapsed = self.since.elapsed();
        if elapsed >= self.tell_after {
            let seconds = elapsed.as_secs();
            monitor.note(&format!("nothing has come from `{}` for {seconds} s; still waiting", self.address));
            self.tell_after = elapsed + NEWS_EVERY;
        }
    }

    /// As `goes_on`, in a body; what the user holds back is no silence.
    pub(super) fn goes_on_over(&mut self, network: Option<&Network>, monitor: &dyn Monitor) {
        match network.is_some_and(Network::is_held_back) {
            true => self.is_over(),
            false => self.goes_on(monitor),
        }
    }

    /// Something came.
    pub(super) fn is_over(&mut self) {
        (self.since, self.tell_after) = (Instant::now(), PATIENCE);
    }
}
