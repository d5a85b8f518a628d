//! `localml sync`.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::line::{LineArgs, story};
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{
    End, Error, PaceSource, Reason, Shortage, SiteId, State, SyncHereReport, SyncListReport, SyncOptions,
    SyncReport, Synced, SyncedPackage, UnmetWish, sync, sync_list,
};
use crate::package::PackageRef;
use crate::progress::counted;

use super::sites::site_name;
use super::upgrade::stays;

/// Fetch what the sites of a stick lack and write it there, within money and time
///
/// It reads the letters of sites on the stick, refreshes the signed lists, fetches what the sites asked for and
/// newer versions of what they have, and puts each package on the stick as soon as it is here, the smallest
/// first. Whenever it ends (done, out of money or time, Ctrl-C), what is on the stick is whole and the stick is
/// safe to remove. The same command goes on where it stopped, on another day too, and pays for nothing twice.
///
/// Without a stick it brings what is installed on this PC up to date, for a site that is online now and then.
/// `--list FILE` writes down the addresses of what is missing, for a PC on which nothing may be run but a browser
/// or a download manager; `localml import FOLDER` takes what came.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml sync /media/usb --plan\n  localml sync /media/usb --budget 2GB --within 45m\n  localml sync /media/usb clinic-kit --until 18:00\n  localml sync /media/usb --keep localml-handbook\n  localml sync --list /media/usb/missing.html clinic-kit\n  localml sync --budget 200MB"
)]
pub(crate) struct Args {
    /// The folder where the stick is mounted; may be left out when only one is, or none
    #[arg(value_name = "STICK")]
    stick: Option<PathBuf>,
    /// Packages and kits to take along this time, for every site of the stick
    #[arg(value_name = "PACKAGES")]
    packages: Vec<PackageRef>,
    /// Serve this site too, by its newest letter that is known here; may be given again
    #[arg(long, value_name = "ID|NAME")]
    site: Vec<String>,
    /// Put a package or kit on your list: every later sync takes it along too; may be given again
    #[arg(long, value_name = "PACKAGE")]
    keep: Vec<PackageRef>,
    /// Take a package or kit off your list; may be given again
    #[arg(long, value_name = "PACKAGE")]
    drop: Vec<PackageRef>,
    /// Only write what is missing to FILE: a page to click for *.html, bare addresses for *.urls (`wget -i`), else
    /// text that `aria2c -i` takes; with it, packages may be named without a stick
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    list: Option<PathBuf>,
    /// Say what would be fetched and written, how long it takes and what does not fit; use no network
    #[arg(long)]
    plan: bool,
    /// Fetch nothing that cannot be completed this time
    #[arg(long)]
    only_whole: bool,
    /// Use a registry's index even when it is very old
    #[arg(long)]
    accept_stale: bool,
    #[command(flatten)]
    line: LineArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = SyncOptions {
        stick: args.stick.clone(),
        packages: args.packages.clone(),
        sites: args.site.clone(),
        keep: args.keep.clone(),
        drop: args.drop.clone(),
        line: args.line.options(context)?,
        is_plan: args.plan,
        is_whole_only: args.only_whole,
        accepts_stale: args.accept_stale,
    };
    if let Some(list) = &args.list {
        let report = sync_list(&context.home, &without_stick(options), list, &context.terminal)?;
        context.output.show(&report, list_text);
        let is_all = report.unmet.is_empty() && report.files.iter().all(|file| !file.urls.is_empty());
        return Ok(if is_all { Outcome::Done } else { Outcome::Problems });
    }
    let synced = sync(&context.home, &options, &context.terminal)?;
    context.output.show_with_advice(&synced, |synced| match synced {
        Synced::Stick(report) => text(report),
        Synced::Here(report) => here_text(report),
    });
    Ok(match &synced {
        Synced::Stick(report) => outcome(report),
        Synced::Here(report) => here_outcome(report),
    })
}

