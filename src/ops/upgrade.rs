//! `upgrade`: installed packages to their newest version, with every piece reused that lies here.
//!
//! The old version works until the new one is verified and recorded, and stays for `rollback` after that.

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Name, PackageRef};
use crate::progress::{Monitor, Silent};
use crate::registry::VerifiedIndex;
use crate::store::Store;

use super::choice::Choice;
use super::error::{Error, Result};
use super::fetch::{FetchOptions, FetchReport, Reception, fetch_choices, report_of};
use super::indexes;
use super::install::Installing;
use super::kit::SetUp;
use super::line::MAX_LINE_FAILURES;
use super::outdated::{BlockedUpgrade, Candidate, NewerVersion, candidates, choices_of, newer_versions};
use super::path::find_installed;
use super::revoked::publisher;
use super::site;

/// What was upgraded, or would be.
#[derive(Debug, Serialize)]
pub struct UpgradeReport {
    /// What was fetched for it.
    #[serde(flatten)]
    pub fetch: FetchReport,
    /// The newer versions, each with its cost.
    pub upgrades: Vec<NewerVersion>,
    /// The packages that are newly in use, with what they require.
    pub installed: Vec<Name>,
    /// Those whose newer version did not come, and why; they stay as they are.
    pub left: Vec<NotUpgraded>,
    /// Newer versions that cannot be had here.
    pub blocked: Vec<BlockedUpgrade>,
    /// The kits that set this site up anew.
    pub kits: Vec<SetUp>,
    /// The commands that come next.
    pub next: Vec<String>,
}

/// A package whose newer version did not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotUpgraded {
    /// The package.
    pub name: Name,
    /// Why not.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
    /// True when money, time or room ended.
    pub is_limit: bool,
}

/// Why a package was not tried after others had failed.
pub(super) const LINE_IS_DOWN: &str = "the network failed before its turn";

impl NotUpgraded {
    /// A package whose turn did not come.
    pub(super) fn untried(name: &Name, reason: String) -> Self {
        let hint = Some("the same command tries again".to_owned());
        Self { name: name.clone(), reason, hint, is_limit: false }
    }
}

/// Upgrades the named packages, or every installed one. One whose newer version does not come stops no other.
///
/// # Errors
/// When a named package is not installed, or nobody publishes it; when money, time or room end, or it was stopped; and
/// when nothing could be upgraded, then why. What was upgraded by then is told in a note.
pub fn upgrade(
    home: &Home,
    packages: &[PackageRef],
    options: &FetchOptions,
    monitor: &dyn Monitor,
) -> Result<UpgradeReport> {
    let store = site::store(home);
    let indexes = indexes::load(home)?;
    let mut candidates = wanted(&store, &indexes, packages)?;
    let blocked = match packages.is_empty() {
        true => drop_blocked(&mut candidates, &indexes, &store),
        // Who names a package is told at once why it cannot be had.
        false => Vec::new(),
    };
    let wishes: Vec<PackageRef> = candidates.iter().map(|candidate| candidate.newest.clone()).collect();
    let mut desk = Upgrading::new(home, monitor);
    let fetch = match wishes.is_empty() {
        true => report_of(&[], &store, options.is_plan),
        false => match fetch_choices(home, &wishes, options, &mut desk, monitor) {
            Ok(fetch) => fetch,
            Err(error) => return Err(desk.end_with(error)),
        },
    };
    let Upgrading { installing, left, cause, .. } = desk;
    if let Some(cause) = cause.filter(|_| installing.installed.is_empty()) {
        tell(&left[1..], monitor);
        return Err(cause);
    }
    let upgrades = newer_versions(&candidates, &fetch, &indexes);
    let next = collections_to_refresh(home, &installing.installed);
    let Installing { installed, kits, .. } = installing;
    Ok(UpgradeReport { fetch, upgrades, installed, left, blocked, kits, next })
}

/// Takes what comes into use, and goes on past what does not come.
struct Upgrading<'a> {
    installing: Installing<'a>,
    left: Vec<NotUpgraded>,
    /// Why the first of those that stay does.
    cause: Option<Error>,
    num_line_failures: usize,
    monitor: &'a dyn Monitor,
}

impl<'a> Upgrading<'a> {
    fn new(home: &'a Home, monitor: &'a dyn Monitor) -> Self {
        let installing = Installing::new(home, monitor);
        Self { installing, left: Vec::new(), cause: None, num_line_failures: 0, monitor }
    }

