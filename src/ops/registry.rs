//! `registry`: make one, generate it from manifests, sign it, add it by its fingerprint.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use crate::digest::Sha256;
use crate::home::Home;
use crate::package::{Name, Variant};
use crate::progress::Monitor;
use crate::registry::{
    self, Addition, BuildOptions, Built, Fetch, FolderFetch, Initialised, Outcome, Quorum, RotateOptions,
    Rotated, SignOptions, Signed, fingerprint_of, public_address,
};

use super::carried;
use super::error::Result;
use super::fetcher::{address, explained, fetcher};
use super::line::{Line, LineOptions};
use super::registry_turn::in_turn;
use super::reuse::gguf_header;

/// What `init` made.
#[derive(Debug, Serialize)]
pub struct InitReport {
    /// The registry's folder.
    pub registry: PathBuf,
    /// Where the keys lie; they never belong in the registry.
    pub keys: PathBuf,
    /// The files of the root keys.
    pub root_keys: Vec<PathBuf>,
    /// How many of them the next root needs.
    pub threshold: usize,
    /// What readers compare before they trust the registry.
    pub fingerprint: Sha256,
}

/// What replaced the keys.
#[derive(Debug, Serialize)]
pub struct RotateReport {
    /// The registry's folder.
    pub registry: PathBuf,
    /// What the next root is.
    #[serde(flatten)]
    pub rotated: Rotated,
}

/// What was signed.
#[derive(Debug, Serialize)]
pub struct SignReport {
    /// The registry's folder.
    pub registry: PathBuf,
    /// What was signed.
    #[serde(flatten)]
    pub signed: Signed,
    /// What readers compare before they trust the registry.
    pub fingerprint: Sha256,
}

/// What was added.
#[derive(Debug, Serialize)]
pub struct AddReport {
    /// What it is called here.
    pub name: Name,
    /// Where it is refreshed from, without user and password.
    pub url: String,
    /// Its fingerprint, which was the one given.
    pub fingerprint: Sha256,
    /// Whether it is new here.
    pub outcome: Outcome,
    /// How many package versions it has.
    pub num_packages: usize,
}

/// How to add a registry.
#[derive(Debug, Clone)]
pub struct AddOptions {
    /// What it will be called here.
    pub name: Name,
    /// Its address: a URL, a registry's folder, or a stick that carries it.
    pub address: String,
    /// What the publisher said its fingerprint is.
    pub fingerprint: Option<String>,
    /// What the line may cost, and where else to ask.
    pub line: LineOptions,
}

/// Makes keys and the root of a new registry.
///
/// # Errors
/// When either exists, or the keys would lie inside the registry.
pub fn registry_init(folder: &Path, keys: &Path, quorum: Quorum) -> Result<InitReport> {
    let Initialised { fingerprint, root_keys } = registry::init(folder, keys, quorum, SystemTime::now())?;
    let (registry, keys) = (folder.to_owned(), keys.to_owned());
    Ok(InitReport { registry, keys, root_keys, threshold: quorum.threshold, fingerprint })
}

/// Replaces keys, or changes how many of them the next root needs.
///
/// # Errors
/// When too few of the keys that are trusted now are here, or nothing would change.
pub fn registry_rotate(folder: &Path, options: &RotateOptions) -> Result<RotateReport> {
    let rotated = registry::rotate(folder, options, SystemTime::now())?;
    Ok(RotateReport { registry: folder.to_owned(), rotated })
}

/// Generates a registry from manifests; with `is_check`, only says whether it is up to date.
///
/// # Errors
/// Names the manifest or file that cannot be used, or the files that are out of date.
pub fn registry_build(folder: &Path, options: &BuildOptions) -> Result<Built> {
    Ok(registry::build(folder, options, &inspect)?)
}

/// Says whether `registry_build` would change anything; changes nothing.
///
/// # Errors
/// Names the files that would change.
pub fn registry_check(folder: &Path, options: &BuildOptions) -> Result<Built> {
    Ok(registry::check(folder, options, &inspect)?)
}

/// Signs what was generated, for so many days.
///
/// # Errors
/// When there is no root or index, or a key is not the one that the root names.
pub fn registry_sign(folder: &Path, keys: &[PathBuf], expires_days: u32) -> Result<SignReport> {
    let signed = registry::sign(folder, keys, &SignOptions { expires_days, now: SystemTime::now() })?;
    let fingerprint = fingerprint_of(&folder.display().to_string(), &FolderFetch::new(folder))?;
    Ok(SignReport { registry: folder.to_owned(), signed, fingerprint })
}

/// Adds a registry whose first root has the fingerprint that was given.
///
/// # Errors
/// An unknown root without a fingerprint, or another fingerprint, is not trusted.
pub fn registry_add(home: &Home, options: &AddOptions, monitor: &dyn Monitor) -> Result<AddReport> {
    let name = options.name.clone();
    let fingerprint = options.fingerprint.as_deref().map(registry::parse_fingerprint).transpose()?;
    let mut url = address(&options.address)?;
    let line = Line::open(home, &options.line)?;
    let carried = match url.to_file_path() {
        Ok(folder) => carried::find(&folder, &name, fingerprint.as_ref())?,
        Err(()) => None,
    };
    let fetch: Box<dyn Fetch + '_> = match carried {
        Some(carried) => {
            url = carried.address().unwrap_or(url);
            Box::new(carried)
        }
        None => fetcher(&url, line.client(), monitor)?,
    };
    let folder = home.registries().join(name.as_str());
    let addition = Addition { name: name.clone(), url: url.clone(), fingerprint, vouched_by: None };
    let deed = || registry::add(&folder, &addition, fetch.as_ref());
    let added = in_turn((&name, &folder), &line, monitor, deed)?;
    let added = added.map_err(explained)?;
    let fingerprint = registry::Known::open(&home.registries(), &name)?.fingerprint;
    let num_packages = added.index.num_versions();
    let url = public_address(&url).to_string();
    Ok(AddReport { name, url, fingerprint, outcome: added.outcome, num_packages })
}

/// What a published file says of itself: a GGUF's shape, and where its large parts begin.
fn inspect(path: &Path, variant: &mut Variant) -> std::result::Result<Vec<u64>, String> {
    let is_gguf = variant.files.iter().any(|file| file.path.as_str().ends_with(".gguf"));
    if !is_gguf {
        return Ok(Vec::new());
    }
    let Some(header) = gguf_header(path)? else { return Ok(Vec::new()) };
    variant.shape = Some(header.shape());
    Ok(header.piece_boundaries())
}
