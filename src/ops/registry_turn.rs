//! Two that refresh one registry do so one after the other: the second one finds what the first one brought.

use std::path::Path;
use std::time::Instant;

use crate::disk::{DiskError, Lock};
use crate::error::ErrorKind;
use crate::package::Name;
use crate::progress::{Monitor, Until, has_come};
use crate::registry::RegistryError;

use super::error::{Error, Result};
use super::line::Line;
use super::site::Queue;

/// Does what needs the lock of a registry; where another localml holds it, says so and waits, as long as user and clock
/// let it. The outer error says that they did not.
///
/// # Errors
/// When the user stops the waiting, or the time is up.
pub(super) fn in_turn<T>(
    (name, folder): (&Name, &Path),
    line: &Line,
    monitor: &dyn Monitor,
    deed: impl Fn() -> std::result::Result<T, RegistryError>,
) -> Result<std::result::Result<T, RegistryError>> {
    let end = line.time_left().and_then(|left| Instant::now().checked_add(left));
    let watch = Until { monitor, is_over: move || has_come(end) };
    let path = folder.join(".lock");
    let mut queue = Queue::new(&watch, format!("another localml is refreshing `{name}`"));
    loop {
        while is_taken(&path) {
            if !queue.waits() {
                return Err(given_up(name, watch.is_reason()));
            }
        }
        // Another one may have been quicker.
        match deed() {
            Err(RegistryError::Disk(DiskError::Locked { .. })) => {}
            done => return Ok(done),
        }
    }
}

/// True while another process holds a lock.
fn is_taken(path: &Path) -> bool {
    path.exists() && matches!(Lock::acquire(path), Err(DiskError::Locked { .. }))
}

fn given_up(name: &Name, is_out_of_time: bool) -> Error {
    let (kind, what) = match is_out_of_time {
        true => (ErrorKind::NoRoom, "the time is up"),
        false => (ErrorKind::Failed, "stopped"),
    };
    Error::new(kind, format!("{what}; another localml was refreshing `{name}` all the time"))
        .with_hint("run the same command again when the other one has ended")
}
