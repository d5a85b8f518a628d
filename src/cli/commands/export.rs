//! `localml export`.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::cli::terminal::size;
use crate::ops::{
    DEFAULT_VOLUME_BYTES, Error, ExportOptions, ExportReport, ExportedPackage, PaceSource, export,
};
use crate::ops::{Signing, show_fingerprint};
use crate::package::{Name, PackageRef};

use super::sites::site_name;

/// How many of the files that need not travel are shown.
const MAX_SHOWN: usize = 10;

/// Write packages to a stick
///
/// Everything is read back from the stick before it is called safe to remove. What an earlier export put
/// there stays. An export that was cut off continues when it is run again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml export /media/usb --plan\n  localml export /media/usb localml-handbook\n  localml export /media/usb --kit clinic\n  localml export /media/usb --request /media/usb\n  localml export /media/usb --spread --parity 10%\n  localml export /media/usb --sign=kofi"
)]
pub(crate) struct Args {
    /// The folder where the stick is mounted; may be left out when only one is
    stick: Option<PathBuf>,
    /// The packages; everything that is fetched or installed when none is named
    packages: Vec<PackageRef>,
    /// A kit: all its packages that are here; its name with or without `-kit`; may be given again
    #[arg(long, value_name = "KIT")]
    kit: Vec<PackageRef>,
    /// Put localml itself on the stick as plain files, for a site that has nothing yet; see START.SH there
    #[arg(long)]
    runtime: bool,
    /// The largest volume, for example 500MB or 2GiB; FAT32 holds at most 4 GiB - 1
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value_t = DEFAULT_VOLUME_BYTES, hide_default_value = true)]
    volume_size: u64,
    /// Send exactly what a site lacks, by its request: a text, a file, or a folder or stick of requests
    #[arg(long, value_name = "TEXT|FILE|FOLDER")]
    request: Vec<String>,
    /// Send exactly what this site lacks, by its newest letter that is known here
    #[arg(long, value_name = "ID|NAME")]
    site: Vec<String>,
    /// Send everything whole, whatever the sites say that they have
    #[arg(long)]
    full: bool,
    /// Take what fits on this stick; the same command with the next stick goes on with the rest
    #[arg(long)]
    spread: bool,
    /// Forget which sticks took what of this very export, and begin a new set
    #[arg(long)]
    anew: bool,
    /// Another stick that is plugged in and takes a share; may be given again
    #[arg(long, value_name = "DIR")]
    also: Vec<PathBuf>,
    /// The most that the export may take on each stick, for example 4GB; the rest is for other sticks
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    room: Option<u64>,
    /// Add volumes that make up for lost or damaged ones: so many for a hundred, for example 10%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "0", hide_default_value = true)]
    parity: u32,
    /// Only say what would be written
    #[arg(long)]
    plan: bool,
    /// Sign what no publisher signed with your own key, made on first use; NAME says who you are
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true)]
    sign: Option<Option<Name>>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = ExportOptions {
        stick: args.stick.clone(),
        packages: args.packages.clone(),
        requests: args.request.clone(),
        sites: args.site.clone(),
        is_full: args.full,
        kits: args.kit.clone(),
        takes_runtime: args.runtime,
        also: args.also.clone(),
        is_spread: args.spread,
        begins_anew: args.anew,
        room_bytes: args.room,
        parity_percent: args.parity,
        volume_size_bytes: args.volume_size,
        is_plan: args.plan,
        signing: args.sign.clone().map(|name| Signing { name }),
    };
    let report = export(&context.home, &options, &context.terminal)?;
    context.output.show(&report, text);
    let is_whole = report.damaged.is_empty() && report.left.is_empty();
    let is_all_sent = is_whole && report.not_sent.is_empty() && report.missing.is_empty();
    Ok(if is_all_sent { Outcome::Done } else { Outcome::Problems })
}

fn text(report: &ExportReport) -> String {
    let rows: Vec<Vec<String>> = report.packages.iter().map(row).collect();
    let mut text = table(&["PACKAGE", "VERSION", "VARIANT", "SIZE", ""], &rows);
    for package in &report.damaged {
        text.push_str(&format!("DAMAGED {}: {}\n", package.name, package.reason));
    }
    for member in &report.missing {
        let (kit, package) = (&member.kit, &member.member);
        text.push_str(&format!(
            "MISSING `{package}` of `{kit}` is not here; `{}` brings it\n",
            member.command
        ));
    }
    for package in report.packages.iter().filter(|package| !package.requires.is_empty()) {
        let names: Vec<String> = package.requires.iter().map(|name| format!("`{name}`")).collect();
        text.push_str(&format!(
            "`{}` requires {}, which the site must have\n",
            package.name,
            names.join(", ")
        ));
    }
    text.push_str(&difference(report));
    text.push_str(&shares(report));
    if let Some(courier) = &report.courier {
        text.push_str(&format!(
            "what no publisher signed is signed by you, the courier `{}`; your fingerprint, for the keepers:\n{}\n",
            courier.name,
            show_fingerprint(&courier.fingerprint)
        ));
    }
    text.push_str(&verdict(report));
    text
}

