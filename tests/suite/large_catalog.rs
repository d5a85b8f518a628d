//! A registry of thousands of packages: what a refresh moves, what a search reads, and what was signed once.
//!
//! In the suite it has 10,000 packages; in the full drill 100,000 (`scripts/bench --only catalog` times those).

use std::fs;
use std::path::{Path, PathBuf};

use localml::digest::Sha256;
use serde_json::Value;

use crate::support::drill::rounds;
use crate::support::http_server::{Fault, HttpServer};
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const TOPICS: [&str; 8] = ["water", "harvest", "law", "vaccine", "radio", "solar", "market", "river"];
const LANGUAGES: [&str; 6] = ["sw", "fr", "en", "ar", "am", "pt"];

/// A publisher's desk with so many packages of one version and two builds.
struct Desk<'a> {
    publisher: Publisher<'a>,
    num_packages: u64,
    folder: PathBuf,
}

impl<'a> Desk<'a> {
    fn new(sandbox: &'a Sandbox, num_packages: u64) -> Self {
        let publisher = Publisher::new(sandbox, "ngo");
        let folder = sandbox.path("publisher/ngo/manifests");
        let desk = Self { publisher, num_packages, folder };
        (0..num_packages).for_each(|number| desk.describe(number, "1.0.0"));
        fs::create_dir_all(sandbox.path("publisher/ngo/files")).unwrap();
        desk.publisher.publish();
        desk
    }

    fn name(number: u64) -> String {
        format!("{}-model-{number:06}", TOPICS[number as usize % TOPICS.len()])
    }

    /// As a package at a model hub is described: digests, sizes, pinned addresses.
    fn describe(&self, number: u64, version: &str) {
        let name = Self::name(number);
        let language = LANGUAGES[number as usize % LANGUAGES.len()];
        let mut toml = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"chat-model\"\ntitle = \"A model about {} and more, number {number}\"\nlicense = \"Apache-2.0\"\nlanguages = [\"{language}\", \"en\"]\ncontext_tokens = 32768\n",
            TOPICS[number as usize % TOPICS.len()]
        );
        for build in ["q4_k_m", "q8_0"] {
            let digest = Sha256::of(format!("{name} {version} {build}").as_bytes());
            toml += &format!(
                "[[variant]]\nid = \"{build}\"\n[[variant.file]]\npath = \"model.gguf\"\nsize_bytes = {}\nsha256 = \"{digest}\"\nsources = [\"https://hub.example/{name}/resolve/{}/{build}.gguf\"]\n",
                400_000_000 + number,
                &digest.to_string()[..40]
            );
        }
        let place = self.folder.join(&name);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join(format!("{version}.toml")), toml).unwrap();
    }

    /// A newer version of ten packages that lie far apart.
    fn change_ten(&self, version: &str) {
        (0..10).for_each(|at| self.describe(at * (self.num_packages / 10) + at, version));
        self.publisher.publish();
    }
}

fn index_bytes(registry: &Path) -> u64 {
    let files = fs::read_dir(registry).unwrap().map(|entry| entry.unwrap());
    let shards = files.filter(|file| file.file_name().to_string_lossy().ends_with(".jsonl"));
    shards.map(|file| file.metadata().unwrap().len()).sum()
}

