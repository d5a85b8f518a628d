//! Text to index terms: words by script, stems by language.
//!
//! * letters and digits with their marks make words (Devanagari signs do not break one);
//! * Chinese, Japanese and Korean become pairs of letters, which needs no dictionary;
//! * Thai, Lao, Khmer and Burmese are cut into words by `icu_segmenter`;
//! * a word is lower-cased, stemmed as its document's language has it, then stripped of accents.

use std::collections::HashMap;

use icu_segmenter::options::WordBreakInvariantOptions;
use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed};
use tantivy::tokenizer::{Language, RawTokenizer, Stemmer, TextAnalyzer};

use crate::passage::Passage;

/// Changes whenever the same text could give other terms; the word index is then rebuilt.
pub(super) const ANALYSER_VERSION: u32 = 1;

/// Words longer than this say nothing; a term must fit the index.
const MAX_WORD_CHARS: usize = 64;
/// Stems are remembered for so many words; common words make up most of a text.
const MAX_REMEMBERED: usize = 50_000;

/// The terms of a text, in order, with repetitions.
pub type Terms = Vec<String>;

/// Makes terms of text. It remembers stems, so keep one for many texts.
pub struct Analyser {
    segmenter: WordSegmenterBorrowed<'static>,
    stemmers: HashMap<Language, Remembering>,
}

struct Remembering {
    stemmer: TextAnalyzer,
    stems: HashMap<String, String>,
}

impl Default for Analyser {
    fn default() -> Self {
        Self::new()
    }
}

impl Analyser {
    /// Loads the segmenter's compiled-in data.
    pub fn new() -> Self {
        let segmenter = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
        Self { segmenter, stemmers: HashMap::new() }
    }

    /// The terms of a text in a language given by its ISO 639-1 code; words of an unknown one are taken
    /// for English where they are Latin.
    pub fn terms(&mut self, text: &str, language: Option<&str>) -> Terms {
        let mut terms = Terms::new();
        let mut run = Run::default();
        for (at, letter) in text.char_indices() {
            let script = script_of(letter);
            if script != run.script {
                self.finish(&text[run.start..at], run.script, language, &mut terms);
                run = Run { start: at, script };
            }
        }
        self.finish(&text[run.start..], run.script, language, &mut terms);
        terms
    }

    /// The terms of a passage: its text, its file's name, its headings.
    pub fn passage_terms(&mut self, passage: &Passage) -> Terms {
        let language = passage.language.as_deref();
        let mut terms = self.terms(&passage.text, language);
        let name = passage.span.file.rsplit('/').next().unwrap_or_default();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        terms.extend(self.terms(stem, language));
        for heading in &passage.heading_path {
            terms.extend(self.terms(heading, language));
        }
        // The nearest heading says what the passage is about: twice, cranfield has .372 nDCG@10 instead of .364.
        if let Some(nearest) = passage.heading_path.last() {
            terms.extend(self.terms(nearest, language));
        }
        terms
    }

    /// The terms of a question that may be in any of these languages; each once for each language in
    /// which it differs. Words that only make it a question are left out.
    pub fn question_terms(&mut self, question: &str, languages: &[&str]) -> Terms {
        let content = if languages.first().is_none_or(|language| *language == "en") {
            without_stop_words(question)
        } else {
            question.to_owned()
        };
        let question = content.as_str();
        let mut terms = self.terms(question, languages.first().copied());
        for language in languages.iter().skip(1) {
            let more = self.terms(question, Some(language));
            let new: Vec<String> = more.into_iter().filter(|term| !terms.contains(term)).collect();
            terms.extend(new);
        }
        terms
    }

