//! `sites`: every site that is known here by its letters: what it has, wants and waits for.

use std::path::PathBuf;

use serde::Serialize;

use crate::bundle::{Remark, SiteId};
use crate::home::Home;
use crate::package::{PackageRef, Version};
use crate::progress::Monitor;
use crate::registry::VerifiedIndex;

use super::addressee::fulfils;
use super::error::Result;
use super::indexes;
use super::letters::{self, SentBundle, SiteRecord};
use super::removable;
use super::site;

/// Which sites to look at.
#[derive(Debug, Clone, Default)]
pub struct SitesOptions {
    /// A stick whose letters are taken in first.
    pub stick: Option<PathBuf>,
    /// A site to forget, by id or label.
    pub forget: Option<String>,
}

/// What is known of all sites.
#[derive(Debug, Serialize)]
pub struct SitesReport {
    /// The sites, by label and id.
    pub sites: Vec<SiteReport>,
    /// The site that was forgotten.
    pub forgotten: Option<SiteId>,
    /// What is wrong with some letters on the stick.
    pub remarks: Vec<Remark>,
}

/// What is known of one site.
#[derive(Debug, Serialize)]
pub struct SiteReport {
    /// Its id.
    pub site: SiteId,
    /// What it calls itself.
    pub label: Option<String>,
    /// When its newest letter was written, by its own clock.
    pub written: Option<String>,
    /// When its newest letter was taken in here, in seconds since 1970.
    pub heard_at: u64,
    /// How long ago that is, in seconds by this machine's clock.
    pub heard_seconds_ago: u64,
    /// The packages that it has.
    pub packages: Vec<PackageRef>,
    /// Those of which an index here knows a newer version.
    pub outdated: Vec<OutdatedPackage>,
    /// What was written for it and it has not acknowledged.
    pub on_the_way: Vec<SentBundle>,
    /// The packages that it wants and does not have.
    pub wants: Vec<PackageRef>,
    /// The bytes that are missing of what came there in part.
    pub missing_bytes: u64,
    /// The platform, as a target triple.
    pub platform: Option<String>,
    /// Its memory, in bytes.
    pub ram_bytes: Option<u64>,
    /// Its free space when it last wrote, in bytes.
    pub free_bytes: Option<u64>,
}

/// A package of which a newer version is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutdatedPackage {
    /// What the site has.
    pub package: PackageRef,
    /// The newest version that was not revoked.
    pub newest: Version,
}

/// Lists every known site, after taking in the letters of a stick.
///
/// # Errors
/// When the stick's folder is not there, or the home cannot be written.
pub fn sites(home: &Home, options: &SitesOptions, monitor: &dyn Monitor) -> Result<SitesReport> {
    let mut remarks = Vec::new();
    if let Some(stick) = &options.stick {
        let folder = removable::stick(Some(stick), monitor)?;
        remarks = letters::take_in_stick(home, &folder, monitor)?.remarks;
    }
    let mut forgotten = None;
    if let Some(name) = &options.forget {
        let record = letters::named(home, name, monitor)?;
        letters::forget(home, &record)?;
        forgotten = Some(record.site);
    }
    let indexes = indexes::load(home)?;
    let mut sites: Vec<SiteReport> =
        letters::all(home, monitor).into_iter().map(|record| report(record, &indexes)).collect();
    sites.sort_by(|left, right| (&left.label, &left.site).cmp(&(&right.label, &right.site)));
    Ok(SitesReport { sites, forgotten, remarks })
}

fn report(record: SiteRecord, indexes: &[VerifiedIndex]) -> SiteReport {
    let has = record.newest().map(|(_, has)| has.clone()).unwrap_or_default();
    let label = record.label().map(ToOwned::to_owned);
    let heads = record.request.as_ref().map(|request| &request.head).into_iter();
    let heads = heads.chain(record.receipt.as_ref().map(|receipt| &receipt.head));
    let written = heads.max_by_key(|head| head.number).map(|head| head.created.clone());
    let newest_number = record.newest().map_or(0, |(number, _)| number);
    let short = record.short.as_ref().filter(|short| short.number > newest_number);
    let asked = record.request.iter().flat_map(|request| &request.wants);
    let mut wants: Vec<PackageRef> =
        asked.chain(short.iter().flat_map(|short| &short.wants)).cloned().collect();
    wants.retain(|want| !has.packages.iter().any(|package| fulfils(package, want)));
    wants.sort_by_key(ToString::to_string);
    wants.dedup();
    let request = record.request.as_ref();
    SiteReport {
        label,
        written,
        heard_at: record.heard_at,
        heard_seconds_ago: site::now().saturating_sub(record.heard_at),
        outdated: has.packages.iter().filter_map(|package| outdated(package, indexes)).collect(),
        wants,
        missing_bytes: has.half.iter().fold(0, |sum, half| sum.saturating_add(half.missing_bytes())),
        platform: request.map(|request| request.platform.clone()),
        ram_bytes: request.map(|request| request.ram_bytes),
        free_bytes: request.map(|request| request.free_bytes),
        packages: has.packages,
        on_the_way: record.sent,
        site: record.site,
    }
}

fn outdated(package: &PackageRef, indexes: &[VerifiedIndex]) -> Option<OutdatedPackage> {
    let is_called = |index: &&VerifiedIndex| package.registry.as_ref() == Some(index.name());
    // What a registry is called is each machine's own business; without the name, all are asked.
    let is_known = indexes.iter().any(|index| is_called(&index));
    let asked = indexes.iter().filter(|index| !is_known || is_called(index));
    let newest = asked.filter_map(|index| {
        let versions = index.versions_of(&package.name).iter().map(|manifest| &manifest.package.version);
        versions.filter(|version| index.revocation_of(&package.name, version).is_none()).max()
    });
    let newest = newest.max().filter(|newest| Some(*newest) > package.version.as_ref())?;
    Some(OutdatedPackage { package: package.clone(), newest: newest.clone() })
}
