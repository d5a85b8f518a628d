//! `gc`: what no package here needs, with its size, age and reason; removed only when that is asked for.
//!
//! Nothing that a record speaks of is ever on the list. Everything else is removed one by one, each in a step that
//! leaves the store as good as before; stopped or killed in between, the next run finds the rest.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::progress::{Monitor, Unit};
use crate::registry::Calendar;
use crate::store::{Installed, Store, StoreError};

use super::bytes_here::bytes_here;
use super::checkup::{Place, place_of};
use super::error::{Error, Result};
use super::indexes;
use super::leftovers::{Leftover, look_for};
use super::site;

/// What may go.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// Only say what would go.
    pub is_plan: bool,
    /// Downloads and imports that were not completed go too, whatever their age.
    pub takes_partial: bool,
    /// Downloads and imports that were not completed go too when nothing was added to them for so long.
    pub older_than: Option<Duration>,
    /// The versions that are kept for `rollback` go too, and those that were fetched before later ones.
    pub drops_previous: bool,
}

/// What went, or would go.
#[derive(Debug, Serialize)]
pub struct GcReport {
    /// Everything that no package needs, and what is kept of it.
    pub items: Vec<GcItem>,
    /// The bytes freed on the disk.
    pub freed_bytes: u64,
    /// The bytes of what is kept until it is asked for.
    pub kept_bytes: u64,
    /// True when nothing was done yet.
    pub is_plan: bool,
}

/// Something that no package needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GcItem {
    /// What it is.
    pub what: GcKind,
    /// Where it lies in the home.
    pub path: PathBuf,
    /// The room that it alone takes on the disk; what other files share is not counted.
    pub size_bytes: u64,
    /// The bytes of what lies there, however much of their room other files share.
    pub here_bytes: u64,
    /// How long ago it was last written to; not known where this machine's clock was wrong, then or now.
    pub age_seconds: Option<u64>,
    /// The package that it belongs to, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Why it is not needed, or why it is kept.
    pub reason: &'static str,
    /// True when it goes, or would go.
    pub goes: bool,
}

/// What something is that no package needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GcKind {
    /// A verified file that no package speaks of.
    Blob,
    /// The version of an installed package that `rollback` goes back to, or one that was fetched before a later one.
    Previous,
    /// A download or an import that was not completed.
    Partial,
    /// A file that was found damaged and set aside.
    Damaged,
    /// A whole download whose digest was wrong.
    Suspect,
    /// A piece list.
    PieceList,
    /// A package's files under their own names.
    PackageFiles,
    /// What a write that was cut off has left.
    Temporary,
}

/// Looks for what no package needs, and removes it unless it is only a plan.
///
/// # Errors
/// When a record is damaged (nobody knows then what it needs), another localml is at work, the disk refuses, or it
/// was stopped; what was removed by then is gone, and nothing that is needed is.
pub fn gc(home: &Home, options: &GcOptions, monitor: &dyn Monitor) -> Result<GcReport> {
    let store = site::store(home);
    let _lock = if options.is_plan { None } else { Some(site::lock(home)?) };
    let calendar = indexes::calendar(home);
    let mut leftovers = look_for(home, &store, options, calendar)?;
    leftovers.extend(older_versions(home, &store, options, calendar)?);
    leftovers
        .sort_by(|left, right| (left.item.what, &left.item.path).cmp(&(right.item.what, &right.item.path)));
    count_room(home, &mut leftovers);
    let (goes, kept): (Vec<&Leftover>, Vec<&Leftover>) = leftovers.iter().partition(|left| left.item.goes);
    let sum = |leftovers: &[&Leftover]| leftovers.iter().map(|left| left.item.size_bytes).sum();
    let (freed_bytes, kept_bytes) = (sum(&goes), sum(&kept));
    if !options.is_plan {
        remove_all(home, &goes, monitor)?;
    }
    let items = leftovers.into_iter().map(|left| left.item).collect();
    Ok(GcReport { items, freed_bytes, kept_bytes, is_plan: options.is_plan })
}

/// What stays for a way back, and what was fetched before a later version of the same build was.
fn older_versions(
    home: &Home,
    store: &Store,
    options: &GcOptions,
    calendar: Calendar,
) -> Result<Vec<Leftover>> {
    let here = [store.installed()?, store.fetched()?].concat();
    let is_replaced = |older: &Installed| here.iter().any(|other| is_later_of(other, older));
    let fetched: Vec<Installed> = store.fetched()?.into_iter().filter(is_replaced).collect();
    let stays = here.iter().filter(|it| !fetched.contains(it));
    let mut needed: HashSet<Sha256> = stays.flat_map(Installed::files).map(|file| file.sha256).collect();
    let mut own_blobs = |older: &Installed| -> Vec<PathBuf> {
        let own = older.files().iter().filter(|file| needed.insert(file.sha256));
        own.filter_map(|file| store.blob_path(&file.sha256, file.size_bytes)).collect()
    };
    let mut leftovers = damaged_records(store, options, calendar);
    for older in store.previous()? {
        let folder = store.package_folder(&older);
        let paths = [own_blobs(&older), vec![folder.clone()]].concat();
        let item = older_version(options, calendar, &older, WAY_BACK);
        leftovers.push((folder, Leftover { item, paths, record: Some(older) }));
    }
    for older in fetched {
        let paths = own_blobs(&older);
        let item = older_version(options, calendar, &older, FETCHED_BEFORE);
        leftovers.push((store.fetched_path(&older), Leftover { item, paths, record: Some(older) }));
    }
    for (place, left) in &mut leftovers {
        left.item.here_bytes = left.paths.iter().map(|path| bytes_here(path, |_| None)).sum();
        left.item.path = place.strip_prefix(home.root()).map_or_else(|_| place.clone(), Path::to_owned);
    }
    Ok(leftovers.into_iter().map(|(_, left)| left).collect())
}

