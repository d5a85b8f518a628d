//! Kits: which of their members are here, and what a kit does to the site that it sets up.

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Kind, Manifest, Name, PackageRef, VariantId};
use crate::progress::Monitor;
use crate::registry::{self, VerifiedIndex, resolve};
use crate::store::{Installed, Store};

use super::choice::origin;
use super::error::{Error, Result};
use super::indexes;
use super::profile::{self, SettingChange, SiteKit};
use super::site;

/// A kit that set this site up, or would have.
#[derive(Debug, Serialize)]
pub struct SetUp {
    /// The kit.
    #[serde(flatten)]
    pub kit: SiteKit,
    /// False when none of its members is here, so that nothing was set up.
    pub is_set_up: bool,
    /// How many packages it has.
    pub num_members: usize,
    /// Those that are not installed here.
    pub missing: Vec<PackageRef>,
    /// The kit that had set the site up before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<SiteKit>,
    /// Settings of an earlier kit that this one changed.
    pub changed: Vec<SettingChange>,
    /// Settings that the keeper had changed, and that stay.
    pub kept: Vec<SettingChange>,
    /// The commands that come next.
    pub next: Vec<String>,
}

/// A member of a kit that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingMember {
    /// The kit.
    pub kit: Name,
    /// The member.
    pub member: PackageRef,
    /// What brings it.
    pub command: String,
}

impl MissingMember {
    pub(super) fn new(kit: &Name, member: &PackageRef) -> Self {
        let command = format!("localml fetch {member}");
        Self { kit: kit.clone(), member: member.clone(), command }
    }
}

/// Kits that are to be exported.
#[derive(Debug, Default)]
pub(super) struct KitsHere {
    /// The kits' own records.
    pub(super) kits: Vec<Installed>,
    /// Their members that are here.
    pub(super) held: Vec<PackageRef>,
    /// Those that are not.
    pub(super) missing: Vec<MissingMember>,
}

/// Finds kits by name, with or without `-kit`, and which of their members are fetched or installed here.
///
/// # Errors
/// When a name is not known or is no kit, or nothing of a kit is here.
pub(super) fn here(home: &Home, store: &Store, names: &[PackageRef]) -> Result<KitsHere> {
    let mut found = KitsHere::default();
    if names.is_empty() {
        return Ok(found);
    }
    let indexes = indexes::load(home)?;
    let packages = [store.installed()?, store.fetched()?].concat();
    for name in names {
        let kit = find(&indexes, name)?;
        let is_here = |member: &&PackageRef| packages.iter().any(|held| is_meant(member, held));
        let members = &kit.manifest.package.members;
        let (held, missing): (Vec<&PackageRef>, Vec<&PackageRef>) = members.iter().partition(is_here);
        if held.is_empty() {
            let message = format!("nothing of the kit `{}` is here", kit.name());
            return Err(Error::new(ErrorKind::NotFound, message)
                .with_hint(format!("`localml fetch {}` brings it", kit.name())));
        }
        found.held.extend(held.into_iter().cloned());
        found.missing.extend(missing.into_iter().map(|member| MissingMember::new(kit.name(), member)));
        found.kits.push(kit);
    }
    Ok(found)
}

/// Puts the kits' own records, which take no room, before the packages.
pub(super) fn first(kits: Vec<Installed>, mut packages: Vec<Installed>) -> Vec<Installed> {
    packages.retain(|held| kits.iter().all(|kit| kit.name() != held.name()));
    packages.splice(0..0, kits);
    packages
}

/// The record of a kit that an index describes.
fn find(indexes: &[VerifiedIndex], name: &PackageRef) -> Result<Installed> {
    let with_ending: Option<Name> = format!("{}-kit", name.name).parse().ok();
    let longer = with_ending.map(|longer| PackageRef { name: longer, ..name.clone() });
    let resolved = match longer.and_then(|longer| resolve(indexes, &longer).ok()) {
        Some(resolved) => resolved,
        None => resolve(indexes, name)?,
    };
    if !resolved.manifest.is_kit() {
        let kind = &resolved.manifest.package.kind;
        let message = format!("`{name}` is of the kind `{kind}`, not a kit");
        return Err(Error::new(ErrorKind::Usage, message).with_hint("`localml search kit` lists the kits"));
    }
    Ok(record(resolved.manifest, resolved.index))
}

fn record(manifest: &Manifest, index: &VerifiedIndex) -> Installed {
    Installed::new(manifest.clone(), VariantId::of_kit(), origin(index), site::now())
}

/// True when a package is the member, in the version and build that the kit names.
fn is_meant(member: &PackageRef, held: &Installed) -> bool {
    member.name == *held.name()
        && member.version.as_ref().is_none_or(|version| *version == held.manifest.package.version)
        && member.variant.as_ref().is_none_or(|variant| *variant == held.variant)
}

