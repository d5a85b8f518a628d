//! Adding a registry by its fingerprint. Of several commands that add one at once, each waits for its turn: the
//! first one fetches, and the others find what it brought.

use std::path::Path;

use url::Url;

use crate::digest::Sha256;
use crate::disk::{self, Lock};
use crate::package::Name;

use super::arriving::Arriving;
use super::catalog::CATALOG;
use super::copy::{Outcome, Updated, anew, refresh};
use super::error::{RegistryError, Result};
use super::fetch::Fetch;
use super::fingerprint::Fingerprint;
use super::record::{Record, generations_in, public_address, was_committed};
use super::signed::{self, Versions};
use super::tree::{FORMAT, MAX_METADATA_BYTES, root_file};
use super::turn::{self, LOCK};

/// Who a registry is to be, when it is added.
#[derive(Debug, Clone)]
pub struct Addition {
    /// What it will be called here.
    pub name: Name,
    /// Where it will be refreshed from.
    pub url: Url,
    /// What a person was told; without it an unknown registry is never added.
    pub fingerprint: Option<Fingerprint>,
    /// The kit that vouches for it; `None` when the keeper added it.
    pub vouched_by: Option<Name>,
}

/// Reads the fingerprint of the registry that `fetch` shows, trusting nothing.
///
/// # Errors
/// `NotARegistry` when there is no first root.
pub fn fingerprint_of(place: &str, fetch: &dyn Fetch) -> Result<Sha256> {
    Ok(Sha256::of(&first_root(place, fetch)?))
}

/// Adds a registry: its first root must have the fingerprint that a person gave.
///
/// Adding again with the same fingerprint only changes the address and refreshes. A registry that could not be
/// added leaves nothing behind but what was paid for.
///
/// # Errors
/// `UnknownRoot` when no fingerprint was given, `WrongFingerprint` when it is another, `AlreadyKnown`
/// when the name stands for another registry, `ReservedName`, `Locked` when another command is adding it for long;
/// otherwise as `update`.
pub fn add(folder: &Path, addition: &Addition, fetch: &dyn Fetch) -> Result<Updated> {
    let root = first_root(public_address(&addition.url).as_str(), fetch)?;
    let fingerprint = Sha256::of(&root);
    check_told(addition, &fingerprint)?;
    let lock = turn::wait(folder)?;
    // Only who holds the lock may judge what lies there: it may be what another command has just added.
    let was_there = was_committed(folder);
    let added = match Record::read(folder) {
        Ok(record) if record.fingerprint != fingerprint => {
            Err(RegistryError::AlreadyKnown { name: addition.name.to_string() })
        }
        Ok(record) => {
            let (url, vouched_by) = (addition.url.clone(), addition.vouched_by.clone());
            refresh(folder, Record { url, vouched_by, ..record }, fetch)
        }
        Err(RegistryError::DamagedRecord { .. }) => {
            let record = salvaged(folder, first_record(addition, fingerprint));
            anew(folder, record, root, fetch, Outcome::Added)
        }
        Err(error) => Err(error),
    };
    let is_nothing = !was_there && Arriving::of(folder).is_empty();
    if added.is_err() && is_nothing && Record::read(folder).is_err() {
        // The error that stopped the addition is the one to tell; what stays is no registry.
        let _ = leave_nothing(folder, lock);
    }
    added
}

/// Reads the first root of the registry that `fetch` shows.
pub(super) fn first_root(place: &str, fetch: &dyn Fetch) -> Result<Vec<u8>> {
    let file = root_file(1);
    match fetch.get(&file, MAX_METADATA_BYTES) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(RegistryError::NotARegistry { place: format!("`{place}`"), file }),
        Err(source) => Err(RegistryError::Fetch { registry: place.to_owned(), file, source }),
    }
}

/// The root must be the one that a person was told of, and its name free for a registry.
fn check_told(addition: &Addition, found: &Sha256) -> Result<()> {
    let name = addition.name.to_string();
    if name == CATALOG {
        return Err(RegistryError::ReservedName { name });
    }
    match &addition.fingerprint {
        None => Err(RegistryError::UnknownRoot { name, fingerprint: found.to_string() }),
        Some(expected) if !expected.matches(found) => {
            let (expected, found) = (expected.to_string(), found.to_string());
            Err(RegistryError::WrongFingerprint { name, expected, found })
        }
        Some(_) => Ok(()),
    }
}

fn first_record(addition: &Addition, fingerprint: Sha256) -> Record {
    Record {
        format: FORMAT,
        name: addition.name.clone(),
        url: addition.url.clone(),
        fingerprint,
        vouched_by: addition.vouched_by.clone(),
        generation: 0,
        versions: Versions { root: 0, timestamp: 0, snapshot: 0, targets: 0 },
    }
}

/// What a folder whose record is gone or torn still proves: the newest state in it that verifies stays the
/// floor, so that a lost record never lets an older state in.
fn salvaged(folder: &Path, record: Record) -> Record {
    let mut generations = generations_in(folder);
    generations.sort_unstable_by_key(|generation| std::cmp::Reverse(*generation));
    let verified = generations.into_iter().find_map(|generation| {
        let candidate = Record { generation, ..record.clone() };
        let files = candidate.read_files(folder).ok()?;
        let facts = signed::verify(&candidate.fingerprint, &files).ok()?;
        Some(Record { versions: facts.versions, ..candidate })
    });
    verified.unwrap_or(record)
}

/// Removes what an addition wrote. The lock goes last: who waits for it then begins with an empty folder.
fn leave_nothing(folder: &Path, lock: Lock) -> disk::Result<()> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name() != LOCK {
            disk::remove_any(&entry.path())?;
        }
    }
    lock.remove()?;
    disk::remove_empty_dir(folder)
}
