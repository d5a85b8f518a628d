//! Copies of other files into the home: is there room, is it still wanted, and is it still the same file.

use std::path::Path;

use crate::digest::Sha256;
use crate::disk::{self, Staged};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::progress::{Monitor, Unit};

use super::error::{Error, Result};

/// Room that a copy leaves free, in bytes: lists and records are still to be written.
const SLACK_BYTES: u64 = 16 * 1024 * 1024;

/// A file that is to be copied, and what it was found to be.
#[derive(Clone, Copy)]
pub(super) struct Original<'a> {
    pub(super) path: &'a Path,
    pub(super) sha256: &'a Sha256,
    pub(super) size_bytes: u64,
}

/// How much room copies of so many bytes lack in the home; 0 when they fit.
///
/// # Errors
/// When the disk cannot be asked.
pub(super) fn lacking_room_bytes(home: &Home, size_bytes: u64) -> Result<u64> {
    let free_bytes = disk::free_bytes(home.root())?;
    match size_bytes {
        0 => Ok(0),
        _ => Ok(size_bytes.saturating_add(SLACK_BYTES).saturating_sub(free_bytes)),
    }
}

/// Says no before the first byte of copies of so many bytes.
///
/// # Errors
/// `NoRoom`, and when the disk cannot be asked.
pub(super) fn check_room(home: &Home, size_bytes: u64) -> Result<()> {
    let lacking_bytes = lacking_room_bytes(home, size_bytes)?;
    if lacking_bytes == 0 {
        return Ok(());
    }
    let needed_bytes = size_bytes.saturating_add(SLACK_BYTES);
    let free_bytes = needed_bytes - lacking_bytes;
    let message = format!("the disk has {free_bytes} bytes free where {needed_bytes} are needed");
    Err(Error::new(ErrorKind::NoRoom, message)
        .with_hint("`localml gc` shows what could go; or use a larger disk with `--home`"))
}

/// Copies a file to `part` in the home. Where that fails, or the user stops it, nothing is left of the copy.
///
/// # Errors
/// `NoRoom` before the first byte; when the disk fails, the file is not what it was found to be any more, or the user
/// stopped.
pub(super) fn copy_in(
    home: &Home,
    original: Original<'_>,
    part: &Path,
    monitor: &dyn Monitor,
) -> Result<Staged> {
    let Original { path, sha256, size_bytes } = original;
    check_room(home, size_bytes)?;
    let task = monitor.start("copying", Some(size_bytes), Unit::Bytes);
    let advance = |count| {
        task.advance(count);
        !monitor.is_cancelled()
    };
    let Some(staged) = disk::copy_hashed(path, part, &advance)? else { return Err(stopped()) };
    if staged.digest != *sha256 {
        disk::remove_file(part)?;
        return Err(changed(path));
    }
    Ok(staged)
}

/// The user stopped it.
pub(super) fn stopped() -> Error {
    Error::new(ErrorKind::Failed, "stopped; what came in is kept")
        .with_hint("run the same command again; it takes the rest")
}

/// Somebody writes to a file while it is taken.
pub(super) fn changed(path: &Path) -> Error {
    Error::new(ErrorKind::Failed, format!("`{}` changed while it was taken", path.display()))
        .with_hint("end the program that is writing to it, then run the command again")
}
