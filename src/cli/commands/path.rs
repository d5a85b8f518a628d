//! `localml path`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::ops::{Error, path};
use crate::package::PackageRef;

/// Print where a package's file lies, for other programs
///
/// A package with one file prints that file, one with several its folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  llama-cli -m \"$(localml path qwen2.5-0.5b-instruct)\"")]
pub(crate) struct Args {
    /// The package, as name, name@version or name:variant
    package: PackageRef,
    /// One of its files, by its name in the package
    file: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let report = path(&context.home, &args.package, args.file.as_deref())?;
    context.output.show(&report, |report| report.path.display().to_string());
    Ok(Outcome::Done)
}
