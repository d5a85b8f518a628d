//! One file per thing a user can do: options in, report out. Rooms meet only here; nothing prints.

mod choice;
#[cfg(any(feature = "onnx", feature = "engine"))]
mod embedders;
mod error;
mod fetcher;
mod fitting;
mod indexes;
mod site;

mod fetch;
mod info;
mod install;
mod list;
mod overview;
mod path;
mod registry;
mod remove;
mod search;
mod update;
mod verify;

pub use error::{Error, Result};
// What the roof needs to call and to show of the registry room.
pub use crate::registry::{Age, BuildOptions, Built, Freshness, Outcome as Change, show_fingerprint};
#[cfg(any(feature = "onnx", feature = "engine"))]
pub use embedders::{EmbedderOptions, InstalledEmbedder, embedders, open_embedder, runtime_candidates};
pub use fetch::{FetchOptions, FetchReport, FetchedPackage, fetch};
pub use info::{InfoReport, VariantInfo, info};
pub use install::{InstallReport, install};
pub use list::{ListReport, ListedPackage, list};
pub use overview::{NextCommand, OverviewReport, overview};
pub use path::{PathReport, path};
pub use registry::{
    AddOptions, AddReport, InitReport, SignReport, registry_add, registry_build, registry_check,
    registry_init, registry_sign,
};
pub use remove::{RemoveOptions, RemoveReport, remove};
pub use search::{FoundPackage, SearchReport, search};
pub use update::{FailedRegistry, UpdateOptions, UpdateReport, UpdatedRegistry, update};
pub use verify::{DamagedFile, VerifiedPackage, VerifyReport, verify};
