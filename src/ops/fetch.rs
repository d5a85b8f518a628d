//! `fetch`: bring packages' bytes into the store, verified, and nothing more.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{FileEntry, Name, PackageRef, PieceList, VariantId, Version};
use crate::progress::Monitor;
use crate::store::Store;
use crate::transfer::{Client, DroppedSource, Fetched, SmallFile, Wanted};

use super::choice::{Choice, Chosen, Sources, Terms, choose, missing_bytes, missing_files};
use super::error::{Error, Result, While as _};
use super::fitting::Fitting;
use super::indexes;
use super::kit::MissingMember;
use super::line::{self, Line, LineOptions, LineReport};
use super::nearby;
use super::order;
use super::pricing;
use super::reuse::{self, Here};
use super::site;
use super::tally::Tally;

/// Room that is left free on the disk beside what is fetched, in bytes.
pub(super) const SPARE_BYTES: u64 = 64 * 1024 * 1024;

/// The longest piece list that is accepted, in bytes: 64 GiB in pieces of 4 MiB, with ample reserve.
const MAX_PIECE_LIST_BYTES: u64 = 16 * 1024 * 1024;

/// How to fetch.
#[derive(Debug, Default)]
pub struct FetchOptions {
    /// Only say what it would cost.
    pub is_plan: bool,
    /// What the line may cost, and where else to ask.
    pub line: LineOptions,
    /// Sticks and folders at hand: what they hold is taken from them first.
    pub from: Vec<PathBuf>,
    /// Fetch also what does not fit this machine's memory.
    pub ignores_fit: bool,
    /// Use an index that is very old.
    pub accepts_stale: bool,
}

/// What was fetched, or would be.
#[derive(Debug, Serialize)]
pub struct FetchReport {
    /// The packages, with what each depends on.
    pub packages: Vec<FetchedPackage>,
    /// The bytes that were missing, after what an earlier try had brought and what lies here in other files was used.
    pub missing_bytes: u64,
    /// The bytes that an earlier try had brought.
    pub kept_bytes: u64,
    /// The bytes that were copied from other files here, piece by piece.
    pub reused_bytes: u64,
    /// The bytes that came over the wire.
    pub wire_bytes: u64,
    /// The bytes of these packages that did not have to be fetched.
    pub saved_bytes: u64,
    /// Members of kits that no registry known here has.
    pub missing: Vec<MissingMember>,
    /// True when it may cost less: which pieces are new is told only when the network is asked.
    pub is_upper_bound: bool,
    /// True when nothing was done yet.
    pub is_plan: bool,
    /// The sources that were left for what they sent.
    pub dropped: Vec<DroppedSource>,
    /// What the line cost, and what it may still cost.
    pub line: LineReport,
}

/// One package of a report.
#[derive(Debug, Serialize)]
pub struct FetchedPackage {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// The build that was chosen.
    pub variant: VariantId,
    /// The bytes of its files.
    pub size_bytes: u64,
    /// The bytes that were missing, after reuse.
    pub missing_bytes: u64,
    /// The bytes that an earlier try had brought.
    pub kept_bytes: u64,
    /// The bytes that were copied from other files here.
    pub reused_bytes: u64,
    /// True when it may cost less than `missing_bytes`.
    pub is_upper_bound: bool,
    /// False in a plan when budget or time will not do for it, after those before it.
    pub fits: bool,
    /// Its licence.
    pub license: String,
    /// True when the licence forbids some uses.
    pub is_restricted: bool,
    /// True when it was installed already.
    pub was_installed: bool,
}

/// Brings packages and what they require into the store.
///
/// # Errors
/// When a name is unknown, the disk is too small, the network fails, or bytes are not as promised.
/// What is verified by then is kept, and the same command continues there.
pub fn fetch(
    home: &Home,
    packages: &[PackageRef],
    options: &FetchOptions,
    monitor: &dyn Monitor,
) -> Result<FetchReport> {
    fetch_choices(home, packages, options, &mut Keeping, monitor)
}

/// Who takes what is fetched; called under the lock.
pub(super) trait Reception {
    /// Takes a package as soon as all its bytes are here.
    fn take(&mut self, store: &Store, choice: &Choice) -> Result<()>;

