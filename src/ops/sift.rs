//! What of a stick may come in: its own list says what it carries, the verified indexes say what that is.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;

use crate::bundle::{BundleError, Bundles, Item};
use crate::digest::Sha256;
use crate::error::{ErrorKind, Explain as _};
use crate::package::{FileEntry, Manifest, Name, PackageRef, VariantId, Version};
use crate::progress::Monitor;
use crate::registry::{VerifiedIndex, short_fingerprint};
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
    /// The registries that describe these very bytes so; none for what no publisher signed.
    vouchers: Vec<Name>,
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
    let mut rivals: Vec<RefusedPackage> = Vec::new();
    let mut contested: BTreeMap<Name, String> = BTreeMap::new();
    for item in all.into_iter().filter(|item| is_asked(&terms.options.packages, item)) {
        match judge(item, indexes, store, terms) {
            Err(reason) => refused.push(RefusedPackage { package: item.package.clone(), reason }),
            Ok((candidate, index)) => {
                if let Some(index) = index.filter(|index| judged.insert(index.name().clone())) {
                    indexes::check_age(index, terms.options.accepts_stale, terms.monitor)?;
                }
                let name = candidate.installed.name().clone();
                if let Some(reason) = rival_of_installed(&candidate, store, terms)? {
                    rivals.push(RefusedPackage { package: candidate.package, reason });
                    continue;
                }
                if let Some(reason) = rival_on_stick(&candidate, best.get(&name)) {
                    contested.insert(name, reason.clone());
                    rivals.push(RefusedPackage { package: candidate.package, reason });
                    continue;
                }
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
    for (name, reason) in contested {
        rivals.extend(best.remove(&name).map(|it| RefusedPackage { package: it.package, reason }));
    }
    refused.extend(rivals);
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

/// The registry that a package was asked of; `None` when any will do.
fn asked_registry<'a>(asked: &'a [PackageRef], item: &Item) -> Option<&'a Name> {
    let mut registries =
        asked.iter().filter(|package| matches(package, item)).map(|package| package.registry.as_ref());
    let first = registries.next()??;
    registries.all(|other| other == Some(first)).then_some(first)
}

/// Finds who vouches for a package; the error is the reason why nobody does.
fn judge<'a>(
    item: &Item,
    indexes: &'a [VerifiedIndex],
    store: &Store,
    terms: &Terms<'_>,
) -> std::result::Result<(Candidate, Option<&'a VerifiedIndex>), String> {
    let (Some(version), Some(variant)) = (&item.package.version, &item.package.variant) else {
        return Err("the stick does not say which version and build it is".into());
    };
    let asked = asked_registry(&terms.options.packages, item);
    if let Some(manifest) = &item.unsigned {
        return match asked {
            Some(registry) => Err(format!("the registry `{registry}` did not sign it")),
            None => unsigned(item, manifest, variant, indexes, terms).map(|candidate| (candidate, None)),
        };
    }
    let name = &item.package.name;
    let is_wanted = |index: &&VerifiedIndex| asked.is_none_or(|asked| asked == index.name());
    let named = indexes.iter().filter(is_wanted).filter_map(|index| {
        let mut versions = index.versions_of(name).iter();
        versions.find(|manifest| manifest.package.version == *version).map(|manifest| (index, manifest))
    });
    let (same, others): (Vec<_>, Vec<_>) =
        named.partition(|(_, manifest)| describes(manifest, variant, item));
    let Some((index, manifest)) = preferred(&same, &others, item, store)? else {
        return Err(match (others.first(), asked) {
            (Some((index, _)), _) => {
                format!("the registry `{}` describes other bytes under this name", index.name())
            }
            (None, Some(registry)) => format!("the registry `{registry}` does not name it"),
            (None, None) => unknown_reason(item, terms),
        });
    };
    let installed = Installed::new(manifest.clone(), variant.clone(), origin(index), site::now());
    // Its own publisher's word counts by name; anybody's, by the bytes: whoever took them back had a reason.
    let own = index.revocation_of(name, version).map(|word| word.reason.clone());
    if let Some(reason) = own.or_else(|| revoked::against(indexes, &installed).map(|word| word.reason)) {
        return Err(format!("its publisher took it back: {reason}"));
    }
    let vouchers = same.iter().map(|(index, _)| index.name().clone()).collect();
    Ok((Candidate { package: item.package.clone(), installed, vouchers }, Some(index)))
}

/// An index, and what it says of a package.
type Described<'a> = (&'a VerifiedIndex, &'a Manifest);

/// Of several that describe the same bytes, the one that the package here came from, or the carrier names; the
/// error says why none: others describe other bytes.
fn preferred<'a>(
    same: &[Described<'a>],
    others: &[Described<'a>],
    item: &Item,
    store: &Store,
) -> std::result::Result<Option<Described<'a>>, String> {
    let find = |registry: Option<&Name>| same.iter().find(|(index, _)| Some(index.name()) == registry);
    let here = store.find(&item.package.name).ok().flatten();
    let here = here.and_then(|here| revoked::publisher(&here.origin));
    if let Some(own) = find(here.as_ref()) {
        return Ok(Some(*own));
    }
    let chosen = find(item.package.registry.as_ref()).or(same.first());
    match (chosen, others.first()) {
        (Some((index, _)), Some((other, _))) => Err(qualify(index.name(), other.name(), &item.package.name)),
        _ => Ok(chosen.copied()),
    }
}

