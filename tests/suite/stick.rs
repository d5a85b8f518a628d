//! From a cafe to a site by stick, by the real program and with no network.

use std::fs;
use std::path::PathBuf;

use crate::support::fault_fs::copy_tree;
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::{files_in, flip};

/// A registry `ngo` with `book` (9 MiB and a chapter) and `note`; the cafe has fetched both.
fn cafe(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n"), ("map.bin", &noise(1, 9 << 20))]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "book", "note"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    publisher
}

/// As `cafe`, with a stick in volumes of 5 MiB, and a site that knows the publisher.
fn stick(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = cafe(sandbox);
    sandbox.ok("cafe", &["--offline", "export", "stick", "--volume-size", "5MiB"]);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    publisher
}

fn volumes(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut volumes = files_in(&sandbox.path("stick/LOCALML/B"));
    volumes.retain(|path| path.extension().is_some_and(|ending| ending == "TAR"));
    volumes
}

fn names(value: &serde_json::Value) -> Vec<String> {
    let package =
        |value: &serde_json::Value| value["package"].as_str().or(value.as_str()).unwrap().to_owned();
    value.as_array().unwrap().iter().map(package).collect()
}

#[test]
fn what_the_cafe_exports_the_site_installs_with_no_network() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    let (code, plan) = sandbox.json("cafe", &["export", "stick", "--volume-size", "5MiB", "--plan"]);
    assert_eq!((code, fs::read_dir(sandbox.path("stick")).unwrap().count()), (Some(0), 0));
    let (code, report) = sandbox.json("cafe", &["export", "stick", "--volume-size", "5MiB"]);
    assert_eq!((code, &report["size_bytes"]), (Some(0), &plan["size_bytes"]));
    let written: u64 =
        files_in(&sandbox.path("stick")).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(Some(written), plan["size_bytes"].as_u64(), "the plan equals what is written");
    assert!(sandbox.ok("cafe", &["export", "stick", "--volume-size", "5MiB"]).contains("already"));

    publisher.introduce("site", publisher.registry().to_str().unwrap());
    fs::remove_dir_all(publisher.registry()).unwrap();
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, names(&report["installed"]).len()), (Some(0), 2), "{report}");
    let chapter = sandbox.ok("site", &["path", "book", "chapter.md"]);
    assert_eq!(fs::read_to_string(chapter.trim()).unwrap(), "# A chapter\n");
    assert_eq!(fs::read(sandbox.ok("site", &["path", "book", "map.bin"]).trim()).unwrap(), noise(1, 9 << 20));
    sandbox.ok("site", &["verify"]);
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, names(&report["unchanged"]).len()), (Some(0), 2), "{report}");
}

#[test]
fn an_unknown_publisher_ends_with_7_and_shows_the_fingerprint() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    sandbox.ok("cafe", &["export", "stick"]);
    let said = sandbox.run("site", &["--offline", "import", "stick"]).failed_with(7);
    let digits: String = said.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(digits.contains(&publisher.fingerprint()), "{said}");
    let (code, error) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, error["error"]["exit_code"].as_u64()), (Some(7), Some(7)));
    assert!(sandbox.ok("site", &["list"]).contains("nothing is installed"));
    let wrong = "00".repeat(32);
    sandbox.run("site", &["--offline", "import", "stick", "--fingerprint", &wrong]).failed_with(7);
    sandbox.ok("site", &["--offline", "import", "stick", "--fingerprint", &publisher.fingerprint()]);
    sandbox.ok("site", &["--offline", "import", "stick"]);
    // Or in two steps.
    let args = ["--offline", "registry", "add", "ngo", "stick", "--fingerprint", &publisher.fingerprint()];
    sandbox.ok("other-site", &args);
    sandbox.ok("other-site", &["--offline", "import", "stick"]);
}

