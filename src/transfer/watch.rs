//! The deadline: work stops there as it does when the user says so, and the error tells the two apart.

use std::time::Instant;

use super::error::TransferError;
use crate::progress::{Monitor, Until, has_come};

/// Listens for the user and for the hour.
pub(super) fn until<'a>(
    monitor: &'a dyn Monitor,
    deadline: Option<Instant>,
) -> Until<'a, impl Fn() -> bool + Sync + use<>> {
    Until { monitor, is_over: move || has_come(deadline) }
}

/// Tells the end of the time from the will of the user.
pub(super) fn explain<F: Fn() -> bool + Sync>(watch: &Until<'_, F>, error: TransferError) -> TransferError {
    match error {
        TransferError::Cancelled { name, kept_bytes, size_bytes } if watch.is_reason() => {
            TransferError::OutOfTime { name, kept_bytes, size_bytes }
        }
        error => error,
    }
}
