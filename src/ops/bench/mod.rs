//! `bench retrieval`: how good the search is, on any collection in BEIR's layout.
//!
//! ```text
//! corpus.jsonl    {"_id", "title", "text"}     queries.jsonl   {"_id", "text"}
//! qrels.tsv       query-id, corpus-id, score   (also `qrels/test.tsv`)
//! ```
//!
//! Each document is one passage with one vector, so that numbers can be compared with published ones. The
//! analyser, the word index, the vectors and the fusion are those of `find`.

mod dataset;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::document;
use crate::home::Home;
use crate::index::{Analyser, Hit, VectorCache, VectorKey, VectorTable, WordIndex, embedded_text};
use crate::passage::{Passage, SourceSpan, Vector};
use crate::progress::{Monitor, Unit};
use crate::retrieval::{FusionOptions, Measures, languages_of, measure, rank};

use super::embedding::Embeds;
use super::error::Result;
use dataset::Dataset;

/// How deep each list is read.
const LIST_LENGTH: usize = 100;
/// So many texts are embedded before they are saved.
const BATCH: usize = 32;

/// What to measure.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// The folder of the test collection.
    pub folder: PathBuf,
    /// What the vectors count in the fused list; the tool's own weight when not given.
    pub vector_weight: Option<f32>,
}

/// How good the search is.
#[derive(Debug, Serialize)]
pub struct BenchReport {
    /// The test collection.
    pub dataset: String,
    /// How many documents it has.
    pub num_documents: usize,
    /// How many judged questions it has.
    pub num_questions: usize,
    /// The embedder, when one was at hand.
    pub embedder: Option<String>,
    /// One row for each way of searching: `words`, `vectors`, `fused`.
    pub rows: Vec<BenchRow>,
}

/// One way of searching.
#[derive(Debug, Serialize)]
pub struct BenchRow {
    /// `words`, `vectors` or `fused`.
    pub method: &'static str,
    /// Its measures.
    #[serde(flatten)]
    pub measures: Measures,
}

/// Measures word search, and with an embedder also vector search and both together.
///
/// # Errors
/// When the folder is not in BEIR's layout, or the embedder fails.
pub fn bench_retrieval(
    home: &Home,
    options: &BenchOptions,
    embedder: Option<&mut dyn Embeds>,
    monitor: &dyn Monitor,
) -> Result<BenchReport> {
    let dataset = Dataset::read(&options.folder)?;
    let passages: Vec<Passage> = dataset.documents.iter().map(as_passage).collect();
    let words = search_words(&dataset, &passages)?;
    let mut report = BenchReport {
        dataset: dataset.name.clone(),
        num_documents: passages.len(),
        num_questions: dataset.questions.len(),
        embedder: None,
        rows: vec![BenchRow { method: "words", measures: measured(&dataset, &words) }],
    };
    if let Some(embedder) = embedder {
        let vectors = search_vectors(home, &dataset, &passages, embedder, monitor)?;
        let mut fusion = FusionOptions::default();
        fusion.vector_weight = options.vector_weight.unwrap_or(fusion.vector_weight);
        let fused: Vec<Vec<Hit>> =
            words.iter().zip(&vectors).map(|(words, vectors)| fuse(words, vectors, &fusion)).collect();
        report.embedder = Some(embedder.identity().to_owned());
        report.rows.push(BenchRow { method: "vectors", measures: measured(&dataset, &vectors) });
        report.rows.push(BenchRow { method: "fused", measures: measured(&dataset, &fused) });
    }
    Ok(report)
}

fn as_passage(document: &dataset::Document) -> Passage {
    let span = SourceSpan {
        file: String::new(),
        page: None,
        first_line: 1,
        last_line: 1,
        start_byte: 0,
        end_byte: 0,
    };
    Passage {
        text: document.text.clone(),
        heading_path: Some(document.title.clone()).filter(|title| !title.is_empty()).into_iter().collect(),
        span,
        language: document::language_of(&document.text).map(str::to_owned),
    }
}

