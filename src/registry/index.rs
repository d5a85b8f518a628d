//! The index in memory: what was verified, and nothing else.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use semver::Version;
use url::Url;

use crate::digest::Sha256;
use crate::package::{FileEntry, Manifest, Name};

use super::age::SignedDates;
use super::resolve::newest;
use super::tree::{self, CONFIG, Config, FORMAT, REVOKED, Revocation, RevokedFile, TARGETS};

/// Files of one registry by name, as they lie.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Something is wrong with one file; who stored or sent it decides what kind of error that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) file: String,
    /// Continues a sentence that begins with the file's name.
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn new(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { file: file.into(), reason: reason.into() }
    }
}

/// The packages of one registry. It can only be made from verified files or from the executable.
///
/// A shard is parsed when somebody asks for one of its names: a catalog of 100,000 packages has 70 MB of them.
#[derive(Debug, Clone)]
pub struct VerifiedIndex {
    name: Name,
    base: Option<Url>,
    shards: Vec<Shard>,
    /// All packages by name, once somebody asked for all.
    manifests: OnceLock<Vec<Manifest>>,
    revocations: Vec<Revocation>,
    trust: Trust,
    /// The digest of the `targets.json` that signs all of it.
    targets: Option<Sha256>,
}

/// One file of the index.
#[derive(Debug, Clone)]
struct Shard {
    bytes: Vec<u8>,
    /// By name and version, once somebody asked.
    manifests: OnceLock<Vec<Manifest>>,
}

/// Why an index is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is part of this executable.
    BuiltIn,
    /// It is signed by the keys that a root names.
    Signed {
        /// The sha256 of the root that a person accepted.
        fingerprint: Sha256,
        /// The version of the newest root.
        root_version: u64,
        /// The version of the metadata as a whole: that of `timestamp.json`.
        version: u64,
        /// When it was signed and when it expires.
        dates: SignedDates,
    },
}

impl VerifiedIndex {
    /// Reads files whose digests the caller has already verified.
    pub(super) fn from_files(
        name: Name,
        base: Option<Url>,
        trust: Trust,
        files: &Files,
    ) -> Result<Self, Fault> {
        let config = read_config(files)?;
        for number in 0..config.num_shards {
            let file = tree::shard_file(number);
            for manifest in read_shard(&file, bytes_of(files, &file)?)? {
                if tree::shard_of(&manifest.package.name, config.num_shards) != number {
                    let name = &manifest.package.name;
                    return Err(Fault::new(file, format!("has `{name}`, which belongs into another shard")));
                }
            }
        }
        Self::from_read_files(name, base, trust, files)
    }

    /// As `from_files`, for files whose every line was read before, when they were taken in. A line that this
    /// localml does not understand all the same is no package.
    pub(super) fn from_read_files(
        name: Name,
        base: Option<Url>,
        trust: Trust,
        files: &Files,
    ) -> Result<Self, Fault> {
        let config = read_config(files)?;
        let mut shards = Vec::new();
        for number in 0..config.num_shards {
            let bytes = bytes_of(files, &tree::shard_file(number))?.to_vec();
            shards.push(Shard { bytes, manifests: OnceLock::new() });
        }
        let (revocations, manifests) = (read_revocations(files)?, OnceLock::new());
        let targets = files.get(TARGETS).map(|bytes| Sha256::of(bytes));
        Ok(Self { name, base, shards, manifests, revocations, trust, targets })
    }

    /// What the registry is called here.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Where relative sources begin; the catalog has no such place.
    pub fn base(&self) -> Option<&Url> {
        self.base.as_ref()
    }

    /// Why it is believed.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Every package version, by name, the newest version last.
    pub fn manifests(&self) -> &[Manifest] {
        self.manifests.get_or_init(|| {
            let mut manifests: Vec<Manifest> = self.shards.iter().flat_map(Shard::parse).collect();
            sort(&mut manifests);
            manifests
        })
    }

    /// The package versions shard by shard, each parsed for the moment only.
    pub(super) fn shards(&self) -> impl Iterator<Item = Vec<Manifest>> {
        self.shards.iter().map(Shard::parse)
    }

    /// The digest of the file that signs all the others; the catalog has none.
    pub(super) fn targets_digest(&self) -> Option<Sha256> {
        self.targets
    }

    /// How many package versions there are.
    pub fn num_versions(&self) -> usize {
        let num_lines = |shard: &Shard| lines_of(&shard.bytes).count();
        self.shards.iter().map(num_lines).sum()
    }

    /// Everything that the publisher took back.
    pub fn revocations(&self) -> &[Revocation] {
        &self.revocations
    }

    /// The versions of one package, the newest last.
    pub fn versions_of(&self, name: &Name) -> &[Manifest] {
        let Some(shard) = self.shards.get(tree::shard_of(name, self.shards.len().max(1))) else { return &[] };
        let manifests = shard.manifests.get_or_init(|| shard.parse());
        let start = manifests.partition_point(|manifest| manifest.package.name < *name);
        let end = manifests.partition_point(|manifest| manifest.package.name <= *name);
        &manifests[start..end]
    }

    /// The newest version of a package that was not taken back; a pre-release only when there is nothing else.
    pub fn newest_of(&self, name: &Name) -> Option<&Manifest> {
        newest(self, self.versions_of(name))
    }

    /// Says whether and why a version was taken back.
    pub fn revocation_of(&self, name: &Name, version: &Version) -> Option<&Revocation> {
        self.revocations.iter().find(|revocation| {
            revocation.name == *name && revocation.version.as_ref().is_none_or(|revoked| revoked == version)
        })
    }

