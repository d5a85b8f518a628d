//! What can go wrong between a source and the staging folder.

use std::path::PathBuf;
use std::time::Duration;

use crate::digest::Sha256;
use crate::disk::DiskError;
use crate::error::{ErrorKind, Explain};
use crate::progress::size;

/// The result of a transfer.
pub type Result<T> = std::result::Result<T, TransferError>;

/// Why a file could not be had. `address` is a URL without user, password and query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The network was ruled out by the user.
    #[error("`{name}` would have to come from the network, and localml is offline")]
    Offline {
        /// The file.
        name: String,
    },
    /// The user asked to stop.
    #[error("stopped{}", kept(name, *kept_bytes, *size_bytes))]
    Cancelled {
        /// The file.
        name: String,
        /// How many verified bytes the next run begins with.
        kept_bytes: u64,
        /// How many bytes the file has.
        size_bytes: u64,
    },
    /// The budget is spent.
    #[error("the budget of {} is spent{}", size(*limit_bytes), kept(name, *kept_bytes, *size_bytes))]
    OutOfBudget {
        /// The file.
        name: String,
        /// The whole budget.
        limit_bytes: u64,
        /// How many verified bytes the next run begins with.
        kept_bytes: u64,
        /// How many bytes the file has.
        size_bytes: u64,
    },
    /// A server knows no ranges, and the budget does not pay for the whole file.
    #[error(
        "`{address}` sends all {} of `{name}` or nothing, and the budget has {} left", size(*size_bytes), size(*left_bytes)
    )]
    AllOrNothing {
        /// The file.
        name: String,
        /// The source.
        address: String,
        /// How many bytes the file has.
        size_bytes: u64,
        /// What the budget has left.
        left_bytes: u64,
    },
    /// A server that knows no ranges broke off before it came to anything new.
    #[error("`{address}` sends `{name}` only from its first byte on, and broke off before anything new came")]
    OnlyAnew {
        /// The file.
        name: String,
        /// The source.
        address: String,
    },
    /// The time is up.
    #[error("the time is up{}", kept(name, *kept_bytes, *size_bytes))]
    OutOfTime {
        /// The file.
        name: String,
        /// How many verified bytes the next run begins with.
        kept_bytes: u64,
        /// How many bytes the file has.
        size_bytes: u64,
    },
    /// The file that keeps the budget cannot be understood.
    #[error("`{}` does not say what the budget has left: {reason}", path.display())]
    DamagedBudget {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A fetch ended early; `cause` says why.
    #[error("could not fetch `{name}` ({} of {} are kept)", size(*kept_bytes), size(*size_bytes))]
    Fetch {
        /// The file.
        name: String,
        /// How many verified bytes the next run begins with.
        kept_bytes: u64,
        /// How many bytes the file has.
        size_bytes: u64,
        /// What ended it; with several sources, what the last one did.
        #[source]
        cause: Box<TransferError>,
    },
    /// Another process is fetching the same file.
    #[error("another localml is already fetching `{name}`")]
    InUse {
        /// The file.
        name: String,
    },
    /// The package names no place to get the file from.
    #[error("no source is known for `{name}`")]
    NoSource {
        /// The file.
        name: String,
    },
    /// A scheme that cannot be fetched.
    #[error("`{address}` cannot be fetched: only http, https and file addresses can")]
    Scheme {
        /// The address as given.
        address: String,
    },
    /// A web page came where a file was asked for.
    #[error("the network answered with a web page instead of `{name}` (asked `{address}`)")]
    Portal {
        /// The file.
        name: String,
        /// Who was asked.
        address: String,
    },
    /// The server, or the folder, does not have it.
    #[error("`{address}` is not there{}", status.map(|status| format!(" (the server says {status})")).unwrap_or_default())]
    Missing {
        /// Who was asked.
        address: String,
        /// 404 or 410; `None` for a `file:` address.
        status: Option<u16>,
    },
    /// The server said no.
    #[error("the server answered {status} for `{address}`{}", wanted_pause(*pause))]
    Status {
        /// Who was asked.
        address: String,
        /// The HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        pause: Option<Duration>,
    },
    /// A body that came, and did not go on.
    #[error("the connection to `{host}` broke off{}", because(reason))]
    Broken {
        /// Who was asked.
        host: String,
        /// What the system said, where that says more.
        reason: String,
    },
    /// No connection.
    #[error("no connection to `{address}`: {reason}")]
    Connection {
        /// Who was asked.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// So little comes that another source is asked.
    #[error("`{address}` sends only {} a second", size(*bytes_per_second))]
    Slow {
        /// Who was asked.
        address: String,
        /// How fast it was.
        bytes_per_second: u64,
    },
    /// The connection stands, but nothing comes.
    #[error("`{address}` sent nothing for {seconds} s")]
    Silence {
        /// Who was asked.
        address: String,
        /// The patience of this client.
        seconds: u64,
    },
    /// The server's file has another length.
    #[error("`{address}` offers {actual_bytes} bytes, but `{name}` has {expected_bytes}")]
    WrongLength {
        /// The file.
        name: String,
        /// Who was asked.
        address: String,
        /// What the package says.
        expected_bytes: u64,
        /// What the server says.
        actual_bytes: u64,
    },
    /// The server itself says, before the first byte, that it has another file by now.
    #[error("`{address}` now has another `{name}`: it announces sha256 {}, the package says {}", mismatch.actual.short(), mismatch.expected.short())]
    Replaced {
        /// The file.
        name: String,
        /// Who was asked.
        address: String,
        /// The digests.
        mismatch: Box<Mismatch>,
    },
    /// The answer to a request for a part of the file makes no sense.
    #[error("`{address}` answers a request for a part of the file with another part")]
    BadRange {
        /// Who was asked.
        address: String,
    },
    /// The server's bytes differ from those that are already here.
    #[error("`{address}` now has other bytes at {offset} than were fetched before")]
    Changed {
        /// Who was asked.
        address: String,
        /// The first byte that differs, or where a changed file was noticed.
        offset: u64,
    },
    /// The body is compressed, though that was not asked for.
    #[error("`{address}` sends `{encoding}`-compressed data, though plain bytes were asked for")]
    Encoded {
        /// Who was asked.
        address: String,
        /// The `Content-Encoding`.
        encoding: String,
    },
    /// A small file is larger than it may be.
    #[error("`{address}` is larger than the {} it may have", size(*max_bytes))]
    TooLarge {
        /// Who was asked.
        address: String,
        /// The limit.
        max_bytes: u64,
    },
    /// One piece differs from its digest.
    #[error("`{address}` sent a wrong piece of `{name}`: {length} bytes at {offset} have sha256 {}, the piece list says {}", mismatch.actual.short(), mismatch.expected.short())]
    WrongPiece {
        /// The file.
        name: String,
        /// Who sent it.
        address: String,
        /// Where the piece begins.
        offset: u64,
        /// How many bytes it has.
        length: u64,
        /// The digests.
        mismatch: Box<Mismatch>,
    },
    /// The whole file differs from its digest.
    #[error("`{name}` has sha256 {}, the package says {}", mismatch.actual, mismatch.expected)]
    Damaged {
        /// The file.
        name: String,
        /// The digests.
        mismatch: Box<Mismatch>,
        /// Where the bytes are kept.
        suspect: PathBuf,
    },
    /// The piece list is not one of this file.
    #[error("the piece list of `{name}` does not belong to it: {reason}")]
    WrongPieceList {
        /// The file.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// Not enough free space, found before a byte was fetched.
    #[error("`{name}` needs {} more, but only {} are free in `{}`", size(*needed_bytes), size(*free_bytes), folder.display())]
    NoRoom {
        /// The file.
        name: String,
        /// What is still to be fetched.
        needed_bytes: u64,
        /// What the disk has.
        free_bytes: u64,
        /// The staging folder.
        folder: PathBuf,
    },
    /// A journal that a newer localml wrote.
    #[error("`{}` has journal format {version}; this localml knows format 1", path.display())]
    NewerJournal {
        /// The journal.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The staging folder, or a `file:` source, could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Two digests that should be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// What was promised.
    pub expected: Sha256,
    /// What came.
    pub actual: Sha256,
}

impl TransferError {
    /// True when the answer was that no such file exists, as opposed to no answer.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing { .. } => true,
            Self::Fetch { cause, .. } => cause.is_missing(),
            _ => false,
        }
    }

    /// True when no other source would help: the user, the budget or the clock said stop.
    pub fn ends_the_run(&self) -> bool {
        match self {
            Self::Cancelled { .. } | Self::OutOfBudget { .. } | Self::OutOfTime { .. } => true,
            Self::Fetch { cause, .. } => cause.ends_the_run(),
            _ => false,
        }
    }

    /// As `about`, where the user, the budget or the clock said stop; any other error stays as it is.
    pub(super) fn if_stopped_about(self, name: &str, kept_bytes: u64, size_bytes: u64) -> Self {
        if self.ends_the_run() { self.about(name, kept_bytes, size_bytes) } else { self }
    }

    /// The same, about this file, of which so much is kept.
    pub(super) fn about(self, name: &str, kept_bytes: u64, size_bytes: u64) -> Self {
        let name = name.to_owned();
        match self {
            Self::Cancelled { .. } => Self::Cancelled { name, kept_bytes, size_bytes },
            Self::OutOfTime { .. } => Self::OutOfTime { name, kept_bytes, size_bytes },
            Self::OutOfBudget { limit_bytes, .. } => {
                Self::OutOfBudget { name, limit_bytes, kept_bytes, size_bytes }
            }
            Self::Offline { .. } => Self::Offline { name },
            cause => Self::Fetch { name, kept_bytes, size_bytes, cause: Box::new(cause) },
        }
    }
}

impl Explain for TransferError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Fetch { cause, .. } => cause.kind(),
            Self::Disk(error) => error.kind(),
            Self::Missing { .. } | Self::NoSource { .. } => ErrorKind::NotFound,
            Self::Offline { .. }
            | Self::Portal { .. }
            | Self::Status { .. }
            | Self::Connection { .. }
            | Self::Broken { .. }
            | Self::Silence { .. }
            | Self::Slow { .. }
            | Self::BadRange { .. }
            | Self::OnlyAnew { .. }
            | Self::Encoded { .. } => ErrorKind::Network,
            Self::WrongLength { .. }
            | Self::Changed { .. }
            | Self::Replaced { .. }
            | Self::TooLarge { .. }
            | Self::WrongPiece { .. }
            | Self::WrongPieceList { .. }
            | Self::DamagedBudget { .. }
            | Self::Damaged { .. } => ErrorKind::Damaged,
            Self::NoRoom { .. }
            | Self::OutOfBudget { .. }
            | Self::AllOrNothing { .. }
            | Self::OutOfTime { .. } => ErrorKind::NoRoom,
            Self::Scheme { .. } => ErrorKind::Usage,
            Self::Cancelled { .. } | Self::InUse { .. } | Self::NewerJournal { .. } => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Fetch { cause, .. } => return cause.hint().or_else(|| Some(AGAIN.into())),
            Self::Disk(error) => return error.hint(),
            Self::Offline { .. } => "leave out `--offline`, or bring the file with `localml import`",
            Self::Cancelled { .. } => "run the same command again; it continues where it stopped",
            Self::OutOfBudget { .. } => {
                "what earlier commands spent of it counts too; the same command with `--new-budget` begins another and \
                 continues where it stopped"
            }
            Self::AllOrNothing { .. } => {
                "this server cannot go on with a download: give a `--budget` for the whole file, or name a mirror \
                 with `LOCALML_MIRROR`"
            }
            Self::OnlyAnew { .. } => {
                "each further try pays for the same bytes again: use a steadier line, or name a mirror with \
                 `LOCALML_MIRROR`"
            }
            Self::OutOfTime { .. } => AGAIN,
            Self::DamagedBudget { .. } => "run the same command with `--new-budget` to begin another one",
            Self::InUse { .. } => "wait for the other one to end, then run the command again",
            Self::NoSource { .. } => "ask the publisher for a source, or bring it with `localml import`",
            Self::Scheme { .. } => "give an address that begins with http://, https:// or file://",
            Self::Portal { .. } => {
                "open a browser and sign in to this network, then run the same command again"
            }
            Self::Missing { .. } => "the package list may be old; try `localml update`",
            Self::Status { status: 401 | 403 | 407, .. } => {
                "the server, or a proxy before it, wants a permission that localml does not have"
            }
            Self::Connection { reason, .. } if reason.contains("certificate") => {
                "check this PC's clock, and whether a browser on this network asks you to sign in"
            }
            Self::Status { pause: Some(_), .. } => "wait for so long, then run the same command again",
            Self::Status { .. }
            | Self::Connection { .. }
            | Self::Broken { .. }
            | Self::Silence { .. }
            | Self::Slow { .. } => AGAIN,
            Self::WrongLength { .. } | Self::Changed { .. } | Self::Replaced { .. } => {
                "the file at the source was replaced; try `localml update`, or another source"
            }
            Self::BadRange { .. } | Self::Encoded { .. } => {
                "a proxy on this network may be changing what passes; try another network"
            }
            Self::TooLarge { .. } => "the source is not what it claims to be; do not use it",
            Self::WrongPiece { .. } => "run the same command again; only the wrong pieces are fetched",
            Self::WrongPieceList { .. } => "try `localml update`; else tell the publisher",
            Self::Damaged { .. } => {
                "run the same command again; it starts anew, and keeps the wrong file beside it"
            }
            Self::NoRoom { .. } => "free some space, or use another `--home`",
            Self::NewerJournal { .. } => "use the newer localml, or remove that file and its `.part`",
        };
        Some(hint.into())
    }
}

const AGAIN: &str = "run the same command again; it continues where it stopped";

/// What a stop leaves; of a small file, which comes as a whole or not, there is nothing to count.
fn kept(name: &str, kept_bytes: u64, size_bytes: u64) -> String {
    match size_bytes {
        0 => format!(" before `{name}` had come"),
        _ => format!("; {} of {} of `{name}` are kept", size(kept_bytes), size(size_bytes)),
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn wanted_pause(pause: Option<Duration>) -> String {
    let seconds = pause.map(|pause| pause.as_secs());
    seconds.map(|seconds| format!(", and wants to be left alone for {seconds} s")).unwrap_or_default()
}

/// The host of an address, with its port where it has one; of a folder, its path.
pub(super) fn host_of(url: &url::Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => shown(url),
    }
}

/// A URL as it may be shown: without user, password, query and fragment.
pub(super) fn shown(url: &url::Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // Both fail only for addresses that cannot have a user at all.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.into()
}
