//! Roots: the file that says which keys may sign, and its successors.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use tough::editor::signed::SignedRole;
use tough::schema::decoded::{Decoded, Hex};
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

/// The most root keys that a registry may have; a drawer each is plenty.
const MAX_ROOT_KEYS: usize = 16;

/// How many root keys there are, and how many of them must sign the next root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// How many keys the root names.
    pub num_keys: usize,
    /// How many of them a root needs.
    pub threshold: usize,
}

impl Default for Quorum {
    /// One key, as for a publisher who is one person.
    fn default() -> Self {
        Self::majority(1)
    }
}

impl Quorum {
    /// More than half of the keys: of three, one may be lost or stolen.
    pub fn majority(num_keys: usize) -> Self {
        Self { num_keys, threshold: num_keys / 2 + 1 }
    }

    pub(super) fn check(self) -> Result<Self> {
        let Self { num_keys, threshold } = self;
        let is_sound = (1..=MAX_ROOT_KEYS).contains(&num_keys) && (1..=num_keys).contains(&threshold);
        let max_keys = MAX_ROOT_KEYS;
        if is_sound { Ok(self) } else { Err(RegistryError::Quorum { num_keys, threshold, max_keys }) }
    }
}

/// What `init` made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// The sha256 of `1.root.json`: what readers compare before they trust the registry.
    pub fingerprint: Sha256,
    /// The files of the root keys.
    pub root_keys: Vec<PathBuf>,
}

/// Makes keys and the first root of a new registry.
///
/// # Errors
/// When either exists already, the keys would lie inside the registry, or the disk refuses.
pub fn init(registry: &Path, keys_folder: &Path, quorum: Quorum, now: SystemTime) -> Result<Initialised> {
    let quorum = quorum.check()?;
    let path = registry.join(root_file(1));
    if path.exists() {
        return Err(RegistryError::Exists { path });
    }
    disk::create_dir_all(registry)?;
    refuse_inside(registry, keys_folder)?;
    let mut paths = Vec::new();
    for role in KeyRole::ALL {
        let num_keys = if role == KeyRole::Root { quorum.num_keys } else { 1 };
        paths.extend(keys::first_paths(keys_folder, role, num_keys)?.into_iter().map(|path| (role, path)));
    }
    let mut root = empty_root(NonZeroU64::MIN, now)?;
    let mut root_keys = Vec::new();
    for (role, path) in paths {
        let key = keys::create(&path)?;
        allow(&mut root, role, key.public()?)?;
        if role == KeyRole::Root {
            root_keys.push(key);
        }
    }
    set_threshold(&mut root, quorum.threshold);
    let bytes = signed_root(&root, None, &root_keys)?;
    disk::write_atomic(&path, &bytes)?;
    let root_keys = root_keys.into_iter().map(|key| key.path).collect();
    Ok(Initialised { fingerprint: Sha256::of(&bytes), root_keys })
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

/// A moment in the form that `tough` writes, to the second.
pub(super) fn timestamp(time: SystemTime) -> Result<jiff::Timestamp> {
    let seconds = seconds_of(time);
    jiff::Timestamp::from_second(seconds)
        .map_err(|_| RegistryError::Date { what: format!("{seconds} s after 1970") })
}

pub(super) fn refuse_inside(registry: &Path, keys_folder: &Path) -> Result<()> {
    let is_inside = match (real(registry), real(keys_folder)) {
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

/// Where a folder would really lie: the deepest part that exists may be a link.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    for existing in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(existing), absolute.strip_prefix(existing)) {
            // Joining nothing would end the path with a slash.
            return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) });
        }
    }
    Ok(absolute)
}

/// A root that names no keys yet, vouched for from now on.
pub(super) fn empty_root(version: NonZeroU64, now: SystemTime) -> Result<Root> {
    Ok(Root {
        spec_version: SPEC_VERSION.to_owned(),
        consistent_snapshot: false,
        version,
        expires: timestamp(now + ROOT_LIFETIME)?,
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: HashMap::new(),
    })
}

