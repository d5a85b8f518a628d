//! Package descriptions that are trusted: the signed index, its verification, choosing a version.
//!
//! A registry is a tree of static files (`tree`); a person trusts it by the fingerprint of its first
//! root; from there on TUF decides (`session` and `signed`, both through `tough`). What was verified
//! once is kept as a copy (`copy`) that is verified again at every use. Only a [`VerifiedIndex`]
//! answers questions. Bytes come through a [`Fetch`] that the caller hands in.

mod error;
mod tree;

mod index;
mod packed;
mod resolve;
mod revocation;
mod search;
mod summary;

mod catalog;

mod fetch;
mod fingerprint;
mod record;
mod turn;

mod age;
mod signed;

mod arriving;
mod bring;
mod session;

mod addition;
mod copy;

mod courier;
mod keys;
mod publish;

pub use addition::{Addition, add, fingerprint_of};
pub use age::{Age, Calendar, Freshness, SignedDates};
pub use arriving::arriving;
pub use catalog::{CATALOG, catalog};
pub use copy::{Outcome, Updated, load, repair, trust_files, update, update_from_stick};
pub use courier::{
    Courier, CourierKey, MAX_STATEMENT_BYTES, Statement, VouchedPackage, authorise, readable_couriers,
    withdraw,
};
pub use error::{RegistryError, Result};
pub use fetch::{Fetch, FetchError, FolderFetch, WantedFile};
pub use fingerprint::{
    Fingerprint, parse_fingerprint, short_fingerprint, show_fingerprint, show_full_fingerprint,
};
pub use index::{Trust, VerifiedIndex};
pub use publish::{
    BuildOptions, Built, Initialised, Inspect, Quorum, Replaced, RotateOptions, Rotated, SignOptions, Signed,
    build, check, init, rotate, sign,
};
pub use record::{Known, address_in_record, known, public_address};
pub use resolve::{Resolved, resolve};
pub use revocation::{Revoked, Subject, revoked};
pub use search::{Found, search};
pub use summary::{Summaries, Summary, summaries};
pub use tree::Revocation;
