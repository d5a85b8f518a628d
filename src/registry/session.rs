//! One TUF update through `tough`, kept from what would hurt an offline site.
//!
//! * Its datastore is a scratch folder: `tough` writes in place and without sync, so nothing that it
//!   writes is ever kept. What is kept are the bytes that came, once `tough` has accepted them.
//! * Its `latest_known_time.json` never outlives the scratch folder: a clock that went backwards
//!   cannot lock a site out. Expiry is `Unsafe` here; `age` judges it.
//! * It takes any failure to fetch the next root for "there is none"; here only an absent file is.
//! * It asks for every file each time. What is known here already, or lies there in a packed form, is handed to it
//!   when the file above names that very digest: it compares the digest again.
//! * It is asynchronous. It runs on a thread of its own and asks the caller's thread for bytes
//!   through a channel, so that a fetcher may use whatever runtime it likes.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use futures::stream;
use tough::schema::{Signed, Snapshot, Timestamp};
use tough::{
    ExpirationEnforcement, Limits, RepositoryLoader, Transport, TransportError, TransportErrorKind,
    TransportStream,
};
use url::Url;

use crate::digest::Sha256;
use crate::disk::DiskError;

use super::fetch::{Fetch, FetchError};
use super::index::Files;
use super::packed::{PACKED_FROM_BYTES, packed_name, unpack};
use super::signed::parse;
use super::tree::{MAX_METADATA_BYTES, MAX_TARGETS_BYTES, SNAPSHOT, TARGETS, TIMESTAMP};

/// The most roots that one update follows.
const MAX_ROOT_UPDATES: u64 = 1024;

/// Why an update was not accepted, and at which file.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) file: String,
    pub(crate) cause: Cause,
}

/// What stopped an update.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The fetcher failed.
    Fetch(FetchError),
    /// The file is not there.
    Absent,
    /// Validly signed, but older than the floor.
    Older(String),
    /// Not to be trusted; the text continues a sentence that begins with the file's name.
    Untrusted(String),
    /// The scratch folder could not be written: says nothing about what came.
    Disk(DiskError),
}

/// Updates from `trusted_root`, with the floors that lie in `scratch` and the files that are known here; returns the
/// metadata as it was accepted, and how many bytes of it were fetched.
pub(crate) fn update(
    trusted_root: &[u8],
    scratch: &Path,
    known: &Files,
    fetch: &dyn Fetch,
) -> std::result::Result<(Files, u64), Refusal> {
    thread::scope(|scope| {
        let (asks, questions) = mpsc::channel();
        let worker = scope.spawn(move || run(trusted_root, scratch, Asking { asks }));
        let mut answers = Answers::default();
        for question in questions {
            answers.answer(question, known, fetch);
        }
        match worker.join() {
            Ok(Ok(())) => Ok((answers.files, answers.fetched_bytes)),
            Ok(Err(error)) => Err(answers.refusal(&error)),
            Err(_) => Err(answers.untrusted("made the verification stop")),
        }
    })
}

fn run(trusted_root: &[u8], scratch: &Path, transport: Asking) -> Result<(), Box<tough::error::Error>> {
    // Only a name: the transport takes the last part of each address.
    let base = Url::parse("https://registry.invalid/").expect("a constant address");
    let loader = RepositoryLoader::new(&trusted_root, base.clone(), base)
        .transport(transport)
        .datastore(scratch)
        .expiration_enforcement(ExpirationEnforcement::Unsafe)
        .limits(Limits {
            max_root_size: MAX_METADATA_BYTES,
            max_targets_size: MAX_TARGETS_BYTES,
            max_timestamp_size: MAX_METADATA_BYTES,
            max_snapshot_size: MAX_METADATA_BYTES,
            max_root_updates: MAX_ROOT_UPDATES,
        });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing");
    // The repository holds the channel's other end; dropping it ends the questions.
    runtime.block_on(loader.load()).map(drop).map_err(Box::new)
}

struct Question {
    path: String,
    reply: mpsc::Sender<Answer>,
}

enum Answer {
    Here(Vec<u8>),
    Absent,
    Failed,
}

/// What was answered so far; the last file asked for is the one that a refusal is about.
#[derive(Default)]
struct Answers {
    files: Files,
    last: String,
    failure: Option<FetchError>,
    is_absent: bool,
    fetched_bytes: u64,
}

impl Answers {
    fn answer(&mut self, question: Question, known: &Files, fetch: &dyn Fetch) {
        let Question { path, reply } = question;
        let max_bytes = if path == TARGETS { MAX_TARGETS_BYTES } else { MAX_METADATA_BYTES };
        self.last.clone_from(&path);
        self.is_absent = false;
        if let Some(bytes) = self.without_fetching_all(&path, known, fetch) {
            self.files.insert(path, bytes.clone());
            let _ = reply.send(Answer::Here(bytes));
            return;
        }
        let answer = match fetch.get(&path, max_bytes) {
            Ok(Some(bytes)) => {
                self.fetched_bytes += bytes.len() as u64;
                self.files.insert(path, bytes.clone());
                Answer::Here(bytes)
            }
            Ok(None) => {
                self.is_absent = true;
                Answer::Absent
            }
            Err(error) => {
                self.failure = Some(error);
                Answer::Failed
            }
        };
        // A worker that no longer listens has already failed, and says why itself.
        let _ = reply.send(answer);
    }

