//! `index refresh`: reads what changed since the last time, and completes the vectors.

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::index::{Head, Update};
use crate::ops::embedding::Embedders;
use crate::ops::error::{Error, Result, While as _};
use crate::progress::Monitor;

use super::names::{collection_names, folder_of};
use super::read::{ReadCounts, chunking, read_changes};
use super::vectors::{VectorCounts, embed_missing};

/// What indexing a collection came to.
#[derive(Debug, Serialize)]
pub struct IndexReport {
    /// The collection.
    pub name: String,
    /// How its files ended.
    pub files: ReadCounts,
    /// How many passages can be searched.
    pub num_passages: u64,
    /// The vectors; `None` when no embedder is installed, or it failed.
    pub vectors: Option<VectorCounts>,
    /// Why there are no vectors, or not all, although there is an embedder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_problem: Option<String>,
    /// What was damaged or outdated, and is repaired.
    pub repairs: Vec<String>,
}

impl IndexReport {
    /// True when the user stopped before all was done.
    pub fn is_interrupted(&self) -> bool {
        self.files.is_interrupted || self.vectors.as_ref().is_some_and(|vectors| vectors.is_interrupted)
    }
}

/// Refreshes the named collections, or all.
///
/// # Errors
/// When a collection does not exist, is being changed, or the disk is full.
pub fn index_refresh(
    home: &Home,
    names: &[String],
    embedders: &mut Embedders,
    monitor: &dyn Monitor,
) -> Result<Vec<IndexReport>> {
    let known = collection_names(home)?;
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no collection `{unknown}`"))
            .with_hint("`localml index list` shows all"));
    }
    let wanted = if names.is_empty() { &known } else { names };
    let mut reports = Vec::new();
    for name in wanted {
        let mut update = Update::begin(&folder_of(home, name), name, chunking())
            .while_doing(|| format!("could not refresh `{name}`"))?;
        match follow_packages(home, &mut update).while_doing(|| format!("could not refresh `{name}`")) {
            // What is indexed of it is found as before, and the others go on.
            Err(error) if names.is_empty() && error.kind() == ErrorKind::Damaged => {
                monitor.warn(&error.in_one_line());
                continue;
            }
            followed => followed?,
        }
        reports.push(finish(home, name, update, embedders, monitor)?);
    }
    Ok(reports)
}

/// A package's newer version lies in another folder.
fn follow_packages(home: &Home, update: &mut Update) -> Result<()> {
    for root in &mut update.roots_mut().roots {
        if let Some(package) = &root.package
            && let Some(folder) = super::add::package_folder(home, package)?
        {
            root.path = folder;
        }
    }
    Ok(())
}

/// Reads what changed, makes it searchable by words, then by meaning.
pub(super) fn finish(
    home: &Home,
    name: &str,
    mut update: Update,
    embedders: &mut Embedders,
    monitor: &dyn Monitor,
) -> Result<IndexReport> {
    let repairs = update.repairs().to_vec();
    for repair in &repairs {
        monitor.note(&format!("rebuilding a part of `{name}`: {repair}"));
    }
    let files = read_changes(home, &mut update, monitor)?;
    let head = update.commit()?;
    if files.num_read > 0 {
        monitor.note(&searchable(name, &head));
    }
    // What is searchable by words stays so when the embedder fails.
    let (vectors, vector_problem) = match embedders.for_languages(&head.languages) {
        Some(embedder) if !files.is_interrupted && head.num_passages > 0 => {
            match embed_missing(home, name, embedder, monitor) {
                Ok(counts) => (Some(counts), None),
                Err(error) => (None, Some(error.in_one_line())),
            }
        }
        _ => (None, None),
    };
    let (name, num_passages) = (name.to_owned(), head.num_passages);
    Ok(IndexReport { name, files, num_passages, vectors, vector_problem, repairs })
}

fn searchable(name: &str, head: &Head) -> String {
    format!("`{name}` can be searched by words now: {} passages", head.num_passages)
}
