//! Documents found by meaning, by the real program with real embedders: ONNX and GGUF.

use std::fs;
use std::path::Path;

use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
#[cfg(feature = "onnx")]
use crate::support::starter::starter;
#[cfg(feature = "engine")]
use crate::support::tiny_gguf::tiny_bert;

const WATER: &str = "# Water\n\nBoil it for one minute before you drink it.\n";
const POWER: &str = "# Power\n\nA generator burns ten litres of diesel in a night.\n";

/// A sandbox with two documents, and in `home` the starter embedder as its own manifest describes it.
#[cfg(feature = "onnx")]
fn with_minilm(starter: &Path) -> Sandbox {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    let manifest =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/starter/manifests/all-minilm-l6-v2/1.0.0.toml");
    sandbox.write("publisher/ngo/manifests/all-minilm-l6-v2/1.0.0.toml", fs::read(manifest).unwrap());
    for entry in fs::read_dir(starter.join("all-minilm-l6-v2")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        sandbox.write(format!("publisher/ngo/files/all-minilm-l6-v2/{name}"), fs::read(&path).unwrap());
    }
    publisher.publish();
    publisher.introduce("home", publisher.registry().to_str().unwrap());
    sandbox.ok("home", &["update"]);
    sandbox.ok("home", &["install", "all-minilm-l6-v2"]);
    sandbox.write("docs/water.md", WATER);
    sandbox.write("docs/power.md", POWER);
    sandbox
}

/// Runs the program with the library at `lib`; returns the exit code, the JSON value and what stood on stderr.
#[cfg(feature = "onnx")]
fn with_library(sandbox: &Sandbox, lib: &Path, args: &[&str]) -> (Option<i32>, serde_json::Value, String) {
    let output =
        sandbox.command("home").env("LOCALML_ONNXRUNTIME", lib).arg("--json").args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{stderr}"));
    (output.status.code(), value, stderr)
}

#[cfg(feature = "onnx")]
#[test]
fn a_question_finds_the_passage_that_shares_no_word_with_it() {
    let Some(starter) = starter() else { return };
    let (sandbox, lib) = (with_minilm(&starter), starter.join("lib"));
    let (code, added, _) = with_library(&sandbox, &lib, &["index", "add", "docs"]);
    assert_eq!((code, &added["vectors"]["num_new"]), (Some(0), &2.into()), "{added}");
    assert!(added["vectors"]["embedder"].as_str().unwrap().starts_with("onnx:"), "{added}");
    let (_, found, _) = with_library(&sandbox, &lib, &["find", "hygiene against germs"]);
    assert_eq!((&found["used_vectors"], &found["passages"][0]["file"]), (&true.into(), &"water.md".into()));

    // A moved file costs no second embedding.
    fs::rename(sandbox.path("docs/water.md"), sandbox.path("docs/drinking.md")).unwrap();
    let (_, again, _) = with_library(&sandbox, &lib, &["index", "add", "docs"]);
    assert_eq!((&again["vectors"]["num_new"], &again["vectors"]["num_vectors"]), (&0.into(), &2.into()));
}

#[cfg(feature = "onnx")]
#[test]
fn without_the_onnx_library_words_still_find_and_the_reason_is_said() {
    let Some(starter) = starter() else { return };
    let (sandbox, nowhere) = (with_minilm(&starter), Path::new("/nowhere/lib"));
    let (code, added, said) = with_library(&sandbox, nowhere, &["index", "add", "docs"]);
    assert_eq!(code, Some(8), "{added}");
    let problem = added["vector_problem"].as_str().unwrap();
    assert!(problem.contains("the ONNX Runtime library was not found in `/nowhere/lib`"), "{problem}");
    assert!(said.contains("found by words only"), "{said}");
    let (code, found, _) = with_library(&sandbox, nowhere, &["find", "boil"]);
    assert_eq!((code, &found["passages"][0]["file"]), (Some(0), &"water.md".into()));

    let (code, refreshed, _) = with_library(&sandbox, &starter.join("lib"), &["index", "refresh"]);
    assert_eq!((code, &refreshed[0]["vectors"]["num_new"]), (Some(0), &2.into()), "{refreshed}");
    let (code, found, _) = with_library(&sandbox, nowhere, &["find", "boil"]);
    assert_eq!((code, &found["used_vectors"]), (Some(0), &false.into()));
    assert!(found["notes"][0].as_str().unwrap().contains("ONNX Runtime"), "{found}");
}

