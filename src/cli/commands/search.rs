//! `localml search`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{self, Error, FoundPackage, SearchReport};

/// Find packages by name, title, kind, licence or language
///
/// Without words, lists every package. Works with no network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml search chat swahili")]
pub(crate) struct Args {
    /// What to look for; every word must fit
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let report = ops::search(&context.home, &args.words)?;
    context.output.show(&report, |report| text(report, &args.words));
    Ok(if report.packages.is_empty() { Outcome::Bad(ErrorKind::NotFound) } else { Outcome::Done })
}

fn text(report: &SearchReport, words: &[String]) -> String {
    if report.packages.is_empty() {
        let words = words.join(" ");
        return format!("no package fits `{words}`\n`localml find {words}` looks in your documents");
    }
    let rows: Vec<Vec<String>> =
        report.packages.iter().map(|package| row(package, &report.packages)).collect();
    let heading = ["PACKAGE", "VERSION", "KIND", "SIZE", "LICENCE", "LANGUAGES", ""];
    table(&heading, &rows) + "`localml info PACKAGE` tells all about one; * its licence forbids some uses"
}

fn row(package: &FoundPackage, all: &[FoundPackage]) -> Vec<String> {
    let mut builds = size(package.size_bytes);
    if package.num_members > 0 {
        builds = format!("{} in {} packages", builds, package.num_members);
    } else if package.num_variants > 1 {
        builds = format!("from {builds}");
    }
    let restricted = if package.restricted { " *" } else { "" };
    vec![
        name(package, all),
        package.version.to_string(),
        package.kind.to_string(),
        builds,
        format!("{}{restricted}", package.license),
        languages(&package.languages),
        package.installed.as_ref().map(|_| "installed".to_owned()).unwrap_or_default(),
    ]
}

/// The name as it must be typed: with its registry where another one holds something else under it.
fn name(package: &FoundPackage, all: &[FoundPackage]) -> String {
    let num_holders = all.iter().filter(|other| other.name == package.name).count();
    if num_holders > 1 { format!("{}/{}", package.registry, package.name) } else { package.name.to_string() }
}

/// The first few languages, and how many more there are.
fn languages(codes: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = codes.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
    match codes.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} +{more}"),
    }
}
