//! What the line may cost: a budget that is never passed and never forgotten, a deadline, a rate.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use localml::error::{ErrorKind, Explain as _};
use localml::progress::Silent;
use localml::transfer::{Client, Options, Purse, TransferError, Wanted};

use super::support::cafe::{Cafe, MIB, hurried, story};
use super::support::drill::rounds;
use super::support::http_server::Fault;
use super::support::skipped::skip;

fn budget_file(cafe: &Cafe) -> PathBuf {
    cafe.sandbox.path("budget.json")
}

/// A client that goes on with the budget that lies in the sandbox.
fn on_budget(cafe: &Cafe, limit_bytes: u64) -> Client {
    Client::new(hurried()).with_purse(Purse::open(&budget_file(cafe), limit_bytes).unwrap())
}

fn run_out(client: &Client, cafe: &Cafe, wanted: &Wanted) -> u64 {
    let error = client.fetch(wanted, &cafe.staging(), &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoom, "{}", story(&error));
    match error {
        TransferError::OutOfBudget { kept_bytes, .. } => kept_bytes,
        other => panic!("{other}"),
    }
}

#[test]
fn a_budget_ends_the_fetch_before_it_is_passed_and_another_one_goes_on() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 12 * MIB);
    let limit_bytes = 5 * MIB as u64;
    let kept_bytes = run_out(&on_budget(&cafe, limit_bytes), &cafe, &wanted);
    assert!(cafe.server.wire_bytes() <= limit_bytes, "{} bytes", cafe.server.wire_bytes());
    // All but the last request's reserve for heads was put to use.
    assert!(kept_bytes > limit_bytes - 64 * 1024, "{kept_bytes} bytes are kept");

    // The same command again: nothing is left, and nobody is asked.
    let requests = cafe.server.requests();
    assert_eq!(run_out(&on_budget(&cafe, limit_bytes), &cafe, &wanted), kept_bytes);
    assert_eq!(cafe.server.requests(), requests);

    let another = Purse::create(&budget_file(&cafe), 20 * MIB as u64).unwrap();
    let client = Client::new(hurried()).with_purse(another);
    let fetched = client.fetch(&wanted, &cafe.staging(), &Silent).unwrap();
    assert_eq!(fetched.reused_bytes, kept_bytes);
    assert!(cafe.server.wire_bytes() < wanted.size_bytes + 16 * 1024, "{}", cafe.server.wire_bytes());
}

#[test]
fn what_is_counted_is_what_the_server_counts_heads_in() {
    let cafe = Cafe::new();
    for (index, size_bytes) in [0, 1, 5000, 3 * MIB].into_iter().enumerate() {
        let wanted = cafe.serve(&format!("file {index}"), size_bytes);
        cafe.fetch_well(&wanted);
    }
    let (counted, real) = (cafe.client.spent_bytes(), cafe.server.wire_bytes());
    // The one difference: how the server's own words for a status are spelt.
    assert!(counted.abs_diff(real) < 200, "{counted} counted, {real} sent");
}

#[test]
fn a_server_without_ranges_gets_no_money_that_would_not_buy_the_whole_file() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 12 * MIB);
    cafe.server.set_fault("model.gguf", Fault::IgnoreRanges);
    for _ in 0..3 {
        let client = on_budget(&cafe, 8 * MIB as u64);
        let error = client.fetch(&wanted, &cafe.staging(), &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRoom, "{}", story(&error));
        assert!(story(&error).contains("or nothing"), "{}", story(&error));
        // What was under way when the head was read.
        assert!(client.spent_bytes() <= 3 * MIB as u64, "{}", client.spent_bytes());
    }
    // What pays for all of it is spent on it.
    let purse = Purse::create(&budget_file(&cafe), 13 * MIB as u64).unwrap();
    let fetched = Client::new(hurried()).with_purse(purse).fetch(&wanted, &cafe.staging(), &Silent).unwrap();
    assert_eq!(fetched.wire_bytes, wanted.size_bytes);
}

#[test]
fn a_budget_is_not_spent_on_bytes_that_are_here_when_a_server_turns_out_to_lie() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 12 * MIB);
    cafe.server.queue_fault("model.gguf", Fault::CutAfter(6 * MIB as u64));
    cafe.server.queue_fault("model.gguf", Fault::Status(404));
    cafe.fetch(&wanted).unwrap_err();
    // From now on it can only be asked for the whole, and the whole is too dear.
    cafe.server.set_fault("model.gguf", Fault::WrongRange);
    let client = on_budget(&cafe, 8 * MIB as u64);
    let error = client.fetch(&wanted, &cafe.staging(), &Silent).unwrap_err();
    assert!(story(&error).contains("or nothing"), "{}", story(&error));
    assert!(client.spent_bytes() <= 3 * MIB as u64, "{} bytes", client.spent_bytes());
    cafe.server.clear_faults();
    assert!(cafe.fetch_well(&wanted).wire_bytes < 7 * MIB as u64);
}

