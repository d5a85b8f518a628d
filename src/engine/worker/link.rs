//! The child's end of the pipes. A thread reads, so that a wish to stop is heard while llama.cpp computes.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::engine::message::{Reply, Request, read_frame, write_frame};

/// Requests in, replies out.
pub(super) struct Link<W> {
    requests: Receiver<Request>,
    stop: Arc<AtomicBool>,
    output: W,
}

impl<W: Write> Link<W> {
    pub(super) fn open(input: impl Read + Send + 'static, output: W) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, requests) = mpsc::channel();
        let heard = Arc::clone(&stop);
        thread::spawn(move || listen(input, &sender, &heard));
        Self { requests, stop, output }
    }

    /// The next request; `None` when the parent is gone.
    pub(super) fn next(&self) -> Option<Request> {
        self.requests.recv().ok()
    }

    /// Forgets an earlier wish to stop; a new request begins.
    pub(super) fn begin(&self) {
        self.stop.store(false, Ordering::Relaxed);
    }

    /// True once the parent wants this request to end.
    pub(super) fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.send_with(reply, &[])
    }

    pub(super) fn send_with(&mut self, reply: &Reply, blob: &[u8]) -> io::Result<()> {
        write_frame(&mut self.output, reply, blob)
    }
}

fn listen(mut input: impl Read, sender: &Sender<Request>, stop: &AtomicBool) {
    while let Ok(Some((request, _))) = read_frame::<Request>(&mut input) {
        match request {
            Request::Stop => stop.store(true, Ordering::Relaxed),
            request => {
                if sender.send(request).is_err() {
                    return;
                }
            }
        }
    }
    // The parent is gone, and llama.cpp may be in the midst of a long computation that nobody waits for.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
