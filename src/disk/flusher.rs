//! Bringing data to the medium beside the writing, so that the last sync has little left to do.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

use super::error::{On as _, Result};
use super::staged::StagingFile;

/// Syncs one file again and again on a thread of its own.
#[derive(Debug)]
pub struct Flusher {
    sender: SyncSender<()>,
    worker: JoinHandle<io::Result<()>>,
    path: PathBuf,
}

impl Flusher {
    /// Begins with a first sync of what is written so far.
    ///
    /// # Errors
    /// When the file cannot be opened a second time.
    pub fn start(file: &StagingFile) -> Result<Self> {
        let second: File = file.file().try_clone().on(file.path())?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let worker = thread::spawn(move || {
            for () in receiver {
                second.sync_data()?;
            }
            Ok(())
        });
        let flusher = Self { sender, worker, path: file.path().to_owned() };
        flusher.flush();
        Ok(flusher)
    }

    /// Asks for a sync of what is written by now. Waits while two others are still to be done, so that
    /// no more than three rounds of data can be lost.
    pub fn flush(&self) {
        // A worker that failed has gone; `finish` tells why.
        let _ = self.sender.send(());
    }

    /// Waits for the last sync.
    ///
    /// # Errors
    /// When the medium reported a failure.
    pub fn finish(self) -> Result<()> {
        drop(self.sender);
        let path: &Path = &self.path;
        match self.worker.join() {
            Ok(done) => done.on(path),
            Err(_) => Err(io::Error::other("the syncing thread died")).on(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_while_the_writing_goes_on() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let file = StagingFile::open(&folder.path().join("x")).expect("new");
        let flusher = Flusher::start(&file).expect("a second handle");
        for round in 0..5 {
            file.write_at(&[7; 1000], round * 1000).expect("room");
            flusher.flush();
        }
        flusher.finish().expect("a medium that works");
        assert_eq!(file.size_bytes().expect("there"), 5000);
    }
}
