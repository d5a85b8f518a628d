//! `repair`: bring the damaged pieces of what is here, and nothing else, from wherever they can be had.
//!
//! A damaged blob is taken out of use first, so that nobody reads it, however the repair ends. Its right pieces are
//! copied into the staging of sticks, as if that much of it had just come by a stick; sticks, folders and the network
//! then fill the gaps, each with its own checks, and the whole blob is switched in at the end. Until then the damaged
//! one lies aside. What could not be had yet stays in that staging: a later repair goes on there, `request` asks for
//! the gaps alone, and `import` fills them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{FileEntry, Name, PackageRef, VariantId, Version};
use crate::progress::Monitor;
use crate::store::{Installed, Store};

use super::at_hand::AtHand;
use super::checkup::{Checkup, DamagedFile, Place, check_up, meant, place_of};
use super::error::{Error, Result, While as _};
use super::fetch::SPARE_BYTES;
use super::folder::Folder;
use super::line::{self, Line, LineOptions};
use super::mending::{Bench, Mended};
use super::site;

/// What to repair, and from where.
#[derive(Debug, Clone, Default)]
pub struct RepairOptions {
    /// The packages; all of them when none is named.
    pub packages: Vec<PackageRef>,
    /// Sticks and folders that may hold the pieces; they are asked before the network.
    pub from: Vec<PathBuf>,
    /// Only say what is damaged and what it would cost.
    pub is_plan: bool,
    /// What the line may cost.
    pub line: LineOptions,
}

/// What was repaired, or would be.
#[derive(Debug, Serialize)]
pub struct RepairReport {
    /// The packages that had damage.
    pub packages: Vec<RepairedPackage>,
    /// How many packages had none.
    pub num_whole: usize,
    /// The bytes that had to come again, beside those that an earlier try has brought and those that lie here.
    pub damaged_bytes: u64,
    /// The bytes that an earlier try has brought.
    pub kept_bytes: u64,
    /// The damaged bytes that other files here hold.
    pub reused_bytes: u64,
    /// The bytes that came over the network.
    pub wire_bytes: u64,
    /// The bytes of the damaged files that did not have to come again.
    pub saved_bytes: u64,
    /// True when nothing was done yet.
    pub is_plan: bool,
}

/// A package that had damage.
#[derive(Debug, Serialize)]
pub struct RepairedPackage {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// Which build of it is here.
    pub variant: VariantId,
    /// The files that were damaged or missing.
    pub files: Vec<RepairedFile>,
}

/// A file that was damaged or missing.
#[derive(Debug, Clone, Serialize)]
pub struct RepairedFile {
    /// What was wrong with it.
    #[serde(flatten)]
    pub damage: DamagedFile,
    /// True when it is whole again.
    pub is_repaired: bool,
    /// Who gave the last of it: an address, a stick or a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why it is not whole yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl RepairReport {
    /// True when nothing is damaged any more.
    pub fn is_complete(&self) -> bool {
        self.packages.iter().flat_map(|package| &package.files).all(|file| file.is_repaired)
    }
}

/// Hashes packages again and brings the pieces that are damaged or missing.
///
/// # Errors
/// When a package is not here, the disk is too small, or nothing that is damaged could be brought: then why. What
/// came by then is kept, and the same command continues there.
pub fn repair(home: &Home, options: &RepairOptions, monitor: &dyn Monitor) -> Result<RepairReport> {
    let store = site::store(home);
    let _lock = if options.is_plan { None } else { Some(line::lock_in_turn(home, &options.line, monitor)?) };
    let meant = meant(&store, &options.packages, monitor)?;
    let checkup = check_up(&store, &meant, monitor);
    if !checkup.is_complete {
        return Err(Error::new(ErrorKind::Failed, "stopped before the end; nothing was changed"));
    }
    let mut report = report_of(&meant, &checkup, options.is_plan);
    let mut wanted = wanted(&meant, &checkup);
    for blob in wanted.values_mut() {
        blob.at_hand = AtHand::of((home, &store), blob, monitor)?;
        report.kept_bytes += blob.at_hand.kept_bytes;
        report.reused_bytes += blob.at_hand.reused_bytes;
        report.damaged_bytes = report.damaged_bytes.saturating_sub(blob.at_hand.bytes());
    }
    if options.is_plan {
        return Ok(report);
    }
    let folders = options.from.iter().map(|folder| Folder::open(folder)).collect::<Result<Vec<Folder>>>()?;
    sort_out(&store, &meant, &checkup)?;
    if !wanted.is_empty() {
        let names: BTreeSet<String> =
            wanted.values().map(|blob| format!("`{}`", blob.package.name())).collect();
        let names = names.into_iter().collect::<Vec<String>>().join(", ");
        monitor.note(&format!("out of use until it is whole again: {names}"));
        check_room(home, &wanted)?;
        let line = Line::open(home, &options.line)?;
        let mended = Bench::new(home, &store, &line, monitor).mend(&wanted, &options.from, &folders);
        // Those that are whole by now are whole however it ended.
        put_in_place(&store, &meant)?;
        let mended = mended?;
        report.wire_bytes = mended.wire_bytes;
        tell(&mut report, &meant, &mended)?;
    }
    put_in_place(&store, &meant)?;
    Ok(report)
}

/// A blob that is to be brought: its file, whose package has it, and what is wrong with it.
pub(super) struct WantedBlob<'a> {
    pub(super) file: &'a FileEntry,
    pub(super) package: &'a Installed,
    pub(super) damage: DamagedFile,
    /// What of the damage is here, as far as somebody has looked.
    pub(super) at_hand: AtHand,
}

