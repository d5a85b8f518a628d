//! Request, export of the difference, import, receipt: by the real program and with no network.

use std::fs;

use localml::bundle::{BundleError, half_blobs};
use localml::progress::Silent;
use serde_json::Value;

use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::{Desk, DiesAt, files_in};

/// A registry `ngo` with `book` (21 MiB and a chapter), `atlas` (6 MiB) and `note`; the cafe has all three.
fn cafe(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n"), ("map.bin", &noise(1, 21 << 20))]);
    publisher.add("atlas", "1.0.0", &[("atlas.bin", &noise(2, 6 << 20))]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "book", "atlas", "note"]);
    for folder in ["stick", "other-stick"] {
        fs::create_dir(sandbox.path(folder)).unwrap();
    }
    publisher
}

fn introduce(publisher: &Publisher<'_>, homes: &[&str]) {
    homes.iter().for_each(|home| publisher.introduce(home, publisher.registry().to_str().unwrap()));
}

fn names(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value["package"].as_str().or(value.as_str()).unwrap())
        .collect()
}

/// The bytes of all files on a stick but for its letters.
fn bytes_on(sandbox: &Sandbox, stick: &str) -> u64 {
    let files = files_in(&sandbox.path(stick));
    let is_letter = |path: &std::path::PathBuf| {
        let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        folder == "REQ" || folder == "RCP"
    };
    files.iter().filter(|path| !is_letter(path)).map(|path| path.metadata().unwrap().len()).sum()
}

/// The only bundle's description.
fn description(sandbox: &Sandbox, stick: &str) -> Value {
    let mut files = files_in(&sandbox.path(stick).join("LOCALML/B"));
    files.retain(|path| path.ends_with("BUNDLE.JSON"));
    assert_eq!(files.len(), 1, "{files:?}");
    serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap()
}

#[test]
fn a_request_is_answered_exactly_and_acknowledged() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    introduce(&publisher, &["site"]);
    let (code, request) = sandbox.json("site", &["request", "stick", "book", "--name", "Clinic"]);
    assert_eq!(
        (code, request["number"].as_u64(), names(&request["wants"])),
        (Some(0), Some(1), vec!["book"])
    );
    let letter = fs::read(sandbox.path("stick/LOCALML").join(request["file"].as_str().unwrap())).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&letter).unwrap()["site"], request["site"]);

    let export = ["--offline", "export", "stick", "--request", "stick"];
    let (code, plan) = sandbox.json("cafe", &[&export[..], &["--plan"]].concat());
    assert_eq!((code, names(&plan["recipients"][0]["packages"])), (Some(0), vec!["ngo/book@1.0.0:plain"]));
    let (_, report) = sandbox.json("cafe", &export);
    assert_eq!((&report["size_bytes"], &report["bundle"]), (&plan["size_bytes"], &plan["bundle"]));
    assert_eq!(report["size_bytes"].as_u64(), Some(bytes_on(&sandbox, "stick")), "to the byte");
    assert_eq!(description(&sandbox, "stick")["recipients"][0], request["site"]);

    let (_, known) = sandbox.json("cafe", &["sites"]);
    let clinic = &known["sites"][0];
    assert_eq!((clinic["label"].as_str(), names(&clinic["wants"])), (Some("Clinic"), vec!["book"]));
    assert_eq!(clinic["on_the_way"][0]["bundle"], report["bundle"]);

    let (code, imported) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, names(&imported["installed"])), (Some(0), vec!["ngo/book@1.0.0:plain"]), "{imported}");
    assert_eq!(
        (imported["receipt"]["number"].as_u64(), imported["receipt"]["is_on_stick"].as_bool()),
        (Some(2), Some(true))
    );
    let letters = files_in(&sandbox.path("stick/LOCALML/RCP"));
    let receipt = fs::read(&letters[0]).unwrap();
    // The same again: nothing new, and the same receipt.
    let (code, again) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!(
        (code, names(&again["unchanged"]).len(), again["receipt"]["number"].as_u64()),
        (Some(0), 1, Some(2))
    );
    assert_eq!(
        (files_in(&sandbox.path("stick/LOCALML/RCP")), fs::read(&letters[0]).unwrap()),
        (letters, receipt)
    );

    assert!(sandbox.ok("cafe", &["sites", "stick"]).contains("has ngo/book@1.0.0:plain"));
    let (_, known) = sandbox.json("cafe", &["sites"]);
    let clinic = &known["sites"][0];
    let lengths = ["on_the_way", "wants", "packages"].map(|list| clinic[list].as_array().unwrap().len());
    assert_eq!(lengths, [0, 0, 1], "{clinic}");
}

