//! What most deeds need first: the store of this home, and the lock that lets one of them change it.

use crate::disk::Lock;
use crate::home::Home;
use crate::store::{Folders, Store};

use super::error::Result;

/// Opens the store of a home; nothing is touched yet.
pub(super) fn store(home: &Home) -> Store {
    Store::open(Folders {
        blobs: home.blobs(),
        pieces: home.pieces(),
        packages: home.packages(),
        installed: home.installed(),
        fetched: home.fetched(),
        previous: home.previous(),
    })
}

/// Takes the right to change a home; released when dropped.
///
/// # Errors
/// When another localml is changing it, or the home cannot be written.
pub(super) fn lock(home: &Home) -> Result<Lock> {
    Ok(Lock::acquire(&home.lock())?)
}

/// This machine's clock, in seconds since 1970; 0 when it is set before that.
pub(super) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since_1970| since_1970.as_secs())
}
