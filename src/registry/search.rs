//! Finding packages by words: every word must stand somewhere in what the manifest says.

use crate::package::Manifest;

use super::index::VerifiedIndex;
use super::resolve::{is_same, newest};

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
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The index that holds it.
    pub index: &'a VerifiedIndex,
    /// The package version.
    pub manifest: &'a Manifest,
}

/// Finds the packages whose name, title, kind, licence, languages or note hold every word.
///
/// Words are compared without case. No word finds everything. By name; the same bytes under one name in two
/// registries stand once, with the first of them.
pub fn search<'a>(indexes: &'a [VerifiedIndex], words: &[String]) -> Vec<Found<'a>> {
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let mut found: Vec<Found<'a>> = Vec::new();
    for index in indexes {
        for versions in index.manifests().chunk_by(|left, right| left.package.name == right.package.name) {
            if let Some(manifest) = newest(index, versions).filter(|manifest| holds_all(manifest, &words)) {
                found.push(Found { index, manifest });
            }
        }
    }
    found.sort_by(|left, right| left.manifest.package.name.cmp(&right.manifest.package.name));
    found.dedup_by(|later, earlier| {
        let is_one_name = later.manifest.package.name == earlier.manifest.package.name;
        is_one_name && is_same(later.manifest, earlier.manifest)
    });
    found
}

fn holds_all(manifest: &Manifest, words: &[String]) -> bool {
    let package = &manifest.package;
    let text = format!(
        "{} {} {} {} {}",
        package.name,
        package.title,
        package.kind,
        package.license,
        package.note.as_deref().unwrap_or_default()
    )
    .to_lowercase();
    words.iter().all(|word| text.contains(word.as_str()) || speaks(&package.languages, word))
}

fn speaks(languages: &[String], word: &str) -> bool {
    let code = LANGUAGES.iter().find(|(name, _)| *name == word).map_or(word, |(_, code)| code);
    languages.iter().any(|language| language == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let toml = r#"
            [package]
            name = "whisper-tiny"
            version = "1.0.0"
            kind = "speech-model"
            title = "Whisper tiny"
            license = "MIT"
            languages = ["en", "sw"]
            [[variant]]
            id = "f16"
            [[variant.file]]
            path = "m.bin"
            size_bytes = 3
            sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        "#;
        Manifest::from_toml(toml).expect("complete")
    }

    #[test]
    fn every_word_must_stand_somewhere() {
        let holds = |words: &[&str]| {
            holds_all(&manifest(), &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert!(holds(&[]));
        assert!(holds(&["whisper", "mit", "speech"]));
        assert!(holds(&["swahili"]));
        assert!(holds(&["sw"]));
        assert!(!holds(&["whisper", "french"]));
    }
}
