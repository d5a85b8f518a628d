//! `find`: the passages that answer a question, each with its source and its best sentence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::document::{self, Format};
use crate::error::{ErrorKind, Explain as _};
use crate::home::Home;
use crate::index::{Analyser, Collection};
use crate::passage::Vector;
use crate::progress::Monitor;
use crate::retrieval::{Found, Question, SearchOptions, best_sentence, search};

use super::embedding::Embedders;
use super::error::{Error, Result};
use super::index::{collection_names, folder_of};
use super::revoked;

/// What to find.
#[derive(Debug, Clone)]
pub struct FindOptions {
    /// The question.
    pub question: String,
    /// The collections to search; all when there are none.
    pub collections: Vec<String>,
    /// How many passages are wanted.
    pub limit: usize,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct FindReport {
    /// The question.
    pub question: String,
    /// The passages, best first.
    pub passages: Vec<FoundPassage>,
    /// True when meaning was searched too, not only words.
    pub used_vectors: bool,
    /// What limits the search, each with what to do about it.
    pub notes: Vec<String>,
}

/// A passage with its source.
#[derive(Debug, Clone, Serialize)]
pub struct FoundPassage {
    /// The collection.
    pub collection: String,
    /// The file's name in it.
    pub file: String,
    /// Where the file lies.
    pub path: PathBuf,
    /// The headings above the passage, outermost first.
    pub heading_path: Vec<String>,
    /// The page, where the format has pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// The passage's first line, counted from 1.
    pub first_line: u32,
    /// The passage's last line.
    pub last_line: u32,
    /// True when lines and bytes count in the text that was extracted of the file (PDF, HTML, other
    /// encodings than UTF-8), not in the file itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_extracted: bool,
    /// Where that text lies, when it is extracted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_path: Option<PathBuf>,
    /// False for formats whose lines nobody sees (HTML, PDF).
    #[serde(skip)]
    pub has_lines: bool,
    /// Where it begins, in bytes.
    pub start_byte: u64,
    /// One past where it ends, in bytes.
    pub end_byte: u64,
    /// How well it fits, from 0 to 1, within this search.
    pub score: f32,
    /// Its words' score (BM25), when its words were found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word_score: Option<f32>,
    /// Its meaning's score (cosine), when it was near.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_score: Option<f32>,
    /// The sentence that says most about the question, exactly as it stands there.
    pub quote: String,
    /// The quote's first line.
    pub quote_first_line: u32,
    /// The quote's last line.
    pub quote_last_line: u32,
    /// The whole passage, exactly as it stands there.
    pub text: String,
    /// ISO 639-1 code of its language, when it could be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// Searches the collections by words and, where an embedder allows, by meaning.
///
/// # Errors
/// `NotFound` when nothing is indexed or nothing fits; when a named collection does not exist or is
/// damaged.
pub fn find(
    home: &Home,
    options: &FindOptions,
    embedders: &mut Embedders,
    monitor: &dyn Monitor,
) -> Result<FindReport> {
    let collections = open_collections(home, &options.collections, monitor)?;
    let collections: Vec<&Collection> = collections.iter().collect();
    let mut notes = Vec::new();
    let vectors = question_vectors(&options.question, &collections, embedders, &mut notes);
    let used_vectors = !vectors.is_empty();
    let question = Question { text: options.question.clone(), vectors };
    let search_options = SearchOptions { limit: options.limit, ..SearchOptions::default() };
    let found = search(&collections, &question, &mut notes, &search_options)?;
    if found.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "no passage has any of these words").with_hint(
            "try other words, in the language of the documents; `localml search` looks for packages instead",
        ));
    }
    if found.iter().all(|found| found.ranked.word_score.is_none()) {
        notes.push("no passage has a word of the question; these are the nearest in meaning".to_owned());
    }
    let mut analyser = Analyser::new();
    let passages: Vec<FoundPassage> =
        found.into_iter().map(|found| shown(&mut analyser, &question.text, &collections, found)).collect();
    let mut report = FindReport { question: question.text, passages, used_vectors, notes };
    let files: Vec<&Path> = report.passages.iter().map(|passage| passage.path.as_path()).collect();
    report.notes.extend(revoked::warnings_about(home, &files, &[])?);
    Ok(report)
}

