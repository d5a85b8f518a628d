//! A test collection in BEIR's layout.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ErrorKind;
use crate::ops::error::{Error, Result};
use crate::retrieval::Judgements;

/// A test collection.
pub(super) struct Dataset {
    pub(super) name: String,
    pub(super) documents: Vec<Document>,
    /// The questions that have a judgement.
    pub(super) questions: Vec<Question>,
}

/// A document.
#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(rename = "_id")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) title: String,
    pub(super) text: String,
}

/// A question with the documents that answer it.
#[derive(Deserialize)]
pub(super) struct Question {
    #[serde(rename = "_id")]
    pub(super) id: String,
    pub(super) text: String,
    #[serde(skip)]
    pub(super) judged: Judgements,
}

impl Dataset {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let documents = read_lines(&folder.join("corpus.jsonl"))?;
        let mut questions: Vec<Question> = read_lines(&folder.join("queries.jsonl"))?;
        let plain = folder.join("qrels.tsv");
        let path = if plain.is_file() { plain } else { folder.join("qrels").join("test.tsv") };
        let mut judged = read_judgements(&path)?;
        for question in &mut questions {
            question.judged = judged.remove(&question.id).unwrap_or_default();
        }
        questions.retain(|question| !question.judged.is_empty());
        let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, documents, questions })
    }
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Failed,
        };
        Error::new(kind, format!("`{}`: {error}", path.display()))
            .with_hint("the folder must hold `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (BEIR's layout)")
    })
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| malformed(path, number + 1, &error.to_string()))
        })
        .collect()
}

fn read_judgements(path: &Path) -> Result<HashMap<String, Judgements>> {
    let text = read_text(path)?;
    let mut judged: HashMap<String, Judgements> = HashMap::new();
    for (number, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [question, document, grade] = cells[..] else {
            return Err(malformed(path, number + 1, "not three cells with tabs between them"));
        };
        let grade: i64 = grade
            .trim()
            .parse()
            .map_err(|_| malformed(path, number + 1, "the score is not a whole number"))?;
        if let Ok(grade) = u32::try_from(grade)
            && grade > 0
        {
            judged.entry(question.to_owned()).or_default().insert(document.to_owned(), grade);
        }
    }
    Ok(judged)
}

fn malformed(path: &Path, line: usize, reason: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("`{}`, line {line}: {reason}", path.display()))
}
