//! The head of a collection: written last, it says which files belong together and what they hash to.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::disk;

use super::error::{IndexError, Result};

/// The newest format of `head.json` and of the files it names.
pub(super) const FORMAT: u32 = 1;
pub(super) const HEAD_FILE: &str = "head.json";

/// A file of the index as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSeal {
    /// Its name within the collection's folder.
    pub file: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// A file of passages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHead {
    /// Its number; the upper half of its passages' ids.
    pub number: u32,
    /// How many passages it holds, dead ones too.
    pub num_passages: u32,
    /// How many of them belong to no file any more.
    pub num_dead: u32,
    /// The file.
    pub seal: FileSeal,
}

/// The vectors of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorsHead {
    /// The embedder that made them.
    pub embedder: String,
    /// The length of each.
    pub dimensions: usize,
    /// How many passages have one.
    pub num_vectors: u64,
    /// The file.
    pub seal: FileSeal,
    /// The neighbour graph, where the collection is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<GraphHead>,
}

/// A neighbour graph over the vectors up to an id; later ones are scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphHead {
    /// How many vectors were in it when it was built.
    pub num_vectors: u64,
    /// The highest passage id in it.
    pub last_id: u64,
    /// The file.
    pub seal: FileSeal,
}

/// What a collection consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the format.
    pub format: u32,
    /// Counts the changes.
    pub generation: u64,
    /// The version of the way passages are cut.
    pub chunker_version: u32,
    /// The most tokens of a passage.
    pub max_tokens: usize,
    /// The version of the way words are made of text.
    pub analyser_version: u32,
    /// How many passages belong to a file.
    pub num_passages: u64,
    /// How many passages there are in each language, by ISO 639-1 code.
    pub languages: BTreeMap<String, u64>,
    /// The list of files.
    pub files: FileSeal,
    /// The passages.
    pub segments: Vec<SegmentHead>,
    /// The word index.
    pub words: Vec<FileSeal>,
    /// The vectors, once there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<VectorsHead>,
}

impl Head {
    /// Reads the head of the collection in `folder`; `None` when none was ever written.
    pub(super) fn read(folder: &Path, collection: &str) -> Result<Option<Self>> {
        let Some(bytes) = read_if_there(&folder.join(HEAD_FILE))? else { return Ok(None) };
        let damaged = |reason: String| damage(collection, HEAD_FILE, reason);
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or_default();
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        if found > FORMAT {
            return Err(IndexError::Newer { collection: collection.to_owned(), found, known: FORMAT });
        }
        serde_json::from_value(value).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// Writes the head; from then on it is the collection.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        disk::write_atomic(&folder.join(HEAD_FILE), &to_json(self)?)?;
        Ok(())
    }

    /// Every file that the head names.
    pub(super) fn seals(&self) -> impl Iterator<Item = &FileSeal> {
        let vectors = self.vectors.iter().flat_map(|vectors| {
            std::iter::once(&vectors.seal).chain(vectors.graph.iter().map(|graph| &graph.seal))
        });
        std::iter::once(&self.files)
            .chain(self.segments.iter().map(|segment| &segment.seal))
            .chain(&self.words)
            .chain(vectors)
    }
}

impl FileSeal {
    /// Seals a file as it lies there now.
    pub(super) fn of(folder: &Path, file: &str) -> Result<Self> {
        let path = folder.join(file);
        let on_path = |source| IndexError::Io { path: path.clone(), source };
        let mut open = File::open(&path).map_err(on_path)?;
        let (sha256, size_bytes) = Sha256::of_reader(&mut open).map_err(on_path)?;
        Ok(Self { file: file.to_owned(), size_bytes, sha256 })
    }

    /// Reads the whole file and compares it with the seal.
    pub(super) fn check(&self, folder: &Path, collection: &str) -> Result<()> {
        let now = match Self::of(folder, &self.file) {
            Err(IndexError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(damage(collection, &self.file, "it is missing".into()));
            }
            now => now?,
        };
        self.compare(&now, collection)
    }

    /// Compares a seal made of bytes at hand.
    pub(super) fn compare(&self, now: &Self, collection: &str) -> Result<()> {
        if now == self {
            return Ok(());
        }
        let reason = if now.size_bytes == self.size_bytes {
            format!("its sha256 is {}, not {}", now.sha256.short(), self.sha256.short())
        } else {
            format!("it has {} bytes, not {}", now.size_bytes, self.size_bytes)
        };
        Err(damage(collection, &self.file, reason))
    }
}

pub(super) fn damage(collection: &str, file: &str, reason: String) -> IndexError {
    IndexError::Damaged { collection: collection.to_owned(), file: file.to_owned(), reason }
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| damage("", "json", error.to_string()))
}

pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IndexError::Io { path: path.to_owned(), source }),
    }
}
