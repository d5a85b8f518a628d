//! The copy of a registry on this machine: refreshed, and verified again at every use.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tough::schema::{RoleType, Root, Signed};
use url::Url;

use crate::digest::Sha256;
use crate::disk::{self, DiskError, Lock};

use super::addition::first_root;
use super::arriving::Arriving;
use super::bring::Supply;
use super::error::{RegistryError, Result};
use super::fetch::Fetch;
use super::fingerprint::Fingerprint;
use super::index::{Fault, Files, VerifiedIndex};
use super::record::{RECORD, Record, generation_folder, paths_in, public_address};
use super::session::{self, Cause, Refusal};
use super::signed::{self, Versions};
use super::summary;
use super::tree::{MAX_METADATA_BYTES, SNAPSHOT, TARGETS, TIMESTAMP, root_file};
use super::turn;

/// What a refresh came to.
#[derive(Debug)]
pub struct Updated {
    /// The index as it is now.
    pub index: VerifiedIndex,
    /// What changed.
    pub outcome: Outcome,
    /// The bytes that were fetched and kept.
    pub fetched_bytes: u64,
}

/// What changed by a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The registry was not known before.
    Added,
    /// Something newer came and was kept.
    Newer,
    /// What is known here is the newest.
    Same,
    /// The stick carries an older state; what is known here stays.
    OlderIgnored,
}

/// Refreshes a known registry from its own address: nothing older than what is known is accepted.
///
/// # Errors
/// `DamagedCopy` or `DamagedRecord` when what is stored is torn; `Untrusted` or `Rollback` when what
/// came does not hold; `Fetch` when nothing came. What is stored stays as it is then.
pub fn update(folder: &Path, fetch: &dyn Fetch) -> Result<Updated> {
    let _lock = lock(folder)?;
    refresh(folder, Record::read(folder)?, fetch)
}

/// Refreshes a known registry from a stick: an older state is ignored, and never goes back.
///
/// # Errors
/// As `update`, except that a stick which is only older is no error.
pub fn update_from_stick(folder: &Path, fetch: &dyn Fetch) -> Result<Updated> {
    let _lock = lock(folder)?;
    let record = Record::read(folder)?;
    let root_version = record.versions.root;
    match refresh(folder, record, fetch) {
        Err(RegistryError::Rollback { file, .. }) if file == TIMESTAMP => ignored(folder),
        Err(RegistryError::Untrusted { file, reason, registry }) if file == TIMESTAMP => {
            // Signed by keys that a newer root no longer names: the stick is older than that root.
            match fetch.get(&root_file(root_version), MAX_METADATA_BYTES) {
                Ok(None) => ignored(folder),
                _ => Err(RegistryError::Untrusted { file, reason, registry }),
            }
        }
        done => done,
    }
}

/// Fetches a damaged copy anew from the accepted root; the versions in the record stay the floor.
///
/// # Errors
/// As `update`, and `Rollback` when what came is older than the record's versions.
pub fn repair(folder: &Path, fetch: &dyn Fetch) -> Result<Updated> {
    let _lock = lock(folder)?;
    let record = Record::read(folder)?;
    let root = first_root(public_address(&record.url).as_str(), fetch)?;
    if Sha256::of(&root) != record.fingerprint {
        let expected = Fingerprint::from(record.fingerprint).to_string();
        let found = Sha256::of(&root).to_string();
        return Err(RegistryError::WrongFingerprint { name: record.name.to_string(), expected, found });
    }
    anew(folder, record, root, fetch, Outcome::Newer)
}

/// Verifies the stored copy again, with no network, and reads it.
///
/// # Errors
/// `DamagedRecord` or `DamagedCopy`, naming the file.
pub fn load(folder: &Path) -> Result<VerifiedIndex> {
    loop {
        let record = Record::read(folder)?;
        match load_generation(folder, &record) {
            // Another process may have committed a newer generation and removed this one meanwhile.
            Err(_) if Record::read(folder)?.generation != record.generation => {}
            done => return done.map(|(_, _, index)| index),
        }
    }
}

