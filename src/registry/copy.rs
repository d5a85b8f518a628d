//! The copy of a registry on this machine: refreshed, and verified again at every use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tough::schema::{RoleType, Root, Signed, Targets};
use url::Url;

use crate::digest::Sha256;
use crate::disk::{self, Lock};

use super::addition::first_root;
use super::error::{RegistryError, Result};
use super::fetch::Fetch;
use super::fingerprint::Fingerprint;
use super::index::{Fault, Files, VerifiedIndex, read_config};
use super::packed::{packed_name, unpack};
use super::record::{RECORD, Record, generation_folder, paths_in};
use super::session::{self, Cause, Refusal};
use super::signed::{self, Versions};
use super::summary;
use super::tree::{CONFIG, MAX_INDEX_BYTES, MAX_METADATA_BYTES, MAX_TOTAL_BYTES};
use super::tree::{SNAPSHOT, TARGETS, TIMESTAMP, root_file};
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
    let root = first_root(record.url.as_str(), fetch)?;
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

/// The files that carry a registry elsewhere: root chain, metadata, index files, and the record.
///
/// The record is for information: whoever receives it trusts the fingerprint that they were told.
///
/// # Errors
/// When the record cannot be read.
pub fn trust_files(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let record = Record::read(folder)?;
    let mut paths = paths_in(&generation_folder(folder, record.generation));
    paths.push(folder.join(RECORD));
    Ok(paths
        .into_iter()
        .map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path))
        .collect())
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
    advance(folder, record, &stored, fetch, Outcome::Newer)
}

/// Starts from the first root alone; only the record's versions are floors. The caller holds the copy's lock.
pub(super) fn anew(
    folder: &Path,
    record: Record,
    root: Vec<u8>,
    fetch: &dyn Fetch,
    outcome: Outcome,
) -> Result<Updated> {
    let known = Files::from([(root_file(1), root)]);
    advance(folder, record, &known, fetch, outcome)
}

fn advance(
    folder: &Path,
    record: Record,
    known: &Files,
    fetch: &dyn Fetch,
    outcome: Outcome,
) -> Result<Updated> {
    let registry = record.name.to_string();
    let untrusted = |fault: Fault| RegistryError::Untrusted {
        registry: registry.clone(),
        file: fault.file,
        reason: fault.reason,
    };
    let (metadata, mut fetched_bytes) = fetch_metadata(folder, &registry, known, fetch)?;
    let roots = known.iter().filter(|(name, _)| is_root(name));
    let mut files: Files = roots.map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
    files.extend(metadata);
    fetched_bytes += fetch_index(&registry, known, &mut files, fetch)?;
    let facts = signed::verify(&record.fingerprint, &files).map_err(untrusted)?;
    check_floors(&record, &files, &facts.versions)?;
    let (name, base) = (record.name.clone(), as_folder(&record.url));
    let index = VerifiedIndex::from_files(name, Some(base), facts.trust(record.fingerprint), &files);
    let index = index.map_err(untrusted)?;
    if files == *known && record == Record::read(folder)? {
        return Ok(Updated { index, outcome: Outcome::Same, fetched_bytes });
    }
    let outcome = if files == *known { Outcome::Same } else { outcome };
    record.adopt(folder, &files, facts.versions)?;
    summary::keep(folder, &index);
    Ok(Updated { index, outcome, fetched_bytes })
}

