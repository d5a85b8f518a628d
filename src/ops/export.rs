//! `export`: write packages to a stick, with all that a site needs to trust them without a network.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::bundle::{self, BundleError, BundleId, PlannedFile, SiteId, StickShare, TrustFile};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Name, PackageRef, RelativePath, VariantId, Version};
use crate::progress::Monitor;
use crate::registry;
use crate::store::{Installed, Store};

use super::addressee::{Addressee, addressees};
use super::berths::{self, Berths, StickPart};
use super::courier::{self, CourierShowReport};
use super::difference::{NotSent, Parcel, RequiredFile, parcels};
use super::error::{Error, Result, While as _};
use super::holding::reference;
use super::kit::{self, MissingMember};
use super::letters::{self, SentBundle, SiteRecord};
use super::outgoing::{Cargo, cargo};
use super::pace::{Pace, StickFacts, Stopwatch};
use super::path::find_installed;
use super::removable;
use super::runtime::Extras;
use super::site;

/// A volume must hold the largest piece, 4 MiB, and its tar entry; twice that is worth a file, in bytes.
const LEAST_VOLUME_BYTES: u64 = 8 * 1024 * 1024;

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The stick's folder; the only stick there is when absent.
    pub stick: Option<PathBuf>,
    /// The packages; without requests and sites, all that are installed or fetched when empty.
    pub packages: Vec<PackageRef>,
    /// Kits whose members go along, with or without `-kit` at the end.
    pub kits: Vec<PackageRef>,
    /// Every build of localml that is here goes along as plain files; without it, those that the kits name.
    pub takes_runtime: bool,
    /// Requests to answer with the difference: texts, files, or folders that hold them.
    pub requests: Vec<String>,
    /// Sites, by id or label, that get the difference to their newest letter.
    pub sites: Vec<String>,
    /// Send every package whole, whatever the sites say that they have.
    pub is_full: bool,
    /// Sticks that are plugged in beside the first one and take a share.
    pub also: Vec<PathBuf>,
    /// Let the sticks take what fits; the rest is for sticks that come later.
    pub is_spread: bool,
    /// Forget what earlier sticks took of this very export, and begin a new set.
    pub begins_anew: bool,
    /// The most bytes that the export may take on each stick.
    pub room_bytes: Option<u64>,
    /// How many parity volumes for a hundred volumes; 0 for none.
    pub parity_percent: u32,
    /// The most bytes that one volume may have.
    pub volume_size_bytes: u64,
    /// Only say what would be written.
    pub is_plan: bool,
    /// Signs what no publisher signed with this home's own key.
    pub signing: Option<Signing>,
}

