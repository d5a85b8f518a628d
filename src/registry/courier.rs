//! Couriers: people who carry what no publisher signed, and say with a key of their own that they did.
//!
//! ```text
//! home/courier/<name>.pk8       this home's own key (Ed25519, PKCS#8, mode 0600), made on first use under `.lock`
//! home/couriers/<name>.toml     a courier whom the keeper of this home authorised, by the key's fingerprint
//! TRUST/….TAR: COURIER/<fingerprint>.SIG      a statement, as it travels:
//!   {"format": 1, "key": hex of 32 bytes, "signature": hex of 64 bytes, "statement": "…"}
//! ```
//! What is signed is the statement's very text after a line that says what it is; a reader takes the
//! packages' descriptions from that text and from nowhere else. It names each package with its files'
//! digests, so a stick can be given on, but nothing in it exchanged. There are no versions and no expiry:
//! a courier vouches for bytes, not for news.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::disk::{self, DiskError};
use crate::package::{Manifest, Name, PackageRef};

use super::error::{RegistryError, Result};
use super::turn;

/// The newest format of statements and records that is read and written here.
const FORMAT: u32 = 1;

/// What stands before the statement when it is signed, so that no signature can mean something else.
const CONTEXT: &[u8] = b"localml courier statement 1\n";

/// The most bytes of a statement's file; a description has a few kilobytes.
pub const MAX_STATEMENT_BYTES: u64 = 4 * 1024 * 1024;

/// A package that a courier vouches for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VouchedPackage {
    /// Its name, version and build.
    pub package: PackageRef,
    /// Its whole description, with the digests of its files.
    pub manifest: Manifest,
}

/// What a courier says, once the signature was found to hold.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What the courier calls itself; the key decides who it is.
    pub name: Name,
    /// The sha256 of the public key.
    pub fingerprint: Sha256,
    /// What it vouches for.
    pub packages: Vec<VouchedPackage>,
}

/// A courier whom the keeper of this home authorised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Courier {
    format: u32,
    /// Its name.
    pub name: Name,
    /// The sha256 of its public key.
    pub fingerprint: Sha256,
    /// When it was authorised, in seconds since 1970 by this machine's clock.
    pub authorised_at: u64,
}

/// A home's own key.
pub struct CourierKey {
    pair: Ed25519KeyPair,
    der: Vec<u8>,
    name: Name,
    path: PathBuf,
}

impl std::fmt::Debug for CourierKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CourierKey({})", self.path.display())
    }
}

#[derive(Serialize, Deserialize)]
struct StatementFile {
    format: u32,
    #[serde(with = "hex")]
    key: Vec<u8>,
    #[serde(with = "hex")]
    signature: Vec<u8>,
    statement: String,
}

#[derive(Serialize, Deserialize)]
struct StatementText {
    name: Name,
    packages: Vec<VouchedPackage>,
}

impl CourierKey {
    /// Reads the key of this home; `None` when it has none.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let Some(path) = files_in(folder, "pk8").into_iter().next() else { return Ok(None) };
        let unreadable = |source| DiskError::Io { path: path.clone(), source };
        let der = fs::read(&path).map_err(unreadable)?;
        let damaged = |reason: String| RegistryError::DamagedCourierKey { path: path.clone(), reason };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = stem.parse().map_err(|error| damaged(format!("has no courier's name: {error}")))?;
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| damaged("is not a PKCS#8 key".into()))?;
        Ok(Some(Self::from_pair(pair, der, Some(name), folder)))
    }

    /// Reads the key of this home, and makes and keeps one where there is none. Of two commands that sign first at the
    /// same time, one makes it and the other finds it: a home has one fingerprint.
    ///
    /// # Errors
    /// As `open`; when the disk refuses.
    pub fn open_or_keep(folder: &Path, name: Option<Name>) -> Result<Self> {
        disk::make_private_dir(folder)?;
        let _turn = turn::wait(folder)?;
        if let Some(key) = Self::open(folder)? {
            return Ok(key);
        }
        let key = Self::make(folder, name)?;
        disk::write_private(&key.path, &key.der)?;
        Ok(key)
    }

    /// Makes a key in memory; nothing is written. Without a name it is called by its fingerprint.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn make(folder: &Path, name: Option<Name>) -> Result<Self> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let der = made.map_err(|_| unmade(folder))?.as_ref().to_vec();
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| unmade(folder))?;
        Ok(Self::from_pair(pair, der, name, folder))
    }

    fn from_pair(pair: Ed25519KeyPair, der: Vec<u8>, name: Option<Name>, folder: &Path) -> Self {
        let digits = Sha256::of(pair.public_key().as_ref()).to_string();
        let name = name.unwrap_or_else(|| format!("courier-{}", &digits[..8]).parse().expect("a plain name"));
        let path = folder.join(format!("{name}.pk8"));
        Self { pair, der, name, path }
    }

    /// What this courier is called.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The sha256 of the public key: what a keeper compares before authorising it.
    pub fn fingerprint(&self) -> Sha256 {
        Sha256::of(self.pair.public_key().as_ref())
    }

    /// Signs a statement about packages; returns its file. The same packages give the same bytes.
    pub fn sign(&self, packages: Vec<VouchedPackage>) -> Vec<u8> {
        let text = StatementText { name: self.name.clone(), packages };
        let statement = serde_json::to_string(&text).expect("plain data");
        let signature = self.pair.sign(&signed_bytes(&statement)).as_ref().to_vec();
        let key = self.pair.public_key().as_ref().to_vec();
        let file = StatementFile { format: FORMAT, key, signature, statement };
        serde_json::to_vec_pretty(&file).expect("plain data")
    }
}

