//! A stick made by someone who means harm, and the real program at a site: refused with the exact reason,
//! in little memory, in bounded time, and nothing outside `LOCALML` is ever touched.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use localml::digest::Sha256;
use serde_json::{Value, json};
use tar::EntryType;

use crate::support::publisher::Publisher;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::skipped::skip;
use crate::support::stick::files_in;
use crate::support::tarball::{entry, finished};

/// The memory that the program may write to, in KiB: it promises 64 MiB, and its libraries need some.
const MAX_DATA_KIB: u64 = 128 * 1024;

/// Runs the program where memory is scarce; ends it when it does not end by itself.
fn scarce(sandbox: &Sandbox, home: &str, args: &[&str]) -> Run {
    let limited = format!("ulimit -d {MAX_DATA_KIB} && exec \"$0\" \"$@\"");
    let run = Command::new("timeout")
        .args(["--kill-after=5", "120", "sh", "-c", &limited, env!("CARGO_BIN_EXE_localml"), "--offline"])
        .args(args)
        .env("LOCALML_HOME", sandbox.path(home))
        .current_dir(sandbox.path(""))
        .output();
    let run = Run::from(run.unwrap());
    assert!(matches!(run.code, Some(0 | 1 | 3 | 4 | 6 | 7 | 8)), "{args:?} hangs or dies: {run:?}");
    assert!(!run.stderr.contains("panicked"), "{run:?}");
    run
}

/// A stick with `note` and `book` from a registry that the site knows; nothing is installed there.
fn stick(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n"), ("map.bin", &[7; 9000])]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    for home in ["cafe", "site"] {
        publisher.introduce(home, publisher.registry().to_str().unwrap());
    }
    sandbox.ok("cafe", &["fetch", "book", "note"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    sandbox.ok("site", &["--offline", "request", "stick"]);
    publisher
}

fn copy(sandbox: &Sandbox, from: &str, to: &str) {
    let _ = fs::remove_dir_all(sandbox.path(to));
    let copied = Command::new("cp").arg("-a").args([sandbox.path(from), sandbox.path(to)]).status();
    assert!(copied.unwrap().success());
}

/// Every file and folder of the stick, relative to it.
fn places(sandbox: &Sandbox) -> Vec<String> {
    let root = sandbox.path("stick");
    let mut places: Vec<PathBuf> = files_in(&root);
    let mut folders: Vec<PathBuf> =
        places.iter().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
    folders.retain(|path| path.starts_with(&root) && *path != root);
    places.append(&mut folders);
    places.sort();
    places.dedup();
    places.iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
}

/// What may stand in the place of a file or folder; false when this machine cannot make it.
fn put(kind: &str, place: &Path, outside: &Path) -> bool {
    let was_folder = place.is_dir();
    if was_folder {
        fs::remove_dir_all(place).unwrap()
    } else {
        fs::remove_file(place).unwrap()
    }
    let made = |command: &mut Command| command.output().is_ok_and(|run| run.status.success());
    match kind {
        "link" if was_folder => symlink(outside, place).is_ok(),
        "link" => symlink(outside.join("canary"), place).is_ok(),
        "dangling link" => symlink(outside.join("nothing"), place).is_ok(),
        "pipe" => made(Command::new("mkfifo").arg(place)),
        "endless device" => made(Command::new("mknod").arg(place).args(["c", "1", "5"])),
        "socket" => UnixListener::bind(place).is_ok(),
        "other" if was_folder => fs::write(place, b"a file").is_ok(),
        _ => fs::create_dir(place).is_ok(),
    }
}

#[test]
fn what_is_not_plain_is_refused_in_every_place_and_never_followed() {
    let sandbox = Sandbox::new();
    let publisher = stick(&sandbox);
    publisher.add("song", "1.0.0", &[("song.txt", b"la")]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "song"]);
    for place in places(&sandbox) {
        for kind in ["link", "dangling link", "pipe", "endless device", "socket", "other"] {
            copy(&sandbox, "stick", "s");
            sandbox.write("outside/canary", b"canary");
            if !put(kind, &sandbox.path("s").join(&place), &sandbox.path("outside")) {
                skip(&format!("a {kind} on a stick: this machine makes none"));
                continue;
            }
            scarce(&sandbox, "site", &["stick", "info", "s"]);
            scarce(&sandbox, "site", &["stick", "verify", "s"]);
            copy(&sandbox, "site", "fresh");
            let import = scarce(&sandbox, "fresh", &["import", "s"]);
            let export = scarce(&sandbox, "cafe", &["export", "s", "song"]);
            let context = format!("a {kind} as `{place}`\n{import:?}\n{export:?}");
            let wanted = match place.rsplit('/').next().unwrap() {
                "README.TXT" => 0,
                _ if place.contains("/REQ") => 0,
                _ if place.contains("/TRUST") => 7,
                _ => 4,
            };
            assert_eq!(import.code, Some(wanted), "{context}");
            let said = format!("{}{}", import.stdout, import.stderr);
            assert!(wanted == 0 || said.contains("not a plain") || said.contains("there is no"), "{context}");
            assert!(wanted == 0 || said.contains(place.rsplit('/').next().unwrap()), "{context}");
            let has_blobs =
                sandbox.path("fresh/blobs").is_dir() && !files_in(&sandbox.path("fresh/blobs")).is_empty();
            assert_eq!(has_blobs, wanted == 0, "{context}");
            let outside = files_in(&sandbox.path("outside"));
            assert_eq!(outside, [sandbox.path("outside/canary")], "{context}");
            assert_eq!(fs::read(&outside[0]).unwrap(), b"canary", "{context}");
        }
    }
}