/// Opens the named collections, or all; among all, a damaged one is passed over with a warning.
fn open_collections(home: &Home, names: &[String], monitor: &dyn Monitor) -> Result<Vec<Collection>> {
    if !names.is_empty() {
        return names.iter().map(|name| Ok(Collection::open(&folder_of(home, name))?)).collect();
    }
    let all = collection_names(home)?;
    let mut collections = Vec::new();
    let mut failure = None;
    for name in &all {
        match Collection::open(&folder_of(home, name)) {
            Ok(collection) => collections.push(collection),
            Err(error) => {
                let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                monitor.warn(&format!("`{name}` is left out: {error}{hint}"));
                failure = Some(error);
            }
        }
    }
    match (collections.is_empty(), failure) {
        (false, _) => Ok(collections),
        (true, Some(error)) => Err(error.into()),
        (true, None) => Err(Error::new(ErrorKind::NotFound, "no documents are indexed")
            .with_hint("run `localml index add FOLDER` first")),
    }
}

/// The question's vector for each embedder that the collections have vectors of.
fn question_vectors(
    question: &str,
    collections: &[&Collection],
    embedders: &mut Embedders,
    notes: &mut Vec<String>,
) -> BTreeMap<String, Vector> {
    let mut vectors = BTreeMap::new();
    for collection in collections {
        let name = collection.name();
        let Some(identity) = collection.embedder() else {
            if !embedders.is_empty() {
                notes.push(format!(
                    "`{name}` is searched by words only; `localml index refresh {name}` adds meaning"
                ));
            }
            continue;
        };
        if !collection.has_all_vectors() {
            notes
                .push(format!("some of `{name}` has no vectors yet; `localml index refresh {name}` goes on"));
        }
        if vectors.contains_key(identity) {
            continue;
        }
        let Some(embedder) = embedders.of_identity(identity) else {
            notes.push(format!(
                "`{name}` is searched by words only: the embedder of its vectors is not installed"
            ));
            continue;
        };
        match embedder.questions(&[question]) {
            Ok(made) => vectors.extend(made.into_iter().map(|vector| (identity.to_owned(), vector))),
            // Half an answer now is better than none: the words are still there.
            Err(error) => notes.push(format!("searched by words only: {}", error.in_one_line())),
        }
    }
    vectors
}

fn shown(analyser: &mut Analyser, question: &str, collections: &[&Collection], found: Found) -> FoundPassage {
    let collection = collections[found.collection];
    let passage = found.passage;
    let text_path = collection.text_path(&passage.span.file);
    let sentences = document::sentences(&passage.text);
    let best = best_sentence(analyser, question, &passage.text, &sentences, passage.language.as_deref());
    let range = best.unwrap_or(0..passage.text.len());
    let quote_first_line = passage.span.first_line + num_breaks(&passage.text[..range.start]);
    let quote = passage.text[range].to_owned();
    FoundPassage {
        collection: collection.name().to_owned(),
        path: collection.locate(&passage.span.file).unwrap_or_default(),
        quote_last_line: quote_first_line + num_breaks(&quote),
        quote_first_line,
        quote,
        is_extracted: text_path.is_some(),
        text_path,
        has_lines: has_lines(&passage.span.file),
        file: passage.span.file,
        heading_path: passage.heading_path,
        page: passage.span.page,
        first_line: passage.span.first_line,
        last_line: passage.span.last_line,
        start_byte: passage.span.start_byte,
        end_byte: passage.span.end_byte,
        score: found.ranked.score,
        word_score: found.ranked.word_score,
        vector_score: found.ranked.vector_score,
        text: passage.text,
        language: passage.language,
    }
}

fn has_lines(file: &str) -> bool {
    !matches!(document::format_of(Path::new(file)), Some(Format::Html | Format::Pdf))
}

fn num_breaks(text: &str) -> u32 {
    u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX)
}
