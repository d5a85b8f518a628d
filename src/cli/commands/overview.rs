//! Bare `localml`: what this PC has, and which command comes next.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::table::columns;
use crate::cli::terminal::size;
use crate::ops::{Error, NextCommand, OverviewReport, overview};
use crate::progress::counted;

pub(super) fn run(context: &Context) -> Result<Outcome, Error> {
    context.output.show(&overview(&context.home)?, text);
    Ok(Outcome::Done)
}

fn text(report: &OverviewReport) -> String {
    let mut text = format!(
        "this PC   {} of memory, {} free on the disk\nhome      {}\npackages  {}, {}, {}\ndocuments {}\n",
        size(report.ram_bytes),
        size(report.free_bytes),
        report.home.display(),
        counted(report.num_chat_models, "chat model"),
        counted(report.num_embedders, "embedder"),
        counted(report.num_other_packages, "other"),
        counted(report.num_collections, "collection")
    );
    if report.num_fetched_packages > 0 {
        let (packages, bytes) = (counted(report.num_fetched_packages, "package"), size(report.fetched_bytes));
        text.push_str(&format!("to carry  {packages} fetched and not installed, {bytes}\n"));
    }
    for waiting in &report.waiting {
        let how = match waiting.is_whole {
            true => "all of it is here, not installed".to_owned(),
            false => format!("{} of it are here, not complete", size(waiting.here_bytes)),
        };
        text.push_str(&format!("waiting   {}: {how}\n", waiting.package));
    }
    for name in &report.damaged {
        text.push_str(&format!("DAMAGED   {name}: out of use until `localml repair {name}`\n"));
    }
    if let Some(kit) = &report.kit {
        let line = format!("site      set up as {} (kit {})\n", kit.site(), kit.version);
        text.insert_str(0, &line);
    }
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
    let row = |next: &NextCommand| vec![format!("  {}", next.command), next.purpose.clone()];
    text.push_str(&columns(&report.next.iter().map(row).collect::<Vec<_>>()));
    text.push_str("`localml --help` lists every command\n");
    text
}
