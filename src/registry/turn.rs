//! Taking turns: of several commands that make the same thing for the first time, one makes it and the others wait.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{DiskError, Lock};

use super::error::Result;

/// The file in a folder whose lock lets one process change what lies there.
pub(super) const LOCK: &str = ".lock";

/// How long one waits for another. From a stick a registry is added in less than a second; for a slow line the user
/// is told instead.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How often a waiting one looks whether the other has ended.
const TICK: Duration = Duration::from_millis(20);

/// Takes the lock of a folder, which is made where it is absent.
///
/// # Errors
/// `Locked` when another command holds it for long; when the disk refuses.
pub(super) fn wait(folder: &Path) -> Result<Lock> {
    let until = Instant::now() + MAX_WAIT;
    loop {
        match Lock::acquire(&folder.join(LOCK)) {
            Err(DiskError::Locked { .. }) if Instant::now() < until => std::thread::sleep(TICK),
            done => return Ok(done?),
        }
    }
}
