//! A download that was cut, stopped or killed goes on where it was, and never mixes two files.

use std::process::{Command, Stdio};
use std::time::Duration;

use localml::error::{ErrorKind, Explain as _};
use localml::package::MAX_PIECE_BYTES;
use localml::progress::Silent;
use localml::transfer::{Client, Options, TransferError, Wanted, keep_prefix};

use super::support::cafe::{Cafe, Impatient, MIB, hurried, noise, pieces_of, story};
use super::support::http_server::Fault;

#[test]
fn a_download_cut_at_any_byte_continues_there() {
    let size_bytes = 5000;
    let cuts = (0..8).chain((8..size_bytes - 8).step_by(331)).chain(size_bytes - 8..size_bytes);
    let cafe = Cafe::new();
    for cut in cuts {
        let name = format!("cut-{cut}");
        let wanted = cafe.wanted(&name, &noise(size_bytes as usize, cut + 1));
        cafe.server.queue_fault(&name, Fault::CutAfter(cut));
        let fetched = cafe.fetch_well(&wanted);
        // Again: at most the 1 KiB by which the range overlaps.
        let again_bytes = fetched.wire_bytes - wanted.size_bytes;
        assert!(again_bytes <= 1024.min(cut), "cut at {cut}: {again_bytes} bytes came twice");
    }
}

#[test]
fn a_server_that_cuts_every_answer_short_is_worn_down() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 50_000);
    for cut in [7_000, 700, 7] {
        let wanted = Wanted { name: format!("cut-{cut}"), ..wanted.clone() };
        cafe.server.set_fault("model.gguf", Fault::CutAfter(cut));
        let fetched = if cut == 7 {
            // 7 bytes a request are slow: the file is almost there already.
            cafe.server.set_fault("model.gguf", Fault::CutAfter(49_900));
            let monitor = Impatient { stop_after_bytes: 49_000, ..Impatient::default() };
            let _ = cafe.client.fetch(&wanted, &cafe.staging(), &monitor);
            cafe.server.set_fault("model.gguf", Fault::CutAfter(cut));
            cafe.fetch_well(&wanted)
        } else {
            cafe.fetch_well(&wanted)
        };
        std::fs::remove_file(&fetched.staged.path).unwrap();
    }
}

#[test]
fn stopped_anywhere_it_keeps_all_and_says_so() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 11 * MIB);
    cafe.server.set_fault("model.gguf", Fault::Throttle(200 * MIB as u64));
    for stop_after_bytes in [0, 1, 4 * MIB as u64, 6 * MIB as u64, 10 * MIB as u64] {
        let monitor = Impatient { stop_after_bytes, ..Impatient::default() };
        let error = cafe.client.fetch(&wanted, &cafe.staging(), &monitor).unwrap_err();
        let TransferError::Cancelled { kept_bytes, .. } = error else { panic!("{error}") };
        assert!(kept_bytes >= stop_after_bytes);
        assert!(error.to_string().starts_with("stopped; "), "{error}");
    }
    let before_bytes = cafe.server.bytes_sent();
    let fetched = cafe.fetch_well(&wanted);
    assert!(fetched.reused_bytes >= 10 * MIB as u64);
    assert!(cafe.server.bytes_sent() - before_bytes <= MIB as u64 + 1024);
}

