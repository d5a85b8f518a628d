//! `list`: what is installed, who vouches for it, how much room it takes.

use std::collections::HashMap;

use serde::Serialize;

use crate::digest::Sha256;
use crate::home::Home;
use crate::package::{Kind, Name, PackageRef, VariantId, Version};
use crate::store::{Installed, Origin, Store};

use super::error::Result;
use super::holding::is_whole;
use super::kit::missing_members;
use super::revoked::{RevokedPackage, Words};
use super::site;

/// Everything installed, by name.
#[derive(Debug, Serialize)]
pub struct ListReport {
    /// The packages.
    pub packages: Vec<ListedPackage>,
    /// The bytes that they take together; a file that several of them have counts once.
    pub size_bytes: u64,
    /// Why some of this may not be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
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
    /// False when no publisher signed it.
    pub is_signed: bool,
    /// What it is called then: `unsigned`, or the courier who vouches for it.
    #[serde(skip)]
    pub label: String,
    /// False when its bytes are here only to be carried on.
    pub is_installed: bool,
    /// True when a file of it was found damaged, or is missing: it is out of use until it is repaired.
    pub is_damaged: bool,
    /// What its publisher says against it, when it was taken back; it stays until the keeper decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<RevokedPackage>,
    /// What of a kit is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<ListedMembers>,
}

/// The members of a kit.
#[derive(Debug, Serialize)]
pub struct ListedMembers {
    /// How many packages it has.
    pub num_members: usize,
    /// Those that are not installed here.
    pub missing: Vec<PackageRef>,
}

/// Lists what is installed, then what is only fetched.
///
/// # Errors
/// When a record is damaged.
pub fn list(home: &Home) -> Result<ListReport> {
    let store = site::store(home);
    let words = Words::read(home);
    let (installed, fetched) = (store.installed()?, store.fetched()?);
    let files = installed.iter().chain(&fetched).flat_map(Installed::files);
    let blobs: HashMap<Sha256, u64> = files.map(|file| (file.sha256, file.size_bytes)).collect();
    let size_bytes = blobs.values().sum();
    let listed = |package, is_installed| listed(&store, package, is_installed, &words);
    let mut packages: Vec<ListedPackage> =
        installed.into_iter().map(|package| listed(package, true)).collect::<Result<_>>()?;
    for package in fetched {
        packages.push(listed(package, false)?);
    }
    Ok(ListReport { packages, size_bytes, remark: words.fault })
}

fn listed(store: &Store, package: Installed, is_installed: bool, words: &Words) -> Result<ListedPackage> {
    let (size_bytes, is_damaged) = (package.size_bytes(), !is_whole(store, &package));
    let revoked = words.against(&package);
    let members = match package.manifest.is_kit() {
        false => None,
        true => Some(ListedMembers {
            num_members: package.manifest.package.members.len(),
            missing: missing_members(store, &package.manifest)?,
        }),
    };
    let head = package.manifest.package;
    Ok(ListedPackage {
        name: head.name,
        version: head.version,
        variant: package.variant,
        kind: head.kind,
        license: head.license,
        size_bytes,
        is_signed: package.origin.is_published(),
        label: package.origin.label(),
        origin: package.origin,
        is_installed,
        is_damaged,
        revoked,
        members,
    })
}
