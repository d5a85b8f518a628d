//! Many sites and one stick; letters that are torn, forged or hostile; cleaning up.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::files_in;

/// A registry `ngo` with `book`, `atlas` and `note`; the cafe has all three, and the sites know the registry.
fn cafe<'a>(sandbox: &'a Sandbox, sites: &[&str]) -> Publisher<'a> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n"), ("map.bin", &noise(1, 5 << 20))]);
    publisher.add("atlas", "1.0.0", &[("atlas.bin", &noise(2, 2 << 20)), ("map.bin", &noise(1, 5 << 20))]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    for home in [&["cafe"], sites].concat() {
        publisher.introduce(home, publisher.registry().to_str().unwrap());
    }
    sandbox.ok("cafe", &["fetch", "book", "atlas", "note"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    publisher
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect()
}

fn bundles(sandbox: &Sandbox) -> Vec<Value> {
    let mut files = files_in(&sandbox.path("stick/LOCALML/B"));
    files.retain(|path| path.ends_with("BUNDLE.JSON"));
    files.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}

const FIVE: [&str; 5] = ["one", "two", "three", "four", "five"];

/// Five sites with different holdings; the requests of all of them are on one stick.
fn five_requests(sandbox: &Sandbox) {
    cafe(sandbox, &FIVE);
    // `two` has the book already, and with it the atlas' map; `four` has everything.
    for (home, packages) in [("two", &["book"][..]), ("four", &["book", "atlas", "note"])] {
        let folder = format!("{home}-stick");
        fs::create_dir(sandbox.path(&folder)).unwrap();
        sandbox.ok("cafe", &[&["--offline", "export", &folder], packages].concat());
        sandbox.ok(home, &["--offline", "import", &folder]);
    }
    let wants = [&["book"][..], &["atlas"], &["book", "atlas", "note"], &[], &["ghost", "note"]];
    for (home, wants) in FIVE.iter().zip(wants) {
        sandbox.ok(home, &[&["request", "stick"], wants, &["--name", home]].concat());
    }
    assert_eq!(files_in(&sandbox.path("stick/LOCALML/REQ")).len(), 5);
}

#[test]
fn five_sites_share_one_stick() {
    let sandbox = Sandbox::new();
    five_requests(&sandbox);
    let export = ["--offline", "export", "stick", "--request", "stick"];
    let (code, plan) = sandbox.json("cafe", &[&export[..], &["--plan"]].concat());
    assert_eq!(code, Some(8));
    let (code, report) = sandbox.json("cafe", &export);
    assert_eq!(
        (code, &report["size_bytes"]),
        (Some(8), &plan["size_bytes"]),
        "the plan equals what is written"
    );
    let wanted = &report["not_sent"][0];
    assert_eq!(
        (wanted["package"].as_str(), wanted["command"].as_str()),
        (Some("ghost"), Some("localml fetch ghost"))
    );
    let bundle = bundles(&sandbox).pop().unwrap();
    // chapter, map, atlas and note: each once, whoever shares it.
    assert_eq!(
        (bundle["blobs"].as_array().unwrap().len(), bundle["recipients"].as_array().unwrap().len()),
        (4, 5)
    );

    let has = [
        &["book"][..],
        &["atlas", "book"],
        &["atlas", "book", "note"],
        &["atlas", "book", "note"],
        &["note"],
    ];
    for (index, (home, has)) in FIVE.iter().zip(has).enumerate() {
        let (_, plan) = sandbox.json("cafe", &["stick", "clean", "stick", "--plan"]);
        assert_eq!(strings(&plan["kept"][0]["waits_for"]).len(), 5 - index, "{plan}");
        sandbox.ok(home, &["--offline", "import", "stick"]);
        sandbox.ok(home, &["verify"]);
        let (_, list) = sandbox.json(home, &["list"]);
        let names: Vec<&str> = list["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| package["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, has, "{home}");
    }
    let (_, known) = sandbox.json("cafe", &["sites", "stick"]);
    let waiting: usize = known["sites"]
        .as_array()
        .unwrap()
        .iter()
        .map(|site| site["on_the_way"].as_array().unwrap().len())
        .sum();
    assert_eq!((known["sites"].as_array().unwrap().len(), waiting), (5, 0), "{known}");
    let (_, report) = sandbox.json("cafe", &["stick", "clean", "stick"]);
    assert_eq!(strings(&report["removed"][0]["acknowledged_by"]).len(), 5, "{report}");
    assert!(bundles(&sandbox).is_empty());
}

#[test]
fn what_is_for_others_is_passed_over_and_comes_by_name() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, &["one", "five", "six"]);
    for home in ["one", "five"] {
        sandbox.ok(home, &["request", "stick", "--name", home]);
    }
    sandbox.ok("cafe", &["sites", "stick"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "note", "--site", "one"]);
    let said = sandbox.ok("five", &["--offline", "import", "stick"]);
    assert!(said.contains("for others ngo/note"), "{said}");
    sandbox.ok("five", &["--offline", "import", "stick", "note"]);
    // Who never asked for anything takes what there is, as often as it likes.
    for word in ["installed", "unchanged"] {
        let said = sandbox.ok("six", &["--offline", "import", "stick"]);
        assert!(said.contains(&format!("{word}  ngo/note")), "{said}");
    }
}

