//! From what a person typed to one package version: across registries, without guessing.

use semver::Version;

use crate::package::{Manifest, Name, PackageRef, Variant};

use super::error::{RegistryError, Result};
use super::index::{Trust, VerifiedIndex};

/// The most names that a "did you mean" offers.
const MAX_NEAR: usize = 3;

/// What a reference stands for.
#[derive(Debug, Clone, Copy)]
pub struct Resolved<'a> {
    /// The index that answered.
    pub index: &'a VerifiedIndex,
    /// The package version.
    pub manifest: &'a Manifest,
    /// The variant, where the reference names one.
    pub variant: Option<&'a Variant>,
}

/// Finds the package version that a reference means: the newest that was not revoked, or exactly the
/// version that it names.
///
/// Registries that hold the very same bytes under a name agree; the first signed one answers. Those
/// that differ must be told apart by the reference.
///
/// # Errors
/// `NoSuchPackage` with near names, `NoSuchPart`, `NoSuchRegistry`, `Ambiguous`, or `Revoked`.
pub fn resolve<'a>(indexes: &'a [VerifiedIndex], reference: &PackageRef) -> Result<Resolved<'a>> {
    let asked: Vec<&VerifiedIndex> = indexes
        .iter()
        .filter(|index| reference.registry.as_ref().is_none_or(|registry| registry == index.name()))
        .collect();
    if let (true, Some(registry)) = (asked.is_empty(), &reference.registry) {
        return Err(RegistryError::NoSuchRegistry { name: registry.to_string() });
    }
    let holders: Vec<&VerifiedIndex> =
        asked.iter().copied().filter(|index| !index.versions_of(&reference.name).is_empty()).collect();
    if holders.is_empty() {
        let near = near_names(&asked, &reference.name);
        return Err(RegistryError::NoSuchPackage { name: reference.name.to_string(), near });
    }
    let (index, manifest) = choose(&holders, reference)?;
    let variant = match &reference.variant {
        Some(id) => Some(manifest.variant(id).ok_or_else(|| no_variant(manifest, id.as_str()))?),
        None => None,
    };
    Ok(Resolved { index, manifest, variant })
}

/// Among registries that hold the name, those with the wanted version; they must agree.
fn choose<'a>(
    holders: &[&'a VerifiedIndex],
    reference: &PackageRef,
) -> Result<(&'a VerifiedIndex, &'a Manifest)> {
    let mut found = Vec::new();
    let mut refusal = None;
    for index in holders {
        match version_in(index, reference) {
            Ok(manifest) => found.push((*index, manifest)),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    // Any publisher's word that a version is bad is enough, where the others hold the same bytes.
    if let Some((_, manifest)) = found.first()
        && let Some(error) = revoked_anywhere(holders, manifest)
    {
        return Err(error);
    }
    let first_signed = found.iter().position(|(index, _)| index.trust() != Trust::BuiltIn).unwrap_or(0);
    match (found.get(first_signed).copied(), refusal) {
        (Some(chosen), _) if found.iter().all(|(_, other)| is_same(chosen.1, other)) => Ok(chosen),
        (Some(_), _) => Err(RegistryError::Ambiguous {
            name: reference.name.to_string(),
            registries: found.iter().map(|(index, _)| index.name().to_string()).collect(),
        }),
        (None, Some(error)) => Err(error),
        (None, None) => Err(RegistryError::NoSuchPackage { name: reference.name.to_string(), near: vec![] }),
    }
}

/// The newest version that was not revoked, or the one that is named.
fn version_in<'a>(index: &'a VerifiedIndex, reference: &PackageRef) -> Result<&'a Manifest> {
    let versions = index.versions_of(&reference.name);
    let wanted = match &reference.version {
        Some(wanted) => versions.iter().rev().find(|manifest| manifest.package.version == *wanted),
        None => newest(index, versions).or(versions.last()),
    };
    let manifest = wanted.ok_or_else(|| no_version(versions, reference))?;
    match revocation_error(index, manifest) {
        Some(error) => Err(error),
        None => Ok(manifest),
    }
}

