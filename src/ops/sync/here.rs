//! `sync` without a stick, at a site that is online now and then: refresh the lists, then bring what is installed to
//! its newest version, what costs least first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::ops::error::Result;
use crate::ops::fetch::FetchOptions;
use crate::ops::indexes;
use crate::ops::line::{Line, LineOptions, LineReport, MAX_LINE_FAILURES, look};
use crate::ops::outdated::{BlockedUpgrade, NewerVersion, candidates, choices_of};
use crate::ops::pricing;
use crate::ops::site;
use crate::ops::update::UpdateReport;
use crate::ops::upgrade::{LINE_IS_DOWN, NotUpgraded, upgrade};
use crate::package::{Name, PackageRef};
use crate::progress::{Monitor, Silent};

use super::{OUTAGE_PATIENCE, SyncOptions, refresh};

/// What was brought up to date here, or would be.
#[derive(Debug, Serialize)]
pub struct SyncHereReport {
    /// How the lists were refreshed; absent for a plan, and without a network.
    pub registries: Option<UpdateReport>,
    /// The newer versions, what costs least first.
    pub upgrades: Vec<NewerVersion>,
    /// What all of them cost, after reuse, with what they require, in bytes.
    pub missing_bytes: u64,
    /// True when it may cost less.
    pub is_upper_bound: bool,
    /// The packages that are newly in use, with what they require.
    pub installed: Vec<Name>,
    /// Those that stay as they are, and why.
    pub left: Vec<NotUpgraded>,
    /// Newer versions that cannot be had here.
    pub blocked: Vec<BlockedUpgrade>,
    /// The commands that come next.
    pub next: Vec<String>,
    /// What the line may still cost.
    pub line: LineReport,
    /// True when nothing was done yet.
    pub is_plan: bool,
}

/// Refreshes the lists and upgrades what is installed, within money and time.
///
/// # Errors
/// When a record here is damaged or the budget cannot be read. What stops single packages is in the report.
pub(super) fn sync_here(home: &Home, options: &SyncOptions, monitor: &dyn Monitor) -> Result<SyncHereReport> {
    // Every line of this run is counted, also one that is closed by an error.
    let meter = Arc::new(AtomicU64::new(0));
    let line = LineOptions { meter: Some(Arc::clone(&meter)), ..options.line.clone() };
    let line = LineOptions { outage_patience: Some(OUTAGE_PATIENCE), ..line };
    let registries = begin(home, (options, &line), monitor)?;
    let line = LineOptions { is_new_budget: options.is_plan && line.is_new_budget, ..line };
    let fetch = |line: &LineOptions, is_plan: bool| FetchOptions {
        is_plan,
        line: line.clone(),
        accepts_stale: options.accepts_stale,
        ..FetchOptions::default()
    };
    let plan = upgrade(home, &[], &fetch(&line, true), monitor)?;
    let mut report = SyncHereReport {
        registries,
        upgrades: plan.upgrades,
        missing_bytes: plan.fetch.missing_bytes,
        is_upper_bound: plan.fetch.is_upper_bound,
        installed: Vec::new(),
        left: Vec::new(),
        blocked: plan.blocked,
        next: Vec::new(),
        line: LineReport::default(),
        is_plan: options.is_plan,
    };
    report.upgrades.sort_by_key(|upgrade| upgrade.missing_bytes);
    let mut num_line_failures = 0;
    for newer in report.upgrades.iter().filter(|_| !options.is_plan) {
        if num_line_failures >= MAX_LINE_FAILURES {
            report.left.push(NotUpgraded::untried(&newer.name, LINE_IS_DOWN.to_owned()));
            continue;
        }
        let package = PackageRef { registry: None, name: newer.name.clone(), version: None, variant: None };
        match upgrade(home, &[package], &fetch(&line, false), monitor) {
            Ok(done) => {
                num_line_failures = 0;
                report.installed.extend(done.installed);
                report.left.extend(done.left);
                report.next.extend(done.next);
            }
            Err(error) => {
                let is_network = error.kind() == ErrorKind::Network;
                num_line_failures = if is_network { num_line_failures + 1 } else { 0 };
                let is_limit = error.kind() == ErrorKind::NoRoom || monitor.is_cancelled();
                let (name, reason, hint) = (newer.name.clone(), error.with_causes(), error.hint());
                report.left.push(NotUpgraded { name, reason, hint, is_limit });
            }
        }
    }
    report.next.sort();
    report.next.dedup();
    let spent_bytes = meter.load(Ordering::SeqCst);
    report.line = LineReport { spent_bytes, ..look(home, &line)? };
    Ok(report)
}

/// Begins the budget and refreshes the lists; a plan does neither.
fn begin(
    home: &Home,
    (options, line): (&SyncOptions, &LineOptions),
    monitor: &dyn Monitor,
) -> Result<Option<UpdateReport>> {
    if options.is_plan {
        return Ok(None);
    }
    let line = Line::open(home, line)?;
    let registries = refresh(home, options, &line, monitor);
    // A line that just failed is not waited for once more before the first byte.
    if registries.as_ref().is_some_and(|report| report.failures.is_empty()) {
        ask_for_prices(home, &line, monitor)?;
    }
    Ok(registries)
}

/// What costs least comes first: that is known only by the piece lists of the newer versions.
fn ask_for_prices(home: &Home, line: &Line, monitor: &dyn Monitor) -> Result<()> {
    let (store, indexes) = (site::store(home), indexes::load(home)?);
    let (choices, _) = choices_of(&candidates(&store, &indexes)?, &indexes, &store, &Silent);
    pricing::ask(&store, &choices, line.client(), monitor)
}
