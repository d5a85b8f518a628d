//! `localml import`.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{
    Error, ImportOptions, ImportReport, IncompletePackage, LooseReport, TrustedByKit, import, import_loose,
    is_loose, short_fingerprint,
};
use crate::package::{Name, PackageRef};

use super::install::set_up;

/// How many of the files that are of no use are shown.
const MAX_SHOWN: usize = 20;

/// How a site asks for the rest.
const ASK_AGAIN: &str =
    "`localml request DIR` here, then `localml export DIR --request DIR` (or `--full`) where it comes from";

/// Install packages from a stick, or from files that another program downloaded
///
/// Needs no network. Only what a registry known here has signed is installed; what is whole is usable
/// at once, and what is not is named. Ends with 4 when a package is damaged, with 8 when others
/// were completed, some files could not be taken, or a package in use turns out to be revoked, and with 7 when nobody
/// known here vouches for the stick.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml import /media/usb\n  localml import /media/usb localml-handbook\n  localml import /media/usb/downloads\n  localml import model.gguf.part"
)]
pub(crate) struct Args {
    /// The folder where the stick is mounted, which may be left out when only one is; or files, or a folder of files,
    /// that a browser or download manager fetched, whole or in part, under any name
    #[arg(value_name = "DIR|FILE")]
    stick: Option<PathBuf>,
    /// The packages of the stick, everything on it when none is named; or more files and folders
    #[arg(value_name = "PACKAGES|FILES")]
    rest: Vec<String>,
    /// Trust the registry on the stick that has this fingerprint, from now on
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// Believe the courier on the stick whose key has this fingerprint, from now on; `list` labels what comes so
    #[arg(long, value_name = "FINGERPRINT")]
    courier: Option<String>,
    /// Take this package although nobody signed it; `list` labels it for ever
    #[arg(long, value_name = "NAME")]
    unsigned: Vec<Name>,
    /// Install from an index that expired more than a year ago
    #[arg(long)]
    accept_stale: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    if let Some(first) = args.stick.as_ref().filter(|first| is_loose(first)) {
        let paths = std::iter::once(first.clone()).chain(args.rest.iter().map(PathBuf::from)).collect();
        return loose(paths, args, context);
    }
    let options = ImportOptions {
        stick: args.stick.clone(),
        packages: args.rest.iter().map(|text| package(text)).collect::<Result<_, _>>()?,
        unsigned: args.unsigned.clone(),
        accepts_stale: args.accept_stale,
        fingerprint: args.fingerprint.clone(),
        courier: args.courier.clone(),
    };
    match (import(&context.home, &options, &context.terminal), &args.stick) {
        // A stick on which nothing but letters lies may carry loose files beside them.
        (Err(error), Some(folder)) if error.kind() == ErrorKind::NotFound && args.rest.is_empty() => {
            loose(vec![folder.clone()], args, context).map_err(|other| match other.kind() {
                ErrorKind::NotFound => error,
                _ => other,
            })
        }
        (report, _) => {
            let report = report?;
            context.output.show_with_advice(&report, text);
            Ok(outcome(&report))
        }
    }
}

fn package(text: &str) -> Result<PackageRef, Error> {
    text.parse().map_err(|error| {
        Error::new(ErrorKind::Usage, format!("{error}"))
            .with_hint("after a stick's folder come packages; after a file, other files and folders")
    })
}

fn loose(paths: Vec<PathBuf>, args: &Args, context: &Context) -> Result<Outcome, Error> {
    let report = import_loose(&context.home, &paths, args.accept_stale, &context.terminal)?;
    context.output.show(&report, loose_text);
    Ok(match report.incomplete.is_empty() && report.refused.is_empty() && report.left.is_empty() {
        true => Outcome::Done,
        false => Outcome::Problems,
    })
}

fn loose_text(report: &LooseReport) -> String {
    let mut lines: Vec<String> = Vec::new();
    for taken in &report.taken {
        let (path, name) = (taken.path.display(), &taken.name);
        lines.push(match taken.kept_bytes == taken.size_bytes {
            true => format!("taken      `{path}`: {name}, whole"),
            false => {
                let (kept, all) = (size(taken.kept_bytes), size(taken.size_bytes));
                format!("taken      `{path}`: {kept} of the {all} of {name}; `localml fetch` goes on there")
            }
        });
    }
    lines.extend(report.known.iter().map(|path| format!("known      `{}`: here already", path.display())));
    lines.extend(report.installed.iter().map(|package| format!("installed  {package}")));
    for package in &report.incomplete {
        let (package, missing) = (&package.package, size(package.missing_bytes));
        lines.push(format!("INCOMPLETE {package}: {missing} are missing; `localml install {package}`"));
    }
    for refused in &report.refused {
        lines.push(format!("refused    {}: {}", refused.package, refused.reason));
    }
    lines.extend(report.left.iter().take(MAX_SHOWN).map(|left| format!("NOT TAKEN  {}", left.reason)));
    if let Some(more) = report.left.len().checked_sub(MAX_SHOWN).filter(|&more| more > 0) {
        lines.push(format!("NOT TAKEN  {more} more files; `--json` lists all"));
    }
    lines.extend(
        report
            .strangers
            .iter()
            .take(MAX_SHOWN)
            .map(|path| format!("left alone `{}`: no list known here speaks of it", path.display())),
    );
    if let Some(more) = report.strangers.len().checked_sub(MAX_SHOWN).filter(|&more| more > 0) {
        lines.push(format!("left alone {more} more files; `--json` lists all"));
    }
    lines.join("\n")
}

