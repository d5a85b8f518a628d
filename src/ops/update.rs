//! `update`: refresh what is known of every registry, each judged for itself.

use std::time::SystemTime;

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::Name;
use crate::progress::Monitor;
use crate::registry::{self, Freshness, Known, Outcome, Trust, Updated, known};
use crate::transfer::Client;

use super::error::{Error, Result};
use super::fetcher::{explained, fetcher};
use super::line::{Line, LineOptions};

/// What to refresh.
#[derive(Debug, Clone, Default)]
pub struct UpdateOptions {
    /// The registries; every one when empty.
    pub names: Vec<Name>,
    /// Fetches a damaged copy anew instead of continuing from it.
    pub is_repair: bool,
    /// What the line may cost, and where else to ask.
    pub line: LineOptions,
}

/// What the refresh came to.
#[derive(Debug, Serialize)]
pub struct UpdateReport {
    /// The registries that were refreshed.
    pub registries: Vec<UpdatedRegistry>,
    /// The registries that could not be, when there was more than one.
    pub failures: Vec<FailedRegistry>,
}

/// One refreshed registry.
#[derive(Debug, Serialize)]
pub struct UpdatedRegistry {
    /// What it is called here.
    pub name: Name,
    /// What changed.
    pub outcome: Outcome,
    /// The version of its metadata.
    pub version: u64,
    /// How many package versions it has.
    pub num_packages: usize,
    /// The bytes that came over.
    pub fetched_bytes: u64,
    /// How old it is.
    pub freshness: Freshness,
}

/// One registry that stays as it was.
#[derive(Debug, Serialize)]
pub struct FailedRegistry {
    /// What it is called here.
    pub name: Name,
    /// What happened.
    pub message: String,
    /// Why, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do.
    pub hint: Option<String>,
    /// True when it is a matter of trust, not of the network.
    pub is_untrusted: bool,
}

/// Refreshes registries; what is stored stays as it was where that fails.
///
/// # Errors
/// When the only registry cannot be refreshed, or one that was named is not known.
pub fn update(home: &Home, options: &UpdateOptions, monitor: &dyn Monitor) -> Result<UpdateReport> {
    let line = Line::open(home, &options.line)?;
    update_over(home, options, &line, monitor)
}

/// As `update`, over a line that is open.
///
/// # Errors
/// As `update`.
pub(super) fn update_over(
    home: &Home,
    options: &UpdateOptions,
    line: &Line,
    monitor: &dyn Monitor,
) -> Result<UpdateReport> {
    let chosen = choose(home, &options.names)?;
    let is_only = chosen.len() == 1;
    let mut report = UpdateReport { registries: Vec::new(), failures: Vec::new() };
    for registry in chosen {
        match refresh(&registry, options, line.client(), monitor) {
            Ok(updated) => report.registries.push(described(registry.name, &updated)),
            Err(error) if is_only => return Err(error),
            Err(error) => report.failures.push(failed(registry.name, &error)),
        }
    }
    Ok(report)
}

fn choose(home: &Home, names: &[Name]) -> Result<Vec<Known>> {
    let registries = home.registries();
    if names.is_empty() {
        return Ok(known(&registries)?);
    }
    names.iter().map(|name| Ok(Known::open(&registries, name)?)).collect()
}

fn refresh(
    registry: &Known,
    options: &UpdateOptions,
    client: &Client,
    monitor: &dyn Monitor,
) -> Result<Updated> {
    let fetch = fetcher(&registry.url, client, monitor)?;
    let updated = match options.is_repair {
        true => registry::repair(&registry.folder, fetch.as_ref()),
        false => registry::update(&registry.folder, fetch.as_ref()),
    };
    updated.map_err(explained)
}

fn described(name: Name, updated: &Updated) -> UpdatedRegistry {
    let (version, freshness) = match updated.index.trust() {
        Trust::Signed { version, dates, .. } => (version, dates.judge(SystemTime::now())),
        Trust::BuiltIn => unreachable!("a refreshed registry is signed"),
    };
    UpdatedRegistry {
        name,
        outcome: updated.outcome,
        version,
        num_packages: updated.index.num_versions(),
        fetched_bytes: updated.fetched_bytes,
        freshness,
    }
}

fn failed(name: Name, error: &Error) -> FailedRegistry {
    FailedRegistry {
        name,
        message: error.to_string(),
        causes: error.causes(),
        hint: error.hint(),
        is_untrusted: error.kind() == ErrorKind::Untrusted,
    }
}