impl Statement {
    /// Reads a statement; its signature must hold. Whether the courier is one to believe is another question.
    ///
    /// # Errors
    /// `Statement` when it is damaged, or was changed after it was signed; `NewerFormat`.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self> {
        let refused = |reason: String| RegistryError::Statement { file: file.to_owned(), reason };
        let damaged = |error: serde_json::Error| refused(format!("is not readable: {error}"));
        let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
        check_format(file, head.format)?;
        let read: StatementFile = serde_json::from_slice(bytes).map_err(damaged)?;
        UnparsedPublicKey::new(&ED25519, &read.key)
            .verify(&signed_bytes(&read.statement), &read.signature)
            .map_err(|_| refused("is not what the courier signed: its signature does not hold".into()))?;
        let text: StatementText = serde_json::from_str(&read.statement).map_err(damaged)?;
        for vouched in &text.packages {
            vouched.manifest.check().map_err(|error| refused(format!("describes nonsense: {error}")))?;
        }
        Ok(Self { name: text.name, fingerprint: Sha256::of(&read.key), packages: text.packages })
    }
}

/// Lists the couriers whose records can be read, and what is wrong with the others.
pub fn readable_couriers(folder: &Path) -> (Vec<Courier>, Vec<RegistryError>) {
    let (mut couriers, mut damaged) = (Vec::new(), Vec::new());
    for path in files_in(folder, "toml") {
        match read_courier(&path) {
            Ok(courier) => couriers.push(courier),
            Err(error) => damaged.push(error),
        }
    }
    (couriers, damaged)
}

/// Authorises a courier; one whose key is authorised already, under whatever name, stays as it was.
///
/// # Errors
/// `CourierKnown` when another courier has the name here; when the disk refuses.
pub fn authorise(folder: &Path, name: &Name, fingerprint: Sha256, authorised_at: u64) -> Result<()> {
    let (known, _) = readable_couriers(folder);
    if known.iter().any(|courier| courier.fingerprint == fingerprint) {
        return Ok(());
    }
    let path = record_path(folder, name);
    match path.exists().then(|| read_courier(&path)).transpose()? {
        Some(_) => Err(RegistryError::CourierKnown { name: name.to_string() }),
        None => {
            let courier = Courier { format: FORMAT, name: name.clone(), fingerprint, authorised_at };
            let text = toml::to_string(&courier).expect("plain data");
            Ok(disk::write_atomic(&path, text.as_bytes())?)
        }
    }
}

