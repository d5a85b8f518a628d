//! llama.cpp in a child process: model memory, sampling, token streaming. Takes paths, knows no packages.
//!
//! ```text
//! this process                              child: the same executable, verb `engine`
//!   Engine ── requests ──► stdin  ──► link thread ──► worker: llama.cpp
//!          ◄── replies ─── stdout ◄──────────────────────────┘
//!          ◄── last lines of stderr, for the error when it dies
//! ```
//!
//! llama.cpp ends the whole process on some files, and the system may kill it when memory runs out; here that is
//! an [`EngineError`]. The child ends with its parent: its stdin closes, and the kernel signals it.

mod client;
mod error;
mod message;
mod process;
pub mod worker;

pub use crate::progress::Flow;
pub use client::Engine;
pub use error::{Death, EngineError, Result};
pub use message::{
    EngineOptions, Finish, GenerateRequest, Generated, Message, ModelFacts, Pooling, Prompt, Sampling,
};
