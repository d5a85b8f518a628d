//! A blob on its way in: `<sha256>.part` in staging, filled piece by piece.
//!
//! There is no journal beside it that could be wrong: what an interrupted import left is hashed again,
//! piece by piece, and what is right is kept. Data is synced every 32 MiB beside the writing, so that a
//! power cut costs about 100 MiB at most.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Sha256;
use crate::disk::{self, Flusher, Staged, StagingFile};
use crate::package::{Piece, PieceList};

use super::background::{Background, Buffers};
use super::error::Result;

/// How much is written before the medium is asked to take it, in bytes.
const FLUSH_EVERY_BYTES: u64 = 32 * 1024 * 1024;

/// One blob under way.
pub(super) struct Part {
    digest: Sha256,
    list: PieceList,
    has: Vec<bool>,
    num_missing: usize,
    path: PathBuf,
    /// Closed while other blobs are filled, so that a hostile volume cannot use up file handles.
    file: Option<StagingFile>,
    /// Hashes the first `num_hashed` pieces. Its pieces do not prove a blob, whoever signed their list: another
    /// publisher may have signed the blob's own digest. A blob of one piece needs no second hash.
    whole: Option<Background>,
    num_hashed: usize,
    unsynced_bytes: u64,
    flusher: Option<Flusher>,
}

impl Part {
    /// Opens what an earlier import left, if anything, and keeps what is right of it.
    ///
    /// # Errors
    /// When staging cannot be read.
    pub(super) fn resume(staging: &Path, digest: Sha256, list: PieceList) -> Result<Self> {
        let num_pieces = list.pieces().len();
        let path = staging.join(format!("{digest}.part"));
        let mut part = Self {
            digest,
            has: vec![false; num_pieces],
            num_missing: num_pieces,
            file: None,
            whole: None,
            num_hashed: 0,
            unsynced_bytes: 0,
            flusher: None,
            list,
            path,
        };
        if part.path.is_file() {
            part.keep_what_is_right()?;
        }
        Ok(part)
    }

    fn keep_what_is_right(&mut self) -> Result<()> {
        let file = StagingFile::open(&self.path)?;
        let mut buffers = Buffers::new();
        for index in 0..self.list.pieces().len() {
            let piece = self.list.pieces()[index];
            let bytes = read(&file, &piece, &mut buffers)?;
            if Sha256::of(&bytes) == piece.sha256 {
                self.has[index] = true;
                self.num_missing -= 1;
                self.hash_in_order(index, &bytes);
            }
        }
        Ok(())
    }

    /// Hashes a piece when all before it were hashed.
    fn hash_in_order(&mut self, index: usize, bytes: &Arc<Vec<u8>>) {
        if self.list.pieces().len() > 1 && self.num_hashed == index {
            self.whole.get_or_insert_with(Background::start).update(bytes);
            self.num_hashed += 1;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.num_missing == 0
    }

    pub(super) fn list(&self) -> &PieceList {
        &self.list
    }

    pub(super) fn num_missing(&self) -> usize {
        self.num_missing
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.has.get(index).is_some_and(|&has| has)
    }

    /// The bytes of all missing pieces together.
    pub(super) fn missing_bytes(&self) -> u64 {
        let missing = self.list.pieces().iter().zip(&self.has).filter(|(_, has)| !**has);
        missing.map(|(piece, _)| piece.length).sum()
    }

    /// Puts a piece in its place. The caller has compared its digest.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn take(&mut self, index: usize, bytes: &Arc<Vec<u8>>) -> Result<()> {
        let Some(piece) = self.list.pieces().get(index).copied() else {
            return Ok(());
        };
        if self.has[index] {
            return Ok(());
        }
        self.hash_in_order(index, bytes);
        self.open()?.write_at(bytes, piece.offset)?;
        self.has[index] = true;
        self.num_missing -= 1;
        self.flush_behind(piece.length)
    }

    /// Keeps the medium busy while the next pieces are read.
    fn flush_behind(&mut self, num_written: u64) -> Result<()> {
        self.unsynced_bytes += num_written;
        if self.unsynced_bytes >= FLUSH_EVERY_BYTES {
            self.unsynced_bytes = 0;
            match &self.flusher {
                Some(flusher) => flusher.flush(),
                None => self.flusher = Some(Flusher::start(self.open()?)?),
            }
        }
        Ok(())
    }

