//! Computers whose clock is wrong: every date that a dead battery shows, told to the real program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::http_server::HttpServer;
use crate::support::publisher::Publisher;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::skipped::skip;

const DAY: i64 = 24 * 60 * 60;
const YEAR: i64 = 365 * DAY;

/// Put before the C library, it tells another time; the program itself knows nothing of it.
const SHIFTED_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    const char *shift = getenv("SHIFT_SECONDS");
    int failed = real(id, t);
    if (!failed && id == CLOCK_REALTIME && shift) t->tv_sec += atoll(shift);
    return failed;
}
"#;

/// A site, a stick that was signed today for 30 days, and a clock to turn.
struct Site {
    sandbox: Sandbox,
    library: PathBuf,
}

impl Site {
    /// `None`, said aloud, where no C compiler makes the clock.
    fn new() -> Option<Self> {
        Self::signed_days_ago(0)
    }

    /// As `new`, with a signature that is older.
    fn signed_days_ago(days: i64) -> Option<Self> {
        let sandbox = Sandbox::new();
        let source = sandbox.write("clock.c", SHIFTED_CLOCK);
        let library = sandbox.path("clock.so");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl")
            .status();
        if !made.is_ok_and(|status| status.success()) {
            skip("clocks that are wrong: no C compiler makes one");
            return None;
        }
        let publisher = Publisher::new(&sandbox, "ngo");
        publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n")]);
        publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
        publisher.publish();
        publisher.introduce("cafe", publisher.registry().to_str().unwrap());
        sandbox.ok("cafe", &["fetch", "book", "note"]);
        let mut sign = sandbox.command("desk");
        sign.env("LD_PRELOAD", &library).env("SHIFT_SECONDS", (-days * DAY).to_string());
        sign.args(["registry", "sign", "publisher/ngo/registry", "--keys", "publisher/ngo/keys"]);
        let signed = Run::from(sign.args(["--expires-days", "30"]).output().unwrap());
        assert_eq!(signed.code, Some(0), "{signed:?}");
        sandbox.ok("cafe", &["update"]);
        publisher.introduce("site", publisher.registry().to_str().unwrap());
        fs::create_dir(sandbox.path("stick")).unwrap();
        sandbox.ok("cafe", &["export", "stick"]);
        Some(Self { sandbox, library })
    }

    /// Runs the program with a clock that is this many seconds ahead; negative ones are behind.
    fn run_at(&self, shift_seconds: i64, args: &[&str]) -> Run {
        let mut command = self.sandbox.command("site");
        command.env("LD_PRELOAD", &self.library).env("SHIFT_SECONDS", shift_seconds.to_string());
        Run::from(command.arg("--offline").args(args).output().unwrap())
    }

