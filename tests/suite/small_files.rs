//! Small files that come into memory: sources in turn, lines that break, and what is said while nothing comes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use localml::error::{ErrorKind, Explain as _};
use localml::progress::Silent;
use localml::transfer::{Client, Options, SmallFile};

use super::support::cafe::{Cafe, hurried, noise, story};
use super::support::http_server::Fault;
use super::support::stops::Stops;

/// A monitor that only listens.
fn listener() -> Stops {
    Stops::in_task("none", u64::MAX)
}

#[test]
fn a_source_that_sends_nothing_is_spoken_of() {
    let deadline = Some(Instant::now() + Duration::from_secs(12));
    let cafe = Cafe::with(Options { silence_timeout: Duration::from_secs(60), deadline, ..hurried() });
    cafe.sandbox.write("served/list", noise(5000, 1));
    cafe.server.set_fault("list", Fault::StallAfter(2000));
    let heard = listener();
    let error = cafe.client.get(&cafe.url("list"), 9000, &heard).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoom, "{}", story(&error));
    assert!(heard.notes().contains("nothing has come from"), "{}", heard.notes());
}

#[test]
fn each_trouble_is_told_before_the_next_try() {
    let cafe = Cafe::new();
    cafe.sandbox.write("served/list", noise(5000, 1));
    cafe.server.queue_fault("list", Fault::Status(503));
    cafe.server.queue_fault("list", Fault::Busy(1));
    let heard = listener();
    let begin = Instant::now();
    let bytes = cafe.client.get(&cafe.url("list"), 9000, &heard).unwrap();
    assert!(bytes == noise(5000, 1) && begin.elapsed() >= Duration::from_secs(1));
    let notes = heard.notes();
    assert!(notes.contains("answered 503") && notes.contains("; trying again"), "{notes}");
    assert!(notes.contains("wants to be left alone for 1 s"), "{notes}");
}

#[test]
fn a_server_without_ranges_that_breaks_off_again_is_not_paid_again_and_again() {
    let cafe = Cafe::new();
    cafe.sandbox.write("served/list", noise(50_000, 1));
    cafe.server.set_fault("list", Fault::IgnoreRangesAndCut(20_000));
    let error = cafe.client.get(&cafe.url("list"), 90_000, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{}", story(&error));
    assert_eq!(cafe.server.requests(), 2, "once, and once to go on");
}

#[test]
fn a_file_that_was_replaced_between_two_parts_comes_anew() {
    let cafe = Cafe::new();
    let (old, new) = (noise(50_000, 1), noise(50_000, 2));
    cafe.sandbox.write("served/list", &old);
    cafe.server.queue_fault("list", Fault::CutAfter(20_000));
    // The server ignores `If-Range`, or the file keeps its tag: the seam is then no proof.
    cafe.server.set_fault("list", Fault::LieAboutRanges);
    let url = cafe.url("list");
    let is_right = |bytes: &[u8]| bytes == old || bytes == new;
    let file = SmallFile { length: Some(50_000), is_right: Some(&is_right), ..SmallFile::at(&url, 50_000) };
    assert!(cafe.client.get_small(&file, &Silent).unwrap() == old);
    assert_eq!(cafe.server.requests(), 3);
}

#[test]
fn a_body_without_a_length_that_ends_early_is_incomplete_and_no_other_file() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: url::Url = format!("http://{}/list", listener.local_addr().unwrap()).parse().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhalf of it");
        }
    });
    let client = Client::new(hurried());
    let file = SmallFile {
        length: Some(20),
        is_right: Some(&|bytes: &[u8]| bytes.len() == 20),
        ..SmallFile::at(&url, 20)
    };
    let error = client.get_small(&file, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{}", story(&error));
    assert!(story(&error).contains("ended after 10 of 20 bytes"), "{}", story(&error));
}
