//! `localml remove`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::ops::{Error, RemoveOptions, RemoveReport, remove};
use crate::package::PackageRef;

/// Remove an installed or fetched package
///
/// Bytes that another package needs stay. Of several fetched builds, the one that goes must be named.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml remove qwen2.5-0.5b-instruct --plan")]
pub(crate) struct Args {
    /// The packages
    #[arg(required = true)]
    packages: Vec<PackageRef>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    plan: bool,
    /// Remove even what another installed package needs
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = RemoveOptions { is_plan: args.plan, is_forced: args.force };
    context.output.show(&remove(&context.home, &args.packages, &options, &context.terminal)?, text);
    Ok(Outcome::Done)
}

fn text(report: &RemoveReport) -> String {
    let names: Vec<String> = report.removed.iter().map(ToString::to_string).collect();
    let deed = if report.is_plan { "would remove" } else { "removed" };
    format!("{deed} {}: {} on the disk", names.join(", "), size(report.freed_bytes))
}
