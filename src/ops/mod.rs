//! One file per thing a user can do: options in, report out. Rooms meet only here; nothing prints.

mod addressee;
mod at_hand;
#[cfg(feature = "index")]
mod bench;
mod berths;
mod bytes_here;
mod carried;
mod checkup;
mod choice;
mod copying;
mod difference;
#[cfg(all(feature = "index", any(feature = "onnx", feature = "engine")))]
mod embedders;
#[cfg(feature = "index")]
mod embedding;
mod error;
mod fetcher;
mod fitting;
mod folder;
mod holding;
mod identity;
mod indexes;
mod intake;
mod kit;
mod kit_import;
mod leftovers;
mod letter_marks;
mod letters;
mod line;
mod mending;
mod mirrors;
mod nearby;
mod outgoing;
mod pace;
mod pricing;
mod profile;
mod receipt;
mod registry_turn;
mod removable;
mod reuse;
mod revoked;
mod runtime;
mod sift;
mod site;
mod stick_trust;
mod tally;
mod wishlist;

mod adopt;
mod adopt_scan;
#[cfg(feature = "index")]
mod ask;
mod courier;
mod doctor;
#[cfg(feature = "engine")]
mod engine_worker;
mod export;
mod fetch;
#[cfg(feature = "index")]
mod find;
mod gc;
mod import;
#[cfg(feature = "index")]
mod index;
mod info;
mod install;
mod list;
mod loose;
mod order;
mod outdated;
mod overview;
mod path;
mod registry;
mod remove;
mod repair;
mod request;
mod rollback;
#[cfg(feature = "engine")]
mod run;
mod search;
mod sites;
mod stick;
mod stick_clean;
mod sync;
mod update;
mod upgrade;
mod verify;

#[cfg(feature = "index")]
pub use crate::answer::{Citation, Confidence, Support};
pub use crate::registry::Courier;
pub use crate::store::DamagedPiece;
pub use crate::transfer::DroppedSource;
pub use adopt::{AdoptOptions, AdoptReport, adopt};
pub use adopt_scan::{
    Deed, ScanOptions, ScanPlace, ScanReport, ScannedFile, ScannedPackage, ScannedPlace, adopt_scan,
};
#[cfg(feature = "index")]
pub use ask::{Answer, AskEvent, AskOptions, AskReport, Suggestion, ask};
#[cfg(feature = "index")]
pub use bench::{BenchOptions, BenchReport, BenchRow, bench_retrieval};
pub use checkup::DamagedFile;
pub use courier::{
    CourierListReport, CourierShowReport, CourierWithdrawReport, DamagedCourier, courier_list, courier_show,
    courier_withdraw,
};
pub use doctor::{Check, DoctorReport, Health, doctor};
#[cfg(feature = "index")]
pub use embedding::{EmbedderOptions, Embedders, Embeds};
#[cfg(feature = "engine")]
pub use engine_worker::engine_worker;
pub use error::{Error, Result};
#[cfg(feature = "index")]
pub use find::{FindOptions, FindReport, FoundPassage, find};
#[cfg(feature = "index")]
pub use index::{
    CollectionStatus, IndexAddOptions, IndexListReport, IndexRemoveReport, IndexReport, IndexStatusReport,
    ListedCollection, ProblemFile, ReadCounts, VectorCounts, index_add, index_list, index_refresh,
    index_remove, index_status,
};
// What the roof needs to call and to show of the bundle and registry rooms.
pub use crate::bundle::{DEFAULT_VOLUME_BYTES, SiteId};
pub use crate::registry::{
    Age, BuildOptions, Built, Freshness, Outcome as Change, Quorum, Replaced, RotateOptions,
    short_fingerprint, show_fingerprint, show_full_fingerprint,
};
pub use berths::StickPart;
pub use difference::{NotSent, RequiredFile};
pub use export::{DamagedPackage, ExportOptions, ExportReport, ExportedPackage, Recipient, Signing, export};
pub use fetch::{FetchOptions, FetchReport, FetchedPackage, fetch};
pub use gc::{GcItem, GcKind, GcOptions, GcReport, gc};
pub use import::{ImportOptions, ImportReport, IncompleteFile, IncompletePackage, LackingPackage, import};
pub use info::{InfoReport, VariantInfo, info};
pub use install::{InstallReport, install};
pub use kit::{MissingMember, SetUp};
pub use kit_import::TrustedByKit;
pub use letters::SentBundle;
pub use line::{LineOptions, LineReport};
pub use list::{ListReport, ListedMembers, ListedPackage, list};
pub use loose::{LeftFile, LoosePackage, LooseReport, TakenFile, import_loose, is_loose};
pub use mirrors::MirrorRules;
pub use outdated::{BlockedUpgrade, NewerVersion, OutdatedReport, outdated};
pub use overview::{NextCommand, OverviewReport, Waiting, overview};
pub use pace::{Pace, PaceSource, StickFacts};
pub use path::{PathReport, path};
pub use profile::{SettingChange, SiteKit};
pub use receipt::ReceiptReport;
pub use registry::{
    AddOptions, AddReport, InitReport, RotateReport, SignReport, registry_add, registry_build,
    registry_check, registry_init, registry_rotate, registry_sign,
};
pub use remove::{RemoveOptions, RemoveReport, remove};
pub use repair::{RepairOptions, RepairReport, RepairedFile, RepairedPackage, repair};
pub use request::{RequestOptions, RequestReport, ShortRequestReport, request, request_short};
pub use revoked::RevokedPackage;
pub use rollback::{RollbackReport, RolledBack, rollback};
#[cfg(feature = "engine")]
pub use run::{Conversation, RunOptions, RunReport, run};
pub use runtime::{RuntimeVerdict, RuntimeVoucher};
pub use search::{FoundPackage, SearchReport, search};
pub use sift::RefusedPackage;
pub use sites::{OutdatedPackage, SiteReport, SitesOptions, SitesReport, sites};
pub use stick::{StickBundle, StickReport, StickVerifyReport, letters_in_words, stick_info, stick_verify};
pub use stick_clean::{CleanOptions, CleanReport, CleanedBundle, KeptBundle, stick_clean};
pub use stick_trust::{ImportedTrust, UnknownRoot};
pub use sync::{
    BroughtPackage, End, ListedFile, Reason, Shortage, State, SyncHereReport, SyncListReport, SyncOptions,
    SyncReport, Synced, SyncedPackage, SyncedSite, UnmetWish, sync, sync_list,
};
pub use update::{FailedRegistry, UpdateOptions, UpdateReport, UpdatedRegistry, update};
pub use upgrade::{NotUpgraded, UpgradeReport, upgrade};
pub use verify::{VerifiedPackage, VerifyReport, verify};