/// Withdraws a courier's authority: every record of its key. Returns the key's fingerprint, unless the record is
/// damaged and therefore only removed. What came in by the courier stays, and stays labelled.
///
/// # Errors
/// `NoSuchCourier` when nobody of this name is authorised.
pub fn withdraw(folder: &Path, name: &Name) -> Result<Option<Sha256>> {
    let path = record_path(folder, name);
    if !path.exists() {
        return Err(RegistryError::NoSuchCourier { name: name.to_string() });
    }
    let fingerprint = read_courier(&path).ok().map(|courier| courier.fingerprint);
    for other in files_in(folder, "toml") {
        if read_courier(&other).is_ok_and(|courier| Some(courier.fingerprint) == fingerprint) {
            disk::remove_file(&other)?;
        }
    }
    disk::remove_file(&path)?;
    Ok(fingerprint)
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

fn check_format(file: &str, found: u32) -> Result<()> {
    if found > FORMAT {
        return Err(RegistryError::NewerFormat { file: file.to_owned(), found, known: FORMAT });
    }
    Ok(())
}

fn signed_bytes(statement: &str) -> Vec<u8> {
    [CONTEXT, statement.as_bytes()].concat()
}

fn record_path(folder: &Path, name: &Name) -> PathBuf {
    folder.join(format!("{name}.toml"))
}

fn read_courier(path: &Path) -> Result<Courier> {
    let file = path.display().to_string();
    let refused = |reason: String| RegistryError::CourierRecord {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        file: file.clone(),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|error| refused(format!("is not readable: {error}")))?;
    let damaged = |error: toml::de::Error| refused(format!("is damaged: {}", error.message()));
    let head: Head = toml::from_str(&text).map_err(damaged)?;
    check_format(&file, head.format)?;
    toml::from_str(&text).map_err(damaged)
}

/// The visible files of a folder that end so, sorted.
fn files_in(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut paths = super::record::paths_in(folder);
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths
}

fn unmade(folder: &Path) -> RegistryError {
    RegistryError::Key { path: folder.to_owned(), reason: "could not be made".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain as _;
    use std::os::unix::fs::PermissionsExt as _;

    fn vouched() -> Vec<VouchedPackage> {
        let digest = Sha256::of(b"x");
        let json = format!(
            r#"{{"package":{{"name":"m","version":"0.0.0","kind":"knowledge","title":"T","license":"MIT"}},"variant":[{{"id":"v","file":[{{"path":"m.md","size_bytes":1,"sha256":"{digest}"}}]}}]}}"#
        );
        let manifest = serde_json::from_str(&json).expect("a manifest");
        vec![VouchedPackage { package: "m@0.0.0:v".parse().expect("a reference"), manifest }]
    }

    #[test]
    fn a_key_is_made_once_kept_private_and_signs_the_same_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = folder.path().join("courier");
        let key = CourierKey::make(&keys, None).expect("random");
        assert!(CourierKey::open(&keys).expect("readable").is_none(), "nothing is written before it is kept");
        let key = CourierKey::open_or_keep(&keys, Some(key.name().clone())).expect("writable");
        let again = CourierKey::open(&keys).expect("readable").expect("there");
        assert_eq!((again.name(), again.fingerprint()), (key.name(), key.fingerprint()));
        assert_eq!(again.sign(vouched()), key.sign(vouched()));
        let mode = fs::metadata(&again.path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn who_sign_first_at_once_sign_with_one_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = folder.path().join("courier");
        let barrier = std::sync::Barrier::new(8);
        let sign_first = || {
            barrier.wait();
            CourierKey::open_or_keep(&keys, None).expect("writable").fingerprint()
        };
        let fingerprints: std::collections::BTreeSet<Sha256> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(sign_first)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!((fingerprints.len(), files_in(&keys, "pk8").len()), (1, 1));
    }

    #[test]
    fn a_damaged_key_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kofi.pk8");
        for torn in [&b""[..], &[0; 83]] {
            fs::write(&path, torn).expect("writable");
            let error = CourierKey::open_or_keep(folder.path(), None).expect_err("no key");
            assert!(error.to_string().contains("kofi.pk8"), "{error}");
            assert!(error.hint().expect("a way out").contains("restore it"));
            assert_eq!(fs::read(&path).expect("there"), torn);
        }
    }

    #[test]
    fn a_statement_holds_and_with_any_flipped_byte_it_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = CourierKey::make(folder.path(), Some("kofi".parse().expect("a name"))).expect("random");
        let bytes = key.sign(vouched());
        let read = Statement::read("x.SIG", &bytes).expect("holds");
        assert_eq!((read.name.as_str(), read.fingerprint), ("kofi", key.fingerprint()));
        assert_eq!(read.packages, vouched());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            match Statement::read("x.SIG", &flipped) {
                Err(_) => {}
                // Space between the fields, or capitals of hexadecimal digits, mean the same.
                Ok(same) => {
                    assert_eq!((same.fingerprint, same.packages), (read.fingerprint, vouched()), "{at}")
                }
            }
        }
    }

    #[test]
    fn one_name_is_one_courier_until_it_is_withdrawn() {
        let folder = tempfile::tempdir().expect("a folder");
        let (name, one, two): (Name, _, _) =
            ("kofi".parse().expect("a name"), Sha256::of(b"1"), Sha256::of(b"2"));
        authorise(folder.path(), &name, one, 7).expect("new");
        authorise(folder.path(), &name, one, 8).expect("the same");
        assert!(matches!(authorise(folder.path(), &name, two, 9), Err(RegistryError::CourierKnown { .. })));
        assert_eq!(readable_couriers(folder.path()).0[0].authorised_at, 7);
        withdraw(folder.path(), &name).expect("there");
        assert!(matches!(withdraw(folder.path(), &name), Err(RegistryError::NoSuchCourier { .. })));
        authorise(folder.path(), &name, two, 9).expect("free again");
    }

    #[test]
    fn a_statement_from_the_future_is_refused_by_name() {
        let error = Statement::read("x.SIG", br#"{"format": 2, "all": "new"}"#).expect_err("newer");
        assert_eq!(error.to_string(), "`x.SIG` has format 2; this localml reads up to 1");
    }
}
