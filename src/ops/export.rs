//! `export`: write packages to a stick, with all that a site needs to trust them without a network.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{
    self, BundleError, BundleId, Item, ItemFile, Outgoing, OutgoingBlob, Plan, PlannedFile, TrustFile,
    is_text_name,
};
use crate::disk::DiskError;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{FileEntry, Name, PackageRef, RelativePath, VariantId, Version};
use crate::progress::Monitor;
use crate::registry;
use crate::store::{Installed, Origin, Store};

use super::error::{Error, Result, While as _};
use super::kit::{self, MissingMember};
use super::pace::{Pace, StickFacts, Stopwatch};
use super::path::find_installed;
use super::removable;
use super::runtime::Extras;
use super::site;

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The stick's folder; the only stick there is when absent.
    pub stick: Option<PathBuf>,
    /// The packages; all that are installed or fetched when empty.
    pub packages: Vec<PackageRef>,
    /// Kits whose members go along, with or without `-kit` at the end.
    pub kits: Vec<PackageRef>,
    /// Every build of localml that is here goes along as plain files; without it, those that the kits name.
    pub takes_runtime: bool,
    /// The most bytes that one volume may have.
    pub volume_size_bytes: u64,
    /// Only say what would be written.
    pub is_plan: bool,
}

/// What was written, or would be.
#[derive(Debug, Serialize)]
pub struct ExportReport {
    /// The stick's folder.
    pub stick: PathBuf,
    /// The bundle.
    pub bundle: BundleId,
    /// The packages in it.
    pub packages: Vec<ExportedPackage>,
    /// Members of the kits that are not here, and what brings them.
    pub missing: Vec<MissingMember>,
    /// Packages that stay behind because their bytes here are damaged.
    pub damaged: Vec<DamagedPackage>,
    /// The files that were written, or would be.
    pub files: Vec<PlannedFile>,
    /// The bytes of these files.
    pub size_bytes: u64,
    /// What the stick is like.
    pub facts: StickFacts,
    /// How fast it is: expected for a plan, measured after an export; nothing where nobody can tell.
    pub pace: Option<Pace>,
    /// True when the stick already held all this, whole.
    pub was_there: bool,
    /// True when nothing was written yet.
    pub is_plan: bool,
}

/// One exported package.
#[derive(Debug, Serialize)]
pub struct ExportedPackage {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// Its build.
    pub variant: VariantId,
    /// The bytes of its files.
    pub size_bytes: u64,
    /// False when nobody signed it.
    pub is_signed: bool,
    /// What it cannot work without and is not in this export.
    pub requires: Vec<PackageRef>,
}

/// A package whose bytes on this machine are not what they should be.
#[derive(Debug, Serialize)]
pub struct DamagedPackage {
    /// Its name.
    pub name: Name,
    /// What is wrong.
    pub reason: String,
}

/// Writes packages to a stick. When it returns, the stick is safe to remove.
///
/// # Errors
/// When a package is not here, the stick is too small, does not read back what was written, or every
/// package is damaged. Running it again continues.
pub fn export(home: &Home, options: &ExportOptions, monitor: &dyn Monitor) -> Result<ExportReport> {
    let stick = removable::stick(options.stick.as_deref(), monitor)?;
    let store = site::store(home);
    let kits = kit::here(home, &store, &options.kits)?;
    let packages = [options.packages.as_slice(), &kits.held].concat();
    let mut chosen = choose(&store, &packages, monitor)?;
    chosen.retain(|installed| kits.kits.iter().all(|kit| kit.name() != installed.name()));
    chosen.splice(0..0, kits.kits);
    let trust = trust_files(home)?;
    let watch = Stopwatch::new(monitor);
    let extras = Extras::plan(home, &store, &stick, (options, &kits.held))?;
    let dry_run = ExportOptions { is_plan: true, ..options.clone() };
    let extras = extras.write(
        options,
        || write(&stick, &store, &chosen, &trust, &dry_run, monitor).map_or(0, |report| report.size_bytes),
        monitor,
    )?;
    let mut damaged: Vec<DamagedPackage> = Vec::new();
    loop {
        if chosen.is_empty() {
            return Err(nothing_left(&damaged));
        }
        match write(&stick, &store, &chosen, &trust, options, &watch) {
            Err(BundleError::BlobDamaged { digest, path, reason }) => {
                let needs_it =
                    |installed: &Installed| installed.files().iter().any(|file| file.sha256 == digest);
                let (bad, good): (Vec<Installed>, Vec<Installed>) = chosen.into_iter().partition(needs_it);
                if bad.is_empty() {
                    return Err(BundleError::BlobDamaged { digest, path, reason }.into());
                }
                for installed in bad {
                    monitor.warn(&format!(
                        "`{}` stays behind: blob {}: {reason}",
                        installed.name(),
                        digest.short()
                    ));
                    damaged.push(DamagedPackage { name: installed.name().clone(), reason: reason.clone() });
                }
                chosen = good;
            }
            done => {
                let mut report = done.while_doing(|| format!("could not export to `{}`", stick.display()))?;
                report.damaged = damaged;
                report.missing = kits.missing;
                extras.add_to(&mut report, home, &watch, monitor);
                return Ok(report);
            }
        }
    }
}

