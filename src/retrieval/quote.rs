//! The sentence of a passage that says most about the question.

use std::collections::HashSet;
use std::ops::Range;

use crate::index::Analyser;

/// Short sentences match by accident; so many terms more are assumed in each.
const SMOOTHING_TERMS: f32 = 8.0;

/// Which of a passage's sentences (byte ranges of its text) answers best: the one with most of the
/// question's terms, longer terms counting more, and not much else. The first one when none has any.
pub fn best_sentence(
    analyser: &mut Analyser,
    question: &str,
    text: &str,
    sentences: &[Range<usize>],
    language: Option<&str>,
) -> Option<Range<usize>> {
    let wanted: HashSet<String> = analyser.terms(question, language).into_iter().collect();
    let mut best: Option<(f32, Range<usize>)> = None;
    for range in sentences {
        let terms = analyser.terms(&text[range.clone()], language);
        let found: HashSet<&String> = terms.iter().filter(|term| wanted.contains(*term)).collect();
        let weight: f32 = found.iter().map(|term| weight_of(term)).sum();
        #[expect(clippy::cast_precision_loss, reason = "a sentence has some dozens of terms")]
        let score = weight / (SMOOTHING_TERMS + terms.len() as f32);
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            best = Some((score, range.clone()));
        }
    }
    best.map(|(_, range)| range)
}

/// `of` says little, `refriger` much; a letter of Chinese says as much as four.
fn weight_of(term: &str) -> f32 {
    let length = if term.is_ascii() { term.len() } else { term.chars().count() * 3 };
    match length {
        0..=2 => 0.2,
        3 => 0.5,
        4..=5 => 1.0,
        _ => 1.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_sentence_about_the_question() {
        let text = "Water is everywhere. Boil water for one minute. Then let it cool.";
        let sentences = [0..20, 21..47, 48..65];
        let best =
            best_sentence(&mut Analyser::new(), "How long do I boil water?", text, &sentences, Some("en"));
        assert_eq!(best.map(|range| &text[range]), Some("Boil water for one minute."));
    }
}
