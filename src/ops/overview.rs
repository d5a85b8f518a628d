//! Bare `localml`: what this PC has, and which command comes next.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::disk;
use crate::hardware;
use crate::home::Home;
use crate::package::{Kind, Name};
use crate::progress::Silent;

use super::error::Result;
use super::gc::{GcKind, GcOptions, gc};
use super::kit;
use super::leftovers::MAY_REPAIR;
use super::list::list;
use super::profile::{self, SiteKit};
use super::revoked::RevokedPackage;

/// What this PC has.
#[derive(Debug, Serialize)]
pub struct OverviewReport {
    /// Where localml keeps everything.
    pub home: PathBuf,
    /// All memory, in bytes.
    pub ram_bytes: u64,
    /// Free room on the disk of the home, in bytes.
    pub free_bytes: u64,
    /// Number of chat models that are installed.
    pub num_chat_models: usize,
    /// Number of embedders that are installed.
    pub num_embedders: usize,
    /// Number of other packages that are installed.
    pub num_other_packages: usize,
    /// Number of collections of documents.
    pub num_collections: usize,
    /// Number of packages that are here only to be carried on.
    pub num_fetched_packages: usize,
    /// The bytes of those.
    pub fetched_bytes: u64,
    /// What is here of packages that are not complete, or wait to be installed.
    pub waiting: Vec<Waiting>,
    /// The packages of which a file was found damaged or is missing; they are out of use.
    pub damaged: Vec<Name>,
    /// The packages in use that their publishers took back.
    pub revoked: Vec<RevokedPackage>,
    /// The kit that set this site up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kit: Option<SiteKit>,
    /// The commands that make sense next, each with what it is for.
    pub next: Vec<NextCommand>,
}

/// What is here of a package that no record speaks of yet.
#[derive(Debug, Serialize)]
pub struct Waiting {
    /// The package, as name@version:variant.
    pub package: String,
    /// How much of it is here, in bytes.
    pub here_bytes: u64,
    /// True when nothing of it is missing.
    pub is_whole: bool,
    /// True when all that is here came from a stick.
    pub is_from_stick: bool,
}

/// A command worth typing.
#[derive(Debug, Serialize)]
pub struct NextCommand {
    /// The command.
    pub command: String,
    /// What it is for.
    pub purpose: String,
}

/// Looks at what is here.
///
/// # Errors
/// When a record of an installed package is damaged.
pub fn overview(home: &Home) -> Result<OverviewReport> {
    let (packages, fetched): (Vec<_>, Vec<_>) =
        list(home)?.packages.into_iter().partition(|package| package.is_installed);
    let count = |kind: Kind| packages.iter().filter(|package| package.kind == kind).count();
    let (num_chat_models, num_embedders) = (count(Kind::ChatModel), count(Kind::Embedder));
    let num_packages = packages.len();
    let mut damaged: Vec<Name> = packages
        .iter()
        .chain(&fetched)
        .filter(|package| package.is_damaged)
        .map(|package| package.name.clone())
        .collect();
    damaged.sort();
    damaged.dedup();
    let revoked = packages.into_iter().filter_map(|package| package.revoked).collect();
    let mut report = OverviewReport {
        home: home.root().to_owned(),
        ram_bytes: hardware::probe().ram_bytes,
        free_bytes: disk::free_bytes(home.root())?,
        num_chat_models,
        num_embedders,
        num_other_packages: num_packages - num_chat_models - num_embedders,
        num_collections: num_collections(home),
        num_fetched_packages: fetched.len(),
        fetched_bytes: fetched.iter().map(|package| package.size_bytes).sum(),
        waiting: waiting(home, &damaged),
        damaged,
        revoked,
        kit: None,
        next: Vec::new(),
    };
    report.next = match profile::read(home) {
        Err(error) => vec![NextCommand { command: "localml doctor".into(), purpose: error.in_one_line() }],
        Ok(site) => {
            report.kit = site.kit;
            let by_kit = |command| NextCommand { command, purpose: "as this site's kit says".to_owned() };
            kit::next_commands(home)?.into_iter().map(by_kit).collect()
        }
    };
    let known: Vec<String> = report.next.iter().map(|next| next.command.clone()).collect();
    report.next.extend(next_commands(&report).into_iter().filter(|next| !known.contains(&next.command)));
    Ok(report)
}

