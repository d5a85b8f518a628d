//! The word index: BM25 (k1 1.2, b 0.75) over terms that `analyser` made, kept by tantivy.
//!
//! One field: a passage's headings and file name are added to its terms, which weighs them as BM25F
//! would and keeps one set of statistics. Documents carry only the passage's id and its file's first id.

use std::collections::HashMap;
use std::path::Path;

use tantivy::collector::TopDocs;
use tantivy::directory::MmapDirectory;
use tantivy::query::{Bm25StatisticsProvider, BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Index, IndexWriter, Searcher, TantivyDocument, Term};

use super::error::Result;
use super::readable::ReadableDirectory;

/// What tantivy may hold before it writes a segment, in bytes; 15 MB is its least.
const WRITER_BYTES: usize = 32_000_000;

/// An open word index.
pub struct WordIndex {
    index: Index,
    searcher: Searcher,
    fields: Fields,
}

#[derive(Clone, Copy)]
struct Fields {
    id: Field,
    file: Field,
    terms: Field,
}

/// Adds to a word index; nothing counts until `commit`.
pub(super) struct WordWriter {
    writer: IndexWriter,
    fields: Fields,
}

impl WordIndex {
    /// Makes an empty index in memory, for measurements.
    ///
    /// # Errors
    /// When tantivy refuses.
    pub fn in_memory() -> Result<Self> {
        Self::with(Index::create_in_ram(schema().0))
    }

    /// Makes an empty index in an empty folder.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        Self::with(Index::create_in_dir(folder, schema().0)?)
    }

    /// Opens the index in a folder.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let opened = MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        Self::with(Index::open(ReadableDirectory(opened))?)
    }

    fn with(index: Index) -> Result<Self> {
        let searcher = index.reader()?.searcher();
        Ok(Self { index, searcher, fields: schema().1 })
    }

    /// Adds passages by their terms and makes them searchable: `(id, terms)`.
    ///
    /// # Errors
    /// When tantivy fails.
    pub fn add_all(&mut self, passages: impl Iterator<Item = (u64, Vec<String>)>) -> Result<()> {
        let mut writer = self.writer()?;
        for (id, terms) in passages {
            writer.add(id, id, terms)?;
        }
        writer.commit(0)?;
        self.searcher = self.index.reader()?.searcher();
        Ok(())
    }

    pub(super) fn writer(&self) -> Result<WordWriter> {
        Ok(WordWriter { writer: self.index.writer_with_num_threads(1, WRITER_BYTES)?, fields: self.fields })
    }

    /// The generation that the last commit belongs to.
    pub(super) fn generation(&self) -> Result<Option<u64>> {
        Ok(self.index.load_metas()?.payload.and_then(|payload| payload.parse().ok()))
    }

    /// The best passages for these terms, best first, with their scores.
    ///
    /// # Errors
    /// When tantivy fails.
    pub fn search(&self, terms: &[String], limit: usize) -> Result<Vec<(u64, f32)>> {
        self.search_among(terms, limit, &self.searcher)
    }

    fn search_among(
        &self,
        terms: &[String],
        limit: usize,
        statistics: &dyn Bm25StatisticsProvider,
    ) -> Result<Vec<(u64, f32)>> {
        let query = self.query(terms);
        let collector = TopDocs::with_limit(limit.max(1)).order_by_score();
        let found = self.searcher.search_with_statistics_provider(&query, &collector, statistics)?;
        let mut hits = Vec::with_capacity(found.len());
        for (score, address) in found {
            let segment = self.searcher.segment_reader(address.segment_ord);
            let ids = segment.fast_fields().u64("id")?;
            if let Some(id) = ids.first(address.doc_id) {
                hits.push((id, score));
            }
        }
        Ok(hits)
    }

    /// Any of the terms; one that the question repeats counts as often.
    fn query(&self, terms: &[String]) -> BooleanQuery {
        let mut counts: HashMap<&str, f32> = HashMap::new();
        for term in terms {
            *counts.entry(term).or_default() += 1.0;
        }
        let mut clauses: Vec<(&str, f32)> = counts.into_iter().collect();
        clauses.sort_unstable_by_key(|(term, _)| *term);
        let clause = |(term, count): (&str, f32)| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(self.fields.terms, term);
            let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
            (Occur::Should, Box::new(BoostQuery::new(Box::new(query), count)))
        };
        BooleanQuery::new(clauses.into_iter().map(clause).collect())
    }
}