#[test]
fn ten_gigabytes_of_metadata_are_refused_by_name_in_little_memory() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    let places = places(&sandbox);
    for (ending, code, reason) in [
        ("BUNDLE.JSON", 4, "larger than 64 MiB"),
        ("STICK.A", 0, "larger than 16 MiB"),
        (".TAR", 7, "larger than 256 MiB"),
        ("README.TXT", 0, ""),
    ] {
        copy(&sandbox, "stick", "s");
        copy(&sandbox, "site", "fresh");
        let is_meant = |place: &&String| place.ends_with(ending) && !place.ends_with("V0001.TAR");
        let place = sandbox.path("s").join(places.iter().find(is_meant).unwrap());
        OpenOptions::new().write(true).open(place).unwrap().set_len(10 << 30).unwrap();
        let run = scarce(&sandbox, "fresh", &["import", "s"]);
        assert_eq!(run.code, Some(code), "{ending}: {run:?}");
        assert!(format!("{}{}", run.stdout, run.stderr).contains(reason), "{ending}: {run:?}");
        scarce(&sandbox, "fresh", &["stick", "info", "s"]);
        scarce(&sandbox, "cafe", &["export", "s", "note"]);
    }
}

/// Changes `BUNDLE.JSON` by hand; the record then means another one, which is a remark and no wall.
fn forge(sandbox: &Sandbox, change: impl Fn(&mut Value)) {
    let path = files_in(&sandbox.path("s")).into_iter().find(|path| path.ends_with("BUNDLE.JSON")).unwrap();
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Imports a forged stick at a fresh site, which must say `reason` and end with `code`.
fn refused(sandbox: &Sandbox, args: &[&str], code: i32, reason: &str, change: impl Fn(&mut Value)) {
    copy(sandbox, "stick", "s");
    copy(sandbox, "site", "fresh");
    forge(sandbox, change);
    let run = scarce(sandbox, "fresh", &[&["import", "s"], args].concat());
    assert_eq!(run.code, Some(code), "{reason}: {run:?}");
    assert!(format!("{}{}", run.stdout, run.stderr).contains(reason), "{reason}: {run:?}");
}

#[test]
fn a_description_that_lists_things_twice_is_refused_before_it_costs_time() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    let twice = |value: &mut Value| {
        let first = value.as_array().unwrap()[0].clone();
        value.as_array_mut().unwrap().push(first);
    };
    refused(&sandbox, &[], 4, "it lists blob ", |value| twice(&mut value["blobs"]));
    refused(&sandbox, &[], 4, "it lists `V0001.TAR` twice", |value| twice(&mut value["volumes"]));
    refused(&sandbox, &[], 4, "hold more pieces than there are", |value| {
        twice(&mut value["volumes"][0]["holds"])
    });
    // A million runs over the pieces of one blob: looking at each would take hours.
    refused(&sandbox, &[], 4, "hold more pieces than there are", |value| {
        let runs = vec![json!({"blob": 0, "first": 0, "count": 1}); 1_000_000];
        value["volumes"][0]["holds"] = runs.into();
    });
}

#[test]
fn paths_that_some_file_system_takes_for_something_else_are_refused_by_name() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    for path in ["../../evil", "/etc/evil", "CON", "docs/aux.txt", "a\\b", "x:stream", "end.", "Lpt1.md"] {
        let shown = path.replace('\\', "\\\\");
        refused(&sandbox, &[], 4, &shown, |value| value["items"][0]["files"][0]["path"] = path.into());
    }
    // A package that nobody signed brings its own description, and a keeper may take it by name.
    let unsigned = |paths: &[&str]| {
        let file = |path: &&str| json!({"path": path, "size_bytes": 6, "sha256": Sha256::of(b"a note"), "sources": []});
        let files: Vec<Value> = paths.iter().map(file).collect();
        json!({
            "package": {"name": "note", "version": "1.0.0", "kind": "knowledge", "title": "T", "license": "MIT"},
            "variant": [{"id": "plain", "file": files}],
        })
    };
    for (paths, reason) in [
        (["Note.txt", "note.TXT"], "contradicts itself"),
        (["note", "NOTE/x.txt"], "contradicts itself"),
        (["note.txt", "nul"], "device name on Windows"),
        (["note.txt", "../x"], "not allowed"),
    ] {
        let code = if reason == "contradicts itself" { 8 } else { 4 };
        refused(&sandbox, &["--unsigned", "note"], code, reason, |value| {
            let items = value["items"].as_array_mut().unwrap();
            let item = items.iter_mut().find(|item| item["package"].to_string().contains("note")).unwrap();
            item["unsigned"] = unsigned(&paths);
        });
    }
}

