//! Sticks and folders that are at hand while the line costs money: what they hold of the wanted files is taken from them first.

use std::path::{Path, PathBuf};

use url::Url;

use crate::bundle::{self, Authorised, Stick};
use crate::disk::Staged;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{FileEntry, PieceList};
use crate::progress::Monitor;
use crate::store::Store;
use crate::transfer::Reusable;

use super::choice::{Choice, missing_bytes};
use super::error::{Error, Result};

/// Takes over the wanted blobs that sticks among these folders hold whole; pieces of others are kept in staging.
/// Returns how many bytes came so.
///
/// # Errors
/// When one of them is no folder, a stick cannot be read at all, or the home cannot be written.
pub(super) fn take_from_sticks(
    home: &Home,
    store: &Store,
    choices: &[Choice],
    folders: &[PathBuf],
    monitor: &dyn Monitor,
) -> Result<u64> {
    let before_bytes = missing_bytes(choices, store);
    for folder in folders {
        if !folder.is_dir() {
            let message = format!("`{}` is not a folder", folder.display());
            return Err(Error::new(ErrorKind::NotFound, message).with_hint("is the stick still plugged in?"));
        }
        if let Ok(stick) = Stick::open(folder) {
            take(home, store, choices, &stick, monitor)?;
        }
    }
    Ok(before_bytes - missing_bytes(choices, store).min(before_bytes))
}

fn take(home: &Home, store: &Store, choices: &[Choice], stick: &Stick, monitor: &dyn Monitor) -> Result<()> {
    let mut authorised = Authorised::default();
    for (file, _) in choices.iter().flat_map(|choice| choice.missing(store)) {
        authorised.add(file);
    }
    let staging = home.stick_staging();
    let held = |digest: &_, size_bytes| store.blob_path(digest, size_bytes);
    let site = bundle::Site { staging: &staging, held: &held };
    let mut deliver = |staged: Staged| {
        let digest = staged.digest;
        Ok::<(), Error>(store.adopt(&staged, &digest).map(|_| ())?)
    };
    let intake = bundle::receive::<Error>(stick.bundles()?, &authorised, &site, &mut deliver, monitor)?;
    for list in &intake.piece_lists {
        store.keep_piece_list(list)?;
    }
    Ok(())
}

/// The pieces of a file of which sticks brought a part, where they lie in staging.
pub(super) fn pieces_from_sticks(home: &Home, file: &FileEntry, list: &PieceList) -> Vec<Reusable> {
    let path = home.stick_staging().join(format!("{}.part", file.sha256));
    if !path.is_file() {
        return Vec::new();
    }
    let reusable =
        |piece: &crate::package::Piece| Reusable { piece: *piece, path: path.clone(), at: piece.offset };
    list.pieces().iter().map(reusable).collect()
}

/// Folders in which a blob may lie under its digest: the folder itself, or the `blobs` of another home.
pub(super) fn blob_folders(folders: &[PathBuf]) -> Vec<Url> {
    let places = folders.iter().flat_map(|folder| [folder.clone(), folder.join("blobs")]);
    places.filter_map(|place| Url::from_directory_path(absolute(&place)).ok()).collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
