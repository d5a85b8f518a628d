//! Newer versions: what they cost after reuse, the old one that works until the new one is here, and the way back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use localml::digest::Sha256;
use serde_json::Value;

use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::tiny_gguf::TinyGguf;

const MIB: u64 = 1 << 20;
/// The most bytes that one piece costs: 4 MiB.
const PIECE_BYTES: u64 = 4 * MIB;

/// A model of 64 MiB: six large tensors, some small ones, a vocabulary of 340 KB, and a description.
fn model(description: &str) -> Vec<u8> {
    let mut gguf = TinyGguf::new("llama").number("llama.block_count", 6).number("llama.context_length", 64);
    if !description.is_empty() {
        gguf = gguf.text("general.description", description);
    }
    gguf = gguf.words(20_000);
    for layer in 0..6 {
        gguf = gguf.tensor(&format!("blk.{layer}.norm.weight"), &[32], 1.0);
        // 2,796,202 numbers of 4 bytes are 10.7 MiB.
        gguf = gguf.tensor(&format!("blk.{layer}.ffn.weight"), &[2_796_202], 1.0);
    }
    gguf.bytes()
}

/// A publisher `ngo` on loopback, and a home `site` that knows it.
struct Cafe<'a> {
    publisher: Publisher<'a>,
    server: HttpServer,
    sandbox: &'a Sandbox,
}

impl<'a> Cafe<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        let publisher = Publisher::new(sandbox, "ngo");
        fs::create_dir_all(publisher.registry()).unwrap();
        let server = HttpServer::serve(&publisher.registry());
        Self { publisher, server, sandbox }
    }

    /// Publishes a version with one file, and tells the site of it, if it knows the registry.
    fn publish(&self, version: &str, kind: &str, bytes: &[u8]) {
        self.publisher.add_kind("thing", version, kind, &[("thing.gguf", bytes)]);
        self.publisher.publish();
        if self.sandbox.path("site/registries").exists() {
            self.sandbox.ok("site", &["update"]);
        } else {
            self.publisher.introduce("site", &self.server.url());
        }
    }

    /// Runs the program; returns its report and the bytes of bodies that the server sent meanwhile.
    fn costing(&self, args: &[&str]) -> (Value, u64) {
        let before = self.server.bytes_sent();
        let (code, report) = self.sandbox.json("site", args);
        assert_eq!(code, Some(0), "{args:?}: {report}");
        (report, self.server.bytes_sent() - before)
    }

    fn installed_bytes(&self) -> Vec<u8> {
        fs::read(self.sandbox.ok("site", &["path", "thing"]).trim_end()).unwrap()
    }

    fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.sandbox.path("site/blobs").join(Sha256::of(bytes).to_string())
    }

    fn installed_version(&self) -> String {
        let (_, list) = self.sandbox.json("site", &["list"]);
        list["packages"][0]["version"].as_str().unwrap().to_owned()
    }
}

