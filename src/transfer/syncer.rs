//! Brings part file and journal to the medium now and then, without holding up the download.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{DiskError, StagingFile};

/// A power cut loses at most what came in this time (and one piece).
const MAX_AGE: Duration = Duration::from_secs(2);

/// On a fast line: at most this many bytes.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A thread that syncs when asked, and remembers a failure until the next question.
#[derive(Debug)]
pub(super) struct Syncer {
    /// `None` when the thread could not be started; then nothing is synced in the background.
    asks: Option<SyncSender<()>>,
    failure: Arc<Mutex<Option<DiskError>>>,
    last: Instant,
    bytes_since: u64,
}

impl Syncer {
    /// Starts the thread; it ends when this is dropped and the sync under way is done.
    ///
    /// `files` in the order in which they are synced: the bytes before the journal that speaks of them.
    pub(super) fn start(files: Vec<Arc<StagingFile>>) -> Self {
        let failure = Arc::new(Mutex::new(None));
        // Room for one ask: a sync that is asked for while another runs covers all later asks too.
        let (asks, asked) = sync_channel(1);
        let place = Arc::clone(&failure);
        let thread = std::thread::Builder::new().name("sync".into()).spawn(move || {
            while asked.recv().is_ok() {
                if let Err(error) = files.iter().try_for_each(|file| file.sync()) {
                    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        });
        Self { asks: thread.ok().map(|_| asks), failure, last: Instant::now(), bytes_since: 0 }
    }

    /// Tells of more written bytes, and asks for a sync when enough came together.
    ///
    /// # Errors
    /// When an earlier sync failed.
    pub(super) fn wrote(&mut self, count: u64) -> Result<(), DiskError> {
        if let Some(error) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        self.bytes_since += count;
        if self.bytes_since < MAX_BYTES && self.last.elapsed() < MAX_AGE {
            return Ok(());
        }
        if let Some(asks) = &self.asks {
            match asks.try_send(()) {
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
        self.last = Instant::now();
        self.bytes_since = 0;
        Ok(())
    }
}
