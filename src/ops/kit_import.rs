//! Kits on a stick: whom they vouch for, what they bring, and the site that they set up at the end.

use std::path::Path;

use serde::Serialize;
use url::Url;

use crate::bundle::{Bundles, Item, Stick};
use crate::digest::Sha256;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Kind, Manifest, Name, PackageRef, ProfileRegistry};
use crate::progress::{Monitor, Silent};
use crate::registry::{self, Addition, Known, Outcome, VerifiedIndex};
use crate::store::{Installed, Store};

use super::carried;
use super::error::{Error, Result};
use super::import::ImportOptions;
use super::indexes;
use super::kit::{SetUp, missing_members, set_up, set_up_again, state};
use super::sift::Candidate;
use super::site;
use super::stick_trust::{self, Brought};

/// A registry that became trusted because a kit names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustedByKit {
    /// What it is called here.
    pub registry: Name,
    /// The sha256 of its first root.
    pub fingerprint: Sha256,
    /// The kit that vouches for it.
    pub kit: Name,
}

/// The packages that were asked for, and the members of the kits among them that the stick has.
pub(super) fn with_members(
    options: &ImportOptions,
    bundles: &Bundles,
    indexes: &[VerifiedIndex],
) -> Vec<PackageRef> {
    let mut packages = options.packages.clone();
    if packages.is_empty() {
        return packages;
    }
    let items: Vec<&Item> = bundles.bundles.iter().flat_map(|bundle| &bundle.description.items).collect();
    for (_, kit) in vouched_kits(options, bundles, indexes) {
        let on_stick = |member: &&PackageRef| items.iter().any(|item| item.package.name == member.name);
        let named = |member: &PackageRef| PackageRef {
            registry: None,
            version: None,
            variant: None,
            ..member.clone()
        };
        packages.extend(kit.package.members.iter().filter(on_stick).map(named));
    }
    packages
}

/// Brings known registries up to date, and trusts those that a kit vouches for, where the stick carries them. Only
/// the kit of a registry that the keeper added may vouch: trust that came by a kit goes one step, by this stick and
/// by every later one.
///
/// # Errors
/// As `stick_trust::update_from`.
pub(super) fn update_trust(
    stick: &Stick,
    home: &Home,
    options: &ImportOptions,
    bundles: &Bundles,
    monitor: &dyn Monitor,
) -> Result<Brought> {
    let mut brought = stick_trust::update_from(stick, home)?;
    let indexes = indexes::load(home)?;
    let known = registry::known(&home.registries())?;
    let came_by_kit = |name: &Name| known.iter().any(|it| it.name == *name && it.vouched_by.is_some());
    let mut trusted: Vec<TrustedByKit> = Vec::new();
    for (index, kit) in newest_kits(options, bundles, &indexes) {
        if indexes::check_age(index, options.accepts_stale, &Silent).is_err() {
            continue;
        }
        let wanted = kit.profile.iter().flat_map(|profile| &profile.registries);
        if came_by_kit(index.name()) {
            wanted
                .filter(|wanted| is_unknown(&known, wanted))
                .for_each(|wanted| refuse(wanted, kit, index, monitor));
            continue;
        }
        for wanted in wanted {
            match accept(stick.root(), home, wanted, &kit.package.name) {
                Ok(false) => {}
                Ok(true) => {
                    let (name, kit) = (&wanted.name, &kit.package.name);
                    monitor.note(&format!(
                        "the registry `{name}` is trusted from now on: `{kit}` vouches for it"
                    ));
                    let (registry, fingerprint, kit) = (name.clone(), wanted.fingerprint, kit.clone());
                    trusted.push(TrustedByKit { registry, fingerprint, kit });
                }
                Err(error) => monitor.warn(&format!("`{}`: {}", kit.package.name, error.in_one_line())),
            }
        }
    }
    if !trusted.is_empty() {
        let again = stick_trust::update_from(stick, home)?;
        brought = merged(brought, again, &trusted);
    }
    brought.trusted_by_kit = trusted;
    Ok(brought)
}

/// The second look finds the same state as the first one left; what changed is the news of both.
fn merged(first: Brought, again: Brought, trusted: &[TrustedByKit]) -> Brought {
    let mut merged = again;
    for registry in &mut merged.registries {
        if let Some(before) = first.registries.iter().find(|before| before.name == registry.name) {
            registry.outcome = before.outcome;
        } else if trusted.iter().any(|new| new.registry == registry.name) {
            registry.outcome = Outcome::Added;
        }
    }
    merged
}

fn is_unknown(known: &[Known], wanted: &ProfileRegistry) -> bool {
    known.iter().all(|known| known.fingerprint != wanted.fingerprint)
}

/// Says whom the keeper alone can let in.
fn refuse(wanted: &ProfileRegistry, kit: &Manifest, index: &VerifiedIndex, monitor: &dyn Monitor) {
    let (kit, through, ProfileRegistry { name, fingerprint, url }) =
        (&kit.package.name, index.name(), wanted);
    monitor.warn(&format!(
        "`{kit}` vouches for the registry `{name}`, but `{through}` came by a kit itself; if you trust \
         `{name}`: `localml registry add {name} {url} --fingerprint {fingerprint}`"
    ));
}

