//! From a publisher to an installed package over HTTP, by the real program and a real server.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt};

use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

/// A registry with `book` of one small and one 9 MiB file, served on loopback and known to `home`.
fn served(sandbox: &Sandbox) -> HttpServer {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n"), ("map.bin", &noise(2, 9 << 20))]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    server
}

/// The path of the large file's blob on the server.
fn large_blob(sandbox: &Sandbox) -> String {
    let blobs = fs::read_dir(sandbox.path("publisher/ngo/registry/blobs")).unwrap();
    let large = blobs.map(|entry| entry.unwrap()).find(|entry| entry.metadata().unwrap().len() > 1 << 20);
    format!("/blobs/{}", large.unwrap().file_name().into_string().unwrap())
}

#[test]
fn a_package_is_found_planned_installed_opened_and_removed() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    sandbox.ok("home", &["update"]);
    assert!(sandbox.ok("home", &["search", "book"]).contains("book"));
    let (code, plan) = sandbox.json("home", &["install", "ngo/book", "--plan"]);
    assert_eq!((code, plan["missing_bytes"].as_u64()), (Some(0), Some((9 << 20) + 12)));
    assert!(sandbox.ok("home", &["list"]).contains("nothing is installed"), "a plan changes nothing");
    let (code, report) = sandbox.json("home", &["install", "book"]);
    assert_eq!((code, report["installed"][0].as_str()), (Some(0), Some("book")));
    let chapter = sandbox.ok("home", &["path", "book", "chapter.md"]);
    assert_eq!(fs::read_to_string(chapter.trim()).unwrap(), "# A chapter\n");
    let bytes_before = server.bytes_sent();
    assert!(sandbox.ok("home", &["install", "book"]).contains("installed already"));
    assert_eq!(server.bytes_sent(), bytes_before, "asking twice costs nothing");
    sandbox.ok("home", &["verify", "book"]);
    sandbox.ok("home", &["remove", "book"]);
    assert_eq!(fs::read_dir(sandbox.path("home/blobs")).unwrap().count(), 0);
}

#[test]
fn a_fetch_cut_in_the_middle_continues_where_it_was() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    let blob = large_blob(&sandbox);
    server.set_fault(&blob, Fault::Status(404));
    server.queue_fault(&blob, Fault::CutAfter(5 << 20));
    sandbox.run("home", &["install", "book"]).failed_with(3);
    assert!(sandbox.ok("home", &["list"]).contains("nothing is installed"));
    server.clear_faults();
    let bytes_before = server.bytes_sent();
    sandbox.ok("home", &["install", "book"]);
    let again = server.bytes_sent() - bytes_before;
    assert!(again <= (9 << 20) - (1 << 20), "{again} bytes came again of 9 MiB, of which 5 had arrived");
    sandbox.ok("home", &["verify"]);
}

#[test]
fn a_fetch_killed_at_once_loses_at_most_one_piece() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    let blob = large_blob(&sandbox);
    // About 4 MiB a second: slow enough to be killed well before the 9 MiB are there.
    server.set_fault(&blob, Fault::Throttle(4 << 20));
    let bytes_before = server.bytes_sent();
    let mut child = sandbox.command("home").args(["install", "book"]).spawn().unwrap();
    while server.bytes_sent() - bytes_before < 7 << 20 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let spent = server.bytes_sent() - bytes_before;
    server.clear_faults();
    sandbox.ok("home", &["install", "book"]);
    let total = server.bytes_sent() - bytes_before;
    // What was sent but had not reached the program counts too: socket buffers hold up to a few hundred kB.
    assert!(total <= (9 << 20) + (5 << 20), "{spent} bytes were sent before the kill, {total} in all");
    sandbox.ok("home", &["verify"]);
}

#[test]
fn a_web_page_in_place_of_a_file_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    server.set_fault(&large_blob(&sandbox), Fault::Html);
    let said = sandbox.run("home", &["install", "book"]).failed_with(5);
    assert!(said.contains("web page") && said.contains("map.bin"), "{said}");
    server.clear_faults();
    sandbox.ok("home", &["install", "book"]);
}

#[test]
fn a_wrong_byte_from_the_server_is_never_installed() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    server.set_fault(&large_blob(&sandbox), Fault::CorruptByte(6 << 20));
    let said = sandbox.run("home", &["install", "book"]).failed_with(4);
    assert!(said.contains("book"), "{said}");
    assert!(sandbox.ok("home", &["list"]).contains("nothing is installed"));
    server.clear_faults();
    sandbox.ok("home", &["install", "book"]);
}

#[test]
fn offline_opens_no_connection() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    let connections = server.connections();
    sandbox.run("home", &["--offline", "install", "book"]).failed_with(5);
    sandbox.run("home", &["--offline", "update"]).failed_with(5);
    for allowed in
        [&["--offline", "search", "book"][..], &["--offline", "info", "book"], &["--offline", "list"]]
    {
        sandbox.ok("home", allowed);
    }
    assert_eq!(server.connections(), connections);
}

