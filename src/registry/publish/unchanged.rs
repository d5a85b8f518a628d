//! What was published stays what it was: other bytes are another version.
//!
//! A site that has a version never fetches it again, and a name with two meanings is refused as
//! ambiguous. Only a registry that was signed is published; what is generated for the first time, or into
//! a folder that nobody signs (the catalog, before its executable is built), may still change.
//!
//! ```text
//! published.txt     one line a build that was ever signed: name version build digest of its files
//! ```
//! It only grows, a version that is no longer in the index keeps its line, and `targets.json` names its length
//! and digest. What stands behind that length was written by a signing that did not come to its end.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use tough::schema::{Signed, Targets};

use crate::digest::{Hasher, Sha256};
use crate::package::{Manifest, Variant};

use crate::registry::error::{RegistryError, Result};
use crate::registry::index::Files;
use crate::registry::signed::listed;
use crate::registry::tree::{self, TARGETS};

/// The file's name.
pub(super) const PUBLISHED: &str = "published.txt";

/// Refuses when a version that was ever signed would get other bytes, or lose a build.
///
/// # Errors
/// `PublishedChanged` names the package and the file; `Authoring` when what was signed is not there any more.
pub(super) fn check(registry: &Path, manifests: &[Manifest]) -> Result<()> {
    let published = read(registry)?;
    if published.is_empty() {
        return Ok(());
    }
    let by_version: HashMap<(&str, String), &Manifest> = manifests
        .iter()
        .map(|manifest| (manifest.package.name.as_str(), manifest.package.version.to_string()))
        .zip(manifests)
        .collect();
    let mut lying = None;
    for line in published.lines() {
        let Some((name, version, build, digest)) = words_of(line) else { continue };
        let Some(new) = by_version.get(&(name, version.to_owned())) else { continue };
        let variant = new.variants.iter().find(|variant| variant.id.as_str() == build);
        if variant.is_some_and(|variant| digest_of(variant).to_string() == digest) {
            continue;
        }
        let old = lying.get_or_insert_with(|| lying_index(registry));
        let old = old.iter().find(|old| is_named(old, name, version));
        let old = old.and_then(|old| old.variants.iter().find(|variant| variant.id.as_str() == build));
        let package = format!("{name}@{version}");
        return Err(RegistryError::PublishedChanged { package, changed: change(build, old, variant) });
    }
    Ok(())
}

/// The lines of what is about to be signed, behind those that were signed before.
///
/// # Errors
/// As `check`.
pub(super) fn extended(registry: &Path, manifests: &[Manifest]) -> Result<String> {
    let mut published = read(registry)?;
    let known: HashSet<String> = published.lines().map(ToOwned::to_owned).collect();
    for manifest in manifests {
        for line in lines_of(manifest).filter(|line| !known.contains(line)) {
            published.push_str(&line);
            published.push('\n');
        }
    }
    Ok(published)
}

/// The lines that were signed. A registry that was signed by an older localml has none: then what its index says
/// counts.
fn read(registry: &Path) -> Result<String> {
    let path = registry.join(TARGETS);
    let authoring = |reason: String| RegistryError::Authoring { path: path.clone(), reason };
    let targets = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(authoring(format!("not readable: {error}"))),
    };
    let targets: Signed<Targets> = serde_json::from_slice(&targets).map_err(|error| {
        authoring(format!("not readable: {error}; put back a copy of what was published"))
    })?;
    let listed = listed(&targets.signed).map_err(|fault| authoring(fault.reason))?;
    match listed.into_iter().find(|(name, ..)| name == PUBLISHED) {
        Some((_, length, digest)) => signed_lines(&registry.join(PUBLISHED), length, &digest),
        None => Ok(lying_index(registry).iter().flat_map(lines_of).map(|line| line + "\n").collect()),
    }
}

/// The beginning of the file that `targets.json` names.
fn signed_lines(path: &Path, length: u64, digest: &Sha256) -> Result<String> {
    let mut bytes = fs::read(path).unwrap_or_default();
    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    match String::from_utf8(bytes) {
        Ok(text) if Sha256::of(text.as_bytes()) == *digest => Ok(text),
        _ => Err(RegistryError::Authoring {
            path: path.to_owned(),
            reason: "it is not what was signed: put back a copy of what was published".into(),
        }),
    }
}

/// What the index that lies there names; a line that cannot be read is written anew, whatever it was.
fn lying_index(registry: &Path) -> Vec<Manifest> {
    let shards = (0..tree::MAX_SHARDS).map(|shard| registry.join(tree::shard_file(shard)));
    let texts = shards.map_while(|shard| fs::read_to_string(shard).ok());
    texts
        .flat_map(|text| text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>())
        .collect()
}

/// One line for each build of a version.
fn lines_of(manifest: &Manifest) -> impl Iterator<Item = String> {
    let package = &manifest.package;
    manifest
        .variants
        .iter()
        .map(|variant| format!("{} {} {} {}", package.name, package.version, variant.id, digest_of(variant)))
}

fn words_of(line: &str) -> Option<(&str, &str, &str, &str)> {
    let mut words = line.split(' ');
    Some((words.next()?, words.next()?, words.next()?, words.next()?))
}

/// One digest over the names and digests of a build's files, in whatever order they stand.
fn digest_of(variant: &Variant) -> Sha256 {
    let mut hasher = Hasher::new();
    for (path, sha256) in files_of(variant) {
        hasher.update(format!("{sha256} {path}\n").as_bytes());
    }
    hasher.finish()
}

fn files_of(variant: &Variant) -> Vec<(String, Sha256)> {
    let mut files: Vec<_> = variant.files.iter().map(|file| (file.path.to_string(), file.sha256)).collect();
    files.sort();
    files
}

fn is_named(manifest: &Manifest, name: &str, version: &str) -> bool {
    manifest.package.name.as_str() == name && manifest.package.version.to_string() == version
}

/// What is another in the new description of a build, to be read after "would change".
fn change(build: &str, old: Option<&Variant>, new: Option<&Variant>) -> String {
    let Some(new) = new else { return format!("the build `{build}` would be gone") };
    let (before, after) = (old.map(files_of).unwrap_or_default(), files_of(new));
    let lost = before.iter().find(|file| !after.contains(file));
    let other = lost.or_else(|| after.iter().find(|file| !before.contains(file)).filter(|_| old.is_some()));
    match other {
        Some((path, _)) => format!("`{path}` of the build `{build}` would be other bytes"),
        None => format!("the build `{build}` would be other bytes than those that were signed once"),
    }
}

/// The manifests of index files.
pub(super) fn manifests_in(files: &Files) -> Vec<Manifest> {
    let shards = files.iter().filter(|(name, _)| name.ends_with(".jsonl"));
    let lines = shards.flat_map(|(_, bytes)| bytes.split(|&byte| byte == b'\n'));
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}
