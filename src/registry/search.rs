//! Finding packages by words: every word must stand somewhere in what the manifest says.

use crate::package::Name;

use super::summary::{Line, Summaries, Summary};

/// Languages by the word that a person types; a code of two letters works too.
const LANGUAGES: &[(&str, &str)] = &[
    ("arabic", "ar"),
    ("bengali", "bn"),
    ("chinese", "zh"),
    ("dutch", "nl"),
    ("english", "en"),
    ("french", "fr"),
    ("german", "de"),
    ("hindi", "hi"),
    ("indonesian", "id"),
    ("italian", "it"),
    ("japanese", "ja"),
    ("korean", "ko"),
    ("portuguese", "pt"),
    ("russian", "ru"),
    ("spanish", "es"),
    ("swahili", "sw"),
    ("thai", "th"),
    ("turkish", "tr"),
    ("vietnamese", "vi"),
];

/// One package that a search found: its newest version that was not revoked.
#[derive(Debug, Clone)]
pub struct Found {
    /// The registry that holds it.
    pub registry: Name,
    /// What is said of it.
    pub summary: Summary,
}

/// Finds the packages whose name, title, kind, licence, languages or note hold every word.
///
/// Words are compared without case. No word finds everything. By name; the same bytes under one name in two
/// registries stand once, with the first of them.
pub fn search(registries: &[Summaries], words: &[String]) -> Vec<Found> {
    let words: Vec<Word> = words.iter().map(|word| Word::new(word)).collect();
    let mut found: Vec<Found> = Vec::new();
    for summaries in registries {
        let fitting = summaries.filtered(|line| words.iter().all(|word| word.is_in(line)));
        let registry = summaries.registry();
        found.extend(fitting.into_iter().map(|summary| Found { registry: registry.clone(), summary }));
    }
    found.sort_by(|left, right| left.summary.name.cmp(&right.summary.name));
    found.dedup_by(|later, earlier| {
        later.summary.name == earlier.summary.name && later.summary.content == earlier.summary.content
    });
    found
}

/// A word as it is looked for.
struct Word {
    text: String,
    /// The language that it may mean.
    code: String,
}

impl Word {
    fn new(word: &str) -> Self {
        let text = word.to_lowercase();
        let code = LANGUAGES.iter().find(|(name, _)| *name == text).map_or(text.as_str(), |(_, code)| code);
        Self { code: code.to_owned(), text }
    }

    fn is_in(&self, line: &Line<'_>) -> bool {
        line.has(&self.text) || line.speaks(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::index::{Files, Trust, VerifiedIndex};
    use crate::registry::tree::{CONFIG, REVOKED};

    fn summaries(registry: &str, content: &str) -> Summaries {
        let digest = crate::digest::Sha256::of(content.as_bytes());
        let line = format!(
            r#"{{"package":{{"name":"whisper-tiny","version":"1.0.0","kind":"speech-model","title":"Whisper\ttiny","license":"MIT","languages":["en","sw"]}},"variant":[{{"id":"f16","file":[{{"path":"m.bin","size_bytes":3,"sha256":"{digest}"}}]}}]}}"#
        );
        let files = Files::from([
            (CONFIG.to_owned(), br#"{"format":1,"num_shards":1}"#.to_vec()),
            (REVOKED.to_owned(), br#"{"format":1,"revoked":[]}"#.to_vec()),
            ("index-000.jsonl".to_owned(), line.into_bytes()),
        ]);
        let name = registry.parse().expect("a name");
        Summaries::of(&VerifiedIndex::from_files(name, None, Trust::BuiltIn, &files).expect("sound"))
    }

    fn found(registries: &[Summaries], words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        search(registries, &words).into_iter().map(|found| found.registry.to_string()).collect()
    }

    #[test]
    fn every_word_must_stand_somewhere() {
        let all = [summaries("r", "x")];
        for words in [&[][..], &["Whisper", "mit", "speech"], &["swahili"], &["sw"], &["whisper tiny"]] {
            assert_eq!(found(&all, words), ["r"], "{words:?}");
        }
        assert!(found(&all, &["whisper", "french"]).is_empty());
        // The version is no word to search for.
        assert!(found(&all, &["1.0.0"]).is_empty());
        // A tab in a title changes no column.
        let summary = &search(&all, &[])[0].summary;
        assert_eq!(
            (summary.title.as_str(), summary.size_bytes, summary.num_variants),
            ("Whisper tiny", 3, 1)
        );
    }

    #[test]
    fn the_same_bytes_under_one_name_stand_once() {
        assert_eq!(found(&[summaries("a", "x"), summaries("b", "x")], &[]), ["a"]);
        assert_eq!(found(&[summaries("a", "x"), summaries("b", "y")], &[]), ["a", "b"]);
    }
}
