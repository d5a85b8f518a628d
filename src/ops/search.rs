//! `search`: packages by words, from the catalog and every known registry, with no network.

use serde::Serialize;

use crate::home::Home;
use crate::package::{Kind, Name, PackageRef, Variant, VariantId, Version};
use crate::registry::{self, Found, Summaries, Summary, VerifiedIndex, resolve};
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
    let mut registries = Vec::new();
    for known in registry::known(&home.registries())? {
        registries.push(registry::summaries(&known.folder)?);
    }
    registries.push(Summaries::of(&registry::catalog()));
    let installed = site::store(home).installed()?;
    // Only the members of a kit need more than their own line.
    let mut indexes = None;
    let mut packages = Vec::new();
    for Found { registry, summary } in registry::search(&registries, words) {
        let mut size_bytes = summary.size_bytes;
        if !summary.members.is_empty() {
            let indexes = match &mut indexes {
                Some(indexes) => indexes,
                none => none.insert(indexes::load(home)?),
            };
            size_bytes += members_bytes(&summary.members, indexes);
        }
        packages.push(described(registry, summary, size_bytes, &installed));
    }
    Ok(SearchReport { packages })
}

fn described(registry: Name, summary: Summary, size_bytes: u64, installed: &[Installed]) -> FoundPackage {
    let here = installed.iter().find(|installed| *installed.name() == summary.name);
    FoundPackage {
        name: summary.name,
        version: summary.version,
        kind: summary.kind,
        title: summary.title,
        license: summary.license,
        restricted: summary.restricted,
        languages: summary.languages,
        registry,
        size_bytes,
        num_members: summary.members.len(),
        num_variants: summary.num_variants,
        installed: here.map(|installed| installed.variant.clone()),
    }
}

/// The bytes of the members of a kit that are known, in the builds that it names, else in their smallest.
pub(super) fn members_bytes(members: &[PackageRef], indexes: &[VerifiedIndex]) -> u64 {
    let members = members.iter().filter_map(|member| resolve(indexes, member).ok());
    let of_members = members.map(|member| match member.variant {
        Some(variant) => variant.size_bytes(),
        None => member.manifest.variants.iter().map(Variant::size_bytes).min().unwrap_or(0),
    });
    of_members.sum()
}
