//! `remove`: forget a package, and free the bytes that no other package needs.

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Name, PackageRef};
use crate::progress::Monitor;
use crate::store::{Installed, Store};

use super::checkup::warn_of_lost_ways_back;
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
/// When one is not here, several fetched builds are meant, another installed package needs it, or the record of
/// another package is damaged; nothing is removed then.
pub fn remove(
    home: &Home,
    packages: &[PackageRef],
    options: &RemoveOptions,
    monitor: &dyn Monitor,
) -> Result<RemoveReport> {
    let store = site::store(home);
    let _lock = if options.is_plan { None } else { Some(site::lock(home)?) };
    let Removed { installed, damaged } = meant(&store, packages)?;
    let all = [store.installed_but(&damaged)?, store.fetched()?].concat();
    let rest: Vec<Installed> = all.into_iter().filter(|other| !installed.contains(other)).collect();
    if !options.is_forced {
        installed.iter().try_for_each(|removed| check_not_needed(&store, removed, &rest))?;
        damaged.iter().try_for_each(|removed| check_not_required(removed, &rest))?;
    }
    for name in &damaged {
        monitor.warn(&format!(
            "the record of `{name}` is damaged, so nobody knows what it alone needed; `localml gc` shows what is left"
        ));
    }
    let names = installed.iter().map(Installed::name).chain(&damaged);
    let removed: Vec<Name> = names.cloned().collect();
    let freed_bytes = match options.is_plan {
        true => would_free_with_previous(&store, &installed, rest)?,
        false => remove_all(&store, &installed, &damaged)?,
    };
    // Of what still lies there: those of packages that went are gone too.
    warn_of_lost_ways_back(&store, monitor);
    Ok(RemoveReport { removed, freed_bytes, is_plan: options.is_plan })
}

/// What is to go.
#[derive(Default)]
struct Removed {
    installed: Vec<Installed>,
    /// The installed packages whose records cannot be read.
    damaged: Vec<Name>,
}

/// The packages that are meant, each once. A damaged record is meant by its name alone.
fn meant(store: &Store, packages: &[PackageRef]) -> Result<Removed> {
    let damaged = store.damaged_installed();
    let mut removed = Removed::default();
    for package in packages {
        if package.version.is_none() && package.variant.is_none() && damaged.contains(&package.name) {
            if !removed.damaged.contains(&package.name) {
                removed.damaged.push(package.name.clone());
            }
            continue;
        }
        let held = held_one(store, package)?;
        if !removed.installed.contains(&held) {
            removed.installed.push(held);
        }
    }
    Ok(removed)
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

/// Damaged records first: while one lies there, nobody knows what else is needed.
fn remove_all(store: &Store, packages: &[Installed], damaged: &[Name]) -> Result<u64> {
    let mut freed_bytes = store.remove_damaged(damaged)?;
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
    check_not_required(removed.name(), rest)
}

fn check_not_required(removed: &Name, rest: &[Installed]) -> Result<()> {
    let needs =
        |other: &&Installed| other.manifest.package.requires.iter().any(|required| required.name == *removed);
    match rest.iter().find(needs) {
        None => Ok(()),
        Some(other) => {
            let message = format!("`{removed}` is needed by `{}`", other.name());
            let hint = format!("remove `{}` too, or pass `--force`", other.name());
            Err(Error::new(ErrorKind::Failed, message).with_hint(hint))
        }
    }
}

/// The version before goes with a package that is removed, and keeps its blobs otherwise.
fn would_free_with_previous(store: &Store, removed: &[Installed], rest: Vec<Installed>) -> Result<u64> {
    let installed = store.installed_readable()?;
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
