//! Whose turn it is: sources in order, a failing one left for the next, patience between rounds.

use std::time::{Duration, Instant};

use super::error::shown;
use super::judge::Remedy;
use super::options::Options;
use crate::digest::Sha256;

/// The longest delay between two rounds.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// From this round on the delay grows no more, with the usual first delay.
const LAST_ROUND: u32 = 6;

/// How many bytes a range asks for again, to compare them with what is there.
const OVERLAP_BYTES: u64 = 1024;

/// One place to fetch from, and what is known of it in this run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    pub(super) url: url::Url,
    /// The URL as it may be shown.
    pub(super) address: String,
    /// As `address`, and tells addresses apart that differ in what is not shown; it may be written down.
    pub(super) key: String,
    /// Parts of the file may be asked for.
    pub(super) has_ranges: bool,
    /// How far a range reaches back into what is there.
    pub(super) overlap_bytes: u64,
    /// Not to be asked again in this run.
    pub(super) is_left: bool,
    /// Another one is there that was found neither slow nor down.
    pub(super) has_rival: bool,
    /// How many bytes it must bring in each span, while it has a rival.
    pub(super) least_bytes: u64,
    /// How long it is watched before it is judged.
    pub(super) span: Duration,
    /// It was found slow.
    is_slow: bool,
    /// It did not answer, or broke off before anything new came.
    is_down: bool,
    not_before: Option<Instant>,
}

/// The sources of one file.
#[derive(Debug)]
pub(super) struct Sources {
    entries: Vec<Source>,
    current: usize,
    failures_in_row: u32,
    not_before: Option<Instant>,
    max_retries: u32,
    first_delay: Duration,
}

impl Sources {
    /// Takes them in order of preference; those that `is_doubtful` names go last.
    pub(super) fn new(
        urls: &[url::Url],
        options: &Options,
        is_doubtful: impl Fn(&url::Url, &str) -> bool,
    ) -> Self {
        // Who wants less than a slow source gives is not to be disappointed by it.
        let limit = options.limit_bytes_per_second.unwrap_or(u64::MAX) / 2;
        let least_bytes =
            (options.slow_bytes_per_second.min(limit) as f64 * options.slow_span.as_secs_f64()) as u64;
        let mut entries: Vec<Source> = urls
            .iter()
            .map(|url| Source {
                url: url.clone(),
                address: shown(url),
                key: key_of(url),
                has_ranges: true,
                overlap_bytes: OVERLAP_BYTES,
                is_left: false,
                has_rival: false,
                least_bytes,
                span: options.slow_span,
                is_slow: false,
                is_down: false,
                not_before: None,
            })
            .collect();
        entries.sort_by_cached_key(|source| is_doubtful(&source.url, &source.key));
        Self {
            entries,
            current: 0,
            failures_in_row: 0,
            not_before: None,
            max_retries: options.max_retries,
            first_delay: options.first_delay,
        }
    }