/// That a courier signs, and under which name.
#[derive(Debug, Clone, Default)]
pub struct Signing {
    /// The courier's name, for the first time; the name that the key has when absent.
    pub name: Option<Name>,
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
    /// The sites that it is for; any site when empty.
    pub recipients: Vec<Recipient>,
    /// What the sites must have already, because they said so.
    pub requires: Vec<RequiredFile>,
    /// What sites want and cannot get from here.
    pub not_sent: Vec<NotSent>,
    /// The bytes that need not travel, because the sites have them.
    pub saved_bytes: u64,
    /// Packages that stay behind because their bytes here are damaged.
    pub damaged: Vec<DamagedPackage>,
    /// What each stick took, or would take.
    pub sticks: Vec<StickPart>,
    /// What lies on sticks that are not plugged in, by what was written to them.
    pub elsewhere: Vec<StickShare>,
    /// The volumes that are left for sticks to come.
    pub left: Vec<PlannedFile>,
    /// The files that were written, or would be, on all sticks.
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
    /// The courier who signed what no publisher signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub courier: Option<CourierShowReport>,
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

/// A site that an export is for.
#[derive(Debug, Serialize)]
pub struct Recipient {
    /// Its id.
    pub site: SiteId,
    /// What it calls itself.
    pub label: Option<String>,
    /// The packages that are for it.
    pub packages: Vec<PackageRef>,
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
    export_some(home, options, &|_| true, monitor)
}

/// As `export`, but of all that would go along only the packages that are wanted.
///
/// # Errors
/// As `export`.
pub(super) fn export_some(
    home: &Home,
    options: &ExportOptions,
    is_wanted: &dyn Fn(&PackageRef) -> bool,
    monitor: &dyn Monitor,
) -> Result<ExportReport> {
    let stick = removable::stick(options.stick.as_deref(), monitor)?;
    let options = &ExportOptions { also: berths::others(&stick, &options.also, monitor)?, ..options.clone() };
    let letters = letters::take_in_stick(home, &stick, monitor)?;
    letters.remarks.iter().for_each(|remark| monitor.warn(&remark.to_string()));
    let store = site::store(home);
    let kits = kit::here(home, &store, &options.kits)?;
    let options =
        &ExportOptions { packages: [options.packages.as_slice(), &kits.held].concat(), ..options.clone() };
    let addressees = addressees(home, &options.requests, &options.sites, monitor)?;
    if addressees.is_empty() && letters.num_requests > 0 {
        let text = "there are requests on the stick; `--request DIR` sends exactly what these sites lack";
        monitor.note(text);
    }
    let (mut parcels, not_sent) = match addressees.is_empty() {
        true => (everyone(kit::first(kits.kits, choose(&store, &options.packages, monitor)?)), Vec::new()),
        false => difference(&store, &addressees, (options, kits.kits), monitor)?,
    };
    parcels.retain(|parcel| is_wanted(&reference(&parcel.installed)));
    let mut trust = trust_files(home)?;
    let courier = sign(home, &parcels, options, &mut trust, monitor)?;
    let addressees: Vec<Addressee> = match options.is_full {
        true => addressees.into_iter().map(Addressee::with_nothing).collect(),
        false => addressees,
    };
    let watch = Stopwatch::new(monitor);
    let extras = Extras::plan(home, &store, &stick, (options, &kits.held))?;
    let reserved_bytes = extras.reserved_bytes();
    let home_of = home.clone();
    let shipment = Shipment { home: home_of, reserved_bytes, stick: stick.clone(), store, addressees, trust };
    let plan = || shipment.plan_bytes(&parcels, options, monitor);
    let extras = extras.write(options, plan, monitor)?;
    let mut report = shipment.write_what_is_whole(parcels, options, &watch)?;
    if !options.is_plan
        && let Err(error) = note_sent(home, &report, monitor)
    {
        // The stick is whole; only this machine's notes are not.
        monitor.warn(&error.in_one_line());
    }
    (report.not_sent, report.missing) = (not_sent, kits.missing);
    report.courier = courier;
    extras.add_to(&mut report, home, &watch, monitor);
    Ok(report)
}

/// Adds the courier's signature about what no publisher signed, when that was asked for.
fn sign(
    home: &Home,
    parcels: &[Parcel],
    options: &ExportOptions,
    trust: &mut Vec<TrustFile>,
    monitor: &dyn Monitor,
) -> Result<Option<CourierShowReport>> {
    let Some(Signing { name }) = &options.signing else { return Ok(None) };
    let chosen: Vec<&Installed> = parcels.iter().map(|parcel| &parcel.installed).collect();
    let Some((courier, statement)) = courier::sign(home, name.as_ref(), &chosen, options.is_plan)? else {
        monitor.note("a publisher signed all of it; nothing needs a courier's signature");
        return Ok(None);
    };
    trust.push(statement);
    if courier.is_none() {
        monitor.note("the first signing makes this home's own key");
    }
    Ok(courier)
}

fn everyone(chosen: Vec<Installed>) -> Vec<Parcel> {
    chosen.into_iter().map(|installed| Parcel { installed, recipients: Vec::new() }).collect()
}

fn difference(
    store: &Store,
    addressees: &[Addressee],
    (options, kits): (&ExportOptions, Vec<Installed>),
    monitor: &dyn Monitor,
) -> Result<(Vec<Parcel>, Vec<NotSent>)> {
    let named: Vec<Installed> =
        options.packages.iter().map(|package| held(store, package)).collect::<Result<_>>()?;
    let named = kit::first(kits, named);
    parcels(store, &named, addressees, options.is_full, monitor)
}

/// Remembers what is on its way to whom.
fn note_sent(home: &Home, report: &ExportReport, monitor: &dyn Monitor) -> Result<()> {
    for recipient in report.recipients.iter().filter(|recipient| !recipient.packages.is_empty()) {
        if let Some(mut record) = SiteRecord::find(home, &recipient.site, monitor) {
            record.send(SentBundle {
                bundle: report.bundle.clone(),
                sent_at: site::now(),
                packages: recipient.packages.clone(),
                size_bytes: report.size_bytes,
            });
            record.keep(home)?;
        }
    }
    Ok(())
}

/// What one export needs, whatever it carries.
struct Shipment {
    home: Home,
    /// What localml itself takes on the first stick, beside the packages.
    reserved_bytes: u64,
    stick: PathBuf,
    store: Store,
    addressees: Vec<Addressee>,
    trust: Vec<TrustFile>,
}

impl Shipment {
    /// How many bytes the parcels will take on the first stick; 0 when nobody can tell before they are written.
    fn plan_bytes(&self, parcels: &[Parcel], options: &ExportOptions, monitor: &dyn Monitor) -> u64 {
        let options = ExportOptions { is_plan: true, ..options.clone() };
        let report = self.write(parcels, &options, monitor).ok();
        report.and_then(|report| report.sticks.first().map(|part| part.size_bytes)).unwrap_or(0)
    }

