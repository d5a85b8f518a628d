//! `sync --list` and `import` of loose files: a cafe PC where only a browser or a download manager may run.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::http_server::HttpServer;
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::skipped::skip;

const MIB: usize = 1 << 20;

/// A registry `ngo` with `book` (10 MiB and a chapter) and `note`, served on loopback and known to `site`.
fn served(sandbox: &Sandbox) -> HttpServer {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n"), ("map.bin", &noise(1, 10 * MIB))]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("site", &server.url());
    fs::create_dir(sandbox.path("downloads")).unwrap();
    server
}

/// What a browser does: one plain request, the body into a file.
fn download(url: &str, to: &Path) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut reader = std::io::BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    fs::write(to, body).unwrap();
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect()
}

#[test]
fn a_list_is_downloaded_by_another_program_and_comes_in_under_any_name() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    let (code, list) = sandbox.json("site", &["--offline", "sync", "--list", "missing.txt", "book"]);
    let files = list["files"].as_array().unwrap();
    let wanted: Vec<&Value> = files.iter().filter(|file| file["is_piece_list"] == false).collect();
    assert_eq!(
        (code, wanted.len(), list["size_bytes"].as_u64()),
        (Some(0), 2, Some(10 * MIB as u64 + 12)),
        "{list}"
    );
    let text = fs::read_to_string(sandbox.path("missing.txt")).unwrap();
    for file in &wanted {
        let (sha256, url) = (file["sha256"].as_str().unwrap(), file["urls"][0].as_str().unwrap());
        assert!(
            text.contains(&format!("  checksum=sha-256={sha256}\n")) && text.contains(&format!("\n{url}\n"))
        );
        assert!(text.contains(&format!("{} bytes", file["size_bytes"])), "{text}");
    }
    for (number, file) in wanted.iter().enumerate() {
        let name = sandbox.path(format!("downloads/unnamed ({number})"));
        download(file["urls"][0].as_str().unwrap(), &name);
    }
    sandbox.write("downloads/photo.jpg", "a photo");
    drop(server);
    let (code, report) = sandbox.json("site", &["--offline", "import", "downloads"]);
    assert_eq!((code, texts(&report["installed"])), (Some(0), vec!["ngo/book@1.0.0:plain"]), "{report}");
    assert!(
        texts(&report["strangers"])[0].ends_with("photo.jpg") && sandbox.path("downloads/photo.jpg").exists()
    );
    sandbox.ok("site", &["verify", "book"]);
    // Once more: all is here. And nothing is missing any more.
    let (code, again) = sandbox.json("site", &["--offline", "import", "downloads"]);
    assert_eq!(
        (code, again["known"].as_array().unwrap().len(), texts(&again["installed"]).len()),
        (Some(0), 2, 0)
    );
    let said = sandbox.ok("site", &["--offline", "sync", "--list", "second.txt", "book"]);
    assert!(said.contains("nothing is missing") && !sandbox.path("second.txt").exists(), "{said}");
}

#[test]
fn the_list_is_what_aria2_and_wget_take() {
    let sandbox = Sandbox::new();
    let _server = served(&sandbox);
    sandbox.ok("site", &["--offline", "sync", "--list", "missing.urls", "book", "note"]);
    sandbox.ok("site", &["--offline", "sync", "--list", "missing.txt", "book", "note"]);
    sandbox.ok("site", &["--offline", "sync", "--list", "missing.html", "book", "note"]);
    let page = fs::read_to_string(sandbox.path("missing.html")).unwrap();
    let urls = fs::read_to_string(sandbox.path("missing.urls")).unwrap();
    assert!(
        urls.lines().all(|url| url.starts_with("http://127.0.0.1:") && page.contains(url)),
        "{urls}{page}"
    );
    let mut num_tried = 0;
    for (program, args) in
        [("wget", vec!["-q", "-i", "../missing.urls"]), ("aria2c", vec!["-q", "-i", "../missing.txt"])]
    {
        let folder = sandbox.path(program);
        fs::create_dir(&folder).unwrap();
        let Ok(status) = Command::new(program).args(args).current_dir(&folder).status() else { continue };
        assert!(status.success(), "{program}");
        num_tried += 1;
        let home = format!("home-of-{program}");
        let fingerprint = localml::digest::Sha256::of(
            &fs::read(sandbox.path("publisher/ngo/registry/1.root.json")).unwrap(),
        );
        sandbox.ok(
            &home,
            &["registry", "add", "ngo", "publisher/ngo/registry", "--fingerprint", &fingerprint.to_string()],
        );
        let (code, report) = sandbox.json(&home, &["--offline", "import", program]);
        assert_eq!((code, texts(&report["installed"]).len()), (Some(0), 2), "{program}: {report}");
    }
    if num_tried == 0 {
        skip("downloads by wget and aria2c: neither is here");
    }
}

