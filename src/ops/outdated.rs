//! `list --outdated`: which installed packages have a newer version, and what it would cost. No network.
//!
//! A newer version is looked for where the installed one came from, and nowhere else: another registry's package of
//! the same name is another package, whatever its number.

use serde::Serialize;

use crate::home::Home;
use crate::package::{Name, PackageRef, VariantId, Version};
use crate::progress::{Monitor, Silent};
use crate::registry::VerifiedIndex;
use crate::store::{Installed, Store};

use super::choice::{Choice, Terms, choose};
use super::error::Result;
use super::fetch::{FetchReport, report_of};
use super::fitting::Fitting;
use super::indexes;
use super::reuse;
use super::revoked::{self, publisher};
use super::site;

/// The installed packages that are not the newest.
#[derive(Debug, Serialize)]
pub struct OutdatedReport {
    /// The newer versions, by name.
    pub packages: Vec<NewerVersion>,
    /// Newer versions that cannot be had here.
    pub blocked: Vec<BlockedUpgrade>,
    /// The packages that no publisher vouches for, so that nobody knows of a newer version.
    pub unpublished: Vec<Name>,
    /// What all of them would cost, after reuse, with what they require.
    pub missing_bytes: u64,
    /// True when it may cost less.
    pub is_upper_bound: bool,
}

/// A newer version of an installed package.
#[derive(Debug, Clone, Serialize)]
pub struct NewerVersion {
    /// The package.
    pub name: Name,
    /// The registry that has it.
    pub registry: Name,
    /// The version that is installed.
    pub installed: Version,
    /// Why its publisher took it back, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// The newest version.
    pub newest: Version,
    /// The build that would be installed.
    pub variant: VariantId,
    /// The bytes of its files.
    pub size_bytes: u64,
    /// The bytes that it would cost, after reuse.
    pub missing_bytes: u64,
    /// The bytes that lie here already, in whatever file.
    pub reused_bytes: u64,
    /// True when it may cost less than `missing_bytes`: `localml upgrade --plan` asks the registry.
    pub is_upper_bound: bool,
    /// False in a plan when budget or time will not do for it, after those before it.
    pub fits: bool,
}

/// A newer version that cannot be had here.
#[derive(Debug, Clone, Serialize)]
pub struct BlockedUpgrade {
    /// The package.
    pub name: Name,
    /// The newest version.
    pub newest: Version,
    /// Why not, in one line.
    pub reason: String,
}

/// An installed package, and the reference of its newer version.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) installed: Installed,
    pub(super) newest: PackageRef,
}

/// Compares what is installed with what the registries known here have.
///
/// # Errors
/// When a record or a stored registry is damaged.
pub fn outdated(home: &Home) -> Result<OutdatedReport> {
    let store = site::store(home);
    let indexes = indexes::load(home)?;
    let candidates = candidates(&store, &indexes)?;
    let (choices, blocked) = choices_of(&candidates, &indexes, &store, &Silent);
    let mut fetch = report_of(&choices, &store, true);
    reuse::plan(&mut fetch, &choices, (home, &store), None, &Silent)?;
    let unpublished = store.installed()?.into_iter().filter(|it| publisher(&it.origin).is_none());
    Ok(OutdatedReport {
        packages: newer_versions(&candidates, &fetch, &indexes),
        blocked,
        unpublished: unpublished.map(|installed| installed.name().clone()).collect(),
        missing_bytes: fetch.missing_bytes,
        is_upper_bound: fetch.is_upper_bound,
    })
}

/// Every installed package whose own registry has a newer version that was not taken back.
pub(super) fn candidates(store: &Store, indexes: &[VerifiedIndex]) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for installed in store.installed()? {
        let registry = publisher(&installed.origin);
        let index = indexes.iter().find(|index| Some(index.name()) == registry.as_ref());
        let newest = index.and_then(|index| index.newest_of(installed.name()));
        let newest = newest.map(|manifest| manifest.package.version.clone());
        let Some(version) = newest.filter(|newest| *newest > installed.manifest.package.version) else {
            continue;
        };
        let name = installed.name().clone();
        let newest = PackageRef { registry, name, version: Some(version), variant: None };
        candidates.push(Candidate { installed, newest });
    }
    Ok(candidates)
}

/// What each newer version comes to on this machine, each package once; one that does not fit blocks no other.
pub(super) fn choices_of(
    candidates: &[Candidate],
    indexes: &[VerifiedIndex],
    store: &Store,
    monitor: &dyn Monitor,
) -> (Vec<Choice>, Vec<BlockedUpgrade>) {
    let (mut choices, mut blocked) = (Vec::<Choice>::new(), Vec::new());
    for candidate in candidates {
        // An old index is `upgrade`'s concern; here it only tells what it knows.
        let terms = Terms { fitting: Fitting::here(false), accepts_stale: true, monitor };
        match choose(std::slice::from_ref(&candidate.newest), indexes, store, &terms) {
            Ok(chosen) => {
                for choice in chosen.choices {
                    if choices.iter().all(|other| other.name() != choice.name()) {
                        choices.push(choice);
                    }
                }
            }
            Err(error) => blocked.push(BlockedUpgrade {
                name: candidate.newest.name.clone(),
                newest: version_of(candidate),
                reason: error.in_one_line(),
            }),
        }
    }
    (choices, blocked)
}

/// What a plan or a fetch says of each newer version.
pub(super) fn newer_versions(
    candidates: &[Candidate],
    fetch: &FetchReport,
    indexes: &[VerifiedIndex],
) -> Vec<NewerVersion> {
    let newer = |candidate: &Candidate| {
        let installed = &candidate.installed;
        let package = fetch.packages.iter().find(|package| package.name == *installed.name())?;
        Some(NewerVersion {
            name: package.name.clone(),
            registry: candidate.newest.registry.clone()?,
            installed: installed.manifest.package.version.clone(),
            revoked: revoked::against(indexes, installed).map(|revoked| revoked.reason),
            newest: package.version.clone(),
            variant: package.variant.clone(),
            size_bytes: package.size_bytes,
            missing_bytes: package.missing_bytes,
            reused_bytes: package.reused_bytes,
            is_upper_bound: package.is_upper_bound,
            fits: package.fits,
        })
    };
    candidates.iter().filter_map(newer).collect()
}

pub(super) fn version_of(candidate: &Candidate) -> Version {
    let installed = || candidate.installed.manifest.package.version.clone();
    candidate.newest.version.clone().unwrap_or_else(installed)
}
