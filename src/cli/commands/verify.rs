//! `localml verify`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{DamagedFile, Error, VerifyReport, verify};
use crate::package::PackageRef;

/// Hash installed packages again and name what is damaged
///
/// Ends with 4 when a file differs from what its publisher made.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml verify\n  localml verify localml-handbook")]
pub(crate) struct Args {
    /// The packages; all of them when none is named
    packages: Vec<PackageRef>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let report = verify(&context.home, &args.packages, &context.terminal)?;
    context.output.show(&report, text);
    if !report.is_complete {
        return Ok(Outcome::Bad(ErrorKind::Failed));
    }
    Ok(if report.is_whole() { Outcome::Done } else { Outcome::Bad(ErrorKind::Damaged) })
}

fn text(report: &VerifyReport) -> String {
    if !report.is_complete {
        return "stopped before the end; nothing was changed".to_owned();
    }
    let mut text = String::new();
    for package in &report.packages {
        let verdict = if package.is_whole { "whole" } else { "DAMAGED" };
        text.push_str(&format!("{:8} {}\n", verdict, package.name));
        for file in &package.damaged_files {
            text.push_str(&format!("         {}\n", damage(file)));
        }
    }
    if report.packages.is_empty() {
        text.push_str("nothing is installed\n");
    } else if report.is_whole() {
        text.push_str(&format!("{} hashed, all as published\n", size(report.size_bytes)));
    } else {
        text.push_str("install or import the damaged packages again; nothing was removed\n");
    }
    text
}

fn damage(file: &DamagedFile) -> String {
    if file.is_missing {
        return format!("`{}` is missing", file.path);
    }
    let damaged_bytes = file.damaged_runs.iter().map(|run| run.1).sum();
    format!("`{}`: {} damaged in {} runs", file.path, size(damaged_bytes), file.damaged_runs.len())
}