#[test]
fn several_connections_do_not_race_past_a_budget() {
    let cafe = Cafe::new();
    let wanted = cafe.serve_in_pieces("model.gguf", 40 * MIB);
    cafe.server.set_fault("model.gguf", Fault::Throttle(10 * MIB as u64));
    // Enough for the file and an eighth more; then every connection breaks, and what is asked for again costs too.
    for _ in 0..40 {
        cafe.server.queue_fault("model.gguf", Fault::ThrottleAndCut(10 * MIB as u64, 2 * MIB as u64));
    }
    let options = Options { num_connections: Some(4), ..hurried() };
    let limit_bytes = 46 * MIB as u64;
    let purse = Purse::create(&budget_file(&cafe), limit_bytes).unwrap();
    let client = Client::new(options).with_purse(purse);
    let outcome = client.fetch(&wanted, &cafe.staging(), &Silent);
    assert!(cafe.server.connections() >= 4, "{} connections", cafe.server.connections());
    assert!(cafe.server.wire_bytes() <= limit_bytes, "{} bytes", cafe.server.wire_bytes());
    assert!(client.spent_bytes() <= limit_bytes, "{} bytes", client.spent_bytes());
    assert_eq!(outcome.unwrap().staged.digest, wanted.digest);
}

#[test]
fn one_connection_ends_a_budget_that_is_too_small_for_several() {
    let cafe = Cafe::new();
    let wanted = cafe.serve_in_pieces("model.gguf", 40 * MIB);
    let options = Options { num_connections: Some(4), ..hurried() };
    let limit_bytes = 9 * MIB as u64;
    let purse = Purse::create(&budget_file(&cafe), limit_bytes).unwrap();
    run_out(&Client::new(options).with_purse(purse), &cafe, &wanted);
    assert!(cafe.server.wire_bytes() <= limit_bytes, "{} bytes", cafe.server.wire_bytes());
    assert_eq!(cafe.server.connections(), 1);
}

#[test]
fn a_budget_that_cannot_be_written_down_is_not_spent() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5000);
    let client = on_budget(&cafe, 9000);
    std::fs::remove_file(budget_file(&cafe)).unwrap();
    // A folder in its place.
    cafe.sandbox.write("budget.json/in the way", b"");
    let error = client.fetch(&wanted, &cafe.staging(), &Silent).unwrap_err();
    assert!(story(&error).contains("budget.json"), "{}", story(&error));
    assert_eq!(cafe.server.requests(), 0);
}

#[test]
fn small_files_count_too() {
    let cafe = Cafe::new();
    cafe.sandbox.write("served/index.json", vec![b'1'; 10_000]);
    let client = on_budget(&cafe, 15_000);
    let url = cafe.url("index.json");
    client.get(&url, 20_000, &Silent).unwrap();
    let error = client.get(&url, 20_000, &Silent).unwrap_err();
    assert!(matches!(error, TransferError::OutOfBudget { .. }), "{error}");
}

#[test]
fn when_the_time_is_up_it_says_what_is_kept_and_the_next_run_goes_on() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 4 * MIB);
    cafe.server.set_fault("model.gguf", Fault::StallAfter(3 * MIB as u64));
    let deadline = Some(Instant::now() + Duration::from_millis(250));
    let options = Options { deadline, silence_timeout: Duration::from_secs(60), ..hurried() };
    let error = Client::new(options).fetch(&wanted, &cafe.staging(), &Silent).unwrap_err();
    assert_eq!(error.to_string(), "the time is up; 3.15 MB of 4.19 MB of `model.gguf` are kept");
    assert_eq!(error.kind(), ErrorKind::NoRoom);
    cafe.server.clear_faults();
    assert_eq!(cafe.fetch_well(&wanted).reused_bytes, 3 * MIB as u64);
}

#[test]
fn a_deadline_that_has_passed_asks_nobody() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5000);
    let client = Client::new(Options { deadline: Some(Instant::now()), ..hurried() });
    let error = client.fetch(&wanted, &cafe.staging(), &Silent).unwrap_err();
    assert!(matches!(error, TransferError::OutOfTime { kept_bytes: 0, .. }), "{error}");
    let error = client.get(&cafe.url("model.gguf"), 9999, &Silent).unwrap_err();
    assert!(matches!(error, TransferError::OutOfTime { .. }), "{error}");
    assert_eq!(cafe.server.requests(), 0);
}

/// Seconds are measured only in the full drill; the arithmetic of the bucket has tests of its own.
#[test]
fn a_rate_is_kept_within_one_in_twenty() {
    let seconds: u64 = rounds(0, 20);
    if seconds == 0 {
        skip("a rate over 20 seconds: `scripts/drill --only transfer_limits` measures it");
    }
    let rate = 5 * MIB as u64;
    let cafe = Cafe::with(Options { limit_bytes_per_second: Some(rate), ..hurried() });
    // The bucket lets a quarter of a second's worth through at once.
    let wanted = cafe.serve("model.gguf", (rate * seconds).max(100_000) as usize);
    let begin = Instant::now();
    cafe.fetch_well(&wanted);
    if seconds > 0 {
        let measured = wanted.size_bytes as f64 / begin.elapsed().as_secs_f64();
        println!("{measured:.0} bytes a second, {rate} were allowed");
        assert!((measured / rate as f64 - 1.0).abs() < 0.05, "{measured} bytes a second");
    }
}
