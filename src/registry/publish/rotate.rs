//! The next root: other keys, or another threshold, signed by those who were trusted until now.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use tough::schema::key::Key;
use tough::schema::{RoleType, Root};

use crate::disk;

use super::root::{Quorum, allow, empty_root, newest_root, refuse_inside, set_threshold, signed_root};
use crate::registry::error::{RegistryError, Result};
use crate::registry::keys::{self, KeyRing, KeyRole, PrivateKey};
use crate::registry::tree::root_file;

/// What is to be replaced, and where the keys lie.
#[derive(Debug, Clone, Default)]
pub struct RotateOptions {
    /// The folders of the keys that are there; not all that the root names need be.
    pub keys: Vec<PathBuf>,
    /// Where new keys go; the first of `keys` when absent.
    pub new_keys: Option<PathBuf>,
    /// Which keys no longer count.
    pub replaced: Vec<Replaced>,
    /// How many root keys there will be; as many as before when absent.
    pub num_root_keys: Option<usize>,
    /// How many of them the next root will need; as before when absent.
    pub threshold: Option<usize>,
}

/// Keys that no longer count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// Every key.
    All,
    /// Those that the root names and that are in none of the folders.
    Missing,
    /// Every root key.
    Root,
    /// What signs what the packages are.
    Targets,
    /// What signs that this is the newest state.
    Timestamp,
    /// The key in this file.
    File(PathBuf),
}

/// What the next root is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// The version of the new root.
    pub root_version: u64,
    /// The files of the new keys.
    pub made: Vec<PathBuf>,
    /// The files whose keys no longer count.
    pub retired: Vec<PathBuf>,
    /// How many root keys it names.
    pub num_root_keys: usize,
    /// How many of them the next root needs.
    pub threshold: usize,
}

/// Writes the next root, signed by enough of the old root keys and of the new ones.
///
/// Readers who trust the first root follow the chain by themselves. The registry must be signed again
/// afterwards where the keys that sign it were replaced.
///
/// # Errors
/// `TooFewKeys` when the old or the new root would lack signatures, `NothingToRotate`, `Quorum`; or
/// when the old root cannot be read, or the new keys would lie inside the registry.
pub fn rotate(registry: &Path, options: &RotateOptions, now: SystemTime) -> Result<Rotated> {
    let before = newest_root(registry)?;
    let ring = KeyRing::open(&options.keys)?;
    let mut signers = ring.enough(&before, RoleType::Root)?;
    let folder = options.new_keys.as_ref().or(options.keys.first()).cloned().unwrap_or_default();
    refuse_inside(registry, &folder)?;
    let change = Change::decide(&before, &ring, options)?;
    check_signers(&change, &signers, &ring)?;
    let version = before.version.saturating_add(1);
    let mut root = empty_root(version, now)?;
    let mut made = Vec::new();
    for (role, kept, num_new) in change.roles {
        for key in kept {
            allow(&mut root, role, key)?;
        }
        for _ in 0..num_new {
            let key = keys::create(&keys::next_path(&folder, role, version.get()))?;
            allow(&mut root, role, key.public()?)?;
            made.push(key.path.clone());
            if role == KeyRole::Root {
                signers.push(key);
            }
        }
    }
    set_threshold(&mut root, change.quorum.threshold);
    let bytes = signed_root(&root, Some(&before), &signers)?;
    disk::write_atomic(&registry.join(root_file(version.get())), &bytes)?;
    let Quorum { num_keys: num_root_keys, threshold } = change.quorum;
    let retired = retired(&before, &root, &ring)?;
    Ok(Rotated { root_version: version.get(), made, retired, num_root_keys, threshold })
}

/// What the next root keeps and adds.
struct Change {
    /// For each kind: the keys that stay, and how many are made.
    roles: Vec<(KeyRole, Vec<Key>, usize)>,
    quorum: Quorum,
    version: NonZeroU64,
}

impl Change {
    fn decide(before: &Root, ring: &KeyRing, options: &RotateOptions) -> Result<Self> {
        let root_keys = before.roles.get(&RoleType::Root);
        let num_before = root_keys.map_or(0, |keys| keys.keyids.len());
        let threshold_before =
            root_keys.map_or(1, |keys| usize::try_from(keys.threshold.get()).unwrap_or(usize::MAX));
        let num_keys = options.num_root_keys.unwrap_or(num_before);
        let threshold = options.threshold.unwrap_or(threshold_before);
        let quorum = Quorum { num_keys, threshold }.check()?;
        let mut roles = Vec::new();
        let mut is_change = (num_keys, threshold) != (num_before, threshold_before);
        for role in KeyRole::ALL {
            let signs = role.signs()[0];
            let all: Vec<Key> = before.keys(signs).cloned().collect();
            let here = public_halves(&ring.named_by(before, signs)?)?;
            let mut kept = stay(&all, &here, role, &options.replaced)?;
            let num_wanted = if role == KeyRole::Root { num_keys } else { all.len() };
            // Fewer keys than before: those that are not here go first.
            kept.sort_by_key(|key| !here.contains(key));
            kept.truncate(num_wanted);
            is_change |= kept.len() != all.len();
            let num_new = num_wanted - kept.len();
            roles.push((role, kept, num_new));
        }
        let version = before.version.saturating_add(1);
        if is_change { Ok(Self { roles, quorum, version }) } else { Err(RegistryError::NothingToRotate) }
    }
}

/// The keys of one kind that are not replaced.
fn stay(all: &[Key], here: &[Key], role: KeyRole, replaced: &[Replaced]) -> Result<Vec<Key>> {
    let mut kept = all.to_vec();
    for what in replaced {
        match what {
            Replaced::All => kept.clear(),
            Replaced::Missing => kept.retain(|key| here.contains(key)),
            Replaced::Root if role == KeyRole::Root => kept.clear(),
            Replaced::Targets if role == KeyRole::Targets => kept.clear(),
            Replaced::Timestamp if role == KeyRole::Timestamp => kept.clear(),
            Replaced::File(path) => {
                let gone = PrivateKey::read(path)?.public()?;
                kept.retain(|key| *key != gone);
            }
            Replaced::Root | Replaced::Targets | Replaced::Timestamp => {}
        }
    }
    Ok(kept)
}

/// A new root must be signed by enough of its own keys: those that stay and are here, and the new ones.
fn check_signers(change: &Change, signers: &[PrivateKey], ring: &KeyRing) -> Result<()> {
    let signers = public_halves(signers)?;
    for (role, kept, num_new) in &change.roles {
        let num_found = kept.iter().filter(|key| signers.contains(key)).count() + num_new;
        if *role == KeyRole::Root && num_found < change.quorum.threshold {
            let num_named = change.quorum.num_keys;
            let needed = change.quorum.threshold as u64;
            return Err(ring.too_few(RoleType::Root, change.version, (needed, num_named, num_found)));
        }
    }
    Ok(())
}

/// The files whose keys the old root named and the new one does not.
fn retired(before: &Root, after: &Root, ring: &KeyRing) -> Result<Vec<PathBuf>> {
    let mut retired = Vec::new();
    for role in KeyRole::ALL {
        let signs = role.signs()[0];
        for key in ring.named_by(before, signs)? {
            let public = key.public()?;
            if !after.keys(signs).any(|named| *named == public) {
                retired.push(key.path);
            }
        }
    }
    Ok(retired)
}

fn public_halves(keys: &[PrivateKey]) -> Result<Vec<Key>> {
    keys.iter().map(PrivateKey::public).collect()
}
