//! A sample of every released format that takes more than one stick: a set with parity, letters, couriers.
//!
//! A sample is made once, when a format is released, and never again:
//!
//! ```text
//! LOCALML_SAMPLE=1.1 cargo test --release --test suite set_samples::a_new_sample -- --ignored
//! ```
//!
//! makes `tests/data/sets/1.1`: `one` and `two`, a set of two sticks of which the second has a request and
//! a receipt; `courier`, a stick that a courier signed; `home`, a site that imported it. All keys are
//! thrown away.

use std::fs;
use std::path::{Path, PathBuf};

use localml::digest::Sha256;
use serde_json::{Value, json};

use crate::samples::{check_files, copy_of, facts, samples};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::files_in;

const LEAFLET: &str = "# Boil the water\n\nBoil it for one minute.\n";

/// Imports both sticks of a set, in this order, into a home that knows nothing.
fn import_both(sandbox: &Sandbox, order: [&str; 2], facts: &Value) -> Value {
    let fingerprint = facts["fingerprint"].as_str().unwrap();
    let mut last = Value::Null;
    for stick in order {
        let args = ["--offline", "import", stick, "--fingerprint", fingerprint, "--accept-stale"];
        last = sandbox.json("site", &args).1;
        assert_eq!(last["remarks"].as_array().map(Vec::len), Some(0), "{last}");
    }
    last
}

/// The files of a stick's bundle whose names begin so.
fn volumes(stick: &Path, first: &str) -> Vec<PathBuf> {
    let mut files = files_in(&stick.join("LOCALML/B"));
    files.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(first) && name.ends_with("TAR")
    });
    files
}

#[test]
fn every_set_ever_released_imports_in_either_order() {
    for sample in samples("sets") {
        for order in [["one", "two"], ["two", "one"]] {
            let (sandbox, facts) = (Sandbox::new(), facts(&sample));
            copy_of(&sandbox, &sample, "");
            let report = import_both(&sandbox, order, &facts);
            assert!(report["incomplete"].as_array().unwrap().is_empty(), "{report}");
            check_files(&sandbox, "site", &facts);
            for stick in order {
                sandbox.ok("site", &["stick", "verify", stick]);
            }
        }
    }
}

#[test]
fn the_parity_of_every_set_ever_released_makes_up_for_a_lost_volume() {
    for sample in samples("sets") {
        let sticks = ["one", "two"].map(|stick| sample.join(stick));
        let parity: usize = sticks.iter().map(|stick| volumes(stick, "P").len()).sum();
        assert_eq!(parity, 1, "the sample has one parity volume");
        let data = sticks.iter().flat_map(|stick| volumes(stick, "V"));
        for lost in data {
            let (sandbox, facts) = (Sandbox::new(), facts(&sample));
            copy_of(&sandbox, &sample, "");
            fs::remove_file(sandbox.path(lost.strip_prefix(&sample).unwrap())).unwrap();
            let fingerprint = facts["fingerprint"].as_str().unwrap();
            for stick in ["one", "two"] {
                let args = ["--offline", "import", stick, "--fingerprint", fingerprint, "--accept-stale"];
                sandbox.run("site", &args);
            }
            check_files(&sandbox, "site", &facts);
        }
    }
}

#[test]
fn the_letters_of_every_version_ever_released_are_read() {
    for sample in samples("sets") {
        let sandbox = Sandbox::new();
        copy_of(&sandbox, &sample, "");
        let (code, known) = sandbox.json("cafe", &["sites", "two"]);
        assert_eq!((code, known["remarks"].as_array().map(Vec::len)), (Some(0), Some(0)), "{known}");
        let site = &known["sites"][0];
        assert_eq!(site["label"], "Clinic", "{known}");
        assert_eq!(site["packages"].as_array().map(Vec::len), Some(3), "the receipt: {known}");
        // The receipt is younger than the request, which asked for a package that nobody has.
        let request = files_in(&sandbox.path("two/LOCALML/REQ")).pop().unwrap();
        let request = localml::bundle::Request::open(&request).unwrap();
        assert_eq!(request.wants.len(), 1);
    }
}