/// A folder without its record is what a broken-off removal or creation left.
fn num_collections(home: &Home) -> usize {
    let entries = fs::read_dir(home.collections()).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().join("collection.json").is_file()).count()
}

/// What came in part, or whole and was never installed: as `gc` sees it. Where that cannot be told, `gc` says why.
fn waiting(home: &Home, damaged: &[Name]) -> Vec<Waiting> {
    let plan = GcOptions { is_plan: true, ..GcOptions::default() };
    let mut waiting: Vec<Waiting> = Vec::new();
    for item in gc(home, &plan, &Silent).map(|report| report.items).unwrap_or_default() {
        let is_awaited =
            matches!(item.what, GcKind::Partial | GcKind::Blob) && !item.goes && item.reason != MAY_REPAIR;
        let Some(package) = item.package.filter(|_| is_awaited) else { continue };
        // Its half of a repair is no half of a package.
        if damaged.iter().any(|name| package.split('@').next() == Some(name.as_str())) {
            continue;
        }
        let is_from_stick = home.root().join(&item.path).starts_with(home.stick_staging());
        let is_whole = item.what == GcKind::Blob;
        match waiting.iter_mut().find(|waiting| waiting.package == package) {
            Some(known) => {
                known.here_bytes += item.here_bytes;
                known.is_whole &= is_whole;
                known.is_from_stick &= is_from_stick;
            }
            None => {
                waiting.push(Waiting { package, here_bytes: item.here_bytes, is_whole, is_from_stick });
            }
        }
    }
    // Of a try that brought nothing there is nothing to go on with.
    waiting.retain(|waiting| waiting.is_whole || waiting.here_bytes > 0);
    waiting
}

fn next_commands(report: &OverviewReport) -> Vec<NextCommand> {
    let mut next: Vec<NextCommand> = report.damaged.iter().map(mending).collect();
    next.extend(report.waiting.iter().map(going_on));
    let mut add = |command: &str, purpose: &str| {
        next.push(NextCommand { command: command.to_owned(), purpose: purpose.to_owned() });
    };
    if report.num_fetched_packages > 0 {
        add("localml export DIR", "write what was fetched to a stick");
    }
    if report.num_chat_models + report.num_embedders + report.num_other_packages == 0 {
        add("localml import DIR", "install what a stick carries");
        add("localml sync DIR", "fetch what the sites of a stick wait for, and write it there");
        add("localml search", "see which packages there are");
    }
    if cfg!(feature = "index") {
        if report.num_collections == 0 {
            add("localml index add FOLDER", "make your documents searchable");
        } else {
            add("localml ask \"…\"", "ask your documents");
        }
        if report.num_chat_models == 0 {
            add("localml search chat", "find a model that answers in its own words");
        }
    } else if report.num_fetched_packages == 0
        && report.num_other_packages + report.num_chat_models + report.num_embedders > 0
    {
        add("localml export DIR", "write what is here to a stick");
    }
    add("localml doctor", "look for what needs mending");
    next
}

fn mending(damaged: &Name) -> NextCommand {
    NextCommand {
        command: format!("localml repair {damaged}"),
        purpose: "bring what is damaged of it, and nothing else".to_owned(),
    }
}

fn going_on(waiting: &Waiting) -> NextCommand {
    let Waiting { package, .. } = waiting;
    let (command, purpose) = match (waiting.is_whole, waiting.is_from_stick) {
        (true, _) => (format!("localml --offline install {package}"), "all of it is here"),
        (false, true) => ("localml import DIR".to_owned(), "go on with what came in part from a stick"),
        (false, false) => (format!("localml fetch {package}"), "go on with what is here in part"),
    };
    NextCommand { command, purpose: purpose.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_with_a_record_are_collections() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path().to_owned());
        for name in ["whole", "left-over"] {
            fs::create_dir_all(home.collections().join(name)).expect("a folder");
        }
        fs::write(home.collections().join("whole/collection.json"), "{}").expect("a file");
        assert_eq!(num_collections(&home), 1);
    }
}
