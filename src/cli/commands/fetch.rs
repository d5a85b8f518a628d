//! `localml fetch`.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::line::{LineArgs, story};
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::ops::{Error, FetchOptions, FetchReport, FetchedPackage, fetch};
use crate::package::PackageRef;

/// Bring a package's bytes into the store
///
/// What is verified is kept when it is interrupted; the same command continues there. `install` does the
/// same and also makes the package usable on this PC.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml fetch qwen2.5-0.5b-instruct --plan\n  localml fetch qwen2.5-0.5b-instruct --budget 600MB --within 45m"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) wish: Wish,
}

/// What is wanted, and on which terms; the same for `fetch` and `install`.
#[derive(Debug, clap::Args)]
pub(super) struct Wish {
    /// The packages, as name, name@version, name:variant or registry/name
    #[arg(required = true)]
    pub(super) packages: Vec<PackageRef>,
    /// Say what it would cost, and fetch nothing
    #[arg(long)]
    plan: bool,
    /// Take it even when this PC has too little memory for it
    #[arg(long)]
    anyway: bool,
    /// Use a registry's index even when it is very old
    #[arg(long)]
    accept_stale: bool,
    /// A stick or a folder at hand: what it holds is taken from it, and only the rest fetched
    #[arg(long, value_name = "DIR")]
    from: Vec<PathBuf>,
    #[command(flatten)]
    line: LineArgs,
}

impl Wish {
    pub(super) fn options(&self, context: &Context) -> Result<FetchOptions, Error> {
        Ok(FetchOptions {
            is_plan: self.plan,
            line: self.line.options(context)?,
            from: self.from.clone(),
            ignores_fit: self.anyway,
            accepts_stale: self.accept_stale,
        })
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = args.wish.options(context)?;
    let report = fetch(&context.home, &args.wish.packages, &options, &context.terminal)?;
    context.output.show(&report, |report| {
        let end = "`localml install` makes them usable here, `localml export DIR` writes them to a stick";
        if report.is_plan { text(report) } else { text(report) + end }
    });
    Ok(outcome(&report))
}

/// Members of kits that nobody here knows are worth a word, not a failure.
pub(super) fn outcome(report: &FetchReport) -> Outcome {
    if report.missing.is_empty() { Outcome::Done } else { Outcome::Problems }
}

/// The packages and what they cost, for `fetch` and `install`.
pub(super) fn text(report: &FetchReport) -> String {
    let mut text: String = report.packages.iter().map(line).collect();
    let deed = if report.is_plan { "would fetch" } else { "fetched" };
    let most = if report.is_plan && report.is_upper_bound { "at most " } else { "" };
    text.push_str(&format!("{deed} {most}{}", size(report.missing_bytes)));
    if !report.is_plan && report.wire_bytes != report.missing_bytes {
        // Less after a resume or from a folder, more after a retry: what the data plan pays is said.
        text.push_str(&format!(" ({} over the network)", size(report.wire_bytes)));
    }
    text.push_str(&format!(", {} were here already", size(report.saved_bytes)));
    if report.kept_bytes > 0 {
        text.push_str(&format!(" ({} of it from an earlier try)", size(report.kept_bytes)));
    }
    text.push('\n');
    text.push_str(&story(&report.line, report.missing_bytes, report.is_plan));
    for package in report.packages.iter().filter(|package| !package.fits) {
        text.push_str(&format!("will not fit: {} {}\n", package.name, package.version));
    }
    for source in &report.dropped {
        text.push_str(&format!("left `{}`: {}\n", source.address, source.reason));
    }
    for member in &report.missing {
        let (kit, package) = (&member.kit, &member.member);
        text.push_str(&format!(
            "MISSING `{package}` of `{kit}`: no registry known here has it; `localml registry add` the one that does\n"
        ));
    }
    text
}

fn line(package: &FetchedPackage) -> String {
    let terms = if package.is_restricted { " — some uses are forbidden" } else { "" };
    format!(
        "{} {} ({})  {}  licence: {}{terms}\n",
        package.name,
        package.version,
        package.variant,
        size(package.size_bytes),
        package.license
    )
}
