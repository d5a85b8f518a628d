//! What the model reads: rules, numbered sources, question. What changes least stands first, so that a follow-up
//! question reuses the model's memory of it.

use std::fmt::Write as _;

/// What the model says when the sources do not hold the answer.
pub const NOT_IN_DOCUMENTS: &str = "NOT IN THE DOCUMENTS";

const RULES: &str = "You answer questions from numbered sources and from nothing else. \
    After each sentence, name the source it comes from in square brackets, like [1]. \
    Keep the sources' own words where you can. Be brief. Answer in the language of the question. \
    If the sources do not hold the answer, say only: NOT IN THE DOCUMENTS";

/// What the parts around rules, sources and question may take in any template, in tokens.
const FRAME_TOKENS: usize = 48;
/// A source cut to fewer tokens than this says nothing.
const LEAST_SOURCE_TOKENS: usize = 32;

/// A passage to answer from.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// Where it stands, for example `power.md, lines 3–9`.
    pub place: String,
    /// The headings above it, outermost first.
    pub heading_path: &'a [String],
    /// Its text.
    pub text: &'a str,
}

/// What the model is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The rules.
    pub system: String,
    /// Sources, then the question.
    pub user: String,
    /// How many of the sources found room: the first so many.
    pub num_sources: usize,
}

impl Draft {
    /// The same as one text, for a model that has no template and continues text.
    pub fn as_text(&self) -> String {
        format!("{}\n\n{}\nAnswer:", self.system, self.user)
    }
}

/// Puts as many sources before the question as `budget_tokens` has room for, best first; the last may be cut.
pub fn draft(
    question: &str,
    sources: &[Source<'_>],
    budget_tokens: usize,
    count_tokens: &mut dyn FnMut(&str) -> usize,
) -> Draft {
    let question = format!("Question: {}", question.trim());
    let fixed_tokens = count_tokens(RULES) + count_tokens(&question) + FRAME_TOKENS;
    let mut left_tokens = budget_tokens.saturating_sub(fixed_tokens);
    let mut user = String::from("Sources:\n\n");
    let mut num_sources = 0;
    for (index, source) in sources.iter().enumerate() {
        let text = shown(index + 1, source, source.text);
        let needed_tokens = count_tokens(&text);
        if needed_tokens <= left_tokens {
            user.push_str(&text);
            left_tokens -= needed_tokens;
            num_sources += 1;
            continue;
        }
        if left_tokens >= LEAST_SOURCE_TOKENS {
            user.push_str(&shown(index + 1, source, cut(source.text, left_tokens, needed_tokens)));
            num_sources += 1;
        }
        break;
    }
    user.push_str(&question);
    Draft { system: RULES.to_owned(), user, num_sources }
}

/// True when an answer says that the sources do not hold it: it begins so. One that says so of a part at its end is
/// an answer to the rest.
pub fn says_not_in_documents(answer: &str) -> bool {
    let words = answer.trim_start_matches(|letter: char| !letter.is_alphanumeric());
    words.to_uppercase().starts_with(NOT_IN_DOCUMENTS)
}

fn shown(number: usize, source: &Source<'_>, text: &str) -> String {
    let mut shown = format!("[{number}] {}", source.place);
    if !source.heading_path.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(shown, " ({})", source.heading_path.join(" > "));
    }
    let _ = write!(shown, "\n{}\n\n", text.trim());
    shown
}

/// The beginning of a text whose `needed_tokens` are more than the `left_tokens`, cut after a sentence or a word.
fn cut(text: &str, left_tokens: usize, needed_tokens: usize) -> &str {
    // A quarter less than the share, because tokens are not equally long.
    let mut end = text.len() * left_tokens / needed_tokens.max(1) * 3 / 4;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = &text[..end];
    let after_sentence = head.rfind(['.', '!', '?', '。', '।']).map(|at| at + 1);
    let after_word = head.rfind(char::is_whitespace);
    let at = after_sentence.filter(|at| *at > end / 2).or(after_word).unwrap_or(end);
    // The mark may be longer than a byte.
    let at = (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(end);
    &text[..at]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn source(text: &str) -> Source<'_> {
        Source { place: "a.md, line 1".into(), heading_path: &[], text }
    }

    #[test]
    fn the_rules_come_first_and_the_question_last() {
        let draft = draft("Why? ", &[source("Because."), source("So.")], 1000, &mut words);
        assert_eq!(draft.num_sources, 2);
        assert_eq!(
            draft.user,
            "Sources:\n\n[1] a.md, line 1\nBecause.\n\n[2] a.md, line 1\nSo.\n\nQuestion: Why?"
        );
        assert!(draft.as_text().starts_with("You answer") && draft.as_text().ends_with("Why?\nAnswer:"));
    }

    #[test]
    fn sources_beyond_the_budget_are_cut_or_left_out() {
        let long = "One two three four five six. ".repeat(40);
        let fixed = words(RULES) + words("Question: Why?") + FRAME_TOKENS;
        let draft = draft("Why?", &[source(&long), source("So.")], fixed + 100, &mut words);
        assert_eq!(draft.num_sources, 1);
        assert!(words(&draft.user) <= 110, "{}", words(&draft.user));
        assert!(draft.user.contains("six.\n\nQuestion"), "{}", draft.user);
    }

    #[test]
    fn a_question_that_fills_the_budget_leaves_room_for_no_source() {
        let question = "why ".repeat(200);
        assert_eq!(draft(&question, &[source("Because.")], 200, &mut words).num_sources, 0);
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        let text = "水を一分間沸かす。それから冷ます。";
        for left in 1..40 {
            assert!(text.starts_with(cut(text, left, 40)));
        }
    }

    #[test]
    fn knows_the_models_own_not_in_the_documents() {
        assert!(says_not_in_documents("Not in the documents."));
        assert!(says_not_in_documents("\n**NOT IN THE DOCUMENTS**"));
        assert!(!says_not_in_documents("It is in the documents [1]."));
        assert!(!says_not_in_documents("Boil it for a minute [1]. The price is not in the documents."));
    }
}
