//! Who gets what: packages by what each site wants and has, blobs by what it lacks of them, to the piece.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use crate::bundle::SiteId;
use crate::digest::Sha256;
use crate::package::{FileEntry, PackageRef, PieceList, Version};
use crate::progress::Monitor;
use crate::store::{Installed, Store};

use super::addressee::{Addressee, fulfils};
use super::error::Result;
use super::holding::{is_whole, reference};

/// A package that travels, and to whom.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) installed: Installed,
    /// The sites that it is for; every site when empty.
    pub(super) recipients: Vec<SiteId>,
}

/// How much of a file travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Share {
    /// All of it.
    Whole,
    /// These pieces, because every site that lacks it has the others.
    Pieces(Vec<Range<usize>>),
    /// Nothing: every site that it is for has it.
    Nothing,
}

/// Something that a site wants and that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotSent {
    /// The package.
    pub package: PackageRef,
    /// The site that wants it.
    pub site: SiteId,
    /// Why it stays behind.
    pub reason: String,
    /// The command that brings it here.
    pub command: String,
}

/// Decides what each site gets: the packages named, what it wants, the rest of what came in part, newer
/// versions of what it has, and what all these require. What it has in full is left out unless
/// `is_full`.
///
/// # Errors
/// When a record here is damaged.
pub(super) fn parcels(
    store: &Store,
    named: &[Installed],
    addressees: &[Addressee],
    is_full: bool,
    monitor: &dyn Monitor,
) -> Result<(Vec<Parcel>, Vec<NotSent>)> {
    let mut held: Vec<Installed> = [store.fetched()?, store.installed()?].concat();
    held.retain(|package| is_whole(store, package));
    let mut not_sent: Vec<NotSent> = Vec::new();
    let mut parcels: BTreeMap<String, Parcel> = BTreeMap::new();
    for addressee in addressees {
        let mut chosen = Chosen { addressee, held: &held, packages: named.to_vec(), not_sent: Vec::new() };
        chosen.choose();
        let lacks =
            |package: &Installed| is_full || !(has_all(addressee, package) || has_newer(addressee, package));
        let packages: Vec<Installed> = chosen.packages.into_iter().filter(|package| lacks(package)).collect();
        warn_of_room(addressee, &packages, monitor);
        for installed in packages {
            let parcel = parcels
                .entry(reference(&installed).to_string())
                .or_insert_with(|| Parcel { installed, recipients: Vec::new() });
            if !parcel.recipients.contains(&addressee.site) {
                parcel.recipients.push(addressee.site.clone());
            }
        }
        not_sent.extend(chosen.not_sent);
    }
    let mut parcels: Vec<Parcel> = parcels.into_values().collect();
    parcels.sort_by_key(|parcel| (parcel.installed.size_bytes(), reference(&parcel.installed).to_string()));
    Ok((parcels, not_sent))
}

/// True when a site lists this very package, and all its blobs.
pub(super) fn has_all(addressee: &Addressee, package: &Installed) -> bool {
    let own = reference(package);
    addressee.packages.iter().any(|has| fulfils(has, &own))
        && package.files().iter().all(|file| addressee.has(file))
}

/// True when a site has a later version of a package, and did not ask for this one.
pub(super) fn has_newer(addressee: &Addressee, package: &Installed) -> bool {
    let is_newer = |has: &PackageRef| {
        has.name == *package.name() && has.version.as_ref().is_some_and(|has| has > version(package))
    };
    let is_asked = addressee.wants.iter().any(|want| want.version.is_some() && means(want, package));
    let is_half = package.files().iter().any(|file| addressee.half_of(file).is_some());
    !is_asked && !is_half && addressee.packages.iter().any(is_newer)
}

fn warn_of_room(addressee: &Addressee, packages: &[Installed], monitor: &dyn Monitor) {
    let lacked = packages.iter().flat_map(Installed::files).filter(|file| !addressee.has(file));
    let blobs: BTreeMap<Sha256, u64> = lacked.map(|file| (file.sha256, file.size_bytes)).collect();
    let needed_bytes: u64 = blobs.values().sum();
    if let Some(free_bytes) = addressee.free_bytes.filter(|&free_bytes| free_bytes < needed_bytes) {
        let name = addressee.name();
        monitor.warn(&format!(
            "{name} needs {needed_bytes} bytes for this, and said that it has {free_bytes} bytes free"
        ));
    }
}

/// The choice for one site, under way.
struct Chosen<'a> {
    addressee: &'a Addressee,
    /// All that is here whole.
    held: &'a [Installed],
    packages: Vec<Installed>,
    not_sent: Vec<NotSent>,
}

