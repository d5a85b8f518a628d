//! `localml adopt`.

use crate::error::ErrorKind;
use crate::ops::Error;

use crate::cli::context::Context;
use crate::cli::report::Outcome;

/// Take a local file as an unsigned package
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args, _context: &Context) -> Result<Outcome, Error> {
    Err(Error::new(ErrorKind::Failed, "`adopt` is not built yet"))
}
