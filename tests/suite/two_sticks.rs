//! Sticks of different ages and of different publishers at one site: nothing goes back, nothing is confused.

use std::fs;

use localml::bundle::{self, ExportOptions, Outgoing, Plan, TrustFile};
use localml::progress::Silent;

use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::{files_in, flip};

/// The cafe writes stick `old`, then the publisher publishes again, and it writes stick `new`.
fn two_sticks(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n")]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "book", "note"]);
    for stick in ["old", "new"] {
        fs::create_dir(sandbox.path(stick)).unwrap();
        sandbox.ok("cafe", &["--offline", "export", stick]);
        publisher.add("book", "2.0.0", &[("chapter.md", b"# A better chapter\n")]);
        publisher.publish();
        sandbox.ok("cafe", &["update"]);
        sandbox.ok("cafe", &["fetch", "book"]);
    }
    publisher
}

fn floor(sandbox: &Sandbox) -> String {
    let record = fs::read_to_string(sandbox.path("site/registries/ngo/registry.toml")).unwrap();
    record.lines().find_map(|line| line.strip_prefix("timestamp = ")).unwrap().to_owned()
}

#[test]
fn an_older_stick_after_a_newer_one_brings_packages_and_no_older_index() {
    let sandbox = Sandbox::new();
    let publisher = two_sticks(&sandbox);
    let accept = publisher.fingerprint();
    sandbox.ok("site", &["--offline", "import", "new", "note", "--fingerprint", &accept]);
    let before = floor(&sandbox);
    assert_eq!(before, "2");
    let (code, report) = sandbox.json("site", &["--offline", "import", "old"]);
    assert_eq!(
        (code, report["registries"][0]["outcome"].as_str()),
        (Some(0), Some("older-ignored")),
        "{report}"
    );
    assert_eq!(floor(&sandbox), before);
    // Judged by the newest index, which still names the old stick's book.
    assert!(sandbox.ok("site", &["list"]).contains("1.0.0"));
    let (_, info) = sandbox.json("site", &["info", "book"]);
    assert_eq!(info["manifest"]["package"]["version"], "2.0.0", "the index is the newer one");
    sandbox.ok("site", &["--offline", "import", "new"]);
    assert!(sandbox.ok("site", &["list"]).contains("2.0.0"));
    sandbox.ok("site", &["--offline", "import", "old"]);
    assert!(sandbox.ok("site", &["list"]).contains("2.0.0"), "no version goes back by itself");
}

#[test]
fn a_torn_floor_is_healed_from_a_stick_that_is_new_enough_and_from_no_older_one() {
    let sandbox = Sandbox::new();
    let publisher = two_sticks(&sandbox);
    sandbox.ok("site", &["--offline", "import", "new", "--fingerprint", &publisher.fingerprint()]);
    let files = || files_in(&sandbox.path("site/registries/ngo"));
    flip(files().iter().find(|path| path.ends_with("timestamp.json")).unwrap(), 100);
    let said = sandbox.run("site", &["--offline", "install", "note"]).failed_with(7);
    assert!(
        said.contains("`timestamp.json`") && said.contains("`localml import DIR` from a stick"),
        "{said}"
    );
    let said = sandbox.run("site", &["--offline", "import", "old"]).failed_with(7);
    assert!(said.contains("older") && said.contains("version 1, after version 2"), "{said}");
    assert!(said.contains("a stick that is as new"), "{said}");
    sandbox.ok("site", &["--offline", "import", "new"]);
    assert_eq!(floor(&sandbox), "2");
    // The record itself, which holds the floors: what its hint says works from a stick too.
    fs::write(sandbox.path("site/registries/ngo/registry.toml"), "format = 1\nname = \"ng").unwrap();
    let said = sandbox.run("site", &["--offline", "import", "new"]).failed_with(7);
    assert!(said.contains("`localml registry add ngo DIR --fingerprint"), "{said}");
    let fingerprint = &publisher.fingerprint()[..24];
    let add = |stick| ["--offline", "registry", "add", "ngo", stick, "--fingerprint", fingerprint];
    let said = sandbox.run("site", &add("old")).failed_with(7);
    assert!(said.contains("older"), "{said}");
    sandbox.ok("site", &add("new"));
    assert_eq!(floor(&sandbox), "2");
    sandbox.ok("site", &["--offline", "import", "new"]);
}

