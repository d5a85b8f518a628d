//! `localml install`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::ops::{Error, InstallReport, SetUp, install};

use super::fetch::{Wish, outcome, text};

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
    let options = args.wish.options(context)?;
    let report = install(&context.home, &args.wish.packages, &options, &context.terminal)?;
    context.output.show_with_advice(&report, story);
    Ok(outcome(&report.fetch))
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
    for kit in &report.kits {
        text.push_str(&set_up(kit));
    }
    text
}

/// What a kit did to this site, for `install` and `import`.
pub(super) fn set_up(report: &SetUp) -> String {
    let (site, version) = (report.kit.site(), &report.kit.version);
    let mut text = match report.is_set_up {
        true => format!("this site is set up as {site} (kit {version})\n"),
        false => format!("no package of the kit `{}` is here, so nothing was set up\n", report.kit.name),
    };
    for member in &report.missing {
        text.push_str(&format!("MISSING    {member} of the kit `{}`\n", report.kit.name));
    }
    for command in &report.next {
        text.push_str(&format!("next: {command}\n"));
    }
    text
}
