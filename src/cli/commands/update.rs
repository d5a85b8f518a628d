//! `localml update`.

use crate::error::ErrorKind;
use crate::ops::Error;

use crate::cli::context::Context;
use crate::cli::report::Outcome;

/// Refresh the signed index of every registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args, _context: &Context) -> Result<Outcome, Error> {
    Err(Error::new(ErrorKind::Failed, "`update` is not built yet"))
}
