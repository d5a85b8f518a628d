//! The files of one collection's index: passages, word index, vectors, and the head that binds them.
//!
//! ```text
//! collections/<name>/
//!   collection.json        the name and the roots: what was asked to be indexed
//!   head.json              written last: generation, settings, size and sha256 of every file below
//!   files-<g>.json         every file with how it ended: indexed, empty, failed
//!   passages-<n>.lmp       passages with their spans (format in `passages`)
//!   texts/<sha256>.txt     extracted text of PDF, HTML and foreign encodings, that spans point into
//!   words/                 tantivy's word index; can be rebuilt from the passages
//!   vectors-<g>.lmv        8-bit vectors by passage (format in `vectors`)
//!   graph-<g>.usearch      neighbour graph over the vectors, for large collections
//!   lock                   one writer at a time
//! ```
//!
//! A change writes new files beside the old, then the head, then removes what the head no longer names:
//! a power cut leaves the old state or the new one. `id = segment number × 2³² + place in the segment`.

mod error;

mod catalogue;
mod head;

mod analyser;
mod passages;
mod readable;
mod vectors;
mod words;

mod collection;
mod update;
mod vector_cache;

mod attach;
mod graph;

pub use analyser::{Analyser, Terms};
pub use attach::attach_vectors;
pub use catalogue::{FileEntry, FileState, Root, Roots};
pub use collection::{Collection, Hit, search_words};
pub use error::IndexError;
pub use head::{Head, VectorsHead};
pub use update::{NewFile, Outcome, Update};
pub use vector_cache::{VectorCache, VectorKey, embedded_text};
pub use vectors::VectorTable;
pub use words::WordIndex;
