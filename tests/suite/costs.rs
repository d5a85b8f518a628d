//! What something still costs: what lies here, in whatever file, is neither paid again nor counted, and what costs
//! least comes first.

use std::fs;
use std::sync::Mutex;

use localml::digest::Sha256;
use localml::home::Home;
use localml::ops::{FetchOptions, RepairOptions, fetch, repair};
use localml::progress::{Monitor, Silent, Task, Unit};

use crate::support::damage::corrupt;
use crate::support::http_server::HttpServer;
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

/// The bytes of one piece.
const PIECE: u64 = 4 << 20;

/// What the server may send besides the pieces: lists and small files.
const BESIDE: u64 = 64 << 10;

/// `atlas` with a map of 6 pieces and a note, and `textbook`; newer versions of both, of which that of `atlas` has one new
/// piece, and that of `textbook` has two, and no old one.
struct Scene<'a> {
    sandbox: &'a Sandbox,
    publisher: Publisher<'a>,
    server: HttpServer,
}

fn map() -> Vec<u8> {
    noise(1, 6 * PIECE as usize)
}

impl<'a> Scene<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        let publisher = Publisher::new(sandbox, "ngo");
        publisher.add("atlas", "1.0.0", &[("map.bin", &map()), ("note.txt", b"a first note")]);
        publisher.add("textbook", "1.0.0", &[("text.bin", &noise(2, 1000))]);
        publisher.publish();
        let server = HttpServer::serve(&publisher.registry());
        publisher.introduce("site", &server.url());
        Self { sandbox, publisher, server }
    }

    fn publish_newer(&self) {
        let mut map = map();
        map[PIECE as usize..2 * PIECE as usize].copy_from_slice(&noise(3, PIECE as usize));
        self.publisher.add("atlas", "1.1.0", &[("map.bin", &map), ("note.txt", b"a second note")]);
        self.publisher.add("textbook", "2.0.0", &[("text.bin", &noise(4, 2 * PIECE as usize))]);
        self.publisher.publish();
        self.sandbox.ok("site", &["update"]);
    }

    /// Runs a line as it was shown; returns the bytes that the server sent for it.
    fn typed(&self, line: &str) -> u64 {
        let before = self.server.bytes_sent();
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        self.sandbox.ok("site", &words);
        self.server.bytes_sent() - before
    }

    fn version_of(&self, name: &str) -> String {
        let (_, list) = self.sandbox.json("site", &["list"]);
        let packages = list["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["name"] == name).unwrap();
        package["version"].as_str().unwrap().to_owned()
    }
}

/// The command in a text that begins so.
fn shown(text: &str, beginning: &str) -> String {
    let commands = text.split('`').skip(1).step_by(2);
    commands.filter(|command| command.starts_with(beginning)).last().expect(text).to_owned()
}

#[test]
fn the_hint_after_a_scan_brings_the_version_that_was_found() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    scene.publish_newer();
    sandbox.write("models/any.bin", map());
    let said = sandbox.ok("site", &["adopt", "--scan", "models"]);
    let line = shown(&said, "localml install");
    assert_eq!(line, "localml install ngo/atlas@1.0.0:plain", "{said}");
    let sent_bytes = scene.typed(&line);
    assert!(sent_bytes < BESIDE, "only the note: {sent_bytes}");
}

#[test]
fn the_hint_after_a_loose_import_brings_the_version_that_came() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    scene.publish_newer();
    sandbox.write("downloads/any.bin", map());
    let run = sandbox.run("site", &["import", "downloads"]);
    let line = shown(&run.stdout, "localml install");
    assert_eq!(line, "localml install ngo/atlas@1.0.0:plain", "{run:?}");
    let sent_bytes = scene.typed(&line);
    assert!(sent_bytes < BESIDE, "only the note: {sent_bytes}");
}

