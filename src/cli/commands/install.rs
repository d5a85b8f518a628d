//! `localml install`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::ops::{Error, InstallReport, install};

use super::fetch::{Wish, text};

/// Fetch a package and make it usable here
///
/// What it requires comes along. Nothing is fetched that does not fit this PC's memory or disk.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml install qwen2.5-0.5b-instruct --plan\n  localml install qwen2.5-0.5b-instruct:q4_k_m"
)]
pub(crate) struct Args {
    #[command(flatten)]
    wish: Wish,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = args.wish.options(context);
    let report = install(&context.home, &args.wish.packages, &options, &context.terminal)?;
    context.output.show(&report, story);
    Ok(Outcome::Done)
}

fn story(report: &InstallReport) -> String {
    let mut text = text(&report.fetch);
    if report.fetch.is_plan {
        return text;
    }
    if report.installed.is_empty() {
        text.push_str("installed already\n");
    }
    for name in &report.installed {
        text.push_str(&format!("installed {name}\n"));
    }
    text
}
