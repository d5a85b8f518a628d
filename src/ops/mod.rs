//! One file per thing a user can do: options in, report out. Rooms meet only here; nothing prints.

mod error;
mod site;

mod list;
mod path;
mod remove;
mod verify;

pub use error::{Error, Result};
pub use list::{ListReport, ListedPackage, list};
pub use path::{PathReport, path};
pub use remove::{RemoveOptions, RemoveReport, remove};
pub use verify::{DamagedFile, VerifiedPackage, VerifyReport, verify};
