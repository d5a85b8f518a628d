//! Markdown to blocks: headings, paragraphs, list items, fences, tables, front matter.
//!
//! Only what decides where a text may be cut is read; a line that is odd Markdown is simply prose.

use std::ops::Range;

use super::blocks::{Block, BlockKind, lines};

/// Headings longer than this are cut, in letters; some converters make whole paragraphs headings.
const MAX_TITLE_CHARS: usize = 200;
/// Front matter ends within so many lines, or is none.
const MAX_FRONT_MATTER_LINES: usize = 100;

/// The blocks of a Markdown text, in order.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut parser = Parser { text, blocks: Vec::new(), open: None, fence: None };
    let body_start = front_matter(text).map_or(0, |range| range.end);
    for range in lines(text) {
        if range.start >= body_start {
            parser.line(range);
        }
    }
    parser.blocks.extend(parser.open.take());
    parser.blocks
}

/// The title that the front matter states.
pub(super) fn stated_title(text: &str) -> Option<String> {
    let range = front_matter(text)?;
    let line = text[range].lines().find(|line| line.starts_with("title:"))?;
    let title = line["title:".len()..].trim().trim_matches(['"', '\'']);
    (!title.is_empty()).then(|| title.to_owned())
}

/// `---` in the first line up to the next `---` or `...`: facts for a site generator.
fn front_matter(text: &str) -> Option<Range<usize>> {
    let mut all = lines(text).take(MAX_FRONT_MATTER_LINES);
    if text[all.next()?].trim_start_matches('\u{feff}').trim_end() != "---" {
        return None;
    }
    let end = all.find(|range| matches!(text[range.clone()].trim_end(), "---" | "..."))?;
    Some(0..end.end)
}

struct Parser<'text> {
    text: &'text str,
    blocks: Vec<Block>,
    /// The paragraph, item or table that the next line may continue.
    open: Option<Block>,
    /// The mark of the fence that is open, and how many of it.
    fence: Option<(char, usize)>,
}

impl Parser<'_> {
    fn line(&mut self, range: Range<usize>) {
        let line = self.text[range.clone()].trim_start_matches('\u{feff}').trim_end();
        if self.fence.is_some() {
            return self.inside_fence(line, range);
        }
        let inner = line.trim_start();
        if inner.is_empty() {
            self.close();
        } else if let Some(fence) = fence_of(inner) {
            self.fence = Some(fence);
            self.begin(BlockKind::Lines, range);
        } else if let Some((level, title)) = atx_heading(line) {
            self.begin(BlockKind::Heading { level, title }, range);
            self.close();
        } else if let Some(level) = setext_level(inner).filter(|_| self.is_paragraph()) {
            self.paragraph_becomes_heading(level, range);
        } else if is_ruler(inner) || is_contents_entry(inner) {
            self.begin(BlockKind::Skipped, range);
            self.close();
        } else if inner.starts_with('|') {
            self.extend_or_begin(BlockKind::Lines, range);
        } else if is_list_item(inner) {
            self.begin(BlockKind::Prose, range);
        } else {
            self.extend_or_begin(BlockKind::Prose, range);
        }
    }

    fn inside_fence(&mut self, line: &str, range: Range<usize>) {
        if let Some(block) = &mut self.open {
            block.range.end = range.end;
        }
        let inner = line.trim_start();
        let is_end = |(mark, count): (char, usize)| inner.len() >= count && inner.chars().all(|c| c == mark);
        if self.fence.is_some_and(is_end) {
            self.fence = None;
            self.close();
        }
    }

    fn begin(&mut self, kind: BlockKind, range: Range<usize>) {
        self.close();
        self.open = Some(Block { kind, range });
    }

    fn extend_or_begin(&mut self, kind: BlockKind, range: Range<usize>) {
        match &mut self.open {
            Some(block) if block.kind == kind => block.range.end = range.end,
            _ => self.begin(kind, range),
        }
    }

    fn close(&mut self) {
        self.blocks.extend(self.open.take());
    }

    fn is_paragraph(&self) -> bool {
        self.open.as_ref().is_some_and(|block| {
            block.kind == BlockKind::Prose && !is_list_item(self.text[block.range.clone()].trim_start())
        })
    }

    fn paragraph_becomes_heading(&mut self, level: u8, range: Range<usize>) {
        if let Some(mut block) = self.open.take() {
            let title = plain_title(&self.text[block.range.clone()]);
            block.range.end = range.end;
            block.kind = BlockKind::Heading { level, title };
            self.blocks.push(block);
        }
    }
}

fn fence_of(inner: &str) -> Option<(char, usize)> {
    let mark = inner.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let count = inner.chars().take_while(|c| *c == mark).count();
    // Backticks after the mark make it code within a line.
    let is_inline = mark == '`' && inner[count..].contains('`');
    (count >= 3 && !is_inline).then_some((mark, count))
}