#[test]
fn what_couriers_ever_signed_comes_in_and_stays_labelled() {
    for sample in samples("sets") {
        let (sandbox, facts) = (Sandbox::new(), facts(&sample));
        copy_of(&sandbox, &sample, "");
        let courier = facts["courier"].as_str().unwrap();
        let (code, report) =
            sandbox.json("new-site", &["--offline", "import", "courier", "--courier", courier]);
        assert_eq!(code, Some(0), "{report}");
        // The other home imported it when the sample was made: its record has format 2.
        for home in ["new-site", "home"] {
            let path = sandbox.ok(home, &["path", "leaflet"]);
            assert_eq!(fs::read_to_string(path.trim()).unwrap(), LEAFLET);
            assert!(sandbox.ok(home, &["list"]).contains("courier kofi"));
            sandbox.ok(home, &["verify", "leaflet"]);
        }
        let record: Value =
            serde_json::from_slice(&fs::read(sample.join("home/installed/leaflet.json")).unwrap()).unwrap();
        assert!(record["format"].as_u64() >= Some(2), "{record}");
        // The courier is remembered there: the same stick needs no word.
        sandbox.ok("home", &["--offline", "import", "courier"]);
    }
}

#[test]
#[ignore = "makes a sample of a newly released format; it is run once a release, by hand"]
fn a_new_sample() {
    let name = std::env::var("LOCALML_SAMPLE").expect("LOCALML_SAMPLE names the new sample");
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sets").join(name);
    assert!(!place.exists(), "a sample is never made again");
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    let files: Vec<(String, Vec<u8>)> =
        (1..=3).map(|seed| (format!("map-{seed}"), noise(seed, 3000))).collect();
    for (package, bytes) in &files {
        publisher.add(package, "1.0.0", &[("map.bin", bytes)]);
    }
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    for folder in ["one", "two", "courier"] {
        fs::create_dir(sandbox.path(folder)).unwrap();
    }
    sandbox.ok("cafe", &["fetch", "map-1", "map-2", "map-3"]);
    // One map a volume, two volumes on the first stick, one and the parity on the second.
    for (stick, room, code) in [("one", "1260kB", 8), ("two", "1400kB", 0)] {
        let spread = ["export", stick, "--spread", "--parity", "10%", "--volume-size", "5kB", "--room", room];
        let run = sandbox.run("cafe", &[&["--offline"], &spread[..]].concat());
        assert_eq!(run.code, Some(code), "{run:?}");
    }
    sandbox.ok("site", &["--offline", "request", "two", "map-4", "--name", "Clinic"]);
    for stick in ["one", "two"] {
        let args = ["--offline", "import", stick, "--fingerprint", &publisher.fingerprint()];
        sandbox.run("site", &args);
    }
    let leaflet = sandbox.write("leaflet.md", LEAFLET);
    sandbox.ok("kofi", &["adopt", leaflet.to_str().unwrap(), "--name", "leaflet", "--kind", "knowledge"]);
    sandbox.ok("kofi", &["--offline", "export", "courier", "leaflet", "--sign=kofi"]);
    let (_, courier) = sandbox.json("kofi", &["courier", "show"]);
    let courier = courier["fingerprint"].as_str().unwrap();
    sandbox.ok("home", &["--offline", "import", "courier", "--courier", courier]);
    let file = |(package, bytes): &(String, Vec<u8>)| json!({"package": package, "path": "map.bin", "sha256": Sha256::of(bytes)});
    let facts = json!({
        "written_by": sandbox.ok("site", &["--version"]).trim(),
        "fingerprint": publisher.fingerprint(),
        "courier": courier,
        "files": files.iter().map(file).collect::<Vec<_>>(),
    });
    sandbox.write("SAMPLE.JSON", format!("{}\n", serde_json::to_string_pretty(&facts).unwrap()));
    for part in ["one", "two", "courier", "home", "SAMPLE.JSON"] {
        let from = sandbox.path(part);
        let files = if from.is_dir() { files_in(&from) } else { vec![from] };
        for file in files {
            let copied = place.join(file.strip_prefix(sandbox.path("")).unwrap());
            fs::create_dir_all(copied.parent().unwrap()).unwrap();
            fs::copy(&file, copied).unwrap();
        }
    }
}
