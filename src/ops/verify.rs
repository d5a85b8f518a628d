//! `verify`: hash installed packages again, and name what is damaged.

use serde::Serialize;

use crate::home::Home;
use crate::package::{Name, PackageRef, Version};
use crate::progress::Monitor;
use crate::store::{Installed, Store};

use super::at_hand::AtHand;
use super::checkup::{Checkup, DamagedFile, Place, check_up, meant, place_of};
use super::error::Result;
use super::repair::wanted;
use super::site;

/// What hashing again has shown.
#[derive(Debug, Serialize)]
pub struct VerifyReport {
    /// One entry a package, in the order asked for.
    pub packages: Vec<VerifiedPackage>,
    /// How many bytes were to be hashed; what several packages share counts once.
    pub size_bytes: u64,
    /// The damaged bytes that `repair` would have to bring: what lies here in other files is not among them.
    pub missing_bytes: u64,
    /// False when it was stopped before the end.
    pub is_complete: bool,
}

/// One package's health.
#[derive(Debug, Serialize)]
pub struct VerifiedPackage {
    /// The package.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// True when it is an older version that is kept for a way back.
    pub is_previous: bool,
    /// True when every file is as its publisher made it.
    pub is_whole: bool,
    /// The files that are not.
    pub damaged_files: Vec<DamagedFile>,
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
    let meant = meant(&store, packages, monitor)?;
    let checkup = check_up(&store, &meant, monitor);
    let mut packages = Vec::new();
    for package in &meant {
        let place = place_of(&store, package)?;
        let damaged_files = checkup.damaged_files(package);
        if checkup.is_complete {
            mend(home, &store, (package, place), &checkup, monitor);
        }
        packages.push(VerifiedPackage {
            name: package.name().clone(),
            version: package.manifest.package.version.clone(),
            is_previous: place == Place::Previous,
            is_whole: damaged_files.is_empty(),
            damaged_files,
        });
    }
    let Checkup { size_bytes, is_complete, .. } = checkup;
    let missing_bytes =
        if is_complete { missing_bytes((home, &store), &meant, &checkup, monitor) } else { 0 };
    Ok(VerifyReport { packages, size_bytes, missing_bytes, is_complete })
}

/// What `repair` would have to bring of the damage; at most, where what is at hand cannot be looked at. What was found
/// is told whatever this comes to.
fn missing_bytes(
    (home, store): (&Home, &Store),
    meant: &[Installed],
    checkup: &Checkup,
    monitor: &dyn Monitor,
) -> u64 {
    let mut missing_bytes = 0;
    for blob in wanted(meant, checkup).values() {
        let at_hand = AtHand::of((home, store), blob, monitor).unwrap_or_default();
        missing_bytes += blob.damage.damaged_bytes().saturating_sub(at_hand.bytes());
    }
    missing_bytes
}

/// Takes damaged blobs out of use, so that `repair`, `install` and `import` bring them again; takes back into use
/// what was set aside and is whole; and gives whole ones their names back where another file stands there.
fn mend(
    home: &Home,
    store: &Store,
    (package, place): (&Installed, Place),
    checkup: &Checkup,
    monitor: &dyn Monitor,
) {
    let damaged = checkup.damaged_files(package);
    let wrongly_aside = checkup.wrongly_aside(package);
    let has_names = place != Place::Fetched;
    let is_in_place = !has_names || store.is_in_place(package);
    if damaged.is_empty() && wrongly_aside.is_empty() && is_in_place {
        return;
    }
    let mended = site::lock(home).and_then(|_lock| {
        // It was hashed without the lock: what came meanwhile is not judged by what lay there before.
        for file in damaged.iter().filter(|file| checkup.is_current(store, &file.sha256)) {
            store.set_aside(&file.sha256)?;
        }
        for blob in wrongly_aside.iter().filter(|blob| checkup.is_current(store, blob)) {
            store.put_back(blob)?;
        }
        if damaged.is_empty() && has_names && !store.is_in_place(package) {
            store.put_in_place(package)?;
            monitor.warn(&format!("a file of `{}` was not its blob's; it was put right", package.name()));
        }
        Ok(())
    });
    if let Err(error) = mended {
        monitor.warn(&format!("`{}` was left as it is: {}", package.name(), error.in_one_line()));
    }
}
