//! localml: fetch, carry, verify and use AI models and knowledge where the internet is rare.
//!
//! # The house plan
//!
//! Rooms are nouns; deeds are verbs and live in [`ops`]. Each room's `mod.rs` says what it owns. Words
//! come in at the roof and bytes rest in the cellar; every arrow points down one stair, and the two
//! wings never import each other: only the corridor knows both.
//!
//! ```text
//! ── roof: words in, words out ──────────────────────────────────────────────────────────────
//!   cli          argv, environment, terminal, colour, exit codes, JSON on stdout
//! ── corridor: one file per thing a user can do; the only place where rooms meet ────────────
//!   ops          the order of steps; options in, report out; never prints
//! ── knowledge wing ──────────────────         ── supply wing ───────────────────────────────
//!   answer       prompt, citation marks          bundle     the stick: volumes, writer, reader
//!   retrieval    query plan, fusion              store      blobs by sha256, installed list
//!   index        files of a collection's index   transfer   HTTP out, resume, staging
//!   embedding    text → vectors                  registry   index, trust, resolve
//!   engine       llama.cpp in a child process    hardware   look at this PC; does it fit
//!   document     read formats, chunk
//!   passage      Passage, SourceSpan, Vector     package    name, version, manifest, pieces
//! ── cellar: no domain words ────────────────────────────────────────────────────────────────
//!   gguf (header, tensors)  home (paths)  disk (safe writes)  progress (Monitor)  digest  error
//! ```
//!
//! Which room may import which is the table in `tests/suite/house_plan.rs`; that test holds it.
//!
//! What is absent, each held by a lint or by that test:
//! below `cli`, nothing prints, reads the environment or exits; only `transfer` opens sockets (and the
//! engine's worker link, which is a pipe); only `disk` creates, renames or removes files (tantivy,
//! usearch and llama.cpp write their own); each heavy dependency is named in one room; bytes enter
//! `store` only as [`disk::Staged`] with the digest that a manifest promised.
//!
//! # Features
//!
//! `engine` (llama.cpp), `onnx` (ONNX embedders) and `index` (documents and search) are on by default.
//! Without them it is the courier build: packages and sticks only.

pub mod cli;

pub mod ops;

#[cfg(feature = "index")]
pub mod answer;
#[cfg(feature = "index")]
pub mod document;
#[cfg(any(feature = "onnx", feature = "engine"))]
pub mod embedding;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "index")]
pub mod index;
pub mod passage;
#[cfg(feature = "index")]
pub mod retrieval;

pub mod bundle;
pub mod hardware;
pub mod package;
pub mod registry;
pub mod store;
pub mod transfer;

pub mod digest;
pub mod disk;
pub mod error;
pub mod gguf;
pub mod home;
pub mod progress;