/// The newest version of a package in one index that was not revoked; a pre-release only when there
/// is nothing else.
pub(crate) fn newest<'a>(index: &VerifiedIndex, versions: &'a [Manifest]) -> Option<&'a Manifest> {
    let mut good = versions
        .iter()
        .rev()
        .filter(|manifest| index.revocation_of(&manifest.package.name, &manifest.package.version).is_none());
    let first = good.clone().next();
    good.find(|manifest| manifest.package.version.pre.is_empty()).or(first)
}

fn revoked_anywhere(holders: &[&VerifiedIndex], manifest: &Manifest) -> Option<RegistryError> {
    let holds_the_same = |index: &&&VerifiedIndex| {
        let versions = index.versions_of(&manifest.package.name);
        versions
            .iter()
            .any(|other| other.package.version == manifest.package.version && is_same(manifest, other))
    };
    holders.iter().filter(holds_the_same).find_map(|index| revocation_error(index, manifest))
}

fn revocation_error(index: &VerifiedIndex, manifest: &Manifest) -> Option<RegistryError> {
    let package = &manifest.package;
    let revocation = index.revocation_of(&package.name, &package.version)?;
    Some(RegistryError::Revoked {
        package: format!("{}@{}", package.name, package.version),
        reason: revocation.reason.clone(),
    })
}

/// The same version with the same bytes; where they come from does not matter.
pub(crate) fn is_same(left: &Manifest, right: &Manifest) -> bool {
    let bytes_of = |manifest: &Manifest| -> Vec<_> {
        manifest
            .variants
            .iter()
            .flat_map(|variant| {
                variant.files.iter().map(|file| (variant.id.clone(), file.path.clone(), file.sha256))
            })
            .collect()
    };
    left.package.version == right.package.version
        && left.package.members == right.package.members
        && bytes_of(left) == bytes_of(right)
}

fn no_version(versions: &[Manifest], reference: &PackageRef) -> RegistryError {
    let version_text = |version: &Version| version.to_string();
    RegistryError::NoSuchPart {
        package: reference.name.to_string(),
        what: "version",
        wanted: reference.version.as_ref().map(version_text).unwrap_or_default(),
        available: versions.iter().map(|manifest| version_text(&manifest.package.version)).collect(),
    }
}

fn no_variant(manifest: &Manifest, wanted: &str) -> RegistryError {
    RegistryError::NoSuchPart {
        package: format!("{}@{}", manifest.package.name, manifest.package.version),
        what: "variant",
        wanted: wanted.to_owned(),
        available: manifest.variants.iter().map(|variant| variant.id.to_string()).collect(),
    }
}

/// Names that begin alike, contain the wanted one, or differ by a few letters; the nearest first.
fn near_names(indexes: &[&VerifiedIndex], wanted: &Name) -> Vec<String> {
    let wanted = wanted.as_str();
    let mut near: Vec<(usize, &str)> = indexes
        .iter()
        .flat_map(|index| index.manifests())
        .map(|manifest| manifest.package.name.as_str())
        .filter_map(|name| Some((distance_if_near(wanted, name)?, name)))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MAX_NEAR).map(|(_, name)| name.to_owned()).collect()
}

fn distance_if_near(wanted: &str, name: &str) -> Option<usize> {
    let distance = edit_distance(wanted, name);
    let is_part = wanted.len() >= 3 && (name.contains(wanted) || wanted.contains(name));
    (is_part || distance <= 1 + wanted.len() / 4).then_some(distance)
}

