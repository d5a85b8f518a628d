//! What of a stick may come in: its own list says what it carries, the verified indexes say what that is.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::bundle::{BundleError, Bundles, Item};
use crate::error::{ErrorKind, Explain as _};
use crate::package::{Manifest, Name, PackageRef, VariantId, Version};
use crate::progress::Monitor;
use crate::registry::{self, Subject, VerifiedIndex, short_fingerprint};
use crate::store::{Installed, Origin, Store};

use super::choice::origin;
use super::courier::Statements;
use super::error::{Error, Result};
use super::import::ImportOptions;
use super::indexes;
use super::revoked;
use super::site;
use super::stick_trust::UnknownRoot;

/// A package that may come in.
pub(super) struct Candidate {
    pub(super) package: PackageRef,
    /// Its record, as a verified index describes it.
    pub(super) installed: Installed,
}

/// A package that may not come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedPackage {
    /// The package, as the stick names it.
    pub package: PackageRef,
    /// Why not.
    pub reason: String,
}

/// The packages of a stick, sorted by what may happen to them.
#[derive(Default)]
pub(super) struct Sifted {
    pub(super) candidates: Vec<Candidate>,
    pub(super) unchanged: Vec<PackageRef>,
    pub(super) refused: Vec<RefusedPackage>,
}

/// On which terms packages may come in.
pub(super) struct Terms<'a> {
    pub(super) options: &'a ImportOptions,
    pub(super) unknown_roots: &'a [UnknownRoot],
    pub(super) statements: &'a Statements,
    pub(super) monitor: &'a dyn Monitor,
}

/// Judges every package that the stick lists, or those that were asked for.
///
/// # Errors
/// When a package that was asked for is not on the stick, or an index is too old to install from.
pub(super) fn sift(
    bundles: &Bundles,
    indexes: &[VerifiedIndex],
    store: &Store,
    terms: &Terms<'_>,
) -> Result<Sifted> {
    let all: Vec<&Item> = bundles.bundles.iter().flat_map(|bundle| &bundle.description.items).collect();
    check_asked(&terms.options.packages, &all, &bundles.refused)?;
    let mut judged: HashSet<Name> = HashSet::new();
    let mut best: BTreeMap<Name, Candidate> = BTreeMap::new();
    let mut refused: Vec<RefusedPackage> = Vec::new();
    for item in all.into_iter().filter(|item| is_asked(&terms.options.packages, item)) {
        match judge(item, indexes, terms) {
            Err(reason) => refused.push(RefusedPackage { package: item.package.clone(), reason }),
            Ok((candidate, index)) => {
                if let Some(index) = index.filter(|index| judged.insert(index.name().clone())) {
                    indexes::check_age(index, terms.options.accepts_stale, terms.monitor)?;
                }
                let name = candidate.installed.name().clone();
                let is_better = best.get(&name).is_none_or(|known| version(known) < version(&candidate));
                if is_better {
                    best.insert(name, candidate);
                } else {
                    note_other_build(&candidate, best.get(&name), terms.monitor);
                }
            }
        }
    }
    // The same package may stand in several bundles, as an older version too.
    refused.retain(|refused| !best.contains_key(&refused.package.name));
    refused.dedup();
    let mut sifted = Sifted { refused, ..Sifted::default() };
    for candidate in best.into_values() {
        compare_with_installed(candidate, store, terms, &mut sifted)?;
    }
    // Small ones first, so that something is usable soon.
    sifted.candidates.sort_by_key(|candidate| candidate.installed.size_bytes());
    Ok(sifted)
}

/// Two builds of one version: only one can be installed, so a person should know of the other.
fn note_other_build(other: &Candidate, taken: Option<&Candidate>, monitor: &dyn Monitor) {
    let Some(taken) = taken.filter(|taken| version(taken) == version(other)) else { return };
    if taken.installed.variant != other.installed.variant {
        let (taken, other) = (&taken.package, &other.package);
        monitor.note(&format!(
            "`{other}` is on the stick too; `localml import DIR {other}` takes it, not `{taken}`"
        ));
    }
}

fn version(candidate: &Candidate) -> &Version {
    &candidate.installed.manifest.package.version
}

fn check_asked(asked: &[PackageRef], all: &[&Item], unread: &[BundleError]) -> Result<()> {
    let is_absent = |package: &&PackageRef| all.iter().all(|item| !matches(package, item));
    let Some(absent) = asked.iter().find(is_absent) else {
        return Ok(());
    };
    if let Some(cause) = unread.first() {
        let message = format!("`{absent}` is not in what can be read of this stick: {cause}");
        let error = Error::new(cause.kind(), message);
        return Err(match cause.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        });
    }
    let mut names: Vec<String> = all.iter().map(|item| format!("`{}`", item.package)).collect();
    names.sort();
    names.dedup();
    let error = Error::new(ErrorKind::NotFound, format!("`{absent}` is not on this stick"));
    Err(match names.is_empty() {
        true => error,
        false => error.with_hint(format!("on it are {}", names.join(", "))),
    })
}

fn is_asked(asked: &[PackageRef], item: &Item) -> bool {
    asked.is_empty() || asked.iter().any(|package| matches(package, item))
}

fn matches(asked: &PackageRef, item: &Item) -> bool {
    let is_other_version = asked.version.is_some() && asked.version != item.package.version;
    let is_other_variant = asked.variant.is_some() && asked.variant != item.package.variant;
    asked.name == item.package.name && !is_other_version && !is_other_variant
}