    /// The next source to ask and how long to wait before; `None` when none is worth another try.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Source, Duration)> {
        let count = self.entries.len();
        let live =
            (0..count).map(|step| (self.current + step) % count).filter(|&at| !self.entries[at].is_left);
        let wait = |at: &usize| {
            let until = self.entries[*at].not_before.max(self.not_before);
            until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
        };
        let wants_pause = |at: &usize| self.entries[*at].not_before.is_some_and(|until| until > now);
        // Who can be asked now is better than who wants a pause, a slow one better than one that is down.
        let rank = |at: &usize| {
            let source = &self.entries[*at];
            (wants_pause(at), source.is_down, source.is_slow, wait(at))
        };
        let at = live.min_by_key(rank)?;
        let delay = wait(&at);
        self.current = at;
        let is_rival = |other: &usize| {
            let source = &self.entries[*other];
            *other != at && !source.is_left && !source.is_slow && !source.is_down && !wants_pause(other)
        };
        let has_rival = (0..count).any(|other| is_rival(&other));
        Some((Source { has_rival, ..self.entries[at].clone() }, delay))
    }

    /// The current source brought something new: patience begins afresh.
    pub(super) fn progressed(&mut self) {
        self.failures_in_row = 0;
        self.not_before = None;
        let source = &mut self.entries[self.current];
        (source.overlap_bytes, source.is_down) = (OVERLAP_BYTES, false);
    }

    /// The current source failed. `jitter` is a random number from 0 to 1.
    ///
    /// False when patience is at its end.
    pub(super) fn failed(&mut self, remedy: Remedy, has_progressed: bool, now: Instant, jitter: f64) -> bool {
        let source = &mut self.entries[self.current];
        match remedy {
            Remedy::Stop => return false,
            Remedy::Later => source.is_slow = true,
            Remedy::WithoutRanges if source.has_ranges => source.has_ranges = false,
            Remedy::Leave | Remedy::WithoutRanges => source.is_left = true,
            Remedy::Retry { after } => {
                source.not_before = after.and_then(|after| now.checked_add(after));
                if has_progressed {
                    return true;
                }
                // A server that breaks off within the overlap would never bring anything new.
                source.overlap_bytes = 0;
                source.is_down |= after.is_none();
                self.failures_in_row += 1;
            }
        }
        self.current += 1;
        let live = self.entries.iter().filter(|source| !source.is_left).count() as u32;
        if self.failures_in_row == 0 || live == 0 {
            return live > 0;
        }
        let rounds = self.failures_in_row / live;
        if rounds > self.max_retries {
            return false;
        }
        if self.failures_in_row.is_multiple_of(live) {
            self.not_before = now.checked_add(delay(rounds, self.first_delay, jitter));
        }
        true
    }

    /// True when one that may still be asked is such.
    pub(super) fn is_any(&self, is_such: impl Fn(&url::Url) -> bool) -> bool {
        self.entries.iter().any(|source| !source.is_left && is_such(&source.url))
    }

    /// After all patience: the same rounds again, not before the longest delay is over. False when nobody is left.
    pub(super) fn begin_again(&mut self, now: Instant) -> bool {
        self.failures_in_row = 0;
        self.not_before = now.checked_add(delay(LAST_ROUND, self.first_delay, 0.0));
        self.entries.iter().any(|source| !source.is_left)
    }

    /// Leaves the sources that `is_bad` names; true when another one is left.
    pub(super) fn leave(&mut self, is_bad: impl Fn(&str) -> bool) -> bool {
        for source in &mut self.entries {
            source.is_left |= is_bad(&source.key);
        }
        self.entries.iter().any(|source| !source.is_left)
    }
}

/// The shown address; where a user or a query is not shown, also the beginning of the digest of the whole address.
fn key_of(url: &url::Url) -> String {
    let shown = shown(url);
    match shown == url.as_str() {
        true => shown,
        false => format!("{shown}#{}", Sha256::of(url.as_str().as_bytes()).short()),
    }
}

