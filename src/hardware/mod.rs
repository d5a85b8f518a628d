//! Looks at this machine (probe) and decides whether a model fits it (fit, a pure function).

mod fit;
mod probe;

pub use fit::{DEFAULT_CONTEXT_TOKENS, Need, Verdict, fit, need};
pub use probe::{Machine, probe, target_triple};