fn outcome(report: &ImportReport) -> Outcome {
    let has_whole = !report.installed.is_empty() || !report.unchanged.is_empty();
    if report.is_complete() && report.brings_revocations() {
        Outcome::Problems
    } else if report.is_complete() {
        Outcome::Done
    } else if has_whole
        || (report.set_up_problem.is_some() && report.incomplete.is_empty())
        || (!report.kits.is_empty() && report.incomplete.is_empty())
    {
        Outcome::Problems
    } else if report.incomplete.is_empty() && report.num_unread_bundles == 0 {
        Outcome::Bad(ErrorKind::Untrusted)
    } else {
        Outcome::Bad(ErrorKind::Damaged)
    }
}

fn text(report: &ImportReport) -> String {
    let mut lines: Vec<String> = Vec::new();
    for remark in &report.remarks {
        lines.push(format!("on the stick, {remark}"));
    }
    for trusted in &report.trusted_by_kit {
        let TrustedByKit { registry, fingerprint, kit } = trusted;
        let short = short_fingerprint(fingerprint);
        lines.push(format!(
            "trusted    the registry `{registry}` (fingerprint {short}): `{kit}` vouches for it"
        ));
    }
    for package in &report.unchanged {
        lines.push(format!("unchanged  {package}"));
    }
    for package in &report.installed {
        lines.push(format!("installed  {package}"));
    }
    for package in &report.incomplete {
        lines.extend(incomplete(package));
    }
    for package in &report.lacking {
        let names: Vec<String> = package.requires.iter().map(|name| format!("`{name}`")).collect();
        let (package, names) = (&package.package, names.join(", "));
        lines.push(format!("INCOMPLETE {package}: it requires {names}, which is not here; {ASK_AGAIN}"));
    }
    for package in &report.for_others {
        lines.push(format!(
            "for others {package}; `localml import DIR {}` takes it all the same",
            package.name
        ));
    }
    for refused in &report.refused {
        lines.push(format!("refused    {}: {}", refused.package, refused.reason));
    }
    lines.extend(report.kits.iter().map(|kit| set_up(kit).trim_end().to_owned()));
    lines.extend(report.set_up_problem.iter().map(|problem| format!("NOT SET UP {problem}")));
    if !report.incomplete.is_empty() {
        lines.push(missing(report));
    }
    if let Some(receipt) = report.receipt.as_ref().filter(|receipt| !receipt.is_on_stick) {
        lines.push(format!("receipt {} waits here for a stick that can be written", receipt.number));
    }
    for revoked in &report.revoked {
        lines.push(format!(
            "REVOKED    {} {}, in use here, by its publisher (`{}`): {}; {}",
            revoked.name,
            revoked.version,
            revoked.registry,
            revoked.reason,
            revoked.advice()
        ));
    }
    if lines.is_empty() {
        lines.push("the stick carries no packages".into());
    }
    if let Some(receipt) = report.receipt.as_ref().filter(|receipt| receipt.is_on_stick) {
        lines.push(format!("receipt {} is on the stick, read back; it is safe to remove", receipt.number));
    }
    lines.join("\n")
}

/// What is still missing, and how to come by it.
fn missing(report: &ImportReport) -> String {
    let volumes = match report.missing_volumes.as_slice() {
        [] => String::new(),
        volumes => format!(" ({})", volumes.join(", ")),
    };
    format!(
        "still missing: {}{volumes}; what came is kept. Import again, or from another copy of the stick; or {ASK_AGAIN}",
        size(report.missing_bytes)
    )
}

fn incomplete(package: &IncompletePackage) -> Vec<String> {
    let mut lines = vec![format!("INCOMPLETE {}: not installed", package.package)];
    for file in &package.files {
        lines.push(format!(
            "           `{}`: {} are missing or damaged",
            file.path,
            size(file.missing_bytes)
        ));
        lines.extend(file.causes.iter().map(|cause| format!("           {cause}")));
    }
    lines
}
