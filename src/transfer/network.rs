//! The only sockets: one thread with a runtime, and clients that are built when first needed.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{Semaphore, oneshot};

use super::clients::Clients;
use super::error::{Result, TransferError};
use super::exchange::Exchange;
use super::judge::Failure;
use super::options::Options;
use super::rate::Bucket;
use super::reply::{Ask, HttpBody};
use super::toll::Toll;

/// How many received bytes of all connections may wait for the caller; a kill loses them.
pub(super) const BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// The network thread and its clients.
pub(super) struct Network {
    options: Options,
    handle: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    clients: Arc<Clients>,
    bucket: Option<Arc<Bucket>>,
    toll: Arc<Toll>,
    /// Room for what was received and is not written yet.
    buffer: Arc<Semaphore>,
}

impl Network {
    /// Starts the thread; opens nothing.
    pub(super) fn start(options: &Options, toll: &Arc<Toll>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| unusable(&error))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("network".into())
            .spawn(move || {
                // Either way of ending means that the client is gone.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .map_err(|error| unusable(&error))?;
        let bucket = options.limit_bytes_per_second.map(|limit| Arc::new(Bucket::new(limit, Instant::now())));
        Ok(Self {
            options: options.clone(),
            handle,
            stop: Some(stop),
            thread: Some(thread),
            clients: Arc::new(Clients::new(options.connect_timeout)),
            bucket,
            toll: Arc::clone(toll),
            buffer: Arc::new(Semaphore::new(BUFFER_BYTES)),
        })
    }

    /// True when the user has set a rate.
    pub(super) fn has_limit(&self) -> bool {
        self.bucket.is_some()
    }

    /// True while nothing is asked of the line because the rate that the user has set is used up.
    pub(super) fn is_held_back(&self) -> bool {
        self.bucket.as_ref().is_some_and(|bucket| bucket.is_ahead(Instant::now()))
    }

    /// What counts, and pays.
    pub(super) fn toll(&self) -> &Toll {
        &self.toll
    }

    /// Sends a request; the answer comes through the returned body.
    pub(super) fn ask(&self, ask: &Ask) -> Result<HttpBody> {
        let (sender, events) = std::sync::mpsc::channel();
        self.toll.book_ahead()?;
        if self.toll.left_bytes() == Some(0) {
            return Err(out_of_budget(&self.toll));
        }
        let exchange = Exchange {
            clients: Arc::clone(&self.clients),
            ask: ask.clone(),
            silence: self.options.silence_timeout,
            bucket: self.bucket.clone(),
            toll: Arc::clone(&self.toll),
            buffer: Arc::clone(&self.buffer),
            is_neighbour: self.options.is_peer(&ask.url),
            sender,
        };
        let task = self.handle.spawn(exchange.run());
        Ok(HttpBody::new(events, task.abort_handle()))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sees to it that what comes next is paid for in advance; without a network nothing is.
pub(super) fn pay_ahead(network: Option<&Network>) -> std::result::Result<(), Failure> {
    network.map_or(Ok(()), |network| network.toll().book_ahead()).map_err(Failure::stop)
}

pub(super) fn unusable(error: &dyn std::error::Error) -> TransferError {
    TransferError::Connection { address: "the network".into(), reason: chain(error) }
}

/// The budget is spent; `fetch` fills in what is kept.
pub(super) fn out_of_budget(toll: &Toll) -> TransferError {
    TransferError::OutOfBudget {
        name: String::new(),
        limit_bytes: toll.limit_bytes().unwrap_or_default(),
        kept_bytes: 0,
        size_bytes: 0,
    }
}

/// The innermost cause says most; the outer ones are the library's own words.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
