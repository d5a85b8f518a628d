//! `remove`: forget a package, and free the bytes that no other package needs.

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Name, PackageRef};
use crate::store::{Installed, Store};

use super::error::{Error, Result};
use super::holding::reference;
use super::path::held_all;
use super::site;

/// How to remove.
#[derive(Debug, Default)]
pub struct RemoveOptions {
    /// Only say what would be removed.
    pub is_plan: bool,
    /// Remove even what another installed package needs.
    pub is_forced: bool,
}

/// What was removed, or would be.
#[derive(Debug, Serialize)]
pub struct RemoveReport {
    /// The packages.
    pub removed: Vec<Name>,
    /// The bytes freed on the disk.
    pub freed_bytes: u64,
    /// True when nothing was done yet.
    pub is_plan: bool,
}

/// Removes installed packages.
///
/// # Errors
/// When one is not here, several fetched builds are meant, or another installed package needs it; nothing is removed
/// then.
pub fn remove(home: &Home, packages: &[PackageRef], options: &RemoveOptions) -> Result<RemoveReport> {
    let store = site::store(home);
    let _lock = if options.is_plan { None } else { Some(site::lock(home)?) };
    let mut installed: Vec<Installed> = Vec::new();
    for package in packages {
        let held = held_one(&store, package)?;
        if !installed.contains(&held) {
            installed.push(held);
        }
    }
    let all = [store.installed()?, store.fetched()?].concat();
    let rest: Vec<Installed> = all.into_iter().filter(|other| !installed.contains(other)).collect();
    if !options.is_forced {
        installed.iter().try_for_each(|removed| check_not_needed(&store, removed, &rest))?;
    }
    let removed: Vec<Name> = installed.iter().map(|removed| removed.name().clone()).collect();
    let freed_bytes = match options.is_plan {
        true => would_free_with_previous(&store, &installed, rest)?,
        false => remove_all(&store, &installed)?,
    };
    Ok(RemoveReport { removed, freed_bytes, is_plan: options.is_plan })
}

/// The installed package that is meant, else the one fetched build that is.
fn held_one(store: &Store, package: &PackageRef) -> Result<Installed> {
    let mut held = held_all(store, package)?;
    if held.len() == 1 || store.find(&package.name)?.as_ref() == held.first() {
        return Ok(held.swap_remove(0));
    }
    let names: Vec<String> = held.iter().map(|held| format!("`{}`", short_reference(held))).collect();
    let message = format!("`{package}` is fetched in {} builds: {}", names.len(), names.join(", "));
    let hint = format!("name the one that goes, for example `localml remove {}`", short_reference(&held[0]));
    Err(Error::new(ErrorKind::Usage, message).with_hint(hint))
}

fn short_reference(held: &Installed) -> PackageRef {
    PackageRef { registry: None, ..reference(held) }
}

fn remove_all(store: &Store, packages: &[Installed]) -> Result<u64> {
    let mut freed_bytes = 0;
    for package in packages {
        freed_bytes += store.remove(package)?;
    }
    Ok(freed_bytes)
}

fn check_not_needed(store: &Store, removed: &Installed, rest: &[Installed]) -> Result<()> {
    // Of a package that is only fetched, another build does as well.
    let is_installed = store.find(removed.name())?.as_ref() == Some(removed);
    if !is_installed && rest.iter().any(|other| other.name() == removed.name()) {
        return Ok(());
    }
    let needs = |other: &&Installed| {
        other.manifest.package.requires.iter().any(|required| required.name == *removed.name())
    };
    match rest.iter().find(needs) {
        None => Ok(()),
        Some(other) => {
            let message = format!("`{}` is needed by `{}`", removed.name(), other.name());
            let hint = format!("remove `{}` too, or pass `--force`", other.name());
            Err(Error::new(ErrorKind::Failed, message).with_hint(hint))
        }
    }
}

/// The version before goes with a package that is removed, and keeps its blobs otherwise.
fn would_free_with_previous(store: &Store, removed: &[Installed], rest: Vec<Installed>) -> Result<u64> {
    let installed = store.installed()?;
    let goes =
        |older: &Installed| removed.iter().any(|it| it.name() == older.name() && installed.contains(it));
    let (going, staying): (Vec<Installed>, Vec<Installed>) = store.previous()?.into_iter().partition(goes);
    Ok(would_free(&[removed, &going].concat(), &[rest, staying].concat()))
}

/// Blobs are shared: one counts only once, and only when nothing that stays needs it.
fn would_free(removed: &[Installed], rest: &[Installed]) -> u64 {
    let kept: std::collections::HashSet<_> =
        rest.iter().flat_map(Installed::files).map(|file| file.sha256).collect();
    let mut freed = std::collections::HashMap::new();
    for file in removed.iter().flat_map(Installed::files).filter(|file| !kept.contains(&file.sha256)) {
        freed.insert(file.sha256, file.size_bytes);
    }
    freed.values().sum()
}
