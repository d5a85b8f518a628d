//! An embedder in a GGUF file, run by llama.cpp in the engine's child process.

use crate::engine::Engine;
use crate::passage::Vector;

use super::error::Result;
use super::{Embedder, Settings, checked, prefixed};

/// A GGUF model, loaded by an engine that was started for embedding.
pub struct GgufEmbedder {
    engine: Engine,
    settings: Settings,
}

impl GgufEmbedder {
    /// Takes an engine that has loaded the model, and tries it on one short text.
    ///
    /// # Errors
    /// When the engine was not started as an embedder, or the vectors are not as long as the settings promise.
    pub fn new(engine: Engine, settings: Settings) -> Result<Self> {
        let mut embedder = Self { engine, settings };
        embedder.embed("", &["."])?;
        Ok(embedder)
    }

    fn embed(&mut self, prefix: &str, texts: &[&str]) -> Result<Vec<Vector>> {
        let texts = prefixed(prefix, texts);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows = self.engine.embed(&texts)?;
        rows.into_iter().map(|row| checked(row, &self.settings)).collect()
    }
}

impl Embedder for GgufEmbedder {
    fn dimensions(&self) -> usize {
        self.settings.dimensions
    }

    fn identity(&self) -> &str {
        &self.settings.identity
    }

    fn embed_queries(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
        self.embed(&self.settings.query_prefix.clone(), texts)
    }

    fn embed_passages(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
        self.embed(&self.settings.passage_prefix.clone(), texts)
    }
}