#[test]
fn a_request_says_what_the_site_is_and_how_new_its_trust_is() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    introduce(&publisher, &["site"]);
    // Two more signings: the root stays, the version of the metadata rises to 2.
    publisher.add("poem", "1.0.0", &[("poem.md", b"# A poem\n")]);
    publisher.publish();
    sandbox.ok("site", &["update"]);
    let (_, said) = sandbox.json("site", &["request", "stick", "poem"]);
    let letter = fs::read(sandbox.path("stick/LOCALML").join(said["file"].as_str().unwrap())).unwrap();
    let letter: Value = serde_json::from_slice(&letter).unwrap();
    let platform = letter["platform"].as_str().unwrap();
    assert!(platform.starts_with(std::env::consts::ARCH) && platform.contains(std::env::consts::OS));
    assert_eq!(letter["localml"], env!("CARGO_PKG_VERSION"));
    let free_bytes = localml::disk::free_bytes(&sandbox.path("site")).unwrap();
    let (ram, free) = (letter["ram_bytes"].as_u64().unwrap(), letter["free_bytes"].as_u64().unwrap());
    // Other programs write meanwhile, so the free space is compared to a half.
    assert!(ram > 256 << 20 && free.abs_diff(free_bytes) < free_bytes / 2, "{letter}");
    let registries = letter["registries"].as_array().unwrap();
    let ngo = registries.iter().find(|registry| registry["name"] == "ngo").unwrap();
    assert_eq!(
        (ngo["fingerprint"].as_str(), ngo["root"].as_u64(), ngo["version"].as_u64()),
        (Some(publisher.fingerprint().as_str()), Some(1), Some(2)),
        "{letter}"
    );
    let expires = ngo["expires"].as_str().unwrap();
    assert!(expires > &letter["created"].as_str().unwrap()[..10], "a day to come: {letter}");

    // The other end shows how long ago that was.
    let shown = sandbox.ok("cafe", &["sites", "stick"]);
    assert!(shown.contains("HEARD") && shown.contains("just now"), "{shown}");
    let record = files_in(&sandbox.path("cafe/sites")).pop().unwrap();
    age_by_days(&record, 3);
    let shown = sandbox.ok("cafe", &["sites"]);
    assert!(shown.contains("3 d ago") && !shown.contains("just now"), "{shown}");
    let (_, known) = sandbox.json("cafe", &["sites"]);
    let heard = known["sites"][0]["heard_seconds_ago"].as_u64().unwrap();
    assert!((3 * 86_400..3 * 86_400 + 600).contains(&heard), "{known}");
}

/// Sets back when a record was last heard of.
fn age_by_days(record: &std::path::Path, days: u64) {
    let mut value: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let heard_at = value["heard_at"].as_u64().unwrap();
    value["heard_at"] = (heard_at - days * 86_400).into();
    fs::write(record, value.to_string()).unwrap();
}

/// As above up to the receipt, which the cafe has heard.
fn acknowledged<'a>(sandbox: &'a Sandbox) -> Publisher<'a> {
    let publisher = cafe(sandbox);
    introduce(&publisher, &["site"]);
    sandbox.ok("site", &["request", "stick", "book", "--name", "Clinic"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "--request", "stick"]);
    sandbox.ok("site", &["--offline", "import", "stick"]);
    sandbox.ok("cafe", &["sites", "stick"]);
    publisher
}

/// A newer `book` with the same map.
fn newer_book(sandbox: &Sandbox, publisher: &Publisher<'_>) {
    publisher.add(
        "book",
        "1.1.0",
        &[("chapter.md", b"# A better chapter\n"), ("map.bin", &noise(1, 21 << 20))],
    );
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "book"]);
}