#[test]
fn what_was_linked_and_is_no_whole_package_yet_need_not_come_again() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.write("models/any.bin", map());
    sandbox.ok("site", &["adopt", "--scan", "models"]);
    scene.publish_newer();
    sandbox.ok("site", &["gc", "--yes"]);
    let (_, plan) = sandbox.json("site", &["fetch", "atlas", "--plan"]);
    assert_eq!(plan["reused_bytes"].as_u64(), Some(5 * PIECE), "{plan}");
    assert_eq!(plan["missing_bytes"].as_u64(), Some(PIECE + 13), "{plan}");
    let sent_bytes = scene.typed("localml fetch atlas");
    assert!((PIECE..PIECE + BESIDE).contains(&sent_bytes), "{sent_bytes}");
}

#[test]
fn what_was_linked_is_told_by_its_length_although_it_takes_no_room() {
    let sandbox = Sandbox::new();
    let _scene = Scene::new(&sandbox);
    sandbox.write("models/any.bin", map());
    sandbox.ok("site", &["adopt", "--scan", "models"]);
    let said = sandbox.ok("site", &[""; 0]);
    assert!(said.contains("atlas@1.0.0:plain: 25.2 MB of it are here, not complete"), "{said}");
    let (_, gc) = sandbox.json("site", &["gc"]);
    assert_eq!(gc["items"][0]["here_bytes"].as_u64(), Some(6 * PIECE), "{gc}");
    let said = sandbox.ok("site", &["gc", "--partial"]);
    assert!(said.contains("25.2 MB"), "{said}");
}

#[test]
fn an_upgrade_on_a_budget_begins_with_what_costs_least_after_reuse() {
    for verb in ["upgrade", "sync"] {
        let sandbox = Sandbox::new();
        let scene = Scene::new(&sandbox);
        sandbox.ok("site", &["install", "atlas", "textbook"]);
        scene.publish_newer();
        let run = sandbox.run("site", &[verb, "--budget", "6MB"]);
        assert_ne!(run.code, Some(0), "two pieces of `textbook` are too much: {run:?}");
        let versions = ["atlas", "textbook"].map(|name| scene.version_of(name));
        assert_eq!(versions, ["1.1.0", "1.0.0"], "{verb}: {run:?}");
    }
}

#[test]
fn plans_of_upgrade_and_sync_tell_the_limits_and_what_will_not_fit() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("site", &["install", "atlas", "textbook"]);
    scene.publish_newer();
    for verb in ["upgrade", "sync"] {
        let said = sandbox.ok("site", &[verb, "--plan", "--budget", "9MB", "--within", "1h"]);
        // Nobody was asked which pieces are new: 25.2 MB and 8.39 MB are the most.
        assert!(said.contains("would fetch at most 33.6 MB"), "{said}");
        assert!(said.contains("budget: 9.00 MB left\ntime: 1 h 0 min left\n"), "{said}");
        assert!(said.contains("will not fit: atlas 1.1.0"), "{said}");
        assert!(!said.contains("will not fit: textbook"), "{said}");
    }
}

#[test]
fn a_repair_is_priced_without_the_pieces_that_an_older_version_holds() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("site", &["install", "atlas"]);
    scene.publish_newer();
    sandbox.ok("site", &["upgrade", "atlas"]);
    let path = sandbox.ok("site", &["path", "atlas", "map.bin"]);
    // One piece that 1.0.0 has too, and the one that it has not.
    corrupt(path.trim().as_ref(), &[7, PIECE + 7]);
    let (_, plan) = sandbox.json("site", &["repair", "atlas", "--plan"]);
    let told = [&plan["damaged_bytes"], &plan["reused_bytes"]].map(|bytes| bytes.as_u64().unwrap());
    assert_eq!(told, [PIECE, PIECE], "{plan}");
    let verified = sandbox.run("site", &["verify", "atlas"]);
    assert!(verified.stdout.contains("brings what is damaged (4.19 MB)"), "{verified:?}");
    let sent_bytes = scene.typed("localml repair atlas");
    assert!((PIECE..PIECE + BESIDE).contains(&sent_bytes), "{sent_bytes}");
}

/// Stops when a repair has switched in so many files, and hears the notes.
struct StopsAfter {
    label: &'static str,
    has_heard: Mutex<bool>,
    notes: Mutex<Vec<String>>,
}