#[test]
fn a_fingerprint_is_read_aloud_in_six_groups_and_no_less_is_enough() {
    let sandbox = Sandbox::new();
    let publisher = two_sticks(&sandbox);
    let full = publisher.fingerprint();
    let groups: Vec<String> =
        full[..24].chars().collect::<Vec<_>>().chunks(4).map(|group| group.iter().collect()).collect();
    let spoken = groups.join(" ");
    let said = sandbox.run("site", &["--offline", "import", "new"]).failed_with(7);
    assert!(said.contains(&spoken) && said.contains(&format!("in full {full}")), "{said}");
    assert!(said.contains(&format!("`localml import new --fingerprint {}`", &full[..24])), "{said}");
    let (_, value) = sandbox.json("site", &["--offline", "import", "new"]);
    assert!(value["error"]["message"].as_str().unwrap().contains(&full), "{value}");
    let import = |told: &str| sandbox.run("site", &["--offline", "import", "new", "--fingerprint", told]);
    import(&full[..23]).failed_with(2);
    let last = if full.as_bytes()[23] == b'0' { "1" } else { "0" };
    let said = import(&format!("{}{last}", &full[..23])).failed_with(7);
    assert!(said.contains("no registry on this stick has the fingerprint given"), "{said}");
    assert_eq!(import(&spoken.to_uppercase()).code, Some(0));
    // All the older ways stay.
    for told in [full.clone(), groups.join("-")] {
        let registry = publisher.registry();
        let args = ["registry", "add", "ngo", registry.to_str().unwrap(), "--fingerprint", &told];
        sandbox.ok("other", &args);
    }
    // What is accepted by a part is recorded whole.
    let record = fs::read_to_string(sandbox.path("site/registries/ngo/registry.toml")).unwrap();
    assert!(record.contains(&full), "{record}");
    let signed =
        sandbox.ok("desk", &["registry", "sign", "publisher/ngo/registry", "--keys", "publisher/ngo/keys"]);
    assert!(signed.contains(&spoken) && !signed.contains(&full), "{signed}");
}

#[test]
fn two_publishers_of_one_name_live_side_by_side() {
    let (sandbox, elsewhere) = (Sandbox::new(), Sandbox::new());
    let known = two_sticks(&sandbox);
    sandbox.ok("site", &["--offline", "import", "new", "--fingerprint", &known.fingerprint()]);
    let other = Publisher::new(&elsewhere, "ngo");
    other.add("poem", "1.0.0", &[("poem.md", b"# A poem\n")]);
    other.publish();
    other.introduce("cafe", other.registry().to_str().unwrap());
    elsewhere.ok("cafe", &["fetch", "poem"]);
    let stick = elsewhere.path("stick");
    fs::create_dir(&stick).unwrap();
    let stick = stick.to_str().unwrap();
    elsewhere.ok("cafe", &["export", stick]);
    let said = sandbox.run("site", &["--offline", "import", stick]).failed_with(7);
    let command =
        format!("localml registry add OTHER-NAME {stick} --fingerprint {}", &other.fingerprint()[..24]);
    assert!(said.contains(&command), "{said}");
    // Accepting it under the taken name is refused, with the same way out.
    let accept = ["--offline", "import", stick, "--fingerprint", &other.fingerprint()];
    assert!(sandbox.run("site", &accept).failed_with(2).contains(&command));
    // The hint works as it stands.
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    let args: Vec<&str> =
        args.into_iter().map(|arg| if arg == "OTHER-NAME" { "ngo-two" } else { arg }).collect();
    sandbox.ok("site", &args);
    sandbox.ok("site", &["--offline", "import", stick]);
    assert!(sandbox.ok("site", &["list"]).contains("poem"));
    sandbox.ok("site", &["--offline", "import", "new"]);
}

