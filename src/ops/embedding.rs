//! What the knowledge verbs need of an embedder, whichever features this build has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::home::Home;
#[cfg(any(feature = "onnx", feature = "engine"))]
use crate::index::Collection;
use crate::passage::Vector;
use crate::progress::Monitor;

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

/// What starting an embedder needs besides its package.
#[derive(Debug, Clone, Default)]
pub struct EmbedderOptions {
    /// This executable; its engine process runs GGUF embedders.
    pub program: PathBuf,
    /// Files, or folders, that may hold the ONNX Runtime library; the first that does is used.
    pub onnx_places: Vec<PathBuf>,
    /// How many threads compute; `None` means one a core.
    pub num_threads: Option<usize>,
}

/// The embedders at hand; each is loaded when it is first asked.
#[derive(Default)]
pub struct Embedders {
    all: Vec<Candidate>,
}

struct Candidate {
    /// ISO 639-1 codes of the languages it is good for; empty when its publisher does not say.
    languages: Vec<String>,
    embedder: Box<dyn Embeds>,
}

impl Embedders {
    /// None at all: word search only.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those that are installed and that this build can run: in front those that most collections have
    /// vectors of, then those that were installed first. An embedder that joins later must not make the
    /// vectors of before worthless.
    ///
    /// # Errors
    /// When an installed record is damaged.
    #[cfg(any(feature = "onnx", feature = "engine"))]
    pub fn installed(home: &Home, options: &EmbedderOptions, monitor: &dyn Monitor) -> Result<Self> {
        let mut installed = super::embedders::embedders(home, monitor)?;
        if installed.len() > 1 {
            let used = used_embedders(home);
            // The sort is stable, so that among equals the first installed stays in front.
            installed.sort_by_key(|one| {
                std::cmp::Reverse(used.iter().filter(|used| **used == one.identity).count())
            });
        }
        let mut all = Vec::new();
        for one in installed {
            let languages = one.languages.clone();
            all.push(Candidate { languages, embedder: Box::new(lazy::Lazy::new(one, options.clone())) });
        }
        Ok(Self { all })
    }

    /// This build can run none.
    ///
    /// # Errors
    /// Never.
    #[cfg(not(any(feature = "onnx", feature = "engine")))]
    pub fn installed(_home: &Home, _options: &EmbedderOptions, _monitor: &dyn Monitor) -> Result<Self> {
        Ok(Self::none())
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The first one.
    pub fn first(&mut self) -> Option<&mut dyn Embeds> {
        self.all.first_mut().map(|candidate| &mut *candidate.embedder as &mut dyn Embeds)
    }

    /// The first one that is good for most of these passages, counted by language.
    pub fn for_languages(&mut self, counts: &BTreeMap<String, u64>) -> Option<&mut dyn Embeds> {
        let mut all = self.all.iter_mut();
        let candidate = all.find(|candidate| covers(&candidate.languages, counts))?;
        Some(&mut *candidate.embedder)
    }

    /// The one that made an index's vectors.
    pub fn of_identity(&mut self, identity: &str) -> Option<&mut dyn Embeds> {
        let mut all = self.all.iter_mut();
        let candidate = all.find(|candidate| candidate.embedder.identity() == identity)?;
        Some(&mut *candidate.embedder)
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

/// The embedder of each collection that can be opened and has vectors.
#[cfg(any(feature = "onnx", feature = "engine"))]
fn used_embedders(home: &Home) -> Vec<String> {
    let collections = super::index::collection_names(home)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| Collection::open(&super::index::folder_of(home, &name)).ok());
    collections.filter_map(|collection| collection.embedder().map(str::to_owned)).collect()
}

#[cfg(any(feature = "onnx", feature = "engine"))]
mod lazy {
    //! An embedder that is loaded when it is first asked: many runs find every vector in the cache.

    use crate::embedding::Embedder;
    use crate::ops::embedders::{InstalledEmbedder, open_embedder};
    use crate::ops::error::Result;
    use crate::passage::Vector;

    use super::{EmbedderOptions, Embeds};

    pub(super) struct Lazy {
        installed: InstalledEmbedder,
        options: EmbedderOptions,
        opened: Option<Box<dyn Embedder>>,
    }

    impl Lazy {
        pub(super) fn new(installed: InstalledEmbedder, options: EmbedderOptions) -> Self {
            Self { installed, options, opened: None }
        }

        fn open(&mut self) -> Result<&mut Box<dyn Embedder>> {
            let opened = match self.opened.take() {
                Some(opened) => opened,
                None => open_embedder(&self.installed, &self.options)?,
            };
            Ok(self.opened.insert(opened))
        }
    }

    impl Embeds for Lazy {
        fn identity(&self) -> &str {
            &self.installed.identity
        }

        fn dimensions(&self) -> usize {
            self.installed.dimensions()
        }

        fn questions(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
            Ok(self.open()?.embed_queries(texts)?)
        }

        fn passages(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
            Ok(self.open()?.embed_passages(texts)?)
        }
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