/// Searches several indexes with the statistics of all, so that their scores can be compared.
///
/// Returns one list for each index.
pub(super) fn search_together(
    indexes: &[&WordIndex],
    terms: &[String],
    limit: usize,
) -> Result<Vec<Vec<(u64, f32)>>> {
    let shared = Shared(indexes.iter().map(|index| &index.searcher).collect());
    indexes.iter().map(|index| index.search_among(terms, limit, &shared)).collect()
}

struct Shared<'index>(Vec<&'index Searcher>);

impl Bm25StatisticsProvider for Shared<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        self.0.iter().map(|searcher| searcher.total_num_tokens(field)).sum()
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        self.0.iter().map(|searcher| searcher.total_num_docs()).sum()
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        self.0.iter().map(|searcher| searcher.doc_freq(term)).sum()
    }
}

impl WordWriter {
    /// Adds one passage of the file whose first passage is `file`.
    pub(super) fn add(&mut self, id: u64, file: u64, terms: Vec<String>) -> Result<()> {
        let mut document = TantivyDocument::new();
        document.add_u64(self.fields.id, id);
        document.add_u64(self.fields.file, file);
        let token = |(position, text): (usize, String)| Token { position, text, ..Token::default() };
        let tokens = terms.into_iter().enumerate().map(token).collect();
        document
            .add_pre_tokenized_text(self.fields.terms, PreTokenizedString { text: String::new(), tokens });
        self.writer.add_document(document)?;
        Ok(())
    }

    /// Removes all passages of the file whose first passage is `file`.
    pub(super) fn remove_file(&mut self, file: u64) {
        self.writer.delete_term(Term::from_field_u64(self.fields.file, file));
    }

    /// Makes the changes durable and waits until merges are done, so that the files can be sealed.
    pub(super) fn commit(mut self, generation: u64) -> Result<()> {
        let mut prepared = self.writer.prepare_commit()?;
        prepared.set_payload(&generation.to_string());
        prepared.commit()?;
        self.writer.wait_merging_threads()?;
        Ok(())
    }
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    let fields = Fields {
        id: builder.add_u64_field("id", FAST),
        file: builder.add_u64_field("file", INDEXED),
        terms: builder.add_text_field("terms", TextOptions::default().set_indexing_options(indexing)),
    };
    (builder.build(), fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(passages: &[(u64, &str)]) -> WordIndex {
        let mut index = WordIndex::in_memory().expect("memory");
        let terms = |text: &str| text.split(' ').map(str::to_owned).collect();
        index.add_all(passages.iter().map(|(id, text)| (*id, terms(text)))).expect("room");
        index
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn ranks_by_bm25() {
        let index = index(&[(7, "water is wet"), (8, "fire is hot"), (9, "water water everywhere")]);
        let hits = index.search(&words("water"), 10).expect("found");
        assert_eq!(hits.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [9, 7]);
        // idf = ln(1 + (3 − 2 + 0.5)/(2 + 0.5)) = 0.4700; tf = 1·2.2/(1 + 1.2) = 1 at average length.
        assert!((hits[1].1 - 0.4700).abs() < 1e-3, "{}", hits[1].1);
    }

    #[test]
    fn several_indexes_share_their_statistics() {
        let rare = index(&[(1, "water well"), (2, "stone wall")]);
        let common = index(&[(1, "water pump"), (2, "water tank"), (3, "water pipe")]);
        let lists = search_together(&[&rare, &common], &words("water"), 10).expect("found");
        assert_eq!(lists[0].len() + lists[1].len(), 4);
        let scores: Vec<f32> = lists.iter().flatten().map(|(_, score)| *score).collect();
        assert!(scores.iter().all(|score| (score - scores[0]).abs() < 1e-6), "{scores:?}");
    }
}
