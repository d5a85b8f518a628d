//! `localml sites`.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::cli::terminal::size;
use crate::ops::{Error, SiteId, SiteReport, SitesOptions, SitesReport, sites};

/// List the sites that are known here by their requests and receipts
///
/// Says what each has, what of it is outdated, what is on its way and what it wants. Letters are not
/// signed: what they say is believed only as far as what to send.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml sites\n  localml sites /media/usb\n  localml sites --forget 3F2A9C01"
)]
pub(crate) struct Args {
    /// A stick whose letters are taken in first
    stick: Option<PathBuf>,
    /// Forget this site; its next letter makes it known again
    #[arg(long, value_name = "ID|NAME")]
    forget: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = SitesOptions { stick: args.stick.clone(), forget: args.forget.clone() };
    let report = sites(&context.home, &options, &context.terminal)?;
    context.output.show(&report, text);
    Ok(Outcome::Done)
}

/// A site as people call it, with its id.
pub(super) fn site_name(label: Option<&str>, site: &SiteId) -> String {
    label.map_or_else(|| site.to_string(), |label| format!("{label} ({site})"))
}

fn text(report: &SitesReport) -> String {
    let mut text = String::new();
    for remark in &report.remarks {
        text.push_str(&format!("on the stick, {remark}\n"));
    }
    if let Some(site) = &report.forgotten {
        text.push_str(&format!("forgotten: {site}\n"));
    }
    if report.sites.is_empty() {
        return text + "no site is known here; `localml sites DIR` takes in the letters of a stick";
    }
    let rows: Vec<Vec<String>> = report.sites.iter().map(row).collect();
    text.push_str(&table(&["SITE", "HEARD", "PACKAGES", "OUTDATED", "ON ITS WAY", "WANTS"], &rows));
    for site in &report.sites {
        text.push_str(&details(site));
    }
    text
}

fn row(site: &SiteReport) -> Vec<String> {
    vec![
        site_name(site.label.as_deref(), &site.site),
        ago(site.heard_seconds_ago),
        site.packages.len().to_string(),
        site.outdated.len().to_string(),
        site.on_the_way.len().to_string(),
        site.wants.len().to_string(),
    ]
}

fn details(site: &SiteReport) -> String {
    let mut lines = vec![format!("\n{}", site_name(site.label.as_deref(), &site.site))];
    for package in &site.packages {
        let newer = site.outdated.iter().find(|outdated| outdated.package == *package);
        lines.push(match newer {
            Some(outdated) => format!("  has {package}; {} is newer", outdated.newest),
            None => format!("  has {package}"),
        });
    }
    if site.missing_bytes > 0 {
        lines.push(format!("  has in part: {} are missing", size(site.missing_bytes)));
    }
    for sent in &site.on_the_way {
        let packages: Vec<String> = sent.packages.iter().map(ToString::to_string).collect();
        lines.push(format!("  on its way: bundle {} with {}", sent.bundle, packages.join(", ")));
    }
    lines.extend(site.wants.iter().map(|package| format!("  wants {package}")));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A length of time in its largest unit.
fn ago(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => "just now".into(),
        (0, 0, minutes) => format!("{minutes} min ago"),
        (0, hours, _) => format!("{hours} h ago"),
        (days, ..) => format!("{days} d ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let told: Vec<String> = [0, 59, 60, 7199, 7200, 86_399, 86_400 * 40].map(ago).to_vec();
        assert_eq!(told, ["just now", "just now", "1 min ago", "1 h ago", "2 h ago", "23 h ago", "40 d ago"]);
    }
}
