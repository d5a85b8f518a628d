//! Several connections for one file: what they share, who leaves, and that whoever fails takes nobody along.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use localml::error::{ErrorKind, Explain as _};
use localml::progress::{Monitor, Silent, Task, Unit};
use localml::transfer::Options;

use super::support::cafe::{Cafe, MIB, hurried, noise, story};
use super::support::drill::rounds;
use super::support::http_server::Fault;
use super::support::skipped::skip;

#[test]
fn several_connections_share_a_file_and_fetch_nothing_twice() {
    let cafe = Cafe::with(Options { num_connections: Some(4), ..hurried() });
    let wanted = cafe.serve_in_pieces("model.gguf", 72 * MIB);
    cafe.server.set_fault("model.gguf", Fault::Throttle(20 * MIB as u64));
    let fetched = cafe.fetch_well(&wanted);
    assert!(cafe.server.connections() >= 4, "{} connections", cafe.server.connections());
    let in_vain = fetched.wire_bytes.saturating_sub(wanted.size_bytes);
    assert!(in_vain <= wanted.size_bytes / 20, "{in_vain} bytes in vain");
}

#[test]
fn several_connections_ask_several_sources() {
    let cafe = Cafe::with(Options { num_connections: Some(2), ..hurried() });
    let mut wanted = cafe.serve_in_pieces("model.gguf", 48 * MIB);
    cafe.sandbox.write("second/model.gguf", noise(48 * MIB, 1));
    let second = cafe.second_server();
    wanted.sources.push(format!("{}/model.gguf", second.url()).parse().unwrap());
    for server in [&cafe.server, &second] {
        server.set_fault("model.gguf", Fault::Throttle(30 * MIB as u64));
    }
    cafe.fetch_well(&wanted);
    assert!(cafe.server.bytes_sent() > 8 * MIB as u64 && second.bytes_sent() > 8 * MIB as u64);
}

#[test]
fn a_server_that_wants_one_connection_only_gets_one() {
    let cafe = Cafe::with(Options { num_connections: Some(4), ..hurried() });
    let wanted = cafe.serve_in_pieces("model.gguf", 40 * MIB);
    cafe.server.queue_fault("model.gguf", Fault::Throttle(40 * MIB as u64));
    for _ in 0..3 {
        cafe.server.queue_fault("model.gguf", Fault::Busy(60));
    }
    let fetched = cafe.fetch_well(&wanted);
    assert!(fetched.dropped.is_empty(), "{:?}", fetched.dropped);
}

#[test]
fn connections_that_break_are_taken_over_by_the_first() {
    let cafe = Cafe::with(Options { num_connections: Some(3), ..hurried() });
    let wanted = cafe.serve_in_pieces("model.gguf", 48 * MIB);
    cafe.server.set_fault("model.gguf", Fault::ThrottleAndCut(60 * MIB as u64, 5 * MIB as u64));
    let fetched = cafe.fetch_well(&wanted);
    let in_vain = fetched.wire_bytes.saturating_sub(wanted.size_bytes);
    assert!(in_vain <= wanted.size_bytes / 20, "{in_vain} bytes in vain");
}

#[test]
fn a_slow_connection_neither_holds_up_the_end_nor_is_paid_in_vain() {
    let cafe = Cafe::with(Options { num_connections: Some(2), ..hurried() });
    let mut wanted = cafe.serve_in_pieces("model.gguf", 72 * MIB);
    cafe.sandbox.write("second/model.gguf", noise(72 * MIB, 1));
    let slow = cafe.second_server();
    wanted.sources.push(format!("{}/model.gguf", slow.url()).parse().unwrap());
    cafe.server.set_fault("model.gguf", Fault::Throttle(20 * MIB as u64));
    slow.set_fault("model.gguf", Fault::Throttle(MIB as u64));
    let fetched = cafe.fetch_well(&wanted);
    // Its half would have taken 36 seconds; what it had begun when the other one was done is all that it brings.
    assert!((1..12 * MIB as u64).contains(&slow.bytes_sent()), "{} bytes of the slow one", slow.bytes_sent());
    let in_vain = fetched.wire_bytes.saturating_sub(wanted.size_bytes);
    assert!(in_vain <= 2 * MIB as u64, "{in_vain} bytes in vain");
}

#[test]
fn a_connection_that_stands_still_does_not_hold_up_the_others() {
    let patient = Duration::from_secs(600);
    let cafe = Cafe::with(Options { num_connections: Some(2), silence_timeout: patient, ..hurried() });
    let mut wanted = cafe.serve_in_pieces("model.gguf", 40 * MIB);
    cafe.sandbox.write("second/model.gguf", noise(40 * MIB, 1));
    let silent = cafe.second_server();
    wanted.sources.push(format!("{}/model.gguf", silent.url()).parse().unwrap());
    cafe.server.set_fault("model.gguf", Fault::Throttle(20 * MIB as u64));
    silent.set_fault("model.gguf", Fault::StallAfter(5 * MIB as u64));
    let begin = Instant::now();
    let fetched = cafe.fetch_well(&wanted);
    // Without the others' help it would have been waited for as long as its patience lasts.
    assert!(begin.elapsed() < patient / 2, "{:?}", begin.elapsed());
    assert!(fetched.wire_bytes < 41 * MIB as u64, "{}", fetched.wire_bytes);
}

