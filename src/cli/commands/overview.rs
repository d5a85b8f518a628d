//! Bare `localml`: what this PC has, and which command comes next.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::ops::{Error, OverviewReport, overview};

pub(super) fn run(context: &Context) -> Result<Outcome, Error> {
    context.output.show(&overview(&context.home)?, text);
    Ok(Outcome::Done)
}

fn text(report: &OverviewReport) -> String {
    let mut text = format!(
        "this PC   {} of memory, {} free on the disk\nhome      {}\npackages  {} chat models, {} embedders, {} others\ndocuments {} collections\n",
        size(report.ram_bytes),
        size(report.free_bytes),
        report.home.display(),
        report.num_chat_models,
        report.num_embedders,
        report.num_other_packages,
        report.num_collections
    );
    for revoked in &report.revoked {
        text.push_str(&format!(
            "REVOKED   {} {}: {}; {}\n",
            revoked.name,
            revoked.version,
            revoked.reason,
            revoked.advice()
        ));
    }
    text.push_str("\nnext:\n");
    for next in &report.next {
        text.push_str(&format!("  {:26} {}\n", next.command, next.purpose));
    }
    text.push_str("`localml --help` lists every command\n");
    text
}
