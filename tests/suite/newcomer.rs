//! What a newcomer types and reads: the bare command, hints that can be typed, forms that are forgiven.

use std::fs;

use localml::digest::Sha256;

use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const MIB: usize = 1 << 20;

/// `book` in two versions, known to `home` from a folder.
fn publisher(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &noise(1, 3 * MIB))]);
    publisher.publish();
    publisher.introduce("home", publisher.registry().to_str().unwrap());
    publisher
}

/// The words between backticks that begin with `begin`.
fn named<'a>(said: &'a str, begin: &str) -> Vec<&'a str> {
    let line = said.split('`').find(|part| part.starts_with(begin)).unwrap_or_else(|| panic!("{said}"));
    line.split_whitespace().skip(1).collect()
}

#[test]
fn the_command_that_gc_names_removes_what_it_showed() {
    let sandbox = Sandbox::new();
    let publisher = publisher(&sandbox);
    sandbox.ok("home", &["install", "book"]);
    publisher.add("book", "2.0.0", &[("map.bin", &noise(2, 3 * MIB))]);
    publisher.publish();
    sandbox.ok("home", &["update"]);
    sandbox.ok("home", &["upgrade"]);
    let said = sandbox.ok("home", &["gc", "--drop-previous", "--partial", "--older-than", "4w"]);
    assert!(
        said.contains("`localml gc --partial --older-than 28d --drop-previous --yes` would free"),
        "{said}"
    );
    let done = sandbox.ok("home", &named(&said, "localml gc"));
    assert!(done.contains("GONE") && done.contains("freed 3.1"), "{done}");
    let part = sandbox.write(format!("home/staging/{}.part", Sha256::of(b"of nobody")), noise(3, MIB));
    let said = sandbox.ok("home", &["gc", "--partial"]);
    sandbox.ok("home", &named(&said, "localml gc"));
    assert!(!part.exists(), "{said}");
}

#[test]
fn the_bare_command_knows_what_was_fetched_and_what_is_half_here() {
    let sandbox = Sandbox::new();
    let none: [&str; 0] = [];
    let said = sandbox.ok("home", &none);
    assert!(said.contains("localml sync DIR") && !said.contains("to carry"), "{said}");
    let publisher = publisher(&sandbox);
    publisher.add("atlas", "1.0.0", &[("map.bin", &noise(5, 2 * MIB)), ("index.bin", &noise(6, MIB))]);
    publisher.publish();
    sandbox.ok("home", &["update"]);
    sandbox.ok("home", &["fetch", "book"]);
    sandbox.write(format!("home/staging/{}.part", Sha256::of(&noise(5, 2 * MIB))), noise(5, MIB));
    let said = sandbox.ok("home", &none);
    assert!(said.contains("to carry  1 package fetched and not installed, 3.1"), "{said}");
    assert!(said.contains("  localml export DIR"), "{said}");
    assert!(said.contains("waiting   atlas@1.0.0:plain: 1.05 MB of it are here"), "{said}");
    assert!(said.contains("  localml fetch atlas@1.0.0:plain "), "{said}");
    let (_, report) = sandbox.json("home", &none);
    assert_eq!(report["num_fetched_packages"].as_u64(), Some(1), "{report}");
    assert_eq!(report["waiting"][0]["is_whole"], false, "{report}");
    sandbox.ok("home", &["fetch", "atlas@1.0.0:plain"]);
    assert!(!sandbox.ok("home", &none).contains("waiting"));
}