fn found(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let (_, report) = sandbox.json("site", &[&["search"], words].concat());
    let text = |package: &Value| {
        format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap())
    };
    report["packages"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_refresh_moves_what_changed_and_a_search_knows_it() {
    let sandbox = Sandbox::new();
    let num_packages = rounds(10_000, 100_000);
    let desk = Desk::new(&sandbox, num_packages);
    let registry = desk.publisher.registry();
    let all_bytes = index_bytes(&registry);
    let server = HttpServer::serve(&registry);
    desk.publisher.introduce("site", &server.url());
    let first_bytes = server.bytes_sent();
    assert!(first_bytes * 2 < all_bytes, "packed: {first_bytes} of {all_bytes}");
    assert_eq!(found(&sandbox, &["model-000007"]), ["river-model-000007 1.0.0"]);
    // Every sixth speaks Swahili: 120 = 20 × 6.
    let in_swahili = found(&sandbox, &["swahili", "number 12"]);
    assert!(in_swahili.contains(&"water-model-000120 1.0.0".to_owned()), "{in_swahili:?}");
    assert!(!in_swahili.iter().any(|name| name.contains("000121")));

    // Nothing is new: root, timestamp and what they name, no index file.
    let before = server.bytes_sent();
    sandbox.ok("site", &["update"]);
    let idle_bytes = server.bytes_sent() - before;
    assert!(idle_bytes < 4 * 1024, "{idle_bytes}");
    desk.change_ten("1.1.0");
    let (before, requests) = (server.bytes_sent(), server.requests());
    let (code, report) = sandbox.json("site", &["update"]);
    let wire_bytes = server.bytes_sent() - before;
    println!(
        "{num_packages} packages, {all_bytes} bytes of index: first {first_bytes}, nothing new {idle_bytes}, ten changes {wire_bytes} in {} requests",
        server.requests() - requests
    );
    assert_eq!((code, &report["registries"][0]["num_packages"]), (Some(0), &Value::from(num_packages + 10)));
    // 1 MiB is the bound for 100,000 packages; for 10,000, targets.json has an eighth of the entries.
    assert!(wire_bytes < rounds(512 * 1024, 1 << 20), "{wire_bytes}");
    assert_eq!(found(&sandbox, &["model-000000"]), ["water-model-000000 1.1.0"]);

    // The fast form is only a copy: torn, it is made anew.
    let summaries = sandbox.path("site/registries/ngo/summaries.txt");
    let text = fs::read_to_string(&summaries).unwrap();
    fs::write(&summaries, text.replace("water-model-000000", "water-model-forged")).unwrap();
    assert_eq!(found(&sandbox, &["model-000000"]), ["water-model-000000 1.1.0"]);
    assert_eq!(fs::read_to_string(&summaries).unwrap(), text);

    // A packed file that is not what was signed is as good as none.
    desk.change_ten("1.2.0");
    for entry in fs::read_dir(&registry).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".zst") {
            server.set_fault(&name, Fault::CorruptByte(20));
        }
    }
    desk.publisher.revoke(&Desk::name(0), "1.2.0", "it lies");
    desk.publisher.publish();
    sandbox.ok("site", &["update"]);
    assert_eq!(found(&sandbox, &["model-000000"]), ["water-model-000000 1.1.0"], "1.2.0 was taken back");
    let second = Desk::name(num_packages / 10 + 1);
    assert_eq!(found(&sandbox, &[&second]), [format!("{second} 1.2.0")]);
}

const BUILD: [&str; 7] = [
    "registry",
    "build",
    "publisher/ngo/registry",
    "--manifests",
    "publisher/ngo/manifests",
    "--files",
    "publisher/ngo/files",
];

#[test]
fn a_version_that_was_ever_signed_keeps_its_bytes_whatever_lies_in_the_index() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.add("book", "1.0.0", &[("page.md", b"one second")]);
    publisher.publish();
    let manifest = sandbox.path("publisher/ngo/manifests/book/1.0.0.toml");

    // Built without it, then with it again: what is signed still says what it was.
    fs::remove_file(&manifest).unwrap();
    sandbox.ok("desk", &BUILD);
    publisher.add("book", "1.0.0", &[("page.md", b"three minutes")]);
    let said = sandbox.run("desk", &BUILD).failed_with(1);
    assert!(said.contains("`book@1.0.0`") && said.contains("than those that were signed once"), "{said}");

    // Even after an index without it was signed.
    fs::remove_file(&manifest).unwrap();
    publisher.publish();
    publisher.add("book", "1.0.0", &[("page.md", b"three minutes")]);
    sandbox.run("desk", &BUILD).failed_with(1);
    publisher.add("book", "1.0.0", &[("page.md", b"one second")]);
    publisher.publish();

    // A draft that was never signed may change.
    publisher.add("book", "1.1.0", &[("page.md", b"a draft")]);
    sandbox.ok("desk", &BUILD);
    publisher.add("book", "1.1.0", &[("page.md", b"another draft")]);
    publisher.publish();
    let readers_copy = publisher.registry();
    publisher.introduce("site", readers_copy.to_str().unwrap());
    assert!(found(&sandbox, &["book"]).contains(&"book 1.1.0".to_owned()));

    // What a signing left that did not come to its end stands behind what was signed, and counts for nothing.
    let published = publisher.registry().join("published.txt");
    let whole = fs::read_to_string(&published).unwrap();
    assert_eq!(whole.lines().count(), 3, "{whole}");
    fs::write(&published, format!("{whole}book 2.0.0 plain 00\n")).unwrap();
    sandbox.ok("desk", &BUILD);
    // Without it nobody can say what was signed.
    fs::write(&published, whole.replace("note", "nota")).unwrap();
    let said = sandbox.run("desk", &BUILD).failed_with(1);
    assert!(said.contains("published.txt") && said.contains("put back a copy"), "{said}");
}
