//! Bare `localml`: what this PC has, and which command comes next.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::disk;
use crate::hardware;
use crate::home::Home;
use crate::package::Kind;

use super::error::Result;
use super::list::list;
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
    /// The packages in use that their publishers took back.
    pub revoked: Vec<RevokedPackage>,
    /// The commands that make sense next, each with what it is for.
    pub next: Vec<NextCommand>,
}

/// A command worth typing.
#[derive(Debug, Serialize)]
pub struct NextCommand {
    /// The command.
    pub command: &'static str,
    /// What it is for.
    pub purpose: &'static str,
}

/// Looks at what is here.
///
/// # Errors
/// When a record of an installed package is damaged.
pub fn overview(home: &Home) -> Result<OverviewReport> {
    let packages: Vec<_> = list(home)?.packages.into_iter().filter(|package| package.is_installed).collect();
    let count = |kind: Kind| packages.iter().filter(|package| package.kind == kind).count();
    let (num_chat_models, num_embedders) = (count(Kind::ChatModel), count(Kind::Embedder));
    let num_packages = packages.len();
    let revoked = packages.into_iter().filter_map(|package| package.revoked).collect();
    let mut report = OverviewReport {
        home: home.root().to_owned(),
        ram_bytes: hardware::probe().ram_bytes,
        free_bytes: disk::free_bytes(home.root())?,
        num_chat_models,
        num_embedders,
        num_other_packages: num_packages - num_chat_models - num_embedders,
        num_collections: num_collections(home),
        revoked,
        next: Vec::new(),
    };
    report.next = next_commands(&report);
    Ok(report)
}

/// A folder without its record is what a broken-off removal or creation left.
fn num_collections(home: &Home) -> usize {
    let entries = fs::read_dir(home.collections()).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().join("collection.json").is_file()).count()
}

fn next_commands(report: &OverviewReport) -> Vec<NextCommand> {
    let mut next = Vec::new();
    let mut add = |command, purpose| next.push(NextCommand { command, purpose });
    if report.num_chat_models + report.num_embedders + report.num_other_packages == 0 {
        add("localml import DIR", "install what a stick carries");
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
    } else if report.num_other_packages + report.num_chat_models + report.num_embedders > 0 {
        add("localml export DIR", "write what is here to a stick");
    }
    add("localml doctor", "look for what needs mending");
    next
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
