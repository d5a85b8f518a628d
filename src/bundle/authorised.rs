//! Which blobs may come in: a caller's list of digests, from verified indexes alone.

use std::collections::HashMap;

use crate::digest::Sha256;
use crate::package::{FileEntry, PieceList};

/// The blobs that may come in: those that a verified index names.
#[derive(Debug, Clone, Default)]
pub struct Authorised {
    /// Digest → size in bytes, and the digest of the signed piece list where there is one.
    blobs: HashMap<Sha256, (u64, Option<Sha256>)>,
}

impl Authorised {
    /// Allows the bytes of a package's file.
    pub fn add(&mut self, file: &FileEntry) {
        self.blobs.insert(file.sha256, (file.size_bytes, file.pieces));
    }

    pub(super) fn size_bytes(&self, digest: &Sha256) -> Option<u64> {
        self.blobs.get(digest).map(|(size_bytes, _)| *size_bytes)
    }

    /// True when this is the list that the publisher signed.
    pub(super) fn signs(&self, digest: &Sha256, list: &PieceList) -> bool {
        let signed = self.blobs.get(digest).and_then(|(_, pieces)| *pieces);
        signed.is_some_and(|signed| Sha256::of(list.to_text().as_bytes()) == signed)
    }
}