/// What a power cut or `kill -9` may leave: a part file longer than its journal knows, a torn journal, both, neither.
#[test]
fn whatever_a_kill_leaves_behind_it_resumes_with_at_most_one_piece_again() {
    let cafe = Cafe::new();
    let bytes = noise(10 * MIB, 1);
    let wanted = cafe.wanted("model.gguf", &bytes);
    cafe.server.queue_fault("model.gguf", Fault::CutAfter(9 * MIB as u64));
    cafe.server.queue_fault("model.gguf", Fault::Status(404));
    assert!(cafe.fetch(&wanted).is_err());
    let part = std::fs::read(cafe.part(&wanted)).unwrap();
    let journal = std::fs::read_to_string(cafe.journal(&wanted)).unwrap();
    assert_eq!(part, bytes[..9 * MIB]);
    let lines: Vec<&str> = journal.split_inclusive('\n').collect();
    // Head, blob, from, and a line for each quarter of 9 MiB.
    assert_eq!(lines.len(), 39, "{journal}");
    let quarter = MIB / 4;

    let torn = &journal[..journal.len() - 9];
    let shorter = lines[..38].concat();
    let mut flipped = part.clone();
    flipped[5 * MIB + 9] ^= 1;
    for (case, part, journal, kept_bytes) in [
        ("whole", &part[..], journal.as_str(), 9 * MIB),
        ("torn journal", &part, torn, 9 * MIB - quarter),
        ("part ahead", &part, shorter.as_str(), 9 * MIB - quarter),
        ("journal ahead", &part[..7 * MIB + 9], &journal, 7 * MIB),
        ("part damaged", &flipped, &journal, 5 * MIB),
        ("no part", &[], &journal, 0),
        ("no journal", &part, "", 0),
        ("another's journal", &part, "localml journal 1\n00000000 blob x 9\n", 0),
    ] {
        std::fs::write(cafe.part(&wanted), part).unwrap();
        std::fs::write(cafe.journal(&wanted), journal).unwrap();
        let before_bytes = cafe.server.bytes_sent();
        let fetched = cafe.fetch_well(&wanted);
        assert_eq!(fetched.reused_bytes, kept_bytes as u64, "{case}");
        let sent_bytes = cafe.server.bytes_sent() - before_bytes;
        let overlap_bytes = if kept_bytes > 0 { 1024 } else { 0 };
        assert_eq!(sent_bytes, (10 * MIB - kept_bytes) as u64 + overlap_bytes, "{case}");
    }
}

#[test]
fn a_whole_part_file_is_taken_without_a_journal_and_without_the_network() {
    let cafe = Cafe::new();
    let bytes = noise(5 * MIB, 1);
    let wanted = cafe.wanted("model.gguf", &bytes);
    std::fs::create_dir_all(cafe.staging()).unwrap();
    std::fs::write(cafe.part(&wanted), &bytes).unwrap();
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!((fetched.reused_bytes, fetched.source.as_deref()), (wanted.size_bytes, None));
    assert_eq!(cafe.server.connections(), 0);
}

#[test]
fn a_server_without_ranges_is_compared_and_never_mixed() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 9 * MIB);
    cafe.server.queue_fault("model.gguf", Fault::CutAfter(5 * MIB as u64 + 123));
    cafe.server.set_fault("model.gguf", Fault::IgnoreRanges);
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!(cafe.server.requests(), 2);
    assert_eq!(fetched.wire_bytes, (9 + 5) * MIB as u64 + 123);
}

#[test]
fn a_server_that_lies_about_ranges_is_asked_for_the_whole() {
    for fault in [Fault::LieAboutRanges, Fault::WrongRange] {
        let cafe = Cafe::new();
        let wanted = cafe.serve("model.gguf", 50_000);
        cafe.server.queue_fault("model.gguf", Fault::CutAfter(30_000));
        cafe.server.set_fault("model.gguf", fault);
        cafe.fetch_well(&wanted);
        let log = cafe.server.log();
        assert_eq!(log.len(), 3);
        assert_eq!(log[1].range.as_deref(), Some("bytes=28976-49999"));
        assert_eq!(log[2].range, None);
    }
}

