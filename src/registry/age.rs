//! How old signed facts are, judged by a clock that may be wrong.
//!
//! Age is a tier, not a wall. The clock of a PC with a dead battery says 1970, or anything: it is
//! believed only between the newest signed time and a few years after it; outside, it is named and
//! ages nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// No localml of this source was built before this day (2026-11-22), in seconds since 1970.
const BUILT_SECONDS: i64 = 1_795_305_600;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// After this long past its expiry, what was signed is very stale: one year, in seconds.
const VERY_STALE_SECONDS: i64 = 365 * DAY_SECONDS;

/// A clock this far ahead of the newest signed time is not believed: eight years, in seconds.
const BELIEVABLE_SECONDS: i64 = 8 * 365 * DAY_SECONDS;

/// When something was signed and until when its signers vouch for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedDates {
    /// When it was signed, in seconds since 1970; `None` where the signer did not say.
    pub signed_seconds: Option<i64>,
    /// The earliest expiry of its parts, in seconds since 1970.
    pub expires_seconds: i64,
}

/// How old signed facts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Age {
    /// Its signers still vouch for it.
    Fresh,
    /// Expired: worth a warning.
    Stale,
    /// Expired more than a year ago: installing from it needs a word.
    VeryStale,
}

/// An age, and what it was judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// The tier.
    pub age: Age,
    /// The day of expiry, as `2026-11-22`.
    pub expires: String,
    /// What is odd about this machine's clock, as one line, when it was not believed.
    pub clock_doubt: Option<String>,
}

impl SignedDates {
    /// Judges the age at the time that this machine's clock shows.
    pub fn judge(&self, clock: SystemTime) -> Freshness {
        let floor = self.signed_seconds.unwrap_or(0).max(BUILT_SECONDS);
        let shown = seconds_of(clock);
        // A day of grace: time zones and small drift are not worth a word.
        let is_behind = shown < floor - DAY_SECONDS;
        let is_ahead = shown > floor.saturating_add(BELIEVABLE_SECONDS);
        let believed = if is_ahead { floor } else { shown.max(floor) };
        let age = match believed.saturating_sub(self.expires_seconds) {
            late if late <= 0 => Age::Fresh,
            late if late <= VERY_STALE_SECONDS => Age::Stale,
            _ => Age::VeryStale,
        };
        Freshness {
            age,
            expires: day_of(self.expires_seconds),
            clock_doubt: (is_behind || is_ahead).then(|| doubt(shown, floor)),
        }
    }
}

fn doubt(shown: i64, floor: i64) -> String {
    let (shown, floor) = (day_of(shown), day_of(floor));
    format!("the clock of this computer shows {shown}, which cannot be; ages are judged as on {floor}")
}

/// Seconds since 1970; a time before that counts as 1970.
pub(crate) fn seconds_of(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// The day as `2026-11-22`, in UTC.
pub(crate) fn day_of(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.to_string().chars().take_while(|&c| c != 'T').collect(),
        Err(_) => "a day beyond the calendar".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).expect("after 1970"))
    }

    fn dates() -> SignedDates {
        // Signed ten days after the build, expiring 90 days after that.
        let signed = BUILT_SECONDS + 10 * DAY_SECONDS;
        SignedDates { signed_seconds: Some(signed), expires_seconds: signed + 90 * DAY_SECONDS }
    }

    #[test]
    fn ages_in_three_tiers() {
        let expires = dates().expires_seconds;
        assert_eq!(dates().judge(at(expires)).age, Age::Fresh);
        assert_eq!(dates().judge(at(expires + 1)).age, Age::Stale);
        assert_eq!(dates().judge(at(expires + VERY_STALE_SECONDS)).age, Age::Stale);
        assert_eq!(dates().judge(at(expires + VERY_STALE_SECONDS + 1)).age, Age::VeryStale);
    }

    #[test]
    fn a_clock_at_1970_or_2099_is_named_and_ages_nothing() {
        for (seconds, day) in [(0, "1970-01-01"), (4_070_908_800, "2099-01-01")] {
            let freshness = dates().judge(at(seconds));
            assert_eq!(freshness.age, Age::Fresh, "{day}");
            assert_eq!(
                freshness.clock_doubt,
                Some(format!(
                    "the clock of this computer shows {day}, which cannot be; ages are judged as on 2026-12-02"
                ))
            );
        }
    }

    #[test]
    fn the_clock_never_makes_a_thing_younger_than_its_signature() {
        // Signed after its own expiry day has passed elsewhere: the floor decides.
        let late = SignedDates { signed_seconds: Some(BUILT_SECONDS), expires_seconds: BUILT_SECONDS - 1 };
        assert_eq!(late.judge(at(BUILT_SECONDS - DAY_SECONDS)).age, Age::Stale);
        assert_eq!(late.judge(at(BUILT_SECONDS - DAY_SECONDS)).clock_doubt, None);
    }
}
