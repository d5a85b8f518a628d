//! A cafe for the transfer room: a served folder, a staging folder, and a client in a hurry.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use localml::digest::Sha256;
use localml::package::{Piece, PieceList};
use localml::progress::{Monitor, Silent, Task, Unit};
use localml::transfer::{Client, Fetched, Options, TransferError, Wanted};

use super::http_server::HttpServer;
use super::sandbox::Sandbox;

pub(crate) const MIB: usize = 1024 * 1024;

/// A served folder, a staging folder, and a client in a hurry.
pub(crate) struct Cafe {
    pub(crate) sandbox: Sandbox,
    pub(crate) server: HttpServer,
    pub(crate) client: Client,
}

impl Cafe {
    pub(crate) fn new() -> Self {
        Self::with(hurried())
    }

    pub(crate) fn with(options: Options) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("served/empty", b"");
        let server = HttpServer::serve(&sandbox.path("served"));
        Self { sandbox, server, client: Client::new(options) }
    }

    /// Puts a file of reproducible noise on the server; says what to want of it.
    pub(crate) fn serve(&self, name: &str, size_bytes: usize) -> Wanted {
        self.wanted(name, &noise(size_bytes, 1))
    }

    /// As `serve`, with the file's piece list.
    pub(crate) fn serve_in_pieces(&self, name: &str, size_bytes: usize) -> Wanted {
        let bytes = noise(size_bytes, 1);
        Wanted { pieces: Some(pieces_of(&bytes)), ..self.wanted(name, &bytes) }
    }

    /// A second server with a folder of its own, `second`.
    pub(crate) fn second_server(&self) -> HttpServer {
        self.sandbox.write("second/empty", b"");
        HttpServer::serve(&self.sandbox.path("second"))
    }

    pub(crate) fn wanted(&self, name: &str, bytes: &[u8]) -> Wanted {
        self.sandbox.write(format!("served/{name}"), bytes);
        Wanted {
            name: name.into(),
            digest: Sha256::of(bytes),
            size_bytes: bytes.len() as u64,
            sources: vec![self.url(name)],
            pieces: None,
            reuse: Vec::new(),
        }
    }

    pub(crate) fn url(&self, name: &str) -> url::Url {
        format!("{}/{name}", self.server.url()).parse().unwrap()
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.sandbox.path("staging")
    }

    pub(crate) fn fetch(&self, wanted: &Wanted) -> Result<Fetched, TransferError> {
        self.client.fetch(wanted, &self.staging(), &Silent)
    }

    /// Fetches, and checks the bytes against the digest with other code than the room's.
    pub(crate) fn fetch_well(&self, wanted: &Wanted) -> Fetched {
        let fetched = self.fetch(wanted).unwrap_or_else(|error| panic!("{}", story(&error)));
        assert_eq!(fetched.staged.digest, wanted.digest);
        assert_eq!(Sha256::of(&std::fs::read(&fetched.staged.path).unwrap()), wanted.digest);
        fetched
    }

    pub(crate) fn part(&self, wanted: &Wanted) -> PathBuf {
        self.staging().join(format!("{}.part", wanted.digest))
    }

    pub(crate) fn journal(&self, wanted: &Wanted) -> PathBuf {
        self.staging().join(format!("{}.journal", wanted.digest))
    }
}

pub(crate) fn hurried() -> Options {
    Options {
        first_delay: Duration::from_millis(1),
        max_retries: 2,
        outage_patience: Duration::ZERO,
        silence_timeout: Duration::from_millis(300),
        // The same on every machine, however fast its loopback is.
        hasty_bytes_per_second: u64::MAX,
        ..Options::default()
    }
}

/// Xorshift: the same bytes each time, and no two places alike.
pub(crate) fn noise(size_bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size_bytes + 8);
    while bytes.len() < size_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size_bytes);
    bytes
}

pub(crate) fn pieces_of(bytes: &[u8]) -> PieceList {
    let pieces = PieceList::grid(bytes.len() as u64, &[]).into_iter().map(|(offset, length)| Piece {
        offset,
        length,
        sha256: Sha256::of(&bytes[offset as usize..(offset + length) as usize]),
    });
    PieceList::new(pieces.collect()).unwrap()
}

/// An error with its causes.
pub(crate) fn story(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", story(cause)),
        None => error.to_string(),
    }
}

/// The cause inside `Fetch`.
pub(crate) fn cause(error: TransferError) -> TransferError {
    match error {
        TransferError::Fetch { cause, .. } => *cause,
        other => panic!("not a failed fetch: {other}"),
    }
}

/// Asks to stop once so many bytes are done.
#[derive(Default)]
pub(crate) struct Impatient {
    pub(crate) stop_after_bytes: u64,
    pub(crate) done_bytes: AtomicU64,
    pub(crate) warnings: Mutex<Vec<String>>,
}

impl Monitor for Impatient {
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_> {
        match label {
            // What was fetched before is not done by this fetch.
            "reading what is here" => Silent.start(label, total, unit),
            _ => Box::new(Counting(self)),
        }
    }

    fn note(&self, _text: &str) {}

    fn warn(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.into());
    }

    fn is_cancelled(&self) -> bool {
        self.done_bytes.load(Ordering::SeqCst) >= self.stop_after_bytes
    }
}

struct Counting<'a>(&'a Impatient);

impl Task for Counting<'_> {
    fn advance(&self, count: u64) {
        self.0.done_bytes.fetch_add(count, Ordering::SeqCst);
    }
}
