//! A sample of every released format, which every later version must read: sticks, and homes.
//!
//! A sample is made once, when a format is released, and never again:
//!
//! ```text
//! LOCALML_SAMPLE=1.1 cargo test --release --test suite samples::a_new_sample -- --ignored
//! ```
//!
//! makes `tests/data/sticks/1.1` and `tests/data/homes/1.1`. The keys that sign it are thrown away.

use std::fs;
use std::path::{Path, PathBuf};

use localml::digest::Sha256;
use serde_json::{Value, json};

use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::files_in;

const CHAPTER: &str = "# Keeping vaccines cold\n\nA vaccine refrigerator must stay between 2 and 8 degrees.\n\
    Check the thermometer twice a day. Write the temperature down. Check the thermometer again.\n";

/// The bytes of the file whose download the sample home broke off, and of the part that it has.
const LATE_BYTES: usize = 6000;
const LATE_CUT_BYTES: u64 = 4000;

pub(crate) fn samples(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(kind);
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no sample of {kind}");
    found
}

/// Copies a sample, so that the run can write where a keeper's could.
pub(crate) fn copy_of(sandbox: &Sandbox, sample: &Path, name: &str) -> PathBuf {
    for file in files_in(sample) {
        sandbox.write(Path::new(name).join(file.strip_prefix(sample).unwrap()), fs::read(&file).unwrap());
    }
    sandbox.path(name)
}

/// What the sample says of itself: the registry's fingerprint, and each file by its sha256.
pub(crate) fn facts(sample: &Path) -> Value {
    serde_json::from_slice(&fs::read(sample.join("SAMPLE.JSON")).unwrap()).unwrap()
}

/// Imports a stick into a home that knows nothing, with the fingerprint that the sample gives.
fn import(sandbox: &Sandbox, stick: &str, facts: &Value) -> (Option<i32>, Value) {
    let fingerprint = facts["fingerprint"].as_str().unwrap();
    sandbox.json("site", &["--offline", "import", stick, "--fingerprint", fingerprint, "--accept-stale"])
}

pub(crate) fn check_files(sandbox: &Sandbox, home: &str, facts: &Value) {
    for file in facts["files"].as_array().unwrap() {
        let text = |key: &str| file[key].as_str().unwrap();
        let path = sandbox.ok(home, &["path", text("package"), text("path")]);
        assert_eq!(Sha256::of_file(Path::new(path.trim())).unwrap().to_string(), text("sha256"), "{file}");
    }
    sandbox.ok(home, &["verify"]);
}

#[test]
fn every_stick_ever_released_imports() {
    for sample in samples("sticks") {
        let (sandbox, facts) = (Sandbox::new(), facts(&sample));
        copy_of(&sandbox, &sample, "stick");
        let (code, report) = import(&sandbox, "stick", &facts);
        assert_eq!((code, report["remarks"].as_array().map(Vec::len)), (Some(0), Some(0)), "{report}");
        check_files(&sandbox, "site", &facts);
        sandbox.ok("site", &["stick", "verify", "stick"]);
    }
}

#[test]
fn a_sample_holds_no_key() {
    let samples = ["sticks", "homes", "sets"].map(samples).concat();
    for file in samples.iter().flat_map(|sample| files_in(sample)) {
        assert!(file.extension().is_none_or(|ending| ending != "pk8"), "{}", file.display());
        let bytes = fs::read(&file).unwrap();
        let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
        assert!(!has(b"PRIVATE KEY") && !has(b"secret"), "{}", file.display());
    }
}

#[test]
fn a_stick_of_a_later_minor_version_is_read() {
    let sample = samples("sticks").remove(0);
    let (sandbox, facts) = (Sandbox::new(), facts(&sample));
    let stick = copy_of(&sandbox, &sample, "stick");
    rewrite(&stick, "1.9", |description| {
        description["weather"] = json!({"rain": [1, 2, 3]});
        description["items"][0]["colour"] = "green".into();
        description["blobs"][0]["pieces"][0]["mood"] = Value::Null;
        description["volumes"][0]["shelf"] = 7.into();
    });
    let (code, report) = import(&sandbox, "stick", &facts);
    assert_eq!((code, report["remarks"].as_array().map(Vec::len)), (Some(0), Some(0)), "{report}");
    check_files(&sandbox, "site", &facts);
}

#[test]
fn a_stick_of_a_later_major_version_is_refused_by_name() {
    let sample = samples("sticks").remove(0);
    let sandbox = Sandbox::new();
    let stick = copy_of(&sandbox, &sample, "stick");
    rewrite(&stick, "2.0", |_| ());
    let said = sandbox.run("site", &["--offline", "import", "stick"]).failed_with(1);
    assert!(said.contains("`STICK.A` has format 2.0, and this localml reads formats up to 1.0"), "{said}");
    assert!(said.contains("hint: use the localml that wrote the stick, or a newer one"), "{said}");
}

#[test]
fn a_bundle_of_a_later_major_version_is_refused_by_name() {
    let sample = samples("sticks").remove(0);
    let (sandbox, facts) = (Sandbox::new(), facts(&sample));
    let stick = copy_of(&sandbox, &sample, "stick");
    rewrite(&stick, "1.0", |description| description["format"] = "2.0".into());
    let (code, report) = import(&sandbox, "stick", &facts);
    assert_eq!(code, Some(1), "{report}");
    let said = report.to_string();
    assert!(said.contains("BUNDLE.JSON` has format 2.0, and this localml reads formats up to 1.0"), "{said}");
}

