//! One line a package, kept beside the signed files: what `search` reads instead of every description.
//!
//! ```text
//! registries/<name>/summaries.txt
//!   localml summaries 1 <sha256 of targets.json> <sha256 of all that follows>
//!   name TAB title TAB kind TAB licence TAB note TAB languages TAB …          one line a package, by name
//! ```
//! It is made from an index that was verified, and holds for exactly that one: `targets.json` names every other
//! file by its digest. A file that is absent, torn, changed or of another state is made anew. It is as short as
//! can be, since all of it is read and hashed at every search: 15 MB for 100,000 packages.

use std::fs;
use std::path::Path;

use semver::Version;

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

/// How many columns at the beginning of a line are words to search in.
const NUM_WORD_COLUMNS: usize = 5;

/// What a list of packages says of one: its newest version that was not taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Its name.
    pub name: Name,
    /// Its newest version.
    pub version: Version,
    /// What it is for.
    pub kind: Kind,
    /// One line for people, without control characters.
    pub title: String,
    /// Its licence.
    pub license: String,
    /// True when the licence forbids some uses.
    pub restricted: bool,
    /// ISO 639-1 codes.
    pub languages: Vec<String>,
    /// The bytes of its smallest build; a kit has none of its own.
    pub size_bytes: u64,
    /// How many builds there are.
    pub num_variants: usize,
    /// The packages of a kit.
    pub members: Vec<PackageRef>,
    /// Half a digest over version, members and files: the same bytes under one name are one package.
    pub content: String,
}

/// The summaries of one registry.
#[derive(Debug, Clone)]
pub struct Summaries {
    registry: Name,
    lines: String,
}

/// One line of them, not parsed yet.
pub(super) struct Line<'a> {
    /// In lower case, with tabs between the columns.
    lower: &'a str,
    text: &'a str,
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

    /// The summaries of the lines that are wanted.
    pub(super) fn filtered(&self, is_wanted: impl Fn(&Line<'_>) -> bool) -> Vec<Summary> {
        // At once, which is much faster than line by line. No letter becomes a line's end.
        let lower = self.lines.to_lowercase();
        let lines = self.lines.lines().zip(lower.lines()).map(|(text, lower)| Line { lower, text });
        lines.filter(is_wanted).filter_map(|line| parse(line.text)).collect()
    }
}

impl Line<'_> {
    /// True when the text, in lower case, stands in name, title, kind, licence or note.
    pub(super) fn has(&self, text: &str) -> bool {
        // Most lines end here, and columns need not be counted.
        if !self.lower.contains(text) {
            return false;
        }
        let end = self.lower.match_indices('\t').nth(NUM_WORD_COLUMNS - 1).map_or(0, |(at, _)| at);
        self.lower[..end].contains(text)
    }

    /// True when the package is for the language with this code.
    pub(super) fn speaks(&self, code: &str) -> bool {
        if !self.lower.contains(code) {
            return false;
        }
        let languages = self.lower.split('\t').nth(NUM_WORD_COLUMNS).unwrap_or_default();
        languages.split(' ').any(|language| language == code)
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
    let members: Vec<String> = package.members.iter().map(ToString::to_string).collect();
    let columns = [
        package.name.to_string(),
        package.title.clone(),
        package.kind.to_string(),
        package.license.clone(),
        package.note.clone().unwrap_or_default(),
        package.languages.join(" "),
        package.version.to_string(),
        u8::from(package.restricted).to_string(),
        manifest.variants.iter().map(Variant::size_bytes).min().unwrap_or(0).to_string(),
        manifest.variants.len().to_string(),
        content_of(manifest),
        members.join(" "),
    ];
    columns.map(|column| plain(&column)).join("\t") + "\n"
}

/// Reads what `line_of` wrote.
fn parse(line: &str) -> Option<Summary> {
    let mut columns = line.split('\t');
    let mut next = || columns.next();
    let (name, title, kind, license, _note) = (next()?, next()?, next()?, next()?, next()?);
    let (languages, version, restricted, size_bytes) = (next()?, next()?, next()?, next()?);
    let (num_variants, content, members) = (next()?, next()?, next()?);
    Some(Summary {
        name: name.parse().ok()?,
        version: version.parse().ok()?,
        kind: kind.parse().ok()?,
        title: title.to_owned(),
        license: license.to_owned(),
        restricted: restricted == "1",
        languages: languages.split_whitespace().map(ToOwned::to_owned).collect(),
        size_bytes: size_bytes.parse().ok()?,
        num_variants: num_variants.parse().ok()?,
        members: members.split_whitespace().filter_map(|member| member.parse().ok()).collect(),
        content: content.to_owned(),
    })
}

/// What `is_same` compares, as half a digest.
fn content_of(manifest: &Manifest) -> String {
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
    let mut content = hasher.finish().to_string();
    content.truncate(32);
    content
}

/// Text that cannot end its line or its column.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
