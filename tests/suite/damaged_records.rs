//! Small files of a home that a power cut has emptied: what hangs on them is told, and nothing else waits for it.

use std::fs;
use std::path::{Path, PathBuf};

use localml::digest::Sha256;
use serde_json::Value;

use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const KIT: &str = "[package]\nname = \"village-kit\"\nversion = \"1.0.0\"\nkind = \"kit\"\ntitle = \"A kit\"\n\
    license = \"MIT\"\nmembers = [\"book\", \"note\"]\n[profile]\nlanguages = [\"en\"]\n";

/// `book`, `note` and a kit of both, in a registry that `site` knows; a stick with all three.
fn site(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# Cold\n\nVaccines stay between 2 and 8 degrees.\n")]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.add_manifest("village-kit", "1.0.0", KIT, &[]);
    publisher.publish();
    for home in ["site", "cafe"] {
        publisher.introduce(home, publisher.registry().to_str().unwrap());
    }
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok("cafe", &["fetch", "village-kit"]);
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    publisher
}

fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    let (code, list) = sandbox.json("site", &["list"]);
    assert_eq!(code, Some(0), "{list}");
    let packages = list["packages"].as_array().unwrap().iter();
    packages.map(|package| package["name"].as_str().unwrap().to_owned()).collect()
}

/// `note` 2.0.0 beside `book`, with the emptied record of `note` 1.0.0.
fn lose_the_way_back(sandbox: &Sandbox) -> PathBuf {
    let publisher = site(sandbox);
    sandbox.ok("site", &["install", "book", "note"]);
    publisher.add("note", "2.0.0", &[("note.txt", b"another note")]);
    publisher.publish();
    sandbox.ok("site", &["update"]);
    sandbox.ok("site", &["upgrade"]);
    let record = only_file(&sandbox.path("site/previous"));
    fs::write(&record, b"").unwrap();
    record
}

