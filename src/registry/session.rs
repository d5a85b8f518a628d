//! One TUF update through `tough`, kept from what would hurt an offline site.
//!
//! * Its datastore is a scratch folder: `tough` writes in place and without sync, so nothing that it
//!   writes is ever kept. What is kept are the bytes that came, once `tough` has accepted them.
//! * Its `latest_known_time.json` never outlives the scratch folder: a clock that went backwards
//!   cannot lock a site out. Expiry is `Unsafe` here; `age` judges it.
//! * It takes any failure to fetch the next root for "there is none"; here only an absent file is.
//! * It asks for every file each time. What is here already, or lies there in a packed form, is handed to it when the
//!   file above names that very digest: it compares the digest again.
//! * It is asynchronous. It runs on a thread of its own and asks the caller's thread for bytes
//!   through a channel, so that a fetcher may use whatever runtime it likes.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use futures::stream;
use tough::schema::{Role, Root, Signed, Snapshot, Timestamp};
use tough::{
    ExpirationEnforcement, Limits, RepositoryLoader, Transport, TransportError, TransportErrorKind,
    TransportStream,
};
use url::Url;

use crate::digest::Sha256;
use crate::disk::DiskError;

use super::bring::{Pin, Supply};
use super::fetch::{FetchError, WantedFile};
use super::index::Files;
use super::packed::PACKED_FROM_BYTES;
use super::signed::parse;
use super::tree::{MAX_METADATA_BYTES, MAX_TARGETS_BYTES, SNAPSHOT, TARGETS, TIMESTAMP, root_file};

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

/// Updates from `trusted_root`, with the floors that lie in `scratch`; `known` are the files that they were copied from.
/// Returns the metadata as it was accepted, and how many bytes of it were fetched.
pub(crate) fn update(
    trusted_root: &[u8],
    scratch: &Path,
    known: &Files,
    supply: &Supply<'_>,
) -> std::result::Result<(Files, u64), Refusal> {
    thread::scope(|scope| {
        let (asks, questions) = mpsc::channel();
        let worker = scope.spawn(move || run(trusted_root, scratch, Asking { asks }));
        let mut answers = Answers::default();
        for question in questions {
            answers.answer(question, known, supply);
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
    fn answer(&mut self, question: Question, known: &Files, supply: &Supply<'_>) {
        let Question { path, reply } = question;
        self.last.clone_from(&path);
        self.is_absent = false;
        let answer = match self.bring(&path, known, supply) {
            Ok(Some((bytes, fetched_bytes))) => {
                self.fetched_bytes += fetched_bytes;
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

    /// Brings a file, and says how many bytes were fetched.
    fn bring(
        &self,
        path: &str,
        known: &Files,
        supply: &Supply<'_>,
    ) -> Result<Option<(Vec<u8>, u64)>, FetchError> {
        if let Some(pin) = self.pin_of(path) {
            let is_packed = (PACKED_FROM_BYTES..=MAX_TARGETS_BYTES).contains(&pin.length);
            let max_bytes = if path == TARGETS { MAX_TARGETS_BYTES } else { MAX_METADATA_BYTES };
            return supply.bring(&pin, is_packed, max_bytes);
        }
        let floor = known.get(TIMESTAMP).and_then(|bytes| version_of::<Timestamp>(bytes)).unwrap_or_default();
        let brought = supply.fetch.bring(&WantedFile {
            path,
            max_bytes: if path == TARGETS { MAX_TARGETS_BYTES } else { MAX_METADATA_BYTES },
            length: None,
            is_right: &|bytes| match path {
                TIMESTAMP => version_of::<Timestamp>(bytes).is_some_and(|version| version >= floor),
                _ if path.ends_with(".root.json") => {
                    version_of::<Root>(bytes).is_some_and(|version| root_file(version) == path)
                }
                _ => true,
            },
            // Nobody knows beforehand whether there is another root.
            may_be_absent: path.ends_with(".root.json"),
        })?;
        Ok(brought.map(|bytes| {
            let fetched_bytes = bytes.len() as u64;
            (bytes, fetched_bytes)
        }))
    }

    /// Length and digest of a file, as the one above it says.
    fn pin_of(&self, path: &str) -> Option<Pin> {
        let meta = match path {
            SNAPSHOT => parse::<Signed<Timestamp>>(TIMESTAMP, self.files.get(TIMESTAMP)?).ok()?.signed.meta,
            TARGETS => parse::<Signed<Snapshot>>(SNAPSHOT, self.files.get(SNAPSHOT)?).ok()?.signed.meta,
            _ => return None,
        };
        let pin = meta.get(path)?;
        let digest: [u8; 32] = pin.hashes.as_ref()?.sha256.as_ref().try_into().ok()?;
        Some(Pin { name: path.to_owned(), length: pin.length?, digest: Sha256::from_bytes(digest) })
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

/// The version of a file of metadata, whoever signed it; `None` when it cannot be read.
fn version_of<T: Role + serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Signed<T>>(bytes).ok().map(|role| role.signed.version().get())
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
