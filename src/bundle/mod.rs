//! The stick: its layout, its commit record, its volumes, and how they are written and read.
//!
//! A stick is untrusted in both directions. What is written to it is read back from the medium before
//! anyone hears "safe to remove"; what is read from it counts only when it hashes to a digest that the
//! caller authorised. This room knows digests, sizes and pieces; whom to trust is the caller's business.
//!
//! Writing: [`Plan::new`], then [`write()`]. Reading: [`Stick::open`], its trust sets to whoever verifies
//! them, then [`receive`] with the digests that came out of that.

mod description;
mod entry;
mod id;
mod layout;
mod parity;
mod record;
mod share;

mod draft;
mod outgoing;
mod pack;
mod plan;
mod readback;
mod runtime;
mod spread;
mod starter;
mod volume;
mod writer;

mod authorised;
mod part;
mod pump;
mod reader;
mod scan;
mod stick;
mod trust;
mod verify;

mod letter;
mod receipt;
mod request;
mod short;

mod clean;
mod half;

mod background;
mod clock;
mod codec;
mod error;
mod pace;
mod readme;
mod remark;

pub use authorised::Authorised;
pub use clean::remove;
pub use codec::is_text_name;
pub use description::{BlobEntry, Description, Item, ItemFile, PieceEntry, Run, VolumeEntry};
pub use error::{BundleError, Result};
pub use half::{
    Gap, HalfBlob, forget as forget_half, half_blob, half_blobs, half_list, remember as remember_half,
};
pub use id::{BundleId, InvalidId, SiteId};
pub use layout::{CLUSTER_BYTES, DEFAULT_VOLUME_BYTES, MAX_VOLUME_BYTES};
pub use letter::{Holding, Letterhead, RegistryState};
pub use outgoing::{Outgoing, OutgoingBlob};
pub use pace::{PROBE_BYTES, Speeds, per_second, probe, remove_probe};
pub use parity::{Parity, ParityVolume};
pub use plan::{ExportOptions, Plan, PlannedFile};
pub use reader::{Incomplete, Intake, Site, receive};
pub use receipt::{MissingPackage, Receipt, ReceivedBundle};
pub use record::{CommitRecord, CommittedFile};
pub use remark::Remark;
pub use request::Request;
pub use runtime::{Program, ProgramFile, RuntimeOnStick, RuntimePlan, Signer, runtimes_on, stick_name};
pub use share::StickShare;
pub use short::{MAX_SHORT_CHARS, SHORT_BLOB_BYTES, ShortError, ShortRequest, prefix_of};
pub use spread::{Berth, remaining, spread};
pub use stick::{Bundle, Bundles, Stick, TrustSets};
pub use trust::{TrustFile, TrustSet};
pub use verify::{FileHealth, verify};
pub use writer::{Written, write};