    /// Tells what became of the packages before the one that ended the run.
    fn end_with(self, error: Error) -> Error {
        tell(&self.left, self.monitor);
        if !self.installing.installed.is_empty() {
            let names: Vec<String> =
                self.installing.installed.iter().map(|name| format!("`{name}`")).collect();
            self.monitor.note(&format!("upgraded before that: {}", names.join(", ")));
        }
        error
    }
}

impl Reception for Upgrading<'_> {
    fn take(&mut self, store: &Store, choice: &Choice) -> Result<()> {
        self.installing.take(store, choice)?;
        self.num_line_failures = 0;
        Ok(())
    }

    fn wants(&mut self, choice: &Choice) -> bool {
        // What is recorded counts as up to date, and is never tried again: it waits until all that it needs is here.
        let head = &choice.manifest.package;
        let needed = head.requires.iter().chain(&head.members);
        let lacked = needed.into_iter().find(|needed| self.left.iter().any(|left| left.name == needed.name));
        let reason = match lacked {
            Some(needed) => format!("`{}`, which it needs, did not come", needed.name),
            None if self.num_line_failures >= MAX_LINE_FAILURES => LINE_IS_DOWN.to_owned(),
            None => return true,
        };
        self.left.push(NotUpgraded::untried(choice.name(), reason));
        false
    }

    fn lack(&mut self, choice: &Choice, error: Error) -> Result<()> {
        if error.kind() == ErrorKind::NoRoom || self.monitor.is_cancelled() {
            return Err(error);
        }
        let is_network = error.kind() == ErrorKind::Network;
        self.num_line_failures = if is_network { self.num_line_failures + 1 } else { 0 };
        let (name, reason, hint) = (choice.name().clone(), error.with_causes(), error.hint());
        self.left.push(NotUpgraded { name, reason, hint, is_limit: false });
        self.cause.get_or_insert(error);
        Ok(())
    }
}

fn tell(left: &[NotUpgraded], monitor: &dyn Monitor) {
    for left in left {
        let hint = left.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        monitor.warn(&format!("`{}` stays as it is: {}{hint}", left.name, left.reason));
    }
}

/// The newer versions that are meant; a version that was named is the one.
fn wanted(store: &Store, indexes: &[VerifiedIndex], packages: &[PackageRef]) -> Result<Vec<Candidate>> {
    let mut all = candidates(store, indexes)?;
    if packages.is_empty() {
        return Ok(all);
    }
    let mut wanted: Vec<Candidate> = Vec::new();
    for package in packages {
        let any = PackageRef { version: None, variant: None, ..package.clone() };
        let installed = find_installed(store, &any)?;
        if wanted.iter().any(|candidate| candidate.installed == installed) {
            continue;
        }
        let Some(registry) = publisher(&installed.origin) else {
            let message = format!("nobody publishes `{}`: it is {}", any.name, installed.origin.label());
            let hint = "its newer version comes as it came: by `localml adopt`, or by a stick";
            return Err(Error::new(ErrorKind::NotFound, message).with_hint(hint));
        };
        if package.version.is_some() || package.variant.is_some() {
            let newest = PackageRef { registry: Some(registry), ..package.clone() };
            wanted.push(Candidate { installed, newest });
        } else if let Some(at) = all.iter().position(|candidate| candidate.installed == installed) {
            wanted.push(all.swap_remove(at));
        }
    }
    Ok(wanted)
}

/// Leaves out what this machine cannot take, so that it stops nothing else.
fn drop_blocked(
    candidates: &mut Vec<Candidate>,
    indexes: &[VerifiedIndex],
    store: &Store,
) -> Vec<BlockedUpgrade> {
    let (_, blocked) = choices_of(candidates, indexes, store, &Silent);
    candidates.retain(|candidate| blocked.iter().all(|it| it.name != candidate.newest.name));
    blocked
}

/// Collections find a package's newer version when they are refreshed; what they have stays searchable until then.
#[cfg(feature = "index")]
pub(super) fn collections_to_refresh(home: &Home, changed: &[Name]) -> Vec<String> {
    let collections = super::index_list(home).map(|report| report.collections).unwrap_or_default();
    let uses = |root: &String| changed.iter().any(|name| name.as_str() == root);
    let names = collections.into_iter().filter(|it| it.roots.iter().any(uses)).map(|it| it.name);
    names.map(|name| format!("localml index refresh {name}")).collect()
}

/// This build indexes nothing.
#[cfg(not(feature = "index"))]
pub(super) fn collections_to_refresh(_home: &Home, _changed: &[Name]) -> Vec<String> {
    Vec::new()
}
