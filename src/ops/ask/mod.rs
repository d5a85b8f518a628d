//! `ask`: quotes with their sources at once, then a model's words about them, then each citation checked.

mod suggestion;
#[cfg(feature = "engine")]
mod writing;

use std::path::PathBuf;

use serde::Serialize;

use crate::answer::{Citation, Confidence, Evidence, judge, subject_of, term_coverage};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::index::Analyser;
use crate::package::{Kind, Name, PackageRef};
use crate::progress::{Flow, Monitor};

use super::embedding::Embedders;
use super::error::Result;
use super::find::{FindOptions, FindReport, FoundPassage, find};
use super::index::collection_names;
use super::revoked;
use super::site;

pub use suggestion::Suggestion;

/// What to ask, and how.
#[derive(Debug, Clone)]
pub struct AskOptions {
    /// The question.
    pub question: String,
    /// The collections to search; all when there are none.
    pub collections: Vec<String>,
    /// How many passages to quote, and to hand to the model.
    pub limit: usize,
    /// True to stay with the quotes.
    pub is_quotes_only: bool,
    /// The chat model; `None` takes the largest installed one that fits this PC.
    pub model: Option<PackageRef>,
    /// The executable that the engine's process runs: this one.
    pub program: PathBuf,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// How many threads compute.
    pub threads: Option<u32>,
    /// True to show llama.cpp's own log.
    pub is_verbose: bool,
}

/// What the asker hears while the answer comes.
pub enum AskEvent<'a> {
    /// The quotes, before any model is loaded.
    Quotes(&'a [FoundPassage], Confidence),
    /// A model begins to answer.
    Model(&'a Name),
    /// More of its words.
    Words(&'a str),
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct AskReport {
    /// The question.
    pub question: String,
    /// Whether the documents answer it, judged before a model spoke.
    pub confidence: Confidence,
    /// The passages, best first; citations count them from 1.
    pub passages: Vec<FoundPassage>,
    /// What the model said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// A model that would fit this PC, where none is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Suggestion>,
    /// How many installed chat models cannot answer here; the notes say why.
    pub num_passed_over: usize,
    /// What limits the answer, each with what to do about it.
    pub notes: Vec<String>,
}

/// A model's answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The model.
    pub model: Name,
    /// What it said.
    pub text: String,
    /// True when it said that the documents do not hold the answer.
    pub is_not_in_documents: bool,
    /// Its citations, each checked.
    pub citations: Vec<Citation>,
    /// How many of the passages it read.
    pub num_sources: usize,
    /// How many tokens it read.
    pub prompt_tokens: u32,
    /// How many tokens it said.
    pub new_tokens: u32,
    /// True when it was stopped before its end.
    pub is_stopped: bool,
}

/// Answers a question from the indexed documents.
///
/// # Errors
/// When nothing is indexed, an index is damaged, or the engine fails. The quotes were heard by then. When `hear` says
/// stop, no more words come.
pub fn ask(
    home: &Home,
    options: &AskOptions,
    embedders: &mut Embedders,
    monitor: &dyn Monitor,
    hear: &mut dyn FnMut(AskEvent<'_>) -> Flow,
) -> Result<AskReport> {
    let found = search(home, options, embedders, monitor)?;
    let confidence = confidence(&found);
    let flow = hear(AskEvent::Quotes(&found.passages, confidence));
    let mut report = AskReport {
        question: found.question,
        confidence,
        passages: found.passages,
        answer: None,
        suggestion: None,
        num_passed_over: 0,
        notes: found.notes,
    };
    let wants_words = !options.is_quotes_only && confidence > Confidence::NotInDocuments;
    if wants_words && flow == Flow::Continue && !monitor.is_cancelled() {
        write_answer(home, options, &mut report, monitor, hear)?;
    }
    let model = report.answer.iter().map(|answer| answer.model.clone());
    let names: Vec<Name> = model.chain(embedder_names(home, found.used_vectors)?).collect();
    report.notes.extend(revoked::warnings_about(home, &[], &names)?);
    Ok(report)
}

#[cfg(feature = "engine")]
fn write_answer(
    home: &Home,
    options: &AskOptions,
    report: &mut AskReport,
    monitor: &dyn Monitor,
    hear: &mut dyn FnMut(AskEvent<'_>) -> Flow,
) -> Result<()> {
    match writing::choose(home, options, report)? {
        Some(model) => {
            report.answer = writing::write(&model, options, report, monitor, hear)?;
            if report.answer.is_none() {
                let note =
                    "the question leaves no room for sources, so no model was asked; ask a shorter one";
                report.notes.push(note.to_owned());
            }
        }
        None => report.suggestion = suggestion::suggest(),
    }
    Ok(())
}

#[cfg(not(feature = "engine"))]
fn write_answer(
    _home: &Home,
    _options: &AskOptions,
    report: &mut AskReport,
    _monitor: &dyn Monitor,
    _hear: &mut dyn FnMut(AskEvent<'_>) -> Flow,
) -> Result<()> {
    report.notes.push("this build has no llama.cpp, so there are only quotes".to_owned());
    report.suggestion = None;
    Ok(())
}

/// The embedders that may have been asked.
fn embedder_names(home: &Home, used_vectors: bool) -> Result<Vec<Name>> {
    let mut embedders = if used_vectors { site::store(home).installed()? } else { Vec::new() };
    embedders.retain(|installed| installed.manifest.package.kind == Kind::Embedder);
    Ok(embedders.iter().map(|installed| installed.name().clone()).collect())
}

/// As `find`, but finding no word of the question is an answer here, not a failure.
fn search(
    home: &Home,
    options: &AskOptions,
    embedders: &mut Embedders,
    monitor: &dyn Monitor,
) -> Result<FindReport> {
    let find_options = FindOptions {
        question: options.question.clone(),
        collections: options.collections.clone(),
        limit: options.limit,
    };
    match find(home, &find_options, embedders, monitor) {
        Err(error) if error.kind() == ErrorKind::NotFound && are_indexed(home, &options.collections) => {
            Ok(FindReport {
                question: options.question.clone(),
                passages: Vec::new(),
                used_vectors: false,
                notes: Vec::new(),
            })
        }
        outcome => outcome,
    }
}

/// True when there is something to search, so that nothing found means: not in it.
fn are_indexed(home: &Home, collections: &[String]) -> bool {
    let all = collection_names(home).unwrap_or_default();
    !all.is_empty() && collections.iter().all(|name| all.contains(name))
}

/// The best evidence among the passages.
fn confidence(found: &FindReport) -> Confidence {
    let mut analyser = Analyser::new();
    let languages: Vec<&str> =
        found.passages.iter().filter_map(|passage| passage.language.as_deref()).collect();
    let judged = found.passages.iter().map(|passage| {
        let language = passage.language.as_deref();
        // A passage too short to tell its language has that of its neighbours.
        let subject = subject_of(&found.question, language.as_ref().map_or(&languages, std::slice::from_ref));
        let question = analyser.terms(&subject, language);
        let text = format!("{} {} {}", passage.file, passage.heading_path.join(" "), passage.text);
        let coverage = term_coverage(&question, &analyser.terms(&text, language));
        judge(&Evidence { coverage, cosine: passage.vector_score })
    });
    judged.max().unwrap_or(Confidence::NotInDocuments)
}