#[test]
fn connections_that_are_held_back_do_not_take_from_each_other() {
    let limit_bytes_per_second = Some(2 * MIB as u64);
    let options = Options { num_connections: Some(4), limit_bytes_per_second, ..hurried() };
    let cafe = Cafe::with(Options { silence_timeout: Duration::from_secs(60), ..options });
    let wanted = cafe.serve_in_pieces("model.gguf", 24 * MIB);
    let fetched = cafe.fetch_well(&wanted);
    assert!(fetched.wire_bytes <= wanted.size_bytes + MIB as u64, "{}", fetched.wire_bytes);
    assert!(cafe.server.requests() <= 12, "{} requests", cafe.server.requests());
}

#[test]
fn servers_without_ranges_are_left_to_one_connection() {
    let cafe = Cafe::with(Options { num_connections: Some(4), ..hurried() });
    let wanted = cafe.serve_in_pieces("model.gguf", 32 * MIB);
    cafe.server.set_fault("model.gguf", Fault::IgnoreRanges);
    cafe.fetch_well(&wanted);
    // What is under way when they are turned away: some heads, and what lies in the sockets.
    let in_vain = cafe.server.bytes_sent() - wanted.size_bytes;
    assert!(in_vain <= 12 * MIB as u64, "{in_vain} bytes in vain");
}

#[test]
fn a_fast_line_keeps_one_connection() {
    let cafe = Cafe::new();
    let wanted = cafe.serve_in_pieces("model.gguf", 40 * MIB);
    cafe.fetch_well(&wanted);
    assert_eq!((cafe.server.connections(), cafe.server.requests()), (1, 1));
}

/// It takes a quarter of a minute to find a line slow: in the full drill alone.
#[test]
fn a_slow_line_gets_more_connections_by_itself() {
    if !rounds(false, true) {
        skip(
            "more connections on a slow line: `scripts/drill --only transfer_lanes` watches one for half a minute",
        );
        return;
    }
    let cafe = Cafe::new();
    let wanted = cafe.serve_in_pieces("model.gguf", 48 * MIB);
    cafe.server.set_fault("model.gguf", Fault::Throttle(600_000));
    cafe.fetch_well(&wanted);
    println!("{} connections", cafe.server.connections());
    assert!((3..=5).contains(&cafe.server.connections()), "{}", cafe.server.connections());
}

/// Panics on the threads that it is told to, once bytes come there.
struct Fuse {
    burns_on: fn(Option<&str>) -> bool,
}

impl Monitor for Fuse {
    fn start(&self, _label: &str, _total: Option<u64>, _unit: Unit) -> Box<dyn Task + '_> {
        Box::new(FuseTask(self.burns_on))
    }

    fn note(&self, _text: &str) {}

    fn warn(&self, _text: &str) {}
}

struct FuseTask(fn(Option<&str>) -> bool);

impl Task for FuseTask {
    fn advance(&self, _count: u64) {
        assert!(!(self.0)(thread::current().name()), "burnt, as it should be");
    }
}

fn is_helper(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.starts_with("lane "))
}

#[test]
fn a_connection_that_breaks_down_leaves_its_share_to_the_first() {
    let cafe = Cafe::with(Options { num_connections: Some(3), ..hurried() });
    let wanted = cafe.serve_in_pieces("model.gguf", 40 * MIB);
    cafe.server.set_fault("model.gguf", Fault::Throttle(40 * MIB as u64));
    let fetched = cafe.client.fetch(&wanted, &cafe.staging(), &Fuse { burns_on: is_helper }).unwrap();
    assert_eq!(fetched.staged.digest, wanted.digest);
    assert!(cafe.server.connections() >= 2, "{} connections", cafe.server.connections());
}

#[test]
fn the_others_wait_for_no_first_one_that_is_gone() {
    let cafe = Cafe::with(Options { num_connections: Some(3), ..hurried() });
    let wanted = cafe.serve_in_pieces("model.gguf", 40 * MIB);
    cafe.server.set_fault("model.gguf", Fault::Throttle(40 * MIB as u64));
    let fuse = Fuse { burns_on: |name| !is_helper(name) };
    let fetch = || cafe.client.fetch(&wanted, &cafe.staging(), &fuse).map(drop);
    assert!(catch_unwind(AssertUnwindSafe(fetch)).is_err(), "it went on without its first connection");
    // What came is whole all the same.
    cafe.fetch_well(&wanted);
}

#[test]
fn a_full_disk_is_told_as_such_whichever_connection_meets_it() {
    for _ in 0..5 {
        let cafe = Cafe::with(Options { num_connections: Some(4), ..hurried() });
        let wanted = cafe.serve_in_pieces("model.gguf", 40 * MIB);
        cafe.server.set_fault("model.gguf", Fault::Throttle(60 * MIB as u64));
        std::fs::create_dir_all(cafe.staging()).unwrap();
        std::os::unix::fs::symlink("/dev/full", cafe.part(&wanted)).unwrap();
        let error = cafe.client.fetch(&wanted, &cafe.staging(), &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRoom, "{}", story(&error));
        assert!(error.hint().unwrap().starts_with("free some space"), "{}", story(&error));
    }
}
