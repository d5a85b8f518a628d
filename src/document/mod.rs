//! Reads documents and cuts them into passages that can be cited.
//!
//! ```text
//! path ─ read ─▶ Document { text, pages, title, language } ─ chunk ─▶ Vec<Passage>
//! ```
//!
//! For plain formats in UTF-8 the text is the file, byte for byte, so a passage's span points into the
//! file itself. For HTML, PDF and other encodings it points into the extracted text, which the caller
//! stores (`Document::is_extracted`). One bad file never stops a run: the readers of foreign formats work
//! in a thread of their own with a deadline, and their panics become errors.

mod format;

mod encoding;
mod error;
mod guarded;
mod html;
mod pdf;
mod read;
mod text;

mod blocks;
mod chunk;
mod language;
mod markdown;
mod plain;
mod sentences;
mod tokens;

pub use chunk::{CHUNKER_VERSION, ChunkOptions, chunk};
pub use encoding::Encoding;
pub use error::DocumentError;
pub use format::{Format, format_of};
pub use language::language_of;
pub use read::{MAX_FILE_BYTES, read, read_bytes};
pub use sentences::sentences;
pub use text::Document;
pub use tokens::estimate_tokens;
