//! The line is down: who has sent something before is worth waiting for, longer than a few tries.

use std::time::{Duration, Instant};

use super::error::TransferError;
use crate::progress::Monitor;

/// The user is told of the same trouble no more often than this.
const NEWS_EVERY: Duration = Duration::from_secs(30);

/// A time without a new byte.
pub(super) struct Outage {
    patience: Duration,
    since: Option<Instant>,
    told_at: Option<Instant>,
}

impl Outage {
    /// Nothing is wrong yet. A line that is down is waited for so long.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, since: None, told_at: None }
    }

    /// A new byte came.
    pub(super) fn is_over(&mut self) {
        (self.since, self.told_at) = (None, None);
    }

    /// Tells of a try that brought nothing, now and then.
    pub(super) fn tell(&mut self, error: &TransferError, monitor: &dyn Monitor) {
        self.since.get_or_insert_with(Instant::now);
        if self.told_at.is_none_or(|told_at| told_at.elapsed() >= NEWS_EVERY) {
            monitor.note(&format!("{error}; trying again"));
            self.told_at = Some(Instant::now());
        }
    }

    /// True while it is no use to give up: the line is down, and was not for long.
    pub(super) fn is_bearable(&mut self, error: &TransferError) -> bool {
        // What stands before a server answers in its stead when it cannot be reached.
        let is_line = matches!(
            error,
            TransferError::Connection { .. }
                | TransferError::Broken { .. }
                | TransferError::Silence { .. }
                | TransferError::Status { status: 502..=504, .. }
        );
        let since = *self.since.get_or_insert_with(Instant::now);
        is_line && since.elapsed() < self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_down_is_borne_for_a_while_and_a_wrong_answer_is_not() {
        let address = || "http://a/".to_owned();
        let down = TransferError::Silence { address: address(), seconds: 1 };
        let wrong = TransferError::BadRange { address: address() };
        let status = |status| TransferError::Status { address: address(), status, pause: None };
        let mut outage = Outage::new(Duration::from_secs(3600));
        assert!(outage.is_bearable(&down) && !outage.is_bearable(&wrong));
        assert!(outage.is_bearable(&status(502)) && !outage.is_bearable(&status(500)));
        assert!(!Outage::new(Duration::ZERO).is_bearable(&down));
    }
}
