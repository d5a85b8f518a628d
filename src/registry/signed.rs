//! Verifies a complete set of signed files in memory: bytes in, facts or a fault out.
//!
//! This is what `load` does before every use, what an update does with the copy that it starts from
//! (the library behind updates takes a torn floor for an absent one), and what it does with the
//! files that it is about to keep.

use tough::schema::{Hashes, Metafile, Root, Signed, Snapshot, Targets, Timestamp};

use crate::digest::Sha256;

use super::age::SignedDates;
use super::index::{Fault, Files, Trust, bytes_of, read_config};
use super::tree::{SNAPSHOT, TARGETS, TIMESTAMP, root_file};

/// The member of `timestamp.json` that says when it was signed, in seconds since 1970.
pub(crate) const SIGNED_AT: &str = "x-localml-signed-at";

type Checked<T> = std::result::Result<T, Fault>;

/// What a verified set of files says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) versions: Versions,
    pub(crate) dates: SignedDates,
}

/// The versions below which nothing is accepted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Versions {
    pub(crate) root: u64,
    pub(crate) timestamp: u64,
    pub(crate) snapshot: u64,
    pub(crate) targets: u64,
}

impl Facts {
    pub(crate) fn trust(&self, fingerprint: Sha256) -> Trust {
        Trust::Signed {
            fingerprint,
            root_version: self.versions.root,
            version: self.versions.timestamp,
            dates: self.dates,
        }
    }
}

/// Verifies everything: root chain from the fingerprint, signatures, thresholds, pins, every index file.
pub(crate) fn verify(fingerprint: &Sha256, files: &Files) -> Checked<Facts> {
    let root = verify_roots(fingerprint, files)?;
    let timestamp: Signed<Timestamp> = signed_by(&root, TIMESTAMP, files)?;
    let snapshot: Signed<Snapshot> = pinned_by(&timestamp.signed.meta, SNAPSHOT, &root, files)?;
    let targets: Signed<Targets> = pinned_by(&snapshot.signed.meta, TARGETS, &root, files)?;
    verify_index_files(&targets.signed, files)?;
    let expiries = [root.expires, timestamp.signed.expires, snapshot.signed.expires, targets.signed.expires];
    let expires_seconds = expiries.iter().map(|expires| expires.as_second()).min().unwrap_or(0);
    let signed_seconds = timestamp.signed._extra.get(SIGNED_AT).and_then(serde_json::Value::as_i64);
    Ok(Facts {
        versions: Versions {
            root: root.version.get(),
            timestamp: timestamp.signed.version.get(),
            snapshot: snapshot.signed.version.get(),
            targets: targets.signed.version.get(),
        },
        dates: SignedDates { signed_seconds, expires_seconds },
    })
}

/// Follows the roots from the one that a person accepted to the newest; each is signed by the one before.
pub(crate) fn verify_roots(fingerprint: &Sha256, files: &Files) -> Checked<Root> {
    let first = root_file(1);
    let bytes = bytes_of(files, &first)?;
    if Sha256::of(bytes) != *fingerprint {
        return Err(Fault::new(first, "has another fingerprint than the one that was accepted"));
    }
    let mut newest: Signed<Root> = parse(&first, bytes)?;
    check_signatures(&newest.signed, &newest, &first)?;
    for version in 2.. {
        let file = root_file(version);
        let Some(bytes) = files.get(&file) else { break };
        let next: Signed<Root> = parse(&file, bytes)?;
        check_signatures(&newest.signed, &next, &file)?;
        check_signatures(&next.signed, &next, &file)?;
        if next.signed.version.get() != version {
            return Err(Fault::new(file, format!("says that it is version {}", next.signed.version)));
        }
        newest = next;
    }
    Ok(newest.signed)
}

/// The index files that `targets.json` signs: name, length in bytes, digest.
pub(crate) fn listed(targets: &Targets) -> Checked<Vec<(String, u64, Sha256)>> {
    let mut listed = Vec::new();
    for (name, target) in &targets.targets {
        listed.push((name.raw().to_owned(), target.length, digest_of(&target.hashes, name.raw())?));
    }
    listed.sort();
    Ok(listed)
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(file: &str, bytes: &[u8]) -> Checked<T> {
    serde_json::from_slice(bytes).map_err(|error| Fault::new(file, format!("is not readable: {error}")))
}

fn signed_by<T>(root: &Root, file: &str, files: &Files) -> Checked<Signed<T>>
where
    T: tough::schema::Role + serde::de::DeserializeOwned,
{
    let role: Signed<T> = parse(file, bytes_of(files, file)?)?;
    check_signatures(root, &role, file)?;
    Ok(role)
}

fn pinned_by<T>(
    pins: &std::collections::HashMap<String, Metafile>,
    file: &str,
    root: &Root,
    files: &Files,
) -> Checked<Signed<T>>
where
    T: tough::schema::Role + serde::de::DeserializeOwned,
{
    let pin = pins.get(file).ok_or_else(|| Fault::new(file, "is not named by the file above it"))?;
    let bytes = bytes_of(files, file)?;
    let is_same_bytes = match &pin.hashes {
        Some(hashes) => digest_of(hashes, file)? == Sha256::of(bytes),
        None => true,
    };
    let is_same_length = pin.length.is_none_or(|length| length == bytes.len() as u64);
    if !is_same_bytes || !is_same_length {
        return Err(Fault::new(file, "is not the one that the others were signed with"));
    }
    let role: Signed<T> = signed_by(root, file, files)?;
    if role.signed.version() != pin.version {
        return Err(Fault::new(file, format!("has version {}, not {}", role.signed.version(), pin.version)));
    }
    Ok(role)
}

fn check_signatures<T: tough::schema::Role>(root: &Root, role: &Signed<T>, file: &str) -> Checked<()> {
    root.verify_role(role).map_err(|_| Fault::new(file, "is not signed by the keys that the root names"))
}

fn verify_index_files(targets: &Targets, files: &Files) -> Checked<()> {
    let listed = listed(targets)?;
    for name in read_config(files)?.signed_files() {
        let Ok(at) = listed.binary_search_by(|(listed, ..)| listed.cmp(&name)) else {
            return Err(Fault::new(name, "is not signed"));
        };
        let (_, length, digest) = &listed[at];
        let bytes = bytes_of(files, &name)?;
        if bytes.len() as u64 != *length || Sha256::of(bytes) != *digest {
            return Err(Fault::new(name, "is not what was signed: its digest differs"));
        }
    }
    Ok(())
}

fn digest_of(hashes: &Hashes, file: &str) -> Checked<Sha256> {
    let bytes: &[u8] = &hashes.sha256;
    match <[u8; 32]>::try_from(bytes) {
        Ok(bytes) => Ok(Sha256::from_bytes(bytes)),
        Err(_) => Err(Fault::new(file, "is signed with something that is not a sha256")),
    }
}