/// Finds who vouches for a package; the error is the reason why nobody does.
fn judge<'a>(
    item: &Item,
    indexes: &'a [VerifiedIndex],
    terms: &Terms<'_>,
) -> std::result::Result<(Candidate, Option<&'a VerifiedIndex>), String> {
    let (Some(version), Some(variant)) = (&item.package.version, &item.package.variant) else {
        return Err("the stick does not say which version and build it is".into());
    };
    // Another registry may still list the same bytes; whoever took them back had a reason.
    if let Some(revoked) = registry::revoked(indexes, &subject(item, version)) {
        return Err(format!("its publisher took it back: {}", revoked.revocation.reason));
    }
    if let Some(manifest) = &item.unsigned {
        return unsigned(item, manifest, variant, indexes, terms).map(|candidate| (candidate, None));
    }
    let name = &item.package.name;
    let mut reason = unknown_reason(item, terms);
    for index in indexes {
        let manifest = index.versions_of(name).iter().find(|manifest| manifest.package.version == *version);
        let Some(manifest) = manifest else {
            continue;
        };
        if !describes(manifest, variant, item) {
            reason = format!("the registry `{}` describes other bytes under this name", index.name());
        } else {
            let installed = Installed::new(manifest.clone(), variant.clone(), origin(index), site::now());
            return Ok((Candidate { package: item.package.clone(), installed }, Some(index)));
        }
    }
    Err(reason)
}

fn subject<'a>(item: &'a Item, version: &'a Version) -> Subject<'a> {
    Subject {
        name: &item.package.name,
        version,
        files: item.files.iter().map(|file| file.sha256).collect(),
        is_vouched: item.unsigned.is_none(),
    }
}

fn unknown_reason(item: &Item, terms: &Terms<'_>) -> String {
    let registry = item.package.registry.as_ref().map(Name::as_str);
    match terms.unknown_roots.iter().find(|root| Some(root.name.as_str()) == registry) {
        Some(root) => {
            let short = short_fingerprint(&root.fingerprint);
            format!("its registry `{}` is not known here (fingerprint {short})", root.name)
        }
        None => "no registry known here names it".into(),
    }
}

/// True when the signed manifest means the very files that the stick lists.
fn describes(manifest: &Manifest, variant: &VariantId, item: &Item) -> bool {
    manifest.variant(variant).is_some_and(|variant| {
        variant.files.iter().all(|file| item.files.iter().any(|listed| listed.sha256 == file.sha256))
    })
}

/// What no publisher signed comes by the keeper's word, or by that of a courier whom the keeper authorised.
fn unsigned(
    item: &Item,
    manifest: &Manifest,
    variant: &VariantId,
    indexes: &[VerifiedIndex],
    terms: &Terms<'_>,
) -> std::result::Result<Candidate, String> {
    let name = &item.package.name;
    let by_name = format!("`--unsigned {name}` takes it all the same");
    let (manifest, origin) = if terms.options.unsigned.contains(name) {
        (manifest, Origin::Unsigned)
    } else {
        match terms.statements.vouch(&item.package) {
            Ok(vouched) => vouched,
            Err(more) if more.is_empty() => return Err(format!("nobody signed it; {by_name}")),
            Err(more) => return Err(format!("no publisher signed it; {more}; {by_name}")),
        }
    };
    let is_itself =
        manifest.package.name == *name && Some(&manifest.package.version) == item.package.version.as_ref();
    if !is_itself || manifest.variant(variant).is_none() || manifest.check().is_err() {
        return Err("its own description contradicts itself".into());
    }
    let holder = indexes.iter().find(|index| !index.versions_of(name).is_empty());
    if let (Origin::Courier { .. }, Some(index)) = (&origin, holder) {
        return Err(format!(
            "the registry `{}` has a package of this name, and a courier's does not take its place; {by_name}",
            index.name()
        ));
    }
    let installed = Installed::new(manifest.clone(), variant.clone(), origin, site::now());
    // What the stick lists may differ from the description; the description is what would come in.
    match revoked::against(indexes, &installed) {
        Some(revoked) => Err(format!("its publisher took it back: {}", revoked.reason)),
        None => Ok(Candidate { package: item.package.clone(), installed }),
    }
}

/// What is installed already stays; a newer version stays too, unless the older one was asked for.
fn compare_with_installed(
    candidate: Candidate,
    store: &Store,
    terms: &Terms<'_>,
    sifted: &mut Sifted,
) -> Result<()> {
    let here = store.find(candidate.installed.name())?;
    let wanted = &candidate.installed;
    let is_same = store.has_installed(wanted)?;
    let is_version_asked = terms
        .options
        .packages
        .iter()
        .any(|package| package.name == *wanted.name() && package.version.is_some());
    let is_courier = matches!(wanted.origin, Origin::Courier { .. });
    match here {
        Some(here) if is_courier && here.origin != wanted.origin => {
            let name = here.name();
            let reason = format!(
                "another `{name}` is installed here, and a courier's does not take its place; `localml remove {name}` \
                 makes room for it"
            );
            sifted.refused.push(RefusedPackage { package: candidate.package, reason });
        }
        Some(_) if is_same => sifted.unchanged.push(candidate.package),
        Some(here) if here.manifest.package.version > *version(&candidate) && !is_version_asked => {
            let newer = &here.manifest.package.version;
            terms.monitor.note(&format!("`{}` stays: {newer} is installed here", candidate.package));
            sifted.unchanged.push(candidate.package);
        }
        _ => sifted.candidates.push(candidate),
    }
    Ok(())
}