    /// A file whose digest the file above it names: from what is known here, else from its packed form.
    fn without_fetching_all(&mut self, path: &str, known: &Files, fetch: &dyn Fetch) -> Option<Vec<u8>> {
        let (length, digest) = self.pin_of(path)?;
        if let Some(bytes) = known.get(path).filter(|bytes| Sha256::of(bytes) == digest) {
            return Some(bytes.clone());
        }
        if !(PACKED_FROM_BYTES..=MAX_TARGETS_BYTES).contains(&length) {
            return None;
        }
        let packed = fetch.get(&packed_name(path), length).ok().flatten()?;
        self.fetched_bytes += packed.len() as u64;
        unpack(&packed, length).filter(|bytes| Sha256::of(bytes) == digest)
    }

    /// Length and digest of a file, as the one above it says.
    fn pin_of(&self, path: &str) -> Option<(u64, Sha256)> {
        let meta = match path {
            SNAPSHOT => parse::<Signed<Timestamp>>(TIMESTAMP, self.files.get(TIMESTAMP)?).ok()?.signed.meta,
            TARGETS => parse::<Signed<Snapshot>>(SNAPSHOT, self.files.get(SNAPSHOT)?).ok()?.signed.meta,
            _ => return None,
        };
        let pin = meta.get(path)?;
        let digest: [u8; 32] = pin.hashes.as_ref()?.sha256.as_ref().try_into().ok()?;
        Some((pin.length?, Sha256::from_bytes(digest)))
    }

    fn refusal(self, error: &tough::error::Error) -> Refusal {
        let Self { last: file, failure, is_absent, .. } = self;
        let cause = match failure {
            Some(failure) => Cause::Fetch(failure),
            None if is_absent => Cause::Absent,
            None => cause_of(error),
        };
        Refusal { file, cause }
    }

    fn untrusted(self, reason: &str) -> Refusal {
        Refusal { file: self.last, cause: Cause::Untrusted(reason.to_owned()) }
    }
}

fn cause_of(error: &tough::error::Error) -> Cause {
    use tough::error::Error;
    match error {
        Error::OlderMetadata { current_version, new_version, .. } => {
            Cause::Older(format!("version {new_version}, after version {current_version}"))
        }
        Error::OlderSnapshotInTimestamp { snapshot_new, snapshot_old, .. } => {
            Cause::Older(format!("it names snapshot {snapshot_new}, after snapshot {snapshot_old}"))
        }
        Error::SnapshotRoleRollback { old_role_version, new_role_version, .. } => {
            Cause::Older(format!("it names targets {new_role_version}, after targets {old_role_version}"))
        }
        Error::ParseMetadata { source, .. } => Cause::Untrusted(format!("is not readable: {source}")),
        Error::VerifyMetadata { .. } | Error::VerifyTrustedMetadata { .. } => {
            Cause::Untrusted("is not signed by the keys that the root names".into())
        }
        Error::VersionMismatch { fetched, expected, .. } => Cause::Untrusted(format!(
            "has version {fetched}, but version {expected} was signed with the others"
        )),
        // The only transport failures left are those of tough's own adapters: length and digest.
        Error::Transport { .. } => {
            Cause::Untrusted("is not the one that the others were signed with: its digest differs".into())
        }
        Error::DatastoreCreate { path, source, .. }
        | Error::DatastoreOpen { path, source, .. }
        | Error::DatastoreRemove { path, source, .. } => Cause::Disk(disk_error(path, source)),
        other => Cause::Untrusted(format!("is not accepted: {other}")),
    }
}

/// A system error that `tough` only lends.
fn disk_error(path: &Path, source: &io::Error) -> DiskError {
    let source = match source.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(source.kind(), source.to_string()),
    };
    DiskError::Io { path: path.to_owned(), source }
}

/// Asks the caller's thread for each file.
#[derive(Debug, Clone)]
struct Asking {
    asks: mpsc::Sender<Question>,
}

#[async_trait::async_trait]
impl Transport for Asking {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let (reply, answer) = mpsc::channel();
        let path = url.path().trim_start_matches('/').to_owned();
        let asked = self.asks.send(Question { path, reply });
        match asked.ok().and_then(|()| answer.recv().ok()) {
            Some(Answer::Here(bytes)) => Ok(once(Ok(Bytes::from(bytes)))),
            Some(Answer::Absent) => Err(TransportError::new(TransportErrorKind::FileNotFound, url)),
            // As the stream's first item, not as a failure to open it: a root that cannot be read is
            // not a root that does not exist.
            Some(Answer::Failed) | None => Ok(once(Err(TransportError::new(TransportErrorKind::Other, url)))),
        }
    }
}

fn once(item: Result<Bytes, TransportError>) -> TransportStream {
    Box::pin(stream::once(std::future::ready(item)))
}
