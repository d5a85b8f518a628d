//! Twenty questions, written before any tuning: the right passage is among the first three, and every quote
//! stands verbatim at the lines that are cited.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::sandbox::Sandbox;
use crate::support::skipped::skip;
#[cfg(feature = "onnx")]
use crate::support::starter::install_embedder;

/// With the starter embedder: of twenty questions, so many have the right passage among the first three.
#[cfg(feature = "onnx")]
const MIN_RIGHT: usize = 18;

struct Question {
    collection: String,
    text: String,
    snippet: String,
}

/// By words alone: what remains without an embedder.
const MIN_RIGHT_BY_WORDS: usize = 13;

#[test]
#[cfg(feature = "onnx")]
fn eighteen_of_twenty_questions_find_their_passage_among_the_first_three() {
    let sandbox = Sandbox::new();
    if install_embedder(&sandbox, "home") {
        ask_all(&sandbox, MIN_RIGHT);
    }
}

#[test]
fn words_alone_find_most_of_the_passages() {
    ask_all(&Sandbox::new(), MIN_RIGHT_BY_WORDS);
}

fn ask_all(sandbox: &Sandbox, min_right: usize) {
    let questions = indexed_questions(sandbox);
    let mut wrong = Vec::new();
    for question in &questions {
        let (code, value) =
            sandbox.json("home", &["find", &question.text, "--in", &question.collection, "-n", "3"]);
        assert_eq!(code, Some(0), "{value}");
        let passages = value["passages"].as_array().unwrap();
        passages.iter().for_each(assert_is_verbatim);
        if !passages.iter().any(|passage| passage["text"].as_str().unwrap().contains(&question.snippet)) {
            wrong.push(format!("{}: {}", question.collection, question.text));
        }
    }
    println!("{} of {} right", questions.len() - wrong.len(), questions.len());
    let allowed = questions.len() * (20 - min_right) / 20;
    assert!(wrong.len() <= allowed, "not among the first three:\n{}", wrong.join("\n"));
}

/// Indexes each set's source that is there; returns its questions.
fn indexed_questions(sandbox: &Sandbox) -> Vec<Question> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(project.join("tests/data/questions.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let mut questions = Vec::new();
    for set in table["set"].as_array().unwrap() {
        let word = |value: &toml::Value, key: &str| value[key].as_str().unwrap().to_owned();
        let source: PathBuf = project.join(word(set, "source"));
        if !source.exists() {
            skip(&format!("questions about {}: it is not there", source.display()));
            continue;
        }
        let collection = word(set, "name");
        sandbox.ok("home", &["index", "add", source.to_str().unwrap(), "--name", &collection]);
        for question in set["question"].as_array().unwrap() {
            questions.push(Question {
                collection: collection.clone(),
                text: word(question, "text"),
                snippet: word(question, "snippet"),
            });
        }
    }
    assert!(questions.len() >= 10, "at least the handbook is always there");
    questions
}

/// The quote stands in the cited lines, and the passage at its bytes.
fn assert_is_verbatim(passage: &Value) {
    let file = std::fs::read_to_string(passage["path"].as_str().unwrap()).unwrap();
    let number = |key: &str| usize::try_from(passage[key].as_u64().unwrap()).unwrap();
    let lines: Vec<&str> = file.split_inclusive('\n').collect();
    let quote = passage["quote"].as_str().unwrap();
    assert!(lines[number("quote_first_line") - 1..number("quote_last_line")].concat().contains(quote));
    let text = passage["text"].as_str().unwrap();
    assert_eq!(&file[number("start_byte")..number("end_byte")], text);
    assert!(lines[number("first_line") - 1..number("last_line")].concat().contains(text));
    assert!(text.contains(quote));
}
