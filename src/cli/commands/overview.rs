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
    if report.num_fetched_packages > 0 {
        let (num_packages, bytes) = (report.num_fetched_packages, size(report.fetched_bytes));
        let packages = if num_packages == 1 { "package" } else { "packages" };
        text.push_str(&format!("to carry  {num_packages} {packages} fetched and not installed, {bytes}\n"));
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
    for next in &report.next {
        text.push_str(&format!("  {:26} {}\n", next.command, next.purpose));
    }
    text.push_str("`localml --help` lists every command\n");
    text
}
