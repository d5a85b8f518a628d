//! Writing one volume: pieces are read, hashed and copied; what an earlier, cut-off export left is kept
//! where it is already right, byte for byte, whatever its length and time claim.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use crate::digest::{Hasher, Sha256};
use crate::disk::{self, Flusher, StagingFile};
use crate::package::PieceList;
use crate::progress::{Monitor, Task};

use super::background::{Background, Buffers, READ_AHEAD_BYTES};
use super::codec;
use super::description::{BlobEntry, Run, VolumeEntry};
use super::entry::{BLOCK_BYTES, EntryName, TRAILER_BYTES, padding_bytes};
use super::error::{BundleError, Result, io_error};
use super::outgoing::OutgoingBlob;

/// How much is written before the medium is asked to take it, in bytes.
const FLUSH_EVERY_BYTES: u64 = 32 * 1024 * 1024;

/// How many pieces may wait between reading and writing.
const NUM_WAITING: usize = 1;

/// Reads blobs piece by piece and proves on the way that they are what they are called.
pub(super) struct Copier<'a> {
    monitor: &'a dyn Monitor,
    task: &'a dyn Task,
    buffers: Buffers,
    current: Option<Source>,
}

/// The blob that is being read; it may go on in the next volume.
struct Source {
    blob: usize,
    file: File,
    next_piece: usize,
    offset: u64,
    /// Hashes the whole blob, where no signed piece list vouches for the pieces.
    whole: Option<Background>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(monitor: &'a dyn Monitor, task: &'a dyn Task) -> Self {
        Self { monitor, task, buffers: Buffers::new(), current: None }
    }

    /// Writes one volume, and puts the digests of its pieces into `blobs`. Returns what `Target::finish` does.
    ///
    /// # Errors
    /// `BlobDamaged` when a blob is not what its name says; `Cancelled`; when the stick fails.
    pub(super) fn write_volume(
        &mut self,
        target: Target,
        volume: &VolumeEntry,
        blobs: &mut [BlobEntry],
        sources: &[OutgoingBlob],
    ) -> Result<Option<Sha256>> {
        let (sender, receiver) = mpsc::sync_channel(NUM_WAITING);
        thread::scope(|scope| {
            let task = self.task;
            let writer = scope.spawn(move || put_all(target, &receiver, task));
            let read = self.read_volume(volume, blobs, sources, &sender);
            // Without the last word, the writer leaves what lies there as it is.
            let _ = read.is_ok() && sender.send(Message::End).is_ok();
            drop(sender);
            let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            read.and(written)
        })
    }