#[test]
fn a_flipped_byte_names_file_package_and_volume_and_the_rest_is_installed() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    flip(&volumes(&sandbox)[1], 2 << 20);
    let run = sandbox.run("site", &["--offline", "import", "stick"]);
    assert_eq!(run.code, Some(8), "{run:?}");
    for word in ["INCOMPLETE", "ngo/book@1.0.0", "`map.bin`", "V0002.TAR", "ngo/note@1.0.0"] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    assert!(!sandbox.ok("site", &["list"]).contains("book"));
    sandbox.run("fresh", &["path", "book"]).failed_with(3);
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, names(&report["incomplete"])), (Some(8), vec!["ngo/book@1.0.0:plain".to_owned()]));
    // When nothing else is wanted, it is damage and nothing more.
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick", "book"]);
    let file = &report["incomplete"][0]["files"][0];
    assert_eq!((code, file["path"].as_str()), (Some(4), Some("map.bin")));
    // A good copy of the stick needs to bring only what is missing.
    flip(&volumes(&sandbox)[1], 2 << 20);
    sandbox.ok("site", &["--offline", "import", "stick"]);
    sandbox.ok("site", &["verify", "book"]);
}

#[test]
fn a_volume_that_is_cut_empty_or_gone_is_named() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    let volume = volumes(&sandbox).pop().unwrap();
    let whole = fs::read(&volume).unwrap();
    for cut in [whole.len() / 2, 100, 0] {
        fs::write(&volume, &whole[..cut]).unwrap();
        let run = sandbox.run("site", &["--offline", "import", "stick"]);
        let name = volume.file_name().unwrap().to_str().unwrap();
        assert!(run.code == Some(8) && run.stdout.contains(name), "{cut}: {run:?}");
    }
    fs::remove_file(&volume).unwrap();
    let (code, _) = sandbox.json("site", &["--offline", "import", "stick", "book"]);
    assert_eq!(code, Some(4));
    sandbox.run("site", &["stick", "verify", "stick"]);
    let (code, health) = sandbox.json("site", &["stick", "verify", "stick"]);
    let bad = health["files"].as_array().unwrap().iter().filter(|file| file["is_whole"] == false).count();
    assert_eq!((code, bad), (Some(4), 1));
}

#[test]
fn one_damaged_commit_slot_is_no_harm() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    sandbox.ok("cafe", &["export", "stick", "note"]);
    flip(&sandbox.path("stick/LOCALML/STICK.B"), 30);
    assert!(sandbox.ok("cafe", &["stick", "info", "stick"]).contains("STICK.B"));
    let said = sandbox.ok("site", &["--offline", "import", "stick"]);
    assert!(said.contains("STICK.B") && said.contains("installed  ngo/book"), "{said}");
    flip(&sandbox.path("stick/LOCALML/STICK.A"), 30);
    assert!(sandbox.ok("site", &["--offline", "import", "stick"]).contains("unchanged"));
}

#[test]
fn damaged_trust_files_end_with_7_and_install_nothing() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    let trust = files_in(&sandbox.path("stick/LOCALML/TRUST")).pop().unwrap();
    flip(&trust, 700);
    let said = sandbox.run("site", &["--offline", "import", "stick"]).failed_with(7);
    assert!(said.contains("TRUST/"), "{said}");
    let (code, error) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, error["error"]["exit_code"].as_u64()), (Some(7), Some(7)));
    assert!(sandbox.ok("site", &["list"]).contains("nothing is installed"));
}

#[test]
fn a_registry_signed_by_another_key_ends_with_7() {
    let sandbox = Sandbox::new();
    let forger = stick(&sandbox);
    // The site knows another publisher of the same name.
    let real = Sandbox::new();
    let publisher = Publisher::new(&real, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# The real chapter\n")]);
    publisher.publish();
    let folder = publisher.registry();
    let (url, fingerprint) = (folder.to_str().unwrap(), publisher.fingerprint());
    assert_ne!(fingerprint, forger.fingerprint());
    sandbox.ok("deceived", &["registry", "add", "ngo", url, "--fingerprint", &fingerprint]);
    sandbox.run("deceived", &["--offline", "import", "stick"]).failed_with(7);
    assert!(sandbox.ok("deceived", &["list"]).contains("nothing is installed"));
}

#[test]
fn a_newer_index_comes_with_the_stick() {
    let sandbox = Sandbox::new();
    let publisher = stick(&sandbox);
    publisher.add("note", "1.1.0", &[("note.txt", b"a newer note")]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "note"]);
    sandbox.ok("cafe", &["export", "stick"]);
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, report["registries"][0]["outcome"].as_str()), (Some(0), Some("newer")), "{report}");
    let note = sandbox.ok("site", &["path", "note"]);
    assert_eq!(fs::read_to_string(note.trim()).unwrap(), "a newer note");
    // The older bundle on the same stick does not bring the old note back.
    sandbox.ok("site", &["--offline", "import", "stick"]);
    assert!(sandbox.ok("site", &["list"]).contains("1.1.0"));
}