/// The last line: what became of it, and whether the stick may go.
fn verdict(report: &ExportReport) -> String {
    let (bundle, stick) = (&report.bundle, report.stick.display());
    let bytes = size(report.size_bytes);
    match (report.is_plan, report.was_there) {
        (true, true) => format!(
            "nothing would be written: by its record, `{stick}` has bundle {bundle}; `localml stick verify \
             {stick}` reads it back"
        ),
        (true, false) => format!(
            "{} bytes ({bytes}) in {} files would be written to `{stick}`{}{}",
            report.size_bytes,
            report.files.len(),
            time(report),
            room(report)
        ),
        (false, _) if !report.left.is_empty() => {
            format!("bundle {bundle} is not whole yet: `{stick}` has its share, read back; safe to remove")
        }
        (false, true) => format!("bundle {bundle} is on `{stick}` already, and whole; safe to remove"),
        (false, false) => format!(
            "bundle {bundle}: {bytes} written to `{stick}` and read back{}; safe to remove",
            time(report)
        ),
    }
}

/// Which stick of a set takes what, and what is left for those to come.
fn shares(report: &ExportReport) -> String {
    let mut text = String::new();
    let is_set = report.sticks.len() > 1 || !report.left.is_empty() || !report.elsewhere.is_empty();
    for share in &report.elsewhere {
        let (stick, names) = (&share.stick, share.volumes.join(" "));
        text.push_str(&format!("stick {stick} has {names} (`--anew` begins a new set)\n"));
    }
    for part in report.sticks.iter().filter(|_| is_set) {
        let (stick, names) = (part.stick.display(), part.volumes.join(" "));
        text.push_str(&format!("`{stick}` takes {}: {names}\n", size(part.size_bytes)));
    }
    if !report.left.is_empty() {
        let left_bytes = report.left.iter().map(|file| file.size_bytes).sum();
        text.push_str(&format!(
            "LEFT {} in {} volumes: plug in the next stick and run the same command again\n",
            size(left_bytes),
            report.left.len()
        ));
    }
    text
}

/// Who gets what, what they must have already, and what they want in vain.
fn difference(report: &ExportReport) -> String {
    let mut lines: Vec<String> = Vec::new();
    for recipient in &report.recipients {
        let name = site_name(recipient.label.as_deref(), &recipient.site);
        let packages: Vec<String> = recipient.packages.iter().map(ToString::to_string).collect();
        lines.push(match packages.is_empty() {
            true => format!("for {name}: nothing that it lacks, and the newest signed lists"),
            false => format!("for {name}: {}", packages.join(", ")),
        });
    }
    if !report.requires.is_empty() {
        let (num_files, bytes) = (report.requires.len(), size(report.saved_bytes));
        lines.push(format!(
            "left out, because they have it: {bytes} in {num_files} files, which they must have"
        ));
        let shown = report.requires.iter().take(MAX_SHOWN);
        lines.extend(shown.map(|file| format!("  {} {} {}", file.sha256.short(), file.package, file.path)));
        if num_files > MAX_SHOWN {
            lines.push(format!("  and {} more; `--json` lists all", num_files - MAX_SHOWN));
        }
    }
    for wanted in &report.not_sent {
        let (package, site) = (&wanted.package, &wanted.site);
        lines
            .push(format!("NOT SENT {package} to {site}: {}; `{}` brings it", wanted.reason, wanted.command));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// How long it takes or took, and at which speeds.
fn time(report: &ExportReport) -> String {
    let Some(pace) = &report.pace else { return String::new() };
    let (write, read) = (size(pace.write_bytes_per_second), size(pace.read_bytes_per_second));
    let time = match pace.seconds {
        0..=1 => "1 second".to_owned(),
        2..=119 => format!("{} seconds", pace.seconds),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    };
    match pace.source {
        PaceSource::Measured => format!(" in {time} ({write}/s written, {read}/s read)"),
        PaceSource::Remembered => {
            format!("\nabout {time}, by the last export to this stick: {write}/s written, {read}/s read")
        }
        PaceSource::Probed => format!("\nabout {time}, by a short trial: {write}/s written, {read}/s read"),
    }
}

/// Whether the stick has room, and what its file system does not take.
fn room(report: &ExportReport) -> String {
    let facts = &report.facts;
    let mut text = String::new();
    // Of a set, each stick takes what it has room for.
    if report.sticks.len() == 1 && report.left.is_empty() && facts.free_bytes < report.size_bytes {
        text.push_str(&format!("\nNOT ENOUGH ROOM: the stick has {} free", size(facts.free_bytes)));
    }
    if facts.file_system == Some("vfat") {
        text.push_str("\nthe stick has FAT (vfat): no file on it may have 4 GiB, and none will");
    }
    text
}

fn row(package: &ExportedPackage) -> Vec<String> {
    let label = if package.is_signed { "" } else { "unsigned" };
    vec![
        package.name.to_string(),
        package.version.to_string(),
        package.variant.to_string(),
        size(package.size_bytes),
        label.to_owned(),
    ]
}

/// Reads `10%` or `10`.
fn parse_percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let percent: u32 = number.parse().map_err(|_| "use a number, for example 10%".to_owned())?;
    if percent <= 100 { Ok(percent) } else { Err("100% is as many parity volumes as volumes".into()) }
}

/// Reads `500MB`, `1GiB` or plain bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err("use a number with MB, GB, MiB or GiB".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "use a number with MB, GB, MiB or GiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "it is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(parse_size("500MB"), Ok(500_000_000));
        assert_eq!(parse_size("1 GiB"), Ok(1 << 30));
        assert_eq!(parse_size("4294967295"), Ok(4_294_967_295));
        assert!(parse_size("many").is_err() && parse_size("99999999999GB").is_err());
    }
}
