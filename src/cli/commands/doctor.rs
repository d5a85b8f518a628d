//! `localml doctor`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::ops::{Check, DoctorReport, Error, Health, doctor};

/// Look at this machine and say what to mend
///
/// Ends with 8 when something is worth mending. `localml verify` hashes the packages again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml doctor")]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args, context: &Context) -> Result<Outcome, Error> {
    let report = doctor(&context.home, &context.onnx_places())?;
    context.output.show(&report, text);
    Ok(if report.is_well() { Outcome::Done } else { Outcome::Problems })
}

fn text(report: &DoctorReport) -> String {
    let lines: Vec<String> = report.checks.iter().map(line).collect();
    lines.join("\n")
}

fn line(check: &Check) -> String {
    let label = match check.health {
        Health::Ok => "ok  ",
        Health::Warning => "WARN",
    };
    let hint = check.hint.as_ref().map(|hint| format!("\n     hint: {hint}")).unwrap_or_default();
    format!("{label} {}: {}{hint}", check.name, check.found)
}
