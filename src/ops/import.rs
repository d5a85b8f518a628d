//! `import`: from an untrusted stick to installed packages, with no network.
//!
//! Trust first: the stick's registries bring the known ones here up to date, if their signatures hold.
//! Only what an index names that was verified here may then come in; each package becomes usable as
//! soon as it is whole, and its record is written last.

use std::path::PathBuf;

use serde::Serialize;

use crate::bundle::{self, Authorised, Bundles, Remark, Stick};
use crate::digest::Sha256;
use crate::disk::Staged;
use crate::home::Home;
use crate::package::{FileEntry, Name, PackageRef};
use crate::progress::Monitor;
use crate::registry;
use crate::store::{Installed, Store};

use super::choice::is_usable;
use super::error::{Error, Result, While as _};
use super::indexes;
use super::kit::SetUp;
use super::kit_import;
use super::removable;
use super::sift::{self, Candidate, RefusedPackage, Sifted, Terms};
use super::site;
use super::stick_trust::{self, Brought, ImportedTrust, UnknownRoot};

/// What to import, and on which terms.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The stick's folder; the only stick there is when absent.
    pub stick: Option<PathBuf>,
    /// The packages; everything on the stick when empty.
    pub packages: Vec<PackageRef>,
    /// Packages that may come although nobody signed them.
    pub unsigned: Vec<Name>,
    /// Install from an index that is very old.
    pub accepts_stale: bool,
    /// The fingerprint of a registry on the stick that is to be trusted from now on.
    pub fingerprint: Option<String>,
}

/// What came in.
#[derive(Debug, Serialize)]
pub struct ImportReport {
    /// The stick's folder.
    pub stick: PathBuf,
    /// The packages that are newly usable.
    pub installed: Vec<PackageRef>,
    /// The packages that were installed already, in this version and build.
    pub unchanged: Vec<PackageRef>,
    /// The kits that set this site up, last.
    pub kits: Vec<SetUp>,
    /// The packages that are on the stick, but not whole; the pieces that came are kept.
    pub incomplete: Vec<IncompletePackage>,
    /// The packages that may not come in, and why.
    pub refused: Vec<RefusedPackage>,
    /// The registries that the stick brought up to date, or not.
    pub registries: Vec<ImportedTrust>,
    /// The registries on the stick that nobody here accepted.
    pub unknown_roots: Vec<UnknownRoot>,
    /// How many bundles of the stick cannot be read; `remarks` says why.
    pub num_unread_bundles: usize,
    /// What else is wrong with the stick.
    pub remarks: Vec<Remark>,
}

/// A package that is on the stick, but not whole.
#[derive(Debug, Serialize)]
pub struct IncompletePackage {
    /// The package.
    pub package: PackageRef,
    /// The files that are missing or damaged.
    pub files: Vec<IncompleteFile>,
}

/// A file that is not whole.
#[derive(Debug, Serialize)]
pub struct IncompleteFile {
    /// Its name in the package.
    pub path: String,
    /// What it should hash to.
    pub sha256: Sha256,
    /// The bytes that are still missing.
    pub missing_bytes: u64,
    /// Why, and in which file of the stick.
    pub causes: Vec<Remark>,
}

impl ImportReport {
    /// True when everything that the stick offers, and was asked for, is usable here now.
    pub fn is_complete(&self) -> bool {
        let has_kits = self.kits.iter().all(|kit| kit.missing.is_empty());
        has_kits && self.incomplete.is_empty() && self.refused.is_empty() && self.num_unread_bundles == 0
    }
}

