//! `localml list`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::cli::terminal::size;
use crate::ops::{Error, ListReport, ListedMembers, ListedPackage, OutdatedReport, list, outdated};
use crate::progress::counted;

use super::upgrade::{blocked, newer_versions};

/// List installed packages
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml list --json\n  localml list --outdated")]
pub(crate) struct Args {
    /// Only those that have a newer version, with what it would cost; opens no network connection
    #[arg(long)]
    outdated: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    if args.outdated {
        context.output.show(&outdated(&context.home)?, outdated_text);
        return Ok(Outcome::Done);
    }
    context.output.show(&list(&context.home)?, text);
    Ok(Outcome::Done)
}

fn text(report: &ListReport) -> String {
    if report.packages.is_empty() {
        return "nothing is installed\n`localml search` shows what there is; `localml import DIR` installs from a stick"
            .to_owned();
    }
    let rows: Vec<Vec<String>> = report.packages.iter().map(row).collect();
    let total = format!("{} in {}", size(report.size_bytes), counted(report.packages.len(), "package"));
    let mut text = table(&["PACKAGE", "VERSION", "VARIANT", "KIND", "SIZE", "LICENCE", ""], &rows) + &total;
    for package in report.packages.iter().filter(|package| package.is_damaged) {
        text.push_str(&format!("\n`{0}` is damaged and out of use; `localml repair {0}`", package.name));
    }
    for revoked in report.packages.iter().filter_map(|package| package.revoked.as_ref()) {
        text.push_str(&format!("\n`{}` was revoked: {}", revoked.name, revoked.advice()));
    }
    text.extend(report.remark.iter().map(|remark| format!("\n{remark}")));
    text
}

fn outdated_text(report: &OutdatedReport) -> String {
    let mut text = newer_versions(&report.packages) + &blocked(&report.blocked);
    if report.packages.is_empty() {
        text.push_str("nothing newer is known here; `localml update` asks the registries\n");
    } else {
        let most = if report.is_upper_bound { "at most " } else { "" };
        let cost = size(report.missing_bytes);
        text.push_str(&format!("all of them: {most}{cost}; `localml upgrade` brings them\n"));
    }
    if !report.unpublished.is_empty() {
        let names: Vec<String> = report.unpublished.iter().map(ToString::to_string).collect();
        text.push_str(&format!("nobody publishes {}\n", names.join(", ")));
    }
    text
}

fn row(package: &ListedPackage) -> Vec<String> {
    let mut label = match (package.is_signed, package.is_installed) {
        (true, false) => "fetched, not installed".to_owned(),
        (true, true) => package.members.as_ref().map(members).unwrap_or_default(),
        (false, _) => package.label.clone(),
    };
    if package.is_damaged {
        label = format!("DAMAGED{}{label}", if label.is_empty() { "" } else { ", " });
    }
    if let Some(revoked) = &package.revoked {
        let comma = if label.is_empty() { "" } else { ", " };
        label.push_str(&format!("{comma}revoked: {}", revoked.reason));
    }
    vec![
        package.name.to_string(),
        package.version.to_string(),
        package.variant.to_string(),
        package.kind.to_string(),
        package.members.as_ref().map_or_else(|| size(package.size_bytes), |_| "-".to_owned()),
        package.license.clone(),
        label,
    ]
}

/// How much of a kit is installed.
fn members(members: &ListedMembers) -> String {
    let (num_members, num_missing) = (members.num_members, members.missing.len());
    match members.missing.first() {
        None => format!("all of its {num_members} packages"),
        Some(first) => format!("{} of {num_members} packages; lacks `{first}`", num_members - num_missing),
    }
}
