//! Text → vectors. Two kinds of embedder stand behind one trait: ONNX files, run here by ONNX Runtime, and GGUF
//! files, run by llama.cpp in the engine's child process.
//!
//! A vector depends on its text, the model's files and the [`Settings`] only: never on the texts beside it, on how
//! many threads there are, or on which PC made it (up to rounding). So vectors can be cached, carried and compared.

mod error;
#[cfg(feature = "engine")]
mod gguf;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "onnx")]
mod runtime;

pub use error::{EmbeddingError, Result};
#[cfg(feature = "engine")]
pub use gguf::GgufEmbedder;
#[cfg(feature = "onnx")]
pub use onnx::{OnnxEmbedder, OnnxFiles};
#[cfg(feature = "onnx")]
pub use runtime::{Runtime, Version};

use crate::passage::Vector;

/// Turns texts into vectors of length 1.
///
/// Each call ends only when all its texts are done; a caller who wants to stop, or to save what is done, hands over
/// a few dozen texts at a time.
pub trait Embedder: Send {
    /// The length of every vector.
    fn dimensions(&self) -> usize;

    /// Names the model and the way it is used: vectors of two embedders can be compared when this is equal.
    fn identity(&self) -> &str;

    /// Makes one vector a question, in the order given.
    ///
    /// # Errors
    /// When the model fails on a text, or its process dies.
    fn embed_queries(&mut self, texts: &[&str]) -> Result<Vec<Vector>>;

    /// Makes one vector a passage, in the order given. What is longer than the model reads is cut.
    ///
    /// # Errors
    /// When the model fails on a text, or its process dies.
    fn embed_passages(&mut self, texts: &[&str]) -> Result<Vec<Vector>>;
}

/// How an embedder is to be used, as its publisher says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Names the model and these settings; see [`Embedder::identity`].
    pub identity: String,
    /// The length of its vectors.
    pub dimensions: usize,
    /// The longest text it reads, in tokens.
    pub max_tokens: usize,
    /// How token vectors become one.
    pub pooling: Pooling,
    /// What stands before a question.
    pub query_prefix: String,
    /// What stands before a passage.
    pub passage_prefix: String,
}

/// How token vectors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all tokens.
    Mean,
    /// The first token's vector.
    Cls,
    /// The last token's vector.
    Last,
}

/// Checks what a model returned: as many numbers as promised, all of them finite; then scales it to length 1.
#[cfg(any(feature = "onnx", feature = "engine"))]
fn checked(values: Vec<f32>, settings: &Settings) -> Result<Vector> {
    if values.len() != settings.dimensions {
        return Err(EmbeddingError::Dimensions { promised: settings.dimensions, found: values.len() });
    }
    if !values.iter().all(|value| value.is_finite()) {
        return Err(EmbeddingError::NotFinite);
    }
    Ok(Vector::normalized(values))
}

/// Sets the prefix before each text.
fn prefixed(prefix: &str, texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| format!("{prefix}{text}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dimensions: usize) -> Settings {
        Settings {
            identity: "test".to_owned(),
            dimensions,
            max_tokens: 8,
            pooling: Pooling::Mean,
            query_prefix: "query: ".to_owned(),
            passage_prefix: String::new(),
        }
    }

    #[test]
    fn scales_what_the_model_returned_to_length_1() {
        // 3² + 4² = 5².
        let vector = checked(vec![3.0, 4.0], &settings(2)).expect("two finite numbers");
        assert_eq!(vector, Vector(vec![0.6, 0.8]));
    }

    #[test]
    fn refuses_a_vector_of_another_length_than_promised() {
        let error = checked(vec![3.0, 4.0], &settings(3)).expect_err("one number is missing");
        assert_eq!(error.to_string(), "the model makes vectors of 2 numbers, its package promises 3");
    }

    #[test]
    fn refuses_numbers_that_are_not_finite() {
        assert!(matches!(checked(vec![f32::NAN, 1.0], &settings(2)), Err(EmbeddingError::NotFinite)));
    }

    #[test]
    fn sets_the_prefix_before_each_text() {
        assert_eq!(prefixed("query: ", &["a", "b"]), ["query: a", "query: b"]);
    }
}
