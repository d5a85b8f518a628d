//! Is the stick still what its commit record says? Every file is read from the medium and hashed.

use serde::Serialize;

use crate::progress::{Monitor, Unit};

use super::error::{BundleError, Result};
use super::layout::SLOTS;
use super::readback;
use super::stick::Stick;

/// What was found of one file of a stick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileHealth {
    /// The file, relative to `LOCALML`.
    pub file: String,
    /// Its length in bytes, by the record.
    pub size_bytes: u64,
    /// True when every byte is as it was written.
    pub is_whole: bool,
}

/// Reads every committed file back. Best run after the stick was unplugged and plugged in again. A stick that carries
/// only letters has none.
///
/// # Errors
/// `Damaged` when there is no commit record to compare with; `Cancelled`.
pub fn verify(stick: &Stick, monitor: &dyn Monitor) -> Result<Vec<FileHealth>> {
    if stick.carries_only_letters() {
        return Ok(Vec::new());
    }
    let record = stick.record().ok_or_else(|| BundleError::Damaged {
        file: SLOTS[0].into(),
        reason: "neither slot of the commit record can be read".into(),
    })?;
    let total_bytes = record.files.iter().map(|file| file.size_bytes).sum();
    let task = monitor.start("reading the stick", Some(total_bytes), Unit::Bytes);
    let health = record.files.iter().map(|file| {
        Ok(FileHealth {
            file: file.path.clone(),
            size_bytes: file.size_bytes,
            is_whole: readback::is_whole(stick.root(), file, monitor, &*task)?,
        })
    });
    health.collect()
}