#[test]
fn cleaning_touches_acknowledged_bundles_and_nothing_else() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, &["site"]);
    sandbox.write("stick/photos/one.jpg", b"a photo");
    sandbox.write("treasure/V0001.TAR", b"not on the stick");
    sandbox.ok("cafe", &["--offline", "export", "stick", "note"]);
    let before = files_in(&sandbox.path("stick"));
    let (_, report) = sandbox.json("cafe", &["stick", "clean", "stick"]);
    assert_eq!((report["removed"].as_array().unwrap().len(), report["freed_bytes"].as_u64()), (0, Some(0)));
    assert_eq!(files_in(&sandbox.path("stick")), before, "nobody has acknowledged it");
    sandbox.ok("site", &["--offline", "import", "stick"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book"]);
    let (_, plan) = sandbox.json("cafe", &["stick", "clean", "stick", "--plan"]);
    let (_, report) = sandbox.json("cafe", &["stick", "clean", "stick"]);
    assert_eq!(strings(&report["removed"][0]["packages"]), ["ngo/note@1.0.0:plain"]);
    assert!(
        plan["freed_bytes"].as_u64() > Some(0)
            && report["freed_bytes"].as_u64() >= plan["freed_bytes"].as_u64()
    );
    let (code, health) = sandbox.json("cafe", &["stick", "verify", "stick"]);
    assert_eq!((code, bundles(&sandbox).len()), (Some(0), 1), "{health}");
    // `--all` takes also what nobody acknowledged and what cannot be read; a link is left alone.
    fs::create_dir_all(sandbox.path("stick/LOCALML/B/0000000A")).unwrap();
    symlink(sandbox.path("treasure"), sandbox.path("stick/LOCALML/B/0000000B")).unwrap();
    sandbox.run("cafe", &["stick", "clean", "stick", "--all"]).failed_with(4);
    fs::remove_file(sandbox.path("stick/LOCALML/B/0000000B")).unwrap();
    sandbox.ok("cafe", &["stick", "clean", "stick", "--all"]);
    assert_eq!(fs::read_dir(sandbox.path("stick/LOCALML/B")).unwrap().count(), 0);
    for (file, bytes) in
        [("stick/photos/one.jpg", &b"a photo"[..]), ("treasure/V0001.TAR", b"not on the stick")]
    {
        assert_eq!(fs::read(sandbox.path(file)).unwrap(), bytes);
    }
    sandbox.ok("cafe", &["stick", "verify", "stick"]);
}

#[test]
fn a_folder_of_bundles_that_is_a_link_is_never_followed() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, &[]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "note"]);
    fs::rename(sandbox.path("stick/LOCALML/B"), sandbox.path("elsewhere")).unwrap();
    symlink(sandbox.path("elsewhere"), sandbox.path("stick/LOCALML/B")).unwrap();
    let before = files_in(&sandbox.path("elsewhere"));
    sandbox.run("cafe", &["stick", "clean", "stick", "--all"]).failed_with(4);
    assert_eq!(files_in(&sandbox.path("elsewhere")), before);
}