/// The files that carry a registry elsewhere, by name: root chain, metadata, index files, and the record.
///
/// The record is for information: whoever receives it trusts the fingerprint that they were told. User and password stay
/// here.
///
/// # Errors
/// When the record or a file cannot be read.
pub fn trust_files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let record = Record::read(folder)?;
    let mut files = Vec::new();
    for path in paths_in(&generation_folder(folder, record.generation)) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&path).map_err(|source| DiskError::Io { path, source })?;
        files.push((name, bytes));
    }
    files.push((RECORD.to_owned(), record.without_secrets().text().into_bytes()));
    Ok(files)
}

fn load_generation(folder: &Path, record: &Record) -> Result<(Files, signed::Facts, VerifiedIndex)> {
    let damaged = |fault: Fault| RegistryError::DamagedCopy {
        registry: record.name.to_string(),
        file: fault.file,
        reason: fault.reason,
    };
    let files = record.read_files(folder)?;
    let facts = signed::verify(&record.fingerprint, &files).map_err(damaged)?;
    if facts.versions != record.versions {
        return Err(damaged(Fault::new(TIMESTAMP, "is not of the version that the record names")));
    }
    let (base, trust) = (as_folder(&record.url), facts.trust(record.fingerprint));
    let index = VerifiedIndex::from_read_files(record.name.clone(), Some(base), trust, &files);
    Ok((files, facts, index.map_err(damaged)?))
}

/// An address whose last part is a folder, so that what is joined to it lies below.
pub(crate) fn as_folder(url: &Url) -> Url {
    let mut folder = url.clone();
    if !folder.path().ends_with('/') {
        folder.set_path(&format!("{}/", url.path()));
    }
    folder
}

fn ignored(folder: &Path) -> Result<Updated> {
    Ok(Updated { index: load(folder)?, outcome: Outcome::OlderIgnored, fetched_bytes: 0 })
}

/// Takes the right to change a registry's copy. A folder without a record is not made, and not changed.
fn lock(folder: &Path) -> Result<Lock> {
    Record::read(folder)?;
    turn::wait(folder)
}

/// Starts from what is stored: its newest root and its floors. The caller holds the copy's lock.
pub(super) fn refresh(folder: &Path, record: Record, fetch: &dyn Fetch) -> Result<Updated> {
    let (stored, ..) = load_generation(folder, &record)?;
    advance(folder, record, (&stored, &stored), fetch, Outcome::Newer)
}

/// Starts from the first root alone; only the record's versions are floors. Stored files that are whole are not fetched.
/// The caller holds the copy's lock.
pub(super) fn anew(
    folder: &Path,
    record: Record,
    root: Vec<u8>,
    fetch: &dyn Fetch,
    outcome: Outcome,
) -> Result<Updated> {
    let known = Files::from([(root_file(1), root)]);
    let stored = record.readable_files(folder);
    advance(folder, record, (&known, &stored), fetch, outcome)
}

/// Refreshes from what is `known` for sure, with the help of whatever is `stored`.
fn advance(
    folder: &Path,
    record: Record,
    (known, stored): (&Files, &Files),
    fetch: &dyn Fetch,
    outcome: Outcome,
) -> Result<Updated> {
    let (registry, arriving) = (record.name.to_string(), Arriving::of(folder));
    let untrusted = |fault: Fault| RegistryError::Untrusted {
        registry: registry.clone(),
        file: fault.file,
        reason: fault.reason,
    };
    let supply = Supply { registry: &registry, stored, arriving: &arriving, fetch };
    let brought = bring_all(folder, known, &supply);
    if brought.is_err() {
        arriving.sync();
    }
    let (files, fetched_bytes) = brought?;
    let facts = signed::verify(&record.fingerprint, &files).map_err(untrusted)?;
    check_floors(&record, &files, &facts.versions)?;
    let (name, base) = (record.name.clone(), as_folder(&record.url));
    let index = VerifiedIndex::from_files(name, Some(base), facts.trust(record.fingerprint), &files);
    let index = index.map_err(untrusted)?;
    if files == *known && record == Record::read(folder)? {
        arriving.clear()?;
        return Ok(Updated { index, outcome: Outcome::Same, fetched_bytes });
    }
    let outcome = if files == *known { Outcome::Same } else { outcome };
    record.adopt(folder, &files, facts.versions)?;
    arriving.clear()?;
    summary::keep(folder, &index);
    Ok(Updated { index, outcome, fetched_bytes })
}