#[test]
fn a_stick_cannot_bring_a_registry_that_is_called_like_the_catalog() {
    let sandbox = Sandbox::new();
    let publisher = two_sticks(&sandbox);
    let file = |path: std::path::PathBuf| {
        let name = format!("catalog/{}", path.file_name().unwrap().to_str().unwrap());
        TrustFile { name: name.parse().unwrap(), bytes: fs::read(path).unwrap() }
    };
    let trust =
        files_in(&sandbox.path("cafe/registries/ngo")).into_iter().filter(|path| !path.ends_with(".lock"));
    let outgoing = Outgoing { trust: trust.map(file).collect(), ..Outgoing::default() };
    let stick = sandbox.path("forged");
    fs::create_dir(&stick).unwrap();
    let plan = Plan::new(&stick, outgoing, &ExportOptions::default()).unwrap();
    bundle::write(&stick, plan, &Silent).unwrap();
    let accept = ["--offline", "import", "forged", "--fingerprint", &publisher.fingerprint()];
    let said = sandbox.run("site", &accept).failed_with(2);
    assert!(
        said.contains("another registry is called `catalog` here") && said.contains("OTHER-NAME"),
        "{said}"
    );
    assert!(!sandbox.path("site/registries/catalog").exists());
    let args =
        ["--offline", "registry", "add", "catalog", "forged", "--fingerprint", &publisher.fingerprint()];
    sandbox.run("site", &args).failed_with(2);
}

#[test]
fn a_forged_stick_installs_no_byte_that_nobody_signed() {
    let sandbox = Sandbox::new();
    let publisher = two_sticks(&sandbox);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    let forged = |change: &dyn Fn(&mut serde_json::Value)| {
        let _ = fs::remove_dir_all(sandbox.path("forged"));
        copy(&sandbox.path("new"), &sandbox.path("forged"));
        for slot in ["STICK.A", "STICK.B"] {
            let _ = fs::remove_file(sandbox.path(format!("forged/LOCALML/{slot}")));
        }
        let files = files_in(&sandbox.path("forged/LOCALML/B"));
        let description = files.iter().find(|path| path.ends_with("BUNDLE.JSON")).unwrap();
        let mut value = serde_json::from_slice(&fs::read(description).unwrap()).unwrap();
        change(&mut value);
        fs::write(description, value.to_string()).unwrap();
        sandbox.run("site", &["--offline", "import", "forged"])
    };
    let evil = localml::digest::Sha256::of(b"evil bytes").to_string();
    // Another digest for a signed name.
    let run = forged(&|value| {
        for item in value["items"].as_array_mut().unwrap() {
            item["files"][0]["sha256"] = evil.clone().into();
        }
    });
    assert_eq!(run.code, Some(7), "{run:?}");
    assert!(run.stdout.contains("the registry `ngo` describes other bytes under this name"), "{run:?}");
    // A name that no registry has, and one that claims the catalog's trust.
    for registry in [serde_json::Value::Null, "catalog".into(), "ngo".into()] {
        let run = forged(&|value| {
            for item in value["items"].as_array_mut().unwrap() {
                let prefix = registry.as_str().map(|name| format!("{name}/")).unwrap_or_default();
                item["package"] = format!("{prefix}evil@1.0.0:plain").into();
            }
        });
        assert!(run.code == Some(7) && run.stdout.contains("no registry known here names it"), "{run:?}");
    }
    // What it calls unsigned needs a word, whatever its description says.
    let run = forged(&|value| {
        let manifest = serde_json::json!({
            "package": {"name": "note", "version": "1.0.0", "kind": "knowledge", "title": "T", "license": "MIT"},
            "variant": [{"id": "plain", "file": [{"path": "note.txt", "size_bytes": 10, "sha256": evil}]}],
        });
        for item in value["items"].as_array_mut().unwrap() {
            item["unsigned"] = manifest.clone();
        }
    });
    assert!(run.code == Some(7) && run.stdout.contains("nobody signed it"), "{run:?}");
    assert!(sandbox.ok("site", &["list"]).contains("nothing is installed"));
    assert!(!sandbox.path("site/blobs").exists() || files_in(&sandbox.path("site/blobs")).is_empty());
    // The honest stick is none the worse for it.
    sandbox.ok("site", &["--offline", "import", "new"]);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for file in files_in(from) {
        let copied = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(copied.parent().unwrap()).unwrap();
        fs::copy(file, copied).unwrap();
    }
}

/// A publisher of one version of `map`, and a stick of the same name that carries it.
fn map<'a>(sandbox: &'a Sandbox, name: &str, version: &str) -> Publisher<'a> {
    let publisher = Publisher::new(sandbox, name);
    publisher.add("map", version, &[("map.txt", format!("the map of {name}").as_bytes())]);
    publisher.publish();
    let cafe = format!("cafe-{name}");
    publisher.introduce(&cafe, publisher.registry().to_str().unwrap());
    sandbox.ok(&cafe, &["fetch", "map"]);
    let stick = format!("stick-{name}");
    fs::create_dir(sandbox.path(&stick)).unwrap();
    sandbox.ok(&cafe, &["export", &stick]);
    publisher
}

