//! Text to vectors: batching, pooling, normalising.