    /// Where a file can be fetched: its sources in order, relative ones joined to the registry's base.
    pub fn sources_of(&self, file: &FileEntry) -> Vec<Url> {
        file.sources.iter().filter_map(|source| self.locate(source)).collect()
    }

    /// Where the piece list of a file can be fetched, where the publisher made one.
    pub fn piece_list_of(&self, file: &FileEntry) -> Option<Url> {
        file.pieces.and_then(|digest| self.locate(&format!("pieces/{digest}")))
    }

    fn locate(&self, source: &str) -> Option<Url> {
        match (Url::parse(source), &self.base) {
            (Ok(url), _) if matches!(url.scheme(), "http" | "https" | "file") => Some(url),
            (Err(url::ParseError::RelativeUrlWithoutBase), Some(base)) => below(base, source),
            _ => None,
        }
    }
}

/// Joins a relative source; one that would leave the registry's own tree is no source.
fn below(base: &Url, source: &str) -> Option<Url> {
    base.join(source).ok().filter(|joined| joined.as_str().starts_with(base.as_str()))
}

impl Shard {
    /// The lines that are manifests, by name and version.
    fn parse(&self) -> Vec<Manifest> {
        let lines = lines_of(&self.bytes).map(|(_, line)| line);
        let manifests = lines.filter_map(|line| serde_json::from_slice::<Manifest>(line).ok());
        let mut manifests: Vec<Manifest> = manifests.filter(|manifest| manifest.check().is_ok()).collect();
        sort(&mut manifests);
        manifests
    }
}

fn sort(manifests: &mut [Manifest]) {
    manifests.sort_by(|left, right| key_of(left).cmp(&key_of(right)));
}

fn key_of(manifest: &Manifest) -> (&Name, &Version) {
    (&manifest.package.name, &manifest.package.version)
}

/// The lines that are not empty, with their numbers, from 1.
fn lines_of(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes
        .split(|&byte| byte == b'\n')
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|it| !it.1.is_empty())
}

pub(super) fn bytes_of<'a>(files: &'a Files, name: &str) -> Result<&'a [u8], Fault> {
    files.get(name).map(Vec::as_slice).ok_or_else(|| Fault::new(name, "is not there"))
}

pub(super) fn read_config(files: &Files) -> Result<Config, Fault> {
    let config: Config = read_json(files, CONFIG)?;
    check_format(CONFIG, config.format)?;
    if !config.is_sound() {
        return Err(Fault::new(CONFIG, format!("asks for {} shards", config.num_shards)));
    }
    Ok(config)
}

fn read_revocations(files: &Files) -> Result<Vec<Revocation>, Fault> {
    let revoked: RevokedFile = read_json(files, REVOKED)?;
    check_format(REVOKED, revoked.format)?;
    Ok(revoked.revoked)
}

fn read_json<T: serde::de::DeserializeOwned>(files: &Files, name: &str) -> Result<T, Fault> {
    serde_json::from_slice(bytes_of(files, name)?)
        .map_err(|error| Fault::new(name, format!("is not readable: {error}")))
}

fn check_format(file: &str, format: u32) -> Result<(), Fault> {
    if format == FORMAT {
        return Ok(());
    }
    Err(Fault::new(file, format!("has format {format}; this localml reads format {FORMAT}")))
}

fn read_shard(file: &str, bytes: &[u8]) -> Result<Vec<Manifest>, Fault> {
    let mut manifests = Vec::new();
    for (number, line) in lines_of(bytes) {
        let fault = |reason: String| Fault::new(file, format!("is not readable: line {number}: {reason}"));
        let manifest: Manifest = serde_json::from_slice(line).map_err(|error| fault(error.to_string()))?;
        manifest.check().map_err(|error| fault(error.to_string()))?;
        manifests.push(manifest);
    }
    Ok(manifests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty_with(base: Option<&str>) -> VerifiedIndex {
        let files = Files::from([
            (CONFIG.to_owned(), br#"{"format":1,"num_shards":1}"#.to_vec()),
            (REVOKED.to_owned(), br#"{"format":1,"revoked":[]}"#.to_vec()),
            ("index-000.jsonl".to_owned(), Vec::new()),
        ]);
        let base = base.map(|url| Url::parse(url).expect("a url"));
        VerifiedIndex::from_files("r".parse().expect("a name"), base, Trust::BuiltIn, &files).expect("sound")
    }

    #[test]
    fn a_source_is_absolute_or_stays_below_the_base() {
        let index = empty_with(Some("http://site/r/"));
        assert_eq!(index.locate("blobs/1").expect("relative").as_str(), "http://site/r/blobs/1");
        assert_eq!(index.locate("https://other/x").expect("absolute").as_str(), "https://other/x");
        assert_eq!(index.locate("../secret"), None);
        assert_eq!(index.locate("//other/x"), None);
        assert_eq!(index.locate("ftp://other/x"), None);
        assert_eq!(empty_with(None).locate("blobs/1"), None);
    }

    #[test]
    fn a_format_from_the_future_is_refused_by_name() {
        let files = Files::from([(CONFIG.to_owned(), br#"{"format":2,"num_shards":1}"#.to_vec())]);
        let fault = read_config(&files).expect_err("newer");
        assert_eq!(fault, Fault::new(CONFIG, "has format 2; this localml reads format 1"));
    }
}
