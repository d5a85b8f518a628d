//! One verified file at a time, from a real server on loopback that cuts, stalls, lies and counts.

use std::process::{Command, Stdio};
use std::time::Duration;

use localml::digest::Sha256;
use localml::error::{ErrorKind, Explain as _};
use localml::package::MAX_PIECE_BYTES;
use localml::progress::Silent;
use localml::transfer::{Client, Options, TransferError, Wanted};

use super::support::cafe::{Cafe, Impatient, MIB, cause, hurried, noise, pieces_of, story};
use super::support::http_server::Fault;

#[test]
fn fetches_a_file_and_asks_once() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 9 * MIB + 17);
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!((fetched.wire_bytes, fetched.reused_bytes), (wanted.size_bytes, 0));
    assert_eq!(fetched.source, Some(cafe.url("model.gguf").to_string()));
    assert_eq!((cafe.server.requests(), cafe.server.connections()), (1, 1));
}

#[test]
fn an_empty_file_needs_no_request() {
    let cafe = Cafe::new();
    cafe.fetch_well(&cafe.wanted("empty", b""));
    assert_eq!(cafe.server.connections(), 0);
}

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
fn refuses_a_portals_page_by_name_and_writes_nothing() {
    for fault in [Fault::Html, Fault::DisguisedHtml] {
        let cafe = Cafe::new();
        let wanted = cafe.serve("model.gguf", 5000);
        cafe.server.set_fault("model.gguf", fault);
        let error = cafe.fetch(&wanted).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network);
        let address = cafe.url("model.gguf");
        assert_eq!(
            story(&error),
            format!(
                "could not fetch `model.gguf` (0 of 5000 bytes are kept): \
                 the network answered with a web page instead of `model.gguf` (asked `{address}`)"
            )
        );
        assert!(error.hint().unwrap().contains("sign in"), "{error:?}");
        assert_eq!(std::fs::metadata(cafe.part(&wanted)).unwrap().len(), 0);
    }
}

#[test]
fn a_portal_in_the_middle_of_a_download_spoils_nothing() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5000);
    cafe.server.queue_fault("model.gguf", Fault::CutAfter(3000));
    cafe.server.queue_fault("model.gguf", Fault::Html);
    assert!(matches!(cause(cafe.fetch(&wanted).unwrap_err()), TransferError::Portal { .. }));
    assert_eq!(cafe.fetch_well(&wanted).reused_bytes, 3000);
}

#[test]
fn a_page_that_is_wanted_comes() {
    let cafe = Cafe::new();
    let page = super::support::http_server::PORTAL_PAGE.as_bytes();
    cafe.fetch_well(&cafe.wanted("page.html", page));
    // A page under another name is told from a portal's by its length.
    cafe.fetch_well(&cafe.wanted("page", &[page, b"<p>more"].concat()));
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
fn a_wrong_file_is_named_kept_aside_and_the_next_run_succeeds() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5 * MIB);
    cafe.server.queue_fault("model.gguf", Fault::CorruptByte(4_500_000));
    let error = cafe.fetch(&wanted).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    let TransferError::Damaged { mismatch, suspect, .. } = cause(error) else { panic!() };
    assert_eq!(mismatch.expected, wanted.digest);
    assert_eq!(Sha256::of(&std::fs::read(suspect).unwrap()), mismatch.actual);
    assert_eq!(cafe.fetch_well(&wanted).reused_bytes, 0);
}

#[test]
fn a_source_with_the_wrong_file_makes_way_for_the_next() {
    let cafe = Cafe::new();
    let mut wanted = cafe.serve("good", 5 * MIB);
    cafe.sandbox.write("served/bad", noise(5 * MIB, 7));
    cafe.sandbox.write("served/short", noise(4 * MIB, 1));
    let names = ["absent", "short", "bad", "good"];
    wanted.sources = names.iter().map(|name| cafe.url(name)).collect();
    let monitor = Impatient { stop_after_bytes: u64::MAX, ..Impatient::default() };
    let fetched = cafe.client.fetch(&wanted, &cafe.staging(), &monitor).unwrap();
    assert_eq!(fetched.staged.digest, wanted.digest);
    assert_eq!(fetched.source, Some(cafe.url("good").to_string()));
    let warnings = monitor.warnings.lock().unwrap();
    let expected = [
        "/absent` is not there (the server says 404)",
        "/short` offers 4194304 bytes, but `good` has 5242880",
        "`good` has sha256",
    ];
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.contains(expected), "{warning}");
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