    /// False when a package need not be begun after what came, or did not, before it.
    fn wants(&mut self, _choice: &Choice) -> bool {
        true
    }

    /// Hears that a package did not come; `Err` ends the run.
    fn lack(&mut self, _choice: &Choice, error: Error) -> Result<()> {
        Err(error)
    }
}

/// Keeps what comes, to be carried on.
struct Keeping;

impl Reception for Keeping {
    fn take(&mut self, store: &Store, choice: &Choice) -> Result<()> {
        Ok(store.keep(&choice.to_installed())?)
    }
}

pub(super) fn fetch_choices(
    home: &Home,
    packages: &[PackageRef],
    options: &FetchOptions,
    reception: &mut dyn Reception,
    monitor: &dyn Monitor,
) -> Result<FetchReport> {
    let store = site::store(home);
    // Held from the choice to the last record, so that nobody removes in between what this counts on.
    let _lock = if options.is_plan { None } else { Some(line::lock_in_turn(home, &options.line, monitor)?) };
    let fitting = Fitting::here(options.ignores_fit);
    let terms = Terms { fitting, accepts_stale: options.accepts_stale, monitor };
    let chosen = choose(packages, &indexes::load(home)?, &store, &terms)?;
    if options.is_plan {
        return plan((home, &store), chosen, options, monitor);
    }
    let line = Line::open(home, &with_folders(options))?;
    let choices = in_order((home, &store), chosen.choices, (&options.line, Some(&line)), monitor)?;
    let mut report = FetchReport { missing: chosen.missing, ..report_of(&choices, &store, false) };
    check_room(home, &choices, &store)?;
    nearby::take_from_sticks(home, &store, &choices, &options.from, monitor)?;
    let spent = || line.spent_bytes();
    let files = pricing::foresee(home, &store, missing_files(&choices, &store), monitor)?;
    let tally = Tally::begin(monitor, files, report.saved_bytes, &spent);
    let desk = Desk { home, store: &store, client: line.client(), monitor, tally: &tally };
    let packages = report.packages.iter_mut();
    let mut whole = Vec::new();
    for (choice, package) in choices.iter().zip(packages).filter(|(choice, _)| !choice.is_installed) {
        if !reception.wants(choice) {
            continue;
        }
        let mut note = |fetched: Fetched| {
            report.wire_bytes += fetched.wire_bytes;
            report.kept_bytes += fetched.reused_bytes;
            report.reused_bytes += fetched.copied_bytes;
            report.dropped.extend(fetched.dropped);
            let here = Here { kept_bytes: fetched.reused_bytes, reused_bytes: fetched.copied_bytes };
            reuse::note(package, here);
        };
        let came = fetch_files(&desk, choice, &mut note).and_then(|()| reception.take(&store, choice));
        match came {
            Ok(()) => whole.push(choice.name()),
            Err(error) => {
                reception.lack(choice, error).inspect_err(|_| tell_what_came(&whole, monitor))?;
            }
        }
    }
    let here_bytes = report.kept_bytes + report.reused_bytes;
    report.missing_bytes = report.missing_bytes.saturating_sub(here_bytes);
    report.saved_bytes += here_bytes;
    report.line = line.report();
    Ok(report)
}

/// Says what it would cost.
fn plan(
    (home, store): (&Home, &Store),
    chosen: Chosen,
    options: &FetchOptions,
    monitor: &dyn Monitor,
) -> Result<FetchReport> {
    let line = reuse::line_for_plan(home, &options.line)?;
    let choices = in_order((home, store), chosen.choices, (&options.line, line.as_ref()), monitor)?;
    let mut report = FetchReport { missing: chosen.missing, ..report_of(&choices, store, true) };
    reuse::plan(&mut report, &choices, (home, store), line.as_ref().map(Line::client), monitor)?;
    report.line = line::look(home, &options.line)?;
    mark_what_fits(&mut report);
    Ok(report)
}

