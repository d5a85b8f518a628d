//! `sync`: the courier's one command. What sites ask for and the courier carries is fetched and put on the stick,
//! the smallest useful set first, within money and minutes.
//!
//! ```text
//! stick: letters ─┐
//! command line ───┼─ errands ─ plan ─┬─ fetch one ─ export one ─┐   until nothing fits any more
//! courier's list ─┘   (what lacks)   └──────────────────────────┘
//! ```
//!
//! Each package is a bundle of its own, or one of a few small ones: committed and read back before the next long
//! fetch begins, so that the stick may be pulled out whenever nothing is being written. Nothing is remembered
//! between two runs but what lies in the store, in its staging folder and on the stick: running it again goes on.

mod aboard;
mod carry;
mod errand;
mod here;
mod list;
mod listen;
mod outline;
mod plan;
mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::PackageRef;
use crate::progress::Monitor;
use crate::registry::{Outcome as Change, VerifiedIndex};
use crate::store::Store;

use super::addressee::{Addressee, addressees};
use super::error::{Error, Result};
use super::indexes;
use super::letters;
use super::line::{Line, LineOptions, look};
use super::outdated::candidates;
use super::pace;
use super::removable;
use super::site;
use super::update::{UpdateOptions, UpdateReport, update_over};
use super::wishlist;

use aboard::Aboard;
use carry::Trip;
use errand::Gathering;
use here::sync_here;
use listen::Once;

pub use errand::{Reason, UnmetWish};
pub use here::SyncHereReport;
pub use list::{ListedFile, SyncListReport, sync_list};
pub use plan::Shortage;
pub use report::{BroughtPackage, End, State, SyncReport, SyncedPackage, SyncedSite};

/// How long a package waits for a line that is down: others wait for their turn, and the stick for what is here.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(120);

/// What to take along, and within which limits.
#[derive(Debug, Clone, Default)]
pub struct SyncOptions {
    /// The stick's folder; the only stick there is when absent.
    pub stick: Option<PathBuf>,
    /// Packages and kits to take along this time.
    pub packages: Vec<PackageRef>,
    /// Sites, by id or label, that are served beside those whose letters lie on the stick.
    pub sites: Vec<String>,
    /// Packages and kits to put on the courier's list, which every later `sync` takes along too.
    pub keep: Vec<PackageRef>,
    /// Packages and kits to take off that list.
    pub drop: Vec<PackageRef>,
    /// What the line may cost.
    pub line: LineOptions,
    /// Only say what would be done.
    pub is_plan: bool,
    /// Fetch nothing that cannot be completed this time.
    pub is_whole_only: bool,
    /// Use an index that is very old.
    pub accepts_stale: bool,
}

/// What became of a `sync`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Synced {
    /// A stick took what its sites lack.
    Stick(Box<SyncReport>),
    /// There is no stick: what is installed here was brought up to date.
    Here(Box<SyncHereReport>),
}

/// Fetches what the sites of a stick lack and writes it there; where no stick is and none was named, brings what is
/// installed here up to date. When it returns, the stick is safe to remove, also
/// when money, time or patience ended before.
///
/// # Errors
/// When no stick is there or it cannot be written, a package that was named is unknown, or a record here is damaged.
/// What stops single packages is in the report.
pub fn sync(home: &Home, options: &SyncOptions, monitor: &dyn Monitor) -> Result<Synced> {
    let once = Once::new(monitor);
    let monitor: &dyn Monitor = &once;
    match removable::stick_if_any(options.stick.as_deref(), monitor)? {
        Some(stick) => {
            let list = match options.is_plan {
                true => wishlist::changed(home, &options.keep, &options.drop)?,
                false => wishlist::change(home, &options.keep, &options.drop)?,
            };
            let report = sync_stick(home, &stick, (options, list), monitor)?;
            Ok(Synced::Stick(Box::new(report)))
        }
        None if is_for_a_stick(options) => Err(no_stick()),
        None => {
            monitor.note(
                "no stick is plugged in and none is named: what is installed here is brought up to date",
            );
            Ok(Synced::Here(Box::new(sync_here(home, options, monitor)?)))
        }
    }
}

/// True when something was said that means a stick.
fn is_for_a_stick(options: &SyncOptions) -> bool {
    let is_named = [&options.packages, &options.keep, &options.drop].iter().any(|list| !list.is_empty());
    is_named || !options.sites.is_empty() || options.is_whole_only
}

fn no_stick() -> Error {
    Error::new(ErrorKind::Usage, "no stick is plugged in and none is named; nothing was fetched or changed").with_hint(
        "`--site`, `--keep`, `--drop`, `--only-whole` and packages are for a stick: name its folder, for example \
         `localml sync /media/usb --keep clinic-kit`; without any of them `localml sync` brings this PC up to date",
    )
}