#[cfg(feature = "engine")]
#[test]
fn a_gguf_embedder_that_nobody_described_makes_vectors() {
    let sandbox = Sandbox::new();
    tiny_bert().write(&sandbox.path("bert.gguf"));
    sandbox.ok("home", &["adopt", "bert.gguf", "--name", "tiny-bert", "--kind", "embedder"]);
    sandbox.write("docs/water.md", WATER);
    sandbox.write("docs/power.md", POWER);
    let (code, added) = sandbox.json("home", &["index", "add", "docs"]);
    assert_eq!((code, &added["vectors"]["num_new"]), (Some(0), &2.into()), "{added}");
    assert!(added["vectors"]["embedder"].as_str().unwrap().starts_with("gguf:"), "{added}");
    let (code, found) = sandbox.json("home", &["find", "boil"]);
    assert_eq!((code, &found["used_vectors"]), (Some(0), &true.into()), "{found}");
    assert_eq!(found["passages"][0]["file"], "water.md");
}

#[cfg(feature = "engine")]
#[test]
fn a_collection_with_damaged_vectors_is_searched_by_words() {
    let sandbox = Sandbox::new();
    tiny_bert().write(&sandbox.path("bert.gguf"));
    sandbox.ok("home", &["adopt", "bert.gguf", "--name", "tiny-bert", "--kind", "embedder"]);
    sandbox.write("docs/water.md", WATER);
    sandbox.write("docs/power.md", POWER);
    sandbox.ok("home", &["index", "add", "docs"]);
    let files =
        fs::read_dir(sandbox.path("home/collections/docs")).unwrap().map(|entry| entry.unwrap().path());
    let vectors: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "lmv")).collect();
    fs::write(&vectors[0], b"nothing of the kind").unwrap();
    let (code, found) = sandbox.json("home", &["find", "boil"]);
    assert_eq!((code, &found["passages"][0]["file"]), (Some(0), &"water.md".into()), "{found}");
    assert!(found["notes"].to_string().contains("`docs` is searched by words only"), "{found}");
    assert!(found["notes"].to_string().contains("localml index refresh docs"), "{found}");
}

#[cfg(feature = "engine")]
#[test]
fn a_gguf_embedder_whose_package_promises_other_dimensions_is_refused() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    let manifest = "[package]\nname = \"tiny-bert\"\nversion = \"1.0.0\"\nkind = \"embedder\"\ntitle = \"Tiny\"\n\
                    license = \"MIT\"\nembedding = { dimensions = 999, max_tokens = 64 }\n[[variant]]\n\
                    id = \"f32\"\n[[variant.file]]\npath = \"model.gguf\"\n";
    sandbox.write("publisher/ngo/manifests/tiny-bert/1.0.0.toml", manifest);
    tiny_bert().write(&sandbox.write("publisher/ngo/files/tiny-bert/model.gguf", b""));
    publisher.publish();
    publisher.introduce("home", publisher.registry().to_str().unwrap());
    sandbox.ok("home", &["update"]);
    sandbox.ok("home", &["install", "tiny-bert"]);
    sandbox.write("docs/water.md", WATER);
    let (code, added) = sandbox.json("home", &["index", "add", "docs"]);
    assert_eq!(code, Some(8), "{added}");
    let problem = added["vector_problem"].as_str().unwrap();
    assert!(problem.contains("its package promises 999"), "{problem}");
}
