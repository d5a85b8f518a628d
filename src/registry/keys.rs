//! The publisher's keys: Ed25519, one file each, readable by the user alone, never in the registry.
//!
//! * `root.pk8` signs only roots; it belongs on a stick in a drawer.
//! * `targets.pk8` signs what the packages are.
//! * `timestamp.pk8` signs that this is the newest state (snapshot and timestamp).
//!
//! Each is PKCS#8 in DER, as `openssl pkey -inform DER` reads it.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use tough::key_source::KeySource;
use tough::schema::key::Key;
use tough::sign::{Sign, parse_keypair};

use crate::disk;

use super::error::{RegistryError, Result};

/// What a key is for, which is also its file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRole {
    Root,
    Targets,
    Timestamp,
}

impl KeyRole {
    pub(crate) const ALL: [Self; 3] = [Self::Root, Self::Targets, Self::Timestamp];

    fn path_in(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Root => "root.pk8",
            Self::Targets => "targets.pk8",
            Self::Timestamp => "timestamp.pk8",
        })
    }
}

/// A private key in memory; its bytes are never shown.
#[derive(Clone)]
pub(crate) struct PrivateKey {
    der: Vec<u8>,
    path: PathBuf,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PrivateKey({})", self.path.display())
    }
}

/// Makes the keys; refuses to write over one that exists.
pub(crate) fn create(folder: &Path) -> Result<()> {
    for role in KeyRole::ALL {
        let path = role.path_in(folder);
        if path.exists() {
            return Err(RegistryError::Exists { path });
        }
    }
    disk::create_private_dir(folder)?;
    for role in KeyRole::ALL {
        let path = role.path_in(folder);
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let key = made.map_err(|_| unusable(&path, "could not be made"))?;
        disk::write_private(&path, key.as_ref())?;
    }
    Ok(())
}

impl PrivateKey {
    pub(crate) fn read(folder: &Path, role: KeyRole) -> Result<Self> {
        let path = role.path_in(folder);
        let der = fs::read(&path).map_err(|error| unusable(&path, &format!("is not readable: {error}")))?;
        let key = Self { der, path };
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
        create(&keys).expect("new");
        for role in KeyRole::ALL {
            let mode = fs::metadata(role.path_in(&keys)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            PrivateKey::read(&keys, role).expect("usable");
        }
        assert!(matches!(create(&keys), Err(RegistryError::Exists { .. })));
    }
}