fn qualify(one: &Name, other: &Name, name: &Name) -> String {
    format!(
        "the registries `{one}` and `{other}` mean different packages by this name; qualify it: `localml import DIR \
         {one}/{name}` or `localml import DIR {other}/{name}`"
    )
}

/// Why a package may not take the place of another publisher's that is installed here.
fn rival_of_installed(candidate: &Candidate, store: &Store, terms: &Terms<'_>) -> Result<Option<String>> {
    let wanted = &candidate.installed;
    let Some(registry) = revoked::publisher(&wanted.origin) else { return Ok(None) };
    let Some(here) = store.find_readable(wanted.name())? else { return Ok(None) };
    let Some(publisher) = revoked::publisher(&here.origin) else { return Ok(None) };
    let is_asked = is_asked_of(&registry, wanted.name(), terms);
    if is_asked || candidate.vouchers.contains(&publisher) || has_same_bytes(&here, wanted) {
        return Ok(None);
    }
    let name = wanted.name();
    Ok(Some(format!(
        "`{publisher}` brought the `{name}` that is here; `localml import DIR {registry}/{name}` takes the other"
    )))
}

fn is_asked_of(registry: &Name, name: &Name, terms: &Terms<'_>) -> bool {
    let mut asked = terms.options.packages.iter();
    asked.any(|package| package.name == *name && package.registry.as_ref() == Some(registry))
}

/// Why a package on the stick is not what another on it is: different publishers use one name.
fn rival_on_stick(candidate: &Candidate, known: Option<&Candidate>) -> Option<String> {
    let known = known?;
    let (one, other) = (known.vouchers.first()?, candidate.vouchers.first()?);
    let is_shared = known.vouchers.iter().any(|name| candidate.vouchers.contains(name));
    (!is_shared).then(|| qualify(one, other, candidate.installed.name()))
}

fn has_same_bytes(left: &Installed, right: &Installed) -> bool {
    let version = |installed: &Installed| installed.manifest.package.version.clone();
    !left.files().is_empty()
        && version(left) == version(right)
        && digests(left.files()) == digests(right.files())
}

/// The digests of some files, whatever these are called.
pub(super) fn digests(files: &[FileEntry]) -> BTreeSet<Sha256> {
    files.iter().map(|file| file.sha256).collect()
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
    if manifest.is_kit() {
        return *variant == VariantId::of_kit() && item.files.is_empty();
    }
    let listed: BTreeSet<Sha256> = item.files.iter().map(|file| file.sha256).collect();
    manifest.variant(variant).is_some_and(|variant| digests(&variant.files) == listed)
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
        match terms.statements.vouch(item) {
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
        None => Ok(Candidate { package: item.package.clone(), installed, vouchers: Vec::new() }),
    }
}

/// The key of the courier that a package came by.
fn courier_of(installed: &Installed) -> Option<Sha256> {
    match installed.origin {
        Origin::Courier { fingerprint, .. } => Some(fingerprint),
        _ => None,
    }
}

fn is_other_build_of(here: &Installed, wanted: &Installed) -> bool {
    here.manifest.package.version == wanted.manifest.package.version
        && digests(here.files()) != digests(wanted.files())
}

/// What is installed already stays; a newer version stays too, unless the older one was asked for.
fn compare_with_installed(
    candidate: Candidate,
    store: &Store,
    terms: &Terms<'_>,
    sifted: &mut Sifted,
) -> Result<()> {
    let here = store.find_readable(candidate.installed.name())?;
    let wanted = &candidate.installed;
    let is_same = store.has_installed(wanted)?;
    let is_version_asked = terms
        .options
        .packages
        .iter()
        .any(|package| package.name == *wanted.name() && package.version.is_some());
    let is_name_asked = terms.options.packages.iter().any(|package| package.name == *wanted.name());
    let is_of_asked = revoked::publisher(&wanted.origin)
        .is_some_and(|registry| is_asked_of(&registry, wanted.name(), terms));
    let courier = courier_of(wanted);
    match here {
        Some(here) if courier.is_some() && courier_of(&here) != courier => {
            let name = here.name();
            let reason = format!(
                "another `{name}` is installed here, and a courier's does not take its place; `localml remove {name}` \
                 makes room for it"
            );
            sifted.refused.push(RefusedPackage { package: candidate.package, reason });
        }
        Some(_) if is_same => sifted.unchanged.push(candidate.package),
        // There is no telling which of two statements is the older one.
        Some(here) if courier.is_some() && !is_name_asked && is_other_build_of(&here, wanted) => {
            let (package, name) = (&candidate.package, wanted.name());
            terms.monitor.warn(&format!(
                "`{package}` stays: the same courier carries other bytes under this version; `localml import DIR \
                 {name}` takes those of the stick"
            ));
            sifted.unchanged.push(candidate.package);
        }
        Some(here)
            if here.manifest.package.version > *version(&candidate) && !is_version_asked && !is_of_asked =>
        {
            let newer = &here.manifest.package.version;
            terms.monitor.note(&format!("`{}` stays: {newer} is installed here", candidate.package));
            sifted.unchanged.push(candidate.package);
        }
        _ => sifted.candidates.push(candidate),
    }
    Ok(())
}