#[test]
fn half_a_download_is_used_up_to_its_last_right_piece_and_a_fetch_goes_on_there() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    let (_, list) = sandbox.json("site", &["--offline", "sync", "--list", "missing.txt", "book"]);
    let pieces = list["files"].as_array().unwrap().iter().find(|file| file["is_piece_list"] == true).unwrap();
    download(pieces["urls"][0].as_str().unwrap(), &sandbox.path("downloads/a list"));
    // Nine of ten MiB, and room that was kept for the rest; the second piece of 4 MiB is damaged.
    let mut half = noise(1, 10 * MIB);
    half[9 * MIB..].fill(0);
    half[5 * MIB] ^= 1;
    sandbox.write("downloads/Unconfirmed 4711.crdownload", &half);
    let (code, report) = sandbox.json("site", &["--offline", "import", "downloads"]);
    let taken = report["taken"].as_array().unwrap().iter().find(|it| it["name"] == "map.bin").unwrap();
    // Pieces of 4, 4 and 2 MiB: the first one is right.
    assert_eq!((code, taken["kept_bytes"].as_u64()), (Some(8), Some(4 * MIB as u64)), "{report}");
    assert_eq!(report["incomplete"][0]["package"], "ngo/book@1.0.0:plain", "{report}");
    let before = server.bytes_sent();
    sandbox.ok("site", &["install", "book"]);
    let sent = server.bytes_sent() - before;
    assert!(sent < 6 * MIB as u64 + 100_000, "{sent} bytes came again of the 6 MiB that were missing");
    sandbox.ok("site", &["verify", "book"]);
}

/// Imports the 7 of 10 MiB that lie in `downloads`, which must all be kept, and installs the package; returns what the
/// server sent for it, in bytes.
fn take_half_and_fetch_the_rest(sandbox: &Sandbox, server: &HttpServer) -> u64 {
    let (code, report) = sandbox.json("site", &["--offline", "import", "downloads"]);
    assert_eq!(
        (code, report["taken"][0]["kept_bytes"].as_u64()),
        (Some(8), Some(7 * MIB as u64)),
        "{report}"
    );
    let before = server.bytes_sent();
    sandbox.ok("site", &["install", "book"]);
    server.bytes_sent() - before
}

#[test]
fn the_beginning_of_a_file_without_a_piece_list_is_kept_and_its_digest_decides() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    let digest = localml::digest::Sha256::of(&noise(1, 10 * MIB)).to_string();
    let pieces = sandbox.path("publisher/ngo/registry/pieces");
    let _ = fs::remove_dir_all(&pieces);
    sandbox.write(format!("downloads/{digest}.part"), noise(1, 7 * MIB));
    let sent = take_half_and_fetch_the_rest(&sandbox, &server);
    assert!(sent < 3 * MIB as u64 + 100_000, "{sent} bytes came of the 3 MiB that were missing");
    sandbox.ok("site", &["verify", "book"]);
}

