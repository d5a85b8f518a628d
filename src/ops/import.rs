//! `import`: from an untrusted stick to installed packages, with no network.
//!
//! Trust first: the stick's registries bring the known ones here up to date, if their signatures hold.
//! Only what an index names that was verified here may then come in; each package becomes usable as
//! soon as it is whole, and its record is written last.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{self, Authorised, Bundles, Remark, SiteId, Stick};
use crate::digest::Sha256;
use crate::disk::Staged;
use crate::home::Home;
use crate::package::{FileEntry, Name, PackageRef};
use crate::progress::Monitor;
use crate::registry;
use crate::store::{Installed, Store};

use super::addressee::fulfils;
use super::choice::is_usable;
use super::courier::Statements;
use super::error::{Result, While as _};
use super::holding::reference;
use super::identity::Identity;
use super::indexes;
use super::intake;
use super::kit::SetUp;
use super::kit_import::{self, TrustedByKit};
use super::receipt::{self, Expected, ReceiptReport};
use super::removable;
use super::revoked::{self, RevokedPackage};
use super::sift::{self, Candidate, RefusedPackage, Sifted, Terms};
use super::site;
use super::stick::nothing_on;
use super::stick_trust::{self, Brought, ImportedTrust, UnknownRoot};

/// Why a file is missing that no bundle of the stick has.
const NOT_CARRIED: &str = "no bundle on this stick carries it: its sender counted on it being here already";

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
    /// The fingerprint of a courier on the stick who is to be believed from now on.
    pub courier: Option<String>,
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
    /// The packages that are here whole and do not work yet, because of what they require.
    pub lacking: Vec<LackingPackage>,
    /// The packages on the stick that are for other sites; they come only by name.
    pub for_others: Vec<PackageRef>,
    /// The bytes that are still missing of incomplete packages.
    pub missing_bytes: u64,
    /// The volumes in which these bytes should have been, as far as this stick knows them.
    pub missing_volumes: Vec<String>,
    /// The packages that may not come in, and why.
    pub refused: Vec<RefusedPackage>,
    /// The registries that the stick brought up to date, or not.
    pub registries: Vec<ImportedTrust>,
    /// The registries on the stick that nobody here accepted.
    pub unknown_roots: Vec<UnknownRoot>,
    /// The registries that are trusted from now on because a kit names them.
    pub trusted_by_kit: Vec<TrustedByKit>,
    /// How many bundles of the stick cannot be read; `remarks` says why.
    pub num_unread_bundles: usize,
    /// What else is wrong with the stick.
    pub remarks: Vec<Remark>,
    /// The packages in use here that their publishers took back; the keeper decides about them.
    pub revoked: Vec<RevokedPackage>,
    /// The receipt, when it could be written.
    pub receipt: Option<ReceiptReport>,
}

/// A package that does not work yet.
#[derive(Debug, Serialize)]
pub struct LackingPackage {
    /// The package.
    pub package: PackageRef,
    /// What it requires and is not here.
    pub requires: Vec<PackageRef>,
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
    /// True when packages in use were taken back, and the stick may have brought the news.
    pub fn brings_revocations(&self) -> bool {
        let is_newer = |trust: &ImportedTrust| {
            matches!(trust.outcome, registry::Outcome::Newer | registry::Outcome::Added)
        };
        !self.revoked.is_empty() && self.registries.iter().any(is_newer)
    }

