//! What its publisher took back and is in use here: named wherever it matters, removed by nobody but the keeper.

#[cfg(feature = "index")]
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::home::Home;
use crate::package::{Name, Version};
#[cfg(feature = "engine")]
use crate::progress::Monitor;
use crate::registry::{self, CATALOG, Subject, VerifiedIndex};
use crate::store::{Installed, Origin};

#[cfg(feature = "index")]
use super::error::Result;
use super::indexes;
#[cfg(feature = "index")]
use super::site;

/// A package that is here and was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RevokedPackage {
    /// Its name.
    pub name: Name,
    /// The version that is here.
    pub version: Version,
    /// The registry whose publisher took it back.
    pub registry: Name,
    /// What that registry calls it; the same bytes may be here under another name.
    pub named: Name,
    /// The publisher's words.
    pub reason: String,
    /// The version that should take its place, where there is one.
    pub successor: Option<Version>,
}

impl RevokedPackage {
    /// What the keeper can do, as one line.
    pub fn advice(&self) -> String {
        let name = &self.name;
        match &self.successor {
            Some(version) => format!(
                "{version} takes its place: `localml install {}/{}`, or `localml import DIR` from a stick that has it",
                self.registry, self.named
            ),
            None => format!("nothing takes its place yet; it stays until you `localml remove {name}`"),
        }
    }
}

/// Every word against packages that the registries known here have given.
pub(super) struct Words {
    indexes: Vec<VerifiedIndex>,
    /// Why there may be more words than could be read.
    pub(super) fault: Option<String>,
}

impl Words {
    /// Reads them. A damaged copy is no reason to hide what is installed; it is named instead.
    pub(super) fn read(home: &Home) -> Self {
        match indexes::load(home) {
            Ok(indexes) => Self { indexes, fault: None },
            Err(error) => Self {
                indexes: vec![registry::catalog()],
                fault: Some(format!("what was taken back is not known: {}", error.in_one_line())),
            },
        }
    }

    /// The word against one package.
    pub(super) fn against(&self, installed: &Installed) -> Option<RevokedPackage> {
        against(&self.indexes, installed)
    }
}

/// The word against one package that is here, in verified indexes.
pub(super) fn against(indexes: &[VerifiedIndex], installed: &Installed) -> Option<RevokedPackage> {
    let head = &installed.manifest.package;
    let registry = publisher(&installed.origin);
    let subject = Subject {
        name: &head.name,
        version: &head.version,
        files: installed.files().iter().map(|file| file.sha256).collect(),
        registry: registry.as_ref(),
    };
    let revoked = registry::revoked(indexes, &subject)?;
    Some(RevokedPackage {
        name: head.name.clone(),
        version: head.version.clone(),
        registry: revoked.index.name().clone(),
        named: revoked.revocation.name.clone(),
        reason: revoked.revocation.reason.clone(),
        successor: revoked.successor.map(|manifest| manifest.package.version.clone()),
    })
}

/// The registry whose publisher vouches for a package, as it is called here.
pub(super) fn publisher(origin: &Origin) -> Option<Name> {
    match origin {
        Origin::Registry(name) => Some(name.clone()),
        Origin::Catalog => Some(CATALOG.parse().expect("a plain name")),
        Origin::Unsigned | Origin::Courier { .. } => None,
    }
}

/// Warns by name when a package that is about to be used was taken back.
#[cfg(feature = "engine")]
pub(super) fn warn(home: &Home, used: &[&Installed], monitor: &dyn Monitor) {
    for warning in warnings(home, used) {
        monitor.warn(&warning);
    }
}

/// The warnings about installed packages that were used: those that these files lie in, and those named.
///
/// # Errors
/// When an installed record is damaged.
#[cfg(feature = "index")]
pub(super) fn warnings_about(home: &Home, files: &[&Path], names: &[Name]) -> Result<Vec<String>> {
    // Collections remember where their files really lie.
    let real = |folder: PathBuf| std::fs::canonicalize(&folder).unwrap_or(folder);
    let packages = real(home.packages());
    let is_inside = files.iter().any(|file| file.starts_with(&packages));
    if !is_inside && names.is_empty() {
        return Ok(Vec::new());
    }
    let store = site::store(home);
    let lies_in = |package: &&Installed| {
        let folder = real(store.package_folder(package));
        files.iter().any(|file| file.starts_with(&folder))
    };
    let (installed, previous) = (store.installed()?, store.previous()?);
    let used = installed.iter().filter(|package| names.contains(package.name()) || lies_in(package));
    // A collection quotes the version before until it is refreshed.
    let used: Vec<&Installed> = used.chain(previous.iter().filter(lies_in)).collect();
    Ok(if used.is_empty() { Vec::new() } else { warnings(home, &used) })
}

/// The warnings about packages that are about to be used.
#[cfg(any(feature = "engine", feature = "index"))]
fn warnings(home: &Home, used: &[&Installed]) -> Vec<String> {
    let words = Words::read(home);
    let revoked = used.iter().filter_map(|installed| words.against(installed));
    let mut warnings: Vec<String> = revoked
        .map(|revoked| {
            let RevokedPackage { name, version, reason, registry, .. } = &revoked;
            let advice = revoked.advice();
            format!("`{name}` {version} was revoked by its publisher (`{registry}`): {reason}; {advice}")
        })
        .collect();
    warnings.extend(words.fault);
    warnings
}