/// Each damaged or missing blob once.
pub(super) fn wanted<'a>(meant: &'a [Installed], checkup: &Checkup) -> BTreeMap<Sha256, WantedBlob<'a>> {
    let mut wanted = BTreeMap::new();
    for package in meant {
        for damage in checkup.damaged_files(package) {
            let file = package.files().iter().find(|file| file.sha256 == damage.sha256);
            if let Some(file) = file {
                wanted.entry(damage.sha256).or_insert(WantedBlob {
                    file,
                    package,
                    damage,
                    at_hand: AtHand::default(),
                });
            }
        }
    }
    wanted
}

fn report_of(meant: &[Installed], checkup: &Checkup, is_plan: bool) -> RepairReport {
    let mut packages = Vec::new();
    let (mut damaged_bytes, mut saved_bytes) = (0, 0);
    for blob in wanted(meant, checkup).values() {
        let again_bytes = blob.damage.damaged_bytes();
        damaged_bytes += again_bytes;
        saved_bytes += blob.damage.size_bytes - again_bytes;
    }
    for package in meant {
        let files: Vec<RepairedFile> = checkup
            .damaged_files(package)
            .into_iter()
            .map(|damage| RepairedFile { damage, is_repaired: false, source: None, failure: None })
            .collect();
        if !files.is_empty() {
            packages.push(RepairedPackage {
                name: package.name().clone(),
                version: package.manifest.package.version.clone(),
                variant: package.variant.clone(),
                files,
            });
        }
    }
    let num_whole = meant.len() - packages.len();
    RepairReport {
        packages,
        num_whole,
        damaged_bytes,
        kept_bytes: 0,
        reused_bytes: 0,
        wire_bytes: 0,
        saved_bytes,
        is_plan,
    }
}

/// Takes what is damaged out of use, and back into use what was set aside and is whole all the same: a cable or a
/// memory that failed for a moment.
fn sort_out(store: &Store, meant: &[Installed], checkup: &Checkup) -> Result<()> {
    for package in meant {
        for damage in checkup.damaged_files(package) {
            store.set_aside(&damage.sha256)?;
        }
        for blob in checkup.wrongly_aside(package) {
            store.put_back(&blob)?;
        }
    }
    Ok(())
}

/// The repaired blob is built beside the damaged one.
fn check_room(home: &Home, wanted: &BTreeMap<Sha256, WantedBlob<'_>>) -> Result<()> {
    let staged_bytes =
        |digest: &Sha256| disk::allocated_bytes(&home.stick_staging().join(format!("{digest}.part")));
    let needed: u64 =
        wanted.iter().map(|(digest, blob)| blob.file.size_bytes.saturating_sub(staged_bytes(digest))).sum();
    let (free_bytes, needed_bytes) = (disk::free_bytes(home.root())?, needed.saturating_add(SPARE_BYTES));
    if needed == 0 || free_bytes >= needed_bytes {
        return Ok(());
    }
    let message = format!(
        "the disk has {free_bytes} bytes free where {needed_bytes} are needed: a repaired file is built beside the \
         damaged one"
    );
    Err(Error::new(ErrorKind::NoRoom, message)
        .with_hint("`localml gc` shows what could go; or repair one package at a time"))
}

/// Notes what became of each file. When nothing at all could be brought, the first failure is the news.
fn tell(report: &mut RepairReport, meant: &[Installed], mended: &Mended) -> Result<()> {
    let mut first_failure = None;
    for package in &mut report.packages {
        for file in &mut package.files {
            match mended.outcomes.get(&file.damage.sha256) {
                Some(Ok(source)) => {
                    file.is_repaired = true;
                    file.source.clone_from(source);
                }
                Some(Err(failure)) => {
                    file.failure = Some(failure.text.clone());
                    first_failure.get_or_insert((package.name.clone(), failure));
                }
                None => {}
            }
        }
    }
    let is_any_repaired = mended.outcomes.values().any(std::result::Result::is_ok);
    match first_failure {
        Some((name, failure)) if !is_any_repaired => {
            let deed = || format!("could not repair `{name}`");
            Err(failure.to_error())
                .while_doing(deed)
                .map_err(|error| with_way_out(error, meant, failure.kind))
        }
        _ => Ok(()),
    }
}

/// Where else the pieces may come from, when no source is left.
fn with_way_out(error: Error, meant: &[Installed], kind: ErrorKind) -> Error {
    let package = match meant {
        [only] => format!(" {}", only.name()),
        _ => String::new(),
    };
    match kind {
        ErrorKind::NotFound | ErrorKind::Network => {
            let cause = error.hint().map(|hint| format!("{hint}; or ")).unwrap_or_default();
            error.with_hint(format!(
                "{cause}`localml repair{package} --from DIR` takes the pieces from a stick or a folder; where there is \
                 no net, `localml request DIR` asks for these pieces alone, and `localml import DIR` brings them"
            ))
        }
        _ => error,
    }
}

/// Whole packages whose names still mean the damaged bytes.
fn put_in_place(store: &Store, meant: &[Installed]) -> Result<()> {
    for package in meant {
        let has_names = place_of(store, package)? != Place::Fetched;
        let is_whole =
            package.files().iter().all(|file| store.blob_path(&file.sha256, file.size_bytes).is_some());
        if has_names && is_whole {
            store.put_in_place(package)?;
        }
    }
    Ok(())
}