#[test]
fn a_blob_that_is_damaged_at_the_cafe_stays_behind_by_name() {
    let sandbox = Sandbox::new();
    cafe(&sandbox);
    let blobs = files_in(&sandbox.path("cafe/blobs"));
    let large = blobs.iter().find(|path| path.metadata().unwrap().len() > 1 << 20).unwrap();
    let mut bytes = fs::read(large).unwrap();
    bytes[5 << 20] ^= 1;
    fs::remove_file(large).unwrap();
    fs::write(large, bytes).unwrap();
    let (code, report) = sandbox.json("cafe", &["export", "stick"]);
    assert_eq!((code, report["damaged"][0]["name"].as_str()), (Some(8), Some("book")), "{report}");
    sandbox.run("cafe", &["export", "stick", "book"]).failed_with(4);
    let (code, health) = sandbox.json("cafe", &["stick", "verify", "stick"]);
    assert_eq!(code, Some(0), "{health}");
}

#[test]
fn what_makes_no_sense_says_what_would() {
    let sandbox = Sandbox::new();
    let said = {
        let model = sandbox.write("model.gguf", b"GGUF");
        sandbox.run("site", &["import", model.to_str().unwrap()]).failed_with(3)
    };
    assert!(said.contains("localml adopt"), "{said}");
    sandbox.run("site", &["import", "nowhere"]).failed_with(3);
    fs::create_dir(sandbox.path("empty")).unwrap();
    assert!(sandbox.run("site", &["import", "empty"]).failed_with(3).contains("LOCALML"));
    sandbox.run("site", &["export", "empty"]).failed_with(3);
    cafe(&sandbox);
    sandbox.run("cafe", &["export", "stick", "--volume-size", "5GiB"]).failed_with(2);
    sandbox.run("cafe", &["export", "stick", "--volume-size", "1MiB"]).failed_with(2);
    sandbox.run("cafe", &["export", "stick", "absent"]).failed_with(3);
    assert_eq!(fs::read_dir(sandbox.path("stick")).unwrap().count(), 0);
}

#[test]
fn an_export_killed_in_the_middle_goes_on_and_touches_nothing_else() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    sandbox.write("stick/photos/one.jpg", b"a photo");
    let mut child =
        sandbox.command("cafe").args(["export", "stick", "--volume-size", "5MiB"]).spawn().unwrap();
    // As soon as something lies there, or it was too fast to be caught.
    while !sandbox.path("stick/LOCALML/B").exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let _ = child.kill();
    child.wait().unwrap();
    sandbox.ok("cafe", &["export", "stick", "--volume-size", "5MiB"]);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("site", &["--offline", "import", "stick"]);
    sandbox.ok("site", &["verify"]);
    assert_eq!(fs::read(sandbox.path("stick/photos/one.jpg")).unwrap(), b"a photo");
    assert_eq!(fs::read_dir(sandbox.path("stick")).unwrap().count(), 2);
}