/// What is required first; where money or time may end before all is here, what costs least, too.
fn in_order(
    (home, store): (&Home, &Store),
    choices: Vec<Choice>,
    (options, line): (&LineOptions, Option<&Line>),
    monitor: &dyn Monitor,
) -> Result<Vec<Choice>> {
    if !order::is_limited(options) {
        return Ok(order::required_first(choices));
    }
    if let Some(line) = line {
        pricing::ask(store, &choices, line.client(), monitor)?;
    }
    let build = |choice: &Choice| {
        let (version, variant) = (choice.manifest.package.version.clone(), choice.variant.id.clone());
        (choice.name().clone(), version, variant)
    };
    let mut costs: HashMap<(Name, Version, VariantId), u64> = HashMap::new();
    for choice in &choices {
        costs.insert(build(choice), pricing::left_bytes(home, store, choice, monitor)?);
    }
    Ok(order::smallest_first(choices, |choice| costs.get(&build(choice)).copied().unwrap_or_default()))
}

/// Where something ends the work, says what it was good for.
fn tell_what_came(whole: &[&Name], monitor: &dyn Monitor) {
    if !whole.is_empty() {
        let names: Vec<String> = whole.iter().map(|name| format!("`{name}`")).collect();
        monitor.note(&format!("whole by then, and kept: {}", names.join(", ")));
    }
}

/// Brings what is missing of one choice into the store, over a line that is open. The caller holds the home's
/// lock.
///
/// # Errors
/// As `fetch`.
pub(super) fn bring(
    home: &Home,
    store: &Store,
    line: &Line,
    choice: &Choice,
    monitor: &dyn Monitor,
) -> Result<()> {
    let spent = || line.spent_bytes();
    let files = missing_files(std::slice::from_ref(choice), store);
    let tally = Tally::begin(monitor, pricing::foresee(home, store, files, monitor)?, 0, &spent);
    let desk = Desk { home, store, client: line.client(), monitor, tally: &tally };
    fetch_files(&desk, choice, &mut |_| ())
}

/// Brings each file that is missing, and notes what it cost.
fn fetch_files(desk: &Desk<'_>, choice: &Choice, note: &mut dyn FnMut(Fetched)) -> Result<()> {
    for (file, sources) in choice.missing(desk.store) {
        let deed = || format!("could not fetch `{}`", choice.name());
        note(fetch_file(desk, choice.name(), file, sources).while_doing(deed)?);
    }
    Ok(())
}

/// Folders at hand are asked as neighbours are, before the network.
fn with_folders(options: &FetchOptions) -> LineOptions {
    let mut line = options.line.clone();
    line.peers.splice(0..0, nearby::blob_folders(&options.from));
    line
}

/// In a plan: which packages the budget and the time will do for, in the order in which they would be fetched.
fn mark_what_fits(report: &mut FetchReport) {
    let mut bytes = 0;
    for package in &mut report.packages {
        bytes += package.missing_bytes;
        package.fits = report.line.is_enough_for(bytes);
    }
}

pub(super) fn report_of(choices: &[Choice], store: &Store, is_plan: bool) -> FetchReport {
    let missing_bytes = missing_bytes(choices, store);
    let packages: Vec<FetchedPackage> = choices
        .iter()
        .map(|choice| FetchedPackage {
            name: choice.name().clone(),
            version: choice.manifest.package.version.clone(),
            variant: choice.variant.id.clone(),
            size_bytes: choice.variant.size_bytes(),
            missing_bytes: choice.missing(store).iter().map(|(file, _)| file.size_bytes).sum(),
            kept_bytes: 0,
            reused_bytes: 0,
            is_upper_bound: false,
            fits: true,
            license: choice.manifest.package.license.clone(),
            is_restricted: choice.manifest.package.restricted,
            was_installed: choice.is_installed,
        })
        .collect();
    let all_bytes: u64 = packages.iter().map(|package| package.size_bytes).sum();
    FetchReport {
        packages,
        missing_bytes,
        kept_bytes: 0,
        reused_bytes: 0,
        is_upper_bound: false,
        wire_bytes: 0,
        saved_bytes: all_bytes.saturating_sub(missing_bytes),
        missing: Vec::new(),
        is_plan,
        dropped: Vec::new(),
        line: LineReport::default(),
    }
}