#[test]
fn only_what_changed_travels_and_what_is_required_is_named() {
    let sandbox = Sandbox::new();
    let publisher = acknowledged(&sandbox);
    newer_book(&sandbox, &publisher);
    let (_, known) = sandbox.json("cafe", &["sites"]);
    assert_eq!(known["sites"][0]["outdated"][0]["newest"].as_str(), Some("1.1.0"), "{known}");

    let export = ["--offline", "export", "other-stick", "--site", "clinic"];
    let (code, report) = sandbox.json("cafe", &export);
    let required = &report["requires"][0];
    assert_eq!(
        (code, required["path"].as_str(), report["saved_bytes"].as_u64()),
        (Some(0), Some("map.bin"), Some(21 << 20))
    );
    assert!(report["size_bytes"].as_u64().unwrap() < 100_000, "{report}");
    assert_eq!(description(&sandbox, "other-stick")["requires"][0], required["sha256"]);
    assert_eq!(report["size_bytes"].as_u64(), Some(bytes_on(&sandbox, "other-stick")));
    assert!(sandbox.ok("cafe", &export).contains("left out, because they have it: 22.0 MB in 1 files"));

    // A site that lacks the map hears of it at once, and how to come by it.
    introduce(&publisher, &["stranger"]);
    let run = sandbox.run("stranger", &["--offline", "import", "other-stick"]);
    assert!(run.code == Some(4) && run.stderr.contains("cannot become whole from this stick"), "{run:?}");
    for word in ["`map.bin`", "counted on it being here", "localml request", "--full"] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    assert!(!sandbox.ok("stranger", &["list"]).contains("book"));
    // The stranger has an id by now: it asks, and gets all of it.
    sandbox.ok("stranger", &["request", "other-stick"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "--request", "other-stick"]);
    sandbox.ok("stranger", &["--offline", "import", "stick"]);
    sandbox.ok("stranger", &["verify", "book"]);

    sandbox.ok("site", &["--offline", "import", "other-stick"]);
    let chapter = sandbox.ok("site", &["path", "book", "chapter.md"]);
    assert_eq!(fs::read_to_string(chapter.trim()).unwrap(), "# A better chapter\n");
    sandbox.ok("site", &["verify"]);
}

#[test]
fn a_lost_receipt_costs_bytes_and_never_a_package() {
    let sandbox = Sandbox::new();
    let publisher = acknowledged(&sandbox);
    // The site gets the atlas, and its receipt never arrives.
    sandbox.ok("site", &["request", "stick", "atlas"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "--request", "stick"]);
    sandbox.ok("site", &["--offline", "import", "stick"]);
    fs::remove_dir_all(sandbox.path("stick/LOCALML/RCP")).unwrap();
    let (_, known) = sandbox.json("cafe", &["sites", "stick"]);
    assert_eq!(known["sites"][0]["on_the_way"].as_array().unwrap().len(), 1, "sent is not arrived");
    newer_book(&sandbox, &publisher);
    let (code, report) = sandbox.json("cafe", &["--offline", "export", "other-stick", "--site", "Clinic"]);
    assert_eq!(
        (code, names(&report["recipients"][0]["packages"])),
        (Some(0), vec!["ngo/atlas@1.0.0:plain", "ngo/book@1.1.0:plain"])
    );
    sandbox.ok("site", &["--offline", "import", "other-stick"]);
    sandbox.ok("site", &["verify"]);
    // `--full` believes nothing of what the site has.
    let full = ["--offline", "export", "stick", "--site", "Clinic", "--full", "--plan"];
    let (_, report) = sandbox.json("cafe", &full);
    assert!(
        names(&report["requires"]).is_empty() && report["size_bytes"].as_u64() > Some(27 << 20),
        "{report}"
    );
}

