//! A bundle before anyone has looked at a stick: its blobs in order, its volumes, its name.

use crate::digest::Sha256;

use super::clock::rfc3339;
use super::description::{BlobEntry, Description, KNOWN_FORMAT};
use super::error::{BundleError, Result};
use super::id::BundleId;
use super::outgoing::{Outgoing, OutgoingBlob, in_order, nothing, outline};
use super::pack::Deal;
use super::parity::Parity;
use super::plan::ExportOptions;
use super::record::CommittedFile;
use super::trust;

/// What would be written to a stick that is empty and large enough.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) description: Description,
    pub(super) sources: Vec<OutgoingBlob>,
    pub(super) trust: Option<(String, Vec<u8>)>,
}

impl Draft {
    /// Cuts the blobs into pieces and deals them to volumes; all pieces' digests are known when
    /// `is_complete`, which may take a reading of the blobs.
    ///
    /// # Errors
    /// `VolumeSize`; `BlobDamaged` when a blob is not there with its length; `TooMany`.
    pub(super) fn new(outgoing: Outgoing, options: &ExportOptions, is_complete: bool) -> Result<Self> {
        let Outgoing { items, blobs, requires, recipients, trust, created_at } = outgoing;
        let mut sources = in_order(blobs);
        let outlines = sources.iter_mut().map(|blob| outline(blob, is_complete));
        let blobs = outlines.collect::<Result<Vec<BlobEntry>>>()?;
        let carries = |blob: usize, piece: usize| sources[blob].carries(piece);
        let (limit_bytes, counts_plain) = (options.volume_size_bytes, options.parity_percent > 0);
        let volumes = Deal { blobs: &blobs, carries: &carries, limit_bytes, counts_plain }.pack()?;
        let trust = if trust.is_empty() { None } else { Some(trust::pack(&trust)?) };
        let mut description = Description {
            format: KNOWN_FORMAT.into(),
            id: BundleId::of(&nothing()),
            created: String::new(),
            items,
            requires,
            trust: None,
            recipients,
            sticks: Vec::new(),
            parity: None,
            volumes,
            blobs,
        };
        description.parity = Parity::plan(&description, options.parity_percent)?;
        description.id = BundleId::of(&Sha256::of(&without_digests(&description).to_bytes()?));
        description.created = rfc3339(created_at);
        description.trust = trust.as_ref().map(|(path, _)| path.clone());
        // What no reader would accept must not travel for weeks first.
        description.check().map_err(|reason| BundleError::Unreadable { reason })?;
        Ok(Self { description, sources, trust })
    }

    /// Takes over the digests of the volumes from a description of this very bundle; false when it is of
    /// another one that only bears its name.
    pub(super) fn take_over(&mut self, known: &Description) -> bool {
        let description = &mut self.description;
        if known.blobs != description.blobs || shape(known) != shape(description) {
            return false;
        }
        let is_known = |digest: &Sha256| *digest != nothing();
        for (own, known) in description.volumes.iter_mut().zip(&known.volumes) {
            own.sha256 = if is_known(&known.sha256) { known.sha256 } else { own.sha256 };
        }
        if known.parity.iter().flat_map(|parity| &parity.volumes).all(|volume| is_known(&volume.sha256)) {
            description.parity.clone_from(&known.parity);
        }
        true
    }
}

/// A description with nothing in it that only the copying finds, and nothing that differs from stick to
/// stick: two of the same shape are of the same bundle.
pub(super) fn shape(description: &Description) -> Description {
    let mut shape = without_digests(description);
    (shape.created, shape.trust, shape.sticks) = (String::new(), None, Vec::new());
    shape.format = KNOWN_FORMAT.into();
    shape.volumes.iter_mut().for_each(|volume| volume.sha256 = nothing());
    for volume in shape.parity.iter_mut().flat_map(|parity| &mut parity.volumes) {
        volume.sha256 = nothing();
        volume.pieces.fill(nothing());
    }
    shape
}

/// The description with nothing in it that only the copying finds: it names the bundle.
fn without_digests(description: &Description) -> Description {
    let mut description = description.clone();
    for piece in description.blobs.iter_mut().flat_map(|blob| &mut blob.pieces) {
        piece.sha256 = nothing();
    }
    description
}

/// Every volume with its length, those with parity last.
pub(super) fn all_volumes(description: &Description) -> impl Iterator<Item = (&str, u64)> {
    named_volumes(description).map(|(name, size_bytes, _)| (name, size_bytes))
}

/// Every volume as a commit record lists it, those with parity last.
pub(super) fn volume_files(description: &Description) -> impl Iterator<Item = CommittedFile> {
    named_volumes(description).map(|(name, size_bytes, sha256)| CommittedFile {
        path: description.id.path_of(name),
        size_bytes,
        sha256,
    })
}

fn named_volumes(description: &Description) -> impl Iterator<Item = (&str, u64, Sha256)> {
    let volumes = description.volumes.iter();
    let volumes = volumes.map(|volume| (volume.name.as_str(), volume.size_bytes, volume.sha256));
    let parity = description.parity.iter().flat_map(|parity| &parity.volumes);
    volumes.chain(parity.map(|volume| (volume.name.as_str(), volume.size_bytes, volume.sha256)))
}
