//! The embedders that the knowledge verbs may use: each opened when it is first needed, whichever features
//! this build has.

use std::collections::BTreeMap;

#[cfg(any(feature = "onnx", feature = "engine"))]
use crate::home::Home;
use crate::passage::Vector;
use crate::progress::Monitor;

#[cfg(any(feature = "onnx", feature = "engine"))]
use super::embedders::{EmbedderOptions, InstalledEmbedder, embedders, open_embedder};
use super::error::Result;

/// Makes vectors of texts.
pub trait Embeds {
    /// Names the model and the way it is used.
    fn identity(&self) -> &str;

    /// The length of every vector.
    fn dimensions(&self) -> usize;

    /// One vector a question.
    ///
    /// # Errors
    /// When the model fails.
    fn questions(&mut self, texts: &[&str]) -> Result<Vec<Vector>>;

    /// One vector a passage.
    ///
    /// # Errors
    /// When the model fails.
    fn passages(&mut self, texts: &[&str]) -> Result<Vec<Vector>>;
}

/// Opens the embedder at a place in the list.
type Open = Box<dyn Fn(usize, &dyn Monitor) -> Result<Box<dyn Embeds>>>;

/// The embedders at hand.
#[derive(Default)]
pub struct Embedders {
    candidates: Vec<Candidate>,
    open: Option<Open>,
}

struct Candidate {
    identity: String,
    languages: Vec<String>,
    opened: Option<Box<dyn Embeds>>,
}

impl Embedders {
    /// None at all: word search only.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those that are installed and that this build can run; none is opened yet.
    ///
    /// # Errors
    /// When an installed record is damaged.
    #[cfg(any(feature = "onnx", feature = "engine"))]
    pub fn installed(home: &Home, options: EmbedderOptions) -> Result<Self> {
        let installed = embedders(home)?;
        let candidate = |embedder: &InstalledEmbedder| Candidate {
            identity: embedder.identity.clone(),
            languages: embedder.languages.clone(),
            opened: None,
        };
        let candidates = installed.iter().map(candidate).collect();
        let open: Open = Box::new(move |place, monitor| {
            let embedder = open_embedder(&installed[place], &options, monitor)?;
            Ok(Box::new(Opened(embedder)))
        });
        Ok(Self { candidates, open: Some(open) })
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// The first one, if any.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn first(&mut self, monitor: &dyn Monitor) -> Result<Option<&mut dyn Embeds>> {
        self.open_at((!self.is_empty()).then_some(0), monitor)
    }

    /// The first one that is good for most of these passages, counted by language.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn for_languages(
        &mut self,
        counts: &BTreeMap<String, u64>,
        monitor: &dyn Monitor,
    ) -> Result<Option<&mut dyn Embeds>> {
        let place = self.candidates.iter().position(|candidate| covers(&candidate.languages, counts));
        self.open_at(place, monitor)
    }

    /// The one that made an index's vectors.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn of_identity(&mut self, identity: &str, monitor: &dyn Monitor) -> Result<Option<&mut dyn Embeds>> {
        let place = self.candidates.iter().position(|candidate| candidate.identity == identity);
        self.open_at(place, monitor)
    }

    fn open_at(&mut self, place: Option<usize>, monitor: &dyn Monitor) -> Result<Option<&mut dyn Embeds>> {
        let (Some(place), Some(open)) = (place, &self.open) else { return Ok(None) };
        let candidate = &mut self.candidates[place];
        let embedder = match candidate.opened.take() {
            Some(embedder) => embedder,
            None => open(place, monitor)?,
        };
        Ok(Some(&mut **candidate.opened.insert(embedder)))
    }
}

/// True when the embedder knows the language of at least half of the passages whose language is known. A
/// vector of a text that the model cannot read is worse than none.
fn covers(languages: &[String], counts: &BTreeMap<String, u64>) -> bool {
    let total: u64 = counts.values().sum();
    let known: u64 =
        counts.iter().filter(|(language, _)| languages.contains(language)).map(|(_, count)| count).sum();
    languages.is_empty() || known * 2 >= total
}

#[cfg(any(feature = "onnx", feature = "engine"))]
struct Opened(Box<dyn crate::embedding::Embedder>);

#[cfg(any(feature = "onnx", feature = "engine"))]
impl Embeds for Opened {
    fn identity(&self) -> &str {
        self.0.identity()
    }

    fn dimensions(&self) -> usize {
        self.0.dimensions()
    }

    fn questions(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
        Ok(self.0.embed_queries(texts)?)
    }

    fn passages(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
        Ok(self.0.embed_passages(texts)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedder_must_know_the_language_of_half_of_the_passages() {
        let counts: BTreeMap<String, u64> = [("en".to_owned(), 5), ("sw".to_owned(), 6)].into();
        let knows = |languages: &[&str]| {
            covers(&languages.iter().map(|language| (*language).to_owned()).collect::<Vec<_>>(), &counts)
        };
        assert!(!knows(&["en"]) && knows(&["sw"]) && knows(&["en", "sw"]) && knows(&[]));
        assert!(covers(&["en".to_owned()], &BTreeMap::new()), "nothing is known of the passages");
    }
}