/// Doubles with each round up to `MAX_DELAY`, less up to half of it, so that a room full of PCs does not knock in step.
fn delay(round: u32, first: Duration, jitter: f64) -> Duration {
    let doubled = first.saturating_mul(1u32 << round.saturating_sub(1).min(16));
    doubled.min(MAX_DELAY).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// A random number from 0 to 1; 0 where the system has none to give.
pub(super) fn jitter() -> f64 {
    getrandom::u32().map_or(0.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Remedy = Remedy::Retry { after: None };

    fn sources(names: &[&str]) -> Sources {
        let urls: Vec<url::Url> =
            names.iter().map(|name| format!("http://{name}/").parse().expect("a URL")).collect();
        let options = Options { max_retries: 2, first_delay: Duration::from_secs(1), ..Options::default() };
        Sources::new(&urls, &options, |_, address| address.contains("doubtful"))
    }

    fn turn(sources: &mut Sources, now: Instant) -> (String, u64) {
        let (source, delay) = sources.next(now).expect("one is left");
        (source.address, delay.as_secs())
    }

    #[test]
    fn a_failing_source_makes_way_and_each_round_waits_longer() {
        let now = Instant::now();
        let mut sources = sources(&["a", "b"]);
        let mut turns = Vec::new();
        loop {
            turns.push(turn(&mut sources, now));
            if !sources.failed(RETRY, false, now, 0.0) {
                break;
            }
        }
        let turns: Vec<(&str, u64)> = turns.iter().map(|(address, delay)| (&address[7..8], *delay)).collect();
        // Rounds of two; 1 s before the second, 2 s before the third, which is the last of two retries.
        assert_eq!(turns, [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]);
    }

    #[test]
    fn a_source_that_brings_something_is_kept_without_a_pause() {
        let now = Instant::now();
        let mut sources = sources(&["a", "b"]);
        for _ in 0..100 {
            assert_eq!(turn(&mut sources, now), ("http://a/".into(), 0));
            sources.progressed();
            assert!(sources.failed(RETRY, true, now, 0.0));
        }
    }

    #[test]
    fn a_server_that_asks_for_a_pause_is_left_alone_so_long() {
        let now = Instant::now();
        let mut sources = sources(&["a"]);
        assert_eq!(turn(&mut sources, now).1, 0);
        let busy = Remedy::Retry { after: Some(Duration::from_secs(7)) };
        assert!(sources.failed(busy, false, now, 0.0));
        assert_eq!(turn(&mut sources, now).1, 7);
    }

    #[test]
    fn ranges_are_given_up_once_and_then_the_source() {
        let now = Instant::now();
        let mut sources = sources(&["a"]);
        assert!(sources.next(now).expect("live").0.has_ranges);
        assert!(sources.failed(Remedy::WithoutRanges, false, now, 0.0));
        assert!(!sources.next(now).expect("live").0.has_ranges);
        assert!(!sources.failed(Remedy::WithoutRanges, false, now, 0.0));
        assert_eq!(sources.next(now), None);
    }

    #[test]
    fn addresses_that_differ_in_their_query_alone_are_two_and_show_no_secret() {
        let key = |text: &str| key_of(&text.parse().expect("a URL"));
        assert_eq!(key("http://a/b"), "http://a/b");
        let (one, other) = (key("http://a/b?id=1"), key("http://user:secret@a/b?id=2"));
        assert!(one != other && !other.contains("secret") && !one.contains("id=1"), "{one} {other}");
    }

    #[test]
    fn a_doubtful_source_comes_last() {
        let mut sources = sources(&["doubtful", "b"]);
        assert_eq!(turn(&mut sources, Instant::now()).0, "http://b/");
    }

    #[test]
    fn a_slow_source_makes_way_for_the_others_and_comes_back_when_they_fail() {
        let now = Instant::now();
        let mut sources = sources(&["a", "b"]);
        assert!(sources.next(now).expect("live").0.has_rival);
        assert!(sources.failed(Remedy::Later, true, now, 0.0));
        let (second, _) = sources.next(now).expect("live");
        // The first one is known to be slow: the second one is not measured against it.
        assert_eq!((second.address.as_str(), second.has_rival), ("http://b/", false));
        assert!(sources.failed(Remedy::Leave, false, now, 0.0));
        assert_eq!(turn(&mut sources, now), ("http://a/".into(), 0));
    }

    #[test]
    fn a_slow_source_is_better_than_one_that_is_down_or_wants_a_pause() {
        let now = Instant::now();
        let mut both = sources(&["a", "b"]);
        assert_eq!(turn(&mut both, now).0, "http://a/");
        assert!(both.failed(Remedy::Later, true, now, 0.0));
        assert_eq!(turn(&mut both, now).0, "http://b/");
        assert!(both.failed(RETRY, false, now, 0.0));
        // Asked again at once, and no longer measured against one that does not answer.
        let (slow, delay) = both.next(now).expect("live");
        assert_eq!((slow.address.as_str(), slow.has_rival, delay), ("http://a/", false, Duration::ZERO));
        both.progressed();
        assert!(both.failed(RETRY, true, now, 0.0));
        assert_eq!(turn(&mut both, now).0, "http://a/");
        let mut paused = sources(&["a", "b"]);
        assert!(paused.next(now).is_some() && paused.failed(Remedy::Later, true, now, 0.0));
        let pause = Remedy::Retry { after: Some(Duration::from_secs(60)) };
        assert!(paused.next(now).is_some() && paused.failed(pause, false, now, 0.0));
        assert_eq!(turn(&mut paused, now), ("http://a/".into(), 0));
        // One that dropped a connection is asked again while another one wants its pause.
        let mut hiccup = sources(&["a", "b"]);
        assert!(hiccup.next(now).is_some() && hiccup.failed(RETRY, false, now, 0.0));
        let pause = Remedy::Retry { after: Some(Duration::from_secs(900)) };
        assert!(hiccup.next(now).is_some() && hiccup.failed(pause, false, now, 0.0));
        assert_eq!(turn(&mut hiccup, now), ("http://a/".into(), 1));
    }

    #[test]
    fn delays_double_up_to_half_a_minute_and_shrink_by_half_at_most() {
        let second = Duration::from_secs(1);
        assert_eq!(delay(3, second, 0.0), 4 * second);
        assert_eq!(delay(3, second, 1.0), 2 * second);
        assert_eq!(delay(60, second, 0.0), 30 * second);
    }
}
