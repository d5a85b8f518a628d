//! What the line may still cost: a budget in bytes that outlives the process, a power cut and a `kill -9`.
//!
//! Bytes are booked ahead in the file, a step at a time, and the unused rest of the last step is given back at the end. So
//! the file may speak of more than was spent (by one step, after a kill), but never of less. Each booking is
//! made under a lock and synced: several processes can share one budget.
//!
//! ```text
//! {"format":1,"limit_bytes":2000000000,"booked_bytes":734003200,"begun_at":1790000000}
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::error::{Result, TransferError};
use crate::disk::{DiskError, Lock, write_atomic};

/// The format of the file that this program reads and writes.
const FORMAT: u32 = 1;

/// What is booked ahead at least, in bytes: what a kill may cost the budget.
const FIRST_STEP_BYTES: u64 = 1024 * 1024;

/// What one read may bring at most, in bytes: less than half a step, so that whoever gets it books.
const READ_BYTES: u64 = 480 * 1024;

/// What is booked ahead at most, on a line so fast that the bookings themselves would slow it down.
const MAX_STEP_BYTES: u64 = 32 * 1024 * 1024;

/// How long another process may hold the lock; it holds it for one small write.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// A budget, shared by all connections of a client.
#[derive(Debug)]
pub struct Purse {
    path: PathBuf,
    limit_bytes: u64,
    /// What this process may still spend without asking the file, plus what it has spent.
    granted_bytes: AtomicU64,
    spent_bytes: AtomicU64,
    /// What the file has left, as last seen.
    unbooked_bytes: AtomicU64,
    step: Mutex<Step>,
}

#[derive(Debug)]
struct Step {
    bytes: u64,
    taken: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Book {
    format: u32,
    limit_bytes: u64,
    booked_bytes: u64,
    begun_at: u64,
}

impl Purse {
    /// Continues the budget that the file speaks of; begins one where there is none. Another limit than the
    /// file's takes its place: what was spent stays spent.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is damaged.
    pub fn open(path: &Path, limit_bytes: u64) -> Result<Self> {
        let _lock = lock(path)?;
        let book = match read(path)? {
            Some(book) if book.limit_bytes == limit_bytes => book,
            Some(book) => written(path, Book { limit_bytes, ..book })?,
            None => written(path, new_book(limit_bytes))?,
        };
        Ok(Self::of(path, &book))
    }

    /// Begins another budget, whatever the file says.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, limit_bytes: u64) -> Result<Self> {
        let _lock = lock(path)?;
        Ok(Self::of(path, &written(path, new_book(limit_bytes))?))
    }

    /// What a budget file has left of a limit, without touching it; the limit itself where there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn look(path: &Path, limit_bytes: u64) -> Result<u64> {
        let booked_bytes = read(path)?.map_or(0, |book| book.booked_bytes);
        Ok(limit_bytes.saturating_sub(booked_bytes))
    }

    /// The whole budget.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What may still be spent.
    pub fn left_bytes(&self) -> u64 {
        let unbooked_bytes = self.unbooked_bytes.load(Ordering::SeqCst);
        let granted_bytes = self.granted_bytes.load(Ordering::SeqCst).saturating_add(unbooked_bytes);
        granted_bytes.saturating_sub(self.spent_bytes.load(Ordering::SeqCst))
    }

    /// True when one more read might bring more than is booked, and there is more to book: nothing more may come before
    /// `book_ahead`.
    pub(super) fn is_short(&self) -> bool {
        let needed_bytes = self.spent_bytes.load(Ordering::SeqCst).saturating_add(READ_BYTES);
        needed_bytes > self.granted_bytes.load(Ordering::SeqCst)
            && self.unbooked_bytes.load(Ordering::SeqCst) > 0
    }

    /// Pays for bytes that have come, from what is booked already; opens no file. False when the budget is spent.
    pub(super) fn spend(&self, count: u64) -> bool {
        self.spent_bytes.fetch_add(count, Ordering::SeqCst);
        self.left_bytes() > 0
    }

    /// What was paid for did not come about.
    pub(super) fn take_back(&self, count: u64) {
        self.spent_bytes.fetch_sub(count, Ordering::SeqCst);
    }

    /// Books ahead when less than half a step is in hand.
    ///
    /// # Errors
    /// When the file cannot be written: then nothing may be spent.
    pub(super) fn book_ahead(&self) -> Result<()> {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let spent_bytes = self.spent_bytes.load(Ordering::SeqCst);
        let granted_bytes = self.granted_bytes.load(Ordering::SeqCst);
        let has_enough = granted_bytes >= spent_bytes.saturating_add(step.bytes / 2);
        if has_enough || self.unbooked_bytes.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        // Two bookings in a second mean a fast line: fewer and larger ones.
        let is_fast = step.taken.elapsed() < Duration::from_secs(1) && granted_bytes > 0;
        // Of a small budget a kill must not cost much, however fast the line.
        let most = (self.limit_bytes / 64).clamp(FIRST_STEP_BYTES, MAX_STEP_BYTES);
        step.bytes = if is_fast { (step.bytes * 2).min(most) } else { FIRST_STEP_BYTES };
        step.taken = Instant::now();
        let overdrawn_bytes = spent_bytes.saturating_sub(granted_bytes);
        self.book(step.bytes.saturating_add(overdrawn_bytes))
    }

    /// Gives back what was booked and not spent.
    ///
    /// # Errors
    /// When the file cannot be written; the budget is then short by that much.
    pub fn settle(&self) -> Result<()> {
        let _step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let spent_bytes = self.spent_bytes.load(Ordering::SeqCst);
        let granted_bytes = self.granted_bytes.load(Ordering::SeqCst);
        if granted_bytes == spent_bytes {
            return Ok(());
        }
        let _lock = lock(&self.path)?;
        let Some(book) = read(&self.path)? else { return Ok(()) };
        let booked_bytes = book.booked_bytes.saturating_sub(granted_bytes).saturating_add(spent_bytes);
        let book = written(&self.path, Book { booked_bytes, ..book })?;
        self.granted_bytes.store(spent_bytes, Ordering::SeqCst);
        self.unbooked_bytes.store(left_of(&book), Ordering::SeqCst);
        Ok(())
    }

    fn of(path: &Path, book: &Book) -> Self {
        let step = Step { bytes: FIRST_STEP_BYTES, taken: Instant::now() };
        Self {
            path: path.to_owned(),
            limit_bytes: book.limit_bytes,
            granted_bytes: AtomicU64::new(0),
            spent_bytes: AtomicU64::new(0),
            unbooked_bytes: AtomicU64::new(left_of(book)),
            step: Mutex::new(step),
        }
    }

    /// Books up to `want` bytes more, as many as the file has left.
    fn book(&self, want: u64) -> Result<()> {
        let _lock = lock(&self.path)?;
        let book = read(&self.path)?.unwrap_or_else(|| new_book(self.limit_bytes));
        let count = want.min(left_of(&book));
        let booked_bytes = book.booked_bytes + count;
        let book = written(&self.path, Book { booked_bytes, ..book })?;
        self.granted_bytes.fetch_add(count, Ordering::SeqCst);
        self.unbooked_bytes.store(left_of(&book), Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        // What cannot be given back is lost to the budget, not to the purse of its owner.
        let _ = self.settle();
    }
}

