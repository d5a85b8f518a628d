//! Brings files whose digest is signed: from what lies here where that is it, else from where the registry is.

use std::collections::BTreeSet;

use tough::schema::{Signed, Targets};

use crate::digest::Sha256;

use super::arriving::Arriving;
use super::error::{RegistryError, Result};
use super::fetch::{Fetch, FetchError, WantedFile};
use super::index::{Fault, Files, read_config};
use super::packed::{packed_name, unpack};
use super::signed;
use super::tree::{CONFIG, MAX_INDEX_BYTES, MAX_TOTAL_BYTES, TARGETS};

/// What packing adds at most to a file that does not shrink, in bytes.
const FRAME_BYTES: u64 = 64 * 1024;

/// A file as the one above it signs it.
#[derive(Debug, Clone)]
pub(crate) struct Pin {
    pub(crate) name: String,
    pub(crate) length: u64,
    pub(crate) digest: Sha256,
}

impl Pin {
    /// True for the very bytes that were signed.
    pub(crate) fn is_of(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.length && Sha256::of(bytes) == self.digest
    }
}

/// Where signed files come from: what lies here first.
pub(crate) struct Supply<'a> {
    /// The registry, for errors.
    pub(crate) registry: &'a str,
    /// What lies here, whoever wrote it: nothing of it is taken unless it is what was signed.
    pub(crate) stored: &'a Files,
    /// What an earlier refresh brought.
    pub(crate) arriving: &'a Arriving,
    pub(crate) fetch: &'a dyn Fetch,
}

impl Supply<'_> {
    /// Brings one file, in its packed form where there is one and it is not here; and says how many bytes were fetched.
    /// `None` when it is not there. What came may still be another file: the caller says so.
    pub(crate) fn bring(
        &self,
        pin: &Pin,
        is_packed: bool,
        max_bytes: u64,
    ) -> std::result::Result<Option<(Vec<u8>, u64)>, FetchError> {
        let stored = self.stored.get(&pin.name).filter(|bytes| pin.is_of(bytes)).cloned();
        if let Some(bytes) = stored.or_else(|| self.arriving.take(pin.length, &pin.digest)) {
            return Ok(Some((bytes, 0)));
        }
        let mut fetched_bytes = 0;
        if is_packed && let Some(packed) = self.bring_packed(pin)? {
            fetched_bytes = packed.len() as u64;
            if let Some(plain) = unpack(&packed, pin.length).filter(|plain| pin.is_of(plain)) {
                self.keep(pin, &plain);
                return Ok(Some((plain, fetched_bytes)));
            }
        }
        let plain = self.fetch.bring(&WantedFile {
            path: &pin.name,
            max_bytes: pin.length.min(max_bytes),
            length: Some(pin.length),
            is_right: &|bytes| pin.is_of(bytes),
            may_be_absent: false,
        })?;
        let Some(plain) = plain else { return Ok(None) };
        if pin.is_of(&plain) {
            self.keep(pin, &plain);
        }
        let fetched_bytes = fetched_bytes + plain.len() as u64;
        Ok(Some((plain, fetched_bytes)))
    }

    fn bring_packed(&self, pin: &Pin) -> std::result::Result<Option<Vec<u8>>, FetchError> {
        self.fetch.bring(&WantedFile {
            path: &packed_name(&pin.name),
            max_bytes: pin.length + FRAME_BYTES,
            length: None,
            is_right: &|packed| unpack(packed, pin.length).is_some_and(|plain| pin.is_of(&plain)),
            may_be_absent: true,
        })
    }

    fn keep(&self, pin: &Pin, bytes: &[u8]) {
        if self.fetch.is_costly() {
            self.arriving.keep(&pin.digest, bytes);
        }
    }

    /// Brings the index files that `targets.json` signs into `files`; returns how many bytes were fetched.
    pub(crate) fn bring_index(&self, files: &mut Files) -> Result<u64> {
        let untrusted = |fault: Fault| RegistryError::Untrusted {
            registry: self.registry.to_owned(),
            file: fault.file,
            reason: fault.reason,
        };
        let targets = files.get(TARGETS).map(Vec::as_slice).unwrap_or_default();
        let targets: Signed<Targets> = signed::parse(TARGETS, targets).map_err(untrusted)?;
        let listed = signed::listed(&targets.signed).map_err(untrusted)?;
        self.forget_others(files, listed.iter().map(|(_, _, digest)| *digest))?;
        let find = |name: &str| {
            let at = listed.binary_search_by(|(listed, ..)| listed.as_str().cmp(name));
            let entry = at.ok().map(|at| &listed[at]);
            let pin = entry.map(|(name, length, digest)| Pin {
                name: name.clone(),
                length: *length,
                digest: *digest,
            });
            pin.ok_or_else(|| untrusted(Fault::new(name, "is not signed")))
        };
        let mut fetched_bytes = self.bring_listed(&find(CONFIG)?, false, files)?;
        let config = read_config(files).map_err(untrusted)?;
        let mut total_bytes = 0;
        for name in config.signed_files().iter().filter(|name| *name != CONFIG) {
            let pin = find(name)?;
            total_bytes += pin.length;
            if pin.length > MAX_INDEX_BYTES || total_bytes > MAX_TOTAL_BYTES {
                return Err(untrusted(Fault::new(name, format!("is too large: {} bytes", pin.length))));
            }
            fetched_bytes += self.bring_listed(&pin, config.is_packed, files)?;
        }
        Ok(fetched_bytes)
    }

    /// What waits is bounded by what is signed now.
    fn forget_others(&self, files: &Files, listed: impl Iterator<Item = Sha256>) -> Result<()> {
        let metadata = files.values().map(|bytes| Sha256::of(bytes));
        let wanted: BTreeSet<Sha256> = listed.chain(metadata).collect();
        self.arriving.keep_only(&wanted)
    }

    fn bring_listed(&self, pin: &Pin, is_packed: bool, files: &mut Files) -> Result<u64> {
        let (registry, file) = (self.registry.to_owned(), pin.name.clone());
        match self.bring(pin, is_packed, MAX_INDEX_BYTES) {
            Ok(Some((bytes, fetched_bytes))) if pin.is_of(&bytes) => {
                files.insert(file, bytes);
                Ok(fetched_bytes)
            }
            Ok(Some(_)) => {
                let reason = "is not what was signed: its digest differs".into();
                Err(RegistryError::Untrusted { registry, file, reason })
            }
            Ok(None) => Err(RegistryError::Missing { registry, file }),
            Err(source) => Err(RegistryError::Fetch { registry, file, source }),
        }
    }
}
