//! Cuts a document into passages: at headings and pages, then evenly between blocks and sentences.
//!
//! ```text
//! section of 500 tokens, at most 220 a passage: ⌈500/220⌉ = 3 passages of about 167
//! ```
//!
//! Passages do not overlap: neighbours can be had by their spans.

use std::ops::Range;

use crate::passage::{Passage, SourceSpan};

use super::blocks::{Block, BlockKind, lines};
use super::format::Format;
use super::sentences::sentences;
use super::text::Document;
use super::tokens::estimate_tokens;
use super::{markdown, plain};

/// Changes whenever the same document could be cut differently; part of each vector's identity.
pub const CHUNKER_VERSION: u32 = 1;

/// A word of more ASCII letters than this is data (a picture, a key), not language.
const MAX_WORD_BYTES: usize = 1000;
/// The most letters of a stated title that a passage carries.
const MAX_TITLE_CHARS: usize = 200;

/// How passages are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ChunkOptions {
    /// The most tokens a passage has, by estimate; an embedder that reads 256 also reads the headings.
    pub max_tokens: usize,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        Self { max_tokens: 220 }
    }
}

/// Cuts a document into passages, in order; `file` is the name that their spans carry.
pub fn chunk(document: &Document, file: &str, options: &ChunkOptions) -> Vec<Passage> {
    let text = document.text.as_str();
    let blocks = match document.format {
        Format::Markdown | Format::Html | Format::Pdf => markdown::blocks(text),
        Format::Code => plain::paragraphs(text, &BlockKind::Lines),
        Format::Text | Format::Unsupported => plain::paragraphs(text, &BlockKind::Prose),
    };
    let mut chunker = Chunker {
        document,
        file,
        max_tokens: options.max_tokens.max(16),
        line_starts: lines(text).map(|range| range.start).collect(),
        headings: base_headings(document),
        waiting: Vec::new(),
        passages: Vec::new(),
    };
    for (number, block) in blocks.iter().enumerate() {
        chunker.take(block, blocks.get(number + 1));
    }
    chunker.flush();
    chunker.passages
}

/// A title that the file states outside its text stands above all headings.
fn base_headings(document: &Document) -> Vec<(u8, String)> {
    let stated = match document.format {
        Format::Markdown => markdown::stated_title(&document.text),
        _ => document.title.clone(),
    };
    // Every passage repeats it, so a title of many pages would multiply the index.
    stated.map(|title| (0, title.chars().take(MAX_TITLE_CHARS).collect())).into_iter().collect()
}

struct Chunker<'document> {
    document: &'document Document,
    file: &'document str,
    max_tokens: usize,
    line_starts: Vec<usize>,
    /// The headings in force, outermost first, with their levels.
    headings: Vec<(u8, String)>,
    /// Pieces of the section at hand, with their tokens; none has more than `max_tokens`.
    waiting: Vec<(Range<usize>, usize)>,
    passages: Vec<Passage>,
}