    fn ok_at(&self, shift_seconds: i64, args: &[&str]) -> String {
        let run = self.run_at(shift_seconds, args);
        assert_eq!(run.code, Some(0), "{run:?}");
        run.stderr
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// 2099-01-01, in seconds since 1970.
const IN_2099: i64 = 4_070_908_800;

#[test]
fn an_index_ages_in_three_tiers() {
    let Some(site) = Site::new() else { return };
    let fresh = site.ok_at(0, &["import", "stick", "note"]);
    assert!(!fresh.contains("expired") && !fresh.contains("clock"), "{fresh}");
    let stale = site.ok_at(40 * DAY, &["import", "stick", "book"]);
    assert!(stale.contains("the index of `ngo` expired on"), "{stale}");
    let very_stale = 31 * DAY + 366 * DAY;
    let said = site.run_at(very_stale, &["import", "stick"]).failed_with(7);
    assert!(said.contains("more than a year ago") && said.contains("--accept-stale"), "{said}");
    let accepted = site.ok_at(very_stale, &["import", "stick", "--accept-stale"]);
    assert!(accepted.contains("the index of `ngo` expired on"), "{accepted}");
    // What is installed does not age.
    site.ok_at(very_stale, &["verify"]);
    site.ok_at(very_stale, &["path", "book"]);
}

#[test]
fn a_clock_at_1970_or_2099_is_named_and_ages_nothing() {
    let Some(site) = Site::new() else { return };
    for (shift, day, package) in
        [(1000 - now(), "1970-01-01", "note"), (IN_2099 - now(), "2099-01-01", "book")]
    {
        let said = site.ok_at(shift, &["import", "stick", package]);
        assert!(said.contains(&format!("the clock of this computer shows {day}, which cannot be")), "{said}");
        assert!(!said.contains("expired"), "{said}");
        // From the registry's folder too, which needs no network.
        let run = site.run_at(shift, &["update"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        site.ok_at(shift, &["verify", package]);
        let doctor = site.run_at(shift, &["doctor"]);
        assert!(doctor.code == Some(8) && doctor.stdout.contains("WARN clock"), "{doctor:?}");
    }
    // Whatever was done on those days leaves nothing behind that hurts on a good day.
    let said = site.ok_at(0, &["import", "stick"]);
    assert!(!said.contains("clock") && !said.contains("expired"), "{said}");
    assert_eq!(site.run_at(0, &["update"]).code, Some(0));
}

#[test]
fn a_fetch_with_a_budget_and_an_end_works_at_1970_and_2099() {
    let Some(site) = Site::new() else { return };
    let server = HttpServer::serve(&site.sandbox.path("publisher/ngo/registry"));
    let root = fs::read(site.sandbox.path("publisher/ngo/registry/1.root.json")).unwrap();
    let fingerprint = localml::digest::Sha256::of(&root).to_string();
    for (index, shift) in [1000 - now(), IN_2099 - now()].into_iter().enumerate() {
        let run = |args: &[&str]| {
            let mut command = site.sandbox.command(&format!("net{index}"));
            command.env("LD_PRELOAD", &site.library).env("SHIFT_SECONDS", shift.to_string());
            Run::from(command.args(args).output().unwrap())
        };
        let added = run(&["registry", "add", "ngo", &server.url(), "--fingerprint", &fingerprint]);
        assert_eq!(added.code, Some(0), "{added:?}");
        let limits = ["--budget", "1MB", "--within", "10m", "--until", "23:59"];
        let fetched = run(&[&["fetch", "book", "note"], &limits[..]].concat());
        assert_eq!(fetched.code, Some(0), "{fetched:?}");
        assert!(fetched.stderr.contains("the clock of this computer shows"), "{fetched:?}");
        assert_eq!(run(&["verify"]).code, Some(0));
    }
}

#[test]
fn an_index_that_expired_keeps_its_tier_under_a_clock_at_1970_or_2099() {
    for (days_ago, is_very_stale) in [(60, false), (2 * 365, true)] {
        let Some(site) = Site::signed_days_ago(days_ago) else { return };
        for shift in [1000 - now(), IN_2099 - now()] {
            let run = site.run_at(shift, &["import", "stick"]);
            assert_eq!(run.code, Some(if is_very_stale { 7 } else { 0 }), "{run:?}");
            assert!(run.stderr.contains("the clock of this computer shows"), "{run:?}");
            let word = if is_very_stale { "more than a year ago" } else { "the index of `ngo` expired on" };
            assert!(run.stderr.contains(word), "{run:?}");
            // A keeper's word lets it in all the same, and what came in works.
            site.ok_at(shift, &["import", "stick", "--accept-stale"]);
            site.ok_at(shift, &["verify"]);
        }
    }
}

#[test]
fn a_clock_that_goes_back_three_years_between_runs_bricks_nothing() {
    let Some(site) = Site::new() else { return };
    site.ok_at(2 * YEAR, &["import", "stick", "note", "--accept-stale"]);
    let said = site.ok_at(-YEAR, &["import", "stick"]);
    assert!(said.contains("which cannot be; ages are judged as on") && !said.contains("expired"), "{said}");
    assert_eq!(site.run_at(-YEAR, &["update"]).code, Some(0));
    site.ok_at(-YEAR, &["verify"]);
    // Also before the first of all seconds that a file system can hold.
    site.ok_at(-now() - YEAR, &["list"]);
    site.ok_at(0, &["import", "stick"]);
}
