//! From a path to a `Document`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::encoding::{Encoding, decode};
use super::error::DocumentError;
use super::format::Format;
use super::text::Document;
use super::{html, language, pdf};

/// The most that is read of one file, in bytes. Text of that size has 50,000 passages.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Reads one file as `format` says.
///
/// # Errors
/// When the file cannot be read, is no text, or its format's reader gives up. None of them concerns
/// other files.
pub fn read(path: &Path, format: Format) -> Result<Document, DocumentError> {
    if format == Format::Unsupported {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        return Err(DocumentError::Unsupported { extension });
    }
    let on_path = |source| DocumentError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(on_path)?;
    let size_bytes = file.metadata().map_err(on_path)?.len();
    refuse_too_large(size_bytes)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or_default());
    // One byte more than allowed, for a file that grows while it is read.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(on_path)?;
    refuse_too_large(bytes.len() as u64)?;
    read_bytes(bytes, format)
}

/// Reads a document that is in memory.
///
/// # Errors
/// As `read`.
pub fn read_bytes(bytes: Vec<u8>, format: Format) -> Result<Document, DocumentError> {
    let mut document = match format {
        Format::Pdf => pdf::read(bytes)?,
        Format::Html => html::read(bytes)?,
        Format::Unsupported => return Err(DocumentError::Unsupported { extension: String::new() }),
        Format::Markdown | Format::Text | Format::Code => read_plain(bytes, format)?,
    };
    document.language = language::language_of(&document.text);
    Ok(document)
}

fn refuse_too_large(size_bytes: u64) -> Result<(), DocumentError> {
    if size_bytes > MAX_FILE_BYTES {
        return Err(DocumentError::TooLarge { size_bytes, limit_bytes: MAX_FILE_BYTES });
    }
    Ok(())
}

fn read_plain(bytes: Vec<u8>, format: Format) -> Result<Document, DocumentError> {
    let decoded = decode(bytes)?;
    Ok(Document {
        format,
        encoding: decoded.encoding,
        title: None,
        text: decoded.text,
        is_extracted: !decoded.is_verbatim,
        pages: Vec::new(),
        unreadable_pages: Vec::new(),
        language: None,
    })
}

/// A document made by a converter.
pub(super) fn extracted(format: Format, encoding: Encoding, text: String) -> Document {
    Document {
        format,
        encoding,
        title: None,
        text,
        is_extracted: true,
        pages: Vec::new(),
        unreadable_pages: Vec::new(),
        language: None,
    }
}
