//! `verify`: hash installed packages again, and name what is damaged.

use serde::Serialize;

use crate::digest::Sha256;
use crate::home::Home;
use crate::package::{FileEntry, Name, PackageRef};
use crate::progress::{Monitor, Unit};
use crate::store::{BlobHealth, Installed, Store, Verdict};

use super::error::Result;
use super::path::find_held;
use super::site;

/// What hashing again has shown.
#[derive(Debug, Serialize)]
pub struct VerifyReport {
    /// One entry a package, in the order asked for.
    pub packages: Vec<VerifiedPackage>,
    /// How many bytes were to be hashed.
    pub size_bytes: u64,
    /// False when it was stopped before the end.
    pub is_complete: bool,
}

/// One package's health.
#[derive(Debug, Serialize)]
pub struct VerifiedPackage {
    /// The package.
    pub name: Name,
    /// True when every file is as its publisher made it.
    pub is_whole: bool,
    /// The files that are not.
    pub damaged_files: Vec<DamagedFile>,
}

/// A file that is not as its publisher made it.
#[derive(Debug, Serialize)]
pub struct DamagedFile {
    /// Its name in the package.
    pub path: String,
    /// What it should hash to.
    pub sha256: Sha256,
    /// True when it is not there at all.
    pub is_missing: bool,
    /// The damaged runs, as offset and length in bytes.
    pub damaged_runs: Vec<(u64, u64)>,
}

impl VerifyReport {
    /// True when every package is whole.
    pub fn is_whole(&self) -> bool {
        self.packages.iter().all(|package| package.is_whole)
    }
}

/// Hashes the named packages, or all of them when none is named.
///
/// # Errors
/// When a package is not installed or a record is damaged. Damaged files are in the report.
pub fn verify(home: &Home, packages: &[PackageRef], monitor: &dyn Monitor) -> Result<VerifyReport> {
    let store = site::store(home);
    let installed = if packages.is_empty() {
        [store.installed()?, store.fetched()?].concat()
    } else {
        packages.iter().map(|package| find_held(&store, package)).collect::<Result<_>>()?
    };
    let size_bytes = installed.iter().map(Installed::size_bytes).sum();
    let task = monitor.start("verifying", Some(size_bytes), Unit::Bytes);
    let packages = installed
        .iter()
        .map(|installed| verify_one(home, &store, installed, &|count| task.advance(count), monitor))
        .collect();
    Ok(VerifyReport { packages, size_bytes, is_complete: !monitor.is_cancelled() })
}

fn verify_one(
    home: &Home,
    store: &Store,
    installed: &Installed,
    advance: &(dyn Fn(u64) + Sync),
    monitor: &dyn Monitor,
) -> VerifiedPackage {
    let health = store.verify(installed.files(), advance, &|| monitor.is_cancelled());
    let damaged_files: Vec<DamagedFile> =
        installed.files().iter().zip(&health).filter_map(|(file, health)| damage(file, health)).collect();
    if !monitor.is_cancelled() {
        mend(home, store, installed, &damaged_files, monitor);
    }
    VerifiedPackage { name: installed.name().clone(), is_whole: damaged_files.is_empty(), damaged_files }
}

/// Takes damaged blobs out of use, so that `install` and `import` bring them again, and gives whole ones their
/// names back where another file stands there.
fn mend(home: &Home, store: &Store, installed: &Installed, damaged: &[DamagedFile], monitor: &dyn Monitor) {
    let is_fetched_only = store.find(installed.name()).ok().flatten().as_ref() != Some(installed);
    let is_in_place = is_fetched_only || store.is_in_place(installed);
    if damaged.is_empty() && is_in_place {
        return;
    }
    let mended = site::lock(home).and_then(|_lock| {
        for file in damaged.iter().filter(|file| !file.is_missing) {
            store.set_aside(&file.sha256)?;
        }
        if damaged.is_empty() {
            store.put_in_place(installed)?;
            monitor.warn(&format!("a file of `{}` was not its blob's; it was put right", installed.name()));
        }
        Ok(())
    });
    if let Err(error) = mended {
        monitor.warn(&format!("`{}` was left as it is: {}", installed.name(), error.in_one_line()));
    }
}

fn damage(file: &FileEntry, health: &BlobHealth) -> Option<DamagedFile> {
    let (is_missing, damaged_runs) = match &health.verdict {
        Verdict::Whole => return None,
        Verdict::Missing => (true, Vec::new()),
        Verdict::Damaged(runs) => (false, runs.clone()),
    };
    Some(DamagedFile { path: file.path.to_string(), sha256: file.sha256, is_missing, damaged_runs })
}
