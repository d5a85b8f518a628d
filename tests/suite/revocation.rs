//! What a publisher took back: news that travels on any later stick, and marks what is in use.

use std::fs;

use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::files_in;

/// A registry `ngo`; the cafe fetched `book` and `note` and put them on stick `a`, which `site` imported.
fn stick_a(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# Water\n\nBoil the water for one second.\n")]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    for home in ["cafe", "site", "late-site"] {
        publisher.introduce(home, publisher.registry().to_str().unwrap());
    }
    sandbox.ok("cafe", &["fetch", "book", "note"]);
    export(sandbox, "a", &[]);
    sandbox.ok("site", &["--offline", "import", "a"]);
    publisher
}

fn export(sandbox: &Sandbox, stick: &str, packages: &[&str]) {
    fs::create_dir_all(sandbox.path(stick)).unwrap();
    sandbox.ok("cafe", &[&["--offline", "export", stick], packages].concat());
}

/// The publisher takes `book` 1.0.0 back; the cafe writes stick `b`, with another package, afterwards.
fn stick_b(sandbox: &Sandbox, publisher: &Publisher<'_>) {
    publisher.revoke("book", "1.0.0", "page 3 is wrong");
    publisher.add("poem", "1.0.0", &[("poem.md", b"# A poem\n")]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "poem"]);
    export(sandbox, "b", &["poem"]);
}

#[test]
fn a_revocation_on_stick_b_stops_new_installs_of_what_stick_a_brings() {
    let sandbox = Sandbox::new();
    let publisher = stick_a(&sandbox);
    stick_b(&sandbox, &publisher);
    sandbox.ok("late-site", &["--offline", "import", "b"]);
    let run = sandbox.run("late-site", &["--offline", "import", "a"]);
    assert_eq!(run.code, Some(8), "{run:?}");
    assert!(run.stdout.contains("book@1.0.0:plain: its publisher took it back: page 3 is wrong"), "{run:?}");
    assert!(run.stdout.contains("installed  ngo/note@1.0.0"), "the rest comes in: {run:?}");
    assert!(!sandbox.ok("late-site", &["list"]).contains("book"));
    let said = sandbox.run("late-site", &["--offline", "install", "book"]).failed_with(7);
    assert!(said.contains("page 3 is wrong"), "{said}");
}