#[test]
fn a_file_that_changes_in_the_middle_is_noticed_and_never_mixed() {
    for fault in [None, Some(Fault::NoValidators)] {
        let cafe = Cafe::new();
        let old = noise(9 * MIB, 1);
        let mut new = noise(9 * MIB, 2);
        new[..2 * MIB].copy_from_slice(&old[..2 * MIB]);
        let wanted = cafe.wanted("model.gguf", &new);
        // The server has an old version of what the package promises, then the right one.
        cafe.sandbox.write("served/model.gguf", &old);
        if let Some(fault) = fault {
            cafe.server.set_fault("model.gguf", fault);
        }
        let monitor = Impatient { stop_after_bytes: 5 * MIB as u64, ..Impatient::default() };
        cafe.client.fetch(&wanted, &cafe.staging(), &monitor).unwrap_err();
        cafe.sandbox.write("served/model.gguf", &new);

        let monitor = Impatient { stop_after_bytes: u64::MAX, ..Impatient::default() };
        cafe.client.fetch(&wanted, &cafe.staging(), &monitor).unwrap();
        assert_eq!(std::fs::read(cafe.part(&wanted)).unwrap(), new);
        let warnings = monitor.warnings.lock().unwrap().join("\n");
        assert!(warnings.contains(&format!("from byte {} on", 2 * MIB)), "{warnings}");
    }
}

#[test]
fn with_pieces_only_the_wrong_ones_are_fetched_again() {
    let cafe = Cafe::new();
    let bytes = noise(18 * MIB, 1);
    let mut wanted = cafe.wanted("good", &bytes);
    let mut bad = bytes.clone();
    bad[9 * MIB] ^= 1;
    cafe.sandbox.write("served/bad", &bad);
    wanted.pieces = Some(pieces_of(&bytes));
    wanted.sources = vec![cafe.url("bad"), cafe.url("good")];
    let fetched = cafe.fetch_well(&wanted);
    let log = cafe.server.log();
    assert_eq!((log[0].path.as_str(), log[1].path.as_str()), ("/bad", "/good"));
    assert_eq!(log[1].range.as_deref(), Some("bytes=8388608-18874367"));
    assert_eq!(log.len(), 2);
    assert!(fetched.wire_bytes <= wanted.size_bytes + MAX_PIECE_BYTES + MIB as u64);
}

#[test]
fn with_pieces_a_damaged_part_file_is_mended_piece_by_piece() {
    let cafe = Cafe::new();
    let bytes = noise(30 * MIB, 1);
    let mut wanted = cafe.wanted("model.gguf", &bytes);
    wanted.pieces = Some(pieces_of(&bytes));
    let mut part = bytes.clone();
    for at in [1, 13 * MIB, 30 * MIB - 1] {
        part[at] ^= 1;
    }
    std::fs::create_dir_all(cafe.staging()).unwrap();
    std::fs::write(cafe.part(&wanted), &part).unwrap();
    let fetched = cafe.fetch_well(&wanted);
    // Two pieces of 4 MiB, and the last one of 2 MiB.
    assert_eq!((fetched.wire_bytes, cafe.server.requests()), (10 * MIB as u64, 3));
    assert_eq!(fetched.reused_bytes, 20 * MIB as u64);
}

#[test]
fn with_pieces_a_cut_within_one_loses_nothing_and_a_server_without_ranges_works() {
    for fault in [None, Some(Fault::IgnoreRanges)] {
        let cafe = Cafe::new();
        let bytes = noise(10 * MIB, 1);
        let mut wanted = cafe.wanted("model.gguf", &bytes);
        wanted.pieces = Some(pieces_of(&bytes));
        cafe.server.queue_fault("model.gguf", Fault::CutAfter(6 * MIB as u64));
        cafe.server.queue_fault("model.gguf", Fault::Status(404));
        cafe.fetch(&wanted).unwrap_err();
        let is_whole = fault.is_some();
        if let Some(fault) = fault {
            cafe.server.set_fault("model.gguf", fault);
        }
        let fetched = cafe.fetch_well(&wanted);
        assert_eq!(fetched.reused_bytes, 6 * MIB as u64);
        assert_eq!(fetched.wire_bytes, if is_whole { 10 } else { 4 } * MIB as u64);
    }
}

