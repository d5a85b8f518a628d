//! What a package is for. The list is open: an unknown kind can be carried and verified, not run.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A package's kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A GGUF that answers or continues text.
    ChatModel,
    /// Text to vectors: ONNX with its tokenizer, or GGUF.
    Embedder,
    /// Orders passages by how well they answer: ONNX.
    Reranker,
    /// Speech to text.
    SpeechModel,
    /// Text to speech.
    Voice,
    /// Sees or makes pictures.
    ImageModel,
    /// A LoRA on top of a base model.
    Adapter,
    /// Documents, optionally with a ready-made index.
    Knowledge,
    /// localml itself, for a platform.
    Runtime,
    /// A named set of packages.
    Kit,
    /// A kind that a later localml knows.
    Other(String),
}

impl Kind {
    /// The kind as it stands in a manifest.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ChatModel => "chat-model",
            Self::Embedder => "embedder",
            Self::Reranker => "reranker",
            Self::SpeechModel => "speech-model",
            Self::Voice => "voice",
            Self::ImageModel => "image-model",
            Self::Adapter => "adapter",
            Self::Knowledge => "knowledge",
            Self::Runtime => "runtime",
            Self::Kit => "kit",
            Self::Other(other) => other,
        }
    }
}

impl FromStr for Kind {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "chat-model" => Self::ChatModel,
            "embedder" => Self::Embedder,
            "reranker" => Self::Reranker,
            "speech-model" => Self::SpeechModel,
            "voice" => Self::Voice,
            "image-model" => Self::ImageModel,
            "adapter" => Self::Adapter,
            "knowledge" => Self::Knowledge,
            "runtime" => Self::Runtime,
            "kit" => Self::Kit,
            other => Self::Other(other.to_owned()),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl serde::Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(text.parse().unwrap_or(Self::Other(text)))
    }
}
