//! `localml rollback`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::ops::{Error, RollbackReport, rollback};
use crate::package::PackageRef;

/// Go back to the version that an installed package had before
///
/// Needs no network: `upgrade`, `install` and `import` keep the version that they replace. A version that its
/// publisher revoked must be named.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml rollback qwen2.5-0.5b-instruct\n  localml rollback qwen2.5-0.5b-instruct@1.0.0"
)]
pub(crate) struct Args {
    /// The packages, as name or name@version
    #[arg(required = true)]
    packages: Vec<PackageRef>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let report = rollback(&context.home, &args.packages, &context.terminal)?;
    context.output.show_with_advice(&report, text);
    Ok(Outcome::Done)
}

fn text(report: &RollbackReport) -> String {
    let lines = report.packages.iter().map(|package| {
        let (name, from, to) = (&package.name, &package.from, &package.to);
        format!("{name} is {to} again; {from} is kept, `localml rollback {name}` goes forward\n")
    });
    let next = report.next.iter().map(|command| format!("next: {command}\n"));
    lines.chain(next).collect()
}
