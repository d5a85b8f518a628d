//! The real program on a line that costs: plans, limits, mirrors, proxies, and machines that lack something.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use localml::disk::Lock;
use serde_json::Value;

use crate::support::fault_drive::{Faults, Rules};
use crate::support::fault_fs::FaultFs;
use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::skipped::skip;

const MIB: usize = 1024 * 1024;

/// Two packages of a registry on loopback: a small one and one of 6 MiB.
struct Cafe {
    sandbox: Sandbox,
    server: HttpServer,
    /// The path on the server of the large file.
    weights: String,
    fingerprint: String,
}

impl Cafe {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let publisher = Publisher::new(&sandbox, "ngo");
        publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n")]);
        publisher.add("model", "1.0.0", &[("weights.bin", &noise(3, 6 * MIB))]);
        publisher.publish();
        let server = HttpServer::serve(&publisher.registry());
        publisher.introduce("home", &server.url());
        let weights = publisher.path_of(6 * MIB as u64);
        let fingerprint = publisher.fingerprint();
        Self { sandbox, server, weights, fingerprint }
    }

    /// Makes another home trust the registry.
    fn introduce(&self, home: &str) {
        let url = self.server.url();
        self.sandbox.ok(home, &["registry", "add", "ngo", &url, "--fingerprint", &self.fingerprint]);
    }

    fn fetch(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command("home");
        command.arg("fetch").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn json(&self, args: &[&str]) -> (Option<i32>, Value) {
        self.sandbox.json("home", &[&["fetch"], args].concat())
    }
}

fn run(mut command: Command) -> Run {
    Run::from(command.output().unwrap())
}

#[test]
fn a_plan_says_what_fits_the_budget_and_begins_none() {
    let cafe = Cafe::new();
    let (code, plan) = cafe.json(&["book", "model", "--plan", "--budget", "3MB"]);
    assert_eq!(code, Some(0));
    let fits: Vec<bool> = plan["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["fits"].as_bool().unwrap())
        .collect();
    assert_eq!(fits, [true, false]);
    assert_eq!(plan["line"]["budget_left_bytes"], 3_000_000);
    assert!(!cafe.sandbox.path("home/budget.json").exists());
    let said = run(cafe.fetch(&["book", "model", "--plan", "--budget", "3MB"])).stdout;
    assert!(said.contains("budget: 3.00 MB left\nwill not fit: model 1.0.0\n"), "{said}");
}

#[test]
fn a_spent_budget_keeps_what_came_and_the_next_one_finishes() {
    let cafe = Cafe::new();
    let before = cafe.server.wire_bytes();
    let said = run(cafe.fetch(&["book", "model", "--budget", "3MB"])).failed_with(6);
    assert!(said.contains("the budget of 3.00 MB is spent; 2.9"), "{said}");
    assert!(said.contains(" of 6.29 MB of `weights.bin` are kept"), "{said}");
    assert!(said.contains("the same command with `--new-budget`"), "{said}");
    assert!(cafe.server.wire_bytes() - before <= 3_000_000);
    // What was whole by then is here.
    assert!(cafe.sandbox.ok("home", &["list"]).contains("book"));
    let (code, report) = cafe.json(&["model", "--budget", "9MB", "--new-budget"]);
    assert_eq!(code, Some(0));
    let spent_bytes = report["line"]["spent_bytes"].as_u64().unwrap();
    assert!(spent_bytes < 3_400_000, "{spent_bytes}");
    assert_eq!(report["line"]["budget_left_bytes"].as_u64().unwrap(), 9_000_000 - spent_bytes);
}

#[test]
fn a_damaged_budget_is_an_error_and_not_a_full_purse() {
    let cafe = Cafe::new();
    cafe.sandbox.write("home/budget.json", "{\"format\":1,\"limit");
    let said = run(cafe.fetch(&["book", "--budget", "3MB"])).failed_with(4);
    assert!(said.contains("does not say what the budget has left"), "{said}");
    assert_eq!(run(cafe.fetch(&["book", "--budget", "3MB", "--new-budget"])).code, Some(0));
}

#[test]
fn when_the_time_is_up_the_same_command_goes_on() {
    let cafe = Cafe::new();
    cafe.server.queue_fault(&cafe.weights, Fault::StallAfter(2 * MIB as u64));
    let said = run(cafe.fetch(&["model", "--within", "2s"])).failed_with(6);
    assert!(said.contains("the time is up; 2.10 MB of 6.29 MB of `weights.bin` are kept"), "{said}");
    let (code, report) = cafe.json(&["model", "--within", "10m"]);
    assert_eq!(code, Some(0));
    assert_eq!(report["wire_bytes"], 4 * MIB);
}

#[test]
fn an_interrupt_ends_it_and_says_what_is_kept() {
    let cafe = Cafe::new();
    cafe.server.queue_fault(&cafe.weights, Fault::StallAfter(2 * MIB as u64));
    let child = cafe.fetch(&["model"]).spawn().unwrap();
    let begin = Instant::now();
    while cafe.server.bytes_sent() < 2 * MIB as u64 && begin.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(300));
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let said = Run::from(child.wait_with_output().unwrap()).failed_with(1);
    assert!(said.contains("stopped; 2.10 MB of 6.29 MB of `weights.bin` are kept"), "{said}");
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let cafe = Cafe::new();
    for args in [
        ["book", "--limit-rate", "fast"],
        ["book", "--budget", "0"],
        ["book", "--within", "-5m"],
        ["book", "--until", "25:00"],
        ["book", "--connections", "0"],
    ] {
        run(cafe.fetch(&args)).failed_with(2);
    }
    run(cafe.fetch(&["book", "--new-budget"])).failed_with(2);
}