#[test]
fn a_piece_list_of_another_file_is_refused() {
    let cafe = Cafe::new();
    let mut wanted = cafe.serve("model.gguf", 9 * MIB);
    wanted.pieces = Some(pieces_of(&noise(8 * MIB, 1)));
    let error = cafe.fetch(&wanted).unwrap_err();
    assert!(matches!(error, TransferError::WrongPieceList { .. }), "{error}");
    assert_eq!(cafe.server.connections(), 0);
}

#[test]
fn two_sources_take_over_from_each_other() {
    let cafe = Cafe::new();
    let mut wanted = cafe.serve("first", 9 * MIB);
    cafe.serve("second", 9 * MIB);
    wanted.sources = vec![cafe.url("first"), cafe.url("second")];
    cafe.server.queue_fault("first", Fault::CutAfter(5 * MIB as u64));
    cafe.server.set_fault("first", Fault::Status(500));
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!(fetched.source, Some(cafe.url("second").to_string()));
    assert_eq!(fetched.wire_bytes, wanted.size_bytes + 1024);
}

#[test]
fn silence_is_noticed_and_not_waited_out() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 50_000);
    cafe.server.queue_fault("model.gguf", Fault::StallAfter(20_000));
    assert_eq!(cafe.fetch_well(&wanted).wire_bytes, 51_024);

    let wanted = cafe.serve("dead", 50_001);
    cafe.server.set_fault("dead", Fault::StallAfter(0));
    let error = cafe.fetch(&wanted).unwrap_err();
    assert!(matches!(cause(error), TransferError::Silence { .. }));
}

#[test]
fn busy_servers_are_asked_again_and_lasting_refusals_are_not() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5000);
    cafe.server.queue_fault("model.gguf", Fault::Status(500));
    cafe.server.queue_fault("model.gguf", Fault::Busy(0));
    cafe.fetch_well(&wanted);
    assert_eq!(cafe.server.requests(), 3);

    for (status, kind, requests) in
        [(404, ErrorKind::NotFound, 1), (403, ErrorKind::Network, 1), (503, ErrorKind::Network, 3)]
    {
        let name = format!("says-{status}");
        let wanted = cafe.wanted(&name, &noise(5001, u64::from(status)));
        cafe.server.set_fault(&name, Fault::Status(status));
        let before = cafe.server.requests();
        let error = cafe.fetch(&wanted).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.is_missing(), status == 404);
        assert!(story(&error).contains(&status.to_string()), "{}", story(&error));
        assert_eq!(cafe.server.requests() - before, requests, "{status}");
    }
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let cafe = Cafe::new();
    let mut wanted = cafe.serve("model.gguf", 5000);
    wanted.sources = vec![cafe.url("moved")];
    cafe.server.set_fault("moved", Fault::Redirect("/model.gguf".into()));
    cafe.fetch_well(&wanted);
    // To a portal's page.
    let wanted = Wanted { sources: vec![cafe.url("moved")], ..cafe.wanted("other", &noise(5001, 2)) };
    cafe.server.set_fault("model.gguf", Fault::Html);
    assert!(matches!(cause(cafe.fetch(&wanted).unwrap_err()), TransferError::Portal { .. }));
    // In a circle.
    cafe.server.set_fault("moved", Fault::Redirect("/moved".into()));
    let before = cafe.server.requests();
    assert!(story(&cafe.fetch(&wanted).unwrap_err()).contains("more than 10 redirects"));
    assert_eq!(cafe.server.requests() - before, 11);
}

#[test]
fn bodies_of_another_length_or_coding_are_refused_before_they_are_written() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5000);
    cafe.server.set_fault("model.gguf", Fault::TooLong(1));
    let error = cause(cafe.fetch(&wanted).unwrap_err());
    assert!(matches!(error, TransferError::WrongLength { actual_bytes: 5001, .. }), "{error}");
    cafe.server.set_fault("model.gguf", Fault::ClaimsGzip);
    let error = cause(cafe.fetch(&wanted).unwrap_err());
    assert!(matches!(error, TransferError::Encoded { .. }), "{error}");
    assert_eq!(std::fs::metadata(cafe.part(&wanted)).unwrap().len(), 0);
}

#[test]
fn a_body_without_a_length_is_taken_up_to_the_promised_one() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5 * MIB);
    cafe.server.set_fault("model.gguf", Fault::NoLength);
    assert_eq!(cafe.fetch_well(&wanted).wire_bytes, wanted.size_bytes);
}

