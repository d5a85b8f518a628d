//! `localml update`.

use crate::cli::context::Context;
use crate::cli::line::LineArgs;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{self, Age, Change, Error, FailedRegistry, UpdateOptions, UpdateReport, UpdatedRegistry};
use crate::package::Name;
use crate::progress::Monitor as _;

/// Refresh the signed index of every registry
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml update")]
pub(crate) struct Args {
    /// Only these registries
    registries: Vec<Name>,
    /// Fetch a damaged copy anew; never an older state than the one known here
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    line: LineArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = UpdateOptions {
        names: args.registries.clone(),
        is_repair: args.repair,
        line: args.line.options(context)?,
    };
    let report = ops::update(&context.home, &options, &context.terminal)?;
    for registry in &report.registries {
        warn(registry, context);
    }
    context.output.show(&report, text);
    Ok(outcome(&report))
}

fn outcome(report: &UpdateReport) -> Outcome {
    let first = report.failures.first();
    if report.failures.iter().any(|failure| failure.is_untrusted) {
        Outcome::Bad(ErrorKind::Untrusted)
    } else if let Some(kind) = report.ended_by {
        Outcome::Bad(kind)
    } else if let (true, Some(first)) = (report.registries.is_empty(), first) {
        Outcome::Bad(first.kind)
    } else if first.is_none() {
        Outcome::Done
    } else {
        Outcome::Problems
    }
}

fn warn(registry: &UpdatedRegistry, context: &Context) {
    if let Some(doubt) = &registry.freshness.clock_doubt {
        context.terminal.warn(doubt);
    }
    if registry.freshness.age != Age::Fresh {
        let (name, expires) = (&registry.name, &registry.freshness.expires);
        context
            .terminal
            .warn(&format!("the registry `{name}` expired on {expires}: ask its publisher to sign it anew"));
    }
}

fn text(report: &UpdateReport) -> String {
    if report.registries.is_empty() && report.failures.is_empty() {
        return "no registry was added; the catalog is part of this program\n\
                `localml registry add NAME URL --fingerprint …` adds one"
            .to_owned();
    }
    let updated = report.registries.iter().map(line);
    let not_asked = report.not_asked.iter().map(|name| format!("`{name}`: not asked"));
    updated.chain(report.failures.iter().map(failure)).chain(not_asked).collect::<Vec<_>>().join("\n")
}

fn line(registry: &UpdatedRegistry) -> String {
    let change = match registry.outcome {
        Change::Added => "added",
        Change::Newer => "refreshed",
        Change::Same => "already the newest",
        Change::OlderIgnored => "the newest is known already",
    };
    format!(
        "`{}`: {change}, version {}, {} package versions, {} fetched",
        registry.name,
        registry.version,
        registry.num_packages,
        size(registry.fetched_bytes)
    )
}

fn failure(failure: &FailedRegistry) -> String {
    let causes: Vec<String> = failure.causes.iter().map(|cause| format!("\n  cause: {cause}")).collect();
    let hint = failure.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    format!("`{}`: not refreshed: {}{}{hint}", failure.name, failure.message, causes.concat())
}
