//! `index status`: how every file ended, and how far the vectors are.

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::index::{Collection, FileState};
use crate::ops::error::{Error, Result};

use super::names::{collection_names, folder_of};
use super::read::ProblemFile;

/// The state of the collections.
#[derive(Debug, Serialize)]
pub struct IndexStatusReport {
    /// The collections, by name.
    pub collections: Vec<CollectionStatus>,
}

/// The state of one collection.
#[derive(Debug, Serialize)]
pub struct CollectionStatus {
    /// Its name.
    pub name: String,
    /// Files with passages.
    pub num_indexed: u64,
    /// Files with nothing to search.
    pub num_empty: u64,
    /// Files that could not be read.
    pub num_failed: u64,
    /// How many passages can be searched.
    pub num_passages: u64,
    /// How many of them have a vector.
    pub num_vectors: u64,
    /// The embedder of the vectors.
    pub embedder: Option<String>,
    /// The languages of the passages, with how many there are of each.
    pub languages: std::collections::BTreeMap<String, u64>,
    /// Roots that are not there now.
    pub offline: Vec<String>,
    /// Files that are empty, failed, or need a word said about them.
    pub problems: Vec<ProblemFile>,
}

/// The state of the named collections, or of all.
///
/// # Errors
/// When one does not exist or is damaged.
pub fn index_status(home: &Home, names: &[String]) -> Result<IndexStatusReport> {
    let known = collection_names(home)?;
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no collection `{unknown}`"))
            .with_hint("`localml index list` shows all"));
    }
    let wanted = if names.is_empty() { &known } else { names };
    let collections = wanted.iter().map(|name| status_of(home, name)).collect::<Result<_>>()?;
    Ok(IndexStatusReport { collections })
}

fn status_of(home: &Home, name: &str) -> Result<CollectionStatus> {
    let collection = Collection::open(&folder_of(home, name))?;
    let head = collection.head();
    let offline = collection.roots().roots.iter().filter(|root| !root.path.exists());
    let mut status = CollectionStatus {
        name: name.to_owned(),
        num_indexed: 0,
        num_empty: 0,
        num_failed: 0,
        num_passages: head.num_passages,
        num_vectors: head.vectors.as_ref().map_or(0, |vectors| vectors.num_vectors),
        embedder: collection.embedder().map(str::to_owned),
        languages: head.languages.clone(),
        offline: offline.map(|root| root.path.display().to_string()).collect(),
        problems: Vec::new(),
    };
    for entry in collection.files()? {
        let mut problem = |state, reason| {
            status.problems.push(ProblemFile { file: entry.file.clone(), state, reason });
        };
        match entry.state {
            FileState::Indexed { note, .. } => {
                if let Some(note) = note {
                    problem("note", note);
                }
                status.num_indexed += 1;
            }
            FileState::Empty => {
                problem("empty", "there is no text in it (a scan?)".into());
                status.num_empty += 1;
            }
            FileState::Failed { reason, .. } => {
                problem("failed", reason);
                status.num_failed += 1;
            }
        }
    }
    Ok(status)
}
