//! An open collection: searched by words and by vectors, read by passage id.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::digest::Sha256;
use crate::passage::{Passage, Vector};

use super::catalogue::{FileEntry, FileState, Roots};
use super::error::{IndexError, Result};
use super::graph::Graph;
use super::head::{FileSeal, HEAD_FILE, Head, SegmentHead, VectorsHead, damage, read_if_there};
use super::passages::{PassageReader, parts_of};
use super::vectors::VectorTable;
use super::words::{WordIndex, search_together};

pub(super) const ROOTS_FILE: &str = "collection.json";
pub(super) const WORDS_FOLDER: &str = "words";
pub(super) const TEXTS_FOLDER: &str = "texts";
/// Files of passages are read whole at opening while they are small together; passages of larger ones are
/// checked one by one, when they are read.
const MAX_CHECKED_BYTES: u64 = 16 * 1024 * 1024;
/// A reader that meets a writer's commit tries again so often.
const NUM_TRIES: usize = 3;

/// A passage that was found, with the score of the list that it stands in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The collection, as a place in the list that was searched.
    pub collection: usize,
    /// The passage's id in it.
    pub id: u64,
    /// The higher, the better; comparable within one list.
    pub score: f32,
}

/// A collection, open for reading.
pub struct Collection {
    folder: PathBuf,
    roots: Roots,
    head: Head,
    words: WordIndex,
    readers: HashMap<u32, PassageReader>,
    vectors: OnceLock<Option<VectorTable>>,
    /// How each file ended, once somebody asked; empty when the list is damaged.
    entries: OnceLock<Vec<FileEntry>>,
}

impl Collection {
    /// Opens the collection in `folder`; the digests of the word index are checked.
    ///
    /// # Errors
    /// When there is none, when a file is damaged, or when a newer localml wrote it.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut tries = 1;
        loop {
            match Self::open_once(folder) {
                Err(IndexError::Damaged { .. }) if tries < NUM_TRIES => tries += 1,
                done => return done,
            }
        }
    }

    fn open_once(folder: &Path) -> Result<Self> {
        let roots = read_roots(folder)?;
        let name = roots.name.clone();
        let head = Head::read(folder, &name)?.ok_or_else(|| without_head(folder, &name))?;
        if head.segments.iter().map(|segment| segment.seal.size_bytes).sum::<u64>() <= MAX_CHECKED_BYTES {
            head.segments.iter().try_for_each(|segment| segment.seal.check(folder, &name))?;
        }
        let words = open_words(folder, &head, &name)?;
        let open = |segment: &SegmentHead| Ok((segment.number, PassageReader::open(folder, segment, &name)?));
        let readers = head.segments.iter().map(open).collect::<Result<_>>()?;
        let (folder, vectors, entries) = (folder.to_owned(), OnceLock::new(), OnceLock::new());
        Ok(Self { folder, roots, head, words, readers, vectors, entries })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.roots.name
    }

    /// What it holds.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Its settings and counts.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How each file ended.
    ///
    /// # Errors
    /// When the list is damaged.
    pub fn files(&self) -> Result<Vec<FileEntry>> {
        read_files(&self.folder, &self.head, self.name())
    }

    /// The passage with this id; `None` when it is of a change that was never completed.
    ///
    /// # Errors
    /// When its bytes are damaged.
    pub fn passage(&self, id: u64) -> Result<Option<Passage>> {
        let (segment, place) = parts_of(id);
        self.readers.get(&segment).map(|reader| reader.get(place)).transpose()
    }

    /// The ids of all its passages, in order.
    ///
    /// # Errors
    /// When the list of files is damaged.
    pub fn passage_ids(&self) -> Result<impl Iterator<Item = u64> + use<>> {
        let ranges = live_ranges(self.files()?.iter());
        Ok(ranges.into_iter().flat_map(|(first, count)| first..first + u64::from(count)))
    }

    /// The embedder whose vectors it has, if any.
    pub fn embedder(&self) -> Option<&str> {
        self.head.vectors.as_ref().map(|vectors| vectors.embedder.as_str())
    }

    /// True when every passage has a vector.
    pub fn has_all_vectors(&self) -> bool {
        self.head.vectors.as_ref().is_some_and(|vectors| vectors.num_vectors >= self.head.num_passages)
    }

    /// The passages nearest to the query, best first: `(id, cosine)`. None when there are no vectors.
    ///
    /// # Errors
    /// When the vectors are damaged, or the query has another length.
    pub fn search_vector(&self, query: &Vector, limit: usize) -> Result<Vec<(u64, f32)>> {
        let Some(head) = &self.head.vectors else { return Ok(Vec::new()) };
        if query.0.len() != head.dimensions {
            return Err(IndexError::Dimensions { found: query.0.len(), expected: head.dimensions });
        }
        let table = self.table(head)?;
        match &head.graph {
            Some(graph) => {
                Graph::open(graph, head.dimensions, &self.folder, self.name())?.nearest(table, query, limit)
            }
            None => Ok(table.nearest(query, limit, None)),
        }
    }

    /// How one file ended; `None` when there is no such file, or the list is damaged.
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        let entries = self.entries.get_or_init(|| self.files().unwrap_or_default());
        entries.iter().find(|entry| entry.file == name)
    }

    /// Where a file of this collection lies, for opening it.
    pub fn locate(&self, file: &str) -> Option<PathBuf> {
        match self.file(file) {
            Some(entry) => self.roots.roots.get(entry.root)?.locate(file),
            None => self.roots.guess(file),
        }
    }

    /// The extracted text that a file's spans point into; `None` when they point into the file itself.
    pub fn text_path(&self, file: &str) -> Option<PathBuf> {
        match &self.file(file)?.state {
            FileState::Indexed { text: Some(digest), .. } => {
                Some(self.folder.join(TEXTS_FOLDER).join(format!("{digest}.txt")))
            }
            _ => None,
        }
    }

    fn table(&self, head: &VectorsHead) -> Result<&VectorTable> {
        if self.vectors.get().is_none() {
            // Another thread may have been faster; both tables are the same.
            let _ = self.vectors.set(Some(read_table(&self.folder, head, self.name())?));
        }
        self.vectors
            .get()
            .and_then(Option::as_ref)
            .ok_or_else(|| damage(self.name(), &head.seal.file, "it is not loaded".into()))
    }
}

