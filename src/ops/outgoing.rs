//! From packages to what the stick's writer takes: items, blobs or pieces of them, and what is left out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::bundle::{self, BundleError, Item, ItemFile, Outgoing, OutgoingBlob, TrustFile, is_text_name};
use crate::digest::Sha256;
use crate::package::{FileEntry, PieceList};
use crate::store::{Installed, Store};

use super::addressee::Addressee;
use super::difference::{Parcel, RequiredFile, Share, share_of};
use super::holding::reference;
use super::site;

/// What is to be written, and what the sites must have already.
pub(super) struct Cargo {
    pub(super) outgoing: Outgoing,
    pub(super) requires: Vec<RequiredFile>,
}

/// Gathers the blobs of all parcels; those that every site has already are required, not carried.
///
/// # Errors
/// `BlobDamaged` when one that must travel is not here.
pub(super) fn cargo(
    store: &Store,
    parcels: &[Parcel],
    addressees: &[Addressee],
    trust: &[TrustFile],
) -> bundle::Result<Cargo> {
    let mut blobs: Vec<OutgoingBlob> = Vec::new();
    let mut required: BTreeMap<Sha256, RequiredFile> = BTreeMap::new();
    for (priority, parcel) in (0u32..).zip(parcels) {
        let meant: Vec<&Addressee> =
            addressees.iter().filter(|addressee| parcel.recipients.contains(&addressee.site)).collect();
        for file in parcel.installed.files() {
            // A damaged list is no loss: the whole digest is checked instead.
            let pieces = file.pieces.and_then(|digest| store.piece_list(&digest).ok().flatten());
            let only = match share_of(file, pieces.as_ref(), &meant) {
                Share::Nothing => {
                    required.entry(file.sha256).or_insert_with(|| required_file(&parcel.installed, file));
                    continue;
                }
                Share::Whole => None,
                Share::Pieces(ranges) => Some(ranges),
            };
            blobs.push(OutgoingBlob { only, ..outgoing_blob(store, file, pieces, priority)? });
        }
    }
    // What another site lacks travels, and then nobody needs to have it.
    blobs.iter().for_each(|blob| drop(required.remove(&blob.digest)));
    let outgoing = Outgoing {
        items: parcels.iter().map(item).collect(),
        blobs,
        requires: required.keys().copied().collect(),
        recipients: addressees.iter().map(|addressee| addressee.site.clone()).collect(),
        trust: trust.to_vec(),
        created_at: site::now(),
    };
    Ok(Cargo { outgoing, requires: required.into_values().collect() })
}

fn required_file(installed: &Installed, file: &FileEntry) -> RequiredFile {
    RequiredFile {
        package: reference(installed),
        path: file.path.to_string(),
        sha256: file.sha256,
        size_bytes: file.size_bytes,
    }
}

fn outgoing_blob(
    store: &Store,
    file: &FileEntry,
    pieces: Option<PieceList>,
    priority: u32,
) -> bundle::Result<OutgoingBlob> {
    let path = store.blob_path(&file.sha256, file.size_bytes).ok_or_else(|| BundleError::BlobDamaged {
        digest: file.sha256,
        path: PathBuf::from(file.sha256.to_string()),
        reason: format!("`{}` is not in the store with its {} bytes", file.path, file.size_bytes),
    })?;
    let (digest, size_bytes) = (file.sha256, file.size_bytes);
    let is_text = is_text_name(file.path.as_str());
    Ok(OutgoingBlob { digest, size_bytes, path, pieces, priority, is_text, only: None })
}

fn item(parcel: &Parcel) -> Item {
    let installed = &parcel.installed;
    let head = &installed.manifest.package;
    let file = |file: &FileEntry| ItemFile {
        path: file.path.clone(),
        size_bytes: file.size_bytes,
        sha256: file.sha256,
    };
    Item {
        package: reference(installed),
        kind: head.kind.clone(),
        license: head.license.clone(),
        recipients: parcel.recipients.clone(),
        unsigned: (!installed.origin.is_published()).then(|| installed.manifest.clone()),
        files: installed.files().iter().map(file).collect(),
    }
}
