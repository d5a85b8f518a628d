//! Kits on a stick: whom they vouch for, what they bring, and the site that they set up at the end.

use std::path::Path;

use url::Url;

use crate::bundle::{Bundles, Item, Stick};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Kind, Manifest, PackageRef, ProfileRegistry};
use crate::progress::{Monitor, Silent};
use crate::registry::{self, Addition, VerifiedIndex};

use super::carried;
use super::error::{Error, Result};
use super::import::ImportOptions;
use super::indexes;
use super::kit::{SetUp, set_up};
use super::sift::Candidate;
use super::stick_trust::{self, Brought};

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

/// Brings known registries up to date, and trusts those that a kit of a registry known here vouches for,
/// where the stick carries them.
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
    let brought = stick_trust::update_from(stick, home)?;
    let indexes = indexes::load(home)?;
    let mut has_new = false;
    for (index, kit) in vouched_kits(options, bundles, &indexes) {
        if indexes::check_age(index, options.accepts_stale, &Silent).is_err() {
            continue;
        }
        for wanted in kit.profile.iter().flat_map(|profile| &profile.registries) {
            match accept(stick.root(), home, wanted) {
                Ok(false) => {}
                Ok(true) => {
                    has_new = true;
                    let (name, kit) = (&wanted.name, &kit.package.name);
                    monitor.note(&format!(
                        "the registry `{name}` is trusted from now on: `{kit}` vouches for it"
                    ));
                }
                Err(error) => monitor.warn(&format!("`{}`: {}", kit.package.name, error.in_one_line())),
            }
        }
    }
    if has_new { stick_trust::update_from(stick, home) } else { Ok(brought) }
}

/// False when it is known already, or not on the stick.
fn accept(folder: &Path, home: &Home, wanted: &ProfileRegistry) -> Result<bool> {
    let ProfileRegistry { name, fingerprint, url } = wanted;
    if registry::known(&home.registries())?.iter().any(|known| known.fingerprint == *fingerprint) {
        return Ok(false);
    }
    let carried = carried::find(folder, name, Some(&(*fingerprint).into()))?;
    let Some(carried) = carried.filter(|carried| carried.fingerprint() == Some(*fingerprint)) else {
        return Ok(false);
    };
    let url = Url::parse(url).map_err(|error| {
        Error::new(ErrorKind::Failed, format!("`{url}` is no address of the registry `{name}`: {error}"))
    })?;
    let addition = Addition { name: name.clone(), url, fingerprint: Some((*fingerprint).into()) };
    registry::add(&home.registries().join(name.as_str()), &addition, &carried)?;
    Ok(true)
}

/// The kits among what was asked for that an index verified here describes and did not take back.
fn vouched_kits<'a>(
    options: &ImportOptions,
    bundles: &Bundles,
    indexes: &'a [VerifiedIndex],
) -> Vec<(&'a VerifiedIndex, &'a Manifest)> {
    let items = bundles.bundles.iter().flat_map(|bundle| &bundle.description.items);
    let is_asked = |item: &&Item| {
        options.packages.is_empty() || options.packages.iter().any(|asked| asked.name == item.package.name)
    };
    let mut kits = Vec::new();
    for item in items.filter(|item| item.kind == Kind::Kit).filter(is_asked) {
        for index in indexes {
            let versions = index.versions_of(&item.package.name).iter();
            kits.extend(
                versions
                    .filter(|it| it.is_kit() && Some(&it.package.version) == item.package.version.as_ref())
                    .map(|it| (index, it)),
            );
        }
    }
    kits.retain(|(_, kit)| {
        let (name, version) = (&kit.package.name, &kit.package.version);
        indexes.iter().all(|index| index.revocation_of(name, version).is_none())
    });
    kits
}

/// Takes the kits out of what is installed as soon as it is whole: they come last.
pub(super) fn take_out(candidates: &mut Vec<Candidate>) -> Vec<Candidate> {
    let (kits, others) =
        std::mem::take(candidates).into_iter().partition(|candidate| candidate.installed.manifest.is_kit());
    *candidates = others;
    kits
}

/// Sets the site up with what came; the kits that did are added to what is installed.
///
/// # Errors
/// As `set_up`.
pub(super) fn finish(
    home: &Home,
    kits: Vec<Candidate>,
    installed: &mut Vec<PackageRef>,
    monitor: &dyn Monitor,
) -> Result<Vec<SetUp>> {
    let mut reports = Vec::new();
    for kit in kits {
        let report = set_up(home, &kit.installed, monitor)?;
        if report.is_set_up {
            installed.push(kit.package);
        }
        reports.push(report);
    }
    Ok(reports)
}
