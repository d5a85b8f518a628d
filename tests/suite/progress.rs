//! Progress as people and programs see it: bars on a terminal, lines in a log, JSON events, silence when asked.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::skipped::skip;

const MIB: usize = 1 << 20;

/// `book` of two files on a server that sends 2 MiB a second.
fn slow(sandbox: &Sandbox) -> HttpServer {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &noise(1, MIB)), ("plan.bin", &noise(2, MIB))]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    for blob in std::fs::read_dir(publisher.registry().join("blobs")).unwrap() {
        let name = blob.unwrap().file_name().into_string().unwrap();
        server.set_fault(&format!("/blobs/{name}"), Fault::Throttle(2 * MIB as u64));
    }
    server
}

fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.command("home");
    command.env("LOCALML_PROGRESS_SECONDS", "0.1").args(args);
    command
}

fn stderr(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_log_gets_plain_lines_now_and_then_with_speed_time_and_cost() {
    let sandbox = Sandbox::new();
    let _server = slow(&sandbox);
    let said = stderr(&command(&sandbox, &["fetch", "book"]).output().unwrap());
    assert!(!said.contains('\u{1b}') && !said.contains('\r'), "no bars in a log: {said}");
    let of = |label: &str| -> Vec<&str> { said.lines().filter(|line| line.starts_with(label)).collect() };
    let (file, all) = (of("map.bin: "), of("in all: "));
    // A second at ten lines a second, not a line for each of many small reads.
    assert!((2..40).contains(&all.len()) && (1..30).contains(&file.len()), "{said}");
    assert!(
        all[0].contains(" of 2.10 MB") && all[0].contains("spent ") && all[0].contains("saved 0 B"),
        "{said}"
    );
    assert!(all.iter().any(|line| line.contains("B/s, ") && line.contains(" s left")), "{said}");
    assert!(
        all[all.len() - 1].starts_with("in all: 2.10 MB in "),
        "the last line says what it came to: {said}"
    );
}

#[test]
fn programs_get_one_event_a_line() {
    let sandbox = Sandbox::new();
    let _server = slow(&sandbox);
    let output = command(&sandbox, &["--json", "fetch", "book"]).output().unwrap();
    let said = stderr(&output);
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    let starts = of("start");
    let labels: Vec<&str> = starts.iter().map(|event| event["label"].as_str().unwrap()).collect();
    assert!(
        labels.contains(&"in all") && labels.contains(&"map.bin") && labels.contains(&"plan.bin"),
        "{said}"
    );
    let all = starts.iter().find(|event| event["label"] == "in all").unwrap();
    assert_eq!((all["total"].as_u64(), all["unit"].as_str()), (Some(2 * MIB as u64), Some("bytes")));
    let own: Vec<_> = events.iter().filter(|event| event["task"] == all["task"]).collect();
    let progress: Vec<_> = own.iter().filter(|event| event["event"] == "progress").collect();
    assert!((1..40).contains(&progress.len()), "{said}");
    let done: Vec<u64> = own[1..].iter().map(|event| event["done"].as_u64().unwrap()).collect();
    assert!(done.is_sorted(), "{said}");
    let end = own[own.len() - 1];
    assert_eq!((end["event"].as_str(), end["done"].as_u64()), (Some("end"), Some(2 * MIB as u64)), "{said}");
    assert!(end["spent_bytes"].as_u64().unwrap() > 2 * MIB as u64, "headers are paid for too: {end}");
    assert_eq!((end["skipped"].as_u64(), end["saved_bytes"].as_u64()), (Some(0), Some(0)));
    assert_eq!(of("start").len(), of("end").len(), "what begins ends: {said}");
}

#[test]
fn what_an_earlier_try_left_counts_as_done_and_as_saved() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &noise(1, 9 * MIB))]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    let name =
        std::fs::read_dir(publisher.registry().join("blobs")).unwrap().next().unwrap().unwrap().file_name();
    let path = format!("/blobs/{}", name.into_string().unwrap());
    server.set_fault(&path, Fault::Status(404));
    server.queue_fault(&path, Fault::CutAfter(6 << 20));
    sandbox.run("home", &["fetch", "book"]).failed_with(3);
    server.clear_faults();
    let said = stderr(&command(&sandbox, &["--json", "fetch", "book"]).output().unwrap());
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = events.iter().rfind(|event| event["event"] == "end").unwrap();
    let skipped = end["skipped"].as_u64().unwrap();
    assert!(skipped > 4 << 20, "{said}");
    assert_eq!(
        (end["saved_bytes"].as_u64(), end["done"].as_u64()),
        (Some(skipped), Some(9 * MIB as u64)),
        "{said}"
    );
    assert!(end["spent_bytes"].as_u64().unwrap() < 5 << 20, "{said}");
}

