//! One verified file at a time, from a real server on loopback that cuts, stalls, lies and counts.

use localml::digest::Sha256;
use localml::error::{ErrorKind, Explain as _};
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
                "could not fetch `model.gguf` (0 B of 5.00 kB are kept): \
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
    // Some say neither how long the words of a redirect are nor that they are over.
    let endless = cafe.wanted("endless", &noise(5001, 3));
    cafe.server.set_fault("kept-open", Fault::RedirectOpen("/endless".into()));
    cafe.fetch_well(&Wanted { sources: vec![cafe.url("kept-open")], ..endless });
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
