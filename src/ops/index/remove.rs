//! `index remove`: a collection goes; the documents stay where they are.

use serde::Serialize;

use crate::disk::{self, Lock};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::ops::error::{Error, Result};

use super::names::{collection_names, folder_of, unfinished_names};

/// What was removed.
#[derive(Debug, Serialize)]
pub struct IndexRemoveReport {
    /// The collections.
    pub removed: Vec<String>,
}

/// Removes the indexes of the named collections, never the documents; what a first indexing has left that was cut off
/// goes too.
///
/// # Errors
/// When one does not exist (nothing is removed then) or is being changed.
pub fn index_remove(home: &Home, names: &[String]) -> Result<IndexRemoveReport> {
    let known = [collection_names(home)?, unfinished_names(home)?].concat();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no collection `{unknown}`"))
            .with_hint("`localml index list` shows all"));
    }
    for name in names {
        let folder = folder_of(home, name);
        let _lock = Lock::acquire(&folder.join("lock"))?;
        disk::remove_dir_all(&folder)?;
    }
    Ok(IndexRemoveReport { removed: names.to_vec() })
}