    /// Writes the parcels; those whose bytes turn out to be damaged stay behind.
    fn write_what_is_whole(
        &self,
        mut chosen: Vec<Parcel>,
        options: &ExportOptions,
        monitor: &dyn Monitor,
    ) -> Result<ExportReport> {
        let mut damaged: Vec<DamagedPackage> = Vec::new();
        loop {
            if chosen.is_empty() && !damaged.is_empty() {
                return Err(nothing_left(&damaged));
            }
            match self.write(&chosen, options, monitor) {
                Err(BundleError::BlobDamaged { digest, path, reason }) => {
                    let needs_it =
                        |parcel: &Parcel| parcel.installed.files().iter().any(|file| file.sha256 == digest);
                    let (bad, good): (Vec<Parcel>, Vec<Parcel>) = chosen.into_iter().partition(needs_it);
                    if bad.is_empty() {
                        return Err(BundleError::BlobDamaged { digest, path, reason }.into());
                    }
                    for name in bad.iter().map(|parcel| parcel.installed.name()) {
                        monitor.warn(&format!("`{name}` stays behind: blob {}: {reason}", digest.short()));
                        damaged.push(DamagedPackage { name: name.clone(), reason: reason.clone() });
                    }
                    chosen = good;
                }
                done => {
                    let mut report =
                        done.while_doing(|| format!("could not export to `{}`", self.stick.display()))?;
                    report.damaged = damaged;
                    return Ok(report);
                }
            }
        }
    }

    fn write(
        &self,
        chosen: &[Parcel],
        options: &ExportOptions,
        monitor: &dyn Monitor,
    ) -> bundle::Result<ExportReport> {
        let asked = self.addressees.iter().filter_map(|addressee| addressee.max_volume_bytes);
        // A volume smaller than this could not hold every piece; such a wish is a mistake or a forgery.
        let asked = asked.filter(|&max_bytes| max_bytes >= LEAST_VOLUME_BYTES);
        let volume_size_bytes = asked.fold(options.volume_size_bytes, u64::min);
        let (parity_percent, begins_anew) = (options.parity_percent, options.begins_anew);
        let cut = bundle::ExportOptions { volume_size_bytes, parity_percent, begins_anew };
        let Cargo { outgoing, requires } = cargo(&self.store, chosen, &self.addressees, &self.trust)?;
        let reserved_bytes = self.reserved_bytes;
        let berths = Berths { home: &self.home, stick: &self.stick, options, reserved_bytes };
        let planned = berths.plan(outgoing, &cut)?;
        let sticks = berths::parts(&planned)?;
        let mut report = ExportReport {
            stick: self.stick.clone(),
            bundle: berths::bundle_of(&planned),
            packages: chosen.iter().map(|parcel| exported(&parcel.installed, chosen)).collect(),
            recipients: self.addressees.iter().map(|addressee| recipient(addressee, chosen)).collect(),
            saved_bytes: requires.iter().map(|file| file.size_bytes).sum(),
            requires,
            not_sent: Vec::new(),
            missing: Vec::new(),
            facts: StickFacts::default(),
            pace: None,
            damaged: Vec::new(),
            elsewhere: berths::elsewhere(&planned),
            left: berths::left(&planned),
            files: berths::files(&planned)?,
            size_bytes: sticks.iter().map(|part| part.size_bytes).sum(),
            sticks,
            was_there: berths::are_already_there(&planned),
            is_plan: options.is_plan,
            courier: None,
        };
        if !options.is_plan {
            let (is_new, num_bytes) = berths.write(planned, monitor)?;
            (report.was_there, report.size_bytes) = (!is_new, num_bytes);
        }
        Ok(report)
    }
}

fn recipient(addressee: &Addressee, chosen: &[Parcel]) -> Recipient {
    let own = chosen.iter().filter(|parcel| parcel.recipients.contains(&addressee.site));
    Recipient {
        site: addressee.site.clone(),
        label: addressee.label.clone(),
        packages: own.map(|parcel| reference(&parcel.installed)).collect(),
    }
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
    chosen.retain(|installed| {
        // Whoever names two versions means both.
        let version = (!packages.is_empty()).then(|| version(installed).clone());
        seen.insert((installed.name().clone(), installed.variant.clone(), version))
    });
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

fn exported(installed: &Installed, chosen: &[Parcel]) -> ExportedPackage {
    let head = &installed.manifest.package;
    let is_absent = |wanted: &&PackageRef| chosen.iter().all(|other| *other.installed.name() != wanted.name);
    ExportedPackage {
        name: head.name.clone(),
        version: head.version.clone(),
        variant: installed.variant.clone(),
        size_bytes: installed.size_bytes(),
        is_signed: installed.origin.is_published(),
        requires: head.requires.iter().filter(is_absent).cloned().collect(),
    }
}

/// The root chain, metadata and index of every registry known here: each stick heals older sites.
fn trust_files(home: &Home) -> Result<Vec<TrustFile>> {
    let mut files = Vec::new();
    for known in registry::known(&home.registries())? {
        // What is damaged here must not travel as trustworthy.
        registry::load(&known.folder)?;
        for (name, bytes) in registry::trust_files(&known.folder)? {
            let name = format!("{}/{name}", known.name);
            let name: RelativePath =
                name.parse().map_err(|error| Error::new(ErrorKind::Failed, format!("{error}")))?;
            files.push(TrustFile { name, bytes });
        }
    }
    Ok(files)
}