fn write(
    stick: &Path,
    store: &Store,
    chosen: &[Installed],
    trust: &[TrustFile],
    options: &ExportOptions,
    monitor: &dyn Monitor,
) -> bundle::Result<ExportReport> {
    let cut = bundle::ExportOptions { volume_size_bytes: options.volume_size_bytes };
    let plan = Plan::new(stick, outgoing(store, chosen, trust)?, &cut)?;
    let mut report = ExportReport {
        stick: stick.to_owned(),
        bundle: plan.id().clone(),
        packages: chosen.iter().map(|installed| exported(installed, chosen)).collect(),
        missing: Vec::new(),
        facts: StickFacts::default(),
        pace: None,
        damaged: Vec::new(),
        files: plan.files()?,
        size_bytes: plan.total_bytes()?,
        was_there: plan.is_already_there(),
        is_plan: options.is_plan,
    };
    if !options.is_plan {
        let written = bundle::write(stick, plan, monitor)?;
        report.was_there = !written.is_new;
        report.size_bytes = written.bytes_written;
    }
    Ok(report)
}

/// The packages asked for, or all that are here, and what they require as far as it is here; small ones first.
fn choose(store: &Store, packages: &[PackageRef], monitor: &dyn Monitor) -> Result<Vec<Installed>> {
    let mut chosen: Vec<Installed> = match packages.is_empty() {
        true => store.installed()?.into_iter().chain(store.fetched()?).collect(),
        false => packages.iter().map(|package| held(store, package)).collect::<Result<_>>()?,
    };
    let mut queue: Vec<PackageRef> = chosen.iter().flat_map(requires).collect();
    while let Some(required) = queue.pop() {
        if chosen.iter().any(|installed| *installed.name() == required.name) {
            continue;
        }
        match held_newest(store, &required) {
            Ok(installed) => {
                queue.extend(requires(&installed));
                chosen.push(installed);
            }
            Err(_) => monitor.warn(&format!("`{required}` is required and not here; the site must have it")),
        }
    }
    if packages.is_empty() {
        // The sort is stable: of equal versions, the installed one stays.
        chosen.sort_by(|left, right| version(right).cmp(version(left)));
    }
    let mut seen = HashSet::new();
    chosen.retain(|installed| seen.insert(installed.name().clone()));
    chosen.sort_by_key(|installed| (installed.size_bytes(), installed.name().clone()));
    if chosen.is_empty() {
        return Err(Error::new(
            ErrorKind::NotFound,
            "nothing is installed or fetched here, so there is nothing to export",
        )
        .with_hint("`localml search` shows what there is; `localml fetch PACKAGE` brings it"));
    }
    Ok(chosen)
}

fn requires(installed: &Installed) -> Vec<PackageRef> {
    installed.manifest.package.requires.clone()
}

fn held(store: &Store, package: &PackageRef) -> Result<Installed> {
    held_newest(store, package).map_err(|error| match error.kind() {
        ErrorKind::NotFound => error
            .while_doing(format!("could not export `{package}`"))
            .with_hint(format!("`localml fetch {package}` brings it here first")),
        _ => error,
    })
}

