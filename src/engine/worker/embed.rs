//! Texts to vectors: several short texts are computed together, a long one is cut to what the model reads.

use std::io::Write;

use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use crate::engine::message::{Failure, Reply};

use super::Trouble;
use super::link::Link;
use super::model::{MAX_TEXTS, Session};

impl Session<'_> {
    /// Sends one vector a text, each of length 1.
    pub(super) fn embed<W: Write>(&mut self, texts: &[String], link: &mut Link<W>) -> Result<(), Trouble> {
        link.begin();
        if !self.is_embedder {
            return Err(Failure::WrongUse { reason: "the model was not loaded as an embedder".into() }.into());
        }
        let all_tokens: Vec<Vec<LlamaToken>> = texts.iter().map(|text| self.text_tokens(text)).collect();
        let dimensions = self.loaded.dimensions();
        let mut blob = Vec::with_capacity(texts.len() * dimensions * 4);
        for group in groups(&all_tokens, self.context.n_batch() as usize) {
            for vector in self.embed_group(group)? {
                if vector.len() != dimensions {
                    let reason = format!("a vector has {} numbers, not {dimensions}", vector.len());
                    return Err(Failure::Compute { reason }.into());
                }
                blob.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
        Ok(link.send_with(&Reply::Embedded { dimensions }, &blob)?)
    }

    /// The tokens of a text, cut in the middle of its end so that the closing token stays.
    fn text_tokens(&self, text: &str) -> Vec<LlamaToken> {
        let mut tokens = self.loaded.tokenize(text, true, false);
        if tokens.is_empty() {
            tokens.extend(self.loaded.begin_token().or(Some(LlamaToken::new(0))));
        }
        let limit = self.context_tokens().min(self.context.n_batch()) as usize;
        if tokens.len() > limit {
            let last = tokens[tokens.len() - 1];
            tokens.truncate(limit - 1);
            tokens.push(last);
        }
        tokens
    }

    fn embed_group(&mut self, group: &[Vec<LlamaToken>]) -> Result<Vec<Vec<f32>>, Failure> {
        let failed = |reason: String| Failure::Compute { reason };
        let mut batch = LlamaBatch::new(group.iter().map(Vec::len).sum(), 1);
        for (sequence, tokens) in (0..).zip(group) {
            // Every token takes part in the pooling, so every token is an output.
            batch.add_sequence(tokens, sequence, true).map_err(|error| failed(error.to_string()))?;
        }
        self.context.clear_kv_cache();
        self.context.decode(&mut batch).map_err(|error| failed(error.to_string()))?;
        let mut vectors = Vec::new();
        for sequence in (0..).take(group.len()) {
            let vector =
                self.context.embeddings_seq_ith(sequence).map_err(|error| failed(error.to_string()))?;
            vectors.push(normalized(vector));
        }
        Ok(vectors)
    }
}

/// Cuts texts into runs of at most `max_tokens` and [`MAX_TEXTS`]; each text alone fits.
fn groups(texts: &[Vec<LlamaToken>], max_tokens: usize) -> Vec<&[Vec<LlamaToken>]> {
    let mut groups = Vec::new();
    let (mut start, mut num_tokens) = (0, 0);
    for (index, tokens) in texts.iter().enumerate() {
        let is_full = num_tokens + tokens.len() > max_tokens || index - start >= MAX_TEXTS as usize;
        if is_full && index > start {
            groups.push(&texts[start..index]);
            (start, num_tokens) = (index, 0);
        }
        num_tokens += tokens.len();
    }
    if start < texts.len() {
        groups.push(&texts[start..]);
    }
    groups
}

fn normalized(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    vector.iter().map(|value| value * scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_what_fits_and_lose_nothing() {
        let texts: Vec<Vec<LlamaToken>> = [3, 3, 5, 1].map(|count| vec![LlamaToken::new(0); count]).to_vec();
        let sizes: Vec<usize> = groups(&texts, 6).iter().map(|group| group.len()).collect();
        assert_eq!(sizes, [2, 2]);
        let many = vec![vec![LlamaToken::new(0)]; 40];
        assert_eq!(groups(&many, 512).iter().map(|group| group.len()).sum::<usize>(), 40);
    }
}