/// A letter with the bytes of a real one, changed.
fn forge(sandbox: &Sandbox, file: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut letter: Value = serde_json::from_slice(&fs::read(sandbox.path(file)).unwrap()).unwrap();
    change(&mut letter);
    letter
}

#[test]
fn a_forged_request_wastes_bytes_and_installs_nothing() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, &["site"]);
    let (_, request) = sandbox.json("site", &["request", "stick", "book"]);
    let (site, file) = (request["site"].as_str().unwrap(), request["file"].as_str().unwrap());
    // Someone claims, in the site's name, that it has everything.
    let blobs: Vec<String> = files_in(&sandbox.path("cafe/blobs"))
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let forged = forge(&sandbox, &format!("stick/LOCALML/{file}"), |letter| {
        letter["blobs"] = json!(blobs);
        letter["number"] = json!(70);
        letter["max_volume_bytes"] = json!(1);
    });
    sandbox.write(format!("stick/LOCALML/REQ/{site}-70.JSON"), forged.to_string());
    let (code, report) = sandbox.json("cafe", &["--offline", "export", "stick", "--request", "stick"]);
    assert_eq!((code, report["requires"].as_array().unwrap().len()), (Some(0), 2), "{report}");
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, report["installed"].as_array().unwrap().len()), (Some(4), 0), "{report}");
    // The site's next letter is newer than the forged one, which goes.
    let (_, request) = sandbox.json("site", &["request", "stick"]);
    assert!(request["number"].as_u64() > Some(70), "{request}");
    assert_eq!(files_in(&sandbox.path("stick/LOCALML/REQ")).len(), 1);
    sandbox.ok("cafe", &["--offline", "export", "stick", "--request", "stick"]);
    sandbox.ok("site", &["--offline", "import", "stick"]);
    sandbox.ok("site", &["verify", "book"]);
}

#[test]
fn a_forged_receipt_can_hold_a_package_back_and_full_or_forgetting_helps() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, &["site"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "note"]);
    let (_, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    let site = report["receipt"]["site"].as_str().unwrap();
    let (_, held) = sandbox.json("cafe", &["list"]);
    let names = held["packages"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap());
    let packages: Vec<String> = names.map(|name| format!("{name}@1.0.0:plain")).collect();
    let blobs = files_in(&sandbox.path("cafe/blobs"));
    let blobs: Vec<&str> = blobs.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let forged = forge(&sandbox, &format!("stick/LOCALML/RCP/{site}-1.JSON"), |letter| {
        (letter["blobs"], letter["packages"], letter["number"]) = (json!(blobs), json!(packages), json!(500));
    });
    sandbox.write(format!("stick/LOCALML/RCP/{site}-500.JSON"), forged.to_string());
    sandbox.ok("cafe", &["sites", "stick"]);
    let export = ["--offline", "export", "stick", "book", "--site", site];
    let (_, report) = sandbox.json("cafe", &[&export[..], &["--plan"]].concat());
    assert!(strings(&report["recipients"][0]["packages"]).is_empty(), "{report}");
    let (_, report) = sandbox.json("cafe", &[&export[..], &["--full", "--plan"]].concat());
    assert_eq!(strings(&report["recipients"][0]["packages"]), ["ngo/book@1.0.0:plain"]);
    sandbox.ok("cafe", &["sites", "--forget", site]);
    assert!(sandbox.ok("cafe", &["sites"]).contains("no site is known"));
    // The site's own next letter takes the forged one's place.
    sandbox.ok("site", &["request", "stick", "book"]);
    fs::remove_dir_all(sandbox.path("stick/LOCALML/RCP")).unwrap();
    sandbox.ok("cafe", &["--offline", "export", "stick", "--request", "stick"]);
    sandbox.ok("site", &["--offline", "import", "stick"]);
    sandbox.ok("site", &["verify", "book"]);
}

