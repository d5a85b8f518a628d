//! Where sentences end.

use std::ops::Range;

/// The byte ranges of the sentences in a text, in order; together they cover all but white space.
///
/// A sentence ends at `.`, `!` or `?` (also Chinese, Hindi, Arabic, Ethiopic ones) or at an empty line. A
/// full stop ends one only before white space and when no lower-case letter follows, so that `e.g. this`,
/// `3.5` and `model.gguf` stay whole.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let end = at + letter.len_utf8();
        let rest = &text[end..];
        if ends_sentence(letter, rest) || is_empty_line(letter, rest) {
            let end = end + closing_marks(rest);
            push(text, start..end, &mut found);
            start = end;
            while letters.peek().is_some_and(|(next, _)| *next < end) {
                letters.next();
            }
        }
    }
    push(text, start..text.len(), &mut found);
    found
}

fn ends_sentence(letter: char, rest: &str) -> bool {
    match letter {
        '。' | '！' | '？' | '।' | '॥' | '።' | '፧' | '؟' | '។' => true,
        '.' | '!' | '?' | '…' | '۔' => {
            let after = &rest[closing_marks(rest)..];
            let next = after.trim_start();
            (after.is_empty() || after.starts_with(char::is_whitespace))
                && !next.starts_with(|c: char| c.is_lowercase())
        }
        _ => false,
    }
}

fn is_empty_line(letter: char, rest: &str) -> bool {
    let blank = rest.trim_start_matches([' ', '\t', '\r']);
    letter == '\n' && blank.starts_with('\n')
}

/// Quotation marks and brackets that close after the stop belong to the sentence.
fn closing_marks(rest: &str) -> usize {
    let is_closing =
        |c: char| matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '」' | '』' | '*' | '_');
    rest.find(|c: char| !is_closing(c)).unwrap_or(rest.len())
}

fn push(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let end = range.start + part.trim_end().len();
    if start < end {
        found.push(start..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn splits_at_stops_but_not_in_numbers_names_and_abbreviations() {
        let text = "Use model.gguf (e.g. this one). It needs 3.5 GB! \"Really?\" Yes.";
        assert_eq!(
            texts(text),
            ["Use model.gguf (e.g. this one).", "It needs 3.5 GB!", "\"Really?\"", "Yes."]
        );
    }

    #[test]
    fn splits_chinese_and_hindi() {
        assert_eq!(texts("水要煮沸。等它冷却！"), ["水要煮沸。", "等它冷却！"]);
        assert_eq!(texts("पानी उबालें। ठंडा होने दें।"), ["पानी उबालें।", "ठंडा होने दें।"]);
    }

    #[test]
    fn an_empty_line_ends_a_sentence() {
        assert_eq!(texts("no stop here\n\nnext"), ["no stop here", "next"]);
    }
}