/// Installs what a stick carries.
///
/// # Errors
/// `Untrusted` when the stick's trust files are damaged or forged, or nothing on it is vouched for by
/// anyone known here; when there is no room; when it was stopped. Damaged packages are in the report.
pub fn import(home: &Home, options: &ImportOptions, monitor: &dyn Monitor) -> Result<ImportReport> {
    let folder = removable::stick(options.stick.as_deref(), monitor)?;
    let stick = Stick::open(&folder)?;
    let _lock = site::lock(home)?;
    let bundles = stick.bundles()?;
    let num_unread_bundles = bundles.refused.len();
    if let Some(fingerprint) = &options.fingerprint {
        stick_trust::accept(&stick, home, &registry::parse_fingerprint(fingerprint)?)?;
    }
    let mut brought = stick_trust::update_from(&stick, home)?;
    if kit_import::accept_registries(&folder, home, options, &bundles, monitor)? {
        brought = stick_trust::update_from(&stick, home)?;
    }
    let Brought { registries, unknown_roots, mut remarks } = brought;
    let indexes = indexes::load(home)?;
    let store = site::store(home);
    let packages = kit_import::with_members(options, &bundles, &indexes);
    let options = &ImportOptions { packages, ..options.clone() };
    let terms = Terms { options, unknown_roots: &unknown_roots, monitor };
    let sifted = sift::sift(&bundles, &indexes, &store, &terms)?;
    refuse_strangers(&sifted, &unknown_roots)?;
    let Sifted { mut candidates, unchanged, refused } = sifted;
    let kits = kit_import::take_out(&mut candidates);
    let mut arrival = Arrival { store: &store, pending: candidates, installed: Vec::new(), monitor };
    arrival.install_whole()?;
    let intake = take_in(home, bundles, &mut arrival, monitor)
        .while_doing(|| format!("could not import from `{}`", folder.display()))?;
    for list in &intake.piece_lists {
        store.keep_piece_list(list)?;
    }
    let Arrival { pending, mut installed, .. } = arrival;
    let kits = kit_import::finish(home, kits, &mut installed, monitor)?;
    let incomplete = pending.iter().map(|candidate| incomplete(candidate, &store, &intake)).collect();
    remarks.extend(intake.remarks);
    Ok(ImportReport {
        stick: folder,
        installed,
        unchanged,
        kits,
        incomplete,
        refused,
        registries,
        unknown_roots,
        num_unread_bundles,
        remarks,
    })
}

/// Reads the blobs that the pending packages still need.
fn take_in(
    home: &Home,
    bundles: Bundles,
    arrival: &mut Arrival<'_>,
    monitor: &dyn Monitor,
) -> Result<bundle::Intake> {
    let mut authorised = Authorised::default();
    for candidate in &arrival.pending {
        let files = candidate.installed.files().iter();
        let is_missing = |file: &&_| !arrival.has(file);
        files.filter(is_missing).for_each(|file| authorised.add(file));
    }
    let staging = home.staging().join("stick");
    let mut deliver = |staged: Staged| arrival.take(&staged);
    bundle::receive::<Error>(bundles, &authorised, &staging, &mut deliver, monitor)
}

/// When nothing on the stick is vouched for, that is the news, with the fingerprints to compare.
fn refuse_strangers(sifted: &Sifted, unknown_roots: &[UnknownRoot]) -> Result<()> {
    let is_empty = sifted.candidates.is_empty() && sifted.unchanged.is_empty();
    let is_named = |root: &&UnknownRoot| {
        let mut registries = sifted.refused.iter().filter_map(|refused| refused.package.registry.as_ref());
        registries.any(|registry| registry.as_str() == root.name)
    };
    match unknown_roots.iter().find(is_named) {
        Some(root) if is_empty => Err(stick_trust::unknown(root)),
        _ => Ok(()),
    }
}

/// Packages on their way in.
struct Arrival<'a> {
    store: &'a Store,
    pending: Vec<Candidate>,
    installed: Vec<PackageRef>,
    monitor: &'a dyn Monitor,
}

impl Arrival<'_> {
    fn has(&self, file: &FileEntry) -> bool {
        self.store.blob_path(&file.sha256, file.size_bytes).is_some()
    }

    /// Takes a blob into the store, and installs what is whole by it.
    fn take(&mut self, staged: &Staged) -> Result<()> {
        // Only authorised digests are staged; the store compares once more.
        self.store.adopt(staged, &staged.digest)?;
        self.install_whole()
    }

    fn install_whole(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        for candidate in pending {
            if !candidate.installed.files().iter().all(|file| self.has(file)) {
                self.pending.push(candidate);
                continue;
            }
            let Installed { manifest, .. } = &candidate.installed;
            let head = &manifest.package;
            if !is_usable(&head.kind) {
                let text = format!(
                    "`{}` is of kind `{}`, which this localml can keep but not use",
                    head.name, head.kind
                );
                self.monitor.warn(&text);
            }
            let deed = || format!("could not install `{}`", candidate.package);
            self.store.record(&candidate.installed).while_doing(deed)?;
            self.installed.push(candidate.package);
        }
        Ok(())
    }
}

fn incomplete(candidate: &Candidate, store: &Store, intake: &bundle::Intake) -> IncompletePackage {
    let is_missing = |file: &&FileEntry| store.blob_path(&file.sha256, file.size_bytes).is_none();
    let files = candidate.installed.files().iter().filter(is_missing).map(|file| {
        let found = intake.incomplete.iter().find(|blob| blob.digest == file.sha256);
        IncompleteFile {
            path: file.path.to_string(),
            sha256: file.sha256,
            missing_bytes: found.map_or(file.size_bytes, |blob| blob.missing_bytes),
            causes: found.map(|blob| blob.causes.clone()).unwrap_or_default(),
        }
    });
    IncompletePackage { package: candidate.package.clone(), files: files.collect() }
}