/// Writes the commit record and every description as a later version might: with its number, and with
/// things that nobody knows yet. All digests hold again afterwards.
fn rewrite(stick: &Path, format: &str, change: impl Fn(&mut Value)) {
    let root = stick.join("LOCALML");
    let record = fs::read_to_string(root.join("STICK.A")).unwrap();
    let mut text = format!("localml stick {format}\nweather rain 3\n");
    for line in record.lines().skip(1).filter(|line| !line.starts_with("check ")) {
        let Some(path) = line.strip_prefix("file ").and_then(|line| line.splitn(3, ' ').nth(2)) else {
            text += &format!("{line}\n");
            continue;
        };
        if path.ends_with("BUNDLE.JSON") {
            let mut description: Value = serde_json::from_slice(&fs::read(root.join(path)).unwrap()).unwrap();
            description["format"] = if format.starts_with("2.") { "1.0".into() } else { format.into() };
            change(&mut description);
            fs::write(root.join(path), serde_json::to_vec(&description).unwrap()).unwrap();
        }
        let bytes = fs::read(root.join(path)).unwrap();
        text += &format!("file {} {} {path}\n", bytes.len(), Sha256::of(&bytes));
    }
    let check = Sha256::of(text.as_bytes());
    fs::write(root.join("STICK.A"), format!("{text}check {check}\n")).unwrap();
    let _ = fs::remove_file(root.join("STICK.B"));
}

#[test]
fn every_home_ever_released_opens() {
    for sample in samples("homes") {
        let (sandbox, facts) = (Sandbox::new(), facts(&sample));
        copy_of(&sandbox, &sample, "old");
        check_files(&sandbox, "old", &facts);
        let (code, list) = sandbox.json("old", &["list"]);
        assert_eq!((code, &list["packages"][0]["name"]), (Some(0), &json!("map")), "{list}");
        // The registry's record and its signed files serve again: the package is known and goes on a stick.
        let (code, info) = sandbox.json("old", &["--offline", "info", "tour"]);
        assert_eq!((code, &info["registry"]), (Some(0), &json!("ngo")), "{info}");
        fs::create_dir(sandbox.path("stick")).unwrap();
        sandbox.ok("old", &["--offline", "export", "stick", "tour"]);
        #[cfg(feature = "index")]
        {
            let (code, found) = sandbox.json("old", &["find", "vaccine refrigerator degrees"]);
            assert_eq!(code, Some(0), "{found}");
            assert!(found["passages"][0]["text"].as_str().unwrap().contains("between 2 and 8"), "{found}");
        }
    }
}

#[test]
fn a_download_that_an_older_version_broke_off_continues() {
    for sample in samples("homes") {
        let (sandbox, facts) = (Sandbox::new(), facts(&sample));
        let home = copy_of(&sandbox, &sample, "old");
        sandbox.write("served/late.bin", noise(3, LATE_BYTES));
        let server = HttpServer::serve(&sandbox.path("served"));
        let digest: Sha256 = facts["late_sha256"].as_str().unwrap().parse().unwrap();
        let wanted = localml::transfer::Wanted {
            name: "late.bin".into(),
            digest,
            size_bytes: LATE_BYTES as u64,
            sources: vec![format!("{}/late.bin", server.url()).parse().unwrap()],
            pieces: None,
            reuse: Vec::new(),
        };
        let client = localml::transfer::Client::new(localml::transfer::Options::default());
        let fetched = client.fetch(&wanted, &home.join("staging"), &localml::progress::Silent).unwrap();
        assert_eq!(fetched.staged.digest, digest);
        // What stood in the journal is not fetched again; at most one KiB before the cut did not yet.
        assert!(fetched.wire_bytes <= LATE_BYTES as u64 - LATE_CUT_BYTES + 1024, "{fetched:?}");
    }
}

#[test]
#[ignore = "makes a sample of a newly released format; it is run once a release, by hand"]
fn a_new_sample() {
    let name = std::env::var("LOCALML_SAMPLE").expect("LOCALML_SAMPLE names the new sample");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let (stick, home) = (data.join("sticks").join(&name), data.join("homes").join(&name));
    assert!(!stick.exists() && !home.exists(), "a sample is never made again");
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    let files: [(&str, &str, Vec<u8>); 2] =
        [("tour", "chapter.md", CHAPTER.into()), ("map", "map.bin", noise(2, 1500))];
    for (package, path, bytes) in &files {
        publisher.add(package, "1.0.0", &[(path, bytes)]);
    }
    publisher.add("late", "1.0.0", &[("late.bin", &noise(3, LATE_BYTES))]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("site", &format!("{}/", server.url()));
    sandbox.ok("site", &["install", "tour", "map"]);
    #[cfg(feature = "index")]
    sandbox.ok("site", &["index", "add", "tour", "--words-only"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok("site", &["--offline", "export", "stick"]);
    let late = Sha256::of(&noise(3, LATE_BYTES));
    let place = format!("blobs/{late}");
    server.queue_fault(&place, Fault::CutAfter(LATE_CUT_BYTES));
    server.set_fault(&place, Fault::Status(404));
    assert_ne!(sandbox.run("site", &["fetch", "late"]).code, Some(0));
    let file = |(package, path, bytes): &(&str, &str, Vec<u8>)| json!({"package": package, "path": path, "sha256": Sha256::of(bytes)});
    let facts = json!({
        "written_by": sandbox.ok("site", &["--version"]).trim(),
        "fingerprint": publisher.fingerprint(),
        "files": files.iter().map(file).collect::<Vec<_>>(),
        "late_sha256": late,
    });
    for (from, to) in [("stick", stick), ("site", home)] {
        for file in files_in(&sandbox.path(from)) {
            let place = to.join(file.strip_prefix(sandbox.path(from)).unwrap());
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(&file, place).unwrap();
        }
        fs::write(to.join("SAMPLE.JSON"), format!("{}\n", serde_json::to_string_pretty(&facts).unwrap()))
            .unwrap();
    }
}
