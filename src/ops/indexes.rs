//! Every index this home believes: the catalog in the executable, and the copies of known registries.

use std::time::SystemTime;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::progress::Monitor;
use crate::registry::{self, Age, Calendar, Trust, VerifiedIndex};

use super::error::{Error, Result};

/// Loads and verifies them again, from the disk alone; the catalog comes last.
///
/// # Errors
/// When a stored copy is damaged.
pub(super) fn load(home: &Home) -> Result<Vec<VerifiedIndex>> {
    let mut indexes = Vec::new();
    for known in registry::known(&home.registries())? {
        indexes.push(registry::load(&known.folder)?);
    }
    indexes.push(registry::catalog());
    Ok(indexes)
}

/// This machine's clock beside the newest signed time that is known here; what cannot be read tells none.
pub(super) fn calendar(home: &Home) -> Calendar {
    let indexes = load(home).unwrap_or_default();
    let signed = indexes.iter().filter_map(|index| match index.trust() {
        Trust::Signed { dates, .. } => dates.signed_seconds,
        Trust::BuiltIn => None,
    });
    Calendar::new(SystemTime::now(), signed.max())
}

/// Says when an index is old, and refuses a very old one that was not accepted by a word.
///
/// # Errors
/// When it is very old and `accepts_stale` is false.
pub(super) fn check_age(index: &VerifiedIndex, accepts_stale: bool, monitor: &dyn Monitor) -> Result<()> {
    let Trust::Signed { dates, .. } = index.trust() else {
        return Ok(());
    };
    let freshness = dates.judge(SystemTime::now());
    if let Some(doubt) = &freshness.clock_doubt {
        monitor.warn(doubt);
    }
    let name = index.name();
    match freshness.age {
        Age::Fresh => {}
        Age::VeryStale if !accepts_stale => {
            let message = format!(
                "the index of `{name}` expired on {}, more than a year ago; its publisher may have taken packages back since",
                freshness.expires
            );
            let hint = "bring a newer stick, run `localml update` online, or pass `--accept-stale`";
            return Err(Error::new(ErrorKind::Untrusted, message).with_hint(hint));
        }
        Age::Stale | Age::VeryStale => monitor.warn(&format!(
            "the index of `{name}` expired on {}; newer packages may exist",
            freshness.expires
        )),
    }
    Ok(())
}
