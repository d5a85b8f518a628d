//! Changing a collection: put and remove files, then commit. Nothing counts until the head is written.
//!
//! Damage found on the way in is repaired by leaving out what is damaged: files whose passages are lost
//! are forgotten (the caller reads them again), a damaged word index is built anew from the passages,
//! damaged vectors are dropped (the cache has them).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::digest::Sha256;
use crate::disk::{self, Lock};
use crate::passage::Passage;

use super::analyser::{ANALYSER_VERSION, Analyser};
use super::catalogue::{FileEntry, FileState, Roots};
use super::collection::{
    ROOTS_FILE, TEXTS_FOLDER, WORDS_FOLDER, live_ranges, open_words, read_files, read_roots, read_table,
};
use super::error::{IndexError, Result};
use super::head::{FORMAT, FileSeal, Head, SegmentHead, VectorsHead, damage, to_json};
use super::passages::{PassageReader, PassageWriter, parts_of};
use super::vectors::VectorTable;
use super::words::{WordIndex, WordWriter};

/// More files of passages than this are joined into one.
const MAX_SEGMENTS: usize = 24;
/// So many passages may belong to no file before the rest is written anew.
const MIN_DEAD_TO_JOIN: u64 = 1000;

/// A file as it was read just now.
pub struct NewFile<'a> {
    /// Its name within the collection.
    pub file: &'a str,
    /// Its root, as a place in the list of roots.
    pub root: usize,
    /// Its size.
    pub size_bytes: u64,
    /// When it was changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// What reading it gave.
    pub outcome: Outcome<'a>,
}

/// What reading a file gave.
pub enum Outcome<'a> {
    /// Passages; and the text that their spans point into, when that is not the file itself.
    Indexed {
        /// In order; at least one.
        passages: &'a [Passage],
        /// The extracted text.
        extracted: Option<&'a str>,
        /// Something the reader should know.
        note: Option<String>,
    },
    /// Nothing to search.
    Empty,
    /// A failure.
    Failed {
        /// Why.
        reason: String,
        /// True when it may go well the next time, though the file is the same.
        may_pass: bool,
    },
}

/// A change under way; dropping it changes nothing.
pub struct Update {
    folder: PathBuf,
    _lock: Lock,
    roots: Roots,
    roots_before: Option<Roots>,
    head: Option<Head>,
    files: BTreeMap<String, FileEntry>,
    repairs: Vec<String>,
    chunking: (u32, usize),
    new_passages: Option<PassageWriter>,
    words: Option<WordWriter>,
    analyser: Analyser,
    is_changed: bool,
    rebuilds_words: bool,
}

impl Update {
    /// Opens a collection for change, or starts it. `chunking` is the chunker's version and the most
    /// tokens of a passage; when they differ from the collection's, all its files are forgotten.
    ///
    /// # Errors
    /// When another process is changing it, when a newer localml wrote it, or when the disk refuses.
    pub fn begin(folder: &Path, name: &str, chunking: (u32, usize)) -> Result<Self> {
        let lock = Lock::acquire(&folder.join("lock"))?;
        let roots_before = match read_roots(folder) {
            Err(IndexError::NotFound { .. }) => None,
            roots => Some(roots?),
        };
        let mut update = Self {
            folder: folder.to_owned(),
            _lock: lock,
            roots: roots_before.clone().unwrap_or_else(|| Roots::new(name)),
            roots_before,
            head: None,
            files: BTreeMap::new(),
            repairs: Vec::new(),
            chunking,
            new_passages: None,
            words: None,
            analyser: Analyser::new(),
            is_changed: false,
            rebuilds_words: false,
        };
        update.load(name)?;
        Ok(update)
    }

