//! `README.TXT` on a stick: its words are followed as they stand, with nothing but `sh`, `tar`, `cat` and `zstd`.

use std::fs;
use std::path::Path;
use std::process::Command;

use localml::digest::Sha256;

use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::skipped::skip;

const TEXT: &str = "All the words of a long handbook, again and again.\n";

/// Two sticks with one delivery: the volumes of a map of 9 MiB are on one or the other.
fn two_sticks(sandbox: &Sandbox) {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add(
        "map",
        "1.0.0",
        &[("map.bin", &noise(1, 9 << 20)), ("text.txt", TEXT.repeat(9000).as_bytes())],
    );
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "map"]);
    fs::create_dir(sandbox.path("one")).unwrap();
    sandbox.ok("cafe", &["--offline", "export", "one", "--volume-size", "5MiB"]);
    let bundle = fs::read_dir(sandbox.path("one/LOCALML/B")).unwrap().next().unwrap().unwrap();
    let (one, two) = (bundle.path(), sandbox.path("two/LOCALML/B").join(bundle.file_name()));
    fs::create_dir_all(&two).unwrap();
    fs::copy(sandbox.path("one/LOCALML/README.TXT"), sandbox.path("two/LOCALML/README.TXT")).unwrap();
    fs::copy(one.join("BUNDLE.JSON"), two.join("BUNDLE.JSON")).unwrap();
    fs::rename(one.join("V0002.TAR"), two.join("V0002.TAR")).unwrap();
    assert!(one.join("V0001.TAR").exists() && one.join("V0003.TAR").exists(), "three volumes");
}

/// The indented line that begins with `words`, as a person would copy it.
fn line<'a>(readme: &'a str, words: &str) -> &'a str {
    let mut lines = readme.lines().filter_map(|line| line.strip_prefix("    "));
    lines.find(|line| line.starts_with(words)).unwrap_or_else(|| panic!("no line begins with {words}"))
}

/// The sha256 of a file, found as the text says: in BUNDLE.JSON.
fn digest_of(bundle: &Path, path: &str) -> String {
    let text = fs::read_to_string(bundle.join("BUNDLE.JSON")).unwrap();
    let description: serde_json::Value = serde_json::from_str(&text).unwrap();
    let files = description["items"][0]["files"].as_array().unwrap();
    let file = files.iter().find(|file| file["path"] == path).unwrap();
    file["sha256"].as_str().unwrap().to_owned()
}

#[test]
fn its_words_rebuild_files_from_two_sticks() {
    let sandbox = Sandbox::new();
    two_sticks(&sandbox);
    let readme = fs::read_to_string(sandbox.path("one/LOCALML/README.TXT")).unwrap();
    let room = tempfile::tempdir().unwrap();
    let shell = |script: &str| {
        let run = Command::new("sh").args(["-ec", script]).current_dir(room.path()).output().unwrap();
        assert!(run.status.success(), "{script}\n{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8_lossy(&run.stdout).into_owned()
    };
    let id = fs::read_dir(sandbox.path("one/LOCALML/B")).unwrap().next().unwrap().unwrap().file_name();
    let id = id.to_str().unwrap();
    for stick in ["two", "one"] {
        let place = sandbox.path(stick).display().to_string();
        shell(&line(&readme, "for volume in").replace("/path/to", &place).replace("<id>", id));
    }
    let bundle = sandbox.path("one/LOCALML/B").join(id);
    let map = digest_of(&bundle, "map.bin");
    shell(&line(&readme, "cat <sha256>.?????? >").replace("<sha256>", &map));
    assert_eq!(fs::read(room.path().join("model.gguf")).unwrap(), noise(1, 9 << 20));
    assert!(shell("sha256sum model.gguf").starts_with(&map), "the check that it names");
    if Command::new("zstd").arg("--version").output().is_err() {
        skip("rebuilding text as README.TXT says: there is no zstd");
        return;
    }
    let text = digest_of(&bundle, "text.txt");
    shell(&line(&readme, "cat <sha256>.??????.zst").replace("<sha256>", &text));
    let rebuilt = fs::read(room.path().join("tokenizer.json")).unwrap();
    assert_eq!(Sha256::of(&rebuilt).to_string(), text);
}

#[test]
fn it_names_everything_that_may_lie_on_a_stick() {
    let sandbox = Sandbox::new();
    two_sticks(&sandbox);
    let readme = fs::read_to_string(sandbox.path("one/LOCALML/README.TXT")).unwrap();
    for entry in fs::read_dir(sandbox.path("one/LOCALML")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&name), "`{name}` is not explained");
    }
    for name in ["P0001.TAR", "REQ/", "RCP/", "BIN/", "START.SH", "several sticks"] {
        assert!(readme.contains(name), "`{name}` is not explained");
    }
}
