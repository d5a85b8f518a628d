//! Loose files that another program downloaded, whole or in part, under whatever names: known by their digests, or
//! by the digests of their pieces.
//!
//! Only digests that a trusted index names come in. The files themselves stay where they are, untouched.

mod install;
mod intake;
mod lacking;
mod present;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{BundleError, Stick};
use crate::digest::Sha256;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::PackageRef;
use crate::progress::Monitor;

use super::error::{Error, Result};
use super::indexes;
use super::sift::RefusedPackage;
use super::site;

use install::install;
use intake::{Directory, Intake};

/// How piece lists begin.
const PIECE_LIST_START: &[u8] = b"localml pieces ";

/// Folders in folders that are looked into, and files that are looked at.
const MAX_DEPTH: usize = 3;
const MAX_FILES: usize = 10_000;

/// What loose files brought.
#[derive(Debug, Default, Serialize)]
pub struct LooseReport {
    /// The files that were of use.
    pub taken: Vec<TakenFile>,
    /// Files whose bytes are here already.
    pub known: Vec<PathBuf>,
    /// Files that no index known here speaks of; they are left alone.
    pub strangers: Vec<PathBuf>,
    /// Files that could not be taken, because there is no room for them or they cannot be read.
    pub left: Vec<LeftFile>,
    /// The packages that are newly usable.
    pub installed: Vec<PackageRef>,
    /// The packages that are not whole yet, and how many bytes they lack.
    pub incomplete: Vec<LoosePackage>,
    /// The packages that may not come in, and why.
    pub refused: Vec<RefusedPackage>,
}

/// A loose file that was of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is: a file of a package, or a piece list.
    pub name: String,
    /// The digest of what it is, or becomes when it is whole.
    pub sha256: Sha256,
    /// Its length when it is whole, in bytes.
    pub size_bytes: u64,
    /// How much of it is here now; less than its length when a fetch has to go on.
    pub kept_bytes: u64,
}

/// A file that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Why, and what to do, in one line.
    pub reason: String,
}

/// A package that is not whole yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoosePackage {
    /// The package.
    pub package: PackageRef,
    /// The bytes that are missing.
    pub missing_bytes: u64,
}

/// Takes what is of use of these files, and of those in these folders, and installs what becomes whole by it.
///
/// # Errors
/// `NotFound` when nothing is of use; when a path is not there, an index is too old to install from, or it was stopped;
/// when nothing could be taken: then why. What came by then is installed all the same, and told to the monitor.
pub fn import_loose(
    home: &Home,
    paths: &[PathBuf],
    accepts_stale: bool,
    monitor: &dyn Monitor,
) -> Result<LooseReport> {
    let report = take(home, paths, accepts_stale, monitor)?;
    match report.is_of_no_use() {
        true => Err(nothing_of_use(paths)),
        false => Ok(report),
    }
}

impl LooseReport {
    /// True when no file was of use.
    fn is_of_no_use(&self) -> bool {
        self.taken.is_empty() && self.known.is_empty()
    }
}

/// True for a file, and for a folder that is no stick.
pub fn is_loose(path: &Path) -> bool {
    path.is_file() || (path.is_dir() && matches!(Stick::open(path), Err(BundleError::NotAStick { .. })))
}

/// As `import_loose`; that nothing is of use is no failure.
///
/// # Errors
/// As `import_loose`.
fn take(home: &Home, paths: &[PathBuf], accepts_stale: bool, monitor: &dyn Monitor) -> Result<LooseReport> {
    let files = collect(paths)?;
    let _lock = site::lock(home)?;
    let (store, indexes) = (site::store(home), indexes::load(home)?);
    let mut report = LooseReport::default();
    let (wanted, touched, lacking) = (Directory::of(&indexes), HashSet::new(), OnceCell::new());
    let mut intake = Intake { home, store: &store, wanted, monitor, report: &mut report, touched, lacking };
    let outcome = intake.take_all(files.into_iter().partition(|path| is_piece_list(path)));
    let touched = intake.touched;
    // What became whole is used, however the rest ended.
    let outcome = install(&store, &indexes, (&touched, accepts_stale), &mut report, monitor).and(outcome);
    match outcome {
        Ok(()) => Ok(report),
        Err(error) => {
            let said = error.in_one_line();
            report.installed.iter().for_each(|package| monitor.note(&format!("installed {package}")));
            let others = report.left.iter().filter(|left| left.reason != said);
            others.for_each(|left| monitor.warn(&left.reason));
            Err(error)
        }
    }
}

fn nothing_of_use(paths: &[PathBuf]) -> Error {
    let shown: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    let message = format!(
        "nothing in {} is a file of a package that a registry known here has signed",
        shown.join(", ")
    );
    let is_model =
        |path: &&PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    let error = Error::new(ErrorKind::NotFound, message);
    match (paths, paths.iter().find(is_model)) {
        ([_], Some(model)) => error.with_hint(format!(
            "`localml adopt {} --name NAME --kind chat-model` takes a single model file that nobody signed",
            model.display()
        )),
        ([only], None) if only.is_file() => error.with_hint(format!(
            "`localml adopt {} --name NAME --kind KIND` takes a single file that nobody signed",
            only.display()
        )),
        _ => error.with_hint(
            "a stick has a folder `LOCALML` in it; for loose files, `localml update` brings newer lists, and `localml \
             sync --list FILE` writes down what is missing here",
        ),
    }
}

/// The files that were named, and those in the folders that were named, by path.
fn collect(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for path in paths {
        if !path.exists() {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no `{}`", path.display()))
                .with_hint("name the files, or the folder in which they lie; is the stick plugged in?"));
        }
        match path.is_dir() {
            true => collect_in(path, MAX_DEPTH, &mut files),
            false => drop(files.insert(path.clone())),
        }
    }
    Ok(files.into_iter().collect())
}

fn collect_in(folder: &Path, depth: usize, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if files.len() >= MAX_FILES {
            return;
        }
        // Links are not followed: a stick's folder must not lead elsewhere.
        if kind.is_file() {
            files.insert(entry.path());
        } else if kind.is_dir() && depth > 0 && entry.file_name() != "LOCALML" {
            collect_in(&entry.path(), depth - 1, files);
        }
    }
}

fn is_piece_list(path: &Path) -> bool {
    let mut start = [0; PIECE_LIST_START.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *PIECE_LIST_START
}
