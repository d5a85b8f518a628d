//! `localml gc`.

use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::meter::span;
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::cli::terminal::size;
use crate::ops::{Error, GcItem, GcKind, GcOptions, GcReport, gc};

/// Show what no package here needs, and remove it with `--yes`
///
/// Without `--yes` it only shows what would go: bytes, age and reason. Downloads and imports that were not completed are
/// listed and stay until `--partial` or `--older-than` is given; the version before an installed one stays for `rollback`,
/// and one that was fetched before a later one of the same build stays to be carried, until `--drop-previous` is given.
/// What any other installed or fetched package needs is never removed. Where the clock of this PC was wrong, an age is
/// shown as `?`, and `--older-than` leaves it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml gc\n  localml gc --yes\n  localml gc --older-than 30d --yes")]
pub(crate) struct Args {
    /// Remove what is shown as going
    #[arg(long, short)]
    yes: bool,
    /// Also what was not completed, whatever its age: the next try begins anew
    #[arg(long)]
    partial: bool,
    /// Also what was not completed and nothing was added to for so long, for example 30d, 12h or 4w
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older_than: Option<Duration>,
    /// Also the versions that are kept for `rollback`, and those that were fetched before later ones
    #[arg(long)]
    drop_previous: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = GcOptions {
        is_plan: !args.yes,
        takes_partial: args.partial,
        older_than: args.older_than,
        drops_previous: args.drop_previous,
    };
    context.output.show(&gc(&context.home, &options, &context.terminal)?, |report| text(report, args));
    Ok(Outcome::Done)
}

fn text(report: &GcReport, args: &Args) -> String {
    let goes: Vec<&GcItem> = report.items.iter().filter(|item| item.goes).collect();
    let kept: Vec<&GcItem> = report.items.iter().filter(|item| !item.goes).collect();
    let mut text = String::new();
    if !goes.is_empty() {
        let heading = if report.is_plan { "WOULD GO" } else { "GONE" };
        text.push_str(&listed(heading, &goes));
    }
    if !kept.is_empty() {
        text.push_str(&listed("KEPT", &kept));
    }
    let freed = size(report.freed_bytes);
    match (report.is_plan, goes.is_empty()) {
        (_, true) => {
            text.push_str("nothing to remove: everything here is needed, or kept until it is asked for\n")
        }
        (true, false) => {
            text.push_str(&format!("`{} --yes` would free {freed}{}\n", as_typed(args), shared(&goes)))
        }
        (false, false) => text.push_str(&format!("freed {freed}{}\n", shared(&goes))),
    }
    if !kept.is_empty() {
        let kept_bytes = kept.iter().map(|item| item.here_bytes).sum();
        text.push_str(&format!("{} are kept until they are asked for\n", size(kept_bytes)));
    }
    text
}

/// What goes and frees nothing: other programs' files, or other packages, have the same room.
fn shared(goes: &[&GcItem]) -> String {
    let shared = goes.iter().map(|item| item.here_bytes.saturating_sub(item.size_bytes)).sum::<u64>();
    match shared {
        // A last block that is not full is no news.
        0..4096 => String::new(),
        _ => format!("; {} more share their room with other files", size(shared)),
    }
}

/// The command with what was asked for, so that it removes what was shown.
fn as_typed(args: &Args) -> String {
    let mut line = "localml gc".to_owned();
    if args.partial {
        line.push_str(" --partial");
    }
    if let Some(age) = args.older_than {
        line.push_str(&format!(" --older-than {}", age_text(age)));
    }
    if args.drop_previous {
        line.push_str(" --drop-previous");
    }
    line
}

fn listed(heading: &str, items: &[&GcItem]) -> String {
    let rows: Vec<Vec<String>> = items.iter().map(|item| row(item)).collect();
    table(&[heading, "SIZE", "FREES", "AGE", "PACKAGE", "WHY", "WHERE"], &rows)
}

fn row(item: &GcItem) -> Vec<String> {
    let what = match item.what {
        GcKind::Blob => "file",
        GcKind::Previous => "older version",
        GcKind::Partial => "partial",
        GcKind::Damaged => "damaged",
        GcKind::Suspect => "wrong digest",
        GcKind::PieceList => "piece list",
        GcKind::PackageFiles => "names",
        GcKind::Temporary => "leftover",
    };
    let age = item.age_seconds.map_or_else(|| "?".to_owned(), |seconds| span(Duration::from_secs(seconds)));
    vec![
        what.to_owned(),
        size(item.here_bytes),
        size(item.size_bytes),
        age,
        item.package.clone().unwrap_or_else(|| "-".to_owned()),
        item.reason.to_owned(),
        shortened(&item.path.display().to_string()),
    ]
}

/// A path whose digests are cut to 12 digits.
fn shortened(path: &str) -> String {
    const LONG: usize = 64;
    let short = |part: &str| match part.split_once('.') {
        Some((digest, ending)) if digest.len() == LONG => format!("{}….{ending}", &digest[..12]),
        None if part.len() == LONG && part.is_ascii() => format!("{}…", &part[..12]),
        _ => part.to_owned(),
    };
    path.split('/').map(short).collect::<Vec<_>>().join("/")
}

/// Reads `30d`, `12h`, `45m` or `4w`.
fn parse_age(text: &str) -> Result<Duration, String> {
    const HELP: &str = "use an age such as 30d, 12h or 4w";
    let at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(HELP.into()),
    };
    let number: u64 = digits.parse().map_err(|_| HELP.to_owned())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| HELP.to_owned())
}

/// Writes what `parse_age` reads.
fn age_text(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match (minutes % 60, minutes / 60 % 24) {
        (0, 0) if minutes > 0 => format!("{}d", minutes / 60 / 24),
        (0, _) => format!("{}h", minutes / 60),
        _ => format!("{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_people_write_them() {
        assert_eq!(parse_age("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_age("4w"), parse_age("28d"));
        assert!(parse_age("30").is_err() && parse_age("d").is_err() && parse_age("-3d").is_err());
        assert!(parse_age("99999999999999999999w").is_err());
    }

    #[test]
    fn ages_are_written_as_they_are_read() {
        for text in ["30d", "12h", "45m", "90m", "0h"] {
            assert_eq!(age_text(parse_age(text).expect("an age")), text);
        }
        assert_eq!(age_text(parse_age("4w").expect("an age")), "28d");
    }

    #[test]
    fn digests_in_paths_are_cut() {
        let digest = "a".repeat(64);
        assert_eq!(shortened(&format!("staging/{digest}.part")), "staging/aaaaaaaaaaaa….part");
        assert_eq!(shortened(&format!("blobs/{digest}")), "blobs/aaaaaaaaaaaa…");
        assert_eq!(shortened("packages/book"), "packages/book");
    }
}
