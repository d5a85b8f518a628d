//! From a question to ranked passages: which lists are asked, how they become one, what is quoted.
//!
//! ```text
//! question ─┬─ terms  ─▶ words of all collections, one BM25 ─▶ best 100 ─┐
//!           └─ vector ─▶ each collection's nearest, cosine   ─▶ best 100 ─┴─ fuse ─▶ passages ─▶ quotes
//! ```

mod search;

mod fusion;
mod measure;
mod quote;

pub use fusion::{FusionOptions, Ranked, rank};
pub use measure::{Judgements, Measures, measure};
pub use quote::best_sentence;
pub use search::{Found, Question, SearchOptions, languages_of, search};
