//! Citation marks: `[2]` in an answer, and whether source 2 says what stands before it.
//!
//! A sentence holds when at least half of the terms of its subject stand in one of the sources it names, and there
//! too every number that it has, and word by word every phrase that it puts in quotation marks. That is a check
//! against slips and inventions, not a proof.

use std::collections::HashSet;

use super::question::subject_of;

/// The share of a sentence's terms that its source must have.
const LEAST_OVERLAP: f32 = 0.5;
/// Longer numbers in brackets are years and the like.
const MAX_MARK_DIGITS: usize = 2;

/// Whether a citation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// The source has the sentence's words.
    Supported,
    /// The source exists, but has too few of the sentence's words, or not the quoted ones.
    Weak,
    /// There is no source of that number.
    NoSuchSource,
}

/// One mark of an answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Citation {
    /// The number in the brackets.
    pub number: usize,
    /// The sentence it stands in, without marks.
    pub sentence: String,
    /// Whether it holds.
    pub support: Support,
}

/// Checks every mark of an answer against the sources, which count from 1; `languages` are theirs. `terms_of` makes a
/// text's terms.
pub fn check_citations(
    answer: &str,
    sources: &[&str],
    languages: &[&str],
    terms_of: &mut dyn FnMut(&str) -> Vec<String>,
) -> Vec<Citation> {
    let mut citations = Vec::new();
    for sentence in sentences(answer) {
        let (plain, numbers) = split_marks(sentence);
        let subject = subject_of(&plain, languages);
        for number in numbers {
            let support = match number.checked_sub(1).and_then(|index| sources.get(index)) {
                None => Support::NoSuchSource,
                Some(source) if is_supported(&plain, &subject, source, terms_of) => Support::Supported,
                Some(_) => Support::Weak,
            };
            citations.push(Citation { number, sentence: plain.clone(), support });
        }
    }
    citations
}

fn is_supported(
    sentence: &str,
    subject: &str,
    source: &str,
    terms_of: &mut dyn FnMut(&str) -> Vec<String>,
) -> bool {
    let source_words = one_line(source);
    if quoted(sentence).iter().any(|quote| !source_words.contains(&one_line(quote))) {
        return false;
    }
    // A wrong dose is worse than a wrong word.
    if !numbers_of(sentence).is_subset(&numbers_of(source)) {
        return false;
    }
    let wanted: HashSet<String> = terms_of(subject).into_iter().collect();
    let there: HashSet<String> = terms_of(source).into_iter().collect();
    let num_found = wanted.iter().filter(|term| there.contains(*term)).count();
    #[expect(clippy::cast_precision_loss, reason = "a sentence has some dozens of terms")]
    let share = num_found as f32 / wanted.len().max(1) as f32;
    !wanted.is_empty() && share >= LEAST_OVERLAP
}

/// The numbers of a text: `1,000 kg` has `1000`, `0,5 ml` has `0.5`. A list's own `2)` at the beginning is none.
fn numbers_of(text: &str) -> HashSet<String> {
    let text = text.trim_start();
    let after_digits = text.trim_start_matches(char::is_numeric);
    let text = after_digits.strip_prefix(')').unwrap_or(text);
    let parts = text.split(|letter: char| !letter.is_numeric() && !matches!(letter, '.' | ','));
    let numbers = parts.map(|part| part.trim_matches(['.', ','])).filter(|part| !part.is_empty());
    numbers.map(with_point).collect()
}

/// A comma before three digits parts thousands; any other is a decimal point.
fn with_point(number: &str) -> String {
    let mut groups = number.split(',');
    let mut plain = groups.next().unwrap_or_default().to_owned();
    for group in groups {
        if group.chars().take_while(|letter| *letter != '.').count() != 3 {
            plain.push('.');
        }
        plain.push_str(group);
    }
    plain
}

/// Lower case and single blanks, because documents break lines where they like.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The phrases of at least two words in quotation marks.
fn quoted(sentence: &str) -> Vec<&str> {
    let mut phrases = Vec::new();
    for (open, close) in [('"', '"'), ('“', '”'), ('«', '»')] {
        let mut rest = sentence;
        while let Some(start) = rest.find(open) {
            let after = &rest[start + open.len_utf8()..];
            let Some(end) = after.find(close) else { break };
            phrases.push(after[..end].trim().trim_end_matches(['.', ',']));
            rest = &after[end + close.len_utf8()..];
        }
    }
    phrases.retain(|phrase| phrase.split_whitespace().nth(1).is_some());
    phrases
}