impl Monitor for StopsAfter {
    fn start(&self, label: &str, _total: Option<u64>, _unit: Unit) -> Box<dyn Task + '_> {
        if label == self.label {
            *self.has_heard.lock().unwrap() = true;
        }
        Box::new(Silent)
    }

    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.to_owned());
    }

    fn warn(&self, _text: &str) {}

    fn is_cancelled(&self) -> bool {
        *self.has_heard.lock().unwrap()
    }
}

#[test]
fn a_repair_that_is_stopped_says_what_is_whole_again() {
    let sandbox = Sandbox::new();
    let _scene = Scene::new(&sandbox);
    sandbox.ok("site", &["install", "atlas", "textbook"]);
    // Files are mended by rising digest.
    let blobs = [("atlas", "map.bin", map()), ("textbook", "text.bin", noise(2, 1000))];
    let mut by_digest = blobs.map(|(package, file, bytes)| (Sha256::of(&bytes), package, file));
    by_digest.sort();
    for (digest, ..) in &by_digest {
        corrupt(&sandbox.path(format!("site/blobs/{digest}")), &[5]);
    }
    let [(_, first, _), (_, second, label)] = by_digest;
    let monitor = StopsAfter { label, has_heard: Mutex::default(), notes: Mutex::default() };
    let home = Home::at(sandbox.path("site"));
    repair(&home, &RepairOptions::default(), &monitor).unwrap_err();
    let notes = monitor.notes.lock().unwrap().join("\n");
    assert!(notes.contains(&format!("repaired by then: `{first}`")), "{notes}");
    sandbox.ok("site", &["verify", first]);
    assert_ne!(sandbox.run("site", &["path", second]).code, Some(0), "what is still damaged is out of use");
}

/// Writes down how the sum of all files begins.
#[derive(Default)]
struct HearsTheSum {
    totals: Mutex<Vec<u64>>,
    skipped: Mutex<Vec<u64>>,
}

struct Sum<'a>(&'a HearsTheSum);

impl Monitor for HearsTheSum {
    fn start(&self, label: &str, total: Option<u64>, _unit: Unit) -> Box<dyn Task + '_> {
        if label != "in all" {
            return Box::new(Silent);
        }
        self.totals.lock().unwrap().extend(total);
        Box::new(Sum(self))
    }

    fn note(&self, _text: &str) {}

    fn warn(&self, _text: &str) {}
}

impl Task for Sum<'_> {
    fn advance(&self, _count: u64) {}

    fn skip(&self, count: u64) {
        self.0.skipped.lock().unwrap().push(count);
    }
}

#[test]
fn the_sum_of_a_fetch_begins_with_what_lies_here_and_tells_it_once() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("site", &["install", "atlas", "textbook"]);
    scene.publish_newer();
    // The plan asks which pieces are new.
    sandbox.ok("site", &["upgrade", "--plan"]);
    let ear = HearsTheSum::default();
    let wishes = ["atlas@1.1.0", "textbook@1.0.0"].map(|text| text.parse().unwrap());
    let home = Home::at(sandbox.path("site"));
    fetch(&home, &wishes, &FetchOptions::default(), &ear).unwrap();
    // The map, its note of 13 bytes, and the whole book of 1,000; all but one piece and the note are here.
    assert_eq!(*ear.totals.lock().unwrap(), [6 * PIECE + 13 + 1000]);
    assert_eq!(*ear.skipped.lock().unwrap(), [5 * PIECE + 1000]);
}

#[test]
fn half_a_file_that_is_here_whole_is_no_stranger() {
    let sandbox = Sandbox::new();
    let _scene = Scene::new(&sandbox);
    sandbox.ok("site", &["install", "atlas"]);
    sandbox.write("downloads/map.bin.part", &map()[..PIECE as usize + 100]);
    sandbox.write("downloads/other.bin.part", noise(9, 70_000));
    fs::write(sandbox.path("downloads/whole.txt"), b"a first note").unwrap();
    let said = sandbox.run("site", &["import", "downloads"]).stdout;
    assert!(said.contains("`downloads/map.bin.part`: here already"), "{said}");
    assert!(said.contains("left alone `downloads/other.bin.part`"), "{said}");
}
