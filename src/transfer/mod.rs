//! HTTP out: one verified file at a time, resumable, from the first source that serves it right.
//!
//! # What is promised
//!
//! * **Killed at any instant** (`kill -9`, Ctrl-C, the session closed): the next run fetches at most 4 MiB again. After every
//!   256 KiB a line goes into the journal beside the part file, after the bytes it speaks of; 2 MiB more may be waiting in memory
//!   (and some in the kernel's socket) when the disk is slower than the line.
//! * **Power cut**: what came since the last sync is fetched again. Part file and journal are synced in the background after every
//!   2 MiB, or 2 seconds in which something comes, and at once when a connection breaks or a fetch ends early. So that is at most
//!   4 MiB, and what came while the medium was busy with the last sync.
//! * **The journal is never trusted.** Each line says what a run of bytes hashed to; on resume the part file is
//!   read and hashed again (disk, not data), and only what still hashes to its line is kept.
//! * **Nothing is mixed.** A range is asked for with `If-Range`, and overlaps what is there by 1 KiB, which is compared. A
//!   server that sends the whole file instead has it compared byte for byte up to where the part file ends, or to where the two
//!   part ways. The sha256 of the whole decides in the end.
//! * **Pieces are hashed as they come**, so that who sends a wrong one is left after it. Only on a line of 100 MB a second and more,
//!   where no budget counts, the pieces behind the first ones of a body are left to the digest of the whole; where that is wrong,
//!   each is hashed then, and the wrong ones are fetched again.
//! * **No piece of another's making**: a web page, a compressed body, a body of another length is refused
//!   before one byte of it is written.
//! * **What is here is not fetched**: a piece that another file on this machine holds is read, hashed and copied.
//! * **Nothing is deleted because a check failed once**: a whole file with the wrong digest is kept as `.suspect`.
//!
//! # Files, in the staging folder
//!
//! ```text
//! <sha256>.part      the bytes so far, each at its own offset
//! <sha256>.journal   what of them was verified, and where they came from (format: `journal.rs`)
//! <sha256>.lock      held while one process works on the two; a second one is refused, so nobody pays twice
//! <sha256>.suspect   the last whole file whose digest was wrong
//! ```
//!
//! # How the work is split
//!
//! One thread of the client drives all sockets (a current-thread runtime); the thread that called `fetch` compares,
//! hashes and decides; a third one writes behind it, strictly in order. At most 2 MiB wait between them, so memory does not grow with the file.

mod client;
mod error;
mod options;

mod attempt;
mod crew;
mod doubts;
mod fetch;
mod gaps;
mod small;
mod sources;

mod lull;
mod mirror;
mod purse;
mod toll;
mod watch;

mod held;
mod journal;
mod part;
mod prefix;
mod resume;
mod reuse;
mod staging;
mod syncer;
mod writer;

mod clients;
mod exchange;
mod heads;
mod judge;
mod local;
mod network;
mod origins;
mod outage;
mod pace;
mod rate;
mod readback;
mod redirect;
mod reply;

pub use client::{Client, DroppedSource, Fetched, Wanted};
pub use error::{Mismatch, Result, TransferError};
pub use held::{held_bytes, held_ranges};
pub use mirror::{InvalidMirror, Mirror, folder_address};
pub use options::Options;
pub use prefix::keep_prefix;
pub use purse::Purse;
pub use readback::READING_LABEL;
pub use reuse::Reusable;
pub use small::{IsRight, SmallFile};