#[test]
fn a_revoked_package_in_use_is_marked_and_stays_until_the_keeper_decides() {
    let sandbox = Sandbox::new();
    let publisher = stick_a(&sandbox);
    stick_b(&sandbox, &publisher);
    let run = sandbox.run("site", &["--offline", "import", "b"]);
    assert_eq!(run.code, Some(8), "the news: {run:?}");
    for word in ["REVOKED    book 1.0.0", "`ngo`", "page 3 is wrong", "localml remove book"] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    // Known by now, and still said.
    assert!(sandbox.ok("site", &["--offline", "import", "b"]).contains("REVOKED    book 1.0.0"));
    let (_, list) = sandbox.json("site", &["list"]);
    let revoked: Vec<&str> = list["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["revoked"]["reason"].as_str())
        .collect();
    assert_eq!(revoked, ["page 3 is wrong"], "{list}");
    assert!(sandbox.ok("site", &["list"]).contains("revoked: page 3 is wrong"));
    let none: &[&str] = &[];
    assert!(sandbox.ok("site", none).contains("REVOKED   book 1.0.0: page 3 is wrong"));
    let doctor = sandbox.run("site", &["doctor"]);
    assert!(doctor.code == Some(8) && doctor.stdout.contains("`book` 1.0.0 was revoked"), "{doctor:?}");
    // Nothing was taken from the site.
    sandbox.ok("site", &["verify", "book"]);
    let chapter = sandbox.ok("site", &["path", "book"]);
    assert!(fs::read_to_string(chapter.trim()).unwrap().contains("one second"));
}

#[test]
fn a_successor_on_a_later_stick_takes_its_place() {
    let sandbox = Sandbox::new();
    let publisher = stick_a(&sandbox);
    publisher.revoke("book", "1.0.0", "page 3 is wrong");
    publisher.add("book", "1.0.1", &[("chapter.md", b"# Water\n\nBoil the water for one minute.\n")]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    // Known, and not here yet.
    export(&sandbox, "b", &["note"]);
    let run = sandbox.run("site", &["--offline", "import", "b"]);
    assert!(run.code == Some(8) && run.stdout.contains("1.0.1 takes its place"), "{run:?}");
    sandbox.ok("cafe", &["fetch", "book"]);
    export(&sandbox, "c", &["book"]);
    let said = sandbox.ok("site", &["--offline", "import", "c"]);
    assert!(said.contains("installed  ngo/book@1.0.1") && !said.contains("REVOKED"), "{said}");
    // The old stick does not bring it back.
    let run = sandbox.run("site", &["--offline", "import", "a"]);
    assert!(run.code == Some(8) && run.stdout.contains("took it back"), "{run:?}");
    let list = sandbox.ok("site", &["list"]);
    assert!(list.contains("1.0.1") && !list.contains("revoked"), "{list}");
}

#[cfg(feature = "index")]
#[test]
fn a_quote_from_a_revoked_package_says_so() {
    let sandbox = Sandbox::new();
    let publisher = stick_a(&sandbox);
    let chapter = sandbox.ok("site", &["path", "book"]);
    let folder = std::path::Path::new(chapter.trim()).parent().unwrap();
    sandbox.ok("site", &["index", "add", folder.to_str().unwrap(), "--name", "water", "--words-only"]);
    sandbox.write("own/own.md", "# Wells\n\nThe well is behind the school.\n");
    sandbox.ok("site", &["index", "add", "own", "--words-only"]);
    stick_b(&sandbox, &publisher);
    sandbox.run("site", &["--offline", "import", "b"]);
    for verb in [&["find", "boil water"][..], &["ask", "--quotes", "how long must I boil the water"]] {
        let run = sandbox.run("site", verb);
        assert_eq!(run.code, Some(0), "{run:?}");
        let said = run.stdout + &run.stderr;
        assert!(
            said.contains("`book` 1.0.0 was revoked by its publisher (`ngo`): page 3 is wrong"),
            "{said}"
        );
    }
    let run = sandbox.run("site", &["find", "well behind the school", "--in", "own"]);
    assert!(!(run.stdout + &run.stderr).contains("revoked"));
}

#[cfg(feature = "engine")]
#[test]
fn a_revoked_model_still_runs_and_says_so() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    let model = crate::support::tiny_gguf::tiny_llama(64, None).bytes();
    publisher.add_kind("tiny", "1.0.0", "chat-model", &[("model.gguf", &model)]);
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("site", &["install", "tiny"]);
    publisher.revoke("tiny", "1.0.0", "it swears");
    publisher.publish();
    sandbox.ok("site", &["update"]);
    let run =
        sandbox.run("site", &["--offline", "run", "tiny", "", "--temperature", "0", "--max-tokens", "2"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("`tiny` 1.0.0 was revoked by its publisher (`ngo`): it swears"), "{run:?}");
    // Adopted from a file under another name, the same bytes are still the same bytes.
    let file = sandbox.write("model.gguf", &model);
    let adopt = ["adopt", file.to_str().unwrap(), "--name", "other", "--kind", "chat-model"];
    sandbox.ok("site", &adopt);
    let (_, list) = sandbox.json("site", &["list"]);
    let names: Vec<&str> = list["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|package| package["revoked"]["reason"].as_str().and(package["name"].as_str()))
        .collect();
    assert_eq!(names, ["other", "tiny"], "{list}");
}

#[test]
fn a_forged_list_brings_in_nothing_that_was_taken_back() {
    let sandbox = Sandbox::new();
    let publisher = stick_a(&sandbox);
    stick_b(&sandbox, &publisher);
    sandbox.ok("late-site", &["--offline", "import", "b"]);
    for slot in ["STICK.A", "STICK.B"] {
        let _ = fs::remove_file(sandbox.path(format!("a/LOCALML/{slot}")));
    }
    let files = files_in(&sandbox.path("a/LOCALML/B"));
    let description = files.iter().find(|path| path.ends_with("BUNDLE.JSON")).unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(description).unwrap()).unwrap();
    for item in value["items"].as_array_mut().unwrap() {
        let mut made_up = item["files"][0].clone();
        made_up["path"] = "made-up.txt".into();
        made_up["sha256"] = localml::digest::Sha256::of(b"made up").to_string().into();
        item["files"].as_array_mut().unwrap().push(made_up);
    }
    fs::write(description, value.to_string()).unwrap();
    let run = sandbox.run("late-site", &["--offline", "import", "a"]);
    assert!(run.stdout.contains("refused    ngo/book@1.0.0:plain"), "{run:?}");
    assert!(!sandbox.ok("late-site", &["list"]).contains("book"));
}

#[test]
fn a_kit_that_was_taken_back_is_refused_and_marked() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    let kit = "[package]\nname = \"village-kit\"\nversion = \"1.0.0\"\nkind = \"kit\"\ntitle = \"A kit\"\n\
               license = \"MIT\"\nmembers = [\"note\"]\n[profile]\nlanguages = [\"en\"]\n";
    publisher.add_manifest("village-kit", "1.0.0", kit, &[]);
    publisher.publish();
    for home in ["cafe", "site", "late-site"] {
        publisher.introduce(home, publisher.registry().to_str().unwrap());
    }
    sandbox.ok("cafe", &["fetch", "village-kit"]);
    export(&sandbox, "a", &[]);
    sandbox.ok("site", &["--offline", "import", "a"]);
    publisher.revoke("village-kit", "1.0.0", "it names a thief");
    publisher.publish();
    sandbox.ok("site", &["update"]);
    sandbox.ok("late-site", &["update"]);
    assert!(sandbox.ok("site", &["list"]).contains("revoked: it names a thief"));
    let doctor = sandbox.run("site", &["doctor"]);
    assert!(doctor.stdout.contains("`village-kit` 1.0.0 was revoked"), "{doctor:?}");
    let run = sandbox.run("late-site", &["--offline", "import", "a"]);
    assert!(run.code == Some(8) && run.stdout.contains("took it back: it names a thief"), "{run:?}");
    assert!(!sandbox.ok("late-site", &["list"]).contains("village-kit"));
}
