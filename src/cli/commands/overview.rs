//! Bare `localml`: what this PC has, and which command comes next.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::ops::Error;

pub(super) fn run(context: &Context) -> Result<Outcome, Error> {
    context.output.write(&format!("home: {}\n", context.home.root().display()));
    Ok(Outcome::Done)
}
