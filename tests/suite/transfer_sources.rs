//! Where else to ask: neighbours, mirrors, several at once; the slow, the silent and the false are left.

use std::sync::Mutex;
use std::time::Duration;

use localml::digest::Sha256;
use localml::package::MAX_PIECE_BYTES;
use localml::progress::{Monitor, Silent, Task, Unit};
use localml::transfer::{Client, Options};

use super::support::cafe::{Cafe, MIB, hurried, noise};
use super::support::http_server::Fault;

/// Hears warnings.
#[derive(Default)]
struct Ear {
    warnings: Mutex<Vec<String>>,
}

impl Monitor for Ear {
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_> {
        Silent.start(label, total, unit)
    }

    fn note(&self, _text: &str) {}

    fn warn(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.into());
    }
}

#[test]
fn a_neighbour_that_has_the_blob_spares_the_line() {
    let cafe = Cafe::new();
    let (wanted, lacked) = (cafe.serve("model.gguf", 50_000), cafe.wanted("other", b"other bytes"));
    cafe.sandbox.write(format!("second/{}", wanted.digest), noise(50_000, 1));
    let neighbour = cafe.second_server();
    let peers = vec![format!("{}/", neighbour.url()).parse().unwrap()];
    let client = Client::new(Options { peers, ..hurried() });
    let ear = Ear::default();
    let fetched = client.fetch(&wanted, &cafe.staging(), &ear).unwrap();
    assert_eq!(fetched.source, Some(format!("{}/{}", neighbour.url(), wanted.digest)));
    assert_eq!(cafe.server.requests(), 0);
    // What it lacks comes from where it was published, and is not worth a word.
    client.fetch(&lacked, &cafe.staging(), &ear).unwrap();
    assert_eq!(cafe.server.requests(), 1);
    assert!(ear.warnings.lock().unwrap().is_empty(), "{:?}", ear.warnings);
}

#[test]
fn a_server_that_announces_another_file_is_left_for_one_that_does_not() {
    let cafe = Cafe::new();
    let mut wanted = cafe.serve("model.gguf", 8 * MIB);
    let right = "repr-digest: md5=:bm90IGl0:, sha-256=:".to_owned();
    cafe.sandbox.write("served/old.gguf", noise(8 * MIB, 1));
    cafe.server.set_header("old.gguf", format!("{right}ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:"));
    wanted.sources.insert(0, cafe.url("old.gguf"));
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!(fetched.wire_bytes, 8 * MIB as u64);
    assert_eq!(fetched.dropped.len(), 1);
    assert!(fetched.dropped[0].reason.contains("announces sha256 ba7816bf"), "{:?}", fetched.dropped);
}

#[test]
fn a_slow_mirror_is_taken_up_again_when_the_origin_does_not_answer() {
    let cafe = Cafe::new();
    let mut wanted = cafe.serve("model.gguf", 4 * MIB);
    // Nobody listens there.
    wanted.sources.push("http://127.0.0.1:9/model.gguf".parse().unwrap());
    cafe.server.queue_fault("model.gguf", Fault::Throttle(64 << 10));
    let options =
        Options { slow_bytes_per_second: 1 << 20, slow_span: Duration::from_millis(500), ..hurried() };
    let fetched = Client::new(options).fetch(&wanted, &cafe.staging(), &Silent).unwrap();
    assert!(fetched.wire_bytes < 5 * MIB as u64, "{}", fetched.wire_bytes);
    assert_eq!(cafe.server.requests(), 2, "left once, and then the only one that answers");
}

#[test]
fn a_gateway_that_cannot_reach_the_server_is_an_outage_too() {
    let cafe = Cafe::new();
    let wanted = cafe.serve_in_pieces("model.gguf", 8 * MIB);
    cafe.server.queue_fault("model.gguf", Fault::CutAfter(3 * MIB as u64));
    for _ in 0..12 {
        cafe.server.queue_fault("model.gguf", Fault::Status(502));
    }
    let options = Options { outage_patience: Duration::from_secs(60), ..hurried() };
    let fetched = Client::new(options).fetch(&wanted, &cafe.staging(), &Silent).unwrap();
    assert_eq!(fetched.wire_bytes, 8 * MIB as u64);
    assert_eq!(cafe.server.requests(), 14);
}

#[test]
fn a_folder_of_blobs_is_a_neighbour_even_offline() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 50_000);
    cafe.sandbox.write(format!("blobs/{}", wanted.digest), noise(50_000, 1));
    let folder = url::Url::from_directory_path(cafe.sandbox.path("blobs")).unwrap();
    let client = Client::new(Options { peers: vec![folder], is_offline: true, ..hurried() });
    let fetched = client.fetch(&wanted, &cafe.staging(), &Silent).unwrap();
    assert_eq!((fetched.wire_bytes, cafe.server.requests()), (0, 0));
}

