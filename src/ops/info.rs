//! `info`: everything known of one package, before any byte of it is fetched.

use std::time::SystemTime;

use serde::Serialize;

use crate::hardware::{self, DEFAULT_CONTEXT_TOKENS, Machine, Need, Verdict};
use crate::home::Home;
use crate::package::{Kind, Manifest, Name, PackageRef, Variant, VariantId, Version};
use crate::registry::{Freshness, Trust, VerifiedIndex, resolve};
use crate::store::Origin;

use super::error::Result;
use super::indexes;
use super::search;
use super::site;

/// Everything known of a package.
#[derive(Debug, Serialize)]
pub struct InfoReport {
    /// The registry that describes it; `None` for one that was adopted from a file.
    pub registry: Option<Name>,
    /// Its description.
    pub manifest: Manifest,
    /// Each build, in the publisher's order.
    pub variants: Vec<VariantInfo>,
    /// The courier who vouches for what is installed, where no publisher does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub courier: Option<Name>,
    /// Every version that the registry names, the newest last.
    pub versions: Vec<Version>,
    /// What is installed here, as version and build.
    pub installed: Option<(Version, VariantId)>,
    /// The bytes of a kit's members, in the builds that it names; 0 for other packages.
    pub members_bytes: u64,
    /// How old the registry's word is; `None` for the catalog.
    pub freshness: Option<Freshness>,
}

/// One build of it.
#[derive(Debug, Serialize)]
pub struct VariantInfo {
    /// Which build.
    pub id: VariantId,
    /// The bytes of its files.
    pub size_bytes: u64,
    /// True when a source names a moving branch.
    pub unpinned: bool,
    /// The memory that it needs at the default context, for models that llama.cpp runs.
    pub need: Option<Need>,
    /// Whether this machine has that memory.
    pub verdict: Option<Verdict>,
}

/// Tells everything about the package that a reference means.
///
/// # Errors
/// When no registry and no installed package has the name, or several registries differ about it.
pub fn info(home: &Home, package: &PackageRef) -> Result<InfoReport> {
    let indexes = indexes::load(home)?;
    let here = site::store(home).find(&package.name)?;
    let installed = here.as_ref().map(|here| (here.manifest.package.version.clone(), here.variant.clone()));
    let courier = here.as_ref().and_then(|here| match &here.origin {
        Origin::Courier { name, .. } => Some(name.clone()),
        _ => None,
    });
    match (resolve(&indexes, package), here) {
        (Ok(resolved), _) => Ok(InfoReport {
            installed,
            courier,
            members_bytes: members_bytes(resolved.manifest, &indexes),
            ..described(resolved.index, resolved.manifest)
        }),
        (Err(crate::registry::RegistryError::NoSuchPackage { .. }), Some(here)) => {
            let variants = variants_of(&here.manifest);
            let versions = vec![here.manifest.package.version.clone()];
            let manifest = here.manifest;
            let members_bytes = members_bytes(&manifest, &indexes);
            Ok(InfoReport {
                registry: None,
                manifest,
                courier,
                variants,
                versions,
                installed,
                members_bytes,
                freshness: None,
            })
        }
        (Err(error), _) => Err(error.into()),
    }
}

fn members_bytes(manifest: &Manifest, indexes: &[VerifiedIndex]) -> u64 {
    if manifest.is_kit() { search::members_bytes(&manifest.package.members, indexes) } else { 0 }
}

fn described(index: &VerifiedIndex, manifest: &Manifest) -> InfoReport {
    let versions = index.versions_of(&manifest.package.name);
    InfoReport {
        registry: Some(index.name().clone()),
        manifest: manifest.clone(),
        variants: variants_of(manifest),
        versions: versions.iter().map(|version| version.package.version.clone()).collect(),
        installed: None,
        courier: None,
        members_bytes: 0,
        freshness: match index.trust() {
            Trust::Signed { dates, .. } => Some(dates.judge(SystemTime::now())),
            Trust::BuiltIn => None,
        },
    }
}

fn variants_of(manifest: &Manifest) -> Vec<VariantInfo> {
    let machine = hardware::probe();
    manifest.variants.iter().map(|variant| variant_info(variant, &manifest.package.kind, &machine)).collect()
}

fn variant_info(variant: &Variant, kind: &Kind, machine: &Machine) -> VariantInfo {
    let is_loaded = matches!(kind, Kind::ChatModel)
        && variant.files.iter().any(|file| file.path.as_str().ends_with(".gguf"));
    let need = is_loaded
        .then(|| hardware::need(variant.size_bytes(), variant.shape.as_ref(), DEFAULT_CONTEXT_TOKENS));
    VariantInfo {
        id: variant.id.clone(),
        size_bytes: variant.size_bytes(),
        unpinned: variant.files.iter().any(|file| file.unpinned),
        verdict: need.as_ref().map(|need| hardware::fit(need, machine)),
        need,
    }
}