#[test]
fn bytes_that_nobody_authorised_never_reach_the_store() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    let stranger = b"stranger";
    let digest = Sha256::of(stranger);
    let add_stranger = |value: &mut Value| {
        let piece = json!({"length": stranger.len(), "sha256": digest});
        let blob = json!({"sha256": digest, "size_bytes": stranger.len(), "pieces": [piece]});
        value["blobs"].as_array_mut().unwrap().push(blob);
        let index = value["blobs"].as_array().unwrap().len() - 1;
        let run = json!({"blob": index, "first": 0, "count": 1});
        value["volumes"][0]["holds"].as_array_mut().unwrap().push(run);
    };
    // As a blob of its own, then also in the place of a file of each package.
    for is_claimed in [false, true] {
        let reason = if is_claimed { "describes other bytes under this name" } else { "installed" };
        copy(&sandbox, "stick", "s");
        copy(&sandbox, "site", "fresh");
        let volume =
            files_in(&sandbox.path("s")).into_iter().find(|path| path.ends_with("V0001.TAR")).unwrap();
        let piece = entry(EntryType::Regular, format!("{digest}.000000").as_bytes(), stranger);
        fs::write(&volume, [piece, fs::read(&volume).unwrap()].concat()).unwrap();
        forge(&sandbox, |value| {
            add_stranger(value);
            for item in value["items"].as_array_mut().unwrap().iter_mut().filter(|_| is_claimed) {
                item["files"][0]["sha256"] = digest.to_string().into();
                item["files"][0]["size_bytes"] = stranger.len().into();
            }
        });
        let run = scarce(&sandbox, "fresh", &["import", "s"]);
        assert_eq!(run.code, Some(if is_claimed { 7 } else { 0 }), "{run:?}");
        assert!(run.stdout.contains(reason), "{run:?}");
        let named = files_in(&sandbox.path("fresh"))
            .into_iter()
            .find(|path| path.to_str().unwrap().contains(&digest.to_string()));
        assert_eq!(named, None, "it lies in the home");
    }
}

#[test]
fn trust_files_with_the_tricks_of_tar_end_with_7() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    let places = places(&sandbox);
    let set = places.iter().find(|place| place.contains("TRUST/")).unwrap();
    let whole = fs::read(sandbox.path("stick").join(set)).unwrap();
    let plain = |name: &[u8]| entry(EntryType::Regular, name, b"x");
    let tricks = [
        (plain(b"../../evil"), "`.`, `..` and empty parts"),
        (plain(b"/etc/evil"), "`.`, `..` and empty parts"),
        (plain(b"ngo/con"), "device name"),
        (plain(b"ngo/1.root.json"), "stands in it twice"),
        (plain(b"NGO/1.ROOT.JSON"), "stands in it twice"),
        (entry(EntryType::Symlink, b"ngo/link", b""), "not a plain file"),
        (entry(EntryType::Fifo, b"ngo/pipe", b""), "not a plain file"),
        (entry(EntryType::Char, b"ngo/tty", b""), "not a plain file"),
        (entry(EntryType::XHeader, b"ngo/pax", b"19 path=../../evil\n"), "not a plain file"),
        (entry(EntryType::GNULongName, b"ngo/long", b"../../../../evil\0"), "not a plain file"),
        (entry(EntryType::GNULongLink, b"ngo/long", b"../../../../evil\0"), "not a plain file"),
        (entry(EntryType::GNUSparse, b"ngo/sparse", b""), "not a plain file"),
    ];
    for (trick, reason) in tricks {
        copy(&sandbox, "stick", "s");
        copy(&sandbox, "site", "fresh");
        fs::write(sandbox.path("s").join(set), finished(&[trick, whole.clone()])).unwrap();
        // A record that cannot be read: nobody tells the digest, and the set may have been promised.
        fs::write(sandbox.path("s/LOCALML/STICK.A"), b"").unwrap();
        let said = scarce(&sandbox, "fresh", &["import", "s"]).failed_with(7);
        assert!(said.contains(reason), "{reason}: {said}");
        sandbox.ok("fresh", &["list"]);
        assert!(!sandbox.path("evil").exists() && !sandbox.path("s/evil").exists());
    }
}

#[test]
fn a_stick_that_reads_as_if_it_were_empty_is_no_success() {
    let sandbox = Sandbox::new();
    stick(&sandbox);
    // What vfat shows of a stick that was pulled out: the folder, which it remembers, and nothing in it.
    fs::create_dir_all(sandbox.path("s/LOCALML")).unwrap();
    let said = scarce(&sandbox, "site", &["import", "s"]).failed_with(3);
    assert!(said.contains("no record of any") && said.contains("still plugged in"), "{said}");
}