/// The members of a kit that are not installed. A newer version or another build that the keeper chose is one.
///
/// # Errors
/// When a record is damaged.
pub(super) fn missing_members(store: &Store, kit: &Manifest) -> Result<Vec<PackageRef>> {
    let mut missing = Vec::new();
    for member in &kit.package.members {
        let here = store.find_readable(&member.name)?;
        let is_new_enough = |here: &Installed| {
            member.version.as_ref().is_none_or(|wanted| here.manifest.package.version >= *wanted)
        };
        if !here.as_ref().is_some_and(is_new_enough) {
            missing.push(member.clone());
        }
    }
    Ok(missing)
}

/// Sets this site up as a kit says, and then records the kit: that is the commit.
///
/// # Errors
/// When the profile here is damaged, or the disk fails.
pub(super) fn set_up(home: &Home, kit: &Installed, monitor: &dyn Monitor) -> Result<SetUp> {
    let mut report = state(home, kit)?;
    if report.is_set_up {
        let applied = profile::apply(home, &kit.manifest)?;
        site::store(home).record(kit)?;
        (report.replaced, report.changed, report.kept) = (applied.replaced, applied.changed, applied.kept);
        report.next = next_commands(home)?;
        tell(&report, monitor);
    }
    Ok(report)
}

/// Sets this site up once more by a kit that is here, where its profile was removed, as the hint about a damaged one
/// says; `None` where nothing is to be done.
///
/// # Errors
/// As `set_up`.
pub(super) fn set_up_again(home: &Home, kit: &Installed, monitor: &dyn Monitor) -> Result<Option<SetUp>> {
    let is_unset = kit.manifest.profile.is_some() && profile::read(home)?.kit.is_none();
    if is_unset { set_up(home, kit, monitor).map(Some) } else { Ok(None) }
}

/// How far a kit has set this site up, without changing anything.
///
/// # Errors
/// When the profile or a record is damaged.
pub(super) fn state(home: &Home, kit: &Installed) -> Result<SetUp> {
    let head = &kit.manifest.package;
    let missing = missing_members(&site::store(home), &kit.manifest)?;
    let is_set_up = missing.len() < head.members.len();
    Ok(SetUp {
        kit: SiteKit { name: head.name.clone(), version: head.version.clone() },
        is_set_up,
        num_members: head.members.len(),
        missing,
        replaced: None,
        changed: Vec::new(),
        kept: Vec::new(),
        next: if is_set_up { next_commands(home)? } else { Vec::new() },
    })
}

/// Nothing that a keeper set, or saw set, is changed in silence.
fn tell(report: &SetUp, monitor: &dyn Monitor) {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    if let Some(before) = &report.replaced {
        let (now, site) = (&report.kit, before.site());
        monitor.note(&format!(
            "this site was set up as {site} (kit {}); now it is {} (kit {})",
            before.version,
            now.site(),
            now.version
        ));
    }
    for SettingChange { setting, old, new } in &report.changed {
        monitor.note(&format!("`{setting}` was {} and is now {}", shown(old), shown(new)));
    }
    for SettingChange { setting, old, new } in &report.kept {
        let (name, own, other) = (&report.kit.name, shown(old), shown(new));
        monitor.warn(&format!("`{setting}` stays {own} as you set it; `{name}` says {other}"));
    }
}

/// What remains to be typed after a kit came: collections to index, registries to add.
///
/// # Errors
/// When the profile or a record is damaged.
pub(super) fn next_commands(home: &Home) -> Result<Vec<String>> {
    let store = site::store(home);
    let site = profile::read(home)?;
    let mut commands = Vec::new();
    for (name, packages) in &site.collections {
        let is_indexed = home.collections().join(name.as_str()).join("collection.json").is_file();
        let mut here = Vec::new();
        for package in packages {
            let is_here = |held: &Installed| held.manifest.package.kind == Kind::Knowledge;
            if store.find_readable(&package.name)?.is_some_and(|held| is_here(&held)) {
                here.push(package.name.to_string());
            }
        }
        if !is_indexed && !here.is_empty() {
            commands.push(format!("localml index add {} --name {name}", here.join(" ")));
        }
    }
    let kit = site.kit.map(|kit| store.find_readable(&kit.name)).transpose()?.flatten();
    let known = registry::known(&home.registries())?;
    for wanted in kit.iter().filter_map(|kit| kit.manifest.profile.as_ref()).flat_map(|it| &it.registries) {
        if known.iter().all(|known| known.fingerprint != wanted.fingerprint) {
            let (name, url, fingerprint) = (&wanted.name, &wanted.url, wanted.fingerprint);
            commands.push(format!("localml registry add {name} {url} --fingerprint {fingerprint}"));
        }
    }
    Ok(commands)
}