impl Chunker<'_> {
    fn take(&mut self, block: &Block, next: Option<&Block>) {
        self.flush_at_page_break(block);
        match &block.kind {
            BlockKind::Heading { level, title } => {
                self.flush();
                self.headings.retain(|(outer, _)| outer < level);
                self.push_heading(*level, title);
                if is_without_body(*level, next) {
                    self.add(block.range.clone(), BlockKind::Prose);
                    self.flush();
                }
            }
            BlockKind::Skipped => self.flush(),
            kind => self.add(block.range.clone(), kind.clone()),
        }
    }

    /// A title that the first heading repeats is not said twice.
    fn push_heading(&mut self, level: u8, title: &str) {
        if !title.is_empty() && self.headings.last().is_none_or(|(_, above)| above != title) {
            self.headings.push((level, title.to_owned()));
        }
    }

    fn flush_at_page_break(&mut self, block: &Block) {
        let page = self.document.page_of(block.range.start);
        if self.waiting.last().is_some_and(|(last, _)| self.document.page_of(last.start) != page) {
            self.flush();
        }
    }

    /// Adds a block, cut into pieces where it is too long.
    fn add(&mut self, range: Range<usize>, kind: BlockKind) {
        let range = trimmed(&self.document.text, range);
        let tokens = estimate_tokens(&self.document.text[range.clone()]);
        if tokens <= self.max_tokens && range.len() <= MAX_WORD_BYTES {
            self.push(range, tokens);
            return;
        }
        let block = &self.document.text[range.clone()];
        let parts: Vec<Range<usize>> = match kind {
            BlockKind::Lines => lines(block).collect(),
            _ if tokens <= self.max_tokens => std::iter::once(0..block.len()).collect(),
            _ => sentences(block),
        };
        for part in parts {
            self.add_part(range.start + part.start..range.start + part.end);
        }
    }

    /// Adds a sentence or a line; one that is too long is cut between words.
    fn add_part(&mut self, range: Range<usize>) {
        let range = trimmed(&self.document.text, range);
        let text = self.document.text.as_str();
        let tokens = estimate_tokens(&text[range.clone()]);
        if tokens <= self.max_tokens && range.len() <= MAX_WORD_BYTES {
            self.push(range, tokens);
            return;
        }
        let (mut start, mut sum) = (range.start, 0);
        let mut at = range.start;
        for word in text[range.clone()].split_inclusive(char::is_whitespace) {
            let tokens = estimate_tokens(word);
            let is_data = word.len() > MAX_WORD_BYTES && word.is_ascii();
            if is_data || tokens > self.max_tokens || sum + tokens > self.max_tokens {
                self.push(start..at, sum);
                (start, sum) = (at, 0);
            }
            if is_data {
                self.flush();
                start = at + word.len();
            } else if tokens > self.max_tokens {
                self.add_long_word(at..at + word.len());
                start = at + word.len();
            } else {
                sum += tokens;
            }
            at += word.len();
        }
        self.push(start..at, sum);
    }

    /// Cuts a run without spaces (Chinese without stops, say) after so many letters.
    fn add_long_word(&mut self, range: Range<usize>) {
        let text = self.document.text.as_str();
        let mut start = range.start;
        for (count, (at, _)) in text[range.clone()].char_indices().enumerate() {
            if count > 0 && count % self.max_tokens == 0 {
                self.push(start..range.start + at, self.max_tokens);
                start = range.start + at;
            }
        }
        self.push(start..range.end, estimate_tokens(&text[start..range.end]));
    }

    fn push(&mut self, range: Range<usize>, tokens: usize) {
        if self.document.text[range.clone()].contains(char::is_alphanumeric) {
            self.waiting.push((range, tokens));
        }
    }

    /// Makes passages of about equal length out of the pieces that wait.
    fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let total: usize = waiting.iter().map(|(_, tokens)| tokens).sum();
        let target = total.div_ceil(total.div_ceil(self.max_tokens).max(1));
        let mut open: Option<(Range<usize>, usize)> = None;
        for (range, tokens) in waiting {
            match &mut open {
                Some((passage, sum)) if *sum < target && *sum + tokens <= self.max_tokens => {
                    passage.end = range.end;
                    *sum += tokens;
                }
                _ => {
                    if let Some((passage, _)) = open.replace((range, tokens)) {
                        self.emit(passage);
                    }
                }
            }
        }
        if let Some((passage, _)) = open {
            self.emit(passage);
        }
    }

    fn emit(&mut self, range: Range<usize>) {
        let range = trimmed(&self.document.text, range);
        let span = SourceSpan {
            file: self.file.to_owned(),
            page: self.document.page_of(range.start),
            first_line: self.line_of(range.start),
            last_line: self.line_of(range.end.saturating_sub(1).max(range.start)),
            start_byte: range.start as u64,
            end_byte: range.end as u64,
        };
        self.passages.push(Passage {
            text: self.document.text[range].to_owned(),
            heading_path: self.headings.iter().map(|(_, title)| title.clone()).collect(),
            span,
            language: self.document.language.map(str::to_owned),
        });
    }

    /// The line, counted from 1, that holds the byte at `at`.
    fn line_of(&self, at: usize) -> u32 {
        u32::try_from(self.line_starts.partition_point(|&start| start <= at)).unwrap_or(u32::MAX)
    }
}

