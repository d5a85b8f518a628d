//! Two threads for one volume: one reads the stick and hashes pieces, the other writes (and a third hashes
//! the whole blob).

use std::collections::HashMap;
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

/// How many pieces may wait between the threads; with one at each end, 4 × 4 MiB are in use.
const NUM_WAITING: usize = 2;

/// How many used buffers are kept.
const MAX_SPARE: usize = 4;

/// What is needed of one blob.
pub(super) struct Need {
    blob: usize,
    pieces: Vec<PieceEntry>,
    states: Vec<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    /// It was there before this volume.
    Had,
    /// It came from this volume.
    Taken,
}

/// What the reading thread found.
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
        let state = |index| if has(index) { State::Had } else { State::Missing };
        Self { blob, pieces: entry.pieces.clone(), states: (0..entry.pieces.len()).map(state).collect() }
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
    let (sender, receiver): (SyncSender<Message>, Receiver<Message>) = mpsc::sync_channel(NUM_WAITING);
    thread::scope(|scope| {
        let spare = &spare;
        scope.spawn(move || read_pieces(file, size_bytes, needs, spare, &sender));
        // Moved in here, so that it is gone when `take` fails: then the reader stops too.
        for message in receiver {
            if let Some(buffer) = take(message)? {
                spare.give(buffer);
            }
        }
        Ok(())
    })
}

fn read_pieces(
    file: &File,
    size_bytes: u64,
    mut needs: HashMap<Sha256, Need>,
    spare: &Spare,
    sender: &SyncSender<Message>,
) {
    for sighting in Walk::new(file, size_bytes) {
        let message = match sighting {
            Sighting::Refused(text) => Some(Message::Remark(text)),
            Sighting::Piece { name, data_at, length } => needs
                .get_mut(&name.blob)
                .and_then(|need| need.look_at(file, &name, data_at, length, spare.take())),
        };
        if let Some(message) = message
            && sender.send(message).is_err()
        {
            return;
        }
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
        &mut self,
        file: &File,
        name: &EntryName,
        data_at: u64,
        length: u64,
        buffer: Vec<u8>,
    ) -> Option<Message> {
        let bad = |text: String| Some(Message::Bad { blob: self.blob, text });
        let piece = match (self.pieces.get(name.piece), self.states.get(name.piece)) {
            (Some(piece), Some(State::Missing)) => *piece,
            (Some(_), Some(State::Had)) => return None,
            (Some(_), _) => {
                return Some(Message::Remark(format!("{} stands in it twice; one is ignored", shown(name))));
            }
            _ => return Some(Message::Remark(format!("{} is more than the blob has", shown(name)))),
        };
        if length != piece.stored_bytes() || name.is_compressed != piece.stored.is_some() {
            return bad(format!(
                "{} has {length} stored bytes, and {} were declared",
                shown(name),
                piece.stored_bytes()
            ));
        }
        match read_piece(file, &piece, data_at, length, buffer) {
            Ok(bytes) => {
                self.states[name.piece] = State::Taken;
                Some(Message::Piece { blob: self.blob, index: name.piece, bytes: Arc::new(bytes) })
            }
            Err(reason) => bad(format!("{} is damaged: {reason}", shown(name))),
        }
    }
}

fn read_piece(
    file: &File,
    piece: &PieceEntry,
    data_at: u64,
    length: u64,
    mut buffer: Vec<u8>,
) -> Result<Vec<u8>, String> {
    buffer.resize(usize::try_from(length).map_err(|error| error.to_string())?, 0);
    file.read_exact_at(&mut buffer, data_at).map_err(|error| error.to_string())?;
    disk::read_ahead(file, data_at + length, READ_AHEAD_BYTES);
    let bytes = codec::restore(piece, buffer).map_err(str::to_owned)?;
    let found = Sha256::of(&bytes);
    match found == piece.sha256 {
        true => Ok(bytes),
        false => Err(format!("it has sha256 {}…, declared was {}…", found.short(), piece.sha256.short())),
    }
}
