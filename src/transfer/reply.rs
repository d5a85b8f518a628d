//! What a source answers: a head, then chunks of the body as they come.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;

use super::error::TransferError;
use super::judge::Failure;
use super::local::LocalBody;
use crate::digest::Sha256;

/// How often a waiting caller looks whether the user wants to stop.
const TICK: Duration = Duration::from_millis(100);

/// What to ask for.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Where.
    pub(super) url: url::Url,
    /// The first byte wanted.
    pub(super) start: u64,
    /// Where to stop; `None` means at the end of the file.
    pub(super) end: Option<u64>,
    /// What the file was like when the bytes before `start` came from this source.
    pub(super) validator: Option<Validator>,
    /// Which file it should be, where that is known.
    pub(super) expected: Option<Expected>,
}

/// The file that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// What to call it in errors.
    pub(super) name: String,
    /// What it must hash to.
    pub(super) digest: Sha256,
}

impl Ask {
    /// The whole file, from its first byte.
    pub(super) fn whole(url: url::Url) -> Self {
        Self { url, start: 0, end: None, validator: None, expected: None }
    }

    /// True when the whole file is meant, so that no range need be asked for.
    pub(super) fn is_whole(&self) -> bool {
        self.start == 0 && self.end.is_none()
    }
}

/// What tells one version of a file at a source from another. Kept in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Validator {
    /// A strong `ETag`, with its quotes.
    Etag(String),
    /// The text of `Last-Modified`.
    Modified(String),
}

impl Validator {
    /// The text for `If-Range`.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Etag(text) | Self::Modified(text) => text,
        }
    }
}

/// The part of an answer that comes before its body.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// The HTTP status; a `file:` source says 200 or 206.
    pub(super) status: u16,
    /// How many bytes the body has.
    pub(super) length: Option<u64>,
    /// First byte, byte after the last, and size of the whole file, from `Content-Range`.
    pub(super) range: Option<(u64, u64, Option<u64>)>,
    /// Lower case, without parameters.
    pub(super) content_type: Option<String>,
    /// Anything but `identity`.
    pub(super) encoding: Option<String>,
    /// A strong ETag, else the date.
    pub(super) validator: Option<Validator>,
    /// The sha256 that the server, or the hub that sent us there, gives for the whole file.
    pub(super) announced: Option<Sha256>,
    /// How long the server asks to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// A head and the body that follows it.
pub(super) struct Reply {
    pub(super) head: Head,
    pub(super) body: Body,
}

/// The body, chunk by chunk.
pub(super) enum Body {
    Http(HttpBody),
    Local(LocalBody),
}

/// What happened next.
pub(super) enum Next {
    /// More bytes, at least one.
    Chunk(Chunk),
    /// Nothing yet; a moment to look around.
    Waiting,
    /// The body is whole, as far as HTTP can tell.
    End,
    /// The connection failed.
    Failed(Failure),
}

/// Bytes of a body; dropping it and all its slices makes room for more.
#[derive(Clone)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    room: Option<Arc<OwnedSemaphorePermit>>,
}

impl Chunk {
    pub(super) fn new(bytes: Bytes, room: Option<OwnedSemaphorePermit>) -> Self {
        Self { bytes, room: room.map(Arc::new) }
    }

    /// A part of it, which holds the room of the whole.
    pub(super) fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self { bytes: self.bytes.slice(range), room: self.room.clone() }
    }
}

impl Body {
    /// Waits a moment for the next chunk.
    pub(super) fn next(&mut self) -> Next {
        match self {
            Self::Http(body) => body.next(),
            Self::Local(body) => body.next(),
        }
    }
}

/// What the network thread sends to the caller.
pub(super) enum Event {
    Head(Head),
    Chunk(Chunk),
    End,
    Failed(Failure),
}

/// The caller's end of one request; dropping it ends the request.
pub(super) struct HttpBody {
    events: Receiver<Event>,
    task: AbortHandle,
}

impl HttpBody {
    pub(super) fn new(events: Receiver<Event>, task: AbortHandle) -> Self {
        Self { events, task }
    }

    /// Waits a moment for the head; `None` when it has not come yet.
    pub(super) fn head(&mut self) -> Option<Result<Head, Failure>> {
        match self.events.recv_timeout(TICK) {
            Ok(Event::Head(head)) => Some(Ok(head)),
            Ok(Event::Failed(error)) => Some(Err(error)),
            Ok(Event::Chunk(_) | Event::End) | Err(RecvTimeoutError::Disconnected) => Some(Err(gone())),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }

    fn next(&mut self) -> Next {
        match self.events.recv_timeout(TICK) {
            Ok(Event::Chunk(chunk)) => Next::Chunk(chunk),
            Ok(Event::End) => Next::End,
            Ok(Event::Failed(error)) => Next::Failed(error),
            Err(RecvTimeoutError::Timeout) => Next::Waiting,
            Ok(Event::Head(_)) | Err(RecvTimeoutError::Disconnected) => Next::Failed(gone()),
        }
    }
}

impl Drop for HttpBody {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn gone() -> Failure {
    let reason = "the request ended unanswered".into();
    Failure::retry(TransferError::Connection { address: "the network".into(), reason })
}
