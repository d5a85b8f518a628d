//! One file per thing a user can do: options in, report out. Rooms meet only here; nothing prints.

mod choice;
mod error;
mod fitting;
mod indexes;
mod site;

mod fetch;
mod install;
mod list;
mod overview;
mod path;
mod remove;
mod verify;

pub use error::{Error, Result};
pub use fetch::{FetchOptions, FetchReport, FetchedPackage, fetch};
pub use install::{InstallReport, install};
pub use list::{ListReport, ListedPackage, list};
pub use overview::{NextCommand, OverviewReport, overview};
pub use path::{PathReport, path};
pub use remove::{RemoveOptions, RemoveReport, remove};
pub use verify::{DamagedFile, VerifiedPackage, VerifyReport, verify};
