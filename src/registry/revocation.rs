//! What a publisher took back, wherever it lies: by name and version, or by the same bytes.

use std::collections::BTreeSet;

use semver::Version;

use crate::digest::Sha256;
use crate::package::{Manifest, Name};

use super::index::VerifiedIndex;
use super::resolve::newest;
use super::tree::Revocation;

/// A package to be looked up.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Its version.
    pub version: &'a Version,
    /// The digests of its files.
    pub files: BTreeSet<Sha256>,
    /// The registry that it came from; without one only its bytes speak.
    pub registry: Option<&'a Name>,
}

/// A publisher's word that a package is bad.
#[derive(Debug, Clone, Copy)]
pub struct Revoked<'a> {
    /// Whose word it is.
    pub index: &'a VerifiedIndex,
    /// The word.
    pub revocation: &'a Revocation,
    /// The newest version of the same registry that was not taken back and is newer.
    pub successor: Option<&'a Manifest>,
}

/// Finds a word against a package in any index: by name and version in that of the registry that it came from,
/// listed there or no longer; elsewhere a name says nothing, and only the same bytes do.
pub fn revoked<'a>(indexes: &'a [VerifiedIndex], subject: &Subject<'_>) -> Option<Revoked<'a>> {
    indexes.iter().find_map(|index| {
        let revocation = index.revocations().iter().find(|word| concerns(word, index, subject))?;
        let versions = index.versions_of(&revocation.name);
        let successor = newest(index, versions).filter(|newest| newest.package.version > *subject.version);
        Some(Revoked { index, revocation, successor })
    })
}

fn concerns(word: &Revocation, index: &VerifiedIndex, subject: &Subject<'_>) -> bool {
    let is_meant = |version: &Version| word.version.as_ref().is_none_or(|revoked| revoked == version);
    let versions = index.versions_of(&word.name);
    let has_its_bytes =
        |manifest: &&Manifest| is_meant(&manifest.package.version) && holds(manifest, subject);
    if versions.iter().any(|manifest| has_its_bytes(&manifest)) {
        return true;
    }
    subject.registry == Some(index.name()) && word.name == *subject.name && is_meant(subject.version)
}

/// True when a build of the manifest has exactly these files.
fn holds(manifest: &Manifest, subject: &Subject<'_>) -> bool {
    manifest.variants.iter().any(|variant| {
        let files: BTreeSet<Sha256> = variant.files.iter().map(|file| file.sha256).collect();
        !files.is_empty() && files == subject.files
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::index::{Files, Trust};
    use crate::registry::tree::{CONFIG, REVOKED};

    fn line(version: &str, content: &str) -> String {
        let digest = Sha256::of(content.as_bytes());
        format!(
            r#"{{"package":{{"name":"m","version":"{version}","kind":"chat-model","title":"T","license":"MIT"}},"variant":[{{"id":"f16","file":[{{"path":"m.gguf","size_bytes":1,"sha256":"{digest}"}}]}}]}}"#
        )
    }

    fn index(lines: &[String], revoked: &str) -> VerifiedIndex {
        let files = Files::from([
            (CONFIG.to_owned(), br#"{"format":1,"num_shards":1}"#.to_vec()),
            (REVOKED.to_owned(), format!(r#"{{"format":1,"revoked":[{revoked}]}}"#).into_bytes()),
            ("index-000.jsonl".to_owned(), lines.join("\n").into_bytes()),
        ]);
        VerifiedIndex::from_files("r".parse().expect("a name"), None, Trust::BuiltIn, &files).expect("sound")
    }

    fn is_revoked(indexes: &[VerifiedIndex], version: &str, content: &str, registry: Option<&str>) -> bool {
        let (name, version) = ("m".parse().expect("a name"), version.parse().expect("a version"));
        let registry: Option<Name> = registry.map(|name| name.parse().expect("a name"));
        let files = BTreeSet::from([Sha256::of(content.as_bytes())]);
        let subject = Subject { name: &name, version: &version, files, registry: registry.as_ref() };
        revoked(indexes, &subject).is_some()
    }

    const WORD: &str = r#"{"name":"m","version":"1.0.0","reason":"it lies"}"#;

    #[test]
    fn a_word_concerns_its_own_bytes_under_any_name_and_no_others() {
        let indexes = [index(&[line("1.0.0", "x"), line("1.1.0", "y")], WORD)];
        assert!(is_revoked(&indexes, "1.0.0", "x", Some("r")));
        assert!(is_revoked(&indexes, "1.0.0", "x", Some("mirror")), "the same bytes by another publisher");
        assert!(is_revoked(&indexes, "0.0.0", "x", None), "adopted under another version");
        assert!(!is_revoked(&indexes, "1.0.0", "other", Some("q")), "another publisher's package");
        assert!(!is_revoked(&indexes, "1.1.0", "y", Some("r")));
    }

    #[test]
    fn a_version_that_is_no_longer_listed_stays_revoked_where_someone_signed_it() {
        let indexes = [index(&[line("1.1.0", "y")], WORD)];
        assert!(is_revoked(&indexes, "1.0.0", "x", Some("r")));
        assert!(!is_revoked(&indexes, "1.0.0", "x", None));
    }

    #[test]
    fn no_registry_takes_back_what_another_publisher_made() {
        let indexes = [index(&[], WORD)];
        assert!(!is_revoked(&indexes, "1.0.0", "x", Some("q")));
    }

    #[test]
    fn a_registry_takes_back_its_own_by_name_whatever_the_files() {
        let kit = r#"{"package":{"name":"m","version":"1.0.0","kind":"kit","title":"T","license":"MIT","members":["a"]}}"#;
        let indexes = [index(&[kit.to_owned()], WORD)];
        assert!(is_revoked(&indexes, "1.0.0", "no file is compared", Some("r")));
    }

    #[test]
    fn the_successor_is_newer_and_good() {
        let all =
            r#"{"name":"m","version":"1.0.0","reason":"a"},{"name":"m","version":"1.2.0","reason":"b"}"#;
        let indexes = [index(&[line("1.0.0", "x"), line("1.1.0", "y"), line("1.2.0", "z")], all)];
        let name = "m".parse().expect("a name");
        let ask = |version: &str, content: &str| {
            let version = version.parse().expect("a version");
            let files = BTreeSet::from([Sha256::of(content.as_bytes())]);
            let found = revoked(&indexes, &Subject { name: &name, version: &version, files, registry: None });
            found.expect("revoked").successor.map(|manifest| manifest.package.version.to_string())
        };
        assert_eq!(ask("1.0.0", "x"), Some("1.1.0".to_owned()));
        assert_eq!(ask("1.2.0", "z"), None);
    }
}