fn sync_stick(
    home: &Home,
    stick: &Path,
    (options, list): (&SyncOptions, Vec<PackageRef>),
    monitor: &dyn Monitor,
) -> Result<SyncReport> {
    let facts = pace::look_at(stick)?;
    if options.is_plan {
        let desk = Desk::open(home, Some(stick), options, list, monitor)?;
        let gathering = desk.gather(monitor)?;
        let line = look(home, &options.line)?;
        return Trip::new((&desk, stick), gathering, monitor).plan(line, facts);
    }
    let line =
        Line::open(home, &LineOptions { outage_patience: Some(OUTAGE_PATIENCE), ..options.line.clone() })?;
    let registries = refresh(home, options, &line, monitor);
    let mut desk = Desk::open(home, Some(stick), options, list, monitor)?;
    desk.has_news = registries.as_ref().is_some_and(brings_news);
    let gathering = desk.gather(monitor)?;
    let mut report = Trip::new((&desk, stick), gathering, monitor).travel(&line, facts)?;
    report.registries = registries;
    Ok(report)
}

/// Brings the signed lists up to date. Without them it goes on with those that are known.
fn refresh(home: &Home, options: &SyncOptions, line: &Line, monitor: &dyn Monitor) -> Option<UpdateReport> {
    if options.line.is_offline {
        return None;
    }
    let update = UpdateOptions { line: options.line.clone(), ..UpdateOptions::default() };
    match update_over(home, &update, line, monitor) {
        Ok(report) => {
            for failure in &report.failures {
                let causes: String = failure.causes.iter().map(|cause| format!(": {cause}")).collect();
                monitor
                    .warn(&format!("`{}` could not be refreshed: {}{causes}", failure.name, failure.message));
            }
            Some(report)
        }
        Err(error) => {
            monitor.warn(&format!("the lists could not be refreshed: {}", error.in_one_line()));
            None
        }
    }
}

fn brings_news(update: &UpdateReport) -> bool {
    update.registries.iter().any(|registry| registry.outcome == Change::Newer)
}

/// All that a trip is decided by.
struct Desk<'a> {
    home: &'a Home,
    /// Absent for a list of what is missing, where no stick is.
    stick: Option<&'a Path>,
    options: &'a SyncOptions,
    store: Store,
    indexes: Vec<VerifiedIndex>,
    aboard: Aboard,
    addressees: Vec<Addressee>,
    list: Vec<PackageRef>,
    /// True when the lists here are newer than they were.
    has_news: bool,
}

impl<'a> Desk<'a> {
    /// Reads the stick's letters, what lies on it, and every index.
    fn open(
        home: &'a Home,
        stick: Option<&'a Path>,
        options: &'a SyncOptions,
        list: Vec<PackageRef>,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let letters = match stick {
            Some(stick) => letters::take_in_stick(home, stick, monitor)?,
            None => letters::TakenIn::default(),
        };
        letters.remarks.iter().for_each(|remark| monitor.warn(&remark.to_string()));
        let mut sites: Vec<String> = letters.sites.iter().map(ToString::to_string).collect();
        sites.extend(options.sites.iter().cloned());
        if sites.is_empty() && options.packages.is_empty() && stick.is_some() {
            // A new stick: it goes to the sites that are known.
            sites = letters::all(home, monitor).iter().map(|record| record.site.to_string()).collect();
        }
        let indexes = indexes::load(home)?;
        for index in &indexes {
            // Said once, here; a very old one stops single packages.
            indexes::check_age(index, true, monitor)?;
        }
        Ok(Self {
            home,
            stick,
            options,
            store: site::store(home),
            indexes,
            aboard: stick.map(Aboard::read).transpose()?.unwrap_or_default(),
            addressees: addressees(home, &[], &sites, monitor)?,
            list,
            has_news: false,
        })
    }

    /// What each site lacks, and what the courier takes along for all.
    fn gather<'d>(&'d self, monitor: &'d dyn Monitor) -> Result<Gathering<'d>> {
        let Self { home, store, indexes, aboard, options, .. } = self;
        let mut gathering = Gathering::new(home, store, indexes, aboard, (options.accepts_stale, monitor))?;
        self.addressees.iter().for_each(|site| gathering.serve(site));
        let everyone = [None];
        let sites: Vec<Option<&_>> = match self.addressees.is_empty() {
            true => everyone.to_vec(),
            false => self.addressees.iter().map(Some).collect(),
        };
        for site in sites {
            for package in &options.packages {
                gathering.wish(package, Reason::Named, site)?;
            }
            for package in &self.list {
                gathering.try_listed(package, site);
            }
        }
        let is_empty = self.addressees.is_empty() && options.packages.is_empty() && self.list.is_empty();
        match (is_empty, self.stick) {
            (true, Some(stick)) => Err(nothing_to_do(stick)),
            (true, None) => {
                self.gather_newer(&mut gathering)?;
                Ok(gathering)
            }
            (false, _) => Ok(gathering),
        }
    }

    /// Newer versions of what is installed here.
    fn gather_newer(&self, gathering: &mut Gathering<'_>) -> Result<()> {
        for candidate in candidates(&self.store, &self.indexes)? {
            gathering.try_wish(&candidate.newest, Reason::Newer, None);
        }
        match gathering.errands.is_empty() && gathering.unmet.is_empty() {
            true => Err(list::nothing_wished()),
            false => Ok(()),
        }
    }
}

fn nothing_to_do(stick: &Path) -> Error {
    let shown = stick.display();
    let message =
        format!("`{shown}` carries no letter of a site, no site is known here, and no package is named");
    Error::new(ErrorKind::NotFound, message).with_hint(format!(
        "`localml request {shown}` at a site leaves a letter; `localml sync {shown} PACKAGE` takes packages along \
         for any site"
    ))
}