/// The best passages of several collections for these terms, one list, best first.
///
/// Their scores can be compared: all collections share one set of statistics.
///
/// # Errors
/// When a word index fails or is damaged.
pub fn search_words(collections: &[&Collection], terms: &[String], limit: usize) -> Result<Vec<Hit>> {
    let indexes: Vec<&WordIndex> = collections.iter().map(|collection| &collection.words).collect();
    let lists = contained(collections, || search_together(&indexes, terms, limit))?;
    let mut hits: Vec<Hit> = Vec::new();
    for (place, list) in lists.into_iter().enumerate() {
        let known = &collections[place].readers;
        let is_known = |(id, _): &(u64, f32)| known.contains_key(&parts_of(*id).0);
        let hit = |(id, score)| Hit { collection: place, id, score };
        hits.extend(list.into_iter().filter(is_known).map(hit));
    }
    hits.sort_unstable_by(|left, right| {
        right.score.total_cmp(&left.score).then((left.collection, left.id).cmp(&(right.collection, right.id)))
    });
    hits.truncate(limit);
    Ok(hits)
}

/// tantivy panics on some damaged files; that is damage, not the end of the program.
fn contained<T>(collections: &[&Collection], search: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(search)).unwrap_or_else(|_| {
        let name = collections.first().map(|collection| collection.name()).unwrap_or_default();
        Err(damage(name, WORDS_FOLDER, "reading it failed".into()))
    })
}

/// A head is written after the first list of files, and only then the list counts: where there is none, nothing was lost.
fn without_head(folder: &Path, name: &str) -> IndexError {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    match entries.any(|entry| entry.file_name().to_string_lossy().starts_with("files-")) {
        true => damage(name, HEAD_FILE, "it is missing".into()),
        false => IndexError::Unfinished { name: name.to_owned() },
    }
}

pub(super) fn read_roots(folder: &Path) -> Result<Roots> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(bytes) = read_if_there(&folder.join(ROOTS_FILE))? else {
        return Err(IndexError::NotFound { name });
    };
    serde_json::from_slice(&bytes).map_err(|error| damage(&name, ROOTS_FILE, error.to_string()))
}

pub(super) fn read_files(folder: &Path, head: &Head, collection: &str) -> Result<Vec<FileEntry>> {
    head.files.check(folder, collection)?;
    let bytes = read_if_there(&folder.join(&head.files.file))?.unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|error| damage(collection, &head.files.file, error.to_string()))
}

pub(super) fn read_table(folder: &Path, head: &VectorsHead, collection: &str) -> Result<VectorTable> {
    let name = &head.seal.file;
    let bytes =
        read_if_there(&folder.join(name))?.ok_or_else(|| damage(collection, name, "it is missing".into()))?;
    let now = FileSeal { file: name.clone(), size_bytes: bytes.len() as u64, sha256: Sha256::of(&bytes) };
    head.seal.compare(&now, collection)?;
    VectorTable::from_bytes(bytes).map_err(|reason| damage(collection, name, reason))
}

/// Opens the word index after checking its files, unless a writer has just gone ahead of the head: then
/// its newer files carry tantivy's own checksums, and passages unknown to the head are left out.
pub(super) fn open_words(folder: &Path, head: &Head, collection: &str) -> Result<WordIndex> {
    let checked = head.words.iter().try_for_each(|seal| seal.check(folder, collection));
    match (checked, WordIndex::open(&folder.join(WORDS_FOLDER))) {
        (Ok(()), Ok(words)) => Ok(words),
        (Ok(()), Err(error)) => Err(damage(collection, WORDS_FOLDER, error.to_string())),
        (Err(_), Ok(words)) if words.generation()? > Some(head.generation) => Ok(words),
        (Err(damage), _) => Err(damage),
    }
}

/// The ids of all passages that belong to a file, as `(first, count)`, in order.
pub(super) fn live_ranges<'file>(files: impl Iterator<Item = &'file FileEntry>) -> Vec<(u64, u32)> {
    let range = |entry: &FileEntry| match &entry.state {
        FileState::Indexed { first_id, num_passages, .. } => Some((*first_id, *num_passages)),
        FileState::Empty | FileState::Failed { .. } => None,
    };
    let mut ranges: Vec<(u64, u32)> = files.filter_map(range).collect();
    ranges.sort_unstable();
    ranges
}
