//! From names to bytes: which versions and builds a wish comes to, and what of them is missing here.

use std::collections::HashSet;

use url::Url;

use crate::digest::Sha256;
use crate::error::{ErrorKind, Explain as _};
use crate::package::{FileEntry, Kind, Manifest, Name, PackageRef, Variant};
use crate::progress::Monitor;
use crate::registry::{self, VerifiedIndex};
use crate::store::{Installed, Origin, Store};

use super::error::{Error, Result};
use super::fitting::Fitting;
use super::indexes;
use super::kit::MissingMember;
use super::site;

/// The most packages that one wish may pull in, so that a circle or a flood of `requires` ends.
const MAX_PACKAGES: usize = 256;

/// One package version and build, chosen for this machine.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) manifest: Manifest,
    pub(super) variant: Variant,
    pub(super) origin: Origin,
    /// Where each file can be had, in the order of the variant's files.
    pub(super) sources: Vec<Sources>,
    /// True when exactly this is installed already, and its bytes are all here.
    pub(super) is_installed: bool,
}

/// Where one file, and its piece list, can be had.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) file: Vec<Url>,
    pub(super) piece_list: Option<Url>,
}

impl Choice {
    /// The package's name.
    pub(super) fn name(&self) -> &Name {
        &self.manifest.package.name
    }

    /// The record of this choice, once it is installed.
    pub(super) fn to_installed(&self) -> Installed {
        Installed::new(self.manifest.clone(), self.variant.id.clone(), self.origin.clone(), site::now())
    }

    /// The files whose bytes are not in the store, with their sources; of several with the same bytes, the first.
    pub(super) fn missing<'a>(&'a self, store: &Store) -> Vec<(&'a FileEntry, &'a Sources)> {
        let is_here = |file: &FileEntry| store.blob_path(&file.sha256, file.size_bytes).is_some();
        let mut seen: HashSet<Sha256> = HashSet::new();
        let files = self.variant.files.iter().zip(&self.sources);
        files.filter(|(file, _)| !is_here(file) && seen.insert(file.sha256)).collect()
    }
}

/// The files that all these choices lack, each blob once.
pub(super) fn missing_files<'a>(
    choices: &'a [Choice],
    store: &'a Store,
) -> impl Iterator<Item = &'a FileEntry> {
    let mut seen: HashSet<Sha256> = HashSet::new();
    let missing = choices.iter().flat_map(|choice| choice.missing(store)).map(|(file, _)| file);
    missing.filter(move |file| seen.insert(file.sha256))
}

/// The bytes that all these choices lack.
pub(super) fn missing_bytes(choices: &[Choice], store: &Store) -> u64 {
    missing_files(choices, store).map(|file| file.size_bytes).sum()
}

/// What wishes come to.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The packages, with what each requires; kits come after all others.
    pub(super) choices: Vec<Choice>,
    /// Members of kits that no registry known here has.
    pub(super) missing: Vec<MissingMember>,
}

/// On which terms packages are chosen.
pub(super) struct Terms<'a> {
    /// The machine that they are for.
    pub(super) fitting: Fitting,
    /// True when a very old index may be used.
    pub(super) accepts_stale: bool,
    /// Hears warnings about old indexes.
    pub(super) monitor: &'a dyn Monitor,
}