/// The number of letters to insert, remove or change (Levenshtein 1966), row by row.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::index::Files;
    use crate::registry::tree::{CONFIG, REVOKED};

    fn line(name: &str, version: &str, content: &str) -> String {
        let digest = crate::digest::Sha256::of(content.as_bytes());
        format!(
            r#"{{"package":{{"name":"{name}","version":"{version}","kind":"chat-model","title":"T","license":"MIT"}},"variant":[{{"id":"f16","file":[{{"path":"m.gguf","size_bytes":1,"sha256":"{digest}"}}]}}]}}"#
        )
    }

    fn index(name: &str, lines: &[String], revoked: &str) -> VerifiedIndex {
        let files = Files::from([
            (CONFIG.to_owned(), br#"{"format":1,"num_shards":1}"#.to_vec()),
            (REVOKED.to_owned(), format!(r#"{{"format":1,"revoked":[{revoked}]}}"#).into_bytes()),
            ("index-000.jsonl".to_owned(), lines.join("\n").into_bytes()),
        ]);
        let name = name.parse().expect("a name");
        VerifiedIndex::from_files(name, None, Trust::BuiltIn, &files).expect("sound")
    }

    fn ask(indexes: &[VerifiedIndex], reference: &str) -> std::result::Result<String, String> {
        match resolve(indexes, &reference.parse().expect("a reference")) {
            Ok(found) => Ok(format!("{} {}", found.index.name(), found.manifest.package.version)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn takes_the_newest_version_that_was_not_revoked() {
        let lines = [line("m", "1.0.0", "a"), line("m", "1.10.0", "b"), line("m", "1.9.0", "c")];
        let revoked = r#"{"name":"m","version":"1.10.0","reason":"it lies"}"#;
        let indexes = [index("r", &lines, revoked)];
        assert_eq!(ask(&indexes, "m"), Ok("r 1.9.0".into()));
        assert_eq!(ask(&indexes, "m@1.10.0"), Err("`m@1.10.0` was revoked by its publisher: it lies".into()));
        assert_eq!(ask(&indexes, "m@2.0.0"), Err("`m` has no version `2.0.0`".into()));
        assert_eq!(ask(&indexes, "m:q4"), Err("`m@1.9.0` has no variant `q4`".into()));
    }

    #[test]
    fn one_name_for_different_bytes_must_be_qualified() {
        let indexes =
            [index("a", &[line("m", "1.0.0", "x")], ""), index("b", &[line("m", "1.0.0", "y")], "")];
        assert_eq!(ask(&indexes, "m"), Err("`m` stands for different packages in `a`, `b`".into()));
        assert_eq!(ask(&indexes, "b/m"), Ok("b 1.0.0".into()));
    }

    #[test]
    fn one_name_for_the_same_bytes_is_one_package() {
        let indexes =
            [index("a", &[line("m", "1.0.0", "x")], ""), index("b", &[line("m", "1.0.0", "x")], "")];
        assert_eq!(ask(&indexes, "m"), Ok("a 1.0.0".into()));
        let revoked = index("b", &[line("m", "1.0.0", "x")], r#"{"name":"m","reason":"it lies"}"#);
        let indexes = [indexes[0].clone(), revoked];
        assert_eq!(ask(&indexes, "m"), Err("`m@1.0.0` was revoked by its publisher: it lies".into()));
    }

    #[test]
    fn an_unknown_name_suggests_near_ones() {
        let indexes = [index("r", &[line("qwen3-0.6b", "1.0.0", "x"), line("gemma", "1.0.0", "y")], "")];
        let near = |wanted: &str| match resolve(&indexes, &wanted.parse().expect("a reference")) {
            Err(RegistryError::NoSuchPackage { near, .. }) => near,
            other => panic!("{other:?}"),
        };
        assert_eq!(near("qwen"), ["qwen3-0.6b"]);
        assert_eq!(near("qwen3-0.5b"), ["qwen3-0.6b"]);
        assert!(near("whisper").is_empty());
    }

    #[test]
    fn counts_edits() {
        // kitten → sitten → sittin → sitting.
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
