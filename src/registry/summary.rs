//! One line a package, kept beside the signed files: what `search` reads instead of every description.
//!
//! ```text
//! registries/<name>/summaries.txt
//!   localml summaries 1 <sha256 of targets.json> <sha256 of all that follows>
//!   <its words in lower case> TAB <its languages> TAB <the summary as JSON>        one line a package, by name
//! ```
//! It is made from an index that was verified, and holds for exactly that one: `targets.json` names every other
//! file by its digest. A file that is absent, torn, changed or of another state is made anew.

use std::fs;
use std::path::Path;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::{Hasher, Sha256};
use crate::disk;
use crate::package::{Kind, Manifest, Name, PackageRef, Variant};

use super::copy::load;
use super::error::Result;
use super::index::VerifiedIndex;
use super::record::{Record, generation_folder};
use super::resolve::newest;
use super::tree::TARGETS;

/// The file's name, and the words that it begins with.
const FILE: &str = "summaries.txt";
const FIRST_WORDS: &str = "localml summaries 1";

/// What a list of packages says of one: its newest version that was not taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub name: Name,
    /// Its newest version.
    pub version: Version,
    /// What it is for.
    pub kind: Kind,
    /// One line for people.
    pub title: String,
    /// Its licence.
    pub license: String,
    /// True when the licence forbids some uses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restricted: bool,
    /// ISO 639-1 codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// The bytes of its smallest build; a kit has none of its own.
    pub size_bytes: u64,
    /// How many builds there are.
    pub num_variants: usize,
    /// The packages of a kit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PackageRef>,
    /// One digest over version, members and files: the same bytes under one name are one package.
    pub content: Sha256,
}

/// The summaries of one registry.
#[derive(Debug, Clone)]
pub struct Summaries {
    registry: Name,
    lines: String,
}

/// One line of them, not parsed yet.
pub(super) struct Line<'a> {
    pub(super) words: &'a str,
    pub(super) languages: &'a str,
    json: &'a str,
}

impl Summaries {
    /// Sums up an index.
    pub fn of(index: &VerifiedIndex) -> Self {
        let mut lines: Vec<(Name, String)> = Vec::new();
        for manifests in index.shards() {
            for versions in manifests.chunk_by(|left, right| left.package.name == right.package.name) {
                if let Some(manifest) = newest(index, versions) {
                    lines.push((manifest.package.name.clone(), line_of(manifest)));
                }
            }
        }
        lines.sort_unstable();
        let lines = lines.into_iter().map(|(_, line)| line).collect();
        Self { registry: index.name().clone(), lines }
    }

    /// The registry's name.
    pub fn registry(&self) -> &Name {
        &self.registry
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.lines.lines().filter_map(|line| {
            let (words, rest) = line.split_once('\t')?;
            let (languages, json) = rest.split_once('\t')?;
            Some(Line { words, languages, json })
        })
    }
}

impl Line<'_> {
    /// The summary; `None` only where another program wrote the line.
    pub(super) fn summary(&self) -> Option<Summary> {
        serde_json::from_str(self.json).ok()
    }
}

/// Reads the summaries of a registry's copy; where there are none for its present state, verifies all of it and
/// makes them.
///
/// # Errors
/// As `load`.
pub fn summaries(folder: &Path) -> Result<Summaries> {
    let record = Record::read(folder)?;
    let targets = fs::read(generation_folder(folder, record.generation).join(TARGETS)).unwrap_or_default();
    if let Some(lines) = read(folder, &Sha256::of(&targets)) {
        return Ok(Summaries { registry: record.name, lines });
    }
    let index = load(folder)?;
    Ok(keep(folder, &index))
}

/// Sums up an index that was verified, and keeps that for later searches. A home that cannot be written only has
/// slower ones.
pub(super) fn keep(folder: &Path, index: &VerifiedIndex) -> Summaries {
    let summaries = Summaries::of(index);
    if let Some(targets) = index.targets_digest() {
        let digest = Sha256::of(summaries.lines.as_bytes());
        let text = format!("{FIRST_WORDS} {targets} {digest}\n{}", summaries.lines);
        let _ = disk::write_atomic(&folder.join(FILE), text.as_bytes());
    }
    summaries
}

/// The lines, when they are whole and of this state.
fn read(folder: &Path, targets: &Sha256) -> Option<String> {
    let mut text = fs::read_to_string(folder.join(FILE)).ok()?;
    let (head, lines) = text.split_once('\n')?;
    let expected = format!("{FIRST_WORDS} {targets} {}", Sha256::of(lines.as_bytes()));
    if head != expected {
        return None;
    }
    let head_bytes = head.len() + 1;
    text.drain(..head_bytes);
    Some(text)
}

fn line_of(manifest: &Manifest) -> String {
    let package = &manifest.package;
    let note = package.note.as_deref().unwrap_or_default();
    let (name, title, kind, license) = (&package.name, &package.title, &package.kind, &package.license);
    let words = format!("{name} {title} {kind} {license} {note}").to_lowercase();
    let json = serde_json::to_string(&summary_of(manifest)).expect("plain data");
    format!("{}\t{}\t{json}\n", plain(&words), plain(&package.languages.join(" ")))
}

fn summary_of(manifest: &Manifest) -> Summary {
    let package = manifest.package.clone();
    Summary {
        name: package.name,
        version: package.version,
        kind: package.kind,
        title: package.title,
        license: package.license,
        restricted: package.restricted,
        languages: package.languages,
        size_bytes: manifest.variants.iter().map(Variant::size_bytes).min().unwrap_or(0),
        num_variants: manifest.variants.len(),
        members: package.members,
        content: content_of(manifest),
    }
}

/// What `is_same` compares, as one digest.
fn content_of(manifest: &Manifest) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(format!("{}\n", manifest.package.version).as_bytes());
    for member in &manifest.package.members {
        hasher.update(format!("member {member}\n").as_bytes());
    }
    for variant in &manifest.variants {
        for file in &variant.files {
            hasher.update(format!("{} {} {}\n", variant.id, file.sha256, file.path).as_bytes());
        }
    }
    hasher.finish()
}

/// Text that cannot end its line or its column.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
