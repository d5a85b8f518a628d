//! Does a model fit a machine's memory? A pure function of the file's size, its shape and the machine.
//!
//! ```text
//! need = weights + cache + work
//!   weights = bytes of the model's files
//!   cache   = context × layers × key/value heads × (key width + value width) × 2 bytes (f16)
//!   work    = 512 tokens × vocabulary × 4 bytes (logits of one batch) + 128 MiB
//! ```
//! Without a shape: need = weights × 1.2 + 512 MiB, the rule of thumb that other tools ship, marked as
//! an estimate.

use serde::Serialize;

use crate::gguf::Shape;

use super::probe::Machine;

/// The context that a fit is judged at unless another is asked for, in tokens.
pub const DEFAULT_CONTEXT_TOKENS: u64 = 4096;

/// Tokens that llama.cpp works on at once (`n_ubatch`).
const BATCH_TOKENS: u64 = 512;

/// What the process needs beside weights, cache and logits, in bytes.
const WORK_BYTES: u64 = 128 * MIB;

/// What the system and its desktop keep for themselves, in bytes: comfortably, and at the least.
const COMFORT_BYTES: u64 = 1536 * MIB;
const LEAST_BYTES: u64 = 512 * MIB;

const MIB: u64 = 1024 * 1024;

/// The memory that a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Everything together, in bytes.
    pub total_bytes: u64,
    /// The part that the key/value cache takes, in bytes; 0 when it is not known.
    pub cache_bytes: u64,
    /// The context that was counted with, in tokens.
    pub context_tokens: u64,
    /// True when the shape was not known, or is not from this very file.
    pub is_estimate: bool,
}

/// How well a model fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It runs, and leaves room for a desktop.
    Fits,
    /// It runs when nothing else large does.
    Tight,
    /// It does not run.
    TooBig,
}

/// Computes what a model needs. The context is cut to what the model was trained for.
pub fn need(weights_bytes: u64, shape: Option<&Shape>, context_tokens: u64) -> Need {
    let Some(shape) = shape else {
        let total_bytes = weights_bytes.saturating_add(weights_bytes / 5).saturating_add(512 * MIB);
        return Need { total_bytes, cache_bytes: 0, context_tokens, is_estimate: true };
    };
    let context_tokens = match shape.context_tokens {
        0 => context_tokens,
        trained => context_tokens.min(trained),
    };
    let per_token = shape
        .num_layers
        .saturating_mul(shape.num_kv_heads)
        .saturating_mul(shape.key_width.saturating_add(shape.value_width))
        .saturating_mul(2);
    let cache_bytes = context_tokens.saturating_mul(per_token);
    let logits_bytes = BATCH_TOKENS.saturating_mul(shape.vocabulary_tokens).saturating_mul(4);
    let total_bytes =
        weights_bytes.saturating_add(cache_bytes).saturating_add(logits_bytes).saturating_add(WORK_BYTES);
    Need { total_bytes, cache_bytes, context_tokens, is_estimate: shape.assumed }
}

/// Judges a need against all memory of a machine: what runs now can be closed, what is not built in cannot.
pub fn fit(need: &Need, machine: &Machine) -> Verdict {
    let leaves = |kept_bytes| need.total_bytes.saturating_add(kept_bytes) <= machine.ram_bytes;
    if leaves(COMFORT_BYTES) {
        Verdict::Fits
    } else if leaves(LEAST_BYTES) {
        Verdict::Tight
    } else {
        Verdict::TooBig
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(ram_gib: u64) -> Machine {
        Machine {
            system: "linux".into(),
            architecture: "x86_64".into(),
            num_cores: 2,
            ram_bytes: ram_gib * 1024 * MIB,
            available_bytes: 0,
            cpu_features: Vec::new(),
        }
    }

    /// Qwen2.5 0.5B: 24 layers, 2 key/value heads of width 64, vocabulary of 151,936.
    fn qwen() -> Shape {
        Shape {
            architecture: "qwen2".into(),
            num_layers: 24,
            embedding_width: 896,
            num_heads: 14,
            num_kv_heads: 2,
            key_width: 64,
            value_width: 64,
            context_tokens: 32768,
            vocabulary_tokens: 151_936,
            assumed: false,
        }
    }

    #[test]
    fn the_need_is_the_sum_of_its_parts() {
        let need = need(491_400_032, Some(&qwen()), 4096);
        // 4096 × 24 × 2 × 128 × 2 = 50,331,648; 512 × 151,936 × 4 = 311,164,928; 128 MiB = 134,217,728.
        assert_eq!(need.cache_bytes, 50_331_648);
        assert_eq!(need.total_bytes, 491_400_032 + 50_331_648 + 311_164_928 + 134_217_728);
        assert!(!need.is_estimate);
    }

    #[test]
    fn a_half_billion_model_fits_4_gib_and_a_seven_billion_one_does_not() {
        assert_eq!(fit(&need(491_400_032, Some(&qwen()), 4096), &machine(4)), Verdict::Fits);
        assert_eq!(fit(&need(4_680_000_000, None, 4096), &machine(4)), Verdict::TooBig);
        // 4.68 GB × 1.2 + 512 MiB = 6.15 GB of 8.59 GB.
        assert_eq!(fit(&need(4_680_000_000, None, 4096), &machine(8)), Verdict::Fits);
    }

    #[test]
    fn absurd_numbers_in_a_header_do_not_wrap_around() {
        let absurd = Shape { num_layers: u64::MAX, num_kv_heads: u64::MAX, ..qwen() };
        assert_eq!(fit(&need(1, Some(&absurd), u64::MAX), &machine(8)), Verdict::TooBig);
    }
}
