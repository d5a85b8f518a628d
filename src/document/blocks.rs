//! What a text is made of, before it is cut: headings, prose, lines, and what is not worth finding.

use std::ops::Range;

/// A part of a text that is kept together where it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: BlockKind,
    /// Bytes of the text that it covers.
    pub(super) range: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// A heading: level 1 is the outermost; the title is without its marks.
    Heading { level: u8, title: String },
    /// A paragraph or list item; where it is too long it is cut between sentences.
    Prose,
    /// A code fence, a table, program text; where it is too long it is cut between lines.
    Lines,
    /// Nothing to find here (a table of contents, a ruler); passages do not reach across it.
    Skipped,
}

/// The lines of a text as byte ranges, each with its line break.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end;
        range
    })
}
