//! A home that was copied: two machines write letters as one site, and neither is answered with nothing.

use std::fs;

use serde_json::Value;

use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::registry_desk::copy_files;
use crate::support::sandbox::Sandbox;

/// A registry `ngo` with `book`; the cafe has it. The homes `first` and `second` are copies: each wrote letter 1, and
/// has nothing. The first one asked for `book` with its letter 2, and got it. Returns the site's id.
fn copied(sandbox: &Sandbox) -> String {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &noise(1, 2 << 20))]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "book"]);
    for stick in ["old", "sx", "sy"] {
        fs::create_dir(sandbox.path(stick)).unwrap();
    }
    sandbox.ok("first", &["request", "old"]);
    copy_files(&sandbox.path("first"), &sandbox.path("second"));
    for home in ["first", "second"] {
        publisher.introduce(home, publisher.registry().to_str().unwrap());
    }
    let (_, request) = sandbox.json("first", &["request", "sx", "book"]);
    assert_eq!(request["number"], 2);
    sandbox.ok("cafe", &["--offline", "sync", "sx"]);
    sandbox.ok("first", &["--offline", "import", "sx"]);
    assert_eq!(written(&sandbox.json("cafe", &["--offline", "sync", "sx"]).1), 0, "it has the book");
    request["site"].as_str().unwrap().to_owned()
}

fn written(report: &Value) -> u64 {
    report["stick_bytes"].as_u64().unwrap()
}

/// The copy's letter 2. Its name makes it another one than the first one's also where both are written in one second.
fn ask_as_second(sandbox: &Sandbox) -> Value {
    sandbox.json("second", &["request", "sy", "book", "--name", "Second"]).1
}

#[test]
fn the_request_of_a_copy_is_answered_and_the_copying_is_told() {
    let sandbox = Sandbox::new();
    let site = copied(&sandbox);
    let request = ask_as_second(&sandbox);
    assert_eq!((request["number"].as_u64(), request["site"].as_str()), (Some(2), Some(site.as_str())));
    let run = sandbox.run("cafe", &["--offline", "sync", "sy"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for word in [&format!("letter 2 of the site {site}"), "two machines write as", "`site.toml`"] {
        assert!(run.stderr.contains(word), "{word}: {run:?}");
    }
    let (code, report) = sandbox.json("second", &["--offline", "import", "sy"]);
    assert_eq!((code, report["installed"].as_array().unwrap().len()), (Some(0), 1), "{report}");
    // The first one's letters are heard again, and its receipt says nothing about the second one.
    sandbox.ok("cafe", &["sites", "sx"]);
    let run = sandbox.run("cafe", &["--offline", "export", "sy", "book", "--request", "sy", "--plan"]);
    assert!(run.code == Some(0) && run.stderr.contains("two machines write as the site"), "{run:?}");
}

#[test]
fn a_request_that_is_named_is_believed_about_what_its_writer_has() {
    let sandbox = Sandbox::new();
    copied(&sandbox);
    ask_as_second(&sandbox);
    sandbox.ok("cafe", &["--offline", "export", "sy", "book", "--request", "sy"]);
    let (code, report) = sandbox.json("second", &["--offline", "import", "sy"]);
    assert_eq!((code, report["installed"].as_array().unwrap().len()), (Some(0), 1), "{report}");
}

#[test]
fn a_site_that_writes_alone_is_never_taken_for_two() {
    let sandbox = Sandbox::new();
    let site = copied(&sandbox);
    sandbox.ok("first", &["request", "sy"]);
    // Old and new letters, heard over and over and in any order.
    for stick in ["sy", "old", "sx", "sy", "old"] {
        let run = sandbox.run("cafe", &["sites", stick]);
        assert!(run.code == Some(0) && !run.stderr.contains("machines"), "{run:?}");
    }
    let run = sandbox.run("cafe", &["--offline", "sync", "sx", "--site", &site]);
    assert!(run.code == Some(0) && !run.stderr.contains("machines"), "{run:?}");
}

#[test]
fn forgetting_a_site_ends_the_doubt() {
    let sandbox = Sandbox::new();
    let site = copied(&sandbox);
    ask_as_second(&sandbox);
    sandbox.ok("cafe", &["--offline", "sync", "sy"]);
    sandbox.ok("cafe", &["sites", "--forget", &site]);
    // The keeper of the copy did as the warning said: it is a site of its own now.
    fs::remove_file(sandbox.path("second/site.toml")).unwrap();
    let (_, request) = sandbox.json("second", &["request", "sy", "book"]);
    assert_ne!(request["site"].as_str(), Some(site.as_str()));
    let run = sandbox.run("cafe", &["--offline", "sync", "sx"]);
    assert!(run.code == Some(0) && !run.stderr.contains("machines"), "{run:?}");
}
