//! What the knowledge verbs need of an embedder, whichever features this build has.

use std::path::PathBuf;

use crate::home::Home;
#[cfg(any(feature = "onnx", feature = "engine"))]
use crate::index::Collection;
use crate::passage::Vector;

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

/// An embedder of any kind.
pub type AnyEmbedder = Box<dyn Embeds>;

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

/// Chooses the installed embedder, if there is one that this build can run. It is loaded when it is first asked.
///
/// Among several it is the one that most collections have vectors of, else the one that was installed first: an
/// embedder that joins later must not make the vectors of before worthless.
///
/// # Errors
/// When an installed record is damaged.
#[cfg(any(feature = "onnx", feature = "engine"))]
pub fn installed_embedder(home: &Home, options: &EmbedderOptions) -> Result<Option<AnyEmbedder>> {
    let mut all = super::embedders::embedders(home)?;
    if all.len() > 1 {
        let used = used_embedders(home);
        // The sort is stable, so that among equals the first installed stays in front.
        all.sort_by_key(|one| std::cmp::Reverse(used.iter().filter(|used| **used == one.identity).count()));
    }
    let Some(chosen) = all.into_iter().next() else { return Ok(None) };
    Ok(Some(Box::new(lazy::Lazy::new(chosen, options.clone())?)))
}

/// This build can run none.
///
/// # Errors
/// Never.
#[cfg(not(any(feature = "onnx", feature = "engine")))]
pub fn installed_embedder(_home: &Home, _options: &EmbedderOptions) -> Result<Option<AnyEmbedder>> {
    Ok(None)
}

/// The embedder of each collection that can be opened and has vectors.
#[cfg(any(feature = "onnx", feature = "engine"))]
fn used_embedders(home: &Home) -> Vec<String> {
    let collections = super::index::collection_names(home)
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
        dimensions: usize,
        opened: Option<Box<dyn Embedder>>,
    }

    impl Lazy {
        /// Loads it at once only where its package does not say how long its vectors are.
        pub(super) fn new(installed: InstalledEmbedder, options: EmbedderOptions) -> Result<Self> {
            let promised = installed.dimensions();
            let mut lazy =
                Self { installed, options, dimensions: promised.unwrap_or_default(), opened: None };
            if promised.is_none() {
                lazy.dimensions = lazy.open()?.dimensions();
            }
            Ok(lazy)
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
            self.dimensions
        }

        fn questions(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
            Ok(self.open()?.embed_queries(texts)?)
        }

        fn passages(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
            Ok(self.open()?.embed_passages(texts)?)
        }
    }
}