/// True when nothing follows a heading that could carry it: it must then be found by itself.
fn is_without_body(level: u8, next: Option<&Block>) -> bool {
    match next.map(|block| &block.kind) {
        None => true,
        Some(BlockKind::Heading { level: next, .. }) => *next <= level,
        Some(_) => false,
    }
}

/// The range without white space (or a byte order mark) at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let is_blank = |c: char| c.is_whitespace() || c == '\u{feff}';
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start_matches(is_blank).len());
    let end = range.start + part.trim_end_matches(is_blank).len();
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::read_bytes;

    fn cut(text: &str, format: Format, max_tokens: usize) -> Vec<Passage> {
        let document = read_bytes(text.as_bytes().to_vec(), format).expect("text");
        let passages = chunk(&document, "file", &ChunkOptions { max_tokens });
        for passage in &passages {
            let span = &passage.span;
            let range = span.start_byte as usize..span.end_byte as usize;
            assert_eq!(&document.text[range], passage.text, "a span points at its text");
            let num_lines = passage.text.matches('\n').count() as u32;
            assert_eq!(span.last_line - span.first_line, num_lines);
        }
        passages
    }

    #[test]
    fn a_passage_knows_its_headings_and_lines() {
        let text =
            "\u{feff}# Water\r\n\r\nBoil it.\r\n\r\n## Cooling\r\n\r\n- Let it stand.\r\n- Cover it.\r\n";
        let passages = cut(text, Format::Markdown, 220);
        assert_eq!(passages.len(), 2);
        assert_eq!(passages[0].heading_path, ["Water"]);
        assert_eq!((passages[0].text.as_str(), passages[0].span.first_line), ("Boil it.", 3));
        assert_eq!(passages[1].heading_path, ["Water", "Cooling"]);
        assert_eq!((passages[1].span.first_line, passages[1].span.last_line), (7, 8));
    }

    #[test]
    fn a_long_section_is_cut_evenly_between_sentences() {
        // Each sentence: seven words of at most five letters and a stop, 8 tokens; 30 of them are 240.
        let text = "We boil the water for an hour. ".repeat(30);
        let passages = cut(&text, Format::Text, 100);
        let tokens: Vec<usize> = passages.iter().map(|passage| estimate_tokens(&passage.text)).collect();
        assert_eq!(tokens, [80, 80, 80]);
    }

    #[test]
    fn a_heading_without_a_body_can_be_found() {
        let passages = cut("# Tools\n## Ollama\n## Jan\ntext\n", Format::Markdown, 220);
        assert_eq!(passages[0].text, "## Ollama");
        assert_eq!(passages[1].heading_path, ["Tools", "Jan"]);
        assert_eq!(passages.len(), 2);
    }

    #[test]
    fn one_huge_line_is_cut_and_data_is_left_out() {
        let words = cut(&"water ".repeat(5_000), Format::Text, 100);
        assert!(words.iter().all(|passage| estimate_tokens(&passage.text) <= 100));
        assert_eq!(words.len(), 50);
        assert!(cut(&"QUJD".repeat(50_000), Format::Text, 100).is_empty());
        assert_eq!(cut(&"水".repeat(250), Format::Text, 100).len(), 3);
    }

    #[test]
    fn headings_as_deep_as_markdown_has_them_are_kept_in_order() {
        let text = "# a\n## b\n### c\n#### d\n##### e\n###### f\ntext\n## g\nmore\n";
        let passages = cut(text, Format::Markdown, 220);
        assert_eq!(passages[0].heading_path, ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(passages[1].heading_path, ["a", "g"]);
    }

    #[test]
    fn every_letter_of_prose_is_in_some_passage() {
        let text = "# A\nOne two. Three!\n\n- four\n- five\n\n```\nsix\n```\n| seven | eight |\n";
        let all: String = cut(text, Format::Markdown, 16).into_iter().map(|passage| passage.text).collect();
        for word in ["One", "Three", "four", "five", "six", "seven", "eight"] {
            assert!(all.contains(word), "{word}");
        }
    }
}
