//! Brings a collection's files up to date: what is new or changed is read, what is gone goes.

use std::collections::HashSet;

use serde::Serialize;

use crate::document::{self, CHUNKER_VERSION, ChunkOptions, Document, DocumentError, Encoding};
use crate::home::Home;
use crate::index::{FileState, NewFile, Outcome, Root, Update};
use crate::ops::error::Result;
use crate::progress::{Monitor, Task, Unit};

use super::walk::{Seen, Walk, walk};

/// How the files of a collection ended.
#[derive(Debug, Default, Serialize)]
pub struct ReadCounts {
    /// Files with passages, after the run.
    pub num_indexed: u64,
    /// Files with nothing to search.
    pub num_empty: u64,
    /// Files that could not be read.
    pub num_failed: u64,
    /// Files that were opened in this run.
    pub num_read: u64,
    /// Files that were as before, and not opened.
    pub num_unchanged: u64,
    /// Files that are gone and were taken out.
    pub num_removed: u64,
    /// Files that are no documents.
    pub num_others: u64,
    /// The bytes of the files that were opened.
    pub read_bytes: u64,
    /// Roots that are not there now; their files are kept.
    pub offline: Vec<String>,
    /// Files that are empty, failed, or need a word said about them.
    pub problems: Vec<ProblemFile>,
    /// True when the user stopped the run.
    pub is_interrupted: bool,
}

/// A file that is not simply indexed.
#[derive(Debug, Clone, Serialize)]
pub struct ProblemFile {
    /// Its name within the collection.
    pub file: String,
    /// `empty`, `failed` or `note`.
    pub state: &'static str,
    /// What is to be known about it.
    pub reason: String,
}

/// The chunker's version and the most tokens of a passage, as `Update::begin` wants them.
pub(super) fn chunking() -> (u32, usize) {
    (CHUNKER_VERSION, ChunkOptions::default().max_tokens)
}

/// Reads what changed under every root of the collection.
pub(super) fn read_changes(home: &Home, update: &mut Update, monitor: &dyn Monitor) -> Result<ReadCounts> {
    let mut counts = ReadCounts::default();
    let roots = update.roots_mut().roots.clone();
    let mut walks = Vec::new();
    for (place, root) in roots.iter().enumerate() {
        let walk = root.path.exists().then(|| walk(&root.path, home.root()));
        // The folder of a drive stays, empty, when the drive is not mounted.
        let walk = walk.filter(|walk| !walk.saw_nothing() || update.files_of(place).is_empty());
        if walk.is_none() {
            counts.offline.push(root.path.display().to_string());
        }
        walks.push(walk);
    }
    let total = walks.iter().flatten().flat_map(|walk| &walk.seen).map(|seen| seen.size_bytes).sum();
    let task = monitor.start("reading documents", Some(total), Unit::Bytes);
    for (place, (root, walk)) in roots.iter().zip(&walks).enumerate() {
        let Some(walk) = walk else { continue };
        counts.num_others += walk.num_others;
        read_root(update, (place, root), walk, &mut counts, (monitor, &*task))?;
    }
    drop(task);
    count_states(update, &mut counts);
    Ok(counts)
}

fn read_root(
    update: &mut Update,
    (place, root): (usize, &Root),
    walk: &Walk,
    counts: &mut ReadCounts,
    (monitor, task): (&dyn Monitor, &dyn Task),
) -> Result<()> {
    let mut names = HashSet::new();
    for seen in &walk.seen {
        if monitor.is_cancelled() {
            counts.is_interrupted = true;
            return Ok(());
        }
        let name = root.name_of(&seen.relative);
        if update.file(&name).is_some_and(|entry| entry.root != place) {
            let reason = format!("`{}` is passed over: another folder has this name", seen.path.display());
            counts.problems.push(ProblemFile { file: name, state: "note", reason });
            task.advance(seen.size_bytes);
            continue;
        }
        if is_unchanged(update, &name, seen) {
            counts.num_unchanged += 1;
        } else {
            read_file(update, place, &name, seen)?;
            counts.num_read += 1;
            counts.read_bytes += seen.size_bytes;
        }
        task.advance(seen.size_bytes);
        names.insert(name);
    }
    for name in update.files_of(place) {
        let relative = name.strip_prefix(&format!("{}/", root.label)).unwrap_or(&name);
        if !names.contains(&name) && !walk.may_hide(relative) {
            update.remove(&name)?;
            counts.num_removed += 1;
        }
    }
    Ok(())
}

/// A file that failed for a passing reason is tried again.
fn is_unchanged(update: &Update, name: &str, seen: &Seen) -> bool {
    update.file(name).is_some_and(|entry| {
        let is_final = !matches!(entry.state, FileState::Failed { may_pass: true, .. });
        entry.size_bytes == seen.size_bytes && entry.mtime_ns == seen.mtime_ns && is_final
    })
}

fn read_file(update: &mut Update, root: usize, name: &str, seen: &Seen) -> Result<()> {
    let read = document::read(&seen.path, seen.format);
    let passages = match &read {
        Ok(document) => document::chunk(document, name, &ChunkOptions::default()),
        Err(_) => Vec::new(),
    };
    let outcome = match &read {
        Err(error) => Outcome::Failed {
            reason: error.to_string(),
            // A file that took too long may have met a busy machine.
            may_pass: matches!(error, DocumentError::Io { .. } | DocumentError::TimedOut { .. }),
        },
        Ok(document) if document.is_empty() || passages.is_empty() => Outcome::Empty,
        Ok(document) => Outcome::Indexed {
            passages: &passages,
            extracted: document.is_extracted.then_some(document.text.as_str()),
            note: note_about(document),
        },
    };
    let new = NewFile { file: name, root, size_bytes: seen.size_bytes, mtime_ns: seen.mtime_ns, outcome };
    Ok(update.put(new)?)
}

/// What a reader of this document should know.
fn note_about(document: &Document) -> Option<String> {
    if document.encoding == Encoding::Latin1 {
        return Some("its encoding is not UTF-8; it was read as Latin-1, which is a guess".into());
    }
    if document.encoding == Encoding::DamagedUtf8 {
        return Some("some of its bytes are not UTF-8; they are shown as `�`".into());
    }
    match document.unreadable_pages.as_slice() {
        [] => None,
        [page] => Some(format!("page {page} has no readable text (a scan?)")),
        [first, .., last] => Some(format!(
            "{} of its pages, from {first} to {last}, have no readable text (scans?)",
            document.unreadable_pages.len()
        )),
    }
}

/// Counts how the files stand after the run.
fn count_states(update: &Update, counts: &mut ReadCounts) {
    for entry in update.files() {
        let problem = |state, reason: String| ProblemFile { file: entry.file.clone(), state, reason };
        match &entry.state {
            FileState::Indexed { note, .. } => {
                counts.num_indexed += 1;
                counts.problems.extend(note.clone().map(|note| problem("note", note)));
            }
            FileState::Empty => {
                counts.num_empty += 1;
                counts.problems.push(problem("empty", "there is no text in it (a scan?)".into()));
            }
            FileState::Failed { reason, .. } => {
                counts.num_failed += 1;
                counts.problems.push(problem("failed", reason.clone()));
            }
        }
    }
}
