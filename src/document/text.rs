//! A document as it was read: its text, and what is known about it.

use super::encoding::Encoding;
use super::format::Format;

/// One file's text with what is needed to cite it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What kind of file it was.
    pub format: Format,
    /// How its bytes were turned into text.
    pub encoding: Encoding,
    /// The title that the file states, if it does.
    pub title: Option<String>,
    /// The whole text; spans count bytes from its beginning.
    pub text: String,
    /// True when `text` is not the file byte for byte, so that citations need it kept.
    pub is_extracted: bool,
    /// Where each page begins in `text`, in bytes; empty for formats without pages.
    pub pages: Vec<usize>,
    /// Pages, counted from 1, on which no text could be read (scans).
    pub unreadable_pages: Vec<u32>,
    /// ISO 639-1 code of the language, when it could be told.
    pub language: Option<&'static str>,
}

impl Document {
    /// True when there is nothing to search: an empty file, or a scan.
    pub fn is_empty(&self) -> bool {
        !self.text.chars().any(char::is_alphanumeric)
    }

    /// The page, counted from 1, that holds the byte at `at`.
    pub fn page_of(&self, at: usize) -> Option<u32> {
        let pages_begun = self.pages.partition_point(|&start| start <= at);
        u32::try_from(pages_begun).ok().filter(|&page| page > 0)
    }
}