/// Says no before the first byte, not at the last. What an earlier try left in staging needs no room again.
fn check_room(home: &Home, choices: &[Choice], store: &Store) -> Result<()> {
    let left_bytes = |file: &FileEntry| file.size_bytes - staged_bytes(home, file);
    let missing_bytes: u64 = missing_files(choices, store).map(left_bytes).sum();
    if missing_bytes == 0 {
        return Ok(());
    }
    let free_bytes = disk::free_bytes(home.root())?;
    let needed_bytes = missing_bytes.saturating_add(SPARE_BYTES);
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    let message = format!("the disk has {free_bytes} bytes free where {needed_bytes} are needed");
    Err(Error::new(ErrorKind::NoRoom, message)
        .with_hint("`localml gc` shows what could go and `localml remove` frees a package; or use a larger disk with `--home`"))
}

/// The room that the part file of an earlier try takes on the disk; holes in it take none.
fn staged_bytes(home: &Home, file: &FileEntry) -> u64 {
    let part = home.staging().join(format!("{}.part", file.sha256));
    disk::allocated_bytes(&part).min(file.size_bytes)
}

/// What every file of a fetch needs.
struct Desk<'a> {
    home: &'a Home,
    store: &'a Store,
    client: &'a Client,
    monitor: &'a dyn Monitor,
    /// Adds the files up.
    tally: &'a Tally<'a>,
}

fn fetch_file(desk: &Desk<'_>, package: &Name, file: &FileEntry, sources: &Sources) -> Result<Fetched> {
    let Desk { home, store, client, monitor, tally } = *desk;
    let pieces = match reuse::known_piece_list(home, store, file) {
        Some(list) => store.keep_piece_list(&list).map(|_| Some(list))?,
        None => piece_list(store, client, file, sources, monitor)?,
    };
    let reuse = match &pieces {
        Some(list) => {
            reuse::cut_what_is_here(store, package, monitor)?;
            reuse::pieces_at_hand(home, store, file, list)?
        }
        None => Vec::new(),
    };
    let wanted = Wanted {
        name: file.path.to_string(),
        digest: file.sha256,
        size_bytes: file.size_bytes,
        sources: sources.file.clone(),
        pieces,
        reuse,
    };
    let fetched = client.fetch(&wanted, &home.staging(), tally)?;
    store.adopt(&fetched.staged, &file.sha256)?;
    nearby::forget_part_from_sticks(home, &file.sha256)?;
    Ok(fetched)
}

/// The file's piece list: from the store, else from the registry. Without one the file is still checked whole.
pub(super) fn piece_list(
    store: &Store,
    client: &Client,
    file: &FileEntry,
    sources: &Sources,
    monitor: &dyn Monitor,
) -> Result<Option<PieceList>> {
    let (Some(digest), Some(url)) = (file.pieces, &sources.piece_list) else {
        return Ok(None);
    };
    // A damaged one is fetched again.
    if let Some(list) = store.piece_list(&digest).ok().flatten() {
        return Ok(Some(list));
    }
    let is_right = |bytes: &[u8]| Sha256::of(bytes) == digest;
    let wanted = SmallFile { is_right: Some(&is_right), ..SmallFile::at(url, MAX_PIECE_LIST_BYTES) };
    let bytes = match client.get_small(&wanted, monitor) {
        Ok(bytes) => bytes,
        Err(error) if error.ends_the_run() => return Err(error.into()),
        // It only saves data later; the file itself does not need it.
        Err(_) => return Ok(None),
    };
    match parse_piece_list(&bytes, &digest, file.size_bytes) {
        Some(list) => {
            store.keep_piece_list(&list)?;
            Ok(Some(list))
        }
        None => {
            monitor.warn(&format!(
                "the piece list of `{}` is damaged; the whole file is checked instead",
                file.path
            ));
            Ok(None)
        }
    }
}

fn parse_piece_list(bytes: &[u8], digest: &Sha256, size_bytes: u64) -> Option<PieceList> {
    if Sha256::of(bytes) != *digest {
        return None;
    }
    let list = PieceList::parse(std::str::from_utf8(bytes).ok()?).ok()?;
    (list.size_bytes() == size_bytes).then_some(list)
}
