//! Sticks on which a write was cut off, or that nothing was exported to yet: what each command makes of them.

use std::fs;

use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::files_in;

/// A registry `ngo` with `book` (3 MiB); the cafe has fetched it, and an empty stick is there.
fn cafe(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &noise(1, 3 << 20))]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "book"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    publisher
}

#[test]
fn sync_writes_anew_what_a_power_cut_emptied_or_cut_short() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    let sync = ["--offline", "sync", "stick", "book"];
    sandbox.ok("cafe", &sync);
    let (code, again) = sandbox.json("cafe", &sync);
    assert_eq!((code, again["brought"].as_array().unwrap().len()), (Some(0), 1), "{again}");
    for length in [0, 70_000] {
        let mut volumes = files_in(&sandbox.path("stick/LOCALML/B"));
        volumes.retain(|path| path.ends_with("V0001.TAR"));
        fs::OpenOptions::new().write(true).open(&volumes[0]).unwrap().set_len(length).unwrap();
        let said = sandbox.ok("cafe", &["stick", "info", "stick"]);
        assert!(
            said.contains("0 of its 1 volumes lie here; the others are on other sticks, cut short"),
            "{length}: {said}"
        );
        let (code, report) = sandbox.json("cafe", &sync);
        assert_eq!((code, report["brought"].as_array().unwrap().len()), (Some(0), 0), "{length}: {report}");
        assert_eq!(report["packages"][0]["state"], "written", "{length}: {report}");
        assert!(report["stick_bytes"].as_u64() > Some(3 << 20), "{length}: {report}");
        let site = format!("site-{length}");
        publisher.introduce(&site, publisher.registry().to_str().unwrap());
        let (code, report) = sandbox.json(&site, &["--offline", "import", "stick"]);
        assert_eq!((code, report["installed"].as_array().unwrap().len()), (Some(0), 1), "{length}: {report}");
        // Its receipt would make the next stick one for this site alone, which has the book.
        fs::remove_dir_all(sandbox.path("stick/LOCALML/RCP")).unwrap();
    }
}

/// Removes both slots of the commit record, as a first export that was cut off leaves the stick.
fn forget_record(sandbox: &Sandbox) {
    for slot in ["STICK.A", "STICK.B"] {
        let _ = fs::remove_file(sandbox.path("stick/LOCALML").join(slot));
    }
}

#[test]
fn where_a_first_export_left_no_registry_to_compare_with_no_fingerprint_is_called_wrong() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    let [set] = &files_in(&sandbox.path("stick/LOCALML/TRUST"))[..] else { panic!("one set") };
    forget_record(&sandbox);
    fs::write(set, b"").unwrap();
    let import = ["--offline", "import", "stick", "--fingerprint", &publisher.fingerprint()];
    let said = sandbox.run("site", &import).failed_with(4);
    assert!(said.contains("the rest of an export that was cut off"), "{said}");
    assert!(said.contains("export to the stick again") && !said.contains("do not go on"), "{said}");
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    sandbox.ok("site", &import);
    let stranger = ["--offline", "import", "stick", "--fingerprint", &"0".repeat(64)];
    let said = sandbox.run("other-site", &stranger).failed_with(7);
    assert!(said.contains("do not go on"), "what does not agree is still told: {said}");
}

#[test]
fn trust_files_of_zeros_are_no_empty_set_when_the_commit_record_is_damaged() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    let [set] = &files_in(&sandbox.path("stick/LOCALML/TRUST"))[..] else { panic!("one set") };
    let size_bytes = set.metadata().unwrap().len() as usize;
    fs::write(set, vec![0; size_bytes]).unwrap();
    fs::write(sandbox.path("stick/LOCALML/STICK.A"), vec![0; 400]).unwrap();
    let import = ["--offline", "import", "stick", "--fingerprint", &publisher.fingerprint()];
    let said = sandbox.run("site", &import).failed_with(7);
    assert!(said.contains("TRUST/") && said.contains("is damaged"), "{said}");
    assert!(said.contains("export to the stick again") && !said.contains("do not go on"), "{said}");
}

#[test]
fn a_stick_with_nothing_but_a_request_is_as_it_should_be() {
    let sandbox = Sandbox::new();
    let _publisher = cafe(&sandbox);
    sandbox.ok("site", &["request", "stick", "book"]);
    let said = sandbox.ok("site", &["stick", "verify", "stick"]);
    assert!(said.contains("nothing was exported to it yet; 1 request"), "{said}");
    let said = sandbox.ok("site", &["stick", "info", "stick"]);
    assert!(said.contains("1 request;") && !said.contains("commit record"), "{said}");
    let said = sandbox.run("site", &["--offline", "import", "stick"]).failed_with(3);
    assert!(said.contains("carries no packages yet, only 1 request"), "{said}");
    assert!(said.contains("localml sync DIR") && !said.contains("still plugged in"), "{said}");
    sandbox.ok("cafe", &["--offline", "sync", "stick"]);
    assert!(sandbox.ok("site", &["stick", "verify", "stick"]).contains("all as written"));
    // A request that was cut off is told, and nothing else is wrong.
    forget_record(&sandbox);
    for folder in ["B", "TRUST"] {
        fs::remove_dir_all(sandbox.path("stick/LOCALML").join(folder)).unwrap();
    }
    for letter in files_in(&sandbox.path("stick/LOCALML/REQ")) {
        fs::write(letter, b"").unwrap();
    }
    let run = sandbox.run("site", &["stick", "verify", "stick"]);
    assert!(run.code == Some(4) && run.stdout.contains("REQ/"), "{run:?}");
}

#[test]
fn an_empty_folder_on_a_stick_is_nothing_found_and_no_damage() {
    let sandbox = Sandbox::new();
    // Also what vfat shows of a stick that was pulled out: it must not look like success.
    fs::create_dir_all(sandbox.path("stick/LOCALML")).unwrap();
    let said = sandbox.run("site", &["stick", "verify", "stick"]).failed_with(3);
    assert!(said.contains("no record of any") && said.contains("still plugged in"), "{said}");
    assert!(!said.contains("damaged"), "{said}");
}