#[test]
fn half_a_download_that_bears_the_name_of_the_whole_is_known_by_its_digest() {
    let sandbox = Sandbox::new();
    let server = served(&sandbox);
    let digest = localml::digest::Sha256::of(&noise(1, 10 * MIB)).to_string();
    // As `wget -i` leaves it: the last part of the address, and no ending.
    sandbox.write(format!("downloads/{digest}"), noise(1, 7 * MIB));
    let sent = take_half_and_fetch_the_rest(&sandbox, &server);
    // The piece list comes with it, and of a piece that is here in part nobody can tell whether it is right.
    assert!(sent < 7 * MIB as u64, "{sent} bytes");
}

#[test]
fn only_what_a_trusted_list_names_comes_in() {
    let sandbox = Sandbox::new();
    let _server = served(&sandbox);
    let mut wrong = noise(1, 10 * MIB);
    wrong[7] ^= 1;
    sandbox.write("downloads/map.bin", &wrong);
    sandbox.write("downloads/note.txt", "a lie!");
    let said = sandbox.run("site", &["--offline", "import", "downloads"]).failed_with(3);
    assert!(said.contains("nothing in `downloads` is a file of a package"), "{said}");
    let said = sandbox.run("site", &["--offline", "import", "downloads/note.txt"]).failed_with(3);
    assert!(said.contains("localml adopt"), "{said}");
    sandbox.write("downloads/weights.gguf", "GGUF");
    let said = sandbox.run("site", &["--offline", "import", "downloads/weights.gguf"]).failed_with(3);
    assert!(said.contains("--kind chat-model"), "{said}");
    assert!(sandbox.ok("site", &["list"]).contains("nothing is installed"));
    // A home that knows no registry takes nothing of it.
    sandbox.write("downloads/note.txt", "a note");
    sandbox.run("stranger", &["--offline", "import", "downloads"]).failed_with(3);
    let said = sandbox.ok("site", &["--offline", "import", "downloads/note.txt", "downloads/map.bin"]);
    assert!(
        said.contains("installed  ngo/note@1.0.0:plain") && said.contains("left alone `downloads/map.bin`"),
        "{said}"
    );
}

#[test]
fn a_name_that_two_registries_use_for_different_things_is_for_the_keeper_to_decide() {
    let sandbox = Sandbox::new();
    let _server = served(&sandbox);
    let other = Publisher::new(&sandbox, "school");
    other.add("note", "3.0.0", &[("note.txt", b"another note")]);
    other.publish();
    other.introduce("site", other.registry().to_str().unwrap());
    sandbox.write("downloads/a", "a note");
    let (code, report) = sandbox.json("site", &["--offline", "import", "downloads"]);
    assert_eq!((code, report["installed"].as_array().unwrap().len()), (Some(8), 0), "{report}");
    let reason = report["refused"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("`ngo` and `school` mean different packages"), "{reason}");
    // As the reason says.
    sandbox.ok("site", &["--offline", "install", "ngo/note"]);
    assert!(sandbox.ok("site", &["list"]).contains("1.0.0"));
}

#[test]
fn without_a_stick_what_is_installed_is_brought_up_to_date() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &noise(1, 5 * MIB))]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("site", &server.url());
    sandbox.ok("site", &["install", "book", "note"]);
    if sandbox.run("site", &["stick", "info"]).code != Some(2) {
        skip("a sync without a stick: one is plugged in here");
        return;
    }
    let said = sandbox.ok("site", &["sync"]);
    assert!(said.contains("everything that is installed is the newest known"), "{said}");
    publisher.add("book", "1.1.0", &[("map.bin", &noise(2, 5 * MIB))]);
    publisher.add("note", "1.1.0", &[("note.txt", b"a longer note")]);
    publisher.publish();
    // The budget is enough for the smaller one.
    let (code, report) = sandbox.json("site", &["sync", "--budget", "1MB"]);
    assert_eq!((code, texts(&report["installed"])), (Some(8), vec!["note"]), "{report}");
    assert_eq!(report["left"][0]["name"], "book", "{report}");
    let (code, report) = sandbox.json("site", &["sync"]);
    assert_eq!((code, texts(&report["installed"])), (Some(0), vec!["book"]), "{report}");
    assert!(sandbox.ok("site", &["list"]).contains("1.1.0"));
}