#[test]
fn quiet_means_results_only() {
    let sandbox = Sandbox::new();
    let _server = slow(&sandbox);
    assert_eq!(stderr(&command(&sandbox, &["--quiet", "fetch", "book"]).output().unwrap()), "");
    sandbox.ok("home", &["remove", "book"]);
    assert_eq!(stderr(&command(&sandbox, &["--quiet", "--json", "fetch", "book"]).output().unwrap()), "");
}

#[test]
fn a_warning_is_an_event_too() {
    let sandbox = Sandbox::new();
    let _server = slow(&sandbox);
    sandbox.ok("home", &["install", "book"]);
    let map = sandbox.ok("home", &["path", "book", "map.bin"]);
    std::fs::remove_file(map.trim()).unwrap();
    std::fs::write(map.trim(), "other").unwrap();
    let said = stderr(&command(&sandbox, &["--json", "verify"]).output().unwrap());
    let events = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let warnings: Vec<Value> = events.filter(|event| event["event"] == "warning").collect();
    assert_eq!(warnings.len(), 1, "{said}");
    assert!(warnings[0]["text"].as_str().unwrap().contains("put right"), "{said}");
}

/// What a terminal of so many columns shows while `book` is fetched; `None` where there is no `script`.
fn screen_of_fetch(sandbox: &Sandbox, columns: usize, term: &str) -> Option<String> {
    // `script` runs a command on a terminal of its own, and its quoting is the shell's.
    let program = format!("stty cols {columns}; '{}' fetch book", env!("CARGO_BIN_EXE_localml"));
    let inside = command(sandbox, &[]);
    let mut script = Command::new("script");
    script.env_clear().envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("TERM", term).args(["-qec", &program, "/dev/null"]).current_dir(sandbox.path(""));
    let Ok(output) = script.stdin(std::process::Stdio::null()).output() else {
        skip("bars on a terminal: there is no `script` here");
        return None;
    };
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{screen}");
    Some(screen)
}

/// The lines of a window of so many columns, as they were drawn: a full one is followed by the next without a line's end.
fn drawn(screen: &str, columns: usize) -> Vec<String> {
    let texts = screen.split(['\r', '\n', '\u{1b}']).map(|text| {
        text.strip_prefix('[').and_then(|rest| Some(rest.split_once(char::is_alphabetic)?.1)).unwrap_or(text)
    });
    let letters = texts.map(|text| text.chars().collect::<Vec<char>>());
    let lines = letters.flat_map(|text| {
        text.chunks(columns).map(|line| line.iter().collect::<String>()).collect::<Vec<String>>()
    });
    lines.filter(|line| !line.trim().is_empty()).collect()
}

#[test]
fn a_terminal_gets_bars_that_leave_nothing_behind() {
    let sandbox = Sandbox::new();
    let _server = slow(&sandbox);
    let Some(screen) = screen_of_fetch(&sandbox, 130, "xterm") else { return };
    assert!(screen.contains("map.bin") && screen.contains("in all"), "{screen}");
    assert!(screen.contains("[=") && screen.contains(" of 2.10 MB") && screen.contains("B/s, "), "{screen}");
    assert!(screen.contains("spent ") && screen.contains(" left"), "{screen}");
    // The bars are wiped before the result stands there for good.
    let end = screen.rfind("\u{1b}[2K").expect("a line is wiped");
    assert!(screen[end..].contains("fetched 2.10 MB") && !screen[end..].contains("[="), "{screen}");
}

#[test]
fn in_a_small_window_no_bar_breaks_its_line() {
    let sandbox = Sandbox::new();
    let _server = slow(&sandbox);
    for columns in [80, 40] {
        let Some(screen) = screen_of_fetch(&sandbox, columns, "xterm") else { return };
        let bars = &screen[..screen.rfind("\u{1b}[2K").expect("a line is wiped")];
        assert!(bars.contains("of 2.10 MB") && bars.contains("left"), "{screen}");
        assert!(columns < 80 || bars.contains("spent "), "{screen}");
        let labels = ["in all ", "map.bin ", "plan.bin "];
        let lines = drawn(bars, columns);
        assert!(lines.len() > 4, "{screen}");
        for line in lines {
            assert!(labels.iter().any(|label| line.starts_with(label)), "{line} in {columns}: {screen}");
        }
        sandbox.ok("home", &["remove", "book"]);
    }
}

#[test]
fn a_terminal_that_draws_nothing_gets_lines() {
    let sandbox = Sandbox::new();
    let _server = slow(&sandbox);
    let Some(screen) = screen_of_fetch(&sandbox, 80, "dumb") else { return };
    assert!(screen.contains("map.bin: ") && !screen.contains('\u{1b}'), "{screen}");
}