/// Flips a byte of a read-only file.
fn spoil(path: &PathBuf, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 0xff;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_release_with_new_words_in_its_header_costs_less_than_one_percent_of_the_model() {
    let sandbox = Sandbox::new();
    let cafe = Cafe::new(&sandbox);
    let old = model("");
    // 5,000 letters before the vocabulary move every byte behind them.
    let new = model(&"It knows water. ".repeat(320));
    let size_bytes = new.len() as u64;
    assert!(size_bytes > 64 * MIB && new.len() > old.len() + 5000);
    cafe.publish("1.0.0", "chat-model", &old);
    cafe.costing(&["install", "thing"]);
    cafe.publish("1.1.0", "chat-model", &new);

    // Nobody was asked yet which pieces are new: the whole file is the most that it can be.
    let (outdated, list_bytes) = cafe.costing(&["list", "--outdated"]);
    assert_eq!((outdated["packages"][0]["is_upper_bound"].as_bool(), list_bytes), (Some(true), 0));
    assert_eq!(outdated["packages"][0]["missing_bytes"], size_bytes);

    let (plan, plan_bytes) = cafe.costing(&["upgrade", "--plan"]);
    let planned_bytes = plan["upgrades"][0]["missing_bytes"].as_u64().unwrap();
    assert!(plan_bytes < 8 * 1024, "a piece list has a few KB: {plan_bytes}");
    assert_eq!(plan["upgrades"][0]["is_upper_bound"], false);
    assert_eq!(cafe.installed_version(), "1.0.0");

    let (upgrade, wire_bytes) = cafe.costing(&["upgrade"]);
    println!("a header of 5 KB more: {wire_bytes} of {size_bytes} bytes, planned were {planned_bytes}");
    assert!((wire_bytes + plan_bytes) * 100 < size_bytes, "{wire_bytes} bytes");
    // The vocabulary has 340 KB, and did not change either.
    assert!(wire_bytes < 64 * 1024, "{wire_bytes} bytes");
    assert_eq!((wire_bytes, &upgrade["missing_bytes"]), (planned_bytes, &Value::from(planned_bytes)));
    assert_eq!(upgrade["reused_bytes"].as_u64().unwrap() + wire_bytes, size_bytes);
    assert!(cafe.installed_bytes() == new, "every byte of the new version");
    sandbox.ok("site", &["verify"]);

    // The way back needs nobody.
    drop(cafe.server);
    let said = sandbox.ok("site", &["--offline", "rollback", "thing"]);
    assert!(said.contains("thing is 1.0.0 again"), "{said}");
    let path = sandbox.ok("site", &["path", "thing"]);
    assert!(fs::read(path.trim_end()).unwrap() == old, "every byte of the old version");
    sandbox.ok("site", &["verify"]);
    let forward = sandbox.ok("site", &["--offline", "rollback", "thing"]);
    assert!(forward.contains("thing is 1.1.0 again"), "{forward}");
}

#[test]
fn what_came_without_a_piece_list_is_cut_once_and_reused() {
    let sandbox = Sandbox::new();
    let cafe = Cafe::new(&sandbox);
    let old = noise(1, 12 * MIB as usize);
    let new = [old.clone(), noise(2, 5 * MIB as usize)].concat();
    // Only its digest is published, as for a file that lies at a model hub.
    fs::write(cafe.publisher.registry().join("hub.bin"), &old).unwrap();
    let (digest, size_bytes) = (Sha256::of(&old), old.len());
    let toml = format!(
        "[package]\nname = \"thing\"\nversion = \"1.0.0\"\nkind = \"voice\"\ntitle = \"T\"\nlicense = \"MIT\"\n[[variant]]\nid = \"plain\"\n[[variant.file]]\npath = \"thing.gguf\"\nsize_bytes = {size_bytes}\nsha256 = \"{digest}\"\nsources = [\"hub.bin\"]\n"
    );
    cafe.publisher.add_manifest("thing", "1.0.0", &toml, &[]);
    cafe.publisher.publish();
    cafe.publisher.introduce("site", &cafe.server.url());
    cafe.costing(&["install", "thing"]);
    cafe.publish("2.0.0", "voice", &new);
    let (plan, _) = cafe.costing(&["upgrade", "--plan"]);
    assert_eq!(plan["missing_bytes"], 5 * MIB);
    assert!(sandbox.path("site/pieces").join(format!("{digest}.cut")).is_file());
    let (report, wire_bytes) = cafe.costing(&["upgrade", "thing"]);
    assert_eq!((wire_bytes, report["reused_bytes"].as_u64()), (5 * MIB, Some(12 * MIB)));
    assert!(cafe.installed_bytes() == new);
}

#[test]
fn a_damaged_blob_yields_fewer_pieces_and_no_wrong_byte() {
    let sandbox = Sandbox::new();
    let cafe = Cafe::new(&sandbox);
    let old = noise(3, 20 * MIB as usize);
    // The first piece is new; the others are those of the old version.
    let new = [noise(4, 4 * MIB as usize), old[4 * MIB as usize..].to_vec()].concat();
    cafe.publish("1.0.0", "voice", &old);
    cafe.costing(&["install", "thing"]);
    spoil(&cafe.blob(&old), 9 * MIB);
    cafe.publish("2.0.0", "voice", &new);
    let (report, wire_bytes) = cafe.costing(&["upgrade"]);
    assert_eq!(report["reused_bytes"], 12 * MIB, "the third of five pieces is damaged: {report}");
    // And the piece list, of some hundred bytes.
    assert!((2 * PIECE_BYTES..2 * PIECE_BYTES + 1024).contains(&wire_bytes), "{wire_bytes}");
    assert!(cafe.installed_bytes() == new);
}

#[test]
fn a_blob_that_was_found_damaged_is_mended_for_the_price_of_its_damaged_piece() {
    let sandbox = Sandbox::new();
    let cafe = Cafe::new(&sandbox);
    let bytes = noise(5, 20 * MIB as usize);
    cafe.publish("1.0.0", "voice", &bytes);
    cafe.costing(&["install", "thing"]);
    spoil(&cafe.blob(&bytes), 9 * MIB);
    sandbox.run("site", &["verify"]).failed_with(4);
    let (_, wire_bytes) = cafe.costing(&["install", "thing"]);
    assert_eq!(wire_bytes, PIECE_BYTES);
    assert!(cafe.installed_bytes() == bytes);
}

#[test]
fn killed_in_the_middle_the_old_version_works_and_what_came_is_kept() {
    let sandbox = Sandbox::new();
    let cafe = Cafe::new(&sandbox);
    let (old, new) = (noise(6, 8 * MIB as usize), noise(7, 16 * MIB as usize));
    cafe.publish("1.0.0", "voice", &old);
    cafe.costing(&["install", "thing"]);
    cafe.publish("2.0.0", "voice", &new);
    let blob = format!("blobs/{}", Sha256::of(&new));
    let before = cafe.server.bytes_sent();
    for stop_at in [5 * MIB, 3 * MIB] {
        cafe.server.set_fault(&blob, Fault::StallAfter(stop_at));
        let sent_before = cafe.server.bytes_sent();
        let mut command = sandbox.command("site");
        let mut child = command.arg("upgrade").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while cafe.server.bytes_sent() < sent_before + stop_at {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "killed");
        assert_eq!(cafe.installed_version(), "1.0.0");
        assert!(cafe.installed_bytes() == old);
        sandbox.ok("site", &["verify"]);
    }
    cafe.server.clear_faults();
    cafe.costing(&["upgrade"]);
    let spent_bytes = cafe.server.bytes_sent() - before;
    // Two kills cost two pieces at most, and a few KB of piece list and overlap.
    assert!(spent_bytes <= 16 * MIB + 2 * PIECE_BYTES + 64 * 1024, "{spent_bytes}");
    assert!(cafe.installed_bytes() == new);
    sandbox.ok("site", &["verify"]);
}

#[test]
fn a_newer_version_comes_only_from_where_the_package_came_from() {
    let sandbox = Sandbox::new();
    let cafe = Cafe::new(&sandbox);
    cafe.publish("1.0.0", "voice", b"the first");
    cafe.costing(&["install", "thing"]);
    let other = Publisher::new(&sandbox, "other");
    other.add("thing", "9.0.0", &[("thing.gguf", b"another thing")]);
    other.publish();
    other.introduce("site", other.registry().to_str().unwrap());
    let (outdated, _) = cafe.costing(&["list", "--outdated"]);
    assert_eq!(outdated["packages"].as_array().unwrap().len(), 0, "{outdated}");
    let (upgrade, _) = cafe.costing(&["upgrade", "thing"]);
    assert_eq!(upgrade["upgrades"].as_array().unwrap().len(), 0);
    assert_eq!(cafe.installed_version(), "1.0.0");
    let said = sandbox.run("site", &["upgrade", "nobody-has-this"]).failed_with(3);
    assert!(said.contains("`nobody-has-this` is not installed"), "{said}");
}

#[test]
fn a_revoked_version_is_replaced_and_not_gone_back_to_without_its_name() {
    let sandbox = Sandbox::new();
    let cafe = Cafe::new(&sandbox);
    cafe.publish("1.0.0", "voice", b"the first, which lies");
    cafe.costing(&["install", "thing"]);
    cafe.publisher.revoke("thing", "1.0.0", "it lies");
    cafe.publish("1.0.1", "voice", b"the second");
    let text = sandbox.ok("site", &["list", "--outdated"]);
    assert!(text.contains("1.0.1") && text.contains("revoked: it lies"), "{text}");
    sandbox.ok("site", &["upgrade"]);
    let said = sandbox.run("site", &["--offline", "rollback", "thing"]).failed_with(7);
    assert!(said.contains("it lies") && said.contains("rollback thing@1.0.0"), "{said}");
    assert_eq!(cafe.installed_version(), "1.0.1");
    sandbox.ok("site", &["--offline", "rollback", "thing@1.0.0"]);
    assert_eq!(cafe.installed_version(), "1.0.0");
    let said = sandbox.run("site", &["rollback", "thing@7.0.0"]).failed_with(3);
    assert!(said.contains("`thing@7.0.0` is not kept here; 1.0.1 is"), "{said}");
}

#[test]
fn removing_a_package_frees_the_version_before_too() {
    let sandbox = Sandbox::new();
    let cafe = Cafe::new(&sandbox);
    cafe.publish("1.0.0", "voice", b"one");
    cafe.costing(&["install", "thing"]);
    cafe.publish("2.0.0", "voice", b"other");
    cafe.costing(&["upgrade"]);
    let (plan, _) = cafe.costing(&["remove", "thing", "--plan"]);
    assert_eq!(plan["freed_bytes"], 3 + 5);
    let (removed, _) = cafe.costing(&["remove", "thing"]);
    assert_eq!(removed["freed_bytes"], 3 + 5);
    assert_eq!(fs::read_dir(sandbox.path("site/blobs")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(sandbox.path("site/previous")).unwrap().count(), 0);
}

#[cfg(feature = "index")]
#[test]
fn a_collection_finds_the_newer_version_and_after_a_rollback_the_older_one() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("page.md", b"# Water\n\nBoil it for one second.\n")]);
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("site", &["install", "book"]);
    sandbox.ok("site", &["index", "add", "book", "--words-only"]);
    publisher.add("book", "1.1.0", &[("page.md", b"# Water\n\nBoil it for three minutes.\n")]);
    publisher.publish();
    sandbox.ok("site", &["update"]);
    let said = sandbox.ok("site", &["upgrade"]);
    assert!(said.contains("next: localml index refresh book"), "{said}");
    sandbox.ok("site", &["index", "refresh", "book"]);
    assert!(sandbox.ok("site", &["find", "boil"]).contains("three minutes"));
    let said = sandbox.ok("site", &["rollback", "book"]);
    assert!(said.contains("next: localml index refresh book"), "{said}");
    sandbox.ok("site", &["index", "refresh", "book"]);
    assert!(sandbox.ok("site", &["find", "boil"]).contains("one second"));
}

