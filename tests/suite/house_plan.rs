//! Holds the house plan of `src/lib.rs`: which room may import which, and what no room may do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Room, then the rooms that its code may name (besides `error` and itself).
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("cli", &["ops", "package", "passage", "hardware", "progress", "home"]),
    (
        "ops",
        &[
            "answer",
            "retrieval",
            "index",
            "embedding",
            "engine",
            "document",
            "passage",
            "bundle",
            "store",
            "transfer",
            "registry",
            "hardware",
            "package",
            "gguf",
            "home",
            "disk",
            "progress",
            "digest",
        ],
    ),
    ("answer", &["passage"]),
    ("retrieval", &["index", "passage"]),
    ("index", &["passage", "disk", "digest"]),
    ("embedding", &["engine", "passage"]),
    ("engine", &["progress", "gguf"]),
    ("document", &["passage", "digest"]),
    ("bundle", &["package", "disk", "progress", "digest"]),
    ("store", &["package", "disk", "digest"]),
    ("transfer", &["package", "disk", "progress", "digest"]),
    ("registry", &["package", "disk", "digest"]),
    ("hardware", &["package", "gguf"]),
    ("gguf", &[]),
    ("package", &["digest", "gguf"]),
    ("passage", &["digest", "gguf"]),
    ("disk", &["digest"]),
    ("home", &[]),
    ("progress", &[]),
    ("digest", &[]),
    ("error", &[]),
];

/// Text that may stand only in the named rooms, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("reqwest", &["transfer"], "one HTTP client"),
    ("TcpStream", &[], "only transfer opens sockets, through its HTTP client"),
    ("UdpSocket", &[], "only transfer opens sockets, through its HTTP client"),
    ("tantivy::", &["index"], "the word index stays behind one door"),
    ("usearch::", &["index"], "the vector index stays behind one door"),
    ("llama_cpp", &["engine"], "llama.cpp stays behind one door"),
    ("fastembed::", &["embedding"], "ONNX stays behind one door"),
    ("ort::", &["embedding"], "ONNX stays behind one door"),
    ("clap::", &["cli"], "only the roof parses words"),
    ("indicatif::", &["cli"], "only the roof draws bars"),
    ("qrcode::", &["cli"], "only the roof draws"),
    ("tough::", &["registry"], "signatures stay behind one door"),
    ("env::var", &["cli"], "only the roof reads the environment"),
    ("fs::write", &["disk"], "only disk creates files"),
    ("fs::rename", &["disk"], "only disk renames files"),
    ("fs::remove_", &["disk"], "only disk removes files"),
    ("fs::create_dir", &["disk"], "only disk creates folders"),
    ("File::create", &["disk"], "only disk creates files"),
    ("process::exit", &["cli"], "leaving early skips destructors"),
];

#[test]
fn rooms_import_only_what_the_plan_allows() {
    let rooms: BTreeSet<&str> = MAY_IMPORT.iter().map(|(room, _)| *room).collect();
    let mut breaches = Vec::new();
    for (room, allowed) in MAY_IMPORT {
        for (path, code) in code_of(room) {
            for named in paths_after(&code, "crate::") {
                let is_allowed = named == *room || named == "error" || allowed.contains(&named.as_str());
                if rooms.contains(named.as_str()) && !is_allowed {
                    breaches.push(format!("{}: `{room}` may not name `{named}`", path.display()));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_room_stands_in_the_plan() {
    let mut rooms: Vec<String> = fs::read_dir(source_folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    rooms.sort();
    let mut planned: Vec<&str> = MAY_IMPORT.iter().map(|(room, _)| *room).collect();
    planned.sort_unstable();
    assert_eq!(rooms, planned);
}

#[test]
fn the_test_itself_can_see_every_import() {
    let mut breaches = Vec::new();
    for (room, _) in MAY_IMPORT {
        for (path, code) in code_of(room) {
            for (line, text) in code.lines().enumerate() {
                let is_glob = text.trim_start().starts_with("use ") && text.contains("::*");
                let grouped = text.contains("crate::{") || text.contains("use crate;");
                if (is_glob && !text.contains("super::*")) || text.contains("super::super") || grouped {
                    breaches.push(format!("{}:{}: {}", path.display(), line + 1, text.trim()));
                }
            }
        }
    }
    assert!(
        breaches.is_empty(),
        "globs, `super::super` and `crate::{{…}}` hide imports:\n{}",
        breaches.join("\n")
    );
}

#[test]
fn what_is_absent_stays_absent() {
    let mut breaches = Vec::new();
    for (room, _) in MAY_IMPORT {
        for (path, code) in code_of(room) {
            for (text, rooms, reason) in ONLY_IN {
                if !rooms.contains(room) && names(&code, text) {
                    breaches.push(format!("{}: `{text}`: {reason}", path.display()));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let mut long = Vec::new();
    for (room, _) in MAY_IMPORT {
        for path in files_in(&source_folder().join(room)) {
            let num_lines = fs::read_to_string(&path).unwrap().lines().count();
            if num_lines > 500 {
                long.push(format!("{}: {num_lines} lines", path.display()));
            }
        }
    }
    assert!(long.is_empty(), "a file is one idea:\n{}", long.join("\n"));
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The program text of a room, without comments and without its unit tests.
fn code_of(room: &str) -> Vec<(PathBuf, String)> {
    files_in(&source_folder().join(room))
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let before_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let code: Vec<&str> = before_tests
                .lines()
                .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
                .collect();
            (path, code.join("\n"))
        })
        .collect()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// True when `needle` stands in `code` as a name of its own, not as the end of a longer one.
fn names(code: &str, needle: &str) -> bool {
    code.match_indices(needle)
        .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

/// The identifier that follows each `prefix`.
fn paths_after(code: &str, prefix: &str) -> Vec<String> {
    code.match_indices(prefix)
        .map(|(at, _)| {
            code[at + prefix.len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        })
        .collect()
}
