//! Roots: the file that says which keys may sign, and its successors.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use tough::editor::signed::SignedRole;
use tough::schema::key::Key;
use tough::schema::{KeyHolder, RoleKeys, RoleType, Root, Signed};

use crate::digest::Sha256;
use crate::disk;

use crate::registry::age::seconds_of;
use crate::registry::error::{RegistryError, Result};
use crate::registry::keys::{self, KeyRole, PrivateKey};
use crate::registry::tree::root_file;

/// How long a root is vouched for: ten years. Roots are rare, and age is only a tier.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The version of the TUF specification that is written.
pub(super) const SPEC_VERSION: &str = "1.0.0";

/// What `init` made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// The sha256 of `1.root.json`: what readers compare before they trust the registry.
    pub fingerprint: Sha256,
    /// Where the keys lie.
    pub keys: PathBuf,
}

/// Makes keys and the first root of a new registry.
///
/// # Errors
/// When either exists already, the keys would lie inside the registry, or the disk refuses.
pub fn init(registry: &Path, keys_folder: &Path, now: SystemTime) -> Result<Initialised> {
    let root = registry.join(root_file(1));
    if root.exists() {
        return Err(RegistryError::Exists { path: root });
    }
    disk::create_dir_all(registry)?;
    refuse_inside(registry, keys_folder)?;
    keys::create(keys_folder)?;
    let bytes = signed_root(NonZeroU64::MIN, keys_folder, None, now)?;
    disk::write_atomic(&root, &bytes)?;
    Ok(Initialised { fingerprint: Sha256::of(&bytes), keys: keys_folder.to_owned() })
}

/// Replaces the keys: writes the next root, signed by the old root key and the new one.
///
/// Readers who trust the first root follow the chain by themselves. Sign the registry again with the
/// new keys afterwards. Returns the version of the new root.
///
/// # Errors
/// As `init`, and when the old root or its key cannot be read.
pub fn rotate(registry: &Path, old_keys: &Path, new_keys: &Path, now: SystemTime) -> Result<u64> {
    refuse_inside(registry, new_keys)?;
    let old_root = newest_root(registry)?;
    let old_key = PrivateKey::read(old_keys, KeyRole::Root)?;
    if !names_key(&old_root, RoleType::Root, &old_key.public()?) {
        let path = old_keys.join("root.pk8");
        return Err(RegistryError::Key { path, reason: "is not the one that the root names".into() });
    }
    keys::create(new_keys)?;
    let version = old_root.version.saturating_add(1);
    let bytes = signed_root(version, new_keys, Some((&old_root, &old_key)), now)?;
    disk::write_atomic(&registry.join(root_file(version.get())), &bytes)?;
    Ok(version.get())
}

/// Reads the newest root of a registry's folder; its chain is the readers' business.
pub(super) fn newest_root(registry: &Path) -> Result<Root> {
    let newest =
        (1..).map(|version| registry.join(root_file(version))).take_while(|path| path.exists()).last();
    let Some(path) = newest else {
        let place = format!("the folder `{}`", registry.display());
        return Err(RegistryError::NotARegistry { place, file: root_file(1) });
    };
    let authoring = |reason: String| RegistryError::Authoring { path: path.clone(), reason };
    let bytes = fs::read(&path).map_err(|error| authoring(format!("not readable: {error}")))?;
    let root: Signed<Root> =
        serde_json::from_slice(&bytes).map_err(|error| authoring(format!("not a root: {error}")))?;
    Ok(root.signed)
}

/// True when the root lets this key sign for the role.
pub(super) fn names_key(root: &Root, role: RoleType, key: &Key) -> bool {
    root.keys(role).any(|named| named == key)
}

/// A moment in the form that `tough` writes, to the second.
pub(super) fn timestamp(time: SystemTime) -> Result<jiff::Timestamp> {
    let seconds = seconds_of(time);
    jiff::Timestamp::from_second(seconds)
        .map_err(|_| RegistryError::Date { what: format!("{seconds} s after 1970") })
}

fn refuse_inside(registry: &Path, keys_folder: &Path) -> Result<()> {
    let absolute = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    let is_inside = match (absolute(registry), absolute(keys_folder)) {
        (Ok(registry), Ok(keys)) => keys.starts_with(registry),
        _ => true,
    };
    if is_inside {
        return Err(RegistryError::KeysInside {
            keys: keys_folder.to_owned(),
            registry: registry.to_owned(),
        });
    }
    Ok(())
}

fn signed_root(
    version: NonZeroU64,
    keys_folder: &Path,
    before: Option<(&Root, &PrivateKey)>,
    now: SystemTime,
) -> Result<Vec<u8>> {
    let root_key = PrivateKey::read(keys_folder, KeyRole::Root)?;
    let targets = PrivateKey::read(keys_folder, KeyRole::Targets)?.public()?;
    let online = PrivateKey::read(keys_folder, KeyRole::Timestamp)?.public()?;
    let mut root = Root {
        spec_version: SPEC_VERSION.to_owned(),
        consistent_snapshot: false,
        version,
        expires: timestamp(now + ROOT_LIFETIME)?,
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: HashMap::new(),
    };
    allow(&mut root, RoleType::Root, root_key.public()?)?;
    allow(&mut root, RoleType::Targets, targets)?;
    allow(&mut root, RoleType::Snapshot, online.clone())?;
    allow(&mut root, RoleType::Timestamp, online)?;
    let mut signed = sign_with(&root, &KeyHolder::Root(root.clone()), &root_key)?;
    if let Some((old_root, old_key)) = before {
        let old = sign_with(&root, &KeyHolder::Root(old_root.clone()), old_key)?;
        signed = signed
            .add_old_signatures(old.signed().signatures.clone())
            .map_err(|error| RegistryError::Date { what: error.to_string() })?;
    }
    Ok(signed.buffer().clone())
}

fn sign_with(root: &Root, holder: &KeyHolder, key: &PrivateKey) -> Result<SignedRole<Root>> {
    let keys = [key.source()];
    let rng = SystemRandom::new();
    futures::executor::block_on(SignedRole::new(root.clone(), holder, &keys, &rng)).map_err(|error| {
        RegistryError::Authoring { path: root_file(root.version.get()).into(), reason: error.to_string() }
    })
}

fn allow(root: &mut Root, role: RoleType, key: Key) -> Result<()> {
    let id = key.key_id().map_err(|error| RegistryError::Authoring {
        path: root_file(root.version.get()).into(),
        reason: error.to_string(),
    })?;
    root.keys.insert(id.clone(), key);
    root.roles
        .insert(role, RoleKeys { keyids: vec![id], threshold: NonZeroU64::MIN, _extra: HashMap::new() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_not_lie_in_what_is_given_away() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let registry = folder.path().join("registry");
        let inside = init(&registry, &registry.join("keys"), SystemTime::UNIX_EPOCH);
        assert!(matches!(inside, Err(RegistryError::KeysInside { .. })));
        init(&registry, &folder.path().join("keys"), SystemTime::UNIX_EPOCH).expect("apart");
        let again = init(&registry, &folder.path().join("other"), SystemTime::UNIX_EPOCH);
        assert!(matches!(again, Err(RegistryError::Exists { .. })));
    }
}