/// For a list no stick is needed: what is no folder is then the first package.
fn without_stick(options: SyncOptions) -> SyncOptions {
    let first = options.stick.as_ref().filter(|stick| !stick.exists());
    match first.and_then(|first| first.to_str()?.parse::<PackageRef>().ok()) {
        Some(package) => {
            let packages = [vec![package], options.packages].concat();
            SyncOptions { stick: None, packages, ..options }
        }
        None => options,
    }
}

fn list_text(report: &SyncListReport) -> String {
    let mut text = String::new();
    for file in &report.files {
        let bytes = file.size_bytes.map_or_else(|| "small".to_owned(), size);
        let what = if file.is_piece_list { "piece list of " } else { "" };
        let address = file.urls.first().map_or("no address on the net is known", String::as_str);
        text.push_str(&format!("{bytes}  {}  {what}{}  {address}\n", file.package, file.path));
    }
    for wish in &report.unmet {
        let hint = wish.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        text.push_str(&format!("NOT TO BE HAD {}: {}{hint}\n", wish.package, wish.reason));
    }
    let list = report.list.display();
    text + &match report.files.is_empty() {
        true => "nothing is missing; no list was written\n".to_owned(),
        false => format!(
            "{} in {} stand in `{list}`; bring what came of them back with `localml import FOLDER`\n",
            size(report.size_bytes),
            counted(report.files.len(), "file")
        ),
    }
}

fn here_outcome(report: &SyncHereReport) -> Outcome {
    match (report.left.is_empty(), report.installed.is_empty()) {
        (true, _) => Outcome::Done,
        (false, true) if report.left.iter().all(|left| left.is_limit) => Outcome::Bad(ErrorKind::NoRoom),
        (false, _) => Outcome::Problems,
    }
}

fn here_text(report: &SyncHereReport) -> String {
    let mut text = String::new();
    for newer in &report.upgrades {
        let is_done = report.installed.contains(&newer.name);
        let verb = if is_done { "upgraded" } else { "newer" };
        let (name, from, to) = (&newer.name, &newer.installed, &newer.newest);
        let most = if newer.is_upper_bound && !is_done { "at most " } else { "" };
        let cost = size(newer.missing_bytes);
        text.push_str(&format!("{verb}  {name} {from} to {to}, {most}{cost}\n"));
    }
    text.extend(report.left.iter().map(stays));
    if report.upgrades.is_empty() {
        text.push_str("everything that is installed is the newest known\n");
    }
    if report.is_plan && !report.upgrades.is_empty() {
        let most = if report.is_upper_bound { "at most " } else { "" };
        text.push_str(&format!("would fetch {most}{}\n", size(report.missing_bytes)));
        text.push_str(&story(&report.line, report.missing_bytes, true));
        for newer in report.upgrades.iter().filter(|newer| !newer.fits) {
            text.push_str(&format!("will not fit: {} {}\n", newer.name, newer.newest));
        }
    }
    if !report.is_plan {
        let left =
            report.line.budget_left_bytes.map(|left| format!(", {} of the budget are left", size(left)));
        let spent = size(report.line.spent_bytes);
        text.push_str(&format!("{spent} came over the line{}\n", left.unwrap_or_default()));
    }
    text.extend(report.next.iter().map(|command| format!("next: {command}\n")));
    text
}

fn outcome(report: &SyncReport) -> Outcome {
    let count = |is_meant: &dyn Fn(&State) -> bool| {
        report.packages.iter().filter(|package| is_meant(&package.state)).count()
    };
    let num_good = count(&|state| matches!(state, State::Written | State::Planned)) + report.brought.len();
    let num_limited =
        count(&|state| matches!(state, State::LeftOut(_) | State::Begun { .. } | State::Fetched));
    let num_failed = count(&|state| matches!(state, State::Failed { .. })) + report.unmet.len();
    let is_line = report
        .packages
        .iter()
        .all(|package| matches!(package.state, State::Failed { is_network: true, .. } | State::Waiting));
    match report.end {
        End::Stopped => Outcome::Bad(ErrorKind::Failed),
        _ if num_limited + num_failed == 0 => Outcome::Done,
        _ if num_good > 0 => Outcome::Problems,
        _ if num_failed == 0 => Outcome::Bad(ErrorKind::NoRoom),
        _ if is_line && report.unmet.is_empty() => Outcome::Bad(ErrorKind::Network),
        _ => Outcome::Problems,
    }
}

