//! What the line may cost, as typed; the same for every command that fetches.

use std::env;
use std::time::{Duration, Instant, SystemTime};

use jiff::civil::Time;
use jiff::{SignedDuration, ToSpan as _, Zoned};

use crate::ops::{Error, LineOptions, LineReport, MirrorRules};

use super::context::Context;
use super::terminal::size;

/// The most bytes, the most time, and where else to ask.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What the line may cost")]
pub(super) struct LineArgs {
    /// The most bytes a second, for example 500K
    #[arg(long, value_name = "RATE", value_parser = parse_bytes)]
    limit_rate: Option<u64>,
    /// The most bytes on the wire, headers in, for example 2GB; what is spent is kept, so that the same command goes on with the same budget
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    budget: Option<u64>,
    /// Begin another budget instead of going on with the last one
    #[arg(long, requires = "budget")]
    new_budget: bool,
    /// Stop after so long, for example 45m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    within: Option<Duration>,
    /// Stop at this time of day, for example 18:00
    #[arg(long, value_name = "HH:MM", value_parser = parse_time)]
    until: Option<Time>,
    /// How many connections a large file may take; without it, more than one where one is slow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    connections: Option<u32>,
}

impl LineArgs {
    /// What was typed, and what the environment adds.
    ///
    /// # Errors
    /// When `LOCALML_MIRROR` or `LOCALML_PEER` makes no sense.
    pub(super) fn options(&self, context: &Context) -> Result<LineOptions, Error> {
        Ok(LineOptions {
            limit_bytes_per_second: self.limit_rate,
            budget_bytes: self.budget,
            is_new_budget: self.new_budget,
            ends_at: self.within.and_then(|within| Instant::now().checked_add(within)),
            until: self.until.map(|time| next(time, &Zoned::now())),
            num_connections: self.connections,
            ..line_options(context)?
        })
    }
}

/// What a line cost, or what is left of it, for people; empty where there is nothing to say.
pub(super) fn story(line: &LineReport, missing_bytes: u64, is_plan: bool) -> String {
    let mut text = String::new();
    let expected = line.expected_seconds(missing_bytes).zip(line.bytes_per_second);
    if let Some((seconds, rate)) = expected.filter(|_| is_plan && missing_bytes > 0) {
        text.push_str(&format!("about {} at {}/s\n", duration(seconds), size(rate)));
    }
    if let Some(left) = line.budget_left_bytes {
        let spent = if is_plan { String::new() } else { format!("{} spent now, ", size(line.spent_bytes)) };
        text.push_str(&format!("budget: {spent}{} left\n", size(left)));
    }
    if let Some(left) = line.seconds_left.filter(|_| is_plan) {
        text.push_str(&format!("time: {} left\n", duration(left)));
    }
    text
}

/// Seconds as people say them: two units at most.
pub(super) fn duration(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// A line without limits: only what flags for every command and the environment say.
///
/// # Errors
/// When `LOCALML_MIRROR` or `LOCALML_PEER` makes no sense.
pub(super) fn line_options(context: &Context) -> Result<LineOptions, Error> {
    let text = |name| env::var(name).unwrap_or_default();
    let MirrorRules { mirrors, peers } =
        MirrorRules::of(&context.home, &text("LOCALML_MIRROR"), &text("LOCALML_PEER"))?;
    Ok(LineOptions { is_offline: context.is_offline, mirrors, peers, ..LineOptions::default() })
}

/// The next moment that this PC's clock shows such a time: today, or tomorrow when it is over.
fn next(time: Time, now: &Zoned) -> SystemTime {
    let today = now.date().to_datetime(time).to_zoned(now.time_zone().clone());
    let later = |moment: Zoned| if moment > *now { Ok(moment) } else { moment.checked_add(1.day()) };
    // Only at the very end of the calendar is there no tomorrow.
    today
        .and_then(later)
        .map_or_else(|_| SystemTime::from(now.timestamp()), |moment| moment.timestamp().into())
}

/// Reads `500K`, `2GB`, `1.5GiB` or plain bytes; K, M and G alone count in thousands.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    const HELP: &str = "use a number with K, M or G, for example 500K or 2GB";
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(HELP.into()),
    };
    let number: f64 = digits.parse().map_err(|_| HELP.to_owned())?;
    let bytes = number * factor as f64;
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(HELP.into()) }
}

/// Reads `45m`, `1h30m` or `90s`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "use a time such as 45m, 1h30m or 90s".to_owned())?;
    Duration::try_from(duration).map_err(|_| "it lies in the past".into())
}

/// Reads `18:00`.
fn parse_time(text: &str) -> Result<Time, String> {
    text.parse().map_err(|_| "use a time of day such as 18:00".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_budgets_read_as_people_write_them() {
        assert_eq!(parse_bytes("500K"), Ok(500_000));
        assert_eq!(parse_bytes("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(parse_bytes("2GiB"), Ok(2 << 30));
        assert!(parse_bytes("0").is_err() && parse_bytes("fast").is_err() && parse_bytes("1.2.3M").is_err());
    }

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(parse_duration("45m"), Ok(Duration::from_secs(2700)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(parse_duration("-5m").is_err() && parse_duration("soon").is_err());
        assert!(parse_time("18:00").is_ok() && parse_time("25:00").is_err());
    }

    #[test]
    fn a_time_of_day_that_is_over_means_tomorrow() {
        let now: Zoned = "2026-11-22T17:30:00+03:00[Africa/Nairobi]".parse().expect("a moment");
        let seconds = |text: &str| {
            let moment = next(parse_time(text).expect("a time"), &now);
            moment.duration_since(SystemTime::from(now.timestamp())).expect("later").as_secs()
        };
        assert_eq!(seconds("18:00"), 30 * 60);
        assert_eq!(seconds("17:00"), (23 * 60 + 30) * 60);
    }
}
