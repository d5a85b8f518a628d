//! What most deeds need first: the store of this home, and the lock that lets one of them change it.

use std::io;
use std::time::Duration;

use crate::disk::{DiskError, Lock};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::progress::Monitor;
use crate::store::{Folders, Store};

use super::error::{Error, Result};

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
    Lock::acquire(&home.lock()).map_err(|error| explained(home, error))
}

/// A home that is not there and cannot be made is most often a slip of the pen.
fn explained(home: &Home, error: DiskError) -> Error {
    match &error {
        DiskError::Io { source, .. } if is_no_folder(source.kind()) && !home.root().is_dir() => {
            let message = format!("the home `{}` cannot be made: {source}", home.root().display());
            Error::new(ErrorKind::Failed, message)
                .with_hint("give another folder with `--home`, or mount the disk on which it lies")
        }
        _ => error.into(),
    }
}

fn is_no_folder(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists)
}

/// True when a file is not there, nor perhaps the folder that should hold it.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// How often a waiting command looks whether the other one has ended.
const TICK: Duration = Duration::from_millis(100);

/// As `lock`, but waits for a localml that is changing the home, and says so: two that fetch the same bytes
/// would pay for them twice, and the second one finds what the first one brought.
///
/// # Errors
/// As `lock`, once the user stops the waiting.
pub(super) fn lock_in_turn(home: &Home, monitor: &dyn Monitor) -> Result<Lock> {
    let mut queue = Queue::new(monitor, "another localml is changing this home".into());
    loop {
        match Lock::acquire(&home.lock()) {
            Err(DiskError::Locked { .. }) if queue.waits() => {}
            outcome => return outcome.map_err(|error| explained(home, error)),
        }
    }
}

/// Waits for another localml, and says so once.
pub(super) struct Queue<'a> {
    monitor: &'a dyn Monitor,
    /// What the other one does.
    what: String,
    is_told: bool,
}

impl<'a> Queue<'a> {
    pub(super) fn new(monitor: &'a dyn Monitor, what: String) -> Self {
        Self { monitor, what, is_told: false }
    }

    /// Waits a moment; false, at once, when the user stops the waiting.
    pub(super) fn waits(&mut self) -> bool {
        if self.monitor.is_cancelled() {
            return false;
        }
        if !self.is_told {
            self.monitor.note(&format!("{}; waiting for it to end", self.what));
            self.is_told = true;
        }
        std::thread::sleep(TICK);
        true
    }
}

/// This machine's clock, in seconds since 1970; 0 when it is set before that.
pub(super) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since_1970| since_1970.as_secs())
}