    /// Closes the file until the next piece comes.
    ///
    /// # Errors
    /// When the medium reported a failure.
    pub(super) fn rest(&mut self) -> Result<()> {
        self.file = None;
        self.unsynced_bytes = 0;
        self.rest_of_flushing()
    }

    /// Hands the file over when it is what it is called, else says what its bytes hash to.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn finish(mut self) -> Result<std::result::Result<Staged, Sha256>> {
        let size_bytes = self.list.size_bytes();
        self.open()?;
        let found = self.digest_of_whole()?;
        self.rest_of_flushing()?;
        let Some(file) = self.file.take() else {
            return Ok(Err(found));
        };
        if file.size_bytes()? != size_bytes {
            file.truncate(size_bytes)?;
        }
        match found == self.digest {
            true => Ok(Ok(file.finish(found, size_bytes))),
            // Its pieces make another blob: nothing of it is worth keeping.
            false => {
                disk::remove_file(&self.path)?;
                Ok(Err(found))
            }
        }
    }

    /// What came before its turn is read back: everything from the first piece not yet hashed on.
    fn digest_of_whole(&mut self) -> Result<Sha256> {
        match self.list.pieces() {
            [] => return Ok(Sha256::of(b"")),
            [only] => return Ok(only.sha256),
            _ => {}
        }
        let whole = self.whole.take().unwrap_or_else(Background::start);
        let mut buffers = Buffers::new();
        for piece in &self.list.pieces()[self.num_hashed..] {
            if let Some(file) = &self.file {
                whole.update(&read(file, piece, &mut buffers)?);
            }
        }
        Ok(whole.finish())
    }

    fn rest_of_flushing(&mut self) -> Result<()> {
        match self.flusher.take() {
            Some(flusher) => Ok(flusher.finish()?),
            None => Ok(()),
        }
    }

    fn open(&mut self) -> Result<&StagingFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None => StagingFile::open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }
}

/// Reads a piece of a part; what lies behind the file's end is zeros.
fn read(file: &StagingFile, piece: &Piece, buffers: &mut Buffers) -> Result<Arc<Vec<u8>>> {
    buffers.filled(usize::try_from(piece.length).unwrap_or_default(), |buffer| {
        let count = file.read_at(buffer, piece.offset)?;
        buffer[count..].fill(0);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"one two three";

    fn list() -> PieceList {
        let piece = |offset: u64, length: u64| {
            let bytes = &BYTES[offset as usize..(offset + length) as usize];
            Piece { offset, length, sha256: Sha256::of(bytes) }
        };
        PieceList::new(vec![piece(0, 4), piece(4, 4), piece(8, 5)]).unwrap()
    }

    fn bytes(bytes: &[u8]) -> Arc<Vec<u8>> {
        Arc::new(bytes.to_vec())
    }

    fn part(folder: &Path) -> Part {
        Part::resume(folder, Sha256::of(BYTES), list()).unwrap()
    }

    #[test]
    fn pieces_come_in_any_order_over_several_runs() {
        let folder = tempfile::tempdir().unwrap();
        part(folder.path()).take(2, &bytes(b"three")).unwrap();
        let mut again = part(folder.path());
        assert!(again.has(2) && again.num_missing() == 2 && again.missing_bytes() == 8);
        again.take(1, &bytes(b"two ")).unwrap();
        again.take(0, &bytes(b"one ")).unwrap();
        let staged = again.finish().unwrap().expect("the digest is right");
        assert_eq!(std::fs::read(staged.path).unwrap(), BYTES);
    }

    #[test]
    fn what_was_damaged_meanwhile_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = part(folder.path());
        first.take(0, &bytes(b"one ")).unwrap();
        first.take(1, &bytes(b"two ")).unwrap();
        let path = first.path.clone();
        drop(first);
        std::fs::write(path, b"one twX").unwrap();
        let again = part(folder.path());
        assert!(again.has(0) && !again.has(1) && !again.has(2));
    }

    #[test]
    fn right_pieces_of_a_wrong_whole_are_not_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut forged = Part::resume(folder.path(), Sha256::of(b"other"), list()).unwrap();
        for (index, piece) in [&b"one "[..], b"two ", b"three"].iter().enumerate() {
            forged.take(index, &bytes(piece)).unwrap();
        }
        assert_eq!(forged.finish().unwrap().expect_err("forged"), Sha256::of(BYTES));
    }
}