    /// True when everything that the stick offers, and was asked for, is usable here now.
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
            && self.kits.iter().all(|kit| kit.missing.is_empty())
            && self.lacking.is_empty()
            && self.refused.is_empty()
            && self.num_unread_bundles == 0
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
    let mut bundles = bundles_on(&stick, &folder)?;
    let own = own_id(home, &bundles, monitor);
    let mut expected: Vec<Expected> =
        bundles.bundles.iter().filter_map(|bundle| Expected::of(bundle, own.as_ref())).collect();
    let for_others = pass_over_others(&mut bundles, own.as_ref(), options);
    let num_unread_bundles = bundles.refused.len();
    if let Some(fingerprint) = &options.fingerprint {
        stick_trust::accept(&stick, home, &registry::parse_fingerprint(fingerprint)?)?;
    }
    let Brought { registries, unknown_roots, trusted_by_kit, mut remarks } =
        kit_import::update_trust(&stick, home, options, &bundles, monitor)?;
    let indexes = indexes::load(home)?;
    let packages = kit_import::with_members(options, &bundles, &indexes);
    let options = &ImportOptions { packages, ..options.clone() };
    let store = site::store(home);
    let statements = Statements::read(&stick, home, options.courier.as_deref(), monitor)?;
    let terms = Terms { options, unknown_roots: &unknown_roots, statements: &statements, monitor };
    let sifted = sift::sift(&bundles, &indexes, &store, &terms)?;
    refuse_strangers(&stick, &sifted, &unknown_roots)?;
    let Sifted { mut candidates, unchanged, refused } = sifted;
    let kits = kit_import::take_out(&mut candidates, &unchanged, &store)?;
    expected.iter_mut().for_each(|expected| expected.refuse(&refused));
    let carried = carried_blobs(&bundles);
    warn_of_absent(&candidates, &carried, &store, monitor);
    let mut arrival = Arrival { store: &store, pending: candidates, installed: Vec::new(), monitor };
    arrival.install_whole()?;
    let intake = take_in(home, bundles, &mut arrival, monitor)
        .while_doing(|| format!("could not import from `{}`", folder.display()))?;
    let Arrival { pending, mut installed, .. } = arrival;
    let kits = kit_import::finish(home, kits, &mut installed, monitor)?;
    let incomplete: Vec<IncompletePackage> =
        pending.iter().map(|candidate| incomplete(candidate, &store, &intake, &carried)).collect();
    let receipt = receipt::leave(home, &folder, expected, &intake, monitor);
    let receipt = receipt.map_err(|error| monitor.warn(&error.in_one_line())).ok();
    remarks.extend(intake.remarks);
    let here = store.installed()?;
    let revoked = here.iter().filter_map(|package| revoked::against(&indexes, package)).collect();
    let missing = incomplete.iter().flat_map(|package| &package.files);
    Ok(ImportReport {
        stick: folder,
        lacking: lacking(&store, installed.iter().chain(&unchanged))?,
        for_others,
        missing_bytes: missing.clone().fold(0, |sum, file| sum.saturating_add(file.missing_bytes)),
        missing_volumes: missing.flat_map(volumes_of).collect::<BTreeSet<String>>().into_iter().collect(),
        receipt,
        installed,
        unchanged,
        kits,
        incomplete,
        refused,
        registries,
        unknown_roots,
        trusted_by_kit,
        num_unread_bundles,
        remarks,
        revoked,
    })
}

/// Who this site is, if it can tell what is for it: it has asked for something, or is addressed. An import
/// must not fail because of that; any other site takes everything.
fn own_id(home: &Home, bundles: &Bundles, monitor: &dyn Monitor) -> Option<SiteId> {
    let identity = match Identity::open(home) {
        Ok(identity) => identity?,
        Err(error) => {
            monitor.warn(&error.in_one_line());
            return None;
        }
    };
    let mut addressed = bundles.bundles.iter().flat_map(|bundle| &bundle.description.recipients);
    let is_addressed = addressed.any(|site| *site == identity.id);
    (identity.has_asked || is_addressed).then_some(identity.id)
}

/// Takes the packages that are for other sites off the list, unless packages were asked for by name.
fn pass_over_others(bundles: &mut Bundles, own: Option<&SiteId>, options: &ImportOptions) -> Vec<PackageRef> {
    let (Some(own), true) = (own, options.packages.is_empty()) else { return Vec::new() };
    let (mut others, mut own_packages) = (Vec::new(), Vec::new());
    for bundle in &mut bundles.bundles {
        let description = &mut bundle.description;
        let is_own = |recipients: &[SiteId]| recipients.is_empty() || recipients.contains(own);
        let is_for_us = is_own(&description.recipients);
        description.items.retain(|item| {
            let is_kept = is_for_us && is_own(&item.recipients);
            if is_kept { &mut own_packages } else { &mut others }.push(item.package.clone());
            is_kept
        });
    }
    others.retain(|package| !own_packages.contains(package));
    others.sort_by_key(ToString::to_string);
    others.dedup();
    others
}

