//! ONNX embedders with the real runtime and the real starter model.

use std::fs;
use std::path::{Path, PathBuf};

use localml::embedding::{
    Embedder, EmbeddingError, OnnxEmbedder, OnnxFiles, Pooling, Result, Runtime, Settings,
};
use localml::error::{ErrorKind, Explain};

use crate::support::skipped::skip;
use crate::support::starter::starter;

const DIMENSIONS: usize = 384;

#[test]
fn a_question_is_closer_to_its_answer_than_to_anything_else() {
    let Some(mut embedder) = minilm() else { return };
    let passages = [
        "Boil water for one minute before drinking it; at high altitude, for three minutes.",
        "The generator needs 10 litres of diesel for a night.",
        "Quarterly reports are due on the fifth of the month.",
    ];
    let passages = embedder.embed_passages(&passages).unwrap();
    let question = embedder.embed_queries(&["how do I make water safe to drink?"]).unwrap().remove(0);
    let scores: Vec<f32> = passages.iter().map(|passage| question.dot(passage)).collect();
    assert!(scores[0] > scores[1] + 0.3 && scores[0] > scores[2] + 0.3, "{scores:?}");
}

#[test]
fn a_vector_has_length_1_and_does_not_depend_on_the_texts_beside_it() {
    let Some(mut embedder) = minilm() else { return };
    let long = "stick ".repeat(2000);
    let texts = ["a stick", "", long.as_str(), "水を沸かす", "one volume of a bundle, carried by hand"];
    let together = embedder.embed_passages(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        assert_eq!(vector.0.len(), DIMENSIONS);
        assert!((vector.dot(vector) - 1.0).abs() < 1e-5);
        assert_eq!(embedder.embed_passages(&[text]).unwrap()[0], *vector, "{:?}", text.get(..20));
    }
    assert_eq!(embedder.embed_passages(&[]).unwrap(), []);
}

#[test]
fn the_prefixes_count() {
    let Some(folder) = starter() else { return };
    let mut settings = settings(DIMENSIONS);
    settings.query_prefix = "query: ".to_owned();
    let mut embedder = open(&folder, model_files(&folder), settings).unwrap();
    let question = embedder.embed_queries(&["boil"]).unwrap();
    assert_eq!(question, embedder.embed_passages(&["query: boil"]).unwrap());
    assert_ne!(question, embedder.embed_passages(&["boil"]).unwrap());
}

#[test]
fn refuses_a_package_that_promises_other_dimensions() {
    let Some(folder) = starter() else { return };
    let error = open(&folder, model_files(&folder), settings(768)).err().unwrap();
    assert_eq!(error.to_string(), "the model makes vectors of 384 numbers, its package promises 768");
    assert_eq!(error.kind(), ErrorKind::Damaged);
}

#[test]
fn refuses_what_is_not_a_model() {
    let Some(folder) = starter() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let whole = fs::read(model_files(&folder).model).unwrap();
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/models/damaged");
    let mut cases = vec![
        (put(scratch.path(), "half.onnx", &whole[..whole.len() / 2]), None),
        (put(scratch.path(), "empty.onnx", b""), None),
        (
            put(scratch.path(), "page.onnx", b"<!doctype html><title>Sign in</title>"),
            Some("it is a web page"),
        ),
        (
            put(scratch.path(), "pointer.onnx", b"version https://git-lfs.github.com/spec/v1\n"),
            Some("it is a pointer to the file, not the file"),
        ),
    ];
    if shared.is_dir() {
        cases.push((shared.join("model_quantized.onnx.truncated"), None));
        cases.push((shared.join("model.onnx.redirect-page"), Some("it does not begin as ONNX files do")));
    } else {
        skip("the damaged ONNX files of ../shared/data: they are not there");
    }
    for (model, reason) in cases {
        let files = OnnxFiles { model: model.clone(), ..model_files(&folder) };
        match open(&folder, files, settings(DIMENSIONS)) {
            Err(EmbeddingError::NotAModel { path, reason: found }) => {
                assert_eq!(path, model);
                assert!(!found.is_empty() && !found.contains('\n'), "{found:?}");
                assert!(reason.is_none_or(|reason| reason == found), "{found:?}");
                println!("{}: {found}", model.display());
            }
            Err(other) => panic!("{}: {other}", model.display()),
            Ok(_) => panic!("{} was taken for a model", model.display()),
        }
    }
}

#[test]
fn names_the_tokenizer_file_that_is_missing_or_damaged() {
    let Some(folder) = starter() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let missing = scratch.path().join("tokenizer.json");
    let files = OnnxFiles { tokenizer: missing.clone(), ..model_files(&folder) };
    let error = open(&folder, files, settings(DIMENSIONS)).err().unwrap();
    assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let damaged = put(scratch.path(), "tokenizer.json", b"{");
    let files = OnnxFiles { tokenizer: damaged, ..model_files(&folder) };
    let error = open(&folder, files, settings(DIMENSIONS)).err().unwrap();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Damaged);
}

fn minilm() -> Option<OnnxEmbedder> {
    let folder = starter()?;
    Some(open(&folder, model_files(&folder), settings(DIMENSIONS)).unwrap())
}

fn open(starter: &Path, files: OnnxFiles, settings: Settings) -> Result<OnnxEmbedder> {
    let runtime = Runtime::load(&[starter.join("lib")])?;
    OnnxEmbedder::open(files, settings, &runtime, 2)
}

fn model_files(starter: &Path) -> OnnxFiles {
    OnnxFiles::in_folder(&starter.join("all-minilm-l6-v2"))
}

fn settings(dimensions: usize) -> Settings {
    Settings {
        identity: "test".to_owned(),
        dimensions,
        max_tokens: 256,
        pooling: Pooling::Mean,
        query_prefix: String::new(),
        passage_prefix: String::new(),
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}
