//! A monitor that also looks at the clock: work stops at the deadline as it does when the user says so.

use std::time::Instant;

use super::error::TransferError;
use crate::progress::{Monitor, Task, Unit};

/// Listens for the user and for the hour.
pub(super) struct Watch<'a> {
    pub(super) monitor: &'a dyn Monitor,
    pub(super) deadline: Option<Instant>,
}

impl Watch<'_> {
    /// Tells the end of the time from the will of the user.
    pub(super) fn explain(&self, error: TransferError) -> TransferError {
        match error {
            TransferError::Cancelled { name, kept_bytes, size_bytes }
                if self.is_late() && !self.monitor.is_cancelled() =>
            {
                TransferError::OutOfTime { name, kept_bytes, size_bytes }
            }
            error => error,
        }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl Monitor for Watch<'_> {
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_> {
        self.monitor.start(label, total, unit)
    }

    fn note(&self, text: &str) {
        self.monitor.note(text);
    }

    fn warn(&self, text: &str) {
        self.monitor.warn(text);
    }

    fn is_cancelled(&self) -> bool {
        self.monitor.is_cancelled() || self.is_late()
    }
}
