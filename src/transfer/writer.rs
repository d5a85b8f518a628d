//! Writes behind the caller's back, strictly in order: bytes, then the journal line that speaks of them.
//!
//! So that hashing and writing share the time of two cores. What waits is bounded by the room that the
//! chunks hold (`network.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::error::Result;
use super::journal::{Journal, Record};
use super::reply::Chunk;
use super::syncer::{Syncer, Trouble};
use crate::disk::{DiskError, StagingFile};

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
    Write { offset: u64, chunk: Chunk },
    Note(Record),
    Sync,
    Flush(SyncSender<()>),
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(file: &Arc<StagingFile>, journal: Journal) -> Result<Self> {
        let trouble = Trouble::default();
        let written_bytes = Arc::new(AtomicU64::new(0));
        let journal_file = Arc::clone(journal.file());
        let syncer = Syncer::start(vec![Arc::clone(file), Arc::clone(&journal_file)], &trouble);
        let desk = Desk {
            file: Arc::clone(file),
            journal,
            syncer,
            written_bytes: Arc::clone(&written_bytes),
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

    /// Writes a chunk, soon.
    ///
    /// # Errors
    /// When something before it could not be written.
    pub(super) fn write(&mut self, offset: u64, chunk: Chunk) -> Result<()> {
        self.sent_bytes += chunk.bytes.len() as u64;
        self.send(Job::Write { offset, chunk })
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
    has_failed: bool,
}

impl Desk {
    fn work(mut self, orders: &Receiver<Job>, trouble: &Trouble) {
        while let Ok(job) = orders.recv() {
            if let Err(error) = self.carry_out(job) {
                // Nothing may follow a gap: the journal would speak of bytes that are not there.
                self.has_failed = true;
                trouble.tell(error);
            }
        }
    }

    fn carry_out(&mut self, job: Job) -> std::result::Result<(), DiskError> {
        match job {
            Job::Flush(done) => {
                // Nobody waits any more: fine.
                let _ = done.send(());
            }
            _ if self.has_failed => {}
            Job::Write { offset, chunk } => {
                self.file.write_at(&chunk.bytes, offset)?;
                self.written_bytes.fetch_add(chunk.bytes.len() as u64, Ordering::SeqCst);
            }
            Job::Note(record) => self.journal.add(&record)?,
            Job::Sync => self.syncer.ask(),
        }
        Ok(())
    }
}
