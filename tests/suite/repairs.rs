//! `repair`: only the damaged pieces come, from a server, a stick or a folder, by the real program.

use std::fs;
use std::path::PathBuf;

use localml::digest::Sha256;

use crate::support::damage::{corrupt, forget_pieces, largest_blob};
use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const PIECE: u64 = 4 << 20;
const SIZE: u64 = 6 * PIECE + 1000;

/// What the server may send besides the pieces: 1 KiB that is compared, at each of a few gaps.
const BESIDE: u64 = 64 << 10;

/// `book`, with a file of 24 MiB, fetched by a cafe and installed at a site; both know the publisher's server.
struct Scene {
    sandbox: Sandbox,
    server: Option<HttpServer>,
    map: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let publisher = Publisher::new(&sandbox, "ngo");
        let map = noise(3, SIZE as usize);
        publisher.add("book", "1.0.0", &[("map.bin", &map), ("chapter.md", b"# A chapter\n")]);
        publisher.publish();
        let server = HttpServer::serve(&publisher.registry());
        for home in ["cafe", "site"] {
            publisher.introduce(home, &server.url());
        }
        sandbox.ok("site", &["install", "book"]);
        Self { server: Some(server), sandbox, map }
    }

    fn server(&self) -> &HttpServer {
        self.server.as_ref().unwrap()
    }

    fn blob(&self) -> PathBuf {
        self.sandbox.path(format!("site/blobs/{}", Sha256::of(&self.map)))
    }

    /// Damages three pieces of the site's blob.
    fn damage(&self) {
        corrupt(&self.blob(), &[7, 3 * PIECE + 100, SIZE - 1]);
    }

    /// What came of the three pieces: two whole ones, and the last of 1,000 bytes.
    fn damaged_bytes() -> u64 {
        2 * PIECE + 1000
    }

    /// A stick that the cafe wrote, while the server is there.
    fn stick(&self) {
        self.sandbox.ok("cafe", &["fetch", "book"]);
        fs::create_dir(self.sandbox.path("stick")).unwrap();
        self.sandbox.ok("cafe", &["--offline", "export", "stick"]);
    }

    fn check_whole(&self) {
        self.sandbox.ok("site", &["--offline", "verify"]);
        let map = self.sandbox.ok("site", &["path", "book", "map.bin"]);
        assert!(fs::read(map.trim()).unwrap() == self.map, "the name means the repaired bytes");
        let left: Vec<_> =
            fs::read_dir(self.sandbox.path("site/staging/stick")).into_iter().flatten().collect();
        assert!(left.is_empty(), "nothing is left over: {left:?}");
        assert!(!self.blob().with_extension("damaged").exists(), "the damaged one goes last");
    }
}

#[test]
fn only_the_damaged_pieces_come_over_the_network() {
    let scene = Scene::new();
    scene.damage();
    let (code, plan) = scene.sandbox.json("site", &["repair", "--plan"]);
    assert_eq!((code, plan["damaged_bytes"].as_u64()), (Some(0), Some(Scene::damaged_bytes())));
    assert_eq!(plan["saved_bytes"].as_u64(), Some(4 * PIECE));
    assert!(scene.blob().is_file(), "a plan changes nothing");
    let bytes_before = scene.server().bytes_sent();
    let (code, report) = scene.sandbox.json("site", &["repair", "book"]);
    let file = &report["packages"][0]["files"][0];
    assert_eq!((code, &file["is_repaired"]), (Some(0), &true.into()), "{report}");
    let sent_bytes = scene.server().bytes_sent() - bytes_before;
    assert!((Scene::damaged_bytes()..=Scene::damaged_bytes() + BESIDE).contains(&sent_bytes), "{sent_bytes}");
    assert!(file["source"].as_str().unwrap().starts_with(&scene.server().url()));
    scene.check_whole();
    assert!(scene.sandbox.ok("site", &["repair"]).contains("nothing is damaged"));
}

