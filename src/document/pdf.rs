//! PDF to text, page by page.

use std::time::Duration;

use flate2::{Decompress, FlushDecompress, Status};
use pdf_inspector::{PagesExtractionResult, extract_pages_markdown_mem};

use super::encoding::Encoding;
use super::error::DocumentError;
use super::format::Format;
use super::guarded::guarded;
use super::read::extracted;
use super::text::Document;

/// How long one file may take: a book of a thousand pages takes seconds.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// The most that a file's packed streams may come to, without its pictures: the reader holds them all.
const MAX_UNPACKED_BYTES: u64 = 256 * 1024 * 1024;
/// So far before its stream a dictionary is looked for.
const MAX_DICTIONARY_BYTES: usize = 4096;

pub(super) fn read(bytes: Vec<u8>) -> Result<Document, DocumentError> {
    if !bytes.get(..1024.min(bytes.len())).unwrap_or_default().windows(5).any(|part| part == b"%PDF-") {
        let reason = "it does not begin with `%PDF-`".into();
        return Err(DocumentError::Malformed { format: "PDF", reason });
    }
    let extraction = guarded("PDF", TIME_LIMIT, move || {
        refuse_too_large_inside(&bytes)?;
        extract_pages_markdown_mem(&bytes, None).map_err(|error| error.to_string())
    })?;
    Ok(join_pages(extraction))
}

/// Three megabytes can be packed gigabytes; they are counted, never held.
fn refuse_too_large_inside(bytes: &[u8]) -> Result<(), String> {
    let mut unpacked_bytes = 0;
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], b"stream") {
        let dictionary = dictionary_before(&bytes[at..at + found]);
        at += found + b"stream".len();
        let is_packed = find(dictionary, b"FlateDecode").is_some() && find(dictionary, b"/Image").is_none();
        if is_packed {
            let line_break = bytes[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            unpacked_bytes += unpacked_size(&bytes[at + line_break..], MAX_UNPACKED_BYTES - unpacked_bytes);
        }
        if unpacked_bytes >= MAX_UNPACKED_BYTES {
            return Err(format!("it unpacks to more than {} MB", MAX_UNPACKED_BYTES / 1024 / 1024));
        }
    }
    Ok(())
}

/// What stands between the last `obj` and the stream; nothing before an `endstream`.
fn dictionary_before(bytes: &[u8]) -> &[u8] {
    let near = &bytes[bytes.len().saturating_sub(MAX_DICTIONARY_BYTES)..];
    if near.ends_with(b"end") {
        return &[];
    }
    near.windows(3).rposition(|part| part == b"obj").map_or(near, |start| &near[start..])
}

/// How many bytes a zlib stream unpacks to, counted up to `limit`.
fn unpacked_size(packed: &[u8], limit: u64) -> u64 {
    let mut inflater = Decompress::new(true);
    let mut output = vec![0; 64 * 1024];
    while inflater.total_out() < limit {
        let before = (inflater.total_in(), inflater.total_out());
        let rest = usize::try_from(before.0).ok().and_then(|read| packed.get(read..)).unwrap_or_default();
        match inflater.decompress(rest, &mut output, FlushDecompress::None) {
            Ok(Status::Ok) if (inflater.total_in(), inflater.total_out()) != before => {}
            // The end, or damage, about which the reader has its own words.
            _ => break,
        }
    }
    inflater.total_out().min(limit)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    /// An object whose stream packs so many zeros.
    fn packed(num_zeros: usize, facts: &str) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        for _ in 0..num_zeros / 1024 {
            encoder.write_all(&[0; 1024]).expect("in memory");
        }
        let stream = encoder.finish().expect("in memory");
        let mut bytes = format!("1 0 obj\n<< /Filter /FlateDecode {facts} >>\nstream\n").into_bytes();
        bytes.extend(stream);
        bytes.extend_from_slice(b"\nendstream\nendobj\n");
        bytes
    }

    #[test]
    fn refuses_a_file_that_unpacks_to_far_more_than_itself() {
        let half = usize::try_from(MAX_UNPACKED_BYTES / 2).expect("small");
        let mut bytes = packed(half, "");
        assert_eq!(refuse_too_large_inside(&bytes), Ok(()));
        bytes.extend(packed(half, "/Subtype /Image"));
        assert_eq!(refuse_too_large_inside(&bytes), Ok(()), "pictures are not unpacked");
        bytes.extend(packed(half, ""));
        let said = refuse_too_large_inside(&bytes).expect_err("too large");
        assert_eq!(said, "it unpacks to more than 256 MB");
    }
}