/// Run in a process of its own by the two tests below; alone it does nothing.
#[test]
fn child_that_fetches_what_its_parent_says() {
    let Ok(order) = std::env::var("LOCALML_TEST_FETCH") else { return };
    let words: Vec<&str> = order.split(' ').collect();
    let wanted = Wanted {
        name: "model.gguf".into(),
        digest: words[1].parse().unwrap(),
        size_bytes: words[2].parse().unwrap(),
        sources: vec![words[0].parse().unwrap()],
        pieces: None,
        reuse: Vec::new(),
    };
    let fetched = Client::new(hurried()).fetch(&wanted, words[3].as_ref(), &Silent).unwrap();
    assert_eq!(fetched.staged.digest, wanted.digest);
}

fn child(cafe: &Cafe, wanted: &Wanted) -> Command {
    let staging = cafe.staging();
    let order =
        format!("{} {} {} {}", wanted.sources[0], wanted.digest, wanted.size_bytes, staging.display());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "transfer_resume::child_that_fetches_what_its_parent_says"])
        .env("LOCALML_TEST_FETCH", order)
        .stdout(Stdio::null());
    command
}

#[test]
fn killed_with_signal_9_it_fetches_at_most_one_piece_again() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 40 * MIB);
    cafe.server.set_fault("model.gguf", Fault::Throttle(100 * MIB as u64));
    for kill_after_bytes in [5 * MIB as u64, 17 * MIB as u64, 36 * MIB as u64] {
        let mut child = child(&cafe, &wanted).spawn().unwrap();
        while std::fs::metadata(cafe.part(&wanted)).map_or(0, |part| part.len()) < kill_after_bytes {
            assert!(child.try_wait().unwrap().is_none(), "the child ended before its time");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let part_bytes = std::fs::metadata(cafe.part(&wanted)).unwrap().len();
    let fetched = cafe.fetch_well(&wanted);
    assert!(fetched.reused_bytes + MAX_PIECE_BYTES >= part_bytes, "{} of {part_bytes}", fetched.reused_bytes);
}

#[test]
fn works_on_a_machine_without_ca_certificates() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5000);
    let status = child(&cafe, &wanted)
        .env("SSL_CERT_FILE", cafe.sandbox.path("absent"))
        .env("SSL_CERT_DIR", cafe.sandbox.path("absent"))
        .status()
        .unwrap();
    assert!(status.success());
    cafe.fetch_well(&wanted);
    assert_eq!(cafe.server.requests(), 1);
}

#[test]
fn with_pieces_a_server_with_another_label_for_the_same_file_goes_on() {
    let cafe = Cafe::new();
    let wanted = cafe.serve_in_pieces("model.gguf", 10 * MIB);
    cafe.server.queue_fault("model.gguf", Fault::CutAfter(6 * MIB as u64));
    cafe.server.queue_fault("model.gguf", Fault::Status(404));
    cafe.fetch(&wanted).unwrap_err();
    // Written anew: the same bytes under another ETag and date, as each face of a large mirror has its own.
    cafe.serve("model.gguf", 10 * MIB);
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!((fetched.reused_bytes, fetched.wire_bytes), (6 * MIB as u64, 4 * MIB as u64));
}

#[test]
fn the_half_of_another_program_is_taken_only_where_it_continues_what_is_here() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 10 * MIB);
    let bytes = noise(10 * MIB, 1);
    let half = cafe.sandbox.write("downloads/model.part", &bytes[..8 * MIB]);
    let mut other = bytes[..9 * MIB].to_vec();
    other[100] ^= 1;
    let other = cafe.sandbox.write("downloads/other.part", &other);
    cafe.server.queue_fault("model.gguf", Fault::CutAfter(6 * MIB as u64));
    cafe.server.queue_fault("model.gguf", Fault::Status(404));
    cafe.fetch(&wanted).unwrap_err();
    let keep = |path, length| keep_prefix(&wanted, (path, length), &cafe.staging(), &Silent).unwrap();
    assert_eq!(keep(&other, 9 * MIB as u64), 6 * MIB as u64, "another file's end was put behind it");
    assert_eq!(keep(&half, 8 * MIB as u64), 8 * MIB as u64);
    assert_eq!(cafe.fetch_well(&wanted).wire_bytes, 2 * MIB as u64 + 1024);
}