#[test]
fn what_a_stick_replaced_can_be_gone_back_to_with_no_network() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("page.md", b"boil it for one second")]);
    publisher.publish();
    for home in ["cafe", "site"] {
        publisher.introduce(home, publisher.registry().to_str().unwrap());
    }
    for (version, words) in [("1.0.0", "one second"), ("1.1.0", "three minutes"), ("1.2.0", "two minutes")] {
        publisher.add("book", version, &[("page.md", format!("boil it for {words}").as_bytes())]);
        publisher.publish();
        sandbox.ok("cafe", &["update"]);
        sandbox.ok("cafe", &["fetch", "book"]);
        fs::create_dir_all(sandbox.path(version)).unwrap();
        sandbox.ok("cafe", &["--offline", "export", version]);
        sandbox.ok("site", &["--offline", "import", version]);
    }
    let page = || fs::read_to_string(sandbox.ok("site", &["path", "book"]).trim_end()).unwrap();
    assert_eq!(page(), "boil it for two minutes");
    let (code, report) = sandbox.json("site", &["--offline", "rollback", "book"]);
    let package = &report["packages"][0];
    assert_eq!((code, &package["from"], &package["to"]), (Some(0), &"1.2.0".into(), &"1.1.0".into()));
    assert_eq!(page(), "boil it for three minutes");
    // One step back is kept, not every one.
    sandbox.run("site", &["--offline", "rollback", "book@1.0.0"]).failed_with(3);
    let said = sandbox.run("cafe", &["rollback", "book"]).failed_with(3);
    assert!(said.contains("`book` is not installed"), "what is only fetched has no version before: {said}");
}
