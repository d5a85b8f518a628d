//! Text and program text: blocks between empty lines.

use super::blocks::{Block, BlockKind, lines};

/// Paragraphs of a text without markup.
pub(super) fn paragraphs(text: &str, kind: &BlockKind) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for range in lines(text) {
        if text[range.clone()].trim().is_empty() {
            is_open = false;
            continue;
        }
        match blocks.last_mut() {
            Some(block) if is_open => block.range.end = range.end,
            _ => blocks.push(Block { kind: kind.clone(), range }),
        }
        is_open = true;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_separates_paragraphs_whatever_the_line_breaks() {
        let text = "one\r\ntwo\r\n \r\nthree";
        let ranges: Vec<_> =
            paragraphs(text, &BlockKind::Prose).into_iter().map(|block| block.range).collect();
        assert_eq!(ranges, [0..10, 13..18]);
    }
}
