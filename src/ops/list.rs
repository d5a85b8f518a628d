//! `list`: what is installed, who vouches for it, how much room it takes.

use serde::Serialize;

use crate::home::Home;
use crate::package::{Kind, Name, VariantId, Version};
use crate::store::{Installed, Origin};

use super::error::Result;
use super::site;

/// Everything installed, by name.
#[derive(Debug, Serialize)]
pub struct ListReport {
    /// The packages.
    pub packages: Vec<ListedPackage>,
    /// The bytes of all of them together.
    pub size_bytes: u64,
}

/// One installed package.
#[derive(Debug, Serialize)]
pub struct ListedPackage {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// The build that is here.
    pub variant: VariantId,
    /// What it is for.
    pub kind: Kind,
    /// Its licence.
    pub license: String,
    /// The bytes of its files.
    pub size_bytes: u64,
    /// Who vouches for it.
    pub origin: Origin,
    /// False when nobody signed it.
    pub is_signed: bool,
}

/// Lists what is installed.
///
/// # Errors
/// When a record is damaged.
pub fn list(home: &Home) -> Result<ListReport> {
    let packages: Vec<ListedPackage> = site::store(home).installed()?.into_iter().map(listed).collect();
    let size_bytes = packages.iter().map(|package| package.size_bytes).sum();
    Ok(ListReport { packages, size_bytes })
}

fn listed(installed: Installed) -> ListedPackage {
    let size_bytes = installed.size_bytes();
    let head = installed.manifest.package;
    ListedPackage {
        name: head.name,
        version: head.version,
        variant: installed.variant,
        kind: head.kind,
        license: head.license,
        size_bytes,
        is_signed: installed.origin != Origin::Unsigned,
        origin: installed.origin,
    }
}