/// Resolves wishes, the members of kits and what each package requires.
///
/// # Errors
/// When a name is not found, is held by two registries, was revoked, or fits no build for this machine.
pub(super) fn choose(
    wishes: &[PackageRef],
    indexes: &[VerifiedIndex],
    store: &Store,
    terms: &Terms<'_>,
) -> Result<Chosen> {
    refuse_two_of_one(wishes)?;
    let asked: HashSet<&Name> = wishes.iter().map(|wish| &wish.name).collect();
    let mut queue: Vec<(PackageRef, Option<Name>, Reason)> =
        wishes.iter().rev().map(|wish| (wish.clone(), None, Reason::Asked)).collect();
    let mut seen: HashSet<Name> = HashSet::new();
    let mut judged: HashSet<&Name> = HashSet::new();
    let (mut choices, mut kits, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    while let Some((wish, kit, reason)) = queue.pop() {
        // What the user asked for by name counts, not what a kit pins of it.
        let is_overruled = reason == Reason::Needed && asked.contains(&wish.name);
        if is_overruled || !seen.insert(wish.name.clone()) {
            continue;
        }
        if seen.len() > MAX_PACKAGES {
            let message = format!("`{}` pulls in more than {MAX_PACKAGES} packages", wishes[0]);
            return Err(Error::new(ErrorKind::Failed, message));
        }
        let resolved = match (registry::resolve(indexes, &wish), kit) {
            (Err(error), Some(kit)) if error.kind() == ErrorKind::NotFound => {
                missing.push(MissingMember::new(&kit, &wish));
                continue;
            }
            (resolved, _) => resolved?,
        };
        if judged.insert(resolved.index.name()) {
            indexes::check_age(resolved.index, terms.accepts_stale, terms.monitor)?;
        }
        let head = &resolved.manifest.package;
        let members = head.members.iter().map(|member| (member, Some(head.name.clone())));
        let wanted = head.requires.iter().map(|required| (required, None)).chain(members);
        let wanted: Vec<_> = wanted.map(|(wish, kit)| (wish.clone(), kit, Reason::Needed)).collect();
        queue.extend(wanted.into_iter().rev());
        if reason == Reason::Needed && has_newer(&resolved, store)? {
            continue;
        }
        match resolved.manifest.is_kit() {
            true => kits.push(kit_choice(&resolved, store)?),
            false => choices.push(choice(&resolved, store, &terms.fitting)?),
        }
    }
    choices.extend(kits.into_iter().rev());
    Ok(Chosen { choices, missing })
}

/// Two versions or builds of one package are two errands: none of them is left out without a word.
fn refuse_two_of_one(wishes: &[PackageRef]) -> Result<()> {
    let is_other = |one: &PackageRef, other: &PackageRef| one.name == other.name && one != other;
    let first = wishes.iter().find_map(|one| Some((one, wishes.iter().find(|other| is_other(one, other))?)));
    let Some((one, other)) = first else { return Ok(()) };
    Err(Error::new(ErrorKind::Usage, format!("`{one}` and `{other}` cannot come by one command"))
        .with_hint("give the command once for each of them"))
}

/// Why a package is among the chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Its name was given.
    Asked,
    /// Another one has it as a member, or requires it.
    Needed,
}

/// True when a later version from the same publisher is installed: what a kit pins must not take it back.
fn has_newer(resolved: &registry::Resolved<'_>, store: &Store) -> Result<bool> {
    let head = &resolved.manifest.package;
    let Some(installed) = store.find_readable(&head.name)? else { return Ok(false) };
    let is_later = installed.manifest.package.version > head.version;
    Ok(is_later && installed.origin == origin(resolved.index) && store.has_installed(&installed)?)
}

fn choice(resolved: &registry::Resolved<'_>, store: &Store, fitting: &Fitting) -> Result<Choice> {
    let manifest = resolved.manifest;
    let variant = match resolved.variant {
        Some(variant) => variant,
        None => installed_variant(manifest, store)?.map_or_else(|| fitting.pick(manifest), Ok)?,
    };
    fitting.check(manifest, variant)?;
    let wanted = Installed::new(manifest.clone(), variant.id.clone(), origin(resolved.index), 0);
    let is_installed = store.has_installed(&wanted)?;
    let sources = variant
        .files
        .iter()
        .map(|file| Sources {
            file: resolved.index.sources_of(file),
            piece_list: resolved.index.piece_list_of(file),
        })
        .collect();
    Ok(Choice {
        manifest: manifest.clone(),
        variant: variant.clone(),
        origin: wanted.origin,
        sources,
        is_installed,
    })
}

/// A kit: nothing of its own to fetch, and a record at the end.
fn kit_choice(resolved: &registry::Resolved<'_>, store: &Store) -> Result<Choice> {
    let (manifest, variant) = (resolved.manifest.clone(), Variant::of_kit());
    let wanted = Installed::new(manifest.clone(), variant.id.clone(), origin(resolved.index), 0);
    let is_installed = store.has_installed(&wanted)?;
    Ok(Choice { manifest, variant, origin: wanted.origin, sources: Vec::new(), is_installed })
}

/// The build that is installed already stays the choice, so that asking twice costs nothing.
fn installed_variant<'a>(manifest: &'a Manifest, store: &Store) -> Result<Option<&'a Variant>> {
    let installed = store.find_readable(&manifest.package.name)?;
    Ok(installed.and_then(|installed| manifest.variant(&installed.variant)))
}

/// Who vouches for what an index names.
pub(super) fn origin(index: &VerifiedIndex) -> Origin {
    match index.trust() {
        registry::Trust::BuiltIn => Origin::Catalog,
        registry::Trust::Signed { .. } => Origin::Registry(index.name().clone()),
    }
}

/// True for kinds that this localml can put to use; others are carried and kept.
pub(super) fn is_usable(kind: &Kind) -> bool {
    !matches!(kind, Kind::Other(_))
}