#[test]
fn a_mirror_is_asked_first_and_the_publisher_when_it_fails() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("org/model.gguf", 50_000);
    cafe.sandbox.write("second/copy/org/model.gguf", noise(50_000, 1));
    cafe.sandbox.write("second/copy/index.json", b"{}");
    let mirror = cafe.second_server();
    let rule = format!("{}/={}/copy/", cafe.server.url(), mirror.url());
    let client = Client::new(Options { mirrors: vec![rule.parse().unwrap()], ..hurried() });
    drop(client.fetch(&wanted, &cafe.staging(), &Silent).unwrap());
    assert_eq!(client.get(&cafe.url("index.json"), 10, &Silent).unwrap(), b"{}");
    assert_eq!((mirror.requests(), cafe.server.requests()), (2, 0));

    let unmirrored = cafe.wanted("org/another", b"another");
    let fetched = client.fetch(&unmirrored, &cafe.staging(), &Silent).unwrap();
    assert_eq!(fetched.source, Some(format!("{}/org/another", cafe.server.url())));
}

#[test]
fn a_mirror_with_another_file_is_dropped_after_one_piece_and_named() {
    let cafe = Cafe::new();
    let wanted = cafe.serve_in_pieces("model.gguf", 24 * MIB);
    cafe.sandbox.write("second/model.gguf", noise(24 * MIB, 2));
    let mirror = cafe.second_server();
    let rule = format!("{}/={}/", cafe.server.url(), mirror.url());
    let client = Client::new(Options { mirrors: vec![rule.parse().unwrap()], ..hurried() });
    let ear = Ear::default();
    let fetched = client.fetch(&wanted, &cafe.staging(), &ear).unwrap();
    let address = format!("{}/model.gguf", mirror.url());
    assert_eq!(fetched.dropped.len(), 1);
    assert_eq!(fetched.dropped[0].address, address);
    assert!(fetched.dropped[0].reason.contains("sent a wrong piece"), "{}", fetched.dropped[0].reason);
    assert!(ear.warnings.lock().unwrap().iter().any(|text| text.contains(&address)));
    assert_eq!(mirror.requests(), 1);
    // One piece, and what was under way when it turned out to be wrong.
    let in_vain = fetched.wire_bytes - wanted.size_bytes;
    assert!(in_vain <= MAX_PIECE_BYTES + MIB as u64, "{in_vain} bytes in vain");

    // For the next file it comes last.
    let next = cafe.wanted("next", b"the next file");
    cafe.sandbox.write("second/next", b"the next file");
    client.fetch(&next, &cafe.staging(), &Silent).unwrap();
    assert_eq!(mirror.requests(), 1);
}

#[test]
fn a_slow_source_makes_way_for_another() {
    let cafe = Cafe::with(Options {
        slow_bytes_per_second: 4 * MIB as u64,
        slow_span: Duration::from_millis(200),
        ..hurried()
    });
    let mut wanted = cafe.serve_in_pieces("model.gguf", 12 * MIB);
    cafe.sandbox.write("second/model.gguf", noise(12 * MIB, 1));
    let second = cafe.second_server();
    wanted.sources.push(format!("{}/model.gguf", second.url()).parse().unwrap());
    cafe.server.set_fault("model.gguf", Fault::Throttle(400_000));
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!(fetched.source, Some(format!("{}/model.gguf", second.url())));
    assert_eq!((cafe.server.requests(), second.requests()), (1, 1));
}

#[test]
fn the_only_source_is_waited_for_however_slow() {
    let cafe = Cafe::with(Options {
        slow_bytes_per_second: u64::MAX / 4,
        slow_span: Duration::from_millis(20),
        ..hurried()
    });
    let wanted = cafe.serve("model.gguf", MIB);
    cafe.server.set_fault("model.gguf", Fault::Throttle(4 * MIB as u64));
    cafe.fetch_well(&wanted);
    assert_eq!(cafe.server.requests(), 1);
}

#[test]
fn on_a_very_fast_line_a_wrong_piece_is_found_in_the_end_and_fetched_again() {
    let cafe = Cafe::with(Options { hasty_bytes_per_second: 0, ..hurried() });
    let wanted = cafe.serve_in_pieces("model.gguf", 32 * MIB);
    cafe.server.queue_fault("model.gguf", Fault::CorruptByte(17 * MIB as u64));
    let ear = Ear::default();
    let fetched = cafe.client.fetch(&wanted, &cafe.staging(), &ear).unwrap();
    assert_eq!(Sha256::of(&std::fs::read(&fetched.staged.path).unwrap()), wanted.digest);
    assert_eq!(fetched.wire_bytes, wanted.size_bytes + MAX_PIECE_BYTES);
    assert_eq!(cafe.server.requests(), 2);
    let warnings = ear.warnings.lock().unwrap();
    assert_eq!(*warnings, ["some pieces of `model.gguf` came wrong; they are fetched again"]);
}

#[test]
fn stopped_on_a_very_fast_line_it_keeps_all_that_came() {
    let cafe = Cafe::with(Options { hasty_bytes_per_second: 0, ..hurried() });
    let wanted = cafe.serve_in_pieces("model.gguf", 32 * MIB);
    cafe.server.queue_fault("model.gguf", Fault::CutAfter(18 * MIB as u64 + 5));
    cafe.server.queue_fault("model.gguf", Fault::Status(404));
    assert!(cafe.client.fetch(&wanted, &cafe.staging(), &Silent).is_err());
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!(fetched.reused_bytes, 18 * MIB as u64 + 5);
    assert_eq!(fetched.wire_bytes, wanted.size_bytes - fetched.reused_bytes);
}