    fn load(&mut self, name: &str) -> Result<()> {
        let loaded = Head::read(&self.folder, name).and_then(|head| {
            let Some(head) = head else { return Ok(None) };
            let files = read_files(&self.folder, &head, name)?;
            Ok(Some((head, files)))
        });
        let (mut head, files) = match loaded {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Ok(()),
            Err(error @ IndexError::Damaged { .. }) => {
                self.repairs.push(error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if (head.chunker_version, head.max_tokens) != self.chunking {
            self.repairs.push("passages are cut in a new way".into());
            return Ok(());
        }
        self.files = files.into_iter().map(|entry| (entry.file.clone(), entry)).collect();
        self.drop_damaged_segments(&mut head, name)?;
        self.check_words(&head, name)?;
        self.check_vectors(&mut head, name)?;
        self.head = Some(head);
        Ok(())
    }

    fn drop_damaged_segments(&mut self, head: &mut Head, name: &str) -> Result<()> {
        for segment in std::mem::take(&mut head.segments) {
            match segment.seal.check(&self.folder, name) {
                Ok(()) => head.segments.push(segment),
                Err(error @ IndexError::Damaged { .. }) => {
                    self.repairs.push(error.to_string());
                    self.files.retain(|_, entry| segment_of(entry) != Some(segment.number));
                    (self.is_changed, self.rebuilds_words) = (true, true);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn check_words(&mut self, head: &Head, name: &str) -> Result<()> {
        let reason = match open_words(&self.folder, head, name) {
            Ok(words) if words.generation()? > Some(head.generation) => {
                "the last change was interrupted".to_owned()
            }
            Ok(_) if head.analyser_version != ANALYSER_VERSION => "words are made in a new way".to_owned(),
            Ok(_) => return Ok(()),
            Err(error @ IndexError::Damaged { .. }) => error.to_string(),
            Err(error) => return Err(error),
        };
        self.repairs.push(reason);
        (self.is_changed, self.rebuilds_words) = (true, true);
        Ok(())
    }

    fn check_vectors(&mut self, head: &mut Head, name: &str) -> Result<()> {
        let Some(vectors) = &head.vectors else { return Ok(()) };
        let seals = std::iter::once(&vectors.seal).chain(vectors.graph.iter().map(|graph| &graph.seal));
        for seal in seals {
            match seal.check(&self.folder, name) {
                Ok(()) => {}
                Err(error @ IndexError::Damaged { .. }) => {
                    self.repairs.push(error.to_string());
                    self.is_changed = true;
                    head.vectors = None;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What was found damaged or outdated, one line each.
    pub fn repairs(&self) -> &[String] {
        &self.repairs
    }

    /// What the collection holds; to be added to.
    pub fn roots_mut(&mut self) -> &mut Roots {
        &mut self.roots
    }

    /// A file as it was when it was last read.
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.get(name)
    }

    /// All files of a root, by name.
    pub fn files_of(&self, root: usize) -> Vec<String> {
        self.files.values().filter(|entry| entry.root == root).map(|entry| entry.file.clone()).collect()
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.values()
    }

    /// Puts a file in place of what it was.
    ///
    /// # Errors
    /// When the disk or the word index refuses.
    pub fn put(&mut self, new: NewFile<'_>) -> Result<()> {
        self.remove(new.file)?;
        let state = match new.outcome {
            Outcome::Empty => FileState::Empty,
            Outcome::Failed { reason, may_pass } => FileState::Failed { reason, may_pass },
            Outcome::Indexed { passages: [], .. } => FileState::Empty,
            Outcome::Indexed { passages, extracted, note } => self.add_passages(passages, extracted, note)?,
        };
        let NewFile { file, root, size_bytes, mtime_ns, .. } = new;
        let entry = FileEntry { file: file.to_owned(), root, size_bytes, mtime_ns, state };
        self.files.insert(entry.file.clone(), entry);
        self.is_changed = true;
        Ok(())
    }

    fn add_passages(
        &mut self,
        passages: &[Passage],
        extracted: Option<&str>,
        note: Option<String>,
    ) -> Result<FileState> {
        let text = extracted.map(|text| self.store_text(text)).transpose()?;
        let mut first_id = None;
        for passage in passages {
            let id = self.passage_writer()?.add(passage)?;
            let first_id = *first_id.get_or_insert(id);
            if !self.rebuilds_words {
                let terms = self.analyser.passage_terms(passage);
                self.word_writer()?.add(id, first_id, terms)?;
            }
        }
        Ok(FileState::Indexed {
            first_id: first_id.unwrap_or_default(),
            num_passages: u32::try_from(passages.len()).unwrap_or(u32::MAX),
            language: passages.first().and_then(|passage| passage.language.clone()),
            text,
            note,
        })
    }

    /// Takes a file out; one that is not there is fine.
    ///
    /// # Errors
    /// When the word index refuses.
    pub fn remove(&mut self, file: &str) -> Result<()> {
        let Some(entry) = self.files.remove(file) else { return Ok(()) };
        self.is_changed = true;
        if let FileState::Indexed { first_id, .. } = entry.state
            && !self.rebuilds_words
        {
            self.word_writer()?.remove_file(first_id);
        }
        Ok(())
    }

    /// Makes the change durable; returns the head, which is the old one when nothing changed.
    ///
    /// # Errors
    /// When the disk or the word index refuses; the collection is then as it was before.
    pub fn commit(mut self) -> Result<Head> {
        if self.roots_before.as_ref() != Some(&self.roots) {
            disk::write_atomic(&self.folder.join(ROOTS_FILE), &to_json(&self.roots)?)?;
        }
        match self.head.take() {
            Some(head) if !self.is_changed => Ok(head),
            head => self.write(head),
        }
    }

    fn write(mut self, before: Option<Head>) -> Result<Head> {
        let generation = before.as_ref().map_or(1, |head| head.generation + 1).max(self.next_generation());
        let is_new = before.is_none();
        let (mut segments, mut vectors) =
            before.map(|head| (head.segments, head.vectors)).unwrap_or_default();
        if let Some(writer) = self.new_passages.take().filter(|writer| writer.len() > 0) {
            segments.push(writer.finish(&self.folder)?);
        }
        let ranges = live_ranges(self.files.values());
        count_dead(&mut segments, &ranges);
        if is_worth_joining(&segments) {
            segments = vec![self.join(&segments)?];
            vectors = None;
        }
        segments.retain(|segment| segment.num_dead < segment.num_passages);
        if self.rebuilds_words {
            self.rebuild_words(&segments)?;
        }
        if let Some(words) = self.words.take() {
            words.commit(generation)?;
        } else if is_new {
            self.new_words()?.writer()?.commit(generation)?;
        }
        let vectors = self.keep_live_vectors(vectors, generation)?;
        let head = self.new_head(generation, segments, vectors)?;
        head.write(&self.folder)?;
        remove_strangers(&self.folder, &head, &self.files);
        Ok(head)
    }

    /// Never a generation that left files behind.
    fn next_generation(&self) -> u64 {
        highest_number(&self.folder, "files-") + 1
    }

    fn new_head(
        &self,
        generation: u64,
        segments: Vec<SegmentHead>,
        vectors: Option<VectorsHead>,
    ) -> Result<Head> {
        let files_name = format!("files-{generation}.json");
        let entries: Vec<&FileEntry> = self.files.values().collect();
        disk::write_atomic(&self.folder.join(&files_name), &to_json(&entries)?)?;
        let mut languages = BTreeMap::new();
        let mut num_passages = 0;
        for entry in self.files.values() {
            if let FileState::Indexed { num_passages: count, language, .. } = &entry.state {
                num_passages += u64::from(*count);
                if let Some(language) = language {
                    *languages.entry(language.clone()).or_default() += u64::from(*count);
                }
            }
        }
        Ok(Head {
            format: FORMAT,
            generation,
            chunker_version: self.chunking.0,
            max_tokens: self.chunking.1,
            analyser_version: ANALYSER_VERSION,
            num_passages,
            languages,
            files: FileSeal::of(&self.folder, &files_name)?,
            segments,
            words: seal_words(&self.folder)?,
            vectors,
        })
    }

    /// Writes all passages that belong to a file into one new segment, with new ids.
    fn join(&mut self, segments: &[SegmentHead]) -> Result<SegmentHead> {
        let readers = self.readers(segments)?;
        let number = self.next_segment();
        let mut writer = PassageWriter::create(&self.folder, number)?;
        for entry in self.files.values_mut() {
            if let FileState::Indexed { first_id, num_passages, .. } = &mut entry.state {
                let old = *first_id;
                *first_id = super::passages::id_of(number, u32::try_from(writer.len()).unwrap_or(u32::MAX));
                for id in old..old + u64::from(*num_passages) {
                    writer.add(&read(&readers, id, &self.roots.name)?)?;
                }
            }
        }
        self.rebuilds_words = true;
        writer.finish(&self.folder)
    }

    fn rebuild_words(&mut self, segments: &[SegmentHead]) -> Result<()> {
        let readers = self.readers(segments)?;
        self.words = None;
        disk::remove_dir_all(&self.folder.join(WORDS_FOLDER))?;
        let mut words = self.new_words()?.writer()?;
        for (first, count) in live_ranges(self.files.values()) {
            for id in first..first + u64::from(count) {
                let passage = read(&readers, id, &self.roots.name)?;
                words.add(id, first, self.analyser.passage_terms(&passage))?;
            }
        }
        self.words = Some(words);
        Ok(())
    }

    fn readers(&self, segments: &[SegmentHead]) -> Result<HashMap<u32, PassageReader>> {
        let open = |segment: &SegmentHead| {
            Ok((segment.number, PassageReader::open(&self.folder, segment, &self.roots.name)?))
        };
        segments.iter().map(open).collect()
    }

    /// A passage that is gone must not be found by its vector.
    fn keep_live_vectors(&self, head: Option<VectorsHead>, generation: u64) -> Result<Option<VectorsHead>> {
        let Some(mut head) = head else { return Ok(None) };
        let table = read_table(&self.folder, &head, &self.roots.name)?;
        let ranges = live_ranges(self.files.values());
        if table.ids().all(|id| is_live(&ranges, id)) {
            return Ok(Some(head));
        }
        let mut live = VectorTable::new(table.dimensions());
        table.copy_to(&mut live, |id| is_live(&ranges, id));
        let name = format!("vectors-{generation}.lmv");
        disk::write_atomic(&self.folder.join(&name), live.as_bytes())?;
        head.seal = FileSeal::of(&self.folder, &name)?;
        head.num_vectors = live.len() as u64;
        Ok(Some(head))
    }

    fn store_text(&self, text: &str) -> Result<String> {
        let digest = Sha256::of(text.as_bytes()).to_string();
        let path = self.folder.join(TEXTS_FOLDER).join(format!("{digest}.txt"));
        if !path.exists() {
            disk::write_atomic(&path, text.as_bytes())?;
        }
        Ok(digest)
    }

    fn passage_writer(&mut self) -> Result<&mut PassageWriter> {
        if self.new_passages.is_none() {
            self.new_passages = Some(PassageWriter::create(&self.folder, self.next_segment())?);
        }
        self.new_passages.as_mut().ok_or_else(|| damage(&self.roots.name, "passages", "no writer".into()))
    }

    fn next_segment(&self) -> u32 {
        let highest = highest_number(&self.folder, "passages-");
        let in_head = self.head.iter().flat_map(|head| &head.segments).map(|segment| segment.number);
        in_head.max().unwrap_or(0).max(u32::try_from(highest).unwrap_or(u32::MAX - 1)) + 1
    }

    fn word_writer(&mut self) -> Result<&mut WordWriter> {
        if self.words.is_none() {
            let index = match &self.head {
                Some(_) => WordIndex::open(&self.folder.join(WORDS_FOLDER))?,
                None => self.new_words()?,
            };
            self.words = Some(index.writer()?);
        }
        self.words.as_mut().ok_or_else(|| damage(&self.roots.name, WORDS_FOLDER, "no writer".into()))
    }

    fn new_words(&self) -> Result<WordIndex> {
        let folder = self.folder.join(WORDS_FOLDER);
        disk::remove_dir_all(&folder)?;
        disk::create_dir_all(&folder)?;
        WordIndex::create(&folder)
    }
}

fn read(readers: &HashMap<u32, PassageReader>, id: u64, collection: &str) -> Result<Passage> {
    let (segment, place) = parts_of(id);
    let reader = readers
        .get(&segment)
        .ok_or_else(|| damage(collection, "files", format!("it names the unknown segment {segment}")))?;
    reader.get(place)
}

fn segment_of(entry: &FileEntry) -> Option<u32> {
    match &entry.state {
        FileState::Indexed { first_id, .. } => Some(parts_of(*first_id).0),
        FileState::Empty | FileState::Failed { .. } => None,
    }
}

fn count_dead(segments: &mut [SegmentHead], ranges: &[(u64, u32)]) {
    for segment in segments {
        let of_segment = ranges.iter().filter(|(first, _)| parts_of(*first).0 == segment.number);
        let num_live: u32 = of_segment.map(|(_, count)| count).sum();
        segment.num_dead = segment.num_passages.saturating_sub(num_live);
    }
}

fn is_worth_joining(segments: &[SegmentHead]) -> bool {
    let num_dead: u64 = segments.iter().map(|segment| u64::from(segment.num_dead)).sum();
    let num_all: u64 = segments.iter().map(|segment| u64::from(segment.num_passages)).sum();
    segments.len() > MAX_SEGMENTS || (num_dead > MIN_DEAD_TO_JOIN && num_dead * 3 > num_all)
}

pub(super) fn is_live(ranges: &[(u64, u32)], id: u64) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= id);
    after > 0 && id - ranges[after - 1].0 < u64::from(ranges[after - 1].1)
}

fn seal_words(folder: &Path) -> Result<Vec<FileSeal>> {
    let words = folder.join(WORDS_FOLDER);
    let mut names: Vec<String> = names_in(&words);
    // Locks and tantivy's list of files to remove later say nothing about the index.
    names.retain(|name| !name.starts_with('.') && !name.ends_with(".lock"));
    names.sort_unstable();
    names.iter().map(|name| FileSeal::of(folder, &format!("{WORDS_FOLDER}/{name}"))).collect()
}

/// Removes what neither the head nor a file of it names; what cannot be removed only takes space.
pub(super) fn remove_strangers(folder: &Path, head: &Head, files: &BTreeMap<String, FileEntry>) {
    let is_ours = |name: &str| {
        ["files-", "passages-", "vectors-", "graph-"].iter().any(|prefix| name.starts_with(prefix))
    };
    for name in names_in(folder) {
        if is_ours(&name) && !head.seals().any(|seal| seal.file == name) {
            let _ = disk::remove_file(&folder.join(name));
        }
    }
    let texts = folder.join(TEXTS_FOLDER);
    let is_named = |name: &str| {
        files.values().any(|entry| {
            matches!(&entry.state, FileState::Indexed { text: Some(digest), .. } if name.starts_with(digest))
        })
    };
    for name in names_in(&texts) {
        if !is_named(&name) {
            let _ = disk::remove_file(&texts.join(name));
        }
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// The highest number in the names `<prefix><number>.<extension>`.
fn highest_number(folder: &Path, prefix: &str) -> u64 {
    let number = |name: String| name.strip_prefix(prefix)?.split('.').next()?.parse::<u64>().ok();
    names_in(folder).into_iter().filter_map(number).max().unwrap_or(0)
}
