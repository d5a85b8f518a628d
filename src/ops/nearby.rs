//! Sticks and folders that are at hand while the line costs money: what they hold of the wanted files is taken from them first.

use std::path::{Path, PathBuf};

use url::Url;

use crate::bundle::{self, Authorised, Stick};
use crate::digest::Sha256;
use crate::disk::{self, Staged};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{FileEntry, PieceList};
use crate::progress::Monitor;
use crate::store::Store;
use crate::transfer::Reusable;

use super::choice::{Choice, missing_files};
use super::error::{Error, Result};
use super::intake;

/// Takes over the wanted blobs that sticks among these folders hold whole; pieces of others are kept in staging.
///
/// # Errors
/// When one of them is no folder, a stick cannot be read at all, or the home cannot be written.
pub(super) fn take_from_sticks(
    home: &Home,
    store: &Store,
    choices: &[Choice],
    folders: &[PathBuf],
    monitor: &dyn Monitor,
) -> Result<()> {
    for folder in folders {
        if !folder.is_dir() {
            let message = format!("`{}` is not a folder", folder.display());
            return Err(Error::new(ErrorKind::NotFound, message).with_hint("is the stick still plugged in?"));
        }
        if let Ok(stick) = Stick::open(folder) {
            take(home, store, choices, &stick, monitor)?;
        }
    }
    Ok(())
}

fn take(home: &Home, store: &Store, choices: &[Choice], stick: &Stick, monitor: &dyn Monitor) -> Result<()> {
    let mut authorised = Authorised::default();
    missing_files(choices, store).for_each(|file| authorised.add(file));
    let mut deliver = |staged: Staged| {
        let digest = staged.digest;
        Ok(store.adopt(&staged, &digest).map(drop)?)
    };
    intake::receive(home, store, (stick.bundles()?, &authorised), &mut deliver, monitor).map(drop)
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

/// The publisher's piece list of a file of which sticks brought a part: they brought it too.
pub(super) fn piece_list_from_sticks(home: &Home, file: &FileEntry) -> Option<PieceList> {
    let list = bundle::half_list(&home.stick_staging(), &file.sha256)?;
    // Another one may cut the file otherwise: of that a fetch makes no use.
    (file.pieces == Some(Sha256::of(list.to_text().as_bytes()))).then_some(list)
}

/// Forgets what sticks brought of a file that is whole here now.
pub(super) fn forget_part_from_sticks(home: &Home, digest: &Sha256) -> Result<()> {
    let staging = home.stick_staging();
    disk::remove_file(&staging.join(format!("{digest}.part")))?;
    Ok(bundle::forget_half(&staging, digest)?)
}

/// Folders in which a blob may lie under its digest: the folder itself, or the `blobs` of another home.
pub(super) fn blob_folders(folders: &[PathBuf]) -> Vec<Url> {
    let places = folders.iter().flat_map(|folder| [folder.clone(), folder.join("blobs")]);
    places.filter_map(|place| Url::from_directory_path(absolute(&place)).ok()).collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
