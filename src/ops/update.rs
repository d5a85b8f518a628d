//! `update`: refresh what is known of every registry, each judged for itself.

use std::time::SystemTime;

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::Name;
use crate::progress::Monitor;
use crate::registry::{self, Freshness, Known, Outcome, Trust, Updated, known};

use super::error::{Error, Result};
use super::fetcher::{ends_the_run, explained, fetcher};
use super::line::{Line, LineOptions};
use super::registry_turn::in_turn;

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
    /// The registries that were not asked any more, because the user, the budget or the clock said stop.
    pub not_asked: Vec<Name>,
    /// What said stop.
    #[serde(skip)]
    pub ended_by: Option<ErrorKind>,
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
    /// What kind of failure it is.
    #[serde(skip)]
    pub kind: ErrorKind,
}

/// Refreshes registries; what is stored stays as it was where that fails.
///
/// # Errors
/// When the only registry cannot be refreshed, or one that was named is not known; when the user, the budget or the clock
/// said stop before anything else came of it.
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
    let mut chosen = choose(home, &options.names)?.into_iter();
    let is_only = chosen.len() == 1;
    let mut report =
        UpdateReport { registries: Vec::new(), failures: Vec::new(), not_asked: Vec::new(), ended_by: None };
    while let Some(registry) = chosen.next() {
        let Refusal { error, ends_the_run } = match refresh(&registry, options, line, monitor) {
            Ok(updated) => {
                report.registries.push(described(registry.name, &updated));
                continue;
            }
            Err(refusal) => refusal,
        };
        let is_all = report.registries.is_empty() && report.failures.is_empty();
        if is_only || ends_the_run && is_all {
            return Err(error);
        }
        report.failures.push(failed(registry.name, &error));
        if ends_the_run {
            report.ended_by = Some(error.kind());
            report.not_asked = chosen.by_ref().map(|registry| registry.name).collect();
        }
    }
    Ok(report)
}

/// Why a registry was not refreshed.
struct Refusal {
    error: Error,
    /// Another registry would fare no better: the user, the budget or the clock said stop.
    ends_the_run: bool,
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
    line: &Line,
    monitor: &dyn Monitor,
) -> std::result::Result<Updated, Refusal> {
    let stays = |error| Refusal { error, ends_the_run: false };
    let fetch = fetcher(&registry.url, line.client(), monitor).map_err(stays)?;
    let updated = in_turn((&registry.name, &registry.folder), line, monitor, || match options.is_repair {
        true => registry::repair(&registry.folder, fetch.as_ref()),
        false => registry::update(&registry.folder, fetch.as_ref()),
    });
    let updated = updated.map_err(|error| Refusal { error, ends_the_run: true })?;
    updated.map_err(|error| {
        let ends_the_run = ends_the_run(&error);
        Refusal { error: explained(error), ends_the_run }
    })
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
        kind: error.kind(),
    }
}
