//! The publisher's keys: Ed25519, one file each, readable by the user alone, never in the registry.
//!
//! * `root.pk8` (or `root-1.pk8` and so on) signs only roots; it belongs on a stick in a drawer.
//! * `targets.pk8` signs what the packages are.
//! * `timestamp.pk8` signs that this is the newest state (snapshot and timestamp).
//!
//! Each is PKCS#8 in DER, as `openssl pkey -inform DER` reads it. What a key may sign is said by the
//! root alone: files are found by what is in them, and their names are only for people.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use tough::key_source::KeySource;
use tough::schema::key::Key;
use tough::schema::{RoleType, Root};
use tough::sign::{Sign, parse_keypair};

use crate::disk;

use super::error::{RegistryError, Result};
use super::tree::root_file;

/// What a key is for, which is also how its file's name begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRole {
    Root,
    Targets,
    Timestamp,
}

impl KeyRole {
    pub(crate) const ALL: [Self; 3] = [Self::Root, Self::Targets, Self::Timestamp];

    /// The roles of a root that keys of this kind sign.
    pub(crate) fn signs(self) -> &'static [RoleType] {
        match self {
            Self::Root => &[RoleType::Root],
            Self::Targets => &[RoleType::Targets],
            Self::Timestamp => &[RoleType::Snapshot, RoleType::Timestamp],
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Timestamp => "timestamp",
        }
    }
}

/// A private key in memory; its bytes are never shown.
#[derive(Clone)]
pub(crate) struct PrivateKey {
    der: Vec<u8>,
    pub(crate) path: PathBuf,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PrivateKey({})", self.path.display())
    }
}

/// Where the keys of a new registry go: numbered where there are several of one kind.
///
/// # Errors
/// `Exists` when one of these files is there already.
pub(crate) fn first_paths(folder: &Path, role: KeyRole, num_keys: usize) -> Result<Vec<PathBuf>> {
    let word = role.word();
    let name = |number: usize| match num_keys {
        1 => format!("{word}.pk8"),
        _ => format!("{word}-{number}.pk8"),
    };
    let paths: Vec<PathBuf> = (1..=num_keys).map(|number| folder.join(name(number))).collect();
    match paths.iter().find(|path| path.exists()) {
        Some(path) => Err(RegistryError::Exists { path: path.clone() }),
        None => Ok(paths),
    }
}

/// Where a key that a later root names goes: a name that no file has.
pub(crate) fn next_path(folder: &Path, role: KeyRole, root_version: u64) -> PathBuf {
    let word = role.word();
    let first = folder.join(format!("{word}-v{root_version}.pk8"));
    let others = (2..).map(|number: u32| folder.join(format!("{word}-v{root_version}-{number}.pk8")));
    std::iter::once(first).chain(others).find(|path| !path.exists()).expect("names without end")
}

/// Makes a key in a new file.
pub(crate) fn create(path: &Path) -> Result<PrivateKey> {
    if let Some(folder) = path.parent() {
        disk::create_private_dir(folder)?;
    }
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let key = made.map_err(|_| unusable(path, "could not be made"))?;
    disk::write_private(path, key.as_ref())?;
    PrivateKey::read(path)
}

impl PrivateKey {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let der = fs::read(path).map_err(|error| unusable(path, &format!("is not readable: {error}")))?;
        let key = Self { der, path: path.to_owned() };
        key.public()?;
        Ok(key)
    }

    /// The public half, in the form that a root names it.
    pub(crate) fn public(&self) -> Result<Key> {
        match parse_keypair(&self.der) {
            Ok(pair) => Ok(pair.tuf_key()),
            Err(_) => Err(unusable(&self.path, "is not a PKCS#8 key")),
        }
    }

    /// In the form that `tough` signs with.
    pub(crate) fn source(&self) -> Box<dyn KeySource> {
        Box::new(self.clone())
    }
}

/// The private keys that lie in some folders: not all that a root names need be there.
#[derive(Debug)]
pub(crate) struct KeyRing {
    keys: Vec<PrivateKey>,
    folders: Vec<PathBuf>,
    /// Why a key's file could not be used.
    unreadable: Vec<String>,
}