#[test]
fn a_damaged_blob_is_named_set_aside_and_mended_by_installing_again() {
    let sandbox = Sandbox::new();
    let _server = served(&sandbox);
    sandbox.ok("home", &["install", "book"]);
    let map = sandbox.ok("home", &["path", "book", "map.bin"]);
    let blob = sandbox.path("home").join(&large_blob(&sandbox)[1..]);
    // The blob and its name in the package are one file: both are damaged.
    fs::set_permissions(&blob, PermissionsExt::from_mode(0o644)).unwrap();
    fs::OpenOptions::new().write(true).open(&blob).unwrap().write_all_at(b"?", 5 << 20).unwrap();
    let (code, report) = sandbox.json("home", &["verify"]);
    let file = &report["packages"][0]["damaged_files"][0];
    assert_eq!((code, file["path"].as_str()), (Some(4), Some("map.bin")));
    let second = serde_json::json!([{"offset": 4 << 20, "length": 4 << 20, "number": 1}]);
    assert_eq!(file["damaged_pieces"], second, "one piece of 4 MiB");
    let (code, again) = sandbox.json("home", &["verify"]);
    let file = &again["packages"][0]["damaged_files"][0];
    assert_eq!((code, &file["damaged_pieces"], &file["is_aside"]), (Some(4), &second, &true.into()));
    sandbox.ok("home", &["install", "book"]);
    sandbox.ok("home", &["verify"]);
    assert!(fs::read(map.trim()).unwrap() == noise(2, 9 << 20), "the name must mean the mended bytes");
}

#[test]
fn a_name_that_means_other_bytes_than_its_blob_is_put_right() {
    let sandbox = Sandbox::new();
    let _server = served(&sandbox);
    sandbox.ok("home", &["install", "book"]);
    let chapter = sandbox.ok("home", &["path", "book", "chapter.md"]);
    fs::remove_file(chapter.trim()).unwrap();
    fs::write(chapter.trim(), "# Another\n").unwrap();
    let run = sandbox.run("home", &["verify"]);
    assert!(run.code == Some(0) && run.stderr.contains("put right"), "{run:?}");
    assert_eq!(fs::read_to_string(chapter.trim()).unwrap(), "# A chapter\n");
}

#[test]
fn versions_replace_each_other_and_are_removed_one_by_one() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"first edition\n")]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    sandbox.ok("home", &["install", "book"]);
    publisher.add("book", "2.0.0", &[("chapter.md", b"second edition\n")]);
    publisher.publish();
    sandbox.ok("home", &["update"]);
    sandbox.ok("home", &["fetch", "book"]);
    assert!(sandbox.run("home", &["remove", "book@3.0.0"]).failed_with(3).contains("book@3.0.0"));
    sandbox.ok("home", &["remove", "book@2.0.0"]);
    let chapter = sandbox.ok("home", &["path", "book"]);
    assert_eq!(fs::read_to_string(chapter.trim()).unwrap(), "first edition\n", "1.0.0 must stay");
    sandbox.ok("home", &["install", "book"]);
    assert!(std::path::Path::new(chapter.trim()).exists(), "the old edition stays for a way back");
    sandbox.ok("home", &["gc", "--drop-previous", "--yes"]);
    assert_eq!(fs::read_dir(sandbox.path("home/blobs")).unwrap().count(), 1, "the old edition is freed");
    assert!(!std::path::Path::new(chapter.trim()).exists());
    sandbox.ok("home", &["remove", "book", "book"]);
    assert_eq!(fs::read_dir(sandbox.path("home/blobs")).unwrap().count(), 0);
}

#[test]
fn fetch_keeps_a_package_to_be_carried_without_installing_it() {
    let sandbox = Sandbox::new();
    let _server = served(&sandbox);
    sandbox.ok("home", &["fetch", "book"]);
    assert!(sandbox.ok("home", &["list"]).contains("fetched, not installed"));
    sandbox.run("home", &["path", "book"]).failed_with(3);
    sandbox.ok("home", &["--offline", "install", "book"]);
    assert!(!sandbox.ok("home", &["list"]).contains("not installed"));
}

#[test]
fn a_disk_that_is_too_small_is_said_before_the_first_byte() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n")]);
    // Described, not there: a file of 500 terabytes that only its manifest knows.
    let manifest = sandbox.path("publisher/ngo/manifests/huge/1.0.0.toml");
    let digest = localml::digest::Sha256::of(b"never fetched");
    let toml = format!(
        "[package]\nname = \"huge\"\nversion = \"1.0.0\"\nkind = \"knowledge\"\ntitle = \"Huge\"\nlicense = \"MIT\"\n[[variant]]\nid = \"plain\"\n[[variant.file]]\npath = \"huge.bin\"\nsize_bytes = 500000000000000\nsha256 = \"{digest}\"\nsources = [\"blobs/{digest}\"]\n"
    );
    fs::create_dir_all(manifest.parent().unwrap()).unwrap();
    fs::write(manifest, toml).unwrap();
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    let requests = server.requests();
    sandbox.run("home", &["install", "huge"]).failed_with(6);
    assert_eq!(server.requests(), requests, "no byte is spent");
}
