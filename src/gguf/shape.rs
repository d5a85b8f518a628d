//! The few numbers of a model's header that decide how much memory it needs.

use serde::{Deserialize, Serialize};

/// What a GGUF header says of the model's size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// `general.architecture`, for example `llama` or `bert`.
    pub architecture: String,
    /// Number of transformer blocks.
    pub num_layers: u64,
    /// Width of a token's vector.
    pub embedding_width: u64,
    /// Number of attention heads.
    pub num_heads: u64,
    /// Number of key/value heads; fewer than `num_heads` in grouped-query attention.
    pub num_kv_heads: u64,
    /// Width of one key head; `embedding_width / num_heads` unless the header says otherwise.
    pub key_width: u64,
    /// Width of one value head.
    pub value_width: u64,
    /// The context the model was trained for, in tokens; 0 when the header is silent.
    pub context_tokens: u64,
    /// Number of tokens in the vocabulary; 0 when the header is silent.
    pub vocabulary_tokens: u64,
    /// True when the numbers are known facts of the architecture, not read from this very file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
}
