//! One file per thing a user can do: options in, report out. Rooms meet only here; nothing prints.

mod error;

pub use error::{Error, Result};