/// The newest version that is installed or fetched here and that the reference means.
fn held_newest(store: &Store, package: &PackageRef) -> Result<Installed> {
    let is_meant = |held: &Installed| {
        *held.name() == package.name
            && package.version.as_ref().is_none_or(|wanted| wanted == version(held))
            && package.variant.as_ref().is_none_or(|wanted| *wanted == held.variant)
    };
    let held = store.fetched()?.into_iter().chain(store.installed()?);
    match held.filter(is_meant).max_by(|left, right| version(left).cmp(version(right))) {
        Some(newest) => Ok(newest),
        None => find_installed(store, package),
    }
}

fn version(installed: &Installed) -> &Version {
    &installed.manifest.package.version
}

fn nothing_left(damaged: &[DamagedPackage]) -> Error {
    let names: Vec<String> = damaged.iter().map(|package| format!("`{}`", package.name)).collect();
    let message = format!("nothing was exported: the bytes of {} are damaged here", names.join(", "));
    Error::new(ErrorKind::Damaged, message)
        .with_hint("`localml verify` names the damaged files; fetch or import the packages again")
}

fn outgoing(store: &Store, chosen: &[Installed], trust: &[TrustFile]) -> bundle::Result<Outgoing> {
    let mut blobs = Vec::new();
    for (priority, installed) in (0u32..).zip(chosen) {
        for file in installed.files() {
            blobs.push(outgoing_blob(store, file, priority)?);
        }
    }
    let items = chosen.iter().map(item).collect();
    let (requires, recipients) = (Vec::new(), Vec::new());
    Ok(Outgoing { items, blobs, requires, recipients, trust: trust.to_vec(), created_at: site::now() })
}

fn outgoing_blob(store: &Store, file: &FileEntry, priority: u32) -> bundle::Result<OutgoingBlob> {
    let path = store.blob_path(&file.sha256, file.size_bytes).ok_or_else(|| BundleError::BlobDamaged {
        digest: file.sha256,
        path: PathBuf::from(file.sha256.to_string()),
        reason: format!("`{}` is not in the store with its {} bytes", file.path, file.size_bytes),
    })?;
    // A damaged list is no loss: the whole digest is checked instead.
    let pieces = file.pieces.and_then(|digest| store.piece_list(&digest).ok().flatten());
    let is_text = is_text_name(file.path.as_str());
    Ok(OutgoingBlob {
        digest: file.sha256,
        size_bytes: file.size_bytes,
        path,
        pieces,
        priority,
        is_text,
        only: None,
    })
}

fn item(installed: &Installed) -> Item {
    let head = &installed.manifest.package;
    let registry = match &installed.origin {
        Origin::Registry(name) => Some(name.clone()),
        Origin::Catalog | Origin::Unsigned => None,
    };
    let file = |file: &FileEntry| ItemFile {
        path: file.path.clone(),
        size_bytes: file.size_bytes,
        sha256: file.sha256,
    };
    Item {
        package: PackageRef {
            registry,
            name: head.name.clone(),
            version: Some(head.version.clone()),
            variant: Some(installed.variant.clone()),
        },
        kind: head.kind.clone(),
        license: head.license.clone(),
        unsigned: (installed.origin == Origin::Unsigned).then(|| installed.manifest.clone()),
        files: installed.files().iter().map(file).collect(),
    }
}

fn exported(installed: &Installed, chosen: &[Installed]) -> ExportedPackage {
    let head = &installed.manifest.package;
    let is_absent = |wanted: &&PackageRef| chosen.iter().all(|other| *other.name() != wanted.name);
    ExportedPackage {
        name: head.name.clone(),
        version: head.version.clone(),
        variant: installed.variant.clone(),
        size_bytes: installed.size_bytes(),
        is_signed: installed.origin != Origin::Unsigned,
        requires: head.requires.iter().filter(is_absent).cloned().collect(),
    }
}

/// The root chain, metadata and index of every registry known here: each stick heals older sites.
fn trust_files(home: &Home) -> Result<Vec<TrustFile>> {
    let mut files = Vec::new();
    for known in registry::known(&home.registries())? {
        // What is damaged here must not travel as trustworthy.
        registry::load(&known.folder)?;
        for (name, path) in registry::trust_files(&known.folder)? {
            let name = format!("{}/{name}", known.name);
            let name: RelativePath =
                name.parse().map_err(|error| Error::new(ErrorKind::Failed, format!("{error}")))?;
            let bytes = fs::read(&path).map_err(|source| DiskError::Io { path, source })?;
            files.push(TrustFile { name, bytes });
        }
    }
    Ok(files)
}