#[test]
fn what_nobody_signed_comes_only_by_name_and_is_labelled() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("stick")).unwrap();
    let file = sandbox.write("leaflet.md", b"# A leaflet\n");
    let adopt = ["adopt", file.to_str().unwrap(), "--name", "leaflet", "--kind", "knowledge"];
    sandbox.ok("cafe", &adopt);
    sandbox.ok("cafe", &["export", "stick"]);
    let run = sandbox.run("site", &["--offline", "import", "stick"]);
    assert!(run.code == Some(7) && run.stdout.contains("--unsigned leaflet"), "{run:?}");
    sandbox.ok("site", &["--offline", "import", "stick", "--unsigned", "leaflet"]);
    assert!(sandbox.ok("site", &["list"]).contains("unsigned"));
}

/// The sets of trust files on the stick.
fn trust_sets(sandbox: &Sandbox) -> Vec<PathBuf> {
    files_in(&sandbox.path("stick/LOCALML/TRUST"))
}

#[test]
fn trust_files_of_an_export_that_died_are_passed_over_and_then_cleaned_away() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    let whole = fs::read(&trust_sets(&sandbox)[0]).unwrap();
    // Nothing, a part, and all the length with none of the bytes: what FAT leaves.
    for (name, torn) in [("00000001", &b""[..]), ("00000002", &whole[..700]), ("00000003", &[0; 4096])] {
        sandbox.write(format!("stick/LOCALML/TRUST/{name}.TAR"), torn);
    }
    let said = sandbox.ok("site", &["--offline", "import", "stick"]);
    for name in ["TRUST/00000001.TAR", "TRUST/00000002.TAR", "TRUST/00000003.TAR", "cut off"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    sandbox.ok("cafe", &["export", "stick", "note"]);
    assert_eq!(trust_sets(&sandbox).len(), 1, "the rest of dead exports is gone");
}

#[test]
fn the_first_export_of_a_stick_may_die_in_its_trust_files_too() {
    let sandbox = Sandbox::new();
    let _publisher = stick(&sandbox);
    let [set] = &trust_sets(&sandbox)[..] else { panic!("one set") };
    let whole = fs::read(set).unwrap();
    for length in [0, 100, 512, whole.len() / 2, whole.len() - 1] {
        for slot in ["STICK.A", "STICK.B"] {
            let _ = fs::remove_file(sandbox.path("stick/LOCALML").join(slot));
        }
        fs::write(set, &whole[..length]).unwrap();
        let _ = fs::remove_dir_all(sandbox.path("visit"));
        copy_tree(&sandbox.path("site"), &sandbox.path("visit"));
        let (code, report) = sandbox.json("visit", &["--offline", "import", "stick"]);
        assert_eq!((code, names(&report["installed"]).len()), (Some(0), 2), "{length}: {report}");
        assert!(report.to_string().contains("the rest of an export that was cut off"), "{length}: {report}");
        let (code, report) = sandbox.json("stranger", &["--offline", "import", "stick"]);
        assert_eq!((code, names(&report["installed"]).len()), (Some(7), 0), "{length}: {report}");
        sandbox.ok("cafe", &["--offline", "export", "stick", "--volume-size", "5MiB"]);
        assert_eq!(fs::read(set).unwrap(), whole, "{length}");
    }
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, names(&report["installed"]).len()), (Some(0), 2), "{report}");
}

#[test]
fn a_registry_that_is_known_already_may_be_named_again_with_an_older_stick() {
    let sandbox = Sandbox::new();
    let publisher = stick(&sandbox);
    publisher.publish();
    sandbox.ok("site", &["update"]);
    sandbox.ok("site", &["--offline", "import", "stick", "--fingerprint", &publisher.fingerprint()]);
}

#[test]
fn a_damaged_copy_of_a_registry_is_healed_from_a_stick() {
    let sandbox = Sandbox::new();
    let publisher = stick(&sandbox);
    fs::remove_dir_all(publisher.registry()).unwrap();
    let copies = files_in(&sandbox.path("site/registries/ngo"));
    flip(copies.iter().find(|path| path.ends_with("targets.json")).unwrap(), 100);
    let said = sandbox.run("site", &["--offline", "install", "note"]).failed_with(7);
    assert!(said.contains("localml import"), "{said}");
    sandbox.ok("site", &["--offline", "import", "stick"]);
    sandbox.ok("site", &["verify"]);
}