#[test]
fn mirrors_and_neighbours_come_from_the_environment_and_the_config_file() {
    let cafe = Cafe::new();
    let mirror = HttpServer::serve(&cafe.sandbox.path("publisher/ngo/registry"));
    let before = cafe.server.requests();
    let mut command = cafe.fetch(&["book"]);
    command.env("LOCALML_MIRROR", format!("{}/={}/", cafe.server.url(), mirror.url()));
    assert_eq!(run(command).code, Some(0));
    assert!(mirror.requests() > 0);
    assert_eq!(cafe.server.requests(), before);

    // A folder of blobs, named by their digests, in the config file; then nonsense in the environment.
    let blobs = cafe.sandbox.path("home/blobs");
    cafe.sandbox.write("other/config.toml", format!("peers = [\"file://{}\"]\n", blobs.display()));
    cafe.introduce("other");
    let (code, report) = cafe.sandbox.json("other", &["fetch", "book"]);
    assert_eq!((code, report["wire_bytes"].as_u64()), (Some(0), Some(0)));

    let mut command = cafe.fetch(&["model"]);
    command.env("LOCALML_MIRROR", "nonsense");
    let said = run(command).failed_with(2);
    assert!(said.contains("`nonsense` is not a rule") && said.contains("LOCALML_MIRROR"), "{said}");
}

#[test]
fn a_mirror_with_another_file_stands_in_the_report() {
    let cafe = Cafe::new();
    let path = &cafe.weights;
    cafe.sandbox.write(format!("false/{path}"), noise(4, 6 * MIB));
    let mirror = HttpServer::serve(&cafe.sandbox.path("false"));
    let mut command = cafe.fetch(&["model", "--json"]);
    // The piece lists come from the publisher: only the folder of the large file is mirrored.
    let folder = path.rsplit_once('/').unwrap().0;
    command.env("LOCALML_MIRROR", format!("{0}/{folder}/={1}/{folder}/", cafe.server.url(), mirror.url()));
    let ended = run(command);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["dropped"][0]["address"], format!("{}/{path}", mirror.url()));
    assert!(ended.stderr.contains("sent a wrong piece of `weights.bin`"), "{}", ended.stderr);
    assert_eq!(mirror.requests(), 1);
}

#[test]
fn what_lies_on_a_stick_at_hand_is_not_paid_for() {
    let cafe = Cafe::new();
    cafe.sandbox.ok("home", &["fetch", "model"]);
    std::fs::create_dir(cafe.sandbox.path("stick")).unwrap();
    cafe.sandbox.ok("home", &["export", "stick"]);
    cafe.introduce("second");
    let before = cafe.server.bytes_sent();
    let (code, report) = cafe.sandbox.json("second", &["fetch", "model", "--from", "stick"]);
    assert_eq!((code, &report["wire_bytes"]), (Some(0), &Value::from(0)));
    assert!(cafe.server.bytes_sent() - before < 10_000);

    // Half a volume holds the first piece of two.
    let volume = largest(&cafe.sandbox.path("stick"));
    let bytes = std::fs::read(&volume).unwrap();
    std::fs::write(&volume, &bytes[..5 * MIB]).unwrap();
    cafe.introduce("third");
    let (code, report) = cafe.sandbox.json("third", &["fetch", "model", "--from", "stick"]);
    assert_eq!((code, &report["wire_bytes"]), (Some(0), &Value::from(2 * MIB)));
    cafe.sandbox.ok("third", &["verify", "model"]);

    let said = cafe.sandbox.run("third", &["fetch", "book", "--from", "nowhere"]).failed_with(3);
    assert!(said.contains("`nowhere` is not a folder"), "{said}");
}

