//! Signing a registry: targets, snapshot, timestamp, each one version on; the timestamp last.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use tough::TargetName;
use tough::editor::signed::SignedRole;
use tough::schema::{
    Hashes, KeyHolder, Metafile, Role, RoleType, Signed as SignedFile, Snapshot, Target, Targets, Timestamp,
};

use crate::digest::Sha256;
use crate::disk;

use super::root::{SPEC_VERSION, newest_root, timestamp};
use super::unchanged::{self, PUBLISHED};
use crate::registry::age::{day_of, seconds_of};
use crate::registry::error::{RegistryError, Result};
use crate::registry::index::{Fault, Files, Trust, VerifiedIndex, read_config};
use crate::registry::keys::{KeyRing, PrivateKey};
use crate::registry::packed::{PACKED_FROM_BYTES, pack, packed_name};
use crate::registry::signed::SIGNED_AT;
use crate::registry::tree::{CONFIG, SNAPSHOT, TARGETS, TIMESTAMP};

/// How to sign.
#[derive(Debug, Clone, Copy)]
pub struct SignOptions {
    /// For how many days the signers vouch for it; afterwards readers are warned.
    pub expires_days: u32,
    /// The time of signing.
    pub now: SystemTime,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Signed {
    /// The version that readers now see.
    pub version: u64,
    /// How many index files were signed.
    pub num_files: usize,
    /// The day of expiry, as `2026-11-22`.
    pub expires: String,
}

/// Signs what `build` generated.
///
/// # Errors
/// When there is no root or no index, the keys are not those that the root names, or the last
/// signatures cannot be read (their versions must be counted on from).
pub fn sign(registry: &Path, keys: &[PathBuf], options: &SignOptions) -> Result<Signed> {
    let root = newest_root(registry)?;
    let ring = KeyRing::open(keys)?;
    let targets_keys = ring.enough(&root, RoleType::Targets)?;
    let timestamp_keys = ring.enough(&root, RoleType::Timestamp)?;
    let files = read_index_files(registry)?;
    let published = unchanged::extended(registry, &unchanged::manifests_in(&files))?.into_bytes();
    let expires_at = options.now + Duration::from_secs(u64::from(options.expires_days) * 24 * 60 * 60);
    let expires = timestamp(expires_at)?;
    let version = next_version(registry)?;
    let holder = KeyHolder::Root(root);

    let mut signed_files = files.clone();
    signed_files.insert(PUBLISHED.to_owned(), published.clone());
    let targets = finish(targets_of(&signed_files, version, expires)?, &holder, &targets_keys, TARGETS)?;
    let mut snapshot = Snapshot::new(SPEC_VERSION.to_owned(), version, expires);
    snapshot.meta.insert(TARGETS.to_owned(), pin(&targets));
    let snapshot = finish(snapshot, &holder, &timestamp_keys, SNAPSHOT)?;
    let mut newest = Timestamp::new(SPEC_VERSION.to_owned(), version, expires);
    newest.meta.insert(SNAPSHOT.to_owned(), pin(&snapshot));
    newest._extra.insert(SIGNED_AT.to_owned(), seconds_of(options.now).into());
    let newest = finish(newest, &holder, &timestamp_keys, TIMESTAMP)?;

    // First: should the signing end here, the next one finds what it signs at the file's beginning.
    disk::write_atomic(&registry.join(PUBLISHED), &published)?;
    write_packed(&registry.join(packed_name(TARGETS)), targets.buffer())?;
    disk::write_atomic(&registry.join(TARGETS), targets.buffer())?;
    disk::write_atomic(&registry.join(SNAPSHOT), snapshot.buffer())?;
    disk::write_atomic(&registry.join(TIMESTAMP), newest.buffer())?;
    Ok(Signed { version: version.get(), num_files: files.len(), expires: day_of(seconds_of(expires_at)) })
}

/// Writes the packed form of a large file; a small one has none.
fn write_packed(path: &Path, plain: &[u8]) -> Result<()> {
    match plain.len() as u64 >= PACKED_FROM_BYTES {
        true => Ok(disk::write_atomic(path, &pack(plain))?),
        false => Ok(disk::remove_file(path)?),
    }
}

/// Reads config, revocations and shards, and makes sure that a reader could read them too.
fn read_index_files(registry: &Path) -> Result<Files> {
    let read = |name: &str| -> Result<Vec<u8>> {
        fs::read(registry.join(name)).map_err(|error| RegistryError::Authoring {
            path: registry.join(name),
            reason: format!("{error}; `localml registry build` writes it"),
        })
    };
    let broken = |fault: Fault| RegistryError::Authoring {
        path: registry.join(&fault.file),
        reason: format!("it {}; `localml registry build` writes it anew", fault.reason),
    };
    let mut files = Files::from([(CONFIG.to_owned(), read(CONFIG)?)]);
    for name in read_config(&files).map_err(broken)?.signed_files() {
        let bytes = read(&name)?;
        files.insert(name, bytes);
    }
    let name = "unsigned".parse().expect("a constant name");
    VerifiedIndex::from_files(name, None, Trust::BuiltIn, &files).map_err(broken)?;
    Ok(files)
}

/// One more than the largest version that lies there; 1 for a registry that was never signed.
fn next_version(registry: &Path) -> Result<NonZeroU64> {
    let versions = [
        version_of::<Targets>(&registry.join(TARGETS))?,
        version_of::<Snapshot>(&registry.join(SNAPSHOT))?,
        version_of::<Timestamp>(&registry.join(TIMESTAMP))?,
    ];
    Ok(versions.into_iter().flatten().max().map_or(NonZeroU64::MIN, |version| version.saturating_add(1)))
}

fn version_of<T>(path: &Path) -> Result<Option<NonZeroU64>>
where
    T: Role + serde::de::DeserializeOwned,
{
    if !path.exists() {
        return Ok(None);
    }
    let authoring = |reason: String| RegistryError::Authoring { path: path.to_owned(), reason };
    let bytes = fs::read(path).map_err(|error| authoring(format!("not readable: {error}")))?;
    let role: SignedFile<T> = serde_json::from_slice(&bytes).map_err(|error| {
        authoring(format!(
            "not readable: {error}; its version must be known: put back a copy of what was published"
        ))
    })?;
    Ok(Some(role.signed.version()))
}

fn targets_of(files: &Files, version: NonZeroU64, expires: jiff::Timestamp) -> Result<Targets> {
    let mut targets = Targets::new(SPEC_VERSION.to_owned(), version, expires);
    targets.delegations = None;
    for (name, bytes) in files {
        let target = Target {
            length: bytes.len() as u64,
            hashes: hashes(Sha256::of(bytes).as_bytes()),
            custom: HashMap::new(),
            _extra: HashMap::new(),
        };
        let target_name = TargetName::new(name.as_str())
            .map_err(|error| RegistryError::Authoring { path: name.into(), reason: error.to_string() })?;
        targets.add_target(target_name, target);
    }
    Ok(targets)
}

fn finish<T>(role: T, holder: &KeyHolder, keys: &[PrivateKey], file: &str) -> Result<SignedRole<T>>
where
    T: Role,
{
    let keys: Vec<_> = keys.iter().map(PrivateKey::source).collect();
    let rng = SystemRandom::new();
    futures::executor::block_on(SignedRole::new(role, holder, &keys, &rng))
        .map_err(|error| RegistryError::Authoring { path: file.into(), reason: error.to_string() })
}

/// What pins a file in the one above it: version, length, digest.
fn pin<T: Role>(role: &SignedRole<T>) -> Metafile {
    Metafile {
        length: Some(*role.length()),
        hashes: Some(hashes(role.sha256())),
        version: role.signed().signed.version(),
        _extra: HashMap::new(),
    }
}

fn hashes(sha256: &[u8]) -> Hashes {
    Hashes { sha256: sha256.to_vec().into(), _extra: HashMap::new() }
}