#[test]
fn a_server_that_begins_anew_and_breaks_at_the_same_place_is_not_paid_again_and_again() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 20 * MIB);
    cafe.server.set_fault("model.gguf", Fault::IgnoreRangesAndCut(6 * MIB as u64));
    let error = cafe.fetch(&wanted).unwrap_err();
    assert!(story(&error).contains("only from its first byte on"), "{}", story(&error));
    assert!(error.hint().unwrap().contains("pays for the same bytes again"), "{:?}", error.hint());
    // Once for what is kept, and once to learn that nothing more comes.
    assert!(cafe.server.bytes_sent() <= 12 * MIB as u64, "{} bytes", cafe.server.bytes_sent());
    cafe.server.clear_faults();
    assert_eq!(cafe.fetch_well(&wanted).reused_bytes, 6 * MIB as u64);
}

#[test]
fn a_line_that_is_down_for_longer_than_a_few_tries_is_waited_for() {
    for (patience, is_enough) in [(Duration::ZERO, false), (Duration::from_secs(60), true)] {
        let cafe = Cafe::with(Options { outage_patience: patience, ..hurried() });
        let wanted = cafe.serve("model.gguf", 8 * MIB);
        cafe.server.queue_fault("model.gguf", Fault::CutAfter(3 * MIB as u64));
        for _ in 0..12 {
            cafe.server.queue_fault("model.gguf", Fault::CutAfter(0));
        }
        let fetched = cafe.fetch(&wanted);
        let why = fetched.as_ref().err().map(|error| story(error));
        assert_eq!(fetched.is_ok(), is_enough, "with a patience of {patience:?}: {why:?}");
        assert_eq!(cafe.server.requests() > 12, is_enough);
    }
}

#[test]
fn another_source_that_is_dead_takes_nothing_from_the_patience_with_the_first() {
    let cafe = Cafe::with(Options { outage_patience: Duration::from_secs(60), ..hurried() });
    let mut wanted = cafe.serve("model.gguf", 8 * MIB);
    wanted.sources.push("http://127.0.0.1:1/model.gguf".parse().unwrap());
    cafe.server.queue_fault("model.gguf", Fault::CutAfter(3 * MIB as u64));
    for _ in 0..12 {
        cafe.server.queue_fault("model.gguf", Fault::CutAfter(0));
    }
    cafe.fetch_well(&wanted);
    assert!(cafe.server.requests() > 12);
}

#[test]
fn a_server_that_was_never_there_is_not_waited_for() {
    let cafe = Cafe::with(Options { outage_patience: Duration::from_secs(3600), ..hurried() });
    let wanted = cafe.serve("model.gguf", 5000);
    cafe.server.set_fault("model.gguf", Fault::CutAfter(0));
    assert_eq!(cafe.fetch(&wanted).unwrap_err().kind(), ErrorKind::Network);
}

#[test]
fn sources_that_differ_in_their_query_alone_are_two() {
    let cafe = Cafe::new();
    let mut wanted = cafe.serve_in_pieces("model.gguf", 9 * MIB);
    let with_query = |query: &str| {
        let mut url = cafe.url("model.gguf");
        url.set_query(Some(query));
        url
    };
    wanted.sources = vec![with_query("id=bad"), with_query("id=good")];
    cafe.server.queue_fault("model.gguf", Fault::CorruptByte(5 * MIB as u64));
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!(fetched.dropped.len(), 1, "{:?}", fetched.dropped);
    assert!(!fetched.dropped[0].address.contains("id="), "{:?}", fetched.dropped);
}