fn left_of(book: &Book) -> u64 {
    book.limit_bytes.saturating_sub(book.booked_bytes)
}

fn new_book(limit_bytes: u64) -> Book {
    let begun_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since_1970| since_1970.as_secs());
    Book { format: FORMAT, limit_bytes, booked_bytes: 0, begun_at }
}

fn read(path: &Path) -> Result<Option<Book>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DiskError::Io { path: path.to_owned(), source }.into()),
    };
    let damaged = |reason: String| TransferError::DamagedBudget { path: path.to_owned(), reason };
    let book: Book = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if book.format == FORMAT {
        return Ok(Some(book));
    }
    Err(damaged(format!("it has format {}; this localml knows format {FORMAT}", book.format)))
}

fn written(path: &Path, book: Book) -> Result<Book> {
    let bytes = serde_json::to_vec(&book)
        .map_err(|error| TransferError::DamagedBudget { path: path.to_owned(), reason: error.to_string() })?;
    write_atomic(path, &bytes)?;
    Ok(book)
}

/// Keeps other processes from booking at the same moment.
fn lock(path: &Path) -> Result<Lock> {
    let until = Instant::now() + LOCK_PATIENCE;
    let path = path.with_extension("lock");
    loop {
        match Lock::acquire(&path) {
            Err(DiskError::Locked { .. }) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return Ok(outcome?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn booked(path: &Path) -> u64 {
        read(path).expect("readable").expect("there").booked_bytes
    }

    #[test]
    fn what_is_spent_is_booked_before_it_is_spent() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("budget.json");
        let purse = Purse::open(&path, 10 * MIB).expect("new");
        for _ in 0..40 {
            purse.book_ahead().expect("room");
            assert!(purse.spend(100_000));
            assert!(booked(&path) >= purse.spent_bytes.load(Ordering::SeqCst));
        }
        assert_eq!(purse.left_bytes(), 10 * MIB - 4_000_000);
        // Killed: nothing is given back, and nothing is forgotten.
        std::mem::forget(purse);
        let again = Purse::open(&path, 10 * MIB).expect("there");
        assert!(again.left_bytes() <= 10 * MIB - 4_000_000, "{} left", again.left_bytes());
    }

    #[test]
    fn an_orderly_end_gives_back_what_was_not_spent() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("budget.json");
        let purse = Purse::open(&path, 10 * MIB).expect("new");
        purse.book_ahead().expect("room");
        assert!(purse.spend(1000));
        drop(purse);
        assert_eq!(booked(&path), 1000);
        assert_eq!(Purse::open(&path, 10 * MIB).expect("there").left_bytes(), 10 * MIB - 1000);
        // Another limit counts what was spent; another budget does not.
        assert_eq!(Purse::open(&path, 2000).expect("there").left_bytes(), 1000);
        assert_eq!(Purse::create(&path, 2000).expect("new").left_bytes(), 2000);
    }

    #[test]
    fn two_processes_share_one_budget() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("budget.json");
        let first = Purse::open(&path, 3 * MIB).expect("new");
        let second = Purse::open(&path, 3 * MIB).expect("there");
        let mut spent_bytes = 0;
        for purse in [&first, &second].into_iter().cycle().take(100) {
            purse.book_ahead().expect("room");
            if purse.left_bytes() >= 100_000 {
                purse.spend(100_000);
                spent_bytes += 100_000;
            }
        }
        assert!(spent_bytes <= 3 * MIB && spent_bytes > 2 * MIB, "{spent_bytes} bytes");
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_full_purse() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("budget.json");
        for text in ["", "{}", "{\"format\":2,\"limit_bytes\":1,\"booked_bytes\":0,\"begun_at\":0}"] {
            std::fs::write(&path, text).expect("room");
            assert!(matches!(Purse::open(&path, 5), Err(TransferError::DamagedBudget { .. })), "{text}");
        }
        Purse::create(&path, 5).expect("another one");
    }
}
