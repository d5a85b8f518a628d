//! The names that packages have for a blob: they go when it is set aside, and come back with it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Sha256;
use crate::disk;
use crate::package::FileEntry;

use super::Store;
use super::error::{RecordKind, Result};
use super::installed::{Installed, is_same_file, read_record, record_paths};

impl Store {
    /// True when a file of an installed package can be opened under its own name: its blob is in use, with its full
    /// length, and so is the name.
    pub fn is_usable(&self, installed: &Installed, file: &FileEntry) -> bool {
        let named = self.package_folder(installed).join(file.path.to_path());
        let has_name = fs::symlink_metadata(named)
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.size_bytes);
        has_name && self.blob_path(&file.sha256, file.size_bytes).is_some()
    }

    /// True when a path is that of a blob in use, not of bytes that lie aside, nor a name in a package.
    pub fn is_in_use(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        path.parent() == Some(self.folders.blobs.as_path())
            && name.is_some_and(|name| name.parse::<Sha256>().is_ok())
    }

    /// Takes away the names that mean the bytes which were set aside. Where the disk has no hard links a name is a copy of
    /// its own, and perhaps all that is left: it stays, out of use as long as its blob is, and what is right of it need not
    /// come again. Names that other programs have for the same bytes are theirs.
    pub(super) fn take_names(&self, digest: &Sha256) -> Result<()> {
        let aside = fs::symlink_metadata(self.set_aside_place(digest)).ok();
        for named in self.names_of(digest) {
            let Ok(metadata) = fs::symlink_metadata(&named) else { continue };
            let is_aside = aside
                .as_ref()
                .is_some_and(|aside| aside.dev() == metadata.dev() && aside.ino() == metadata.ino());
            if is_aside {
                disk::remove_file(&named)?;
                named.parent().map_or(Ok(()), disk::sync_dir)?;
            }
        }
        Ok(())
    }

    /// Gives a blob that is in use again the names that packages have for it.
    pub(super) fn give_names(&self, digest: &Sha256) -> Result<()> {
        let blob = self.place_of(digest);
        for named in self.names_of(digest) {
            if !is_same_file(&blob, &named, digest) {
                disk::link_or_copy(&blob, &named)?;
            }
        }
        Ok(())
    }

    /// The names for a blob that are copies of their own and lie there while the blob does not.
    pub(super) fn copies_of(&self, digest: &Sha256) -> Vec<PathBuf> {
        let mut names = self.names_of(digest);
        names.retain(|named| named.is_file());
        names
    }

    /// Where packages that are installed, or kept for a way back, have a blob under a name of their own. A record
    /// that cannot be read names nothing: what hangs on it is told when it is read for itself.
    fn names_of(&self, digest: &Sha256) -> Vec<PathBuf> {
        let places = [
            (&self.folders.installed, RecordKind::Installed),
            (&self.folders.previous, RecordKind::Previous),
        ];
        let records = places.into_iter().flat_map(|(folder, kind)| {
            record_paths(folder).into_iter().filter_map(move |path| read_record(&path, kind).ok())
        });
        let mut names = Vec::new();
        for record in records {
            let folder = self.package_folder(&record);
            let files = record.files().iter().filter(|file| file.sha256 == *digest);
            names.extend(files.map(|file| folder.join(file.path.to_path())));
        }
        names
    }
}