impl<'a> Chosen<'a> {
    fn choose(&mut self) {
        for want in &self.addressee.wants {
            self.want(want, None);
        }
        let (held, addressee) = (self.held, self.addressee);
        for package in held {
            let is_half = |file: &FileEntry| addressee.half_of(file).is_some() && !addressee.has(file);
            if package.files().iter().any(is_half) {
                self.add(package);
            }
        }
        for has in &addressee.packages {
            let any = PackageRef { registry: None, name: has.name.clone(), version: None, variant: None };
            // The build that it has, where a newer version of that one is here.
            let same_build = PackageRef { variant: has.variant.clone(), ..any.clone() };
            let is_newer = |here: &&Installed| Some(version(here)) > has.version.as_ref();
            let newest = |want| self.newest(want).ok().filter(is_newer);
            if let Some(newest) = newest(&same_build).or_else(|| newest(&any)) {
                self.add(newest);
            }
        }
        self.close();
    }

    /// Adds what the chosen packages require, as far as the site does not have it.
    fn close(&mut self) {
        let mut at = 0;
        while let Some(package) = self.packages.get(at) {
            let (by, requires) = (reference(package), package.manifest.package.requires.clone());
            for required in requires {
                let is_there = self.addressee.packages.iter().any(|has| fulfils(has, &required));
                if !is_there && self.packages.iter().all(|chosen| !means(&required, chosen)) {
                    self.want(&required, Some(&by));
                }
            }
            at += 1;
        }
    }

    /// Adds the newest package here that is meant, or says why not.
    fn want(&mut self, want: &PackageRef, required_by: Option<&PackageRef>) {
        match self.newest(want) {
            Ok(package) => self.add(package),
            Err(reason) => {
                let reason = match required_by {
                    Some(package) => format!("{reason}; `{package}` requires it"),
                    None => reason,
                };
                let (package, site) = (want.clone(), self.addressee.site.clone());
                let command = format!("localml fetch {want}");
                self.not_sent.push(NotSent { package, site, reason, command });
            }
        }
    }

    /// The newest version here that is meant and runs there, or why there is none.
    fn newest(&self, want: &PackageRef) -> std::result::Result<&'a Installed, String> {
        let has_registry = |held: &&Installed| reference(held).registry == want.registry;
        let mut meant: Vec<&Installed> = self.held.iter().filter(|held| means(want, held)).collect();
        // What a registry is called is each machine's own business: the name only decides between several.
        if meant.iter().any(has_registry) {
            meant.retain(has_registry);
        }
        let meant = meant.into_iter();
        let (fitting, others): (Vec<&Installed>, Vec<&Installed>) = meant.partition(|held| self.runs(held));
        match (fitting.into_iter().max_by(|left, right| version(left).cmp(version(right))), others.first()) {
            (Some(newest), _) => Ok(newest),
            (None, Some(other)) => {
                Err(format!("what is here of it (`{}`) is for another platform", reference(other)))
            }
            (None, None) => Err("it is not here".into()),
        }
    }

    /// False for a build that is for another platform than the site's.
    fn runs(&self, package: &Installed) -> bool {
        let variant = package.manifest.variant(&package.variant);
        let target = variant.and_then(|variant| variant.target.as_ref());
        target.is_none() || self.addressee.platform.is_none() || target == self.addressee.platform.as_ref()
    }

    fn add(&mut self, package: &Installed) {
        if !self.packages.iter().any(|chosen| reference(chosen) == reference(package)) {
            self.packages.push(package.clone());
        }
    }
}

fn means(want: &PackageRef, package: &Installed) -> bool {
    fulfils(&reference(package), want)
}

fn version(package: &Installed) -> &Version {
    &package.manifest.package.version
}

/// How much of a file travels to the sites that its package is for.
pub(super) fn share_of(file: &FileEntry, pieces: Option<&PieceList>, addressees: &[&Addressee]) -> Share {
    if addressees.is_empty() {
        return Share::Whole;
    }
    let lacking: Vec<&&Addressee> = addressees.iter().filter(|addressee| !addressee.has(file)).collect();
    if lacking.is_empty() {
        return Share::Nothing;
    }
    let Some(halves) = lacking.iter().map(|addressee| addressee.half_of(file)).collect::<Option<Vec<_>>>()
    else {
        return Share::Whole;
    };
    let grid: Vec<(u64, u64)> = match pieces.filter(|list| list.size_bytes() == file.size_bytes) {
        Some(list) => list.pieces().iter().map(|piece| (piece.offset, piece.length)).collect(),
        None => PieceList::grid(file.size_bytes, &[]),
    };
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (index, (offset, length)) in grid.into_iter().enumerate() {
        if halves.iter().any(|half| half.lacks(offset, length)) {
            match ranges.last_mut() {
                Some(range) if range.end == index => range.end += 1,
                _ => ranges.push(index..index + 1),
            }
        }
    }
    Share::Pieces(ranges)
}

/// The blobs that every site has already, each with the first package that needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequiredFile {
    /// The package that needs it.
    pub package: PackageRef,
    /// The file's name in the package.
    pub path: String,
    /// Its digest.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size_bytes: u64,
}
