//! Bytes that nobody vouches for, by the thousand: whatever lies on a stick, its readers end with an answer
//! or an error, in little memory, and let nothing in that was not authorised.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use localml::bundle::{self, ExportOptions, Outgoing, Plan, TrustFile};
use localml::digest::Sha256;
use localml::package::{Piece, PieceList};
use localml::progress::Silent;

use crate::support::drill::rounds;
use crate::support::mutation::{Dice, mutated};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::{Desk, files_in};
use crate::support::tiny_gguf::{TinyGguf, tiny_bert, tiny_llama};

#[path = "../fuzz/targets.rs"]
mod targets;

/// Set for the process that does the fuzzing, in which memory is scarce.
const CHILD: &str = "LOCALML_FUZZ_CHILD";

/// How much memory that process may write to, in KiB: its heap, its stacks, the doors' buffers of 40 MiB.
const MAX_DATA_KIB: u64 = 192 * 1024;

const SEED: u64 = 20_261_122;

#[test]
fn no_bytes_stop_a_reader_or_fill_the_memory_or_let_a_stranger_in() {
    if env::var_os(CHILD).is_some() {
        // In turns, so that a long run that is ended early has looked at every target.
        for pass in 0..rounds(1, 60) as u64 {
            targets::TARGETS.iter().for_each(|(name, target)| fuzz(name, *target, pass));
        }
        return;
    }
    let this = "fuzzing::no_bytes_stop_a_reader_or_fill_the_memory_or_let_a_stranger_in";
    let run = in_scarce_memory().args([this, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "the input that did it lies in `{}`:\n{said}", last_input("*").display());
    assert!(said.contains("fuzzed"), "nothing was done: {said}");
}

#[test]
fn the_memory_of_a_fuzzing_process_is_scarce_indeed() {
    if env::var_os(CHILD).is_some() {
        let bytes = vec![1u8; (MAX_DATA_KIB as usize) << 10];
        println!("{} bytes were to be had", bytes.iter().filter(|&&byte| byte == 1).count());
        return;
    }
    let this = "fuzzing::the_memory_of_a_fuzzing_process_is_scarce_indeed";
    let run = in_scarce_memory().args([this, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(!run.status.success() && !String::from_utf8_lossy(&run.stdout).contains("to be had"), "{run:?}");
}

/// This test binary again, with a limit that the system holds.
fn in_scarce_memory() -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -d {MAX_DATA_KIB} && exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(env::current_exe().unwrap()).arg("--test-threads=1");
    command
}

/// Every seed as it is, then many made worse.
fn fuzz(name: &str, target: targets::Target, pass: u64) {
    let seeds = seeds_of(name);
    let kept = last_input(name);
    let run = |bytes: &[u8]| {
        fs::write(&kept, bytes).unwrap();
        target(bytes);
    };
    seeds.iter().for_each(|seed| run(seed));
    let mut dice = Dice::new(SEED + pass);
    let count = if ["gguf", "short", "statement"].contains(&name) { 3_000 } else { 500 };
    for _ in 0..count {
        run(&mutated(&seeds, &mut dice));
    }
    fs::remove_file(&kept).unwrap();
    println!("fuzzed {name}: {} seeds, {count} inputs", seeds.len());
}

/// Where the input at hand is kept, for whoever looks into a crash.
fn last_input(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-last-{name}"))
}

// ── seeds ────────────────────────────────────────────────────────────────────────────────────

/// What is checked in, and what today's writers write.
fn seeds_of(name: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut seeds: Vec<Vec<u8>> = match corpus.is_dir() {
        true => files_in(&corpus).iter().map(|path| fs::read(path).unwrap()).collect(),
        false => Vec::new(),
    };
    let sandbox = Sandbox::new();
    match name {
        "gguf" => seeds.extend(models()),
        "letter" => seeds.extend(letters(&sandbox)),
        "short" => seeds.extend(short_request(&sandbox)),
        "statement" => seeds.push(targets::STATEMENT.to_vec()),
        "tuf" => seeds.extend(trust_files(&sandbox).iter().map(registry_file)),
        _ => {
            let desk = sample_stick(&sandbox);
            let is_meant = |path: &PathBuf| {
                let path = path.to_str().unwrap();
                match name {
                    "description" => path.ends_with("BUNDLE.JSON"),
                    "volume" => path.contains("/V0"),
                    "trust" => path.contains("/TRUST/"),
                    _ => path.contains("/STICK."),
                }
            };
            seeds.extend(
                desk.files().iter().filter(|path| is_meant(path)).map(|path| fs::read(path).unwrap()),
            );
            let sample =
                targets::SAMPLE.iter().filter(|(path, _)| is_meant(&PathBuf::from(format!("/{path}"))));
            seeds.extend(sample.map(|(_, bytes)| bytes.to_vec()));
            // With parity, and with shares of several sticks.
            let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sets");
            seeds.extend(
                files_in(&sets).iter().filter(|path| is_meant(path)).map(|path| fs::read(path).unwrap()),
            );
        }
    }
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds
}

/// Three small blobs, one of them in pieces, one of them compressed, and a registry.
fn sample_stick(sandbox: &Sandbox) -> Desk {
    let mut desk = Desk::new(&[b"little", &noise(1, 3000)]);
    desk.add("All the words of a long handbook.\n".repeat(100).as_bytes(), true);
    let bytes = noise(1, 3000);
    let pieces = bytes.chunks(1024).zip(0u64..).map(|(piece, index)| Piece {
        offset: index * 1024,
        length: piece.len() as u64,
        sha256: Sha256::of(piece),
    });
    desk.blobs[1].pieces = Some(PieceList::new(pieces.collect()).unwrap());
    let outgoing = Outgoing { blobs: desk.blobs.clone(), trust: trust_files(sandbox), ..Outgoing::default() };
    let plan = Plan::new(&desk.stick(), outgoing, &ExportOptions::default()).unwrap();
    bundle::write(&desk.stick(), plan, &Silent).unwrap();
    desk
}

/// A registry with two packages, as a cafe carries it.
fn trust_files(sandbox: &Sandbox) -> Vec<TrustFile> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.add("book", "2.1.0", &[("book.md", b"# A book\n"), ("map.bin", &noise(1, 3000))]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    let folder = sandbox.path("cafe/registries/ngo");
    let files = localml::registry::trust_files(&folder).unwrap().into_iter();
    files.map(|(name, bytes)| TrustFile { name: format!("ngo/{name}").parse().unwrap(), bytes }).collect()
}

/// As the target `tuf` takes it: a name, a line feed, the bytes.
fn registry_file(file: &TrustFile) -> Vec<u8> {
    let name = file.name.as_str().split_once('/').unwrap().1;
    [name.as_bytes(), b"\n", &file.bytes].concat()
}

fn models() -> Vec<Vec<u8>> {
    vec![tiny_llama(64, None).bytes(), tiny_bert().bytes(), TinyGguf::new("llama").bytes()]
}

/// The request that a site writes, and its receipt after an import.
fn letters(sandbox: &Sandbox) -> Vec<Vec<u8>> {
    trust_files(sandbox);
    sandbox.ok("cafe", &["fetch", "book", "note"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    let fingerprint = registry_fingerprint(sandbox);
    sandbox.ok("site", &["--offline", "import", "stick", "--fingerprint", &fingerprint]);
    sandbox.ok("site", &["--offline", "request", "stick"]);
    let mut files = files_in(&sandbox.path("stick"));
    files.retain(|path| ["REQ", "RCP"].iter().any(|folder| path.parent().unwrap().ends_with(folder)));
    assert_eq!(files.len(), 2, "a request and a receipt");
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn short_request(sandbox: &Sandbox) -> Vec<Vec<u8>> {
    trust_files(sandbox);
    sandbox.ok("cafe", &["install", "book"]);
    let (code, report) = sandbox.json("cafe", &["--offline", "request", "--short"]);
    assert_eq!(code, Some(0), "{report}");
    vec![report["text"].as_str().unwrap().as_bytes().to_vec()]
}

fn registry_fingerprint(sandbox: &Sandbox) -> String {
    Sha256::of(&fs::read(sandbox.path("publisher/ngo/registry/1.root.json")).unwrap()).to_string()
}