/// False when it is known already, or not on the stick.
fn accept(folder: &Path, home: &Home, wanted: &ProfileRegistry, kit: &Name) -> Result<bool> {
    let ProfileRegistry { name, fingerprint, url } = wanted;
    if !is_unknown(&registry::known(&home.registries())?, wanted) {
        return Ok(false);
    }
    let carried = carried::find(folder, name, Some(&(*fingerprint).into()))?;
    let Some(carried) = carried.filter(|carried| carried.fingerprint() == Some(*fingerprint)) else {
        return Ok(false);
    };
    let url = Url::parse(url).map_err(|error| {
        Error::new(ErrorKind::Failed, format!("`{url}` is no address of the registry `{name}`: {error}"))
    })?;
    let fingerprint = Some((*fingerprint).into());
    let addition = Addition { name: name.clone(), url, fingerprint, vouched_by: Some(kit.clone()) };
    registry::add(&home.registries().join(name.as_str()), &addition, &carried)?;
    Ok(true)
}

/// Of each kit on the stick, what the newest version in each index says: who was dropped since is not let in by
/// an older one.
fn newest_kits<'a>(
    options: &ImportOptions,
    bundles: &Bundles,
    indexes: &'a [VerifiedIndex],
) -> Vec<(&'a VerifiedIndex, &'a Manifest)> {
    let mut newest: Vec<(&VerifiedIndex, &Manifest)> = Vec::new();
    for (index, kit) in vouched_kits(options, bundles, indexes) {
        let versions = index.versions_of(&kit.package.name).iter();
        let is_good = |it: &&Manifest| index.revocation_of(&it.package.name, &it.package.version).is_none();
        let Some(kit) = versions.rev().filter(is_good).find(|it| it.is_kit()) else { continue };
        newest.push((index, kit));
    }
    newest
}

/// The kits among what was asked for that an index verified here describes and did not take back.
fn vouched_kits<'a>(
    options: &ImportOptions,
    bundles: &Bundles,
    indexes: &'a [VerifiedIndex],
) -> Vec<(&'a VerifiedIndex, &'a Manifest)> {
    let items = bundles.bundles.iter().flat_map(|bundle| &bundle.description.items);
    let is_asked = |item: &Item, index: &VerifiedIndex| {
        let is_meant = |asked: &PackageRef| {
            asked.name == item.package.name
                && asked.registry.as_ref().is_none_or(|registry| registry == index.name())
        };
        options.packages.is_empty() || options.packages.iter().any(is_meant)
    };
    let mut kits = Vec::new();
    for item in items.filter(|item| item.kind == Kind::Kit) {
        for index in indexes.iter().filter(|index| is_asked(item, index)) {
            let versions = index.versions_of(&item.package.name).iter();
            kits.extend(
                versions
                    .filter(|it| it.is_kit() && Some(&it.package.version) == item.package.version.as_ref())
                    .map(|it| (index, it)),
            );
        }
    }
    kits.retain(|(index, kit)| index.revocation_of(&kit.package.name, &kit.package.version).is_none());
    kits
}

/// What an import does about kits.
pub(super) struct Arriving {
    /// Those that come in.
    kits: Vec<Candidate>,
    /// What the stick brings that was here before.
    unchanged: Vec<Name>,
    /// The kits that were here before and lacked something.
    partial: Vec<Name>,
}

/// Takes the kits out of what is installed as soon as it is whole: they come last.
///
/// # Errors
/// When a record is damaged.
pub(super) fn take_out(
    candidates: &mut Vec<Candidate>,
    unchanged: &[PackageRef],
    store: &Store,
) -> Result<Arriving> {
    let (kits, others) =
        std::mem::take(candidates).into_iter().partition(|candidate| candidate.installed.manifest.is_kit());
    *candidates = others;
    let mut partial = Vec::new();
    for kit in store.installed_readable()?.into_iter().filter(|it| it.manifest.is_kit()) {
        if !missing_members(store, &kit.manifest)?.is_empty() {
            partial.push(kit.name().clone());
        }
    }
    Ok(Arriving { kits, unchanged: unchanged.iter().map(|package| package.name.clone()).collect(), partial })
}

/// Sets the site up with what came; the kits that did are added to what is installed. Kits that were here before
/// are told of while they lack something, and once when they do not any more.
///
/// # Errors
/// As `set_up`.
pub(super) fn finish(
    home: &Home,
    arriving: Arriving,
    installed: &mut Vec<PackageRef>,
    monitor: &dyn Monitor,
) -> Result<Vec<SetUp>> {
    let Arriving { kits, unchanged, partial } = arriving;
    let mut reports = Vec::new();
    let here = site::store(home).installed_readable()?;
    let is_new = |kit: &Installed| kits.iter().any(|new| new.installed.name() == kit.name());
    for kit in here.iter().filter(|kit| kit.manifest.is_kit() && !is_new(kit)) {
        let is_on_stick = unchanged.contains(kit.name());
        let set_up = if is_on_stick { set_up_again(home, kit, monitor)? } else { None };
        let is_set_up_again = set_up.is_some();
        let report = set_up.map_or_else(|| state(home, kit), Ok)?;
        let is_completed = partial.contains(kit.name()) && report.missing.is_empty();
        if is_completed || is_set_up_again || is_on_stick && !report.missing.is_empty() {
            reports.push(report);
        }
    }
    for kit in kits {
        let report = set_up(home, &kit.installed, monitor)?;
        if report.is_set_up {
            installed.push(kit.package);
        }
        reports.push(report);
    }
    Ok(reports)
}
