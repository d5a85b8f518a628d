//! Loose files that another program downloaded, whole or in part, under whatever names: known by their digests, or
//! by the digests of their pieces.
//!
//! Only digests that a trusted index names come in. The files themselves stay where they are, untouched.

mod install;
mod intake;

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
/// `NotFound` when nothing is of use; when a path is not there, an index is too old to install from, or a disk fails.
pub fn import_loose(
    home: &Home,
    paths: &[PathBuf],
    accepts_stale: bool,
    monitor: &dyn Monitor,
) -> Result<LooseReport> {
    let report = take(home, paths, accepts_stale, monitor)?;
    match report.taken.is_empty() && report.known.is_empty() {
        true => Err(nothing_of_use(paths)),
        false => Ok(report),
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
    let (wanted, touched) = (Directory::of(&indexes), HashSet::new());
    let mut intake = Intake { home, store: &store, wanted, monitor, report: &mut report, touched };
    // Piece lists first: by them half downloads are known.
    let (lists, others): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|path| is_piece_list(path));
    for path in lists {
        intake.take_piece_list(path)?;
    }
    for path in others {
        if monitor.is_cancelled() {
            return Err(Error::new(ErrorKind::Failed, "stopped; what came in is kept")
                .with_hint("run the same command again; it takes the rest"));
        }
        intake.take_file(path)?;
    }
    let touched = intake.touched;
    install(&store, &indexes, (&touched, accepts_stale), &mut report, monitor)?;
    Ok(report)
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
