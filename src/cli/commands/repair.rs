//! `localml repair`.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::line::LineArgs;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::ops::{Error, RepairOptions, RepairReport, RepairedFile, repair};
use crate::package::PackageRef;

use super::verify::damage;

/// Bring only the damaged pieces of installed packages
///
/// Hashes the packages again, keeps every piece that is right, and brings the others: from the sticks and folders named
/// with `--from`, then from the network. The repaired file is built beside the damaged one and takes its place when
/// it is whole. Interrupted, it goes on where it was. Ends with 8 when only a part could be repaired.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml repair --plan\n  localml repair qwen2.5-0.5b-instruct\n  localml --offline repair --from /media/usb"
)]
pub(crate) struct Args {
    /// The packages; all of them when none is named
    packages: Vec<PackageRef>,
    /// A stick, or a folder that holds the files; may be given several times
    #[arg(long, value_name = "DIR")]
    from: Vec<PathBuf>,
    /// Say what is damaged and what it would cost, and bring nothing
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    line: LineArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = RepairOptions {
        packages: args.packages.clone(),
        from: args.from.clone(),
        is_plan: args.plan,
        line: args.line.options(context)?,
    };
    let report = repair(&context.home, &options, &context.terminal)?;
    context.output.show(&report, text);
    Ok(if report.is_complete() || report.is_plan { Outcome::Done } else { Outcome::Problems })
}

fn text(report: &RepairReport) -> String {
    if report.packages.is_empty() {
        return match report.num_whole {
            1 => "nothing is damaged; 1 package is whole".to_owned(),
            num_whole => format!("nothing is damaged; {num_whole} packages are whole"),
        };
    }
    let mut text = String::new();
    for package in &report.packages {
        text.push_str(&format!("{} {} ({})\n", package.name, package.version, package.variant));
        for file in &package.files {
            text.push_str(&damage(&file.damage));
            text.push_str(&outcome(file));
        }
    }
    let (cost, saved) = (size(report.damaged_bytes), size(report.saved_bytes));
    if report.is_plan {
        let kept = match report.kept_bytes {
            0 => String::new(),
            kept_bytes => format!("; {} of the rest are here already, from an earlier try", size(kept_bytes)),
        };
        let reused = match report.reused_bytes {
            0 => String::new(),
            reused_bytes => format!("; {} of the rest lie here in other files", size(reused_bytes)),
        };
        return text
            + &format!("would bring {cost}; {saved} of these files are right and stay{kept}{reused}");
    }
    let wire = size(report.wire_bytes);
    text.push_str(&format!("{wire} over the network; {saved} of these files were right and stayed"));
    if !report.is_complete() {
        text.push_str(
            "\nthe rest: `localml repair --from DIR` takes it from a stick or a folder; `localml request DIR` asks for \
             these pieces alone",
        );
    }
    text
}

fn outcome(file: &RepairedFile) -> String {
    match (file.is_repaired, &file.source, &file.failure) {
        (true, Some(source), _) => format!("           repaired from {source}\n"),
        (true, None, _) => "           repaired from what lay here\n".to_owned(),
        (false, _, Some(failure)) => format!("           NOT REPAIRED: {failure}\n"),
        (false, _, None) => String::new(),
    }
}
