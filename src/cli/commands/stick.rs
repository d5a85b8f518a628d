//! `localml stick`.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{
    CleanOptions, CleanReport, Error, RuntimeVerdict, StickReport, StickVerifyReport, letters_in_words,
    stick_clean, stick_info, stick_verify,
};
use crate::progress::counted;

/// Look at a stick, verify it, or take off it what has arrived
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml stick info /media/usb\n  localml stick verify /media/usb\n  localml stick clean /media/usb --plan"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Debug, clap::Subcommand)]
enum Deed {
    /// List the bundles and packages on a stick
    #[command(after_help = "Example:\n  localml stick info /media/usb")]
    Info {
        /// The folder where the stick is mounted; may be left out when only one is
        stick: Option<PathBuf>,
    },
    /// Read every file back; best after unplugging the stick and plugging it in again
    #[command(after_help = "Example:\n  localml stick verify /media/usb")]
    Verify {
        /// The folder where the stick is mounted; may be left out when only one is
        stick: Option<PathBuf>,
    },
    /// Remove the bundles that every site they are for has acknowledged
    #[command(after_help = "Example:\n  localml stick clean /media/usb --plan")]
    Clean {
        /// The folder where the stick is mounted; may be left out when only one is
        stick: Option<PathBuf>,
        /// Remove every bundle, acknowledged or not
        #[arg(long)]
        all: bool,
        /// Only say what would be removed
        #[arg(long)]
        plan: bool,
    },
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    match &args.deed {
        Deed::Info { stick } => {
            context.output.show(&stick_info(stick.as_deref(), &context.terminal)?, info_text);
            Ok(Outcome::Done)
        }
        Deed::Clean { stick, all, plan } => {
            let options = CleanOptions { stick: stick.clone(), is_all: *all, is_plan: *plan };
            let report = stick_clean(&context.home, &options, &context.terminal)?;
            context.output.show(&report, clean_text);
            Ok(Outcome::Done)
        }
        Deed::Verify { stick } => {
            let report = stick_verify(&context.home, stick.as_deref(), &context.terminal)?;
            context.output.show(&report, verify_text);
            Ok(outcome(&report))
        }
    }
}

fn outcome(report: &StickVerifyReport) -> Outcome {
    if !report.is_whole() {
        return Outcome::Bad(ErrorKind::Damaged);
    }
    if !report.runtimes.iter().all(RuntimeVerdict::is_known) {
        return Outcome::Bad(ErrorKind::Untrusted);
    }
    match report.runtimes.iter().any(|runtime| runtime.revoked.is_some()) {
        true => Outcome::Problems,
        false => Outcome::Done,
    }
}

fn clean_text(report: &CleanReport) -> String {
    let mut lines = Vec::new();
    for bundle in &report.removed {
        let packages: Vec<String> = bundle.packages.iter().map(ToString::to_string).collect();
        let by = match bundle.acknowledged_by.len() {
            0 => "nobody acknowledged it".to_owned(),
            1 => "1 site has it".to_owned(),
            count => format!("{count} sites have it"),
        };
        let deed = if report.is_plan { "would go" } else { "removed" };
        lines.push(format!(
            "{deed} {} ({}): {by}: {}",
            bundle.id,
            size(bundle.size_bytes),
            packages.join(", ")
        ));
    }
    for bundle in &report.kept {
        let sites: Vec<String> = bundle.waits_for.iter().map(ToString::to_string).collect();
        let why = match sites.is_empty() {
            true => "no site has acknowledged it".to_owned(),
            false => format!("it waits for {}", sites.join(", ")),
        };
        lines.push(format!("stays {}: {why}", bundle.id));
    }
    lines.push(match report.is_plan {
        true => format!("{} would be freed on `{}`", size(report.freed_bytes), report.stick.display()),
        false => format!("{} freed on `{}`", size(report.freed_bytes), report.stick.display()),
    });
    lines.join("\n")
}

fn info_text(report: &StickReport) -> String {
    let mut lines = Vec::new();
    if let (Some(id), Some(generation)) = (&report.stick_id, report.generation) {
        lines.push(format!("stick {id}, written {generation} times"));
    }
    lines.extend(report.remarks.iter().map(ToString::to_string));
    for bundle in &report.bundles {
        let label = if bundle.is_committed { "" } else { ", not in the stick's record" };
        lines.push(format!("bundle {} of {}: {}{label}", bundle.id, bundle.created, size(bundle.size_bytes)));
        if bundle.volumes.len() < bundle.num_volumes {
            let (num_here, num_volumes) = (bundle.volumes.len(), bundle.num_volumes);
            let names = if num_here == 0 { String::new() } else { format!(": {}", bundle.volumes.join(" ")) };
            lines.push(format!(
                "  {num_here} of its {num_volumes} volumes lie here{names}; the others are on other sticks, cut short or \
                 lost"
            ));
        }
        if !bundle.recipients.is_empty() {
            let sites: Vec<String> = bundle.recipients.iter().map(ToString::to_string).collect();
            lines.push(format!("  for {}", sites.join(", ")));
        }
        lines.extend(bundle.packages.iter().map(|package| format!("  {package}")));
    }
    if report.num_requests + report.num_receipts > 0 {
        let letters = letters_in_words(report.num_requests, report.num_receipts);
        lines.push(format!("{letters}; `localml sites` reads them"));
    }
    lines.extend(report.refused.iter().cloned());
    if report.bundles.is_empty() {
        lines.push("no bundle that can be read is on it".into());
    }
    lines.push("nothing of this is verified; `localml import` does that".into());
    lines.join("\n")
}

fn verify_text(report: &StickVerifyReport) -> String {
    let bad = report.files.iter().filter(|file| !file.is_whole);
    let mut lines: Vec<String> = bad.map(|file| format!("DAMAGED {}", file.file)).collect();
    lines.extend(report.remarks.iter().map(ToString::to_string));
    let all_bytes = report.files.iter().map(|file| file.size_bytes).sum();
    lines.push(match lines.is_empty() {
        _ if !report.was_exported_to => {
            let letters = letters_in_words(report.num_requests, report.num_receipts);
            format!("nothing was exported to it yet; {letters}")
        }
        true => format!(
            "{} in {} read back, all as written",
            size(all_bytes),
            counted(report.files.len(), "file")
        ),
        false => "export to the stick again, or use another one".to_owned(),
    });
    lines.extend(report.runtimes.iter().map(runtime));
    lines.join("\n")
}

/// Whether localml itself on the stick is what a publisher signed; sums alone would not tell.
fn runtime(verdict: &RuntimeVerdict) -> String {
    let target = &verdict.target;
    match (&verdict.voucher, &verdict.revoked) {
        (None, _) if !verdict.problems.is_empty() => {
            let problems = verdict.problems.join("; ");
            format!("NOT VOUCHED FOR BIN/{target}: {problems}; export with `--runtime` writes it anew")
        }
        (None, _) => {
            format!(
                "UNKNOWN BIN/{target}: no registry known here signed these bytes; do not run them unasked"
            )
        }
        (Some(_), Some(reason)) => format!("REVOKED BIN/{target}: its publisher took it back: {reason}"),
        (Some(it), None) => {
            format!(
                "BIN/{target}: `{}` {}, as the registry `{}` signed it\n  the sum of its SHA256SUMS, for the telephone: {}",
                it.package, it.version, it.registry, it.sums_sha256
            )
        }
    }
}