#[test]
fn a_repair_costs_exactly_the_missing_pieces() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    introduce(&publisher, &["site"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book", "--volume-size", "5MiB"]);
    let mut volumes = files_in(&sandbox.path("stick/LOCALML/B"));
    volumes.retain(|path| path.extension().is_some_and(|ending| ending == "TAR"));
    // 21 MiB are five pieces of 4 MiB and one of 1 MiB; two of the volumes are lost for ever.
    fs::remove_file(&volumes[1]).unwrap();
    fs::remove_file(&volumes[3]).unwrap();
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    let missing_bytes = report["missing_bytes"].as_u64().unwrap();
    assert_eq!(
        (code, missing_bytes, names_of(&report["missing_volumes"]).len()),
        (Some(4), 8 << 20, 2),
        "{report}"
    );
    let (code, request) = sandbox.json("site", &["request", "stick"]);
    assert_eq!((code, request["missing_bytes"].as_u64()), (Some(0), Some(missing_bytes)));
    assert_eq!(names(&request["wants"]), ["ngo/book@1.0.0:plain"]);

    let export = ["--offline", "export", "other-stick", "--request", "stick"];
    let (_, plan) = sandbox.json("cafe", &[&export[..], &["--plan"]].concat());
    let (code, report) = sandbox.json("cafe", &export);
    assert_eq!((code, &report["size_bytes"]), (Some(0), &plan["size_bytes"]));
    assert_eq!(report["size_bytes"].as_u64(), Some(bytes_on(&sandbox, "other-stick")));
    let volumes: u64 = description(&sandbox, "other-stick")["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["size_bytes"].as_u64().unwrap())
        .sum();
    // The chapter came whole with the first volume. Two pieces, a header each, and the end of one volume.
    assert_eq!(volumes, missing_bytes + 2 * 512 + 1024);
    sandbox.ok("site", &["--offline", "import", "other-stick"]);
    sandbox.ok("site", &["verify", "book"]);
    assert!(
        fs::read_dir(sandbox.path("site/staging/stick")).unwrap().next().is_none(),
        "nothing is left over"
    );
}

fn names_of(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_sms_brings_the_same_difference() {
    let sandbox = Sandbox::new();
    let publisher = acknowledged(&sandbox);
    newer_book(&sandbox, &publisher);
    let (code, short) = sandbox.json("site", &["request", "--short", "atlas"]);
    let text = short["text"].as_str().unwrap();
    assert!(code == Some(0) && text.starts_with("LML1 ") && text.len() <= 160, "{text}");
    let said = sandbox.ok("site", &["request", "--short", "atlas"]);
    let spoken = said.lines().find(|line| line.starts_with("LML1 ")).unwrap();
    assert_eq!(seen_by_a_camera(&said), modules_of(spoken), "the code is not of this text");

    let (code, report) = sandbox.json("cafe", &["--offline", "export", "other-stick", "--request", text]);
    let packages = names(&report["recipients"][0]["packages"]);
    assert_eq!((code, packages), (Some(0), vec!["ngo/atlas@1.0.0:plain", "ngo/book@1.1.0:plain"]));
    assert_eq!(names_of_paths(&report["requires"]), ["map.bin"]);
    sandbox.ok("site", &["--offline", "import", "other-stick"]);
    assert!(sandbox.ok("site", &["list"]).contains("1.1.0"));

    // In a file, and mistyped.
    let file = sandbox.write("sms.txt", format!("{}\n", text.to_ascii_lowercase()));
    sandbox.ok("cafe", &["--offline", "export", "stick", "--plan", "--request", file.to_str().unwrap()]);
    let wrong = text.replace("ATLAS", "ATLES");
    let said = sandbox.run("cafe", &["export", "stick", "--request", &wrong]).failed_with(4);
    assert!(said.contains("mistyped"), "{said}");
    sandbox.run("cafe", &["export", "stick", "--request", "LML9 X"]).failed_with(1);
    sandbox.run("cafe", &["export", "stick", "--request", "nowhere"]).failed_with(3);
    sandbox.run("cafe", &["export", "stick", "--site", "nobody"]).failed_with(3);
}

/// The rows of modules that the half blocks show, true where one is dark, without the light ones around.
fn seen_by_a_camera(said: &str) -> Vec<Vec<bool>> {
    let drawn = said.lines().take_while(|line| !line.starts_with("LML1 "));
    let mut rows: Vec<Vec<bool>> = Vec::new();
    for line in drawn {
        let halves: Vec<char> = line.chars().filter(|half| " █▀▄".contains(*half)).collect();
        rows.push(halves.iter().map(|half| matches!(half, '█' | '▀')).collect());
        rows.push(halves.iter().map(|half| matches!(half, '█' | '▄')).collect());
    }
    rows.retain(|row| row.contains(&true));
    // The first row begins and ends with a finder pattern's dark edge.
    let first = rows[0].iter().position(|&is_dark| is_dark).unwrap();
    let last = rows[0].iter().rposition(|&is_dark| is_dark).unwrap();
    rows.iter().map(|row| row[first..=last].to_vec()).collect()
}

fn modules_of(text: &str) -> Vec<Vec<bool>> {
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::L).unwrap();
    let dark: Vec<bool> = code.to_colors().iter().map(|color| *color == qrcode::Color::Dark).collect();
    dark.chunks(code.width()).map(<[bool]>::to_vec).collect()
}

fn names_of_paths(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect()
}

#[test]
fn a_stick_that_cannot_be_written_leaves_the_receipt_for_the_next() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    introduce(&publisher, &["site"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "note"]);
    // A file where the folder of receipts belongs: nobody can write one, root neither.
    sandbox.write("stick/LOCALML/RCP", b"");
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, report["receipt"]["is_on_stick"].as_bool()), (Some(0), Some(false)), "{report}");
    assert!(sandbox.ok("site", &["--offline", "import", "stick"]).contains("waits here"));
    sandbox.ok("site", &["request", "other-stick"]);
    assert_eq!(files_in(&sandbox.path("other-stick/LOCALML/RCP")).len(), 1);
    let (_, known) = sandbox.json("cafe", &["sites", "other-stick"]);
    assert_eq!(names(&known["sites"][0]["packages"]), ["ngo/note@1.0.0:plain"]);
}

