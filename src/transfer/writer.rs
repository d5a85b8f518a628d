//! Writes behind the caller's back, strictly in order: bytes, then the journal line that speaks of them.
//!
//! So that hashing and writing share the time of two cores. Where the caller hashes pieces, the hash of the whole is
//! made here: as bytes come, or read back while nothing comes. What waits is bounded by the room that the chunks hold (`network.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;

use super::error::Result;
use super::journal::{Journal, Record};
use super::reply::Chunk;
use super::resume::hash;
use super::syncer::{Syncer, Trouble};
use crate::digest::{Hasher, Sha256};
use crate::disk::{DiskError, StagingFile};
use crate::progress::Silent;

/// How much is read back at a time for the hash of the whole, in bytes.
const CATCH_UP_BYTES: u64 = 64 * 1024 * 1024;

/// How much of it is read back between two looks for new work, in bytes.
const IDLE_BYTES: u64 = 1024 * 1024;

/// The writing thread of one part file.
pub(super) struct Writer {
    file: Arc<StagingFile>,
    journal_file: Arc<StagingFile>,
    /// `None` only while being dropped.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    trouble: Trouble,
    sent_bytes: u64,
    written_bytes: Arc<AtomicU64>,
}

enum Job {
    Write { offset: u64, chunk: Chunk, begins_run: bool },
    Note(Record),
    Sync,
    Flush(SyncSender<()>),
    Leave { run_offset: u64 },
    BeSure { end: u64 },
    CatchUp { end: u64, reached: SyncSender<Result<u64>> },
    Digest(SyncSender<Sha256>),
    Lend(SyncSender<(Hasher, u64)>),
    Return(Hasher, u64),
}

/// The hash of the first `offset` bytes, and what it was before the run that is being filled.
#[derive(Default)]
struct Whole {
    hasher: Hasher,
    offset: u64,
    before: (Hasher, u64),
}

