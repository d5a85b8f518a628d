//! `rollback`: back to the version that an installed package had before. No network; the record is the commit.

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Name, PackageRef, VariantId, Version};
use crate::progress::Monitor;
use crate::store::{Installed, Store};

use super::error::{Error, Result, While as _};
use super::kit::set_up;
use super::path::{find_installed, is_meant};
use super::revoked::Words;
use super::site;
use super::upgrade::collections_to_refresh;

/// What was rolled back.
#[derive(Debug, Serialize)]
pub struct RollbackReport {
    /// The packages, in the order asked for.
    pub packages: Vec<RolledBack>,
    /// The commands that come next.
    pub next: Vec<String>,
}

/// One package that is what it was before.
#[derive(Debug, Serialize)]
pub struct RolledBack {
    /// The package.
    pub name: Name,
    /// The version that was in use, and is kept now.
    pub from: Version,
    /// The version that is in use.
    pub to: Version,
    /// Its build.
    pub variant: VariantId,
}

/// Puts the version before into use, for each package. Doing it twice goes forward again.
///
/// # Errors
/// When a package is not installed, has no version before, or that one is damaged or was taken back by its
/// publisher and not named with its version. Nothing is changed then.
pub fn rollback(home: &Home, packages: &[PackageRef], monitor: &dyn Monitor) -> Result<RollbackReport> {
    let store = site::store(home);
    let _lock = site::lock(home)?;
    let words = Words::read(home);
    let mut ways: Vec<(Installed, Installed)> = Vec::new();
    for package in packages {
        let way = way_back(&store, package, &words)?;
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    for (_, before) in &ways {
        check_whole(&store, before)?;
    }
    let mut rolled_back = Vec::new();
    for (current, before) in ways {
        let deed = || format!("could not roll back `{}`", before.name());
        match before.manifest.is_kit() {
            true => drop(set_up(home, &before, monitor).while_doing(deed)?),
            false => store.record(&before).while_doing(deed)?,
        }
        if let Some(revoked) = words.against(&before) {
            monitor.warn(&format!("`{}` {} was revoked: {}", revoked.name, revoked.version, revoked.reason));
        }
        rolled_back.push(RolledBack {
            name: before.name().clone(),
            from: current.manifest.package.version.clone(),
            to: before.manifest.package.version.clone(),
            variant: before.variant.clone(),
        });
    }
    let names: Vec<Name> = rolled_back.iter().map(|package| package.name.clone()).collect();
    Ok(RollbackReport { packages: rolled_back, next: collections_to_refresh(home, &names) })
}

/// Says no before the first package is changed, and how the bytes come back.
fn check_whole(store: &Store, before: &Installed) -> Result<()> {
    let (name, version) = (before.name(), &before.manifest.package.version);
    let deed = || format!("could not roll back `{name}` to {version}");
    store.check_whole(before).while_doing(deed).map_err(|error| {
        error.with_hint(
            "nothing was changed; `localml repair` brings what is damaged or missing of it, then try again",
        )
    })
}

/// What is installed, and what takes its place.
fn way_back(store: &Store, package: &PackageRef, words: &Words) -> Result<(Installed, Installed)> {
    let any = PackageRef { version: None, variant: None, ..package.clone() };
    let current = find_installed(store, &any)?;
    let kept = store.previous_of(&package.name)?;
    let Some(before) = kept.iter().find(|older| is_meant(older, package)) else {
        return Err(no_way_back(package, &current, &kept));
    };
    if package.version.is_none()
        && let Some(revoked) = words.against(before)
    {
        let version = &before.manifest.package.version;
        let message =
            format!("`{}` {version} was revoked by its publisher: {}", package.name, revoked.reason);
        let hint = format!("`localml rollback {}@{version}` takes it all the same", package.name);
        return Err(Error::new(ErrorKind::Untrusted, message).with_hint(hint));
    }
    Ok((current, before.clone()))
}

fn no_way_back(package: &PackageRef, current: &Installed, kept: &[Installed]) -> Error {
    let name = &package.name;
    let version = &current.manifest.package.version;
    let Some(older) = kept.first() else {
        let message = format!("no version of `{name}` before {version} is kept here");
        return Error::new(ErrorKind::NotFound, message)
            .with_hint(format!("`localml install {name}@VERSION` fetches another one"));
    };
    let older = &older.manifest.package.version;
    Error::new(ErrorKind::NotFound, format!("`{package}` is not kept here; {older} is"))
        .with_hint(format!("`localml rollback {name}` goes back to it"))
}