fn search_words(dataset: &Dataset, passages: &[Passage]) -> Result<Vec<Vec<Hit>>> {
    let mut analyser = Analyser::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for language in passages.iter().filter_map(|passage| passage.language.clone()) {
        *counts.entry(language).or_default() += 1;
    }
    let mut index = WordIndex::in_memory()?;
    index.add_all((0..).zip(passages).map(|(id, passage)| (id, analyser.passage_terms(passage))))?;
    let languages = languages_of(std::iter::once(&counts));
    let languages: Vec<&str> = languages.iter().map(String::as_str).collect();
    let mut lists = Vec::with_capacity(dataset.questions.len());
    for question in &dataset.questions {
        let terms = analyser.question_terms(&question.text, &languages);
        lists.push(as_hits(index.search(&terms, LIST_LENGTH)?));
    }
    Ok(lists)
}

fn search_vectors(
    home: &Home,
    dataset: &Dataset,
    passages: &[Passage],
    embedder: &mut dyn Embeds,
    monitor: &dyn Monitor,
) -> Result<Vec<Vec<Hit>>> {
    let texts: Vec<String> = passages.iter().map(embedded_text).collect();
    let passages = embedded(home, &texts, embedder, &Role::Passage, monitor)?;
    let mut table = VectorTable::new(embedder.dimensions());
    for (id, vector) in (0..).zip(&passages) {
        table.push(id, vector);
    }
    let questions: Vec<String> = dataset.questions.iter().map(|question| question.text.clone()).collect();
    let questions = embedded(home, &questions, embedder, &Role::Question, monitor)?;
    Ok(questions.iter().map(|question| as_hits(table.nearest(question, LIST_LENGTH, None))).collect())
}

enum Role {
    Passage,
    Question,
}

/// The vectors of texts, out of the cache where they are in it.
fn embedded(
    home: &Home,
    texts: &[String],
    embedder: &mut dyn Embeds,
    role: &Role,
    monitor: &dyn Monitor,
) -> Result<Vec<Vector>> {
    let space = match role {
        Role::Passage => embedder.identity().to_owned(),
        Role::Question => format!("{} (questions)", embedder.identity()),
    };
    let mut cache = VectorCache::open(&home.vector_cache(), &space, embedder.dimensions())?;
    let keys: Vec<VectorKey> = texts.iter().map(|text| VectorKey::of(&space, text)).collect();
    let mut missing: Vec<usize> = (0..texts.len()).filter(|place| !cache.contains(&keys[*place])).collect();
    missing.sort_by_key(|place| texts[*place].len());
    let task = monitor.start("embedding", Some(missing.len() as u64), Unit::Items);
    for batch in missing.chunks(BATCH) {
        let batch_texts: Vec<&str> = batch.iter().map(|place| texts[*place].as_str()).collect();
        let vectors = match role {
            Role::Passage => embedder.passages(&batch_texts)?,
            Role::Question => embedder.questions(&batch_texts)?,
        };
        let rows: Vec<_> = batch.iter().map(|place| keys[*place]).zip(vectors).collect();
        cache.add(&rows)?;
        task.advance(batch.len() as u64);
    }
    let zero = || Vector(vec![0.0; embedder.dimensions()]);
    keys.iter().map(|key| Ok(cache.vector(key)?.unwrap_or_else(zero))).collect()
}

fn fuse(words: &[Hit], vectors: &[Hit], options: &FusionOptions) -> Vec<Hit> {
    let hit = |ranked: crate::retrieval::Ranked| Hit { collection: 0, id: ranked.id, score: ranked.score };
    rank(words, vectors, options).into_iter().map(hit).collect()
}

fn as_hits(list: Vec<(u64, f32)>) -> Vec<Hit> {
    list.into_iter().map(|(id, score)| Hit { collection: 0, id, score }).collect()
}

fn measured(dataset: &Dataset, lists: &[Vec<Hit>]) -> Measures {
    let name = |hit: &Hit| usize::try_from(hit.id).ok().and_then(|place| dataset.documents.get(place));
    let rankings: Vec<Vec<String>> = lists
        .iter()
        .map(|list| list.iter().filter_map(name).map(|document| document.id.clone()).collect())
        .collect();
    let judged = dataset.questions.iter().map(|question| &question.judged);
    measure(rankings.iter().map(Vec::as_slice).zip(judged))
}
