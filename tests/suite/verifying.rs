//! `verify`: which pieces are damaged, with and without a publisher's word, by the real program.

use std::fs;
use std::path::PathBuf;

use localml::digest::Sha256;
use localml::home::Home;
use localml::ops::verify;
use localml::progress::{Monitor, Task, Unit};
use serde_json::{Value, json};

use crate::support::damage::{corrupt, forget_pieces, largest_blob};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const PIECE: u64 = 4 << 20;

/// `book`, with a file of 4 pieces and 5 bytes, and `atlas` with the same file and another, installed from a folder.
fn site(sandbox: &Sandbox) {
    let publisher = Publisher::new(sandbox, "ngo");
    let map = noise(1, (4 * PIECE + 5) as usize);
    publisher.add("book", "1.0.0", &[("map.bin", &map), ("chapter.md", b"# A chapter\n")]);
    publisher.add("atlas", "1.0.0", &[("same.bin", &map), ("small.bin", &noise(2, 70_000))]);
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("site", &["install", "book", "atlas"]);
}

/// The damaged pieces of the first damaged file of a package.
fn pieces(report: &Value, package: &str) -> Value {
    let mut packages = report["packages"].as_array().unwrap().iter();
    let found = packages.find(|found| found["name"] == package).unwrap();
    found["damaged_files"][0]["damaged_pieces"].clone()
}

#[test]
fn each_damaged_piece_is_told_by_offset_length_and_number() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    let blob = largest_blob(&sandbox, "site");
    corrupt(&blob, &[0, PIECE - 1, 2 * PIECE + 7, 4 * PIECE + 4]);
    let expected = json!([
        {"offset": 0, "length": PIECE, "number": 0},
        {"offset": 2 * PIECE, "length": PIECE, "number": 2},
        {"offset": 4 * PIECE, "length": 5, "number": 4},
    ]);
    let (code, report) = sandbox.json("site", &["verify"]);
    assert_eq!(
        (code, pieces(&report, "book"), pieces(&report, "atlas")),
        (Some(4), expected.clone(), expected)
    );
    // What two packages share is hashed once: 16 MiB and 5 bytes, 12, and 70,000.
    assert_eq!(report["size_bytes"].as_u64(), Some(4 * PIECE + 5 + 12 + 70_000));
    let run = sandbox.run("site", &["verify", "book"]);
    assert!(run.stdout.contains("`map.bin`: 3 pieces are damaged, 8.39 MB of 16.8 MB"), "{}", run.stdout);
    assert!(run.stdout.contains("piece 4: 5 bytes at 16777216") && run.stdout.contains("localml repair"));
}

#[test]
fn a_file_without_a_piece_list_gets_one_at_its_first_verification() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    forget_pieces(&sandbox, "site");
    let blob = largest_blob(&sandbox, "site");
    sandbox.ok("site", &["verify"]);
    corrupt(&blob, &[PIECE + 1]);
    let (_, report) = sandbox.json("site", &["verify"]);
    assert_eq!(pieces(&report, "book"), json!([{"offset": PIECE, "length": PIECE, "number": 1}]));
}

#[test]
fn without_any_list_the_damage_lies_somewhere() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    forget_pieces(&sandbox, "site");
    corrupt(&largest_blob(&sandbox, "site"), &[PIECE + 1]);
    let (code, report) = sandbox.json("site", &["verify"]);
    let all = json!([{"offset": 0, "length": 4 * PIECE + 5, "number": null}]);
    assert_eq!((code, pieces(&report, "book")), (Some(4), all));
    let run = sandbox.run("site", &["verify"]);
    assert!(run.stdout.contains("somewhere in its 16777221 bytes; no piece list of it is here"), "{run:?}");
}

#[test]
fn a_list_made_here_that_lies_is_found_out_by_the_whole() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    forget_pieces(&sandbox, "site");
    sandbox.ok("site", &["verify"]);
    let digest = largest_blob(&sandbox, "site").file_name().unwrap().to_str().unwrap().to_owned();
    let cut = sandbox.path(format!("site/pieces/{digest}.cut"));
    let text = fs::read_to_string(&cut).unwrap();
    let third = text.lines().nth(3).unwrap().rsplit(' ').next().unwrap();
    fs::write(&cut, text.replace(third, &Sha256::of(b"another").to_string())).unwrap();
    sandbox.ok("site", &["verify"]);
    assert_eq!(fs::read_to_string(&cut).unwrap(), text, "and made anew");
}

#[test]
fn bytes_behind_the_end_and_a_cut_end_are_damage() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    let blob = largest_blob(&sandbox, "site");
    let bytes = fs::read(&blob).unwrap();
    corrupt(&blob, &[]);
    fs::write(&blob, [&bytes[..], b"more"].concat()).unwrap();
    let (_, report) = sandbox.json("site", &["verify", "book"]);
    assert_eq!(pieces(&report, "book"), json!([{"offset": 4 * PIECE + 5, "length": 4, "number": null}]));
    let aside = blob.with_extension("damaged");
    fs::write(&aside, &bytes[..PIECE as usize * 3 + 1]).unwrap();
    let (_, report) = sandbox.json("site", &["verify", "book"]);
    let last = json!([{"offset": 3 * PIECE, "length": PIECE, "number": 3}, {"offset": 4 * PIECE, "length": 5, "number": 4}]);
    assert_eq!(pieces(&report, "book"), last);
    // A medium that failed only for a moment: the bytes that were set aside are right, and are used again.
    fs::write(&aside, &bytes).unwrap();
    sandbox.ok("site", &["verify"]);
    assert!(blob.is_file() && !aside.exists());
    let map = sandbox.ok("site", &["path", "book", "map.bin"]);
    assert_eq!(Sha256::of_file(map.trim().as_ref()).unwrap(), Sha256::of(&bytes));
}

/// Puts right bytes in the place of a blob while it is hashed, as another command's repair does.
struct Repairer {
    blob: PathBuf,
    right: PathBuf,
}

impl Monitor for Repairer {
    fn start(&self, _label: &str, _total: Option<u64>, _unit: Unit) -> Box<dyn Task + '_> {
        Box::new(Repair(self))
    }

    fn note(&self, _text: &str) {}

    fn warn(&self, _text: &str) {}
}

struct Repair<'a>(&'a Repairer);

impl Task for Repair<'_> {
    fn advance(&self, _count: u64) {
        // Once; later there is nothing to rename.
        let _ = fs::rename(&self.0.right, &self.0.blob);
    }
}

#[test]
fn what_was_repaired_while_it_was_hashed_stays_in_use() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    let blob = largest_blob(&sandbox, "site");
    let right = sandbox.write("right", fs::read(&blob).unwrap());
    corrupt(&blob, &[7]);
    let home = Home::at(sandbox.path("site"));
    let report = verify(&home, &[], &Repairer { blob: blob.clone(), right }).unwrap();
    assert!(!report.is_whole(), "what was hashed was damaged");
    assert!(blob.exists() && !blob.with_extension("damaged").exists());
    sandbox.ok("site", &["verify"]);
}