/// Runs the update in a scratch folder that holds the floors, and removes it whatever comes.
fn fetch_metadata(folder: &Path, registry: &str, known: &Files, fetch: &dyn Fetch) -> Result<(Files, u64)> {
    let scratch = folder.join("scratch");
    disk::remove_dir_all(&scratch)?;
    disk::create_private_dir(&scratch)?;
    for floor in [TIMESTAMP, SNAPSHOT, TARGETS] {
        if let Some(bytes) = known.get(floor) {
            disk::write_atomic(&scratch.join(floor), bytes)?;
        }
    }
    let updated = session::update(newest_root(known), &scratch, known, fetch);
    disk::remove_dir_all(&scratch)?;
    updated.map_err(|refusal| refused(registry, refusal))
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

/// Brings the index files that `targets.json` signs; those that did not change are not fetched again.
fn fetch_index(registry: &str, known: &Files, files: &mut Files, fetch: &dyn Fetch) -> Result<u64> {
    let untrusted = |fault: Fault| RegistryError::Untrusted {
        registry: registry.to_owned(),
        file: fault.file,
        reason: fault.reason,
    };
    let targets = files.get(TARGETS).map(Vec::as_slice).unwrap_or_default();
    let targets: Signed<Targets> = signed::parse(TARGETS, targets).map_err(untrusted)?;
    let listed = signed::listed(&targets.signed).map_err(untrusted)?;
    let find = |name: &str| {
        let at = listed.binary_search_by(|(listed, ..)| listed.as_str().cmp(name));
        let entry = at.ok().map(|at| &listed[at]);
        entry.ok_or_else(|| untrusted(Fault::new(name, "is not signed")))
    };
    let mut fetched_bytes = bring(registry, find(CONFIG)?, known, files, fetch)?;
    let config = read_config(files).map_err(untrusted)?;
    let mut total_bytes = 0;
    for name in config.signed_files().iter().filter(|name| *name != CONFIG) {
        let entry = find(name)?;
        total_bytes += entry.1;
        if entry.1 > MAX_INDEX_BYTES || total_bytes > MAX_TOTAL_BYTES {
            return Err(untrusted(Fault::new(name, format!("is too large: {} bytes", entry.1))));
        }
        if config.is_packed
            && !is_known(entry, known)
            && let Some(packed_bytes) = bring_packed(entry, files, fetch)
        {
            fetched_bytes += packed_bytes;
            continue;
        }
        fetched_bytes += bring(registry, entry, known, files, fetch)?;
    }
    Ok(fetched_bytes)
}

fn is_known((name, _, digest): &(String, u64, Sha256), known: &Files) -> bool {
    known.get(name).is_some_and(|kept| Sha256::of(kept) == *digest)
}

/// What packing adds at most to a file that does not shrink, in bytes.
const FRAME_BYTES: u64 = 64 * 1024;

/// Brings a file in its packed form; `None` where there is none, or none that holds what was signed.
fn bring_packed(
    (name, length, digest): &(String, u64, Sha256),
    files: &mut Files,
    fetch: &dyn Fetch,
) -> Option<u64> {
    let packed = fetch.get(&packed_name(name), *length + FRAME_BYTES).ok().flatten()?;
    let plain = unpack(&packed, *length).filter(|plain| Sha256::of(plain) == *digest)?;
    files.insert(name.clone(), plain);
    Some(packed.len() as u64)
}

fn bring(
    registry: &str,
    (name, length, digest): &(String, u64, Sha256),
    known: &Files,
    files: &mut Files,
    fetch: &dyn Fetch,
) -> Result<u64> {
    if let Some(kept) = known.get(name).filter(|kept| Sha256::of(kept) == *digest) {
        files.insert(name.clone(), kept.clone());
        return Ok(0);
    }
    let (registry, file) = (registry.to_owned(), name.clone());
    match fetch.get(name, (*length).min(MAX_INDEX_BYTES)) {
        Ok(Some(bytes)) if bytes.len() as u64 == *length && Sha256::of(&bytes) == *digest => {
            files.insert(name.clone(), bytes);
            Ok(*length)
        }
        Ok(Some(_)) => {
            let reason = "is not what was signed: its digest differs".into();
            Err(RegistryError::Untrusted { registry, file, reason })
        }
        Ok(None) => Err(RegistryError::Missing { registry, file }),
        Err(source) => Err(RegistryError::Fetch { registry, file, source }),
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
