//! Hashing beside the copying: two cores do two chains of SHA-256 in the time of one.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

use crate::digest::{Hasher, Sha256};

/// How many buffers are in use at most: one being filled, and one waiting and one at work for each of the
/// two threads behind; one spare.
const NUM_BUFFERS: usize = 6;

/// How many bytes the kernel is asked to read beforehand: two pieces, so that a medium never waits for a hash.
pub(super) const READ_AHEAD_BYTES: u64 = 8 * 1024 * 1024;

/// Hashes what it is given, in order, on a thread of its own.
pub(super) struct Background {
    sender: SyncSender<Arc<Vec<u8>>>,
    worker: JoinHandle<Sha256>,
}

impl Background {
    pub(super) fn start() -> Self {
        let (sender, receiver) = mpsc::sync_channel::<Arc<Vec<u8>>>(1);
        let worker = thread::spawn(move || {
            let mut hasher = Hasher::new();
            for bytes in receiver {
                hasher.update(&bytes);
            }
            hasher.finish()
        });
        Self { sender, worker }
    }

    pub(super) fn update(&self, bytes: &Arc<Vec<u8>>) {
        // The worker takes until the sender is gone; were it dead, `finish` would tell.
        let _ = self.sender.send(Arc::clone(bytes));
    }

    /// The digest of all bytes given. A worker that died yields a digest that matches nothing.
    pub(super) fn finish(self) -> Sha256 {
        drop(self.sender);
        self.worker.join().unwrap_or(Sha256::from_bytes([0; 32]))
    }
}

/// Some buffers in turn, so that megabytes are not allocated and cleared for each piece.
pub(super) struct Buffers {
    ring: Vec<Arc<Vec<u8>>>,
    next: usize,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { ring: std::iter::repeat_with(Arc::default).take(NUM_BUFFERS).collect(), next: 0 }
    }

    /// A buffer of `length` bytes that `fill` fills; shared with whoever still hashes it.
    pub(super) fn filled<E>(
        &mut self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Arc<Vec<u8>>, E> {
        let slot = &mut self.ring[self.next];
        self.next = (self.next + 1) % NUM_BUFFERS;
        if Arc::get_mut(slot).is_none() {
            *slot = Arc::new(Vec::new());
        }
        let buffer = Arc::make_mut(slot);
        buffer.resize(length, 0);
        fill(buffer)?;
        Ok(Arc::clone(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_in_order_while_buffers_are_reused() {
        let mut buffers = Buffers::new();
        let background = Background::start();
        let mut all = Vec::new();
        for round in 0..20u8 {
            let filled = buffers.filled(1000 + usize::from(round), |buffer| {
                buffer.fill(round);
                Ok::<(), ()>(())
            });
            let bytes = filled.unwrap();
            all.extend_from_slice(&bytes);
            background.update(&bytes);
        }
        assert_eq!(background.finish(), Sha256::of(&all));
    }
}