#[test]
fn what_verify_set_aside_is_repaired_too_and_a_missing_file_comes_whole() {
    let scene = Scene::new();
    scene.damage();
    scene.sandbox.run("site", &["verify"]).failed_with(4);
    assert!(!scene.blob().exists());
    fs::remove_file(scene.sandbox.path(format!("site/blobs/{}", Sha256::of(b"# A chapter\n")))).unwrap();
    let bytes_before = scene.server().bytes_sent();
    let said = scene.sandbox.ok("site", &["repair"]);
    assert!(said.contains("`chapter.md` is missing") && said.contains("3 pieces are damaged"), "{said}");
    assert!(scene.server().bytes_sent() - bytes_before <= Scene::damaged_bytes() + 12 + BESIDE);
    scene.check_whole();
}

#[test]
fn a_stick_gives_the_pieces_when_there_is_no_net() {
    let mut scene = Scene::new();
    scene.stick();
    scene.damage();
    scene.server = None;
    let (code, report) = scene.sandbox.json("site", &["--offline", "repair", "--from", "stick"]);
    let file = &report["packages"][0]["files"][0];
    assert_eq!((code, file["source"].as_str()), (Some(0), Some("stick")), "{report}");
    assert_eq!(report["wire_bytes"].as_u64(), Some(0));
    scene.check_whole();
}

#[test]
fn a_stick_gives_the_pieces_of_a_file_whose_pieces_nobody_here_knows() {
    let mut scene = Scene::new();
    scene.stick();
    forget_pieces(&scene.sandbox, "site");
    scene.damage();
    scene.server = None;
    scene.sandbox.ok("site", &["repair", "--from", "stick"]);
    scene.check_whole();
}

#[test]
fn a_folder_gives_the_pieces_and_a_damaged_copy_in_it_spoils_nothing() {
    let mut scene = Scene::new();
    let name = format!("sha256-{}", Sha256::of(&scene.map));
    // The copy that is asked first is damaged in the same place as ours; another one is right.
    let bad = scene.sandbox.write(format!("friend/models/{name}"), &scene.map);
    scene.sandbox.write("friend/other/name.bin", &scene.map);
    corrupt(&bad, &[3 * PIECE + 50]);
    scene.damage();
    scene.server = None;
    scene.sandbox.ok("site", &["repair", "--from", "friend"]);
    scene.check_whole();
    assert!(fs::read(bad).unwrap() != scene.map, "a folder is only read");
}

#[test]
fn half_from_a_stick_and_half_from_the_network() {
    let scene = Scene::new();
    scene.stick();
    // The stick has lost its volume's end: the last pieces are not on it.
    let volumes = crate::support::stick::files_in(&scene.sandbox.path("stick/LOCALML/B"));
    let volume = volumes.iter().find(|path| path.extension().is_some_and(|ending| ending == "TAR")).unwrap();
    let length = volume.metadata().unwrap().len();
    fs::OpenOptions::new().write(true).open(volume).unwrap().set_len(length * 4 / 5).unwrap();
    scene.damage();
    let bytes_before = scene.server().bytes_sent();
    scene.sandbox.ok("site", &["repair", "--from", "stick"]);
    let sent_bytes = scene.server().bytes_sent() - bytes_before;
    assert!(sent_bytes < Scene::damaged_bytes(), "the stick gave something: {sent_bytes}");
    scene.check_whole();
}

#[test]
fn without_a_source_the_way_out_is_told_and_a_request_asks_for_the_pieces_alone() {
    let scene = Scene::new();
    scene.sandbox.ok("cafe", &["fetch", "book"]);
    scene.damage();
    let damaged = fs::read(scene.blob()).unwrap();
    let said = scene.sandbox.run("site", &["--offline", "repair", "book"]).failed_with(5);
    assert!(said.contains("could not repair `book`") && said.contains("--from DIR"), "{said}");
    assert!(said.contains("localml request DIR"), "{said}");
    let aside = scene.blob().with_extension("damaged");
    assert!(fs::read(aside).unwrap() == damaged, "the damaged file stays as it was, out of use");
    scene.sandbox.run("site", &["verify"]).failed_with(4);
    fs::create_dir(scene.sandbox.path("stick")).unwrap();
    let (_, request) = scene.sandbox.json("site", &["request", "stick"]);
    assert_eq!(request["missing_bytes"].as_u64(), Some(Scene::damaged_bytes()), "{request}");
    let (_, export) = scene.sandbox.json("cafe", &["--offline", "export", "stick", "--request", "stick"]);
    assert!(export["size_bytes"].as_u64().unwrap() < Scene::damaged_bytes() + (256 << 10), "{export}");
    scene.sandbox.ok("site", &["--offline", "import", "stick"]);
    scene.check_whole();
}

