//! `search`: packages by words, from the catalog and every known registry, with no network.

use serde::Serialize;

use crate::home::Home;
use crate::package::{Kind, Manifest, Name, Variant, VariantId, Version};
use crate::registry::{self, Found, VerifiedIndex, resolve};
use crate::store::Installed;

use super::error::Result;
use super::indexes;
use super::site;

/// What was found, by name.
#[derive(Debug, Serialize)]
pub struct SearchReport {
    /// The packages.
    pub packages: Vec<FoundPackage>,
}

/// One package.
#[derive(Debug, Serialize)]
pub struct FoundPackage {
    /// Its name.
    pub name: Name,
    /// Its newest version.
    pub version: Version,
    /// What it is for.
    pub kind: Kind,
    /// One line for people.
    pub title: String,
    /// Its licence.
    pub license: String,
    /// True when the licence forbids some uses.
    pub restricted: bool,
    /// ISO 639-1 codes.
    pub languages: Vec<String>,
    /// The registry that holds it.
    pub registry: Name,
    /// The bytes of its smallest build; of a kit, those of its members that are known.
    pub size_bytes: u64,
    /// How many packages a kit has.
    pub num_members: usize,
    /// How many builds there are.
    pub num_variants: usize,
    /// The build that is installed here, if any.
    pub installed: Option<VariantId>,
}

/// Finds packages whose description holds every word.
///
/// # Errors
/// When a stored registry is damaged.
pub fn search(home: &Home, words: &[String]) -> Result<SearchReport> {
    let indexes = indexes::load(home)?;
    let installed = site::store(home).installed()?;
    let found = registry::search(&indexes, words);
    Ok(SearchReport {
        packages: found.into_iter().map(|found| described(found, &indexes, &installed)).collect(),
    })
}

fn described(found: Found<'_>, indexes: &[VerifiedIndex], installed: &[Installed]) -> FoundPackage {
    let head = &found.manifest.package;
    let here = installed.iter().find(|installed| *installed.name() == head.name);
    FoundPackage {
        name: head.name.clone(),
        version: head.version.clone(),
        kind: head.kind.clone(),
        title: head.title.clone(),
        license: head.license.clone(),
        restricted: head.restricted,
        languages: head.languages.clone(),
        registry: found.index.name().clone(),
        size_bytes: smallest_bytes(found.manifest, indexes),
        num_members: head.members.len(),
        num_variants: found.manifest.variants.len(),
        installed: here.map(|installed| installed.variant.clone()),
    }
}

/// The bytes of the smallest build. A kit has what its members have, in the builds that it names.
pub(super) fn smallest_bytes(manifest: &Manifest, indexes: &[VerifiedIndex]) -> u64 {
    let members = manifest.package.members.iter().filter_map(|member| resolve(indexes, member).ok());
    let of_members = members.filter(|_| manifest.is_kit()).map(|member| match member.variant {
        Some(variant) => variant.size_bytes(),
        None => smallest_build_bytes(member.manifest),
    });
    smallest_build_bytes(manifest) + of_members.sum::<u64>()
}

fn smallest_build_bytes(manifest: &Manifest) -> u64 {
    manifest.variants.iter().map(Variant::size_bytes).min().unwrap_or(0)
}
