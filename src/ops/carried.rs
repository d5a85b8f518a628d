//! Registries as a stick carries them: signed files in a set, each under its registry's name.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use url::Url;

use crate::bundle::{Stick, TrustSet, TrustSets};
use crate::digest::Sha256;
use crate::package::Name;
use crate::registry::{Fetch, FetchError, Fingerprint, address_in_record};

use super::error::Result;

/// The most bytes of a first root or a record; real ones have a few kilobytes.
const MAX_SMALL_BYTES: u64 = 256 * 1024;

/// One registry in one set of trust files.
#[derive(Debug)]
pub(super) struct Carried {
    set: Arc<TrustSet>,
    /// What its carrier called it.
    pub(super) name: String,
}

impl Fetch for Carried {
    fn get(&self, path: &str, max_bytes: u64) -> std::result::Result<Option<Vec<u8>>, FetchError> {
        Ok(self.set.read(&format!("{}/{path}", self.name), max_bytes)?)
    }
}

impl Carried {
    /// Where its carrier refreshed it from; only a place to look, never a reason to trust.
    pub(super) fn address(&self) -> Option<Url> {
        let record = self.get("registry.toml", MAX_SMALL_BYTES).ok().flatten()?;
        address_in_record(&String::from_utf8(record).ok()?)
    }

    /// The sha256 of its first root; `None` when it has none.
    pub(super) fn fingerprint(&self) -> Option<Sha256> {
        Some(Sha256::of(&self.get("1.root.json", MAX_SMALL_BYTES).ok().flatten()?))
    }
}

/// Finds a registry on a stick: by its fingerprint where that is known, else by the name that its
/// carrier gave it, in the newest set that has it. `None` when the folder is no stick or has neither.
///
/// # Errors
/// When no set is whole, naming the damaged one.
pub(super) fn find(folder: &Path, name: &Name, fingerprint: Option<&Fingerprint>) -> Result<Option<Carried>> {
    let Ok(stick) = Stick::open(folder) else { return Ok(None) };
    let TrustSets { sets, damaged, .. } = stick.trust_sets();
    if let (true, Some(error)) = (sets.is_empty(), damaged.into_iter().next()) {
        return Err(error.into());
    }
    let mut found = None;
    for set in sets {
        for carried in registries_in(set) {
            let is_meant = match fingerprint {
                Some(told) => carried.fingerprint().is_some_and(|found| told.matches(&found)),
                None => carried.name == name.as_str(),
            };
            if is_meant {
                return Ok(Some(carried));
            }
            if found.is_none() && carried.name == name.as_str() {
                found = Some(carried);
            }
        }
    }
    Ok(found)
}

/// Every registry that a set of trust files carries, by name.
pub(super) fn registries_in(set: TrustSet) -> Vec<Carried> {
    let set = Arc::new(set);
    let names: BTreeSet<String> =
        set.names().filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect();
    names.into_iter().map(|name| Carried { set: Arc::clone(&set), name }).collect()
}