fn text(report: &SyncReport) -> String {
    let mut text = head(report);
    let rows: Vec<Vec<String>> = report.packages.iter().map(|package| row(package, report)).collect();
    if !rows.is_empty() {
        text.push_str(&table(&["PACKAGE", "FOR", "WHY", "FETCH", "STICK", "TIME", ""], &rows));
    }
    text.extend(report.packages.iter().filter_map(trouble).map(|line| line + "\n"));
    text.extend(report.unmet.iter().map(|wish| unmet(wish, report) + "\n"));
    text.push_str(&brought(report));
    text.push_str(&end(report));
    text
}

/// Whom the stick is for.
fn head(report: &SyncReport) -> String {
    let names: Vec<String> =
        report.sites.iter().map(|site| site_name(site.label.as_deref(), &site.site)).collect();
    match names.is_empty() {
        true => format!("`{}`, for any site\n", report.stick.display()),
        false => format!("`{}`, for {}\n", report.stick.display(), names.join(", ")),
    }
}

fn row(package: &SyncedPackage, report: &SyncReport) -> Vec<String> {
    let sites: Vec<String> = package.sites.iter().map(|site| short_name(site, report)).collect();
    let why = match package.reason {
        Reason::Asked => "asked",
        Reason::Named => "named",
        Reason::Required => "required",
        Reason::Newer => "newer",
    };
    let state = match &package.state {
        State::Planned => String::new(),
        State::Written => "on the stick".to_owned(),
        State::Waiting => "not begun".to_owned(),
        State::Fetched => "here, not on the stick".to_owned(),
        State::LeftOut(shortage) => format!("does not fit: {}", short(shortage)),
        State::Begun { missing_bytes } => format!("begun; {} to come", size(*missing_bytes)),
        State::Failed { .. } => "FAILED".to_owned(),
    };
    vec![
        package.package.to_string(),
        if sites.is_empty() { "any".to_owned() } else { sites.join(", ") },
        why.to_owned(),
        size(package.fetch_bytes),
        size(package.stick_bytes),
        package.seconds.map(time).unwrap_or_default(),
        state,
    ]
}

/// A site's label, or its id where it has none.
fn short_name(site: &SiteId, report: &SyncReport) -> String {
    let known = report.sites.iter().find(|known| known.site == *site);
    known.and_then(|known| known.label.clone()).unwrap_or_else(|| site.to_string())
}

fn short(shortage: &Shortage) -> String {
    match shortage {
        Shortage::Budget { needed_bytes, left_bytes } => {
            format!("it costs {}, and the budget has {} left", size(*needed_bytes), size(*left_bytes))
        }
        Shortage::Time { needed_seconds, left_seconds } => {
            format!("it takes {}, and the time has {} left", time(*needed_seconds), time(*left_seconds))
        }
        Shortage::Stick { needed_bytes, free_bytes } => {
            format!("it needs {} on the stick, {} are left for it", size(*needed_bytes), size(*free_bytes))
        }
        Shortage::Disk { needed_bytes, free_bytes } => {
            format!("it needs {} on this PC, {} are free", size(*needed_bytes), size(*free_bytes))
        }
    }
}

fn trouble(package: &SyncedPackage) -> Option<String> {
    let State::Failed { message, hint, .. } = &package.state else { return None };
    let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    Some(format!("FAILED {}: {message}{hint}", package.package))
}

