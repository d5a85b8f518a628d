//! `localml request`.

use std::path::PathBuf;

use owo_colors::OwoColorize as _;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{Error, RequestOptions, RequestReport, ShortRequestReport, request, request_short};
use crate::package::PackageRef;

use super::export::parse_size;
use super::sites::site_name;

/// Write to a stick what this site has and wants
///
/// Whoever fills the next stick answers it with `localml export DIR --request DIR`, which sends exactly
/// what is missing here: wanted packages, newer versions, and the missing pieces of what came in part.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml request /media/usb --name \"Clinic Kasulu\"\n  localml request /media/usb qwen2.5-1.5b-instruct\n  localml request --short localml-handbook"
)]
pub(crate) struct Args {
    /// The folder where the stick is mounted; may be left out when only one is, and with `--short`
    stick: Option<String>,
    /// The packages that are wanted, beside newer versions of those that are here
    packages: Vec<PackageRef>,
    /// What this site is called from now on
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The largest volume that this site can take, for example 2GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    volume_size: Option<u64>,
    /// Print it as a QR code and as a text for an SMS instead of writing to a stick
    #[arg(long)]
    short: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let mut options = RequestOptions {
        stick: None,
        packages: args.packages.clone(),
        name: args.name.clone(),
        max_volume_bytes: args.volume_size,
    };
    if args.short {
        // With no stick to name, the first word is a package too.
        let first = args.stick.as_ref().map(|word| word.parse::<PackageRef>()).transpose();
        let first = first.map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))?;
        options.packages.splice(0..0, first);
        let report = request_short(&context.home, &options, &context.terminal)?;
        context.output.show(&report, short_text);
    } else {
        options.stick = args.stick.as_ref().map(PathBuf::from);
        let report = request(&context.home, &options, &context.terminal)?;
        context.output.show(&report, text);
    }
    Ok(Outcome::Done)
}

fn text(report: &RequestReport) -> String {
    let mut lines = vec![format!(
        "request {} of {}: has {} packages",
        report.number,
        site_name(report.label.as_deref(), &report.site),
        report.packages.len()
    )];
    lines.extend(report.wants.iter().map(|package| format!("  wants {package}")));
    if report.missing_bytes > 0 {
        lines.push(format!("  misses {} of what came in part", size(report.missing_bytes)));
    }
    let (file, stick) = (&report.file, report.stick.display());
    lines.push(format!("`LOCALML/{file}` written to `{stick}` and read back; safe to remove"));
    lines.join("\n")
}

fn short_text(report: &ShortRequestReport) -> String {
    let mut lines = vec![qr(&report.text), report.text.clone()];
    lines.push(format!("{} characters; photograph the code, or send the text", report.num_chars));
    if report.num_left_out > 0 {
        let count = report.num_left_out;
        lines.push(format!("{count} large files that are here did not fit and will be sent again"));
    }
    lines.join("\n")
}

/// The text as a QR code in half blocks, black on white whatever the terminal's colours, with its quiet
/// zone. Empty when it does not fit, which no short request is long enough for.
fn qr(text: &str) -> String {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else {
        return String::new();
    };
    let image = code.render::<Dense1x2>().build();
    image.lines().map(|line| format!("{}\n", line.black().on_bright_white())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a camera sees: true where a module is dark.
    fn modules(shown: &str) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in anstream::adapter::strip_str(shown).to_string().lines() {
            rows.push(line.chars().map(|half| matches!(half, '█' | '▀')).collect());
            rows.push(line.chars().map(|half| matches!(half, '█' | '▄')).collect());
        }
        rows
    }

    #[test]
    fn the_longest_short_request_fits_a_terminal_with_its_quiet_zone() {
        let text = format!("LML1 {}", "Q".repeat(3 * 153 - 5));
        let code = QrCode::with_error_correction_level(&text, EcLevel::L).expect("it fits");
        let (width, colors) = (code.width(), code.to_colors());
        assert!(width + 8 <= 80, "{width} modules and four quiet ones on each side");
        let seen = modules(&qr(&text));
        for (row, line) in seen.iter().enumerate() {
            for (column, &is_dark) in line.iter().enumerate() {
                let inside = |at: usize| at.checked_sub(4).filter(|&at| at < width);
                let expected = match (inside(row), inside(column)) {
                    (Some(row), Some(column)) => colors[row * width + column] == qrcode::Color::Dark,
                    _ => false,
                };
                assert_eq!(is_dark, expected, "row {row}, column {column}");
            }
        }
        assert!(seen.len() >= width + 8 && seen[0].len() == width + 8);
    }
}
