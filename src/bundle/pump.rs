//! Three threads for one volume: one reads the stick, one hashes pieces, and the caller's writes (a fourth
//! hashes the whole blob where no signed list vouches for its pieces). So the stick is never left waiting.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::digest::Sha256;
use crate::disk;

use super::background::READ_AHEAD_BYTES;
use super::codec;
use super::description::{BlobEntry, PieceEntry};
use super::entry::EntryName;
use super::scan::{Sighting, Walk, shown};

/// How many pieces may wait between two threads; with one at work in each of the three, 5 × 4 MiB are in use.
const NUM_WAITING: usize = 1;

/// How many used buffers are kept.
const MAX_SPARE: usize = 4;

/// What is needed of one blob.
pub(super) struct Need {
    blob: usize,
    pieces: Vec<PieceEntry>,
    /// Which of them were there before this volume.
    had: Vec<bool>,
}

/// What was found.
pub(super) enum Message {
    /// A piece whose digest is right.
    Piece { blob: usize, index: usize, bytes: Arc<Vec<u8>> },
    /// A piece that is not.
    Bad { blob: usize, text: String },
    /// Something that belongs to no wanted blob.
    Remark(String),
}

impl Need {
    pub(super) fn new(blob: usize, entry: &BlobEntry, has: impl Fn(usize) -> bool) -> Self {
        Self { blob, pieces: entry.pieces.clone(), had: (0..entry.pieces.len()).map(has).collect() }
    }
}

/// Reads the needed pieces of a volume; `take` gets each, in order, and returns its buffer.
///
/// # Errors
/// What `take` returns; the reading then ends.
pub(super) fn pump<E>(
    file: &File,
    size_bytes: u64,
    needs: HashMap<Sha256, Need>,
    mut take: impl FnMut(Message) -> Result<Option<Arc<Vec<u8>>>, E>,
) -> Result<(), E> {
    let spare = Spare::default();
    let (raw_sender, raw_receiver): (SyncSender<Read>, Receiver<Read>) = mpsc::sync_channel(NUM_WAITING);
    let (sender, receiver): (SyncSender<Message>, Receiver<Message>) = mpsc::sync_channel(NUM_WAITING);
    thread::scope(|scope| {
        let (spare, needs) = (&spare, &needs);
        scope.spawn(move || read_pieces((file, size_bytes), needs, spare, &raw_sender));
        scope.spawn(move || prove_pieces(raw_receiver, &sender));
        // Moved in here, so that it is gone when `take` fails: then the reader stops too.
        for message in receiver {
            if let Some(buffer) = take(message)? {
                spare.give(buffer);
            }
        }
        Ok(())
    })
}

/// What the reading thread hands on.
enum Read {
    /// The stored bytes of a piece, still to be proved.
    Stored(Stored),
    /// Something that needs no proof.
    Said(Message),
}

/// A needed piece as it is stored.
struct Stored {
    blob: usize,
    name: EntryName,
    piece: PieceEntry,
    bytes: Vec<u8>,
}

fn read_pieces(
    (file, size_bytes): (&File, u64),
    needs: &HashMap<Sha256, Need>,
    spare: &Spare,
    sender: &SyncSender<Read>,
) {
    for sighting in Walk::new(file, size_bytes) {
        let read = match sighting {
            Sighting::Refused(text) => Some(Read::Said(Message::Remark(text))),
            Sighting::Piece { name, data_at, length } => {
                needs.get(&name.blob).and_then(|need| need.look_at(file, name, (data_at, length), spare))
            }
        };
        if let Some(read) = read
            && sender.send(read).is_err()
        {
            return;
        }
    }
}

/// Hashes each piece, in order; of two that say they are the same, the first right one counts.
fn prove_pieces(receiver: Receiver<Read>, sender: &SyncSender<Message>) {
    let mut taken = HashSet::new();
    for read in receiver {
        let message = match read {
            Read::Said(message) => message,
            Read::Stored(stored) => prove(stored, &mut taken),
        };
        if sender.send(message).is_err() {
            return;
        }
    }
}

fn prove(stored: Stored, taken: &mut HashSet<(usize, usize)>) -> Message {
    let Stored { blob, name, piece, bytes } = stored;
    if taken.contains(&(blob, name.piece)) {
        return Message::Remark(format!("{} stands in it twice; one is ignored", shown(&name)));
    }
    match proved(&piece, bytes) {
        Ok(bytes) => {
            taken.insert((blob, name.piece));
            Message::Piece { blob, index: name.piece, bytes: Arc::new(bytes) }
        }
        Err(reason) => Message::Bad { blob, text: format!("{} is damaged: {reason}", shown(&name)) },
    }
}

fn proved(piece: &PieceEntry, stored: Vec<u8>) -> Result<Vec<u8>, String> {
    let bytes = codec::restore(piece, stored).map_err(str::to_owned)?;
    let found = Sha256::of(&bytes);
    match found == piece.sha256 {
        true => Ok(bytes),
        false => Err(format!("it has sha256 {}…, declared was {}…", found.short(), piece.sha256.short())),
    }
}

/// Buffers that were used before: fresh ones would have to be cleared, 4 MiB each time.
#[derive(Default)]
struct Spare(Mutex<Vec<Arc<Vec<u8>>>>);

impl Spare {
    fn give(&self, buffer: Arc<Vec<u8>>) {
        if let Ok(mut buffers) = self.0.lock() {
            buffers.push(buffer);
        }
    }

    /// A buffer that nobody hashes any more, else a new one.
    fn take(&self) -> Vec<u8> {
        let Ok(mut buffers) = self.0.lock() else {
            return Vec::new();
        };
        let free = buffers.iter().position(|buffer| Arc::strong_count(buffer) == 1);
        let buffer = free.and_then(|index| Arc::into_inner(buffers.swap_remove(index)));
        // Those still in use are let go; otherwise they would pile up.
        buffers.truncate(MAX_SPARE);
        buffer.unwrap_or_default()
    }
}

impl Need {
    /// Reads a piece that may be needed; `None` when it was there before.
    fn look_at(
        &self,
        file: &File,
        name: EntryName,
        (data_at, length): (u64, u64),
        spare: &Spare,
    ) -> Option<Read> {
        let bad = |text: String| Some(Read::Said(Message::Bad { blob: self.blob, text }));
        let Some(&piece) = self.pieces.get(name.piece) else {
            let text = format!("{} is more than the blob has", shown(&name));
            return Some(Read::Said(Message::Remark(text)));
        };
        if self.had[name.piece] {
            return None;
        }
        let stored_bytes = piece.stored_bytes();
        if length != stored_bytes || name.is_compressed != piece.stored.is_some() {
            let what = shown(&name);
            return bad(format!("{what} has {length} stored bytes, and {stored_bytes} were declared"));
        }
        match read_stored(file, data_at, length, spare.take()) {
            Ok(bytes) => Some(Read::Stored(Stored { blob: self.blob, name, piece, bytes })),
            Err(error) => bad(format!("{} is damaged: {error}", shown(&name))),
        }
    }
}

/// Reads the stored bytes of a piece; its length was compared with what was declared.
fn read_stored(file: &File, at: u64, length: u64, mut buffer: Vec<u8>) -> std::io::Result<Vec<u8>> {
    buffer.resize(usize::try_from(length).map_err(std::io::Error::other)?, 0);
    file.read_exact_at(&mut buffer, at)?;
    disk::read_ahead(file, at + length, READ_AHEAD_BYTES);
    Ok(buffer)
}