impl KeyRing {
    /// Reads every `*.pk8` of the folders.
    ///
    /// # Errors
    /// When a folder cannot be read; a key that cannot is only remembered.
    pub(crate) fn open(folders: &[PathBuf]) -> Result<Self> {
        let mut ring = Self { keys: Vec::new(), folders: folders.to_vec(), unreadable: Vec::new() };
        for folder in folders {
            let on = |error: std::io::Error| unusable(folder, &format!("is not readable: {error}"));
            let mut paths = Vec::new();
            for entry in fs::read_dir(folder).map_err(on)? {
                paths.push(entry.map_err(on)?.path());
            }
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "pk8"));
            paths.sort();
            for path in paths {
                match PrivateKey::read(&path) {
                    Ok(key) => ring.keys.push(key),
                    Err(error) => ring.unreadable.push(error.to_string()),
                }
            }
        }
        Ok(ring)
    }

    /// The keys that are here and that the root names for a role, each once.
    pub(crate) fn named_by(&self, root: &Root, role: RoleType) -> Result<Vec<PrivateKey>> {
        let mut found: Vec<(Key, &PrivateKey)> = Vec::new();
        for key in &self.keys {
            let public = key.public()?;
            let is_new = !found.iter().any(|(other, _)| *other == public);
            if is_new && root.keys(role).any(|named| *named == public) {
                found.push((public, key));
            }
        }
        Ok(found.into_iter().map(|(_, key)| key.clone()).collect())
    }

    /// As `named_by`, when they are as many as the root asks for.
    ///
    /// # Errors
    /// `TooFewKeys`.
    pub(crate) fn enough(&self, root: &Root, role: RoleType) -> Result<Vec<PrivateKey>> {
        let found = self.named_by(root, role)?;
        let named = root.roles.get(&role);
        let needed = named.map_or(1, |keys| keys.threshold.get());
        if found.len() as u64 >= needed {
            return Ok(found);
        }
        let num_named = named.map_or(0, |keys| keys.keyids.len());
        Err(self.too_few(role, root.version, (needed, num_named, found.len())))
    }

    /// The error that `needed` of `num_named` keys are asked for by this root, and `num_found` are here.
    pub(crate) fn too_few(
        &self,
        role: RoleType,
        version: NonZeroU64,
        (needed, num_named, num_found): (u64, usize, usize),
    ) -> RegistryError {
        RegistryError::TooFewKeys {
            role: role.to_string(),
            file: root_file(version.get()),
            needed,
            num_named,
            num_found,
            folders: self.folders.iter().map(|folder| folder.display().to_string()).collect(),
            unreadable: self.unreadable.clone(),
        }
    }
}

fn unusable(path: &Path, reason: &str) -> RegistryError {
    RegistryError::Key { path: path.to_owned(), reason: reason.to_owned() }
}

type KeyError = Box<dyn std::error::Error + Send + Sync + 'static>;

#[async_trait::async_trait]
impl KeySource for PrivateKey {
    async fn as_sign(&self) -> std::result::Result<Box<dyn Sign>, KeyError> {
        Ok(Box::new(parse_keypair(&self.der)?))
    }

    async fn write(&self, _value: &str, _key_id_hex: &str) -> std::result::Result<(), KeyError> {
        Err("keys are written only when they are made".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_private_and_never_written_over() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let keys = folder.path().join("keys");
        for path in first_paths(&keys, KeyRole::Root, 2).expect("nothing there") {
            create(&path).expect("new");
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        let again = first_paths(&keys, KeyRole::Root, 3);
        assert!(matches!(again, Err(RegistryError::Exists { path }) if path.ends_with("root-1.pk8")));
        let next = next_path(&keys, KeyRole::Root, 2);
        assert!(next.ends_with("root-v2.pk8"));
        create(&next).expect("new");
        assert!(next_path(&keys, KeyRole::Root, 2).ends_with("root-v2-2.pk8"));
    }

    #[test]
    fn a_damaged_key_is_remembered_and_hides_no_other() {
        let folder = tempfile::tempdir().expect("a temp folder");
        create(&folder.path().join("a.pk8")).expect("new");
        fs::write(folder.path().join("b.pk8"), b"torn").expect("writable");
        let ring = KeyRing::open(&[folder.path().to_owned()]).expect("readable");
        assert_eq!((ring.keys.len(), ring.unreadable.len()), (1, 1));
    }
}
