//! `localml search`.

use crate::error::ErrorKind;
use crate::ops::Error;

use crate::cli::context::Context;
use crate::cli::report::Outcome;

/// Find packages by name, title, kind or language
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args, _context: &Context) -> Result<Outcome, Error> {
    Err(Error::new(ErrorKind::Failed, "`search` is not built yet"))
}