#[test]
fn hostile_and_torn_letters_are_remarks() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, &["site"]);
    let (_, request) = sandbox.json("site", &["request", "stick", "note"]);
    let (site, file) = (request["site"].as_str().unwrap(), request["file"].as_str().unwrap());
    let real = format!("stick/LOCALML/{file}");
    let letters = "stick/LOCALML/REQ";
    // A newer one of the same site that the power cut short: the older one still counts.
    let whole = fs::read(sandbox.path(&real)).unwrap();
    sandbox.write(format!("{letters}/{site}-9.JSON"), &whole[..whole.len() / 2]);
    sandbox.write(format!("{letters}/{site}-8.JSON"), b"");
    sandbox.write(format!("{letters}/AAAAAAAA-1.JSON"), &whole);
    let later = forge(&sandbox, &real, |letter| letter["format"] = json!("2.0")).to_string();
    sandbox.write(format!("{letters}/BBBBBBBB-1.JSON"), later);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    sandbox.write(format!("{letters}/CCCCCCCC-1.JSON"), deep);
    fs::File::create(sandbox.path(format!("{letters}/DDDDDDDD-1.JSON"))).unwrap().set_len(17 << 20).unwrap();
    symlink("/etc/hostname", sandbox.path(format!("{letters}/EEEEEEEE-1.JSON"))).unwrap();
    let escape = forge(&sandbox, &real, |letter| letter["label"] = json!("a\u{1b}[2Jb")).to_string();
    sandbox.write(format!("{letters}/FFFFFFFF-1.JSON"), escape);
    let path = forge(&sandbox, &real, |letter| letter["wants"] = json!(["../../etc/passwd"])).to_string();
    sandbox.write(format!("{letters}/ABABABAB-1.JSON"), path);
    for name in ["x.JSON", "AAAAAAAA-01.JSON", "AAAAAAAA-99999999999.JSON", "aaaaaaaa-1.JSON"] {
        sandbox.write(format!("{letters}/{name}"), b"{}");
    }
    let (code, known) = sandbox.json("cafe", &["sites", "stick"]);
    assert_eq!((code, known["sites"].as_array().unwrap().len()), (Some(0), 1), "{known}");
    assert_eq!(known["sites"][0]["wants"], json!(["note"]));
    let said = known["remarks"].to_string();
    for word in [
        "-9.JSON",
        "-8.JSON",
        "AAAAAAAA-1.JSON",
        "BBBBBBBB-1.JSON",
        "format 2.0",
        "CCCCCCCC",
        "16 MiB",
        "EEEEEEEE",
        "FFFFFFFF",
        "ABABABAB",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    sandbox.ok("cafe", &["--offline", "export", "stick", "--request", "stick"]);
    sandbox.ok("site", &["--offline", "import", "stick"]);
    // The site takes away what bears its own name, and nothing else.
    sandbox.ok("site", &["request", "stick"]);
    let own = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(site);
    assert_eq!(files_in(&sandbox.path(letters)).iter().filter(|path| own(path)).count(), 1);
    assert!(sandbox.path(format!("{letters}/AAAAAAAA-1.JSON")).is_file());
}

#[test]
fn an_unknown_field_of_a_later_minor_is_skipped() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, &["site"]);
    let (_, request) = sandbox.json("site", &["request", "stick", "note"]);
    let file = format!("stick/LOCALML/{}", request["file"].as_str().unwrap());
    let later = forge(&sandbox, &file, |letter| {
        letter["format"] = json!("1.9");
        letter["mood"] = json!({"good": true});
    });
    sandbox.write(&file, later.to_string());
    let (code, report) = sandbox.json("cafe", &["--offline", "export", "stick", "--request", "stick"]);
    assert_eq!(
        (code, strings(&report["recipients"][0]["packages"])),
        (Some(0), vec!["ngo/note@1.0.0:plain"])
    );
}
