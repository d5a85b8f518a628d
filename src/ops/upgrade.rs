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
use super::fetch::{FetchOptions, FetchReport, fetch_choices, report_of};
use super::indexes;
use super::install::Installing;
use super::kit::SetUp;
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
    /// Newer versions that cannot be had here.
    pub blocked: Vec<BlockedUpgrade>,
    /// The kits that set this site up anew.
    pub kits: Vec<SetUp>,
    /// The commands that come next.
    pub next: Vec<String>,
}

/// Upgrades the named packages, or every installed one.
///
/// # Errors
/// When a named package is not installed, or nobody publishes it; otherwise as `install`.
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
    let mut desk = Installing::new(home, monitor);
    let fetch = match wishes.is_empty() {
        true => report_of(&[], &store, options.is_plan),
        false => {
            let mut arrive = |store: &Store, choice: &Choice| desk.take(store, choice);
            fetch_choices(home, &wishes, options, &mut arrive, monitor)?
        }
    };
    let upgrades = newer_versions(&candidates, &fetch, &indexes);
    let next = collections_to_refresh(home, &desk.installed);
    Ok(UpgradeReport { fetch, upgrades, installed: desk.installed, blocked, kits: desk.kits, next })
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