#[test]
fn what_a_package_requires_is_named_when_it_is_not_here() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    let toml = "[package]\nname = \"adapter\"\nversion = \"1.0.0\"\nkind = \"adapter\"\ntitle = \"T\"\nlicense = \"MIT\"\nrequires = [\"base\"]\n[[variant]]\nid = \"plain\"\n[[variant.file]]\npath = \"a.bin\"\nfrom = \"adapter/a.bin\"\n";
    publisher.add_manifest("adapter", "1.0.0", toml, &[("a.bin", b"weights")]);
    publisher.add("base", "1.0.0", &[("base.bin", b"base weights")]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "adapter"]);
    sandbox.ok("cafe", &["remove", "base", "--force"]);
    introduce(&publisher, &["site"]);
    sandbox.ok("site", &["request", "stick", "adapter"]);
    let (code, report) = sandbox.json("cafe", &["--offline", "export", "stick", "--request", "stick"]);
    assert_eq!(
        (code, report["not_sent"][0]["command"].as_str()),
        (Some(8), Some("localml fetch base")),
        "{report}"
    );
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, names(&report["lacking"][0]["requires"])), (Some(8), vec!["base"]), "{report}");
    assert!(sandbox.run("site", &["--offline", "import", "stick"]).stdout.contains("it requires `base`"));
    sandbox.ok("cafe", &["fetch", "base"]);
    sandbox.ok("site", &["request", "stick"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "base", "--request", "stick"]);
    sandbox.ok("site", &["--offline", "import", "stick"]);
}

#[test]
fn what_a_killed_import_left_is_asked_for_to_the_piece() {
    // Five pieces of 4 MiB; each run dies after some of them.
    let desk = Desk::new(&[&noise(3, 20 << 20)]);
    desk.write(1 << 30);
    let staging = desk.path("site/staging");
    let (mut missing_bytes, mut num_deaths) = (20 << 20, 0);
    while let Err(error) = desk.receive_missing(&DiesAt::new(2, true)) {
        assert!(matches!(error, BundleError::Cancelled), "{error}");
        let halves = half_blobs(&staging, &Silent).unwrap();
        let left = halves.first().map_or(0, localml::bundle::HalfBlob::missing_bytes);
        assert!(left < missing_bytes && left.is_multiple_of(4 << 20), "{left} after {missing_bytes}");
        (missing_bytes, num_deaths) = (left, num_deaths + 1);
        assert!(num_deaths < 10, "it goes on");
    }
    assert!(num_deaths >= 2 && half_blobs(&staging, &Silent).unwrap().is_empty());
}