#[test]
fn a_damaged_record_of_a_version_before_stops_nothing_but_its_own_way_back() {
    let sandbox = Sandbox::new();
    lose_the_way_back(&sandbox);
    let run = sandbox.run("site", &["verify"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("the record of a version before, `"), "{run:?}");
    assert!(run.stderr.contains("only the way back to that version is lost; delete `"), "{run:?}");
    let said = sandbox.run("site", &["rollback", "note"]).failed_with(4);
    assert!(said.contains("only the way back to that version is lost"), "{said}");
    assert!(sandbox.run("site", &["doctor"]).stdout.contains("the record of a version before, `"));
    sandbox.ok("site", &["repair"]);
    let run = sandbox.run("site", &["remove", "book"]);
    assert_eq!((run.code, names(&sandbox)), (Some(0), vec!["note".to_owned()]), "{run:?}");
    assert!(run.stdout.starts_with("removed book: ") && run.stderr.contains("a version before"), "{run:?}");
}

#[test]
fn gc_keeps_what_a_damaged_record_may_need_until_the_record_goes() {
    let sandbox = Sandbox::new();
    let record = lose_the_way_back(&sandbox);
    let before = sandbox.path(format!("site/blobs/{}", Sha256::of(b"a note")));
    let said = sandbox.ok("site", &["gc", "--partial", "--yes"]);
    assert!(said.contains("a version before, whose record is damaged, may need it"), "{said}");
    assert!(said.contains("note@1.0.0") && said.contains("there is no way back to it"), "{said}");
    assert!(before.is_file() && record.is_file());
    let (code, report) = sandbox.json("site", &["gc", "--drop-previous", "--partial", "--yes"]);
    assert_eq!((code, before.exists(), record.exists()), (Some(0), false, false), "{report}");
    assert!(!sandbox.run("site", &["verify"]).stderr.contains("a version before"));
    assert_eq!(names(&sandbox), ["book", "note"]);
}

#[test]
fn a_damaged_record_of_an_installed_package_is_written_anew_or_forgotten() {
    let sandbox = Sandbox::new();
    let _publisher = site(&sandbox);
    sandbox.ok("site", &["install", "book", "note"]);
    let record = sandbox.path("site/installed/note.json");
    let damage = || fs::write(&record, b"").unwrap();

    damage();
    let doctor = sandbox.run("site", &["doctor"]).stdout;
    assert!(
        doctor.contains("`localml install note`") && doctor.contains("`localml remove note`"),
        "{doctor}"
    );
    let said = sandbox.run("site", &["remove", "book"]).failed_with(4);
    assert!(said.contains("the record of an installed package"), "{said}");
    let (code, report) = sandbox.json("site", &["install", "note"]);
    assert_eq!((code, &report["installed"][0], &report["wire_bytes"]), (Some(0), &"note".into(), &0.into()));
    assert_eq!(names(&sandbox), ["book", "note"]);

    damage();
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick", "note"]);
    assert_eq!((code, &report["installed"][0]), (Some(0), &"ngo/note@1.0.0:plain".into()), "{report}");
    assert!(report["receipt"].is_object() && names(&sandbox) == ["book", "note"], "{report}");

    damage();
    let run = sandbox.run("site", &["remove", "note"]);
    assert_eq!((run.code, names(&sandbox)), (Some(0), vec!["book".to_owned()]), "{run:?}");
    assert!(run.stderr.contains("nobody knows what it alone needed"), "{run:?}");
    sandbox.ok("site", &["gc", "--yes"]);
    sandbox.ok("site", &["verify"]);
}

#[test]
fn a_damaged_record_of_an_adopted_file_is_replaced_or_forgotten() {
    let sandbox = Sandbox::new();
    sandbox.write("song.md", b"# A song\n");
    let adopt = ["adopt", "song.md", "--name", "song", "--kind", "knowledge"];
    sandbox.ok("site", &adopt);
    let record = sandbox.path("site/installed/song.json");
    fs::write(&record, b"").unwrap();
    let said = sandbox.run("site", &adopt).failed_with(4);
    assert!(said.contains("`localml adopt FILE --name song --replace`"), "{said}");
    sandbox.ok("site", &[&adopt[..], &["--replace"]].concat());
    assert_eq!(names(&sandbox), ["song"]);
    fs::write(&record, b"").unwrap();
    sandbox.ok("site", &["remove", "song"]);
    sandbox.ok("site", &adopt);
    assert_eq!(names(&sandbox), ["song"]);
}

#[test]
fn what_came_is_told_although_the_profile_is_damaged() {
    let sandbox = Sandbox::new();
    let _publisher = site(&sandbox);
    sandbox.ok("site", &["--offline", "import", "stick"]);
    let profile = sandbox.path("site/profile.toml");
    fs::write(&profile, [0; 64]).unwrap();
    sandbox.ok("site", &["remove", "note"]);
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    let problem = report["set_up_problem"].as_str().unwrap_or_default();
    assert!(code == Some(8) && problem.contains("profile.toml` cannot be read"), "{report}");
    assert_eq!(report["installed"], Value::from(vec!["ngo/note@1.0.0:plain"]), "{report}");
    assert!(report["receipt"]["is_on_stick"] == true, "{report}");
    assert!(sandbox.ok::<&str>("site", &[]).contains("localml doctor"));

    // What the hint says, by a stick and by a line.
    let again = sandbox.run("site", &["--offline", "import", "stick"]);
    assert!(again.code == Some(8) && again.stdout.contains("NOT SET UP `"), "{again:?}");
    fs::remove_file(&profile).unwrap();
    let said = sandbox.ok("site", &["install", "ngo/village-kit"]);
    assert!(said.contains("this site is set up as village (kit 1.0.0)") && profile.is_file(), "{said}");
    assert!(!sandbox.ok("site", &["install", "ngo/village-kit"]).contains("is set up as"));
}

#[cfg(feature = "index")]
#[test]
fn a_damaged_profile_stops_no_search() {
    let sandbox = Sandbox::new();
    sandbox.write("docs/water.md", "Boil water for one minute.\n");
    sandbox.write("site/profile.toml", b"languages = [");
    for args in [&["index", "add", "docs"][..], &["find", "boil"]] {
        let run = sandbox.run("site", args);
        assert_eq!(run.code, Some(0), "{run:?}");
        #[cfg(any(feature = "onnx", feature = "engine"))]
        assert!(run.stderr.contains("this goes on without the settings of this site"), "{run:?}");
    }
}

#[test]
fn the_doctor_names_a_damaged_file_that_says_who_this_site_is() {
    let sandbox = Sandbox::new();
    sandbox.write("site/site.toml", [0; 40]);
    let doctor = sandbox.run("site", &["doctor"]).stdout;
    assert!(doctor.contains("which says who this site is, cannot be read"), "{doctor}");
    assert!(doctor.contains("move it away by hand"), "{doctor}");
}