/// The blobs of which the stick says that it has at least a part.
fn carried_blobs(bundles: &Bundles) -> BTreeSet<Sha256> {
    let blobs = bundles.bundles.iter().flat_map(|bundle| &bundle.description.blobs);
    blobs.map(|blob| blob.sha256).collect()
}

/// Names at once what cannot become whole: the sender counted on bytes that are not here.
fn warn_of_absent(
    candidates: &[Candidate],
    carried: &BTreeSet<Sha256>,
    store: &Store,
    monitor: &dyn Monitor,
) {
    for candidate in candidates {
        let is_absent = |file: &&FileEntry| {
            !carried.contains(&file.sha256) && store.blob_path(&file.sha256, file.size_bytes).is_none()
        };
        let files: Vec<&FileEntry> = candidate.installed.files().iter().filter(is_absent).collect();
        if let Some(first) = files.first() {
            let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
            monitor.warn(&format!(
                "`{}` cannot become whole from this stick: {} of its files (`{}`, …), {bytes} bytes, should \
                 be here already and are not",
                candidate.package,
                files.len(),
                first.path
            ));
        }
    }
}

/// The packages that are here and require others that are not.
fn lacking<'a>(store: &Store, packages: impl Iterator<Item = &'a PackageRef>) -> Result<Vec<LackingPackage>> {
    let mut lacking = Vec::new();
    for package in packages {
        let Some(installed) = store.find(&package.name)? else { continue };
        let mut requires = Vec::new();
        for required in &installed.manifest.package.requires {
            let found = store.find(&required.name)?;
            if !found.is_some_and(|found| fulfils(&reference(&found), required)) {
                requires.push(required.clone());
            }
        }
        if !requires.is_empty() {
            lacking.push(LackingPackage { package: package.clone(), requires });
        }
    }
    Ok(lacking)
}

/// The volumes that a file's causes speak of.
fn volumes_of(file: &IncompleteFile) -> Vec<String> {
    let volumes = file.causes.iter().filter(|cause| cause.file.ends_with(".TAR"));
    volumes.map(|cause| cause.file.clone()).collect()
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
    let store = arrival.store;
    let mut deliver = |staged: Staged| arrival.take(&staged);
    intake::receive(home, store, (bundles, &authorised), &mut deliver, monitor)
}

/// The bundles of a stick. A FAT whose stick was pulled out reads as if it were empty: that must not look
/// like success.
fn bundles_on(stick: &Stick, folder: &Path) -> Result<Bundles> {
    let bundles = stick.bundles()?;
    match bundles.bundles.is_empty() && bundles.refused.is_empty() && stick.record().is_none() {
        true => Err(nothing_on(stick, folder)),
        false => Ok(bundles),
    }
}

/// When nothing on the stick is vouched for, that is the news, with the fingerprints to compare.
fn refuse_strangers(stick: &Stick, sifted: &Sifted, unknown_roots: &[UnknownRoot]) -> Result<()> {
    let is_empty = sifted.candidates.is_empty() && sifted.unchanged.is_empty();
    let is_named = |root: &&UnknownRoot| {
        let mut registries = sifted.refused.iter().filter_map(|refused| refused.package.registry.as_ref());
        registries.any(|registry| registry.as_str() == root.name)
    };
    match unknown_roots.iter().find(is_named) {
        Some(root) if is_empty => Err(stick_trust::unknown(stick, root)),
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

fn incomplete(
    candidate: &Candidate,
    store: &Store,
    intake: &bundle::Intake,
    carried: &BTreeSet<Sha256>,
) -> IncompletePackage {
    let is_missing = |file: &&FileEntry| store.blob_path(&file.sha256, file.size_bytes).is_none();
    let files = candidate.installed.files().iter().filter(is_missing).map(|file| {
        let found = intake.incomplete.iter().find(|blob| blob.digest == file.sha256);
        IncompleteFile {
            path: file.path.to_string(),
            sha256: file.sha256,
            missing_bytes: found.map_or(file.size_bytes, |blob| blob.missing_bytes),
            causes: match found {
                Some(blob) => blob.causes.clone(),
                None if carried.contains(&file.sha256) => Vec::new(),
                None => vec![Remark { file: "B".into(), text: NOT_CARRIED.into() }],
            },
        }
    });
    IncompletePackage { package: candidate.package.clone(), files: files.collect() }
}
