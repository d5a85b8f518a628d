//! `localml run`.

use crate::error::ErrorKind;
use crate::ops::Error;

use crate::cli::context::Context;
use crate::cli::report::Outcome;

/// Chat with a model, or let it continue a text
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args, _context: &Context) -> Result<Outcome, Error> {
    Err(Error::new(ErrorKind::Failed, "`run` is not built yet"))
}