/// Lets a key sign for the roles of its kind.
pub(super) fn allow(root: &mut Root, role: KeyRole, key: Key) -> Result<()> {
    let id = key_id(&key, root.version)?;
    for &signs in role.signs() {
        let none = || RoleKeys { keyids: Vec::new(), threshold: NonZeroU64::MIN, _extra: HashMap::new() };
        root.roles.entry(signs).or_insert_with(none).keyids.push(id.clone());
    }
    root.keys.insert(id, key);
    Ok(())
}

/// Says how many of the root keys the next root needs.
pub(super) fn set_threshold(root: &mut Root, threshold: usize) {
    if let Some(keys) = root.roles.get_mut(&RoleType::Root) {
        keys.threshold = NonZeroU64::new(threshold as u64).unwrap_or(NonZeroU64::MIN);
    }
}

/// Signs a root with its own keys and with those of the root before it, and makes sure that readers of
/// both will accept it.
pub(super) fn signed_root(root: &Root, before: Option<&Root>, signers: &[PrivateKey]) -> Result<Vec<u8>> {
    let failed =
        |reason: String| RegistryError::Authoring { path: root_file(root.version.get()).into(), reason };
    // A root that names the keys of both, so that each key signs once.
    let mut both = root.clone();
    if let Some(before) = before {
        for key in before.keys(RoleType::Root).cloned().collect::<Vec<Key>>() {
            if !both.keys(RoleType::Root).any(|named| *named == key) {
                allow(&mut both, KeyRole::Root, key)?;
            }
        }
    }
    let keys: Vec<_> = signers.iter().map(PrivateKey::source).collect();
    let rng = SystemRandom::new();
    let holder = KeyHolder::Root(both);
    let signed = futures::executor::block_on(SignedRole::new(root.clone(), &holder, &keys, &rng))
        .map_err(|error| failed(error.to_string()))?;
    for reader in before.into_iter().chain([root]) {
        reader.verify_role(signed.signed()).map_err(|error| failed(error.to_string()))?;
    }
    Ok(signed.buffer().clone())
}

fn key_id(key: &Key, version: NonZeroU64) -> Result<Decoded<Hex>> {
    key.key_id().map_err(|error| RegistryError::Authoring {
        path: root_file(version.get()).into(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_not_lie_in_what_is_given_away() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let registry = folder.path().join("registry");
        let inside = init(&registry, &registry.join("keys"), Quorum::default(), SystemTime::UNIX_EPOCH);
        assert!(matches!(inside, Err(RegistryError::KeysInside { .. })));
        init(&registry, &folder.path().join("keys"), Quorum::default(), SystemTime::UNIX_EPOCH)
            .expect("apart");
        let again = init(&registry, &folder.path().join("other"), Quorum::default(), SystemTime::UNIX_EPOCH);
        assert!(matches!(again, Err(RegistryError::Exists { .. })));
    }

    #[test]
    fn a_link_to_the_registry_hides_no_keys() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let (registry, link) = (folder.path().join("registry"), folder.path().join("link"));
        fs::create_dir(&registry).expect("room");
        std::os::unix::fs::symlink(&registry, &link).expect("room");
        let inside = init(&registry, &link.join("deep/keys"), Quorum::default(), SystemTime::UNIX_EPOCH);
        assert!(matches!(inside, Err(RegistryError::KeysInside { .. })), "{inside:?}");
    }

    #[test]
    fn a_quorum_must_be_one_that_can_be_met() {
        assert_eq!(Quorum::majority(3), Quorum { num_keys: 3, threshold: 2 });
        for (num_keys, threshold) in [(0, 1), (1, 0), (2, 3), (17, 9)] {
            assert!(Quorum { num_keys, threshold }.check().is_err(), "{threshold} of {num_keys}");
        }
    }
}