fn largest(folder: &Path) -> PathBuf {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

#[test]
fn a_proxy_is_used_for_every_host_but_this_one() {
    let cafe = Cafe::new();
    // The server plays the proxy: it is asked with whole addresses, and serves any host from its folder.
    let mut add = cafe.sandbox.command("far");
    let far = "http://registry.cafe.example/";
    add.args(["registry", "add", "ngo", far, "--fingerprint", &cafe.fingerprint])
        .env("http_proxy", cafe.server.url());
    assert_eq!(run(add).code, Some(0));
    let fetch = || {
        let mut command = cafe.sandbox.command("far");
        command.args(["fetch", "model"]).env("http_proxy", cafe.server.url());
        command
    };
    cafe.server.queue_fault(&cafe.weights, Fault::Status(407));
    let said = run(fetch()).failed_with(5);
    assert!(said.contains("answered 407") && said.contains("a proxy before it"), "{said}");
    cafe.server.queue_fault(&cafe.weights, Fault::Html);
    let said = run(fetch()).failed_with(5);
    assert!(said.contains("a web page instead of `weights.bin`"), "{said}");
    cafe.server.queue_fault(&cafe.weights, Fault::CutAfter(MIB as u64));
    assert_eq!(run(fetch()).code, Some(0));
}

#[test]
fn without_ca_certificates_a_lan_still_works() {
    let cafe = Cafe::new();
    let (empty, folder) = (cafe.sandbox.write("empty.pem", b""), cafe.sandbox.path("certificates"));
    std::fs::create_dir(&folder).unwrap();
    let mut command = cafe.fetch(&["book"]);
    command.env("SSL_CERT_FILE", empty).env("SSL_CERT_DIR", folder);
    let ended = run(command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_disk_that_fills_up_in_the_middle_loses_nothing() {
    let Some(drive) = FaultFs::new(Rules::Journalled, 256 << 20) else { return };
    let cafe = Cafe::new();
    drive.load(&cafe.sandbox.path("home"));
    let fetch = || {
        let mut command = cafe.fetch(&["model"]);
        command.env("LOCALML_HOME", drive.path());
        command
    };
    drive.arm(Faults { room_left_bytes: Some(3 * MIB as u64), ..Faults::default() });
    let said = run(fetch()).failed_with(6);
    assert!(said.contains("free some space"), "{said}");
    drive.arm(Faults::default());
    let before = cafe.server.bytes_sent();
    let ended = run(fetch());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let sent_bytes = cafe.server.bytes_sent() - before;
    assert!(sent_bytes < 4 * MIB as u64, "{sent_bytes} bytes again");
}

#[test]
fn a_store_that_takes_no_writes_is_named() {
    let Some(drive) = FaultFs::new(Rules::Journalled, 256 << 20) else { return };
    let cafe = Cafe::new();
    drive.load(&cafe.sandbox.path("home"));
    let remounted = Command::new("mount").args(["-i", "-o", "remount,ro"]).arg(drive.path()).status();
    if !remounted.is_ok_and(|status| status.success()) {
        return skip("a store that takes no writes: `mount -o remount,ro` is not allowed here");
    }
    let before = cafe.server.requests();
    let mut command = cafe.fetch(&["book"]);
    command.env("LOCALML_HOME", drive.path());
    let said = run(command).failed_with(1);
    assert!(said.contains(drive.path().to_str().unwrap()) && said.contains("ead-only"), "{said}");
    // Nothing was paid for what could not be kept.
    assert_eq!(cafe.server.requests(), before);
}

#[test]
fn the_wait_for_another_localml_counts_as_time() {
    let cafe = Cafe::new();
    let _held = Lock::acquire(&cafe.sandbox.path("home/lock")).unwrap();
    let run = run(cafe.fetch(&["book", "--within", "1s"]));
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(run.stderr.contains("the time is up; another localml"), "{run:?}");
}

#[test]
fn a_rate_that_was_asked_for_is_not_taken_for_the_lines() {
    let cafe = Cafe::new();
    assert_eq!(run(cafe.fetch(&["model", "--limit-rate", "4M"])).code, Some(0));
    assert!(!cafe.sandbox.path("home/line.json").exists());
}

#[test]
fn on_a_budget_the_smallest_package_comes_first_whatever_was_named_first() {
    let cafe = Cafe::new();
    let (_, plan) = cafe.json(&["model", "book", "--budget", "3MB", "--plan"]);
    let fits: Vec<bool> =
        plan["packages"].as_array().unwrap().iter().map(|it| it["fits"].as_bool().unwrap()).collect();
    assert_eq!((plan["packages"][0]["name"].as_str(), fits), (Some("book"), vec![true, false]), "{plan}");
    let run = run(cafe.fetch(&["model", "book", "--budget", "3MB"]));
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(run.stderr.contains("whole by then, and kept: `book`"), "{run:?}");
    assert!(cafe.sandbox.ok("home", &["list"]).contains("book"));
}
