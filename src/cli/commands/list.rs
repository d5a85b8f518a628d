//! `localml list`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::cli::terminal::size;
use crate::ops::{Error, ListReport, ListedPackage, list};

/// List installed packages
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml list --json")]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args, context: &Context) -> Result<Outcome, Error> {
    context.output.show(&list(&context.home)?, text);
    Ok(Outcome::Done)
}

fn text(report: &ListReport) -> String {
    if report.packages.is_empty() {
        return "nothing is installed\n`localml search` shows what there is; `localml import DIR` installs from a stick"
            .to_owned();
    }
    let rows: Vec<Vec<String>> = report.packages.iter().map(row).collect();
    let total = format!("{} in {} packages", size(report.size_bytes), report.packages.len());
    let mut text = table(&["PACKAGE", "VERSION", "VARIANT", "KIND", "SIZE", "LICENCE", ""], &rows) + &total;
    for revoked in report.packages.iter().filter_map(|package| package.revoked.as_ref()) {
        text.push_str(&format!("\n`{}` was revoked: {}", revoked.name, revoked.advice()));
    }
    text.extend(report.remark.iter().map(|remark| format!("\n{remark}")));
    text
}

fn row(package: &ListedPackage) -> Vec<String> {
    let mut label = match (package.is_signed, package.is_installed) {
        (true, false) => "fetched, not installed".to_owned(),
        _ => package.label.clone(),
    };
    if let Some(revoked) = &package.revoked {
        let comma = if label.is_empty() { "" } else { ", " };
        label.push_str(&format!("{comma}revoked: {}", revoked.reason));
    }
    vec![
        package.name.to_string(),
        package.version.to_string(),
        package.variant.to_string(),
        package.kind.to_string(),
        size(package.size_bytes),
        package.license.clone(),
        label,
    ]
}
