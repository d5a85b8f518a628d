//! Asks every collection by words and, where it has vectors of the question's embedder, by vectors.

use std::collections::BTreeMap;

use crate::error::Explain as _;
use crate::index::{Analyser, Collection, Hit, IndexError, search_words};
use crate::passage::{Passage, Vector};

use super::fusion::{FusionOptions, Ranked, rank};

/// How deep each list is read before they are joined.
const LIST_LENGTH: usize = 100;
/// A question is read in so many languages at most: those that most passages have.
const MAX_LANGUAGES: usize = 4;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The words.
    pub text: String,
    /// Its vectors, by the embedder that made them.
    pub vectors: BTreeMap<String, Vector>,
}

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchOptions {
    /// How many passages are wanted.
    pub limit: usize,
    /// What the vectors count.
    pub vector_weight: f32,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { limit: 10, vector_weight: FusionOptions::default().vector_weight }
    }
}

/// A passage that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its collection, as a place in the list that was searched.
    pub collection: usize,
    /// Where it stands in the joined list, and why.
    pub ranked: Ranked,
    /// The passage.
    pub passage: Passage,
}

/// The best passages of the collections, best first. A collection whose vectors are damaged is searched by words
/// only, and `notes` says so.
///
/// # Errors
/// When an index is damaged otherwise.
pub fn search(
    collections: &[&Collection],
    question: &Question,
    notes: &mut Vec<String>,
    options: &SearchOptions,
) -> Result<Vec<Found>, IndexError> {
    let depth = LIST_LENGTH.max(options.limit);
    let languages = languages_of(collections.iter().map(|collection| &collection.head().languages));
    let languages: Vec<&str> = languages.iter().map(String::as_str).collect();
    let terms = Analyser::new().question_terms(&question.text, &languages);
    let words = search_words(collections, &terms, depth)?;
    let (vectors, is_complete) = nearest(collections, question, notes, depth)?;
    let fusion = FusionOptions { vector_weight: options.vector_weight, is_complete };
    let mut found = Vec::new();
    for ranked in rank(&words, &vectors, &fusion) {
        if found.len() == options.limit {
            break;
        }
        if let Some(passage) = collections[ranked.collection].passage(ranked.id)? {
            found.push(Found { collection: ranked.collection, ranked, passage });
        }
    }
    Ok(found)
}

/// The nearest passages of all collections, and whether every passage had a vector to be compared.
fn nearest(
    collections: &[&Collection],
    question: &Question,
    notes: &mut Vec<String>,
    limit: usize,
) -> Result<(Vec<Hit>, bool), IndexError> {
    let mut hits = Vec::new();
    let mut is_complete = true;
    for (embedder, vector) in &question.vectors {
        let mut list = Vec::new();
        for (place, collection) in collections.iter().enumerate() {
            if collection.embedder() == Some(embedder.as_str()) {
                is_complete &= collection.has_all_vectors();
                let nearest = match collection.search_vector(vector, limit) {
                    Ok(nearest) => nearest,
                    Err(error @ IndexError::Damaged { .. }) => {
                        is_complete = false;
                        notes.push(by_words_only(collection, &error));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                list.extend(nearest.into_iter().map(|(id, score)| Hit { collection: place, id, score }));
            }
        }
        if question.vectors.len() > 1 {
            to_unit_range(&mut list);
        }
        hits.extend(list);
    }
    let has_vector = |collection: &&Collection| {
        collection.embedder().is_some_and(|embedder| question.vectors.contains_key(embedder))
    };
    is_complete &= question.vectors.is_empty() || collections.iter().all(has_vector);
    hits.sort_unstable_by(|left, right| {
        right.score.total_cmp(&left.score).then((left.collection, left.id).cmp(&(right.collection, right.id)))
    });
    hits.truncate(limit);
    Ok((hits, is_complete))
}

fn by_words_only(collection: &Collection, error: &IndexError) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("`{}` is searched by words only: {error}{hint}", collection.name())
}

/// Cosines of two embedders cannot be compared: each list is brought to 0..1.
fn to_unit_range(hits: &mut [Hit]) {
    let most = hits.iter().fold(f32::MIN, |most, hit| most.max(hit.score));
    let least = hits.iter().fold(f32::MAX, |least, hit| least.min(hit.score));
    for hit in hits {
        hit.score = if most > least { (hit.score - least) / (most - least) } else { 1.0 };
    }
}

/// The languages that a question is read in: those of most passages, the commonest first.
///
/// One that fewer than one passage in twenty has would only add wrong stems.
pub fn languages_of<'a>(counts: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> Vec<String> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (language, count) in counts.flatten() {
        *sums.entry(language).or_default() += count;
    }
    let total: u64 = sums.values().sum();
    let mut common: Vec<(&str, u64)> = sums.into_iter().filter(|(_, count)| count * 20 >= total).collect();
    common.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    common.into_iter().take(MAX_LANGUAGES).map(|(language, _)| language.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_question_in_the_languages_of_the_documents() {
        let counts =
            |list: &[(&str, u64)]| list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let maps: [BTreeMap<String, u64>; 2] = [counts(&[("en", 50), ("la", 1)]), counts(&[("fr", 80)])];
        assert_eq!(languages_of(maps.iter()), ["fr", "en"]);
    }
}