    /// Reads the pieces of a volume in order and hands each to the writer.
    fn read_volume(
        &mut self,
        volume: &VolumeEntry,
        blobs: &mut [BlobEntry],
        sources: &[OutgoingBlob],
        sender: &SyncSender<Message>,
    ) -> Result<()> {
        for &Run { blob, first, count } in &volume.holds {
            for piece in first..first + count {
                if self.monitor.is_cancelled() {
                    return Err(BundleError::Cancelled);
                }
                let (name, bytes) = self.entry(blob, piece, &mut blobs[blob], &sources[blob])?;
                let length = blobs[blob].pieces[piece].length;
                if sender.send(Message::Entry { name, bytes, length }).is_err() {
                    // The writer has failed, and says why.
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads one piece, proves it, and gives it the form in which it is stored.
    fn entry(
        &mut self,
        blob: usize,
        piece: usize,
        entry: &mut BlobEntry,
        outgoing: &OutgoingBlob,
    ) -> Result<(EntryName, Arc<Vec<u8>>)> {
        let is_last = piece + 1 == entry.pieces.len();
        self.turn_to(blob, piece, entry, outgoing)?;
        let expected = &mut entry.pieces[piece];
        let mut bytes = self.read(outgoing, expected.length)?;
        let sha256 = Sha256::of(&bytes);
        if outgoing.pieces.as_ref().is_some_and(|list| differs(list, piece, &sha256)) {
            return Err(damaged(outgoing, format!("piece {piece} has sha256 {sha256}")));
        }
        expected.sha256 = sha256;
        let name = EntryName { blob: outgoing.digest, piece, is_compressed: expected.stored.is_some() };
        if let Some(stored) = expected.stored {
            let compressed = codec::compress(&bytes).map_err(|error| io_error(&outgoing.path, error))?;
            if compressed.len() as u64 != stored {
                return Err(damaged(outgoing, "it changed since the plan was made".into()));
            }
            bytes = Arc::new(compressed);
        }
        if is_last {
            self.finish_blob(outgoing)?;
        }
        Ok((name, bytes))
    }

    /// Opens a blob at a piece, unless that is the one that comes next anyway.
    fn turn_to(
        &mut self,
        blob: usize,
        piece: usize,
        entry: &BlobEntry,
        outgoing: &OutgoingBlob,
    ) -> Result<()> {
        if self.current.as_ref().is_some_and(|source| (source.blob, source.next_piece) == (blob, piece)) {
            return Ok(());
        }
        let file = File::open(&outgoing.path).map_err(|error| damaged(outgoing, error.to_string()))?;
        let has_list = outgoing.pieces.as_ref().is_some_and(|list| list.size_bytes() == outgoing.size_bytes);
        let whole = (!has_list).then(Background::start);
        let offset = entry.pieces[..piece].iter().map(|piece| piece.length).sum();
        self.current = Some(Source { blob, file, next_piece: piece, offset, whole });
        Ok(())
    }

    /// Reads the next piece of the current blob, and has it hashed.
    fn read(&mut self, outgoing: &OutgoingBlob, length: u64) -> Result<Arc<Vec<u8>>> {
        let Some(source) = &mut self.current else {
            return Err(damaged(outgoing, "it cannot be read".into()));
        };
        let fill = |buffer: &mut [u8]| source.file.read_exact_at(buffer, source.offset);
        let bytes = self
            .buffers
            .filled(usize::try_from(length).unwrap_or_default(), fill)
            .map_err(|error| damaged(outgoing, error.to_string()))?;
        source.offset += length;
        source.next_piece += 1;
        disk::read_ahead(&source.file, source.offset, READ_AHEAD_BYTES);
        if let Some(whole) = &source.whole {
            whole.update(&bytes);
        }
        Ok(bytes)
    }

    fn finish_blob(&mut self, outgoing: &OutgoingBlob) -> Result<()> {
        let whole = self.current.take().and_then(|source| source.whole);
        match whole.map(Background::finish) {
            Some(found) if found != outgoing.digest => {
                Err(damaged(outgoing, format!("its bytes have sha256 {found}")))
            }
            _ => Ok(()),
        }
    }
}

fn differs(list: &PieceList, piece: usize, sha256: &Sha256) -> bool {
    list.pieces().get(piece).is_some_and(|expected| expected.sha256 != *sha256)
}

fn damaged(outgoing: &OutgoingBlob, reason: String) -> BundleError {
    BundleError::BlobDamaged { digest: outgoing.digest, path: outgoing.path.clone(), reason }
}

/// What the reading thread gives to the writing one.
enum Message {
    /// A piece, as it is stored, and how many bytes it has unpacked.
    Entry { name: EntryName, bytes: Arc<Vec<u8>>, length: u64 },
    /// The volume is complete.
    End,
}

/// Writes entries until the last word; without it, nothing is ended or cut. What lay there already is skipped: comparing
/// says nothing of how fast a stick is written.
fn put_all(mut target: Target, receiver: &Receiver<Message>, task: &dyn Task) -> Result<Option<Sha256>> {
    for message in receiver {
        match message {
            Message::Entry { name, bytes, length } => {
                target.put_entry(&name, &bytes)?;
                match target.is_comparing() {
                    true => task.skip(length),
                    false => task.advance(length),
                }
            }
            Message::End => return target.finish(),
        }
    }
    // Whoever reads has failed, and says why.
    Err(BundleError::Cancelled)
}

/// Where the bytes of a volume go.
pub(super) enum Target {
    /// To the stick. Their digest is found when they are read back: hashing them here as well would cost as much
    /// again, and tell less.
    Stick(Sink),
    /// Nowhere: the volume lies on another stick, and only its digest is wanted.
    Nowhere(Hasher),
}

impl Target {
    /// Writes nowhere.
    pub(super) fn nowhere() -> Self {
        Self::Nowhere(Hasher::new())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the stick fails.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Stick(sink) => sink.put(bytes),
            Self::Nowhere(hasher) => {
                hasher.update(bytes);
                Ok(())
            }
        }
    }

    /// True while everything lay there already.
    fn is_comparing(&self) -> bool {
        matches!(self, Self::Stick(sink) if sink.is_comparing)
    }

    /// Fills the last block behind `length` bytes.
    ///
    /// # Errors
    /// When the stick fails.
    pub(super) fn pad(&mut self, length: u64) -> Result<()> {
        self.put(&[0; BLOCK_BYTES as usize][..padding_bytes(length) as usize])
    }

    fn put_entry(&mut self, name: &EntryName, bytes: &[u8]) -> Result<()> {
        let length = bytes.len() as u64;
        self.put(&name.header(length))?;
        self.put(bytes)?;
        self.pad(length)
    }

    /// Writes the end of a tar file and brings all to the medium; what went nowhere gets its digest.
    ///
    /// # Errors
    /// When the stick fails.
    pub(super) fn finish(mut self) -> Result<Option<Sha256>> {
        self.put(&[0; TRAILER_BYTES as usize])?;
        match self {
            Self::Stick(sink) => sink.finish().map(|()| None),
            Self::Nowhere(hasher) => Ok(Some(hasher.finish())),
        }
    }
}

/// Takes the bytes of a file in order. While they equal what already lies there, it only compares.
pub(super) struct Sink {
    file: StagingFile,
    at: u64,
    is_comparing: bool,
    found: Vec<u8>,
    unsynced_bytes: u64,
    flusher: Option<Flusher>,
}

impl Sink {
    /// Begins at the first byte of `file`.
    pub(super) fn new(file: StagingFile) -> Result<Self> {
        let is_comparing = file.size_bytes()? > 0;
        // What the page cache believes of a stick that was pulled out is worth nothing.
        disk::drop_cached_pages(file.file());
        Ok(Self { file, at: 0, is_comparing, found: Vec::new(), unsynced_bytes: 0, flusher: None })
    }

    /// Takes the next bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.is_comparing {
            self.found.resize(bytes.len(), 0);
            // A stick that cannot read these bytes back gets them written again.
            let count = self.file.read_at(&mut self.found, self.at).unwrap_or(0);
            self.is_comparing = self.found[..count] == *bytes;
        }
        if !self.is_comparing {
            self.file.write_at(bytes, self.at)?;
            self.flush_behind(bytes.len() as u64)?;
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Keeps the medium busy while the next pieces are read.
    fn flush_behind(&mut self, num_written: u64) -> Result<()> {
        self.unsynced_bytes += num_written;
        if self.unsynced_bytes >= FLUSH_EVERY_BYTES {
            self.unsynced_bytes = 0;
            match &self.flusher {
                Some(flusher) => flusher.flush(),
                None => self.flusher = Some(Flusher::start(&self.file)?),
            }
        }
        Ok(())
    }

    /// Cuts off what is too much, and brings all to the medium.
    pub(super) fn finish(self) -> Result<()> {
        if let Some(flusher) = self.flusher {
            flusher.finish()?;
        }
        if self.file.size_bytes()? != self.at {
            self.file.truncate(self.at)?;
        }
        Ok(self.file.sync()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_run_left_is_kept_while_right_and_replaced_from_the_first_wrong_byte_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("V0001.TAR");
        for left in [&b""[..], b"the right wor", b"the wrong words and too many", b"the right words"] {
            std::fs::write(&path, left).unwrap();
            let mut sink = Sink::new(StagingFile::open(&path).unwrap()).unwrap();
            for part in [&b"the "[..], b"right ", b"words"] {
                sink.put(part).unwrap();
            }
            sink.finish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"the right words");
        }
    }
}
