//! Brings part file and journal to the medium now and then, without holding up the download.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{DiskError, StagingFile};

/// The first failure of a thread that writes behind the caller's back: whoever asks from then on is told.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<DiskError>>>);

impl Trouble {
    /// Remembers a failure, unless there was an earlier one.
    pub(super) fn tell(&self, error: DiskError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Tells of the failure, each time: several connections ask, and the one that hears of it first may not be the one
    /// that speaks to the user.
    pub(super) fn ask(&self) -> Result<(), DiskError> {
        let trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map_or(Ok(()), |error| Err(error.again()))
    }
}

/// A thread that syncs when asked; it ends when this is dropped and the sync under way is done.
#[derive(Debug)]
pub(super) struct Syncer {
    /// `None` when the thread could not be started; then nothing is synced in the background.
    asks: Option<SyncSender<()>>,
}

impl Syncer {
    /// `files` in the order in which they are synced: the bytes before the journal that speaks of them.
    pub(super) fn start(files: Vec<Arc<StagingFile>>, trouble: &Trouble) -> Self {
        // Room for one ask: a sync that is asked for while another runs covers all later asks too.
        let (asks, asked) = sync_channel(1);
        let trouble = trouble.clone();
        let thread = std::thread::Builder::new().name("sync".into()).spawn(move || {
            while asked.recv().is_ok() {
                if let Err(error) = files.iter().try_for_each(|file| file.sync()) {
                    trouble.tell(error);
                }
            }
        });
        Self { asks: thread.ok().map(|_| asks) }
    }

    /// Asks for a sync, without waiting for it.
    pub(super) fn ask(&self) {
        if let Some(asks) = &self.asks {
            // A full channel means that a sync is coming anyway; a closed one, that the thread is no more.
            let _ = asks.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Explain as _};

    #[test]
    fn whoever_asks_is_told_of_the_first_trouble() {
        let trouble = Trouble::default();
        assert!(trouble.ask().is_ok());
        for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other] {
            trouble.tell(DiskError::Io { path: "a".into(), source: kind.into() });
        }
        for _ in 0..3 {
            let error = trouble.ask().expect_err("it was told");
            assert_eq!(error.kind(), ErrorKind::NoRoom, "{error}");
        }
    }
}