#[test]
fn the_same_export_again_brings_newer_signed_metadata_and_heals_damaged_trust_files() {
    let sandbox = Sandbox::new();
    let publisher = stick(&sandbox);
    assert_eq!(trust_sets(&sandbox).len(), 1);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    let again = ["--offline", "export", "stick", "--volume-size", "5MiB"];
    let (code, report) = sandbox.json("cafe", &again);
    assert_eq!((code, report["was_there"].as_bool()), (Some(0), Some(false)), "{report}");
    assert!(report["size_bytes"].as_u64().unwrap() < 1 << 20, "no volume is written again: {report}");
    assert!(sandbox.ok("cafe", &again).contains("already"));
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, report["registries"][0]["outcome"].as_str()), (Some(0), Some("newer")), "{report}");
    // Whichever set is damaged, the older or the newer: the same export again makes the stick usable.
    for index in 0..2 {
        let Some(set) = trust_sets(&sandbox).into_iter().nth(index) else { continue };
        flip(&set, 700);
        sandbox.run("site", &["--offline", "import", "stick"]).failed_with(7);
        sandbox.ok("cafe", &again);
        sandbox.ok("site", &["--offline", "import", "stick"]);
        sandbox.ok("site", &["stick", "verify", "stick"]);
    }
}

#[test]
fn a_newer_version_that_was_only_fetched_is_what_is_exported() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    sandbox.ok("cafe", &["install", "note"]);
    publisher.add("note", "2.0.0", &[("note.txt", b"a newer note")]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "note"]);
    for args in [&["export", "stick", "note"][..], &["export", "stick"]] {
        assert!(sandbox.ok("cafe", args).contains("2.0.0"), "{args:?}");
    }
}

#[test]
fn a_damaged_description_is_damage_and_never_nothing_to_do() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    sandbox.ok("cafe", &["export", "stick", "note"]);
    let descriptions: Vec<PathBuf> = files_in(&sandbox.path("stick/LOCALML/B"))
        .into_iter()
        .filter(|path| path.ends_with("BUNDLE.JSON"))
        .collect();
    let large = descriptions.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    fs::write(large, b"{ torn").unwrap();
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, report["num_unread_bundles"].as_u64()), (Some(8), Some(1)), "{report}");
    let said = sandbox.run("site", &["--offline", "import", "stick", "book"]).failed_with(4);
    assert!(said.contains("BUNDLE.JSON"), "{said}");
}

#[test]
fn a_registry_that_vouches_for_nothing_on_the_stick_is_not_offered_for_trust() {
    let sandbox = Sandbox::new();
    cafe(&sandbox);
    let file = sandbox.write("leaflet.md", b"# A leaflet\n");
    let adopt = ["adopt", file.to_str().unwrap(), "--name", "leaflet", "--kind", "knowledge"];
    sandbox.ok("cafe", &adopt);
    sandbox.ok("cafe", &["export", "stick", "leaflet"]);
    let run = sandbox.run("stranger", &["--offline", "import", "stick"]);
    assert!(run.code == Some(7) && run.stdout.contains("--unsigned leaflet"), "{run:?}");
    assert!(!run.stderr.contains("--fingerprint"), "{run:?}");
}

#[test]
fn what_one_publisher_took_back_stays_out_though_another_lists_the_same_bytes() {
    let sandbox = Sandbox::new();
    let publisher = stick(&sandbox);
    let other = Publisher::new(&sandbox, "mirror");
    other.add("note", "1.0.0", &[("note.txt", b"a note")]);
    other.publish();
    other.introduce("site", other.registry().to_str().unwrap());
    let revoked = "[[revoked]]\nname = \"note\"\nversion = \"1.0.0\"\nreason = \"it is wrong\"\n";
    sandbox.write("publisher/ngo/manifests/revoked.toml", revoked);
    publisher.publish();
    sandbox.ok("site", &["update"]);
    let run = sandbox.run("site", &["--offline", "import", "stick", "note"]);
    assert!(run.code == Some(7) && run.stdout.contains("it is wrong"), "{run:?}");
}
