//! PDF to text, page by page.

use std::time::Duration;

use pdf_inspector::{PagesExtractionResult, extract_pages_markdown_mem};

use super::encoding::Encoding;
use super::error::DocumentError;
use super::format::Format;
use super::guarded::guarded;
use super::read::extracted;
use super::text::Document;

/// How long one file may take: a book of a thousand pages takes seconds.
const TIME_LIMIT: Duration = Duration::from_secs(120);

pub(super) fn read(bytes: Vec<u8>) -> Result<Document, DocumentError> {
    if !bytes.get(..1024.min(bytes.len())).unwrap_or_default().windows(5).any(|part| part == b"%PDF-") {
        let reason = "it does not begin with `%PDF-`".into();
        return Err(DocumentError::Malformed { format: "PDF", reason });
    }
    let extraction = guarded("PDF", TIME_LIMIT, move || {
        extract_pages_markdown_mem(&bytes, None).map_err(|error| error.to_string())
    })?;
    Ok(join_pages(extraction))
}

/// Puts the pages after each other, with an empty line between them, and notes where each begins.
fn join_pages(extraction: PagesExtractionResult) -> Document {
    let mut text = String::new();
    let mut pages = Vec::with_capacity(extraction.pages.len());
    for page in &extraction.pages {
        pages.push(text.len());
        text.push_str(page.markdown.trim_end());
        text.push_str("\n\n");
    }
    let is_blank = |markdown: &str| !markdown.chars().any(char::is_alphanumeric);
    let unreadable_pages = extraction
        .pages
        .iter()
        .filter(|page| page.needs_ocr || is_blank(&page.markdown))
        .map(|page| page.page + 1)
        .collect();
    let mut document = extracted(Format::Pdf, Encoding::Utf8, text);
    document.pages = pages;
    document.unreadable_pages = unreadable_pages;
    document
}