impl Writer {
    /// Starts the thread. `has_pieces` asks it for the hash of the whole.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(file: &Arc<StagingFile>, journal: Journal, has_pieces: bool) -> Result<Self> {
        let trouble = Trouble::default();
        let written_bytes = Arc::new(AtomicU64::new(0));
        let journal_file = Arc::clone(journal.file());
        let syncer = Syncer::start(vec![Arc::clone(file), Arc::clone(&journal_file)], &trouble);
        let desk = Desk {
            file: Arc::clone(file),
            journal,
            syncer,
            written_bytes: Arc::clone(&written_bytes),
            has_pieces,
            whole: Whole::default(),
            sure_end: 0,
            has_failed: false,
        };
        let (jobs, orders) = channel();
        let for_thread = trouble.clone();
        let thread = std::thread::Builder::new()
            .name("write".into())
            .spawn(move || desk.work(&orders, &for_thread))
            .map_err(|source| DiskError::Io { path: file.path().to_owned(), source })?;
        Ok(Self {
            file: Arc::clone(file),
            journal_file,
            jobs: Some(jobs),
            thread: Some(thread),
            trouble,
            sent_bytes: 0,
            written_bytes,
        })
    }

    /// Writes a chunk, soon. `begins_run` says that it is the first of a run.
    ///
    /// # Errors
    /// When something before it could not be written.
    pub(super) fn write(&mut self, offset: u64, chunk: Chunk, begins_run: bool) -> Result<()> {
        self.sent_bytes += chunk.bytes.len() as u64;
        self.send(Job::Write { offset, chunk, begins_run })
    }

    /// Takes the bytes from the beginning of a run on out of the hash of the whole.
    pub(super) fn leave(&self, run_offset: u64) -> Result<()> {
        self.send(Job::Leave { run_offset })
    }

    /// Says that all bytes before `end` are there, and right as far as anybody knows.
    pub(super) fn be_sure(&self, end: u64) -> Result<()> {
        self.send(Job::BeSure { end })
    }

    /// Hashes for the whole some of what came out of order and now has no gap before `end`; returns how far it got.
    ///
    /// # Errors
    /// When reading back fails.
    pub(super) fn catch_up(&self, end: u64) -> Result<u64> {
        let (reached, answer) = sync_channel(1);
        self.send(Job::CatchUp { end, reached })?;
        answer.recv().unwrap_or(Ok(end))
    }

    /// The digest of all bytes that were hashed for the whole.
    pub(super) fn digest(&self) -> Result<Sha256> {
        let (digest, answer) = sync_channel(1);
        self.send(Job::Digest(digest))?;
        Ok(answer.recv().unwrap_or(Sha256::of(b"")))
    }

    /// Hands the hash of the whole over to the caller, with the number of bytes that it covers: on a fast line the caller has
    /// nothing else to do, and this thread has enough.
    pub(super) fn lend(&self) -> Result<(Hasher, u64)> {
        let (whole, answer) = sync_channel(1);
        self.send(Job::Lend(whole))?;
        Ok(answer.recv().unwrap_or_default())
    }

    /// Takes the hash of the whole back.
    pub(super) fn take_back(&self, hasher: Hasher, num_bytes: u64) -> Result<()> {
        self.send(Job::Return(hasher, num_bytes))
    }

    /// Adds a line to the journal, after all that was written before.
    pub(super) fn note(&self, record: Record) -> Result<()> {
        self.send(Job::Note(record))
    }

    /// Asks for a sync of all that was written before, without waiting for it.
    pub(super) fn ask_for_sync(&self) -> Result<()> {
        self.send(Job::Sync)
    }

    /// Waits until all is written.
    pub(super) fn flush(&self) -> Result<()> {
        if self.unwritten_bytes() > 0 {
            self.wait();
        }
        Ok(self.trouble.ask()?)
    }

    /// Waits until all is written, and on the medium.
    pub(super) fn sync(&self) -> Result<()> {
        self.wait();
        self.trouble.ask()?;
        self.file.sync()?;
        Ok(self.journal_file.sync()?)
    }

    /// How much of what was handed in is not in the file, yet or for ever.
    pub(super) fn unwritten_bytes(&self) -> u64 {
        self.sent_bytes - self.written_bytes.load(Ordering::SeqCst)
    }

    fn wait(&self) {
        let (done, is_done) = sync_channel(1);
        if self.send(Job::Flush(done)).is_ok() {
            // An error means that the thread is gone, and nothing is left to wait for.
            let _ = is_done.recv();
        }
    }

    fn send(&self, job: Job) -> Result<()> {
        self.trouble.ask()?;
        if let Some(jobs) = &self.jobs {
            // The thread ends only after this sender is dropped.
            let _ = jobs.send(job);
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Desk {
    file: Arc<StagingFile>,
    journal: Journal,
    syncer: Syncer,
    written_bytes: Arc<AtomicU64>,
    has_pieces: bool,
    whole: Whole,
    /// The bytes before it may be hashed for the whole.
    sure_end: u64,
    has_failed: bool,
}

impl Desk {
    fn work(mut self, orders: &Receiver<Job>, trouble: &Trouble) {
        while let Some(job) = self.next_job(orders) {
            if let Err(error) = self.carry_out(job) {
                // Nothing may follow a gap: the journal would speak of bytes that are not there.
                self.has_failed = true;
                trouble.tell(error);
            }
        }
    }

    /// Waits for the next job; the time until then goes to the hash of the whole, where that lags behind.
    fn next_job(&mut self, orders: &Receiver<Job>) -> Option<Job> {
        while !self.has_failed && self.whole.offset < self.sure_end {
            match orders.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            if self.whole.catch_up(&self.file, self.sure_end, IDLE_BYTES).is_err() {
                // Whoever asks for the digest tries again, and is told.
                self.sure_end = 0;
            }
        }
        orders.recv().ok()
    }

    fn carry_out(&mut self, job: Job) -> std::result::Result<(), DiskError> {
        match job {
            Job::Flush(done) => {
                // Nobody waits any more: fine.
                let _ = done.send(());
            }
            Job::CatchUp { end, reached } => {
                let _ = reached.send(self.whole.catch_up(&self.file, end, CATCH_UP_BYTES));
            }
            Job::Digest(digest) => {
                let _ = digest.send(self.whole.hasher.clone().finish());
            }
            Job::Lend(whole) => {
                let lent = std::mem::replace(&mut self.whole, Whole::lent());
                let _ = whole.send((lent.hasher, lent.offset));
            }
            Job::Return(hasher, offset) => self.whole = Whole { hasher, offset, ..Whole::default() },
            _ if self.has_failed => {}
            Job::Write { offset, chunk, begins_run } => {
                self.file.write_at(&chunk.bytes, offset)?;
                self.written_bytes.fetch_add(chunk.bytes.len() as u64, Ordering::SeqCst);
                if self.has_pieces {
                    self.whole.take(offset, &chunk.bytes, begins_run);
                }
            }
            Job::BeSure { end } => self.sure_end = end,
            Job::Leave { run_offset } => {
                self.sure_end = self.sure_end.min(run_offset);
                self.whole.leave(run_offset);
            }
            Job::Note(record) => self.journal.add(&record)?,
            Job::Sync => self.syncer.ask(),
        }
        Ok(())
    }
}

impl Whole {
    /// What stays here while the caller has it: it takes nothing.
    fn lent() -> Self {
        Self { offset: u64::MAX, ..Self::default() }
    }

    fn take(&mut self, offset: u64, bytes: &[u8], begins_run: bool) {
        if self.offset != offset {
            return;
        }
        if begins_run {
            self.before = (self.hasher.clone(), offset);
        }
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
    }

    /// Gives up the bytes from the beginning of a run on.
    fn leave(&mut self, run_offset: u64) {
        if self.offset > run_offset {
            let (hasher, offset) = std::mem::take(&mut self.before);
            // Without a memory of that place, the bytes before it are read again at the end.
            (self.hasher, self.offset) =
                if offset == run_offset { (hasher, offset) } else { (Hasher::new(), 0) };
        }
    }

    /// Reads back at most `step_bytes` before `end`; returns how far it got.
    fn catch_up(&mut self, file: &StagingFile, end: u64, step_bytes: u64) -> Result<u64> {
        if self.offset < end {
            let until = end.min(self.offset + step_bytes);
            if let Err(error) = hash(file, &mut self.hasher, self.offset, until, &Silent) {
                // It may have taken some of them: whoever asks again begins anew.
                *self = Self::default();
                return Err(error);
            }
            self.offset = until;
        }
        Ok(self.offset)
    }
}