/// Brings metadata and index files; says how many bytes were fetched.
fn bring_all(folder: &Path, known: &Files, supply: &Supply<'_>) -> Result<(Files, u64)> {
    let (metadata, metadata_bytes) = bring_metadata(folder, known, supply)?;
    let roots = known.iter().filter(|(name, _)| is_root(name));
    let mut files: Files = roots.map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
    files.extend(metadata);
    let index_bytes = supply.bring_index(&mut files)?;
    Ok((files, metadata_bytes + index_bytes))
}

/// Runs the update in a scratch folder that holds the floors, and removes it whatever comes.
fn bring_metadata(folder: &Path, known: &Files, supply: &Supply<'_>) -> Result<(Files, u64)> {
    let scratch = folder.join("scratch");
    disk::remove_dir_all(&scratch)?;
    disk::create_private_dir(&scratch)?;
    for floor in [TIMESTAMP, SNAPSHOT, TARGETS] {
        if let Some(bytes) = known.get(floor) {
            disk::write_atomic(&scratch.join(floor), bytes)?;
        }
    }
    let updated = session::update(newest_root(known), &scratch, known, supply);
    disk::remove_dir_all(&scratch)?;
    updated.map_err(|refusal| refused(supply.registry, refusal))
}

fn refused(registry: &str, refusal: Refusal) -> RegistryError {
    let Refusal { file, cause } = refusal;
    let registry = registry.to_owned();
    match cause {
        Cause::Fetch(source) => RegistryError::Fetch { registry, file, source },
        Cause::Absent => RegistryError::Missing { registry, file },
        Cause::Older(reason) => RegistryError::Rollback { registry, file, reason },
        Cause::Untrusted(reason) => RegistryError::Untrusted { registry, file, reason },
        Cause::Disk(error) => error.into(),
    }
}

/// A repair has no floor files; the record's versions stand in. A newer root lowers them only where it replaces
/// the keys that signed them: after a theft the thief's high numbers must not lock the publisher out.
fn check_floors(record: &Record, files: &Files, found: &Versions) -> Result<()> {
    let floor = &record.versions;
    let (before, now) = (root_in(files, floor.root), root_in(files, found.root));
    let is_replaced = |role: RoleType| match (&before, &now) {
        (Some(before), Some(now)) => key_ids(before, role) != key_ids(now, role),
        // Nobody knows who signed the floor: a lost record, for example, has none.
        _ => false,
    };
    let is_news_replaced = is_replaced(RoleType::Timestamp) || is_replaced(RoleType::Snapshot);
    let floors = [
        (root_file(floor.root), floor.root, found.root, false),
        (TIMESTAMP.to_owned(), floor.timestamp, found.timestamp, is_news_replaced),
        (SNAPSHOT.to_owned(), floor.snapshot, found.snapshot, is_news_replaced),
        (TARGETS.to_owned(), floor.targets, found.targets, is_replaced(RoleType::Targets)),
    ];
    match floors.into_iter().find(|(_, floor, found, is_dropped)| found < floor && !is_dropped) {
        Some((file, floor, found, _)) => Err(RegistryError::Rollback {
            registry: record.name.to_string(),
            file,
            reason: format!("version {found}, after version {floor}"),
        }),
        None => Ok(()),
    }
}

fn root_in(files: &Files, version: u64) -> Option<Root> {
    let root: Signed<Root> = serde_json::from_slice(files.get(&root_file(version))?).ok()?;
    Some(root.signed)
}

fn key_ids(root: &Root, role: RoleType) -> BTreeSet<Vec<u8>> {
    let keys = root.roles.get(&role).into_iter().flat_map(|keys| &keys.keyids);
    keys.map(|id| id.to_vec()).collect()
}

fn newest_root(files: &Files) -> &[u8] {
    let newest = (1..).map(root_file).map_while(|file| files.get(&file)).last();
    newest.map(Vec::as_slice).unwrap_or_default()
}

fn is_root(name: &str) -> bool {
    name.ends_with(".root.json")
}
