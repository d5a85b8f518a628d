//! `localml engine`, hidden: what `run` and `ask` start to hold the model.

use crate::cli::report::Outcome;
use crate::ops::{Error, engine_worker};

/// Run a model for another localml; not for people
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Example:\n  localml run MODEL \"…\" starts this by itself")]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args) -> Result<Outcome, Error> {
    engine_worker(std::io::stdin(), std::io::stdout().lock())?;
    Ok(Outcome::Done)
}