#[test]
fn a_package_of_another_publisher_takes_a_place_only_when_it_is_asked_for_by_registry() {
    let sandbox = Sandbox::new();
    for (publisher, home) in
        [(map(&sandbox, "one", "1.0.0"), "site"), (map(&sandbox, "two", "99.0.0"), "site")]
    {
        publisher.introduce(home, publisher.registry().to_str().unwrap());
    }
    let here = || fs::read_to_string(sandbox.ok("site", &["path", "map"]).trim()).unwrap();
    sandbox.ok("site", &["--offline", "import", "stick-one"]);
    for args in [&["map"][..], &[]] {
        let run = sandbox.run("site", &[&["--offline", "import", "stick-two"], args].concat());
        assert_eq!(run.code, Some(7), "{run:?}");
        let said = "`one` brought the `map` that is here; `localml import DIR two/map` takes the other";
        assert!(run.stdout.contains(said), "{run:?}");
    }
    assert_eq!(here(), "the map of one");
    assert_eq!(sandbox.run("site", &["--offline", "import", "stick-two", "one/map"]).code, Some(7));
    sandbox.ok("site", &["--offline", "import", "stick-two", "two/map"]);
    assert_eq!(here(), "the map of two");
    // And back, although it is an older number.
    sandbox.ok("site", &["--offline", "import", "stick-one", "one/map"]);
    assert_eq!(here(), "the map of one");
}

#[test]
fn one_name_and_version_with_two_meanings_is_to_be_qualified() {
    let sandbox = Sandbox::new();
    for publisher in [map(&sandbox, "one", "1.0.0"), map(&sandbox, "two", "1.0.0")] {
        publisher.introduce("site", publisher.registry().to_str().unwrap());
    }
    let run = sandbox.run("site", &["--offline", "import", "stick-two"]);
    assert!(run.code == Some(7) && run.stdout.contains("`localml import DIR two/map`"), "{run:?}");
    sandbox.ok("site", &["--offline", "import", "stick-two", "two/map"]);
    sandbox.ok("site", &["--offline", "import", "stick-two"]);
}

#[test]
fn a_record_of_a_later_localml_is_not_written_over() {
    let sandbox = Sandbox::new();
    let publisher = two_sticks(&sandbox);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    let record = sandbox.path("site/registries/ngo/registry.toml");
    fs::write(&record, "format = 2\nall = \"new\"\n").unwrap();
    let args = ["--offline", "registry", "add", "ngo", "new", "--fingerprint", &publisher.fingerprint()];
    let said = sandbox.run("site", &args).failed_with(1);
    assert!(said.contains("format 2") && said.contains("a newer localml is needed"), "{said}");
    assert!(fs::read_to_string(&record).unwrap().starts_with("format = 2"));
}

#[test]
fn a_hint_quotes_a_folder_with_a_space() {
    let sandbox = Sandbox::new();
    two_sticks(&sandbox);
    fs::rename(sandbox.path("new"), sandbox.path("my stick")).unwrap();
    let said = sandbox.run("site", &["--offline", "import", "my stick"]).failed_with(7);
    assert!(said.contains("`localml import \"my stick\" --fingerprint"), "{said}");
}

#[test]
fn a_newer_root_with_the_same_signing_keys_opens_no_way_back() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    copy(&publisher.registry(), &sandbox.path("back"));
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    // The root's key is replaced, those of the lists stay; someone kept the older lists.
    publisher.rotate(&["--replace", "root"]);
    fs::copy(publisher.registry().join("2.root.json"), sandbox.path("back/2.root.json")).unwrap();
    fs::write(sandbox.path("site/registries/ngo/registry.toml"), "format = 1\nname = \"ng").unwrap();
    let add = |folder: &str| {
        sandbox.run("site", &["registry", "add", "ngo", folder, "--fingerprint", &publisher.fingerprint()])
    };
    let said = add("back").failed_with(7);
    assert!(said.contains("version 1, after version 2"), "{said}");
    assert_eq!(add(publisher.registry().to_str().unwrap()).code, Some(0));
}
