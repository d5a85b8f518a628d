//! Lost, stolen and replaced keys of a publisher, and sites that follow from a stick alone.

use std::fs;

use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

/// A registry `ngo` with one package, which the cafe has fetched and the site knows by its first root.
fn introduced<'a>(sandbox: &'a Sandbox, init: &[&str]) -> Publisher<'a> {
    let publisher = Publisher::with(sandbox, "ngo", init);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    for home in ["cafe", "site"] {
        publisher.introduce(home, publisher.registry().to_str().unwrap());
    }
    sandbox.ok("cafe", &["fetch", "note"]);
    publisher
}

/// The cafe goes online, and brings the site a stick.
fn stick_arrives(sandbox: &Sandbox, stick: &str) -> serde_json::Value {
    sandbox.ok("cafe", &["update"]);
    sandbox.write(format!("{stick}/.keep"), "");
    sandbox.ok("cafe", &["--offline", "export", stick]);
    let (code, report) = sandbox.json("site", &["--offline", "import", stick]);
    assert_eq!(code, Some(0), "{report}");
    report
}

fn root_version(sandbox: &Sandbox, home: &str) -> String {
    let record = fs::read_to_string(sandbox.path(format!("{home}/registries/ngo/registry.toml"))).unwrap();
    record.lines().find_map(|line| line.strip_prefix("root = ")).unwrap().to_owned()
}

#[test]
fn one_of_three_root_keys_is_lost_and_the_others_replace_it() {
    let sandbox = Sandbox::new();
    let publisher = introduced(&sandbox, &["--root-keys", "3", "--threshold", "2"]);
    fs::remove_file(publisher.keys().join("root-2.pk8")).unwrap();
    let said = publisher.rotate(&["--replace", "missing"]);
    assert!(said.contains("root 2: 2 of 3 root keys") && said.contains("root-v2.pk8"), "{said}");
    publisher.add("note", "1.1.0", &[("note.txt", b"a newer note")]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "note"]);
    let report = stick_arrives(&sandbox, "stick");
    assert_eq!(report["registries"][0]["outcome"], "newer", "{report}");
    assert_eq!(root_version(&sandbox, "site"), "2");
    assert_eq!(fs::read(sandbox.ok("site", &["path", "note"]).trim()).unwrap(), b"a newer note");
    // The other two, one of them new, can do it again; the fingerprint is still that of the first root.
    fs::remove_file(publisher.keys().join("root-1.pk8")).unwrap();
    publisher.rotate(&["--replace", "missing"]);
    publisher.publish();
    stick_arrives(&sandbox, "stick");
    assert_eq!(root_version(&sandbox, "site"), "3");
    publisher.introduce("newcomer", publisher.registry().to_str().unwrap());
    assert_eq!(root_version(&sandbox, "newcomer"), "3");
}

#[test]
fn with_two_of_three_root_keys_lost_nothing_is_replaced() {
    let sandbox = Sandbox::new();
    let publisher = introduced(&sandbox, &["--root-keys", "3", "--threshold", "2"]);
    let kept = sandbox.path("drawer");
    fs::create_dir(&kept).unwrap();
    for key in ["root-1.pk8", "root-3.pk8"] {
        fs::rename(publisher.keys().join(key), kept.join(key)).unwrap();
    }
    let said = sandbox.run("desk", &publisher.rotation(&["--replace", "missing"])).failed_with(1);
    assert!(said.contains("needs 2 of the 3 keys that `1.root.json` names") && said.contains("1 of them"));
    assert!(said.contains("localml registry init"), "{said}");
    assert!(!publisher.registry().join("2.root.json").exists());
    assert_eq!(fs::read_dir(publisher.keys()).unwrap().count(), 3, "no key was made");
    // What needs no root key goes on.
    publisher.publish();
    // A key that lies elsewhere counts; a torn one is named.
    fs::write(kept.join("root-3.pk8"), b"torn").unwrap();
    let drawer = ["--keys", "drawer", "--replace", "missing"];
    assert!(publisher.rotate(&drawer).contains("root 2"));
    fs::write(publisher.keys().join("root-2.pk8"), b"torn").unwrap();
    fs::remove_file(publisher.keys().join("root-v2.pk8")).unwrap();
    let said = sandbox.run("desk", &publisher.rotation(&drawer)).failed_with(1);
    assert!(said.contains("root-3.pk8") && said.contains("is not a PKCS#8 key"), "{said}");
}

#[test]
fn a_site_goes_from_root_1_to_root_7_with_one_stick() {
    let sandbox = Sandbox::new();
    let publisher = introduced(&sandbox, &[]);
    let stolen = publisher.keys().join("targets.pk8");
    let steps: [&[&str]; 6] = [
        &["--replace", "all"],
        &["--root-keys", "3", "--threshold", "2"],
        &["--replace", "root"],
        &["--replace", "timestamp"],
        &["--replace", "targets", "--threshold", "3"],
        &["--root-keys", "1", "--threshold", "1"],
    ];
    for step in steps {
        publisher.rotate(step);
        publisher.publish();
    }
    assert_eq!(root_version(&sandbox, "site"), "1");
    stick_arrives(&sandbox, "stick");
    assert_eq!((root_version(&sandbox, "cafe"), root_version(&sandbox, "site")), ("7".into(), "7".into()));
    sandbox.ok("site", &["verify"]);
    // Keys of the past sign nothing any more.
    let past = sandbox.path("past");
    fs::create_dir(&past).unwrap();
    fs::rename(stolen, past.join("targets.pk8")).unwrap();
    let registry = publisher.registry();
    let args = ["registry", "sign", registry.to_str().unwrap(), "--keys", "past"];
    assert!(sandbox.run("desk", &args).failed_with(1).contains("`7.root.json`"));
}

#[test]
fn a_rotation_that_makes_no_sense_says_so() {
    let sandbox = Sandbox::new();
    let publisher = introduced(&sandbox, &[]);
    let refuse = |args: &[&str]| sandbox.run("desk", &publisher.rotation(args)).failed_with(2);
    assert!(refuse(&[]).contains("--replace missing"));
    assert!(refuse(&["--replace", "missing"]).contains("nothing is to be replaced"));
    assert!(refuse(&["--root-keys", "2", "--threshold", "3"]).contains("3 of 2 root keys"));
    assert!(refuse(&["--replace", "all", "--new-keys", "publisher/ngo/registry/keys"]).contains("inside"));
    let said = sandbox.run("desk", &publisher.rotation(&["--replace", "nowhere.pk8"])).failed_with(1);
    assert!(said.contains("`nowhere.pk8` is not readable"), "{said}");
    assert!(!publisher.registry().join("2.root.json").exists());
    // A stolen key is named by its file.
    let stolen = publisher.keys().join("timestamp.pk8");
    let said = publisher.rotate(&["--replace", stolen.to_str().unwrap()]);
    assert!(said.contains("timestamp-v2.pk8") && said.contains("timestamp.pk8: it signs no more"), "{said}");
    publisher.publish();
}