#[test]
fn a_build_that_is_whole_and_not_installed_is_called_so() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    let mut toml = "[package]\nname = \"story\"\nversion = \"1.0.0\"\nkind = \"knowledge\"\ntitle = \"T\"\nlicense = \"MIT\"\n"
        .to_owned();
    for (id, seed) in [("f16", 7), ("q4", 8)] {
        toml.push_str(&format!(
            "[[variant]]\nid = \"{id}\"\n[[variant.file]]\npath = \"{id}.bin\"\nfrom = \"story/{id}.bin\"\n"
        ));
        sandbox.write(format!("models/{id}.bin"), noise(seed, MIB));
    }
    let files = [("f16.bin", &noise(7, MIB)[..]), ("q4.bin", &noise(8, MIB)[..])];
    publisher.add_manifest("story", "1.0.0", &toml, &files);
    publisher.publish();
    publisher.introduce("home", publisher.registry().to_str().unwrap());
    sandbox.ok("home", &["adopt", "--scan", "models"]);
    assert!(!sandbox.ok("home", &["gc"]).contains("not complete"));
    // Cut off between the last byte and the record: all of both builds is here, and no record says so.
    fs::remove_dir_all(sandbox.path("home/fetched")).unwrap();
    let said = sandbox.ok("home", &["gc"]);
    assert!(said.contains("story@1.0.0:f16") && said.contains("story@1.0.0:q4"), "{said}");
    assert!(said.contains("whole; `localml install` takes it") && !said.contains("not complete"), "{said}");
    let said = sandbox.ok("home", &[""; 0]);
    assert!(said.contains("waiting   story@1.0.0:f16: all of it is here, not installed"), "{said}");
    let (_, report) = sandbox.json("home", &[""; 0]);
    let next = report["next"].as_array().unwrap().iter().map(|next| next["command"].as_str().unwrap());
    let install = next.clone().find(|command| command.contains("install story@1.0.0:f16")).unwrap();
    let words: Vec<&str> = install.split_whitespace().skip(1).collect();
    sandbox.ok("home", &words);
    assert!(!sandbox.ok("home", &[""; 0]).contains("story@1.0.0:f16"));
}

#[test]
fn usage_lines_name_no_home_that_nobody_has_to_give() {
    let sandbox = Sandbox::new();
    let said = sandbox.run("home", &["fetch"]).failed_with(2);
    assert!(said.contains("Usage: localml fetch") && !said.contains("--home"), "{said}");
    assert!(sandbox.ok("home", &["--help"]).contains("`LOCALML_HOME`"));
}

#[test]
fn a_rate_reads_as_it_is_shown_and_a_forgotten_unit_is_asked_for() {
    let sandbox = Sandbox::new();
    let _publisher = publisher(&sandbox);
    sandbox.ok("home", &["fetch", "book", "--limit-rate", "500MB/s", "--plan"]);
    let said = sandbox.run("home", &["fetch", "book", "--budget", "2"]).failed_with(2);
    assert!(said.contains("2MB or 2GB"), "{said}");
    assert!(!sandbox.path("home/blobs").exists());
}

#[test]
fn quiet_gives_no_advice() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", b"a map")]);
    publisher.publish();
    let (registry, fingerprint) = (publisher.registry(), publisher.fingerprint());
    let add = ["registry", "add", "ngo", registry.to_str().unwrap(), "--fingerprint", &fingerprint];
    let said = sandbox.ok("home", &[&["--quiet"], &add[..]].concat());
    assert!(said.contains("is trusted from now on") && !said.contains("next"), "{said}");
    assert!(sandbox.ok("other", &add).contains("\nnext: `localml search`"));
}

#[test]
fn a_new_registry_says_where_its_manifests_are_named() {
    let sandbox = Sandbox::new();
    let said = sandbox.ok("desk", &["registry", "init", "mine", "--keys", "keys"]);
    assert!(said.contains("`localml registry build mine --manifests DIR`"), "{said}");
}

#[test]
fn an_import_that_left_its_receipt_says_that_the_stick_may_go() {
    let sandbox = Sandbox::new();
    let publisher = publisher(&sandbox);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("home", &["fetch", "book"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok("home", &["export", "stick"]);
    let said = sandbox.ok("site", &["import", "stick"]);
    assert!(said.contains("receipt 1 is on the stick, read back; it is safe to remove"), "{said}");
}

#[test]
fn a_home_that_cannot_be_made_is_named_once_with_a_way_on() {
    let sandbox = Sandbox::new();
    sandbox.write("file", b"no folder");
    let said = sandbox.run("file/home", &["index", "list"]);
    assert_eq!(said.code, Some(0), "looking makes nothing: {said:?}");
    let said = sandbox.run("file/home", &["fetch", "tiny"]).failed_with(1);
    assert!(
        said.contains("cannot be made") && said.contains("hint: ") && said.contains("`--home`"),
        "{said}"
    );
    assert_eq!(said.matches("Not a directory").count(), 1, "{said}");
}
