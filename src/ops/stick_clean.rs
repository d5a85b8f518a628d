//! `stick clean`: take off a stick what every site that it was for has acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::bundle::{self, Bundle, BundleId, SiteId, Stick};
use crate::home::Home;
use crate::package::PackageRef;
use crate::progress::Monitor;

use super::error::{Result, While as _};
use super::letters;
use super::removable;

/// What to clean, and how.
#[derive(Debug, Clone, Default)]
pub struct CleanOptions {
    /// The stick's folder; the only stick there is when absent.
    pub stick: Option<PathBuf>,
    /// Remove every bundle, acknowledged or not.
    pub is_all: bool,
    /// Only say what would be removed.
    pub is_plan: bool,
}

/// What was removed, or would be.
#[derive(Debug, Serialize)]
pub struct CleanReport {
    /// The stick's folder.
    pub stick: PathBuf,
    /// The bundles that went, or would go.
    pub removed: Vec<CleanedBundle>,
    /// The bundles that stay.
    pub kept: Vec<KeptBundle>,
    /// The bytes that this frees.
    pub freed_bytes: u64,
    /// True when nothing was done yet.
    pub is_plan: bool,
}

/// A bundle that goes.
#[derive(Debug, Serialize)]
pub struct CleanedBundle {
    /// Its id.
    pub id: BundleId,
    /// The packages in it; none when it cannot be read.
    pub packages: Vec<PackageRef>,
    /// The bytes of its volumes.
    pub size_bytes: u64,
    /// The sites that acknowledged it.
    pub acknowledged_by: Vec<SiteId>,
}

/// A bundle that stays.
#[derive(Debug, Serialize)]
pub struct KeptBundle {
    /// Its id.
    pub id: BundleId,
    /// The packages in it.
    pub packages: Vec<PackageRef>,
    /// The sites that have not acknowledged it; none when any site would do and none has.
    pub waits_for: Vec<SiteId>,
}

/// Removes the bundles that were acknowledged: by every site that they name, or by any when they name
/// none. Nothing outside `LOCALML` is touched.
///
/// # Errors
/// When it is no stick, or it cannot be written.
pub fn stick_clean(home: &Home, options: &CleanOptions, monitor: &dyn Monitor) -> Result<CleanReport> {
    let folder = removable::stick(options.stick.as_deref(), monitor)?;
    let stick = Stick::open(&folder)?;
    let acknowledged = acknowledged(home, &stick, monitor);
    let found = stick.bundles()?;
    for refused in found.refused.iter().filter(|_| !options.is_all) {
        monitor.warn(&format!("a bundle that cannot be read stays: {refused}; `--all` removes it"));
    }
    let (mut removed, mut kept) = (Vec::new(), Vec::new());
    for bundle in &found.bundles {
        let by = acknowledged.get(&bundle.description.id).cloned().unwrap_or_default();
        let recipients = &bundle.description.recipients;
        let waits_for: Vec<SiteId> = recipients.iter().filter(|site| !by.contains(*site)).cloned().collect();
        let is_settled = waits_for.is_empty() && !by.is_empty();
        match is_settled || options.is_all {
            true => removed.push(cleaned(bundle, by)),
            false => kept.push(KeptBundle {
                id: bundle.description.id.clone(),
                packages: packages_of(bundle),
                waits_for,
            }),
        }
    }
    if options.is_all {
        removed.extend(unreadable(&stick, &removed)?);
    }
    let mut freed_bytes = removed.iter().map(|bundle| bundle.size_bytes).sum();
    if !options.is_plan {
        let ids: Vec<BundleId> = removed.iter().map(|bundle| bundle.id.clone()).collect();
        let deed = || format!("could not clean `{}`", folder.display());
        freed_bytes = bundle::remove(&folder, &ids).while_doing(deed)?;
    }
    Ok(CleanReport { stick: folder, removed, kept, freed_bytes, is_plan: options.is_plan })
}

/// Which sites said, on the stick or earlier, that a bundle has nothing more to give them.
fn acknowledged(home: &Home, stick: &Stick, monitor: &dyn Monitor) -> BTreeMap<BundleId, BTreeSet<SiteId>> {
    let (lying, remarks) = stick.receipts();
    remarks.iter().for_each(|remark| monitor.warn(&remark.to_string()));
    let known = letters::all(home, monitor).into_iter().filter_map(|record| record.receipt);
    let mut acknowledged: BTreeMap<BundleId, BTreeSet<SiteId>> = BTreeMap::new();
    for receipt in lying.into_iter().chain(known) {
        for bundle in receipt.bundles.into_iter().filter(bundle::ReceivedBundle::is_whole) {
            acknowledged.entry(bundle.id).or_default().insert(receipt.head.site.clone());
        }
    }
    acknowledged
}

fn cleaned(bundle: &Bundle, by: BTreeSet<SiteId>) -> CleanedBundle {
    CleanedBundle {
        id: bundle.description.id.clone(),
        packages: packages_of(bundle),
        size_bytes: bundle.lying_bytes(),
        acknowledged_by: by.into_iter().collect(),
    }
}

fn packages_of(bundle: &Bundle) -> Vec<PackageRef> {
    bundle.description.items.iter().map(|item| item.package.clone()).collect()
}

/// The bundles whose description is damaged or absent.
fn unreadable(stick: &Stick, readable: &[CleanedBundle]) -> Result<Vec<CleanedBundle>> {
    let ids = stick.bundle_ids()?.into_iter().filter(|id| readable.iter().all(|bundle| bundle.id != *id));
    let bare = |id| CleanedBundle { id, packages: Vec::new(), size_bytes: 0, acknowledged_by: Vec::new() };
    Ok(ids.map(bare).collect())
}
