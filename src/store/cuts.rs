//! Which pieces lie here, in which file: what a newer version of a package need not fetch.
//!
//! ```text
//! pieces/<sha256>          a publisher's piece list, named by its own digest
//! pieces/<sha256>.cut      the piece list of the blob <sha256>, made here because its publisher gave none
//! ```
//! Nothing here is believed when it is used: a piece is hashed again as it is copied. So a cut that is damaged
//! costs data, and never more.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use crate::digest::Sha256;
use crate::disk;
use crate::package::{FileEntry, MAX_PIECE_BYTES, Name, Piece, PieceList};

use super::Store;
use super::error::Result;
use super::installed::Installed;

/// A file of the store whose pieces are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutBlob {
    /// Where it lies. It may be damaged.
    pub path: PathBuf,
    /// Its pieces, as they should be.
    pub pieces: PieceList,
}

impl Store {
    /// Every blob here whose pieces are known: of what is installed, fetched, or kept for a way back, and what no record
    /// speaks of yet, since a package waits for its other files. Blobs that were set aside as damaged come last, most of their pieces are sound, with the copies that packages have of
    /// them where the disk has no hard links.
    ///
    /// # Errors
    /// When a record is damaged or was written by a later localml.
    pub fn cut_blobs(&self) -> Result<Vec<CutBlob>> {
        let (mut sound, mut set_aside) = (Vec::new(), Vec::new());
        let mut seen: HashSet<Sha256> = HashSet::new();
        for file in self.all_records()?.iter().flat_map(Installed::files) {
            if !seen.insert(file.sha256) {
                continue;
            }
            let Some(pieces) = self.cut_of(file) else { continue };
            match self.blob_path(&file.sha256, file.size_bytes) {
                Some(path) => sound.push(CutBlob { path, pieces }),
                None => {
                    let lying = [self.set_aside_place(&file.sha256)].into_iter();
                    let lying = lying.chain(self.copies_of(&file.sha256));
                    set_aside.extend(lying.map(|path| CutBlob { path, pieces: pieces.clone() }));
                }
            }
        }
        sound.extend(self.unrecorded_cuts(&seen));
        set_aside.retain(|blob| blob.path.is_file());
        sound.extend(set_aside);
        Ok(sound)
    }

    /// True when a blob lies here that no record speaks of, and whose pieces are known.
    ///
    /// # Errors
    /// As `cut_blobs`.
    pub fn has_unrecorded_cuts(&self) -> Result<bool> {
        let recorded =
            self.all_records()?.iter().flat_map(Installed::files).map(|file| file.sha256).collect();
        Ok(!self.unrecorded_cuts(&recorded).is_empty())
    }

    /// The blobs in use whose pieces were found out here, beside those of records.
    fn unrecorded_cuts(&self, recorded: &HashSet<Sha256>) -> Vec<CutBlob> {
        let mut cuts = Vec::new();
        for entry in fs::read_dir(&self.folders.pieces).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.strip_suffix(".cut")?.parse::<Sha256>().ok());
            let Some(digest) = digest.filter(|digest| !recorded.contains(digest)) else { continue };
            let pieces = fs::read_to_string(entry.path()).ok().and_then(|text| PieceList::parse(&text).ok());
            let Some(pieces) = pieces else { continue };
            if let Some(path) = self.blob_path(&digest, pieces.size_bytes()) {
                cuts.push(CutBlob { path, pieces });
            }
        }
        // The order of a folder is anybody's guess.
        cuts.sort_by(|left, right| left.path.cmp(&right.path));
        cuts
    }

    /// The blobs of a package here, in any version, whose pieces nobody has told.
    ///
    /// # Errors
    /// As `cut_blobs`.
    pub fn uncut_blobs_of(&self, name: &Name) -> Result<Vec<(Sha256, PathBuf)>> {
        let records = self.all_records()?;
        let files = records.iter().filter(|record| record.name() == name).flat_map(Installed::files);
        let mut uncut: Vec<(Sha256, PathBuf)> = files
            .filter(|file| self.cut_of(file).is_none())
            .filter_map(|file| Some((file.sha256, self.blob_path(&file.sha256, file.size_bytes)?)))
            .collect();
        uncut.retain(|(_, path)| path.metadata().is_ok_and(|metadata| metadata.len() > 0));
        uncut.sort_unstable();
        uncut.dedup();
        Ok(uncut)
    }

    /// Keeps the pieces of a blob, so that they need not be looked for twice.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_cut(&self, blob: &Sha256, pieces: &PieceList) -> Result<()> {
        Ok(disk::write_atomic(&self.cut_path(blob), pieces.to_text().as_bytes())?)
    }

    /// The pieces of a file: from its publisher's list, else from the one made here. A small file is one piece.
    pub fn cut_of(&self, file: &FileEntry) -> Option<PieceList> {
        if file.pieces.is_none() && file.size_bytes <= MAX_PIECE_BYTES {
            let whole = Piece { offset: 0, length: file.size_bytes, sha256: file.sha256 };
            return PieceList::new(vec![whole]).ok();
        }
        let told = file.pieces.and_then(|digest| self.piece_list(&digest).ok().flatten());
        let made = || PieceList::parse(&fs::read_to_string(self.cut_path(&file.sha256)).ok()?).ok();
        told.or_else(made).filter(|list| list.size_bytes() == file.size_bytes)
    }

    /// What a damaged record spoke of is not reused: that costs data, and stops nobody who brings it again.
    fn all_records(&self) -> Result<Vec<Installed>> {
        Ok([self.installed_readable()?, self.fetched()?, self.previous()?].concat())
    }

    fn cut_path(&self, blob: &Sha256) -> PathBuf {
        self.folders.pieces.join(format!("{blob}.cut"))
    }
}