fn unmet(wish: &UnmetWish, report: &SyncReport) -> String {
    let site = wish.site.as_ref().map(|site| format!(" for {}", short_name(site, report)));
    let hint = wish.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("NOT TO BE HAD {}{}: {}{hint}", wish.package, site.unwrap_or_default(), wish.reason)
}

/// What needs no second carriage.
fn brought(report: &SyncReport) -> String {
    let line = |package: &crate::ops::BroughtPackage| {
        let site = package.site.as_ref().map(|site| format!(" for {}", short_name(site, report)));
        format!("on the stick already: {}{}\n", package.package, site.unwrap_or_default())
    };
    report.brought.iter().map(line).collect()
}

/// The last lines: what it costs or did cost, and whether the stick may go.
fn end(report: &SyncReport) -> String {
    let total = match report.seconds.filter(|_| !report.packages.is_empty()) {
        Some(seconds) => format!(", about {}", time(seconds)),
        None => String::new(),
    };
    let speeds = speeds(report);
    if report.is_plan {
        let (fetch, stick) = (size(report.fetch_bytes), size(report.stick_bytes));
        return format!("would fetch {fetch} and write {stick} to the stick{total}{speeds}\n")
            + &full_stick(report);
    }
    let spent = size(report.line.spent_bytes);
    let left = report.line.budget_left_bytes.map(|left| format!(", {} of the budget are left", size(left)));
    let left = left.unwrap_or_default();
    let stick = size(report.stick_bytes);
    format!(
        "{spent} came over the line{left}; {stick} went onto the stick and were read back{speeds}{}\n{}\
         `{}` is safe to remove\n",
        rest(report),
        full_stick(report),
        report.stick.display()
    )
}

/// How what is left comes along.
fn rest(report: &SyncReport) -> &'static str {
    let is_money = |state: &State| match state {
        State::LeftOut(Shortage::Budget { .. }) => true,
        State::Begun { missing_bytes } => {
            report.line.budget_left_bytes.is_some_and(|left| left < *missing_bytes)
        }
        _ => false,
    };
    let is_done = |state: &State| matches!(state, State::Written | State::LeftOut(Shortage::Stick { .. }));
    match report.end {
        End::Done => "",
        End::Limits if report.packages.iter().any(|package| is_money(&package.state)) => {
            "; what is left of the budget does not pay for the rest: the same command with `--new-budget` goes on with \
             it, another day too"
        }
        // For those that this stick has no room for, another day changes nothing.
        End::Limits if report.packages.iter().all(|package| is_done(&package.state)) => "",
        End::Limits => "; the same command goes on with the rest, another day too",
        End::Stopped => "; stopped: the same command goes on from here",
    }
}

/// What to do where packages are larger than the room on the stick.
fn full_stick(report: &SyncReport) -> String {
    let is_stick = |state: &State| matches!(state, State::LeftOut(Shortage::Stick { .. }));
    if !report.packages.iter().any(|package| is_stick(&package.state)) {
        return String::new();
    }
    let stick = report.stick.display();
    format!(
        "what does not fit on this stick: take another stick, or make room (`localml stick clean {stick} --plan`), then \
         the same command\n"
    )
}

fn speeds(report: &SyncReport) -> String {
    let line = match report.line.bytes_per_second {
        Some(rate) => Some(format!("the line {}/s", size(rate))),
        None if report.fetch_bytes > 0 => Some("how fast the line is, is not known yet".to_owned()),
        None => None,
    };
    let pace = report.pace.as_ref().map(|pace| {
        let source = match pace.source {
            PaceSource::Measured => "measured",
            PaceSource::Remembered => "as last time",
            PaceSource::Probed => "by a short trial",
        };
        let (write, read) = (size(pace.write_bytes_per_second), size(pace.read_bytes_per_second));
        format!("the stick {write}/s written, {read}/s read, {source}")
    });
    let known: Vec<String> = line.into_iter().chain(pace).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join("; ")) }
}

fn time(seconds: u64) -> String {
    match seconds {
        0..=1 => "1 second".to_owned(),
        2..=119 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}