#[test]
fn offline_opens_no_connection_but_reads_a_folder() {
    let cafe = Cafe::with(Options { is_offline: true, ..hurried() });
    let mut wanted = cafe.serve("model.gguf", 5000);
    let error = cafe.fetch(&wanted).unwrap_err();
    assert_eq!(error.to_string(), "`model.gguf` would have to come from the network, and localml is offline");
    assert!(matches!(
        cafe.client.get(&cafe.url("model.gguf"), 9999, &Silent),
        Err(TransferError::Offline { .. })
    ));
    let folder = url::Url::from_file_path(cafe.sandbox.path("served/model.gguf")).unwrap();
    wanted.sources.push(folder);
    let fetched = cafe.fetch_well(&wanted);
    assert_eq!(fetched.wire_bytes, 0);
    assert_eq!(cafe.server.connections(), 0);
}

#[test]
fn nobody_there_is_a_network_error_that_names_the_address() {
    let cafe = Cafe::new();
    let mut wanted = cafe.serve("model.gguf", 5000);
    // Port 9 of this machine: nothing listens there.
    wanted.sources = vec!["http://user:secret@127.0.0.1:9/model.gguf?token=x".parse().unwrap()];
    let error = cafe.fetch(&wanted).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    let story = story(&error);
    assert!(story.contains("no connection to `http://127.0.0.1:9/model.gguf`: "), "{story}");
    assert!(!story.contains("secret") && !story.contains("token"), "{story}");
}

#[test]
fn a_second_fetch_of_the_same_file_is_refused_while_the_first_is_held() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5000);
    let fetched = cafe.fetch_well(&wanted);
    let error = cafe.fetch(&wanted).unwrap_err();
    assert_eq!(error.to_string(), "another localml is already fetching `model.gguf`");
    assert_eq!(cafe.server.requests(), 1);
    fetched.staged.move_to(&cafe.sandbox.path("store/blob")).unwrap();
    drop(fetched);
    let left: Vec<_> =
        std::fs::read_dir(cafe.staging()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_full_disk_ends_with_no_room() {
    let cafe = Cafe::new();
    let wanted = cafe.serve("model.gguf", 5000);
    std::fs::create_dir_all(cafe.staging()).unwrap();
    // Every write to it fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", cafe.part(&wanted)).unwrap();
    let error = cafe.fetch(&wanted).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoom, "{}", story(&error));
    assert!(error.hint().unwrap().starts_with("free some space"));

    let mut wanted = cafe.serve("huge", 5001);
    wanted.size_bytes = u64::MAX / 2;
    let before = cafe.server.requests();
    let error = cause(cafe.fetch(&wanted).unwrap_err());
    assert!(matches!(error, TransferError::NoRoom { .. }), "{error}");
    assert_eq!(cafe.server.requests(), before);
}

#[test]
fn small_files_are_bounded_and_pages_refused() {
    let cafe = Cafe::new();
    cafe.sandbox.write("served/timestamp.json", b"{}");
    let get = |name: &str, max_bytes| cafe.client.get(&cafe.url(name), max_bytes, &Silent);
    assert_eq!(get("timestamp.json", 2).unwrap(), b"{}");
    assert!(matches!(get("timestamp.json", 1), Err(TransferError::TooLarge { .. })));
    assert!(get("absent.json", 9).unwrap_err().is_missing());
    for fault in [Fault::Html, Fault::DisguisedHtml] {
        cafe.server.set_fault("timestamp.json", fault);
        assert!(matches!(get("timestamp.json", 9999), Err(TransferError::Portal { .. })));
    }
    cafe.server.set_fault("timestamp.json", Fault::NoLength);
    assert!(matches!(get("timestamp.json", 1), Err(TransferError::TooLarge { .. })));
    cafe.server.clear_faults();
    cafe.server.queue_fault("timestamp.json", Fault::CutAfter(1));
    assert_eq!(get("timestamp.json", 2).unwrap(), b"{}");
    let local = url::Url::from_file_path(cafe.sandbox.path("served/timestamp.json")).unwrap();
    assert_eq!(cafe.client.get(&local, 2, &Silent).unwrap(), b"{}");
}

#[test]
fn a_client_works_inside_another_runtime() {
    let cafe = Cafe::new();
    cafe.sandbox.write("served/timestamp.json", b"{}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(async { cafe.client.get(&cafe.url("timestamp.json"), 2, &Silent) });
    assert_eq!(bytes.unwrap(), b"{}");
    runtime.block_on(async { drop(Client::new(Options::default())) });
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
        .args(["--exact", "transfer::child_that_fetches_what_its_parent_says"])
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
