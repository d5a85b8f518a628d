//! `request`: what this site has and wants, on a stick, or short enough for an SMS.

use std::path::PathBuf;

use serde::Serialize;

use crate::bundle::{
    HalfBlob, Holding, Letterhead, Request, SHORT_BLOB_BYTES, ShortRequest, SiteId, Stick, prefix_of,
};
use crate::digest::Sha256;
use crate::disk;
use crate::hardware;
use crate::home::Home;
use crate::package::PackageRef;
use crate::progress::Monitor;
use crate::store::{Installed, Store};

use super::addressee::fulfils;
use super::error::{Result, While as _};
use super::holding::{self, holding};
use super::identity::Identity;
use super::receipt;
use super::removable;
use super::site;

const GIB: u64 = 1 << 30;

/// What to ask for.
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    /// The stick's folder; the only stick there is when absent.
    pub stick: Option<PathBuf>,
    /// The packages that are wanted, beside newer versions of what is here.
    pub packages: Vec<PackageRef>,
    /// What the site is to be called from now on.
    pub name: Option<String>,
    /// The largest volume that this site can take, in bytes.
    pub max_volume_bytes: Option<u64>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
pub struct RequestReport {
    /// The stick's folder.
    pub stick: PathBuf,
    /// The request's file, relative to `LOCALML`.
    pub file: String,
    /// The site's id.
    pub site: SiteId,
    /// What the site calls itself.
    pub label: Option<String>,
    /// The request's number.
    pub number: u64,
    /// The packages that the site has.
    pub packages: Vec<PackageRef>,
    /// How many blobs it has.
    pub num_blobs: usize,
    /// The packages that it wants.
    pub wants: Vec<PackageRef>,
    /// The bytes that are missing of blobs that came in part.
    pub missing_bytes: u64,
}

/// A request for an SMS.
#[derive(Debug, Serialize)]
pub struct ShortRequestReport {
    /// The site's id.
    pub site: SiteId,
    /// What the site calls itself.
    pub label: Option<String>,
    /// The text.
    pub text: String,
    /// The text's length in characters.
    pub num_chars: usize,
    /// How many large blobs that are here did not fit; they will be sent again.
    pub num_left_out: usize,
    /// The packages that the site wants.
    pub wants: Vec<PackageRef>,
}

/// Writes what this site has and wants to a stick.
///
/// # Errors
/// When the stick cannot be written, or a record here is damaged.
pub fn request(home: &Home, options: &RequestOptions, monitor: &dyn Monitor) -> Result<RequestReport> {
    let folder = removable::stick(options.stick.as_deref(), monitor)?;
    let _lock = site::lock(home)?;
    let store = site::store(home);
    let mut identity = named(home, options.name.as_deref())?;
    let has = holding(home, &store, monitor)?;
    let wants = wants(home, &store, &options.packages)?;
    let machine = hardware::probe();
    let lying = Stick::open(&folder).map_or(0, |stick| stick.highest_letter(&identity.id));
    let number = identity.ask(home, lying + 1)?;
    let request = Request {
        head: Letterhead::new(identity.id.clone(), number, identity.label.clone(), site::now()),
        platform: hardware::target_triple(),
        ram_bytes: machine.ram_bytes,
        free_bytes: disk::free_bytes(home.root())?,
        max_volume_bytes: options.max_volume_bytes,
        wants,
        has,
    };
    let deed = || format!("could not write a request to `{}`", folder.display());
    let file = request.write(&folder).while_doing(deed)?;
    receipt::bring(home, &folder, monitor);
    Ok(report(folder, file, request))
}

/// Says what this site has and wants in a text for an SMS.
///
/// # Errors
/// When so much is wanted that it does not fit, or a record here is damaged.
pub fn request_short(
    home: &Home,
    options: &RequestOptions,
    monitor: &dyn Monitor,
) -> Result<ShortRequestReport> {
    let _lock = site::lock(home)?;
    let store = site::store(home);
    let mut identity = named(home, options.name.as_deref())?;
    let wants = wants(home, &store, &options.packages)?;
    let has = holding(home, &store, monitor)?;
    let short = ShortRequest {
        site: identity.id.clone(),
        number: identity.ask(home, 0)?,
        platform: hardware::target_triple(),
        ram_gib: (hardware::probe().ram_bytes + GIB / 2) / GIB,
        free_gib: disk::free_bytes(home.root())? / GIB,
        receipt: last_receipt(home, &has),
        wants,
        prefixes: large_blobs(&store)?.iter().map(prefix_of).collect(),
    };
    let (text, num_left_out) = short.to_text()?;
    Ok(ShortRequestReport {
        site: identity.id,
        label: identity.label,
        num_chars: text.chars().count(),
        text,
        num_left_out,
        wants: short.wants,
    })
}

fn named(home: &Home, name: Option<&str>) -> Result<Identity> {
    let mut identity = Identity::open_or_draw(home)?;
    if let Some(name) = name {
        identity.call(home, name)?;
    }
    Ok(identity)
}

/// What was asked for, what is here but damaged, and what earlier sticks did not bring whole.
fn wants(home: &Home, store: &Store, asked: &[PackageRef]) -> Result<Vec<PackageRef>> {
    let held = [store.installed()?, store.fetched()?].concat();
    let is_here = |package: &PackageRef| {
        held.iter().any(|held| fulfils(&holding::reference(held), package) && holding::is_whole(store, held))
    };
    let damaged = held.iter().filter(|held| !holding::is_whole(store, held)).map(holding::reference);
    let missing = receipt::kept(home).into_iter().flat_map(|receipt| receipt.bundles);
    let missing = missing.flat_map(|bundle| bundle.missing).filter(|missing| missing.missing_bytes > 0);
    let missing = missing.map(|missing| missing.package);
    let is_outdated = |package: &PackageRef| {
        let is_newer = |held: &&Installed| {
            *held.name() == package.name && Some(&held.manifest.package.version) > package.version.as_ref()
        };
        held.iter().any(|held| is_newer(&held))
    };
    let missing = missing.filter(|package| !is_here(package) && !is_outdated(package));
    let mut wants: Vec<PackageRef> = Vec::new();
    for package in asked.iter().cloned().chain(damaged).chain(missing) {
        if !wants.contains(&package) {
            wants.push(package);
        }
    }
    Ok(wants)
}

/// The number of the last receipt, when everything that it listed is still here; else 0.
fn last_receipt(home: &Home, has: &Holding) -> u64 {
    let is_true = |listed: &Holding| listed.blobs.iter().all(|blob| has.blobs.binary_search(blob).is_ok());
    receipt::kept(home).filter(|receipt| is_true(&receipt.has)).map_or(0, |receipt| receipt.head.number)
}

fn large_blobs(store: &Store) -> Result<Vec<Sha256>> {
    let held = [store.installed()?, store.fetched()?].concat();
    let blobs = holding::whole_blobs(&held, store).into_iter();
    Ok(blobs.filter(|(_, size_bytes)| *size_bytes >= SHORT_BLOB_BYTES).map(|(digest, _)| digest).collect())
}

fn report(stick: PathBuf, file: String, request: Request) -> RequestReport {
    let Request { head, wants, has, .. } = request;
    RequestReport {
        stick,
        file,
        site: head.site,
        label: head.label,
        number: head.number,
        num_blobs: has.blobs.len(),
        missing_bytes: has.half.iter().map(HalfBlob::missing_bytes).sum(),
        packages: has.packages,
        wants,
    }
}
