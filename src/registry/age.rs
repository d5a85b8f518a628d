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

/// No localml wrote anything before this day (2026-01-01), in seconds since 1970.
const BEGUN_SECONDS: i64 = 1_767_225_600;

/// This machine's clock, and what it is measured by.
#[derive(Debug, Clone, Copy)]
pub struct Calendar {
    shown: i64,
    floor: i64,
}

impl Calendar {
    /// Takes the time that the clock shows, and the newest signed time that is known, in seconds since 1970.
    pub fn new(clock: SystemTime, newest_signed_seconds: Option<i64>) -> Self {
        Self { shown: seconds_of(clock), floor: newest_signed_seconds.unwrap_or(0).max(BUILT_SECONDS) }
    }

    /// How long ago something was written by this machine, in seconds; a time to come is now. `None` when the clock
    /// shows what cannot be, or did when it was written: then nobody knows.
    pub fn age_seconds(&self, written: SystemTime) -> Option<u64> {
        let written = seconds_of(written);
        let is_known = written >= BEGUN_SECONDS
            && !is_behind(self.shown, self.floor)
            && !is_ahead(self.shown, self.floor);
        is_known.then(|| u64::try_from(self.shown.saturating_sub(written)).unwrap_or(0))
    }
}

/// A day of grace: time zones and small drift are not worth a word.
fn is_behind(shown: i64, floor: i64) -> bool {
    shown < floor - DAY_SECONDS
}

fn is_ahead(shown: i64, floor: i64) -> bool {
    shown > floor.saturating_add(BELIEVABLE_SECONDS)
}

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
        let (is_behind, is_ahead) = (is_behind(shown, floor), is_ahead(shown, floor));
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
    fn what_was_written_under_a_wrong_clock_has_no_age() {
        let now = BUILT_SECONDS + 5 * DAY_SECONDS;
        let right = Calendar::new(at(now), None);
        assert_eq!(right.age_seconds(at(now - 60)), Some(60));
        assert_eq!(right.age_seconds(at(now + 60)), Some(0), "a time to come is now");
        // 1970, and 2015, as the clock of a board may begin.
        assert_eq!((right.age_seconds(at(1000)), right.age_seconds(at(1_420_070_400))), (None, None));
        // A clock that is wrong now: in 1970, in 2099, and long before the newest signature.
        for shown in [1000, 4_070_908_800] {
            assert_eq!(Calendar::new(at(shown), None).age_seconds(at(now)), None, "{shown}");
        }
        let signed = now + 400 * DAY_SECONDS;
        assert_eq!(Calendar::new(at(now), Some(signed)).age_seconds(at(now - 60)), None);
        assert_eq!(Calendar::new(at(signed), Some(signed)).age_seconds(at(signed - 60)), Some(60));
    }

    #[test]
    fn the_clock_never_makes_a_thing_younger_than_its_signature() {
        // Signed after its own expiry day has passed elsewhere: the floor decides.
        let late = SignedDates { signed_seconds: Some(BUILT_SECONDS), expires_seconds: BUILT_SECONDS - 1 };
        assert_eq!(late.judge(at(BUILT_SECONDS - DAY_SECONDS)).age, Age::Stale);
        assert_eq!(late.judge(at(BUILT_SECONDS - DAY_SECONDS)).clock_doubt, None);
    }
}