/// Cuts an answer into sentences; marks that follow the full stop belong to the sentence before it.
fn sentences(answer: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut ends = answer.char_indices().peekable();
    while let Some((at, letter)) = ends.next() {
        let is_line = letter == '\n';
        let is_stop = matches!(letter, '.' | '!' | '?' | '。' | '।' | '؟')
            && ends.peek().is_none_or(|(_, next)| next.is_whitespace() || *next == '[' || !letter.is_ascii());
        if !is_line && !is_stop {
            continue;
        }
        let end = after_marks(answer, at + letter.len_utf8());
        if end <= start {
            continue;
        }
        sentences.push(&answer[start..end]);
        start = end;
    }
    sentences.push(&answer[start..]);
    sentences.retain(|sentence| !sentence.trim().is_empty());
    sentences
}

/// Where the marks end that follow `at`, blanks between them included.
fn after_marks(answer: &str, at: usize) -> usize {
    let mut end = at;
    loop {
        let rest = &answer[end..];
        let blanks = rest.len() - rest.trim_start_matches(' ').len();
        match mark_at(&rest[blanks..]) {
            Some((_, length)) => end += blanks + length,
            None => return end,
        }
    }
}

/// The numbers of a mark that begins the text, and the mark's length: `[1]`, `[1, 3]`.
fn mark_at(text: &str) -> Option<(Vec<usize>, usize)> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(']')?;
    let numbers: Option<Vec<usize>> = inner[..end]
        .split([',', ';'])
        .map(str::trim)
        .map(|part| part.parse().ok().filter(|_| part.len() <= MAX_MARK_DIGITS))
        .collect();
    Some((numbers?, end + 2))
}

/// A sentence without its marks, and the marks' numbers, each once.
fn split_marks(sentence: &str) -> (String, Vec<usize>) {
    let (mut plain, mut numbers) = (String::new(), Vec::new());
    let mut rest = sentence;
    while let Some(at) = rest.find('[') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        match mark_at(rest) {
            Some((found, length)) => {
                numbers.extend(found);
                rest = &rest[length..];
            }
            None => {
                plain.push('[');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    let mut seen = HashSet::new();
    numbers.retain(|number| seen.insert(*number));
    (one_blank(&plain), numbers)
}

fn one_blank(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [&str; 2] =
        ["Boil the water for one\nminute, then let it cool.", "Keep batteries out of the sun."];

    fn terms(text: &str) -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
    }

    fn checked(answer: &str) -> Vec<(usize, Support)> {
        let citations = check_citations(answer, &SOURCES, &["en"], &mut terms);
        citations.into_iter().map(|citation| (citation.number, citation.support)).collect()
    }

    #[test]
    fn a_sentence_with_its_sources_words_holds() {
        assert_eq!(checked("Boil water for one minute [1]."), [(1, Support::Supported)]);
        assert_eq!(checked("Boil water for one minute. [1] Keep batteries cool.[2]").len(), 2);
    }

    #[test]
    fn a_sentence_with_another_sources_words_does_not() {
        assert_eq!(checked("Keep batteries out of the sun [1]."), [(1, Support::Weak)]);
    }

    #[test]
    fn numbers_without_a_source_are_named() {
        assert_eq!(
            checked("Boil water [3]. Boil water [0]."),
            [(3, Support::NoSuchSource), (0, Support::NoSuchSource)]
        );
        assert!(checked("It was in [2019] and [sic].").is_empty());
    }

    #[test]
    fn a_quoted_phrase_must_stand_there_word_by_word() {
        assert_eq!(checked("Boil it “for one minute” [1]."), [(1, Support::Supported)]);
        assert_eq!(checked("Boil the water \"for ten minutes\" then let it cool [1]."), [(1, Support::Weak)]);
    }

    fn is_checked(answer: &str, source: &str) -> bool {
        let citations = check_citations(answer, &[source], &["en"], &mut terms);
        citations.iter().all(|citation| citation.support == Support::Supported)
    }

    #[test]
    fn a_number_that_the_source_does_not_have_is_doubtful() {
        let source = "The dose is 5 ml in 1,000 ml of water.";
        assert!(is_checked("The dose is 5 ml [1].", source));
        assert!(is_checked("2) The dose of water is 5ml [1].", source));
        assert!(is_checked("The dose in 1000 ml of water is 5 ml [1].", source));
        assert!(!is_checked("The dose is 50 ml [1].", source));
        assert!(!is_checked("The dose is 0.5 ml [1].", source));
    }

    #[test]
    fn words_that_every_sentence_has_support_nothing() {
        assert!(!is_checked(
            "It is the cat that was in the garden [1].",
            "It is the water that was in the pot."
        ));
    }

    #[test]
    fn several_numbers_in_one_mark_are_each_checked() {
        let answer = "Boil the water for one minute [1, 2][2].";
        assert_eq!(checked(answer), [(1, Support::Supported), (2, Support::Weak)]);
    }
}
