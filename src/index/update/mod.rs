//! Changing a collection: put and remove files, then commit. Nothing counts until the head is written.
//!
//! Damage found on the way in is repaired by leaving out what is damaged: files whose passages are lost
//! count as failed (the caller reads them again), a damaged word index is built anew from the passages,
//! damaged vectors are dropped (the cache has them).

mod commit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::digest::Sha256;
use crate::disk::{self, Lock};
use crate::passage::Passage;

use super::analyser::{ANALYSER_VERSION, Analyser};
use super::catalogue::{FileEntry, FileState, Roots};
use super::collection::{ROOTS_FILE, TEXTS_FOLDER, WORDS_FOLDER, open_words, read_files, read_roots};
use super::error::{IndexError, Result};
use super::head::{Head, damage, to_json};
use super::passages::{PassageWriter, parts_of};
use super::words::{WordIndex, WordWriter};
pub(super) use commit::remove_strangers;

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
        disk::make_private_dir(folder)?;
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
                    self.forget_passages_of(segment.number);
                    (self.is_changed, self.rebuilds_words) = (true, true);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The files stay in the list, so that those of a folder that is not there now are not forgotten.
    fn forget_passages_of(&mut self, segment: u32) {
        for entry in self.files.values_mut().filter(|entry| segment_of(entry) == Some(segment)) {
            let reason = "its passages were damaged; it is read again when its folder is there".to_owned();
            entry.state = FileState::Failed { reason, may_pass: true };
        }
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

fn segment_of(entry: &FileEntry) -> Option<u32> {
    match &entry.state {
        FileState::Indexed { first_id, .. } => Some(parts_of(*first_id).0),
        FileState::Empty | FileState::Failed { .. } => None,
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
