//! `localml upgrade`.

use crate::cli::context::Context;
use crate::cli::line::{LineArgs, story};
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::cli::terminal::size;
use crate::ops::{BlockedUpgrade, Error, FetchOptions, NewerVersion, NotUpgraded, UpgradeReport, upgrade};
use crate::package::PackageRef;

use super::install::set_up;

/// Bring installed packages to their newest version
///
/// Every piece that lies here already, in whatever file, is reused. The old version works until the new one is
/// verified, and is kept for `localml rollback`. A package whose newer version cannot be had stops no other: it stays
/// as it is, and the reason is told. `localml update` asks the registries first what there is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml upgrade --plan\n  localml upgrade qwen2.5-0.5b-instruct")]
pub(crate) struct Args {
    /// The packages; every installed one when none is named
    packages: Vec<PackageRef>,
    /// Say what each would cost after reuse, and fetch no package
    #[arg(long)]
    plan: bool,
    /// Take it even when this PC has too little memory for it
    #[arg(long)]
    anyway: bool,
    /// Use a registry's index even when it is very old
    #[arg(long)]
    accept_stale: bool,
    #[command(flatten)]
    line: LineArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = FetchOptions {
        is_plan: args.plan,
        line: args.line.options(context)?,
        from: Vec::new(),
        ignores_fit: args.anyway,
        accepts_stale: args.accept_stale,
    };
    let report = upgrade(&context.home, &args.packages, &options, &context.terminal)?;
    context.output.show_with_advice(&report, text);
    let is_well = report.blocked.is_empty() && report.left.is_empty() && report.fetch.missing.is_empty();
    Ok(if is_well { Outcome::Done } else { Outcome::Problems })
}

fn text(report: &UpgradeReport) -> String {
    let mut text = newer_versions(&report.upgrades);
    let fetch = &report.fetch;
    if report.upgrades.is_empty() && report.blocked.is_empty() {
        text.push_str("everything is the newest that is known here\n");
        text.push_str("`localml update` asks the registries for what is new");
    } else if fetch.is_plan {
        let most = if fetch.is_upper_bound { "at most " } else { "" };
        let (cost, saved) = (size(fetch.missing_bytes), size(fetch.reused_bytes));
        text.push_str(&format!("would fetch {most}{cost}; {saved} more lie here in other files\n"));
        if fetch.kept_bytes > 0 {
            text.push_str(&format!(
                "{} of it are here already, from an earlier try\n",
                size(fetch.kept_bytes)
            ));
        }
        text.push_str(&story(&fetch.line, fetch.missing_bytes, true));
        for package in fetch.packages.iter().filter(|package| !package.fits) {
            text.push_str(&format!("will not fit: {} {}\n", package.name, package.version));
        }
    } else {
        let (wire, saved) = (size(fetch.wire_bytes), size(fetch.reused_bytes));
        text.push_str(&format!("{wire} over the network; {saved} were copied from files here\n"));
    }
    for name in &report.installed {
        text.push_str(&format!("installed {name}\n"));
    }
    text.extend(report.left.iter().map(stays));
    text.push_str(&blocked(&report.blocked));
    text.extend(report.kits.iter().map(set_up));
    text.extend(report.next.iter().map(|command| format!("next: {command}\n")));
    text
}

/// A package whose newer version did not come, for `upgrade` and `sync`.
pub(super) fn stays(left: &NotUpgraded) -> String {
    let hint = left.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("STAYS {}: {}{hint}\n", left.name, left.reason)
}

/// The newer versions with their costs, for `upgrade` and `list --outdated`.
pub(super) fn newer_versions(packages: &[NewerVersion]) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let row = |package: &NewerVersion| {
        let most = if package.is_upper_bound { "at most " } else { "" };
        let revoked = package.revoked.as_ref().map(|reason| format!("installed one revoked: {reason}"));
        vec![
            package.name.to_string(),
            package.installed.to_string(),
            package.newest.to_string(),
            package.variant.to_string(),
            size(package.size_bytes),
            format!("{most}{}", size(package.missing_bytes)),
            revoked.unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = packages.iter().map(row).collect();
    table(&["PACKAGE", "INSTALLED", "NEWEST", "VARIANT", "SIZE", "COSTS", ""], &rows)
}

/// The newer versions that cannot be had.
pub(super) fn blocked(blocked: &[BlockedUpgrade]) -> String {
    let line = |it: &BlockedUpgrade| format!("not for this PC: {} {}: {}\n", it.name, it.newest, it.reason);
    blocked.iter().map(line).collect()
}
