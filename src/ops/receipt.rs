//! The receipt of an import: what this site holds now, kept in the home and left on every stick that can
//! be written.

use std::path::Path;

use serde::Serialize;

use crate::bundle::{
    Bundle, BundleId, Intake, Letterhead, MissingPackage, Receipt, ReceivedBundle, SiteId, Stick,
};
use crate::digest::Sha256;
use crate::disk;
use crate::home::Home;
use crate::package::PackageRef;
use crate::progress::Monitor;
use crate::store::Store;

use super::error::Result;
use super::holding::{self, holding};
use super::identity::Identity;
use super::sift::RefusedPackage;
use super::site;

/// The most bundles that a receipt speaks of; older ones are forgotten.
const MAX_BUNDLES: usize = 1000;

/// A receipt that was written.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptReport {
    /// The site's id.
    pub site: SiteId,
    /// The receipt's number.
    pub number: u64,
    /// True when the stick holds it; else the next stick that can be written gets it.
    pub is_on_stick: bool,
}

/// What a bundle should bring to this site.
#[derive(Debug)]
pub(super) struct Expected {
    id: BundleId,
    packages: Vec<ExpectedPackage>,
}

#[derive(Debug)]
struct ExpectedPackage {
    package: PackageRef,
    blobs: Vec<(Sha256, u64)>,
}

impl Expected {
    /// What a bundle should bring here; `None` when all of it is for other sites.
    pub(super) fn of(bundle: &Bundle, own: Option<&SiteId>) -> Option<Self> {
        let description = &bundle.description;
        let is_own =
            |recipients: &[SiteId]| recipients.is_empty() || own.is_none_or(|own| recipients.contains(own));
        if !is_own(&description.recipients) {
            return None;
        }
        let packages = description.items.iter().filter(|item| is_own(&item.recipients)).map(|item| {
            let blobs = item.files.iter().map(|file| (file.sha256, file.size_bytes));
            ExpectedPackage { package: item.package.clone(), blobs: blobs.collect() }
        });
        Some(Self { id: description.id.clone(), packages: packages.collect() })
    }

    /// Expects nothing of packages that may not come in.
    pub(super) fn refuse(&mut self, refused: &[RefusedPackage]) {
        for expected in &mut self.packages {
            if refused.iter().any(|refused| refused.package == expected.package) {
                expected.blobs.clear();
            }
        }
    }

    /// What came of it.
    fn outcome(self, store: &Store, intake: &Intake) -> Result<ReceivedBundle> {
        let mut missing = Vec::new();
        for ExpectedPackage { package, blobs } in self.packages {
            if is_settled(store, &package)? {
                continue;
            }
            let missing_bytes = blobs.iter().map(|(digest, size_bytes)| {
                let found = intake.incomplete.iter().find(|blob| blob.digest == *digest);
                match store.blob_path(digest, *size_bytes) {
                    Some(_) => 0,
                    None => found.map_or(*size_bytes, |blob| blob.missing_bytes),
                }
            });
            let missing_bytes = missing_bytes.fold(0u64, u64::saturating_add);
            missing.push(MissingPackage { package, missing_bytes });
        }
        Ok(ReceivedBundle { id: self.id, missing })
    }
}

/// True when a package is here whole in this version and build, or in a newer version.
fn is_settled(store: &Store, package: &PackageRef) -> Result<bool> {
    let mut held = store.find(&package.name)?.into_iter().chain(store.fetched_of(&package.name)?);
    Ok(held.any(|held| {
        let version = Some(&held.manifest.package.version);
        let is_same = version == package.version.as_ref() && Some(&held.variant) == package.variant.as_ref();
        (is_same && holding::is_whole(store, &held)) || version > package.version.as_ref()
    }))
}

/// The newest receipt of this home; a damaged one counts as none.
pub(super) fn kept(home: &Home) -> Option<Receipt> {
    Receipt::open(&home.receipt()).ok()
}

/// Brings the newest receipt to a stick that does not have it yet. That it cannot is no failure.
pub(super) fn bring(home: &Home, folder: &Path, monitor: &dyn Monitor) -> bool {
    let Some(receipt) = kept(home) else { return false };
    if receipt.is_on(folder) {
        return true;
    }
    match receipt.write(folder) {
        Ok(_) => true,
        Err(error) => {
            monitor.note(&format!(
                "the receipt stays here until a stick can be written; this one cannot: {error}"
            ));
            false
        }
    }
}

/// Writes the receipt of an import: first here, then on the stick. The caller holds the home's lock.
///
/// # Errors
/// When a record here is damaged or the home cannot be written.
pub(super) fn leave(
    home: &Home,
    folder: &Path,
    expected: Vec<Expected>,
    intake: &Intake,
    monitor: &dyn Monitor,
) -> Result<ReceiptReport> {
    let store = site::store(home);
    let mut identity = Identity::open_or_draw(home)?;
    let outcomes: Vec<ReceivedBundle> =
        expected.into_iter().map(|expected| expected.outcome(&store, intake)).collect::<Result<_>>()?;
    let before = kept(home).filter(|before| before.head.site == identity.id);
    let bundles = merge(before.as_ref().map(|before| before.bundles.clone()).unwrap_or_default(), outcomes);
    let has = holding(home, &store, monitor)?;
    let head = Letterhead::new(identity.id.clone(), 0, identity.label.clone(), site::now());
    let mut receipt = Receipt { head, bundles, has };
    let number = match before.filter(|before| before.says_the_same(&receipt)) {
        Some(same) => same.head.number,
        None => {
            let number = identity.take_number(home, highest_on(folder, &identity.id) + 1)?;
            receipt.head.number = number;
            disk::write_atomic(&home.receipt(), &receipt.to_bytes()?)?;
            number
        }
    };
    Ok(ReceiptReport { site: identity.id, number, is_on_stick: bring(home, folder, monitor) })
}

fn highest_on(folder: &Path, site: &SiteId) -> u64 {
    Stick::open(folder).map_or(0, |stick| stick.highest_letter(site))
}

/// The newest word on each bundle, the newest bundles last.
fn merge(mut known: Vec<ReceivedBundle>, newer: Vec<ReceivedBundle>) -> Vec<ReceivedBundle> {
    for outcome in newer {
        match known.iter_mut().find(|bundle| bundle.id == outcome.id) {
            Some(bundle) => *bundle = outcome,
            None => known.push(outcome),
        }
    }
    known.drain(..known.len().saturating_sub(MAX_BUNDLES));
    known
}
