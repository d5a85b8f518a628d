//! Blobs: the one door by which bytes enter, and how they are found again.

use std::fs;
use std::path::PathBuf;

use crate::digest::Sha256;
use crate::disk::{self, Staged};
use crate::package::PieceList;

use super::Store;
use super::error::{Result, StoreError};

impl Store {
    /// Takes a staged file into the store, if it is what was promised. A blob that is already here is kept.
    ///
    /// # Errors
    /// `WrongDigest` when the digests differ; the staged file then stays where it is.
    pub fn adopt(&self, staged: &Staged, promised: &Sha256) -> Result<PathBuf> {
        if staged.digest != *promised {
            return Err(StoreError::WrongDigest {
                path: staged.path.clone(),
                found: staged.digest,
                promised: *promised,
            });
        }
        let place = self.place_of(promised);
        let was_other = self.is_other(promised, staged.size_bytes);
        if self.blob_path(promised, staged.size_bytes).is_some() {
            disk::remove_file(&staged.path)?;
        } else {
            staged.move_to(&place)?;
        }
        self.put_right(promised, was_other)?;
        Ok(place)
    }

    /// As `adopt`, for a file that has another name elsewhere and belongs there: its mode stays as it is. Nothing in
    /// the store ever writes into a blob, so the other name keeps its bytes.
    ///
    /// # Errors
    /// As `adopt`.
    pub fn adopt_shared(&self, staged: &Staged, promised: &Sha256) -> Result<PathBuf> {
        let place = self.place_of(promised);
        if staged.digest != *promised || self.blob_path(promised, staged.size_bytes).is_some() {
            return self.adopt(staged, promised);
        }
        let was_other = self.is_other(promised, staged.size_bytes);
        staged.move_shared_to(&place)?;
        self.put_right(promised, was_other)?;
        Ok(place)
    }

    /// True when the names that packages have for a blob mean other bytes than those that come now.
    fn is_other(&self, digest: &Sha256, size_bytes: u64) -> bool {
        let is_cut_short = self.place_of(digest).is_file() && self.blob_path(digest, size_bytes).is_none();
        is_cut_short || self.set_aside_place(digest).is_file()
    }

    /// Names first: what was set aside goes last, so that a run that is cut off in between is made good by the next.
    fn put_right(&self, digest: &Sha256, was_other: bool) -> Result<()> {
        if was_other {
            self.give_names(digest)?;
        }
        Ok(disk::remove_file(&self.set_aside_place(digest))?)
    }

    /// Where a blob lies, when it is here with its full length. A short or empty file counts as absent.
    pub fn blob_path(&self, digest: &Sha256, size_bytes: u64) -> Option<PathBuf> {
        let path = self.place_of(digest);
        let metadata = fs::symlink_metadata(&path).ok()?;
        (metadata.is_file() && metadata.len() == size_bytes).then_some(path)
    }

    /// Every blob that lies here with its length, whether a record names it or not, by digest: also those of
    /// packages that are not whole yet.
    pub fn lying_blobs(&self) -> Vec<(Sha256, u64)> {
        let entries = fs::read_dir(&self.folders.blobs).into_iter().flatten().flatten();
        let mut blobs: Vec<(Sha256, u64)> = entries
            .filter_map(|entry| {
                let digest = entry.file_name().to_str()?.parse().ok()?;
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((digest, metadata.len()))
            })
            .collect();
        blobs.sort_unstable();
        blobs
    }

    /// Keeps a piece list; its name is its own digest.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_piece_list(&self, list: &PieceList) -> Result<Sha256> {
        let text = list.to_text();
        let digest = Sha256::of(text.as_bytes());
        let path = self.folders.pieces.join(digest.to_string());
        if Sha256::of_file(&path).ok() != Some(digest) {
            disk::write_atomic(&path, text.as_bytes())?;
        }
        Ok(digest)
    }

    /// Reads a piece list, when it is here.
    ///
    /// # Errors
    /// `DamagedPieceList` when its text does not hash to its name.
    pub fn piece_list(&self, digest: &Sha256) -> Result<Option<PieceList>> {
        let Ok(text) = fs::read_to_string(self.folders.pieces.join(digest.to_string())) else {
            return Ok(None);
        };
        if Sha256::of(text.as_bytes()) != *digest {
            return Err(StoreError::DamagedPieceList { digest: *digest, source: None });
        }
        PieceList::parse(&text)
            .map(Some)
            .map_err(|error| StoreError::DamagedPieceList { digest: *digest, source: Some(error) })
    }

    /// Takes a damaged blob out of use, so that it counts as absent and can be repaired, fetched or imported again,
    /// and takes its names from the packages that have it. Its bytes are kept until then. One that is not in use is
    /// fine.
    ///
    /// # Errors
    /// When it cannot be renamed, or a name of it cannot be removed.
    pub fn set_aside(&self, digest: &Sha256) -> Result<()> {
        let place = self.place_of(digest);
        if place.is_file() {
            disk::rename(&place, &self.set_aside_place(digest))?;
        }
        self.take_names(digest)
    }

    /// Takes a blob that was set aside back into use, under its names; the caller has just found its bytes right.
    /// One that is not aside is fine.
    ///
    /// # Errors
    /// When it cannot be renamed or named.
    pub fn put_back(&self, digest: &Sha256) -> Result<()> {
        let aside = self.set_aside_place(digest);
        if aside.is_file() {
            disk::rename(&aside, &self.place_of(digest))?;
            self.give_names(digest)?;
        }
        Ok(())
    }

    /// Where a blob's bytes lie, however many they are and however right: in use, else set aside.
    pub fn lying_path(&self, digest: &Sha256) -> Option<PathBuf> {
        [self.place_of(digest), self.set_aside_place(digest)].into_iter().find(|path| path.is_file())
    }

    pub(super) fn set_aside_place(&self, digest: &Sha256) -> PathBuf {
        self.folders.blobs.join(format!("{digest}.damaged"))
    }

    pub(super) fn place_of(&self, digest: &Sha256) -> PathBuf {
        self.folders.blobs.join(digest.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::StagingFile;
    use crate::store::samples::store_in;

    fn staged(root: &std::path::Path, bytes: &[u8]) -> Staged {
        let file = StagingFile::open(&root.join("staging/x")).expect("a temp folder");
        file.write_at(bytes, 0).expect("room");
        file.finish(Sha256::of(bytes), bytes.len() as u64)
    }

    #[test]
    fn what_was_promised_enters() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let store = store_in(folder.path());
        store.adopt(&staged(folder.path(), b"abc"), &Sha256::of(b"abc")).expect("promised");
        assert!(store.blob_path(&Sha256::of(b"abc"), 3).is_some());
        assert!(store.blob_path(&Sha256::of(b"abc"), 4).is_none(), "a wrong length counts as absent");
    }

    #[test]
    fn anything_else_stays_outside() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let store = store_in(folder.path());
        let error =
            store.adopt(&staged(folder.path(), b"abc"), &Sha256::of(b"abd")).expect_err("not promised");
        assert!(matches!(error, StoreError::WrongDigest { .. }));
        assert!(store.blob_path(&Sha256::of(b"abc"), 3).is_none());
    }

    #[test]
    fn a_changed_piece_list_is_refused() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let store = store_in(folder.path());
        let digest = store.keep_piece_list(&PieceList::default()).expect("room");
        let path = folder.path().join("pieces").join(digest.to_string());
        fs::write(path, "localml pieces 1\n0 1 00").expect("writable");
        assert!(matches!(store.piece_list(&digest), Err(StoreError::DamagedPieceList { .. })));
    }
}