    fn finish(&mut self, run: &str, script: Script, language: Option<&str>, terms: &mut Terms) {
        match script {
            Script::None => {}
            Script::Word => {
                let word: String = run.chars().take(MAX_WORD_CHARS).flat_map(char::to_lowercase).collect();
                let stem = self.stem(word, language);
                terms.push(without_accents(stem));
            }
            Script::Pairs => pairs(run, terms),
            Script::Dictionary => {
                let mut start = 0;
                for end in self.segmenter.segment_str(run) {
                    if end > start {
                        terms.push(run[start..end].chars().take(MAX_WORD_CHARS).collect());
                    }
                    start = end;
                }
            }
        }
    }

    fn stem(&mut self, word: String, language: Option<&str>) -> String {
        let Some(language) = stemmer_for(&word, language) else { return word };
        let remembering = self.stemmers.entry(language).or_insert_with(|| Remembering {
            stemmer: TextAnalyzer::builder(RawTokenizer::default()).filter(Stemmer::new(language)).build(),
            stems: HashMap::new(),
        });
        if let Some(stem) = remembering.stems.get(&word) {
            return stem.clone();
        }
        let mut stem = word.clone();
        remembering.stemmer.token_stream(&word).process(&mut |token| stem.clone_from(&token.text));
        if remembering.stems.len() >= MAX_REMEMBERED {
            remembering.stems.clear();
        }
        remembering.stems.insert(word, stem.clone());
        stem
    }
}

struct Run {
    start: usize,
    script: Script,
}

impl Default for Run {
    fn default() -> Self {
        Self { start: 0, script: Script::None }
    }
}

/// How a run of letters becomes terms.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    None,
    Word,
    Pairs,
    Dictionary,
}

fn script_of(letter: char) -> Script {
    match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Script::Word,
        '\0'..='\u{7f}' => Script::None,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' => Script::Dictionary,
        '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}'
            if letter.is_alphanumeric() =>
        {
            Script::Pairs
        }
        _ if letter.is_alphanumeric() || is_mark(letter) => Script::Word,
        _ => Script::None,
    }
}

/// Marks that stand within words: combining accents, Arabic vowels, Indic signs, joiners.
fn is_mark(letter: char) -> bool {
    matches!(letter,
        '\u{0300}'..='\u{036f}' | '\u{0591}'..='\u{05c7}' | '\u{0610}'..='\u{061a}' | '\u{0640}'
        | '\u{064b}'..='\u{065f}' | '\u{0670}' | '\u{200c}' | '\u{200d}')
        || (matches!(letter, '\u{0900}'..='\u{0dff}')
            && !matches!(letter, '\u{0964}' | '\u{0965}' | '\u{0970}' | '\u{0df4}'))
}

/// Each two neighbouring letters; a letter that stands alone is a term too.
fn pairs(run: &str, terms: &mut Terms) {
    let letters: Vec<char> = run.chars().collect();
    if let [only] = letters[..] {
        terms.push(only.to_string());
    }
    terms.extend(letters.windows(2).map(|pair| pair.iter().collect::<String>()));
}

/// The stemmer of a language, when the word is in a script that the language uses.
fn stemmer_for(word: &str, language: Option<&str>) -> Option<Language> {
    let first = word.chars().next()?;
    let is_latin = first.is_ascii_alphabetic() || matches!(first, '\u{c0}'..='\u{24f}');
    let stemmer = match language {
        Some("ar") => Language::Arabic,
        Some("el") => Language::Greek,
        Some("ru") => Language::Russian,
        Some("ta") => Language::Tamil,
        _ if !is_latin => return None,
        Some("da") => Language::Danish,
        Some("de") => Language::German,
        Some("es") => Language::Spanish,
        Some("fi") => Language::Finnish,
        Some("fr") => Language::French,
        Some("hu") => Language::Hungarian,
        Some("it") => Language::Italian,
        Some("nb" | "no") => Language::Norwegian,
        Some("nl") => Language::Dutch,
        Some("pt") => Language::Portuguese,
        Some("ro") => Language::Romanian,
        Some("sv") => Language::Swedish,
        Some("tr") => Language::Turkish,
        Some("en") | None => Language::English,
        Some(_) => return None,
    };
    // A Latin word in a text of another script is mostly a name or an English word.
    let is_other_script =
        matches!(stemmer, Language::Arabic | Language::Greek | Language::Russian | Language::Tamil);
    if is_latin && is_other_script {
        return Some(Language::English);
    }
    Some(stemmer)
}

