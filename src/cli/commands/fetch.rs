//! `localml fetch`.

use crate::error::ErrorKind;
use crate::ops::Error;

use crate::cli::context::Context;
use crate::cli::report::Outcome;

/// Bring a package's bytes into the store
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args, _context: &Context) -> Result<Outcome, Error> {
    Err(Error::new(ErrorKind::Failed, "`fetch` is not built yet"))
}
