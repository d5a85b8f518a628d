//! `index list`: the collections of this home.

use serde::Serialize;

use crate::home::Home;
use crate::index::Collection;
use crate::ops::error::Result;

use super::names::{collection_names, folder_of};

/// All collections.
#[derive(Debug, Serialize)]
pub struct IndexListReport {
    /// The collections, by name.
    pub collections: Vec<ListedCollection>,
}

/// One collection.
#[derive(Debug, Serialize)]
pub struct ListedCollection {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub roots: Vec<String>,
    /// How many passages can be searched.
    pub num_passages: u64,
    /// How many of them have a vector.
    pub num_vectors: u64,
    /// The embedder of the vectors.
    pub embedder: Option<String>,
    /// Why it cannot be searched.
    pub damage: Option<String>,
}

/// Lists the collections; a damaged one is listed with what is wrong.
///
/// # Errors
/// None today; a later version may need to read more.
pub fn index_list(home: &Home) -> Result<IndexListReport> {
    let collections = collection_names(home).into_iter().map(|name| listed(home, name)).collect();
    Ok(IndexListReport { collections })
}

fn listed(home: &Home, name: String) -> ListedCollection {
    let empty = ListedCollection {
        name: name.clone(),
        roots: Vec::new(),
        num_passages: 0,
        num_vectors: 0,
        embedder: None,
        damage: None,
    };
    match Collection::open(&folder_of(home, &name)) {
        Err(error) => ListedCollection { damage: Some(error.to_string()), ..empty },
        Ok(collection) => {
            let root = |root: &crate::index::Root| match &root.package {
                Some(package) => package.clone(),
                None => root.path.display().to_string(),
            };
            let vectors = collection.head().vectors.as_ref();
            ListedCollection {
                roots: collection.roots().roots.iter().map(root).collect(),
                num_passages: collection.head().num_passages,
                num_vectors: vectors.map_or(0, |vectors| vectors.num_vectors),
                embedder: collection.embedder().map(str::to_owned),
                ..empty
            }
        }
    }
}