#[test]
fn a_folder_that_is_not_there_is_told_before_anything_is_done() {
    let scene = Scene::new();
    scene.damage();
    let said = scene.sandbox.run("site", &["repair", "--from", "nowhere"]).failed_with(3);
    assert!(said.contains("there is no folder `nowhere`"), "{said}");
}

#[test]
fn a_server_that_fails_leaves_the_damaged_file_and_what_came_is_kept() {
    let scene = Scene::new();
    scene.damage();
    let path = format!("/blobs/{}", Sha256::of(&scene.map));
    // One piece comes, then the server says that there is no such file.
    scene.server().set_fault(&path, Fault::Status(404));
    scene.server().queue_fault(&path, Fault::CutAfter(PIECE + (PIECE / 2)));
    let said = scene.sandbox.run("site", &["repair"]).failed_with(3);
    assert!(said.contains("could not repair `book`"), "{said}");
    assert!(fs::read(scene.blob().with_extension("damaged")).unwrap() != scene.map);
    scene.server().clear_faults();
    let (_, plan) = scene.sandbox.json("site", &["repair", "--plan"]);
    let expected = (Some(PIECE + 1000), Some(PIECE));
    assert_eq!((plan["damaged_bytes"].as_u64(), plan["kept_bytes"].as_u64()), expected, "{plan}");
    let said = scene.sandbox.ok("site", &["repair", "--plan"]);
    assert!(said.contains("4.19 MB of the rest are here already, from an earlier try"), "{said}");
    let bytes_before = scene.server().bytes_sent();
    scene.sandbox.ok("site", &["repair"]);
    let sent_bytes = scene.server().bytes_sent() - bytes_before;
    assert!(sent_bytes <= PIECE + 1000 + BESIDE, "the first piece is not paid for twice: {sent_bytes}");
    scene.check_whole();
}

#[test]
fn what_was_found_damaged_is_out_of_use_however_the_repair_ends() {
    let scene = Scene::new();
    scene.damage();
    let said = scene.sandbox.run("site", &["repair", "--budget", "1MB"]).failed_with(6);
    assert!(said.contains("could not repair `book`"), "{said}");
    assert!(scene.sandbox.ok("site", &["list"]).contains("DAMAGED"));
    assert_ne!(scene.sandbox.run("site", &["path", "book", "map.bin"]).code, Some(0));
    assert!(scene.sandbox.ok("site", &[""; 0]).contains("DAMAGED   book"));
    scene.sandbox.ok("site", &["repair"]);
    scene.check_whole();
}

#[test]
fn two_packages_that_share_a_damaged_file_pay_for_it_once() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    let map = noise(4, 2 * PIECE as usize);
    publisher.add("book", "1.0.0", &[("map.bin", &map)]);
    publisher.add("atlas", "1.0.0", &[("same.bin", &map)]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("site", &server.url());
    sandbox.ok("site", &["install", "book", "atlas"]);
    corrupt(&largest_blob(&sandbox, "site"), &[5]);
    let bytes_before = server.bytes_sent();
    let (code, report) = sandbox.json("site", &["repair"]);
    assert_eq!((code, report["packages"].as_array().unwrap().len()), (Some(0), 2));
    assert!(server.bytes_sent() - bytes_before <= PIECE + BESIDE);
    for (package, file) in [("book", "map.bin"), ("atlas", "same.bin")] {
        let path = sandbox.ok("site", &["path", package, file]);
        assert!(fs::read(path.trim()).unwrap() == map);
    }
}
