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
    table(&["PACKAGE", "VERSION", "VARIANT", "KIND", "SIZE", "LICENCE", ""], &rows) + &total
}

fn row(package: &ListedPackage) -> Vec<String> {
    let label = match (package.is_signed, package.is_installed) {
        (false, _) => "unsigned",
        (true, false) => "fetched, not installed",
        (true, true) => "",
    };
    vec![
        package.name.to_string(),
        package.version.to_string(),
        package.variant.to_string(),
        package.kind.to_string(),
        size(package.size_bytes),
        package.license.clone(),
        label.to_owned(),
    ]
}