fn atx_heading(line: &str) -> Option<(u8, String)> {
    let inner = line.trim_start_matches(' ');
    if line.len() - inner.len() > 3 {
        return None;
    }
    let level = inner.chars().take_while(|c| *c == '#').count();
    let rest = &inner[level..];
    if !(1..=6).contains(&level) || !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let title = plain_title(rest.trim().trim_end_matches('#'));
    Some((u8::try_from(level).ok()?, title))
}

fn setext_level(inner: &str) -> Option<u8> {
    match inner.chars().next()? {
        '=' if inner.len() >= 2 && inner.chars().all(|c| c == '=') => Some(1),
        '-' if inner.len() >= 2 && inner.chars().all(|c| c == '-') => Some(2),
        _ => None,
    }
}

fn is_ruler(inner: &str) -> bool {
    let mut marks = inner.chars().filter(|c| !c.is_whitespace());
    let Some(first) = marks.next() else { return false };
    matches!(first, '-' | '*' | '_') && marks.clone().count() >= 2 && marks.all(|c| c == first)
}

fn is_list_item(inner: &str) -> bool {
    let after_digits = inner.trim_start_matches(|c: char| c.is_ascii_digit());
    let num_digits = inner.len() - after_digits.len();
    let rest = match num_digits {
        0 => inner.strip_prefix(['-', '*', '+']),
        1..=9 => after_digits.strip_prefix(['.', ')']),
        _ => None,
    };
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// A list item that is only a link within the same file: an entry of a table of contents.
fn is_contents_entry(inner: &str) -> bool {
    if !is_list_item(inner) {
        return false;
    }
    let item = inner.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)".contains(c)).trim();
    item.starts_with('[') && item.ends_with(')') && item.contains("](#") && item.matches("](").count() == 1
}

/// A heading's words without emphasis, code marks and link targets.
fn plain_title(raw: &str) -> String {
    let mut title = String::new();
    let mut rest = raw.trim();
    while let Some(at) = rest.find("](") {
        let Some(end) = rest[at..].find(')') else { break };
        title.push_str(&rest[..at]);
        rest = &rest[at + end + 1..];
    }
    title.push_str(rest);
    let words: Vec<&str> = title.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !matches!(c, '*' | '`' | '[' | ']')).take(MAX_TITLE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(BlockKind, &str)> {
        blocks(text).into_iter().map(|block| (block.kind, text[block.range].trim_end())).collect()
    }

    fn heading(level: u8, title: &str) -> BlockKind {
        BlockKind::Heading { level, title: title.into() }
    }

    #[test]
    fn a_hash_inside_a_fence_is_no_heading() {
        let text = "# Set-up\n```sh\n# a comment\n~~~\n```\n## Next\n";
        assert_eq!(
            kinds(text),
            [
                (heading(1, "Set-up"), "# Set-up"),
                (BlockKind::Lines, "```sh\n# a comment\n~~~\n```"),
                (heading(2, "Next"), "## Next"),
            ]
        );
    }

    #[test]
    fn an_open_fence_reaches_to_the_end() {
        assert_eq!(kinds("```\n# no heading").len(), 1);
    }

    #[test]
    fn reads_underlined_headings_items_and_tables() {
        let text = "Water\n=====\n- boil\n  it\n- cool it\n\n| a | b |\n|---|---|\n\n---\nend";
        assert_eq!(
            kinds(text),
            [
                (heading(1, "Water"), "Water\n====="),
                (BlockKind::Prose, "- boil\n  it"),
                (BlockKind::Prose, "- cool it"),
                (BlockKind::Lines, "| a | b |\n|---|---|"),
                (BlockKind::Skipped, "---"),
                (BlockKind::Prose, "end"),
            ]
        );
    }

    #[test]
    fn a_table_of_contents_is_skipped_and_titles_lose_their_marks() {
        let text = "## **Use** [`find`](#find) ##\n  - [Find](#find)\n- [site](https://example.org)\n";
        assert_eq!(
            kinds(text),
            [
                (heading(2, "Use find"), "## **Use** [`find`](#find) ##"),
                (BlockKind::Skipped, "  - [Find](#find)"),
                (BlockKind::Prose, "- [site](https://example.org)"),
            ]
        );
    }

    #[test]
    fn front_matter_states_the_title_and_is_not_searched() {
        let text = "\u{feff}---\ntitle: \"Safe water\"\n---\nBoil it.\n";
        assert_eq!(stated_title(text).as_deref(), Some("Safe water"));
        assert_eq!(kinds(text), [(BlockKind::Prose, "Boil it.")]);
    }
}