/// The records of versions before that cannot be read. What they alone needed goes with them, or after them.
fn damaged_records(store: &Store, options: &GcOptions, calendar: Calendar) -> Vec<(PathBuf, Leftover)> {
    let (kept, goes) = NO_WAY_BACK;
    let leftover = |(path, _): (PathBuf, StoreError)| {
        let written = path.metadata().and_then(|metadata| metadata.modified()).ok();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let item = GcItem {
            what: GcKind::Previous,
            path: PathBuf::new(),
            size_bytes: 0,
            here_bytes: 0,
            age_seconds: written.and_then(|written| calendar.age_seconds(written)),
            package: stem.split('+').next().map(str::to_owned),
            reason: if options.drops_previous { goes } else { kept },
            goes: options.drops_previous,
        };
        (path.clone(), Leftover { item, paths: vec![path], record: None })
    };
    store.damaged_previous().into_iter().map(leftover).collect()
}

/// Why an older version is kept, and what is said when it goes.
type Reasons = (&'static str, &'static str);

const WAY_BACK: Reasons = (
    "kept for `localml rollback`; `--drop-previous` removes it",
    "an older version; without it there is no way back",
);
const NO_WAY_BACK: Reasons = (
    "its record is damaged: there is no way back to it; `--drop-previous` removes it, and what it needed",
    "its record is damaged: there was no way back to it",
);
const FETCHED_BEFORE: Reasons = (
    "fetched before a later version of this build; `--drop-previous` removes it",
    "an older version that was fetched; a later one of this build is here",
);

/// True for a later version of the same build from the same publisher.
fn is_later_of(other: &Installed, older: &Installed) -> bool {
    other.name() == older.name()
        && other.variant == older.variant
        && other.origin == older.origin
        && other.manifest.package.version > older.manifest.package.version
}

fn older_version(
    options: &GcOptions,
    calendar: Calendar,
    older: &Installed,
    (kept, goes): Reasons,
) -> GcItem {
    let (head, variant) = (&older.manifest.package, &older.variant);
    let recorded = UNIX_EPOCH.checked_add(Duration::from_secs(older.installed_at));
    GcItem {
        what: GcKind::Previous,
        path: PathBuf::new(),
        size_bytes: 0,
        here_bytes: 0,
        age_seconds: recorded.and_then(|recorded| calendar.age_seconds(recorded)),
        package: Some(format!("{}@{}:{variant}", head.name, head.version)),
        reason: if options.drops_previous { goes } else { kept },
        goes: options.drops_previous,
    }
}

/// Counts what each removal frees: a file's room is free when its last name goes.
fn count_room(home: &Home, leftovers: &mut [Leftover]) {
    // Kept ones are counted for themselves, those that go together.
    for goes in [true, false] {
        let mut names: HashMap<(u64, u64), u64> = HashMap::new();
        for left in leftovers.iter_mut().filter(|left| left.item.goes == goes) {
            let mut size_bytes = 0;
            for file in left.paths.iter().flat_map(|path| disk::files_below(&home.root().join(path))) {
                let num_going = names.entry(file.identity).or_default();
                *num_going += 1;
                if *num_going == file.num_names {
                    size_bytes += file.allocated_bytes;
                }
            }
            left.item.size_bytes = size_bytes;
        }
    }
}

fn remove_all(home: &Home, leftovers: &[&Leftover], monitor: &dyn Monitor) -> Result<()> {
    let store = site::store(home);
    let task = monitor.start("removing", Some(leftovers.len() as u64), Unit::Items);
    for (num_removed, left) in leftovers.iter().enumerate() {
        match &left.record {
            Some(older) => {
                check_goes_on(monitor, num_removed)?;
                match place_of(&store, older)? {
                    Place::Fetched => store.remove(older)?,
                    Place::Installed | Place::Previous => store.forget_previous(older)?,
                };
            }
            None => {
                for path in &left.paths {
                    check_goes_on(monitor, num_removed)?;
                    disk::remove_any(path)?;
                }
            }
        }
        task.advance(1);
    }
    Ok(())
}

fn check_goes_on(monitor: &dyn Monitor, num_removed: usize) -> Result<()> {
    if !monitor.is_cancelled() {
        return Ok(());
    }
    let message = format!("stopped; {num_removed} things were removed, and nothing that a package needs");
    Err(Error::new(ErrorKind::Failed, message)
        .with_hint("run the same command again; it goes on with the rest"))
}