/// English words that say nothing about a topic. Leaving them out of questions (not of documents) raised
/// squad2 from .897 to .905 nDCG@10 and cranfield from .357 to .364.
const STOP_WORDS: &str = "a an and any are as at be been but by can could did do does for from had has have he \
    her his how i if in into is it its just many me mean more most much my no not of on or our out over should \
    so some such than that the their them then there these they this those to too up us was we were what when \
    where which who whom whose why will with would you your";

/// The question without stop words; as it is when nothing else is in it.
fn without_stop_words(question: &str) -> String {
    let is_stop = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        STOP_WORDS.split_whitespace().any(|stop| stop == word)
    };
    let content: Vec<&str> = question.split_whitespace().filter(|word| !is_stop(word)).collect();
    if content.iter().any(|word| word.contains(char::is_alphanumeric)) {
        content.join(" ")
    } else {
        question.to_owned()
    }
}

/// `é` is searched as `e`: many keyboards have no accents. Arabic vowels and joiners go too.
fn without_accents(word: String) -> String {
    if word.is_ascii() {
        return word;
    }
    word.chars().filter_map(base_letter).collect()
}

fn base_letter(letter: char) -> Option<char> {
    const PAIRS: &str = "àaáaâaãaäaåaāaăaąaçcćcčcďdđdèeéeêeëeēeėeęeěeğgìiíiîiïiīiįiıiłlľlñnńnňnòoóoôoõoöoøoōoőořrśsšsşsșsťtţtțtùuúuûuüuūuůuűuųuýyÿyźzżzžz";
    match letter {
        '\u{0300}'..='\u{036f}'
        | '\u{0610}'..='\u{061a}'
        | '\u{0640}'
        | '\u{064b}'..='\u{065f}'
        | '\u{0670}'
        | '\u{200c}'
        | '\u{200d}' => None,
        '\u{c0}'..='\u{24f}' => {
            let mut letters = PAIRS.chars();
            while let (Some(accented), Some(base)) = (letters.next(), letters.next()) {
                if accented == letter {
                    return Some(base);
                }
            }
            Some(letter)
        }
        'أ' | 'إ' | 'آ' => Some('ا'),
        _ => Some(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str, language: &str) -> Terms {
        Analyser::new().terms(text, Some(language))
    }

    #[test]
    fn stems_words_as_their_language_has_it() {
        assert_eq!(terms("Boiling waters, GPT4All!", "en"), ["boil", "water", "gpt4all"]);
        assert_eq!(terms("les réfrigérateurs", "fr"), ["le", "refriger"]);
    }

    #[test]
    fn cuts_chinese_into_pairs_and_thai_into_words() {
        assert_eq!(terms("诺曼人 2020", "zh"), ["诺曼", "曼人", "2020"]);
        assert_eq!(terms("水", "zh"), ["水"]);
        assert_eq!(terms("น้ำสะอาด", "th"), ["น้ำ", "สะอาด"]);
    }

    #[test]
    fn indic_signs_do_not_break_a_word() {
        assert_eq!(terms("हिन्दी पानी।", "hi"), ["हिन्दी", "पानी"]);
    }

    #[test]
    fn a_question_loses_its_stop_words_unless_it_has_no_others() {
        let terms = |question: &str| Analyser::new().question_terms(question, &["en"]);
        assert_eq!(terms("How long do I boil the water?"), ["long", "boil", "water"]);
        assert_eq!(terms("Who are they?"), ["who", "are", "they"]);
    }

    #[test]
    fn a_question_has_the_terms_of_each_language_once() {
        let terms = Analyser::new().question_terms("information", &["en", "fr"]);
        assert_eq!(terms, ["inform"]);
    }
}
