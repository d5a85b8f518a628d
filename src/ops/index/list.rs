//! `index list`: the collections of this home.

use serde::Serialize;

use crate::home::Home;
use crate::index::Collection;
use crate::ops::error::Result;

use super::names::{collection_names, folder_of, unfinished_names};

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

/// Lists the collections; a damaged one, or one whose first indexing was cut off, is listed with what is wrong.
///
/// # Errors
/// When the folder of all collections cannot be read.
pub fn index_list(home: &Home) -> Result<IndexListReport> {
    let mut collections: Vec<ListedCollection> =
        collection_names(home)?.into_iter().map(|name| listed(home, name)).collect();
    for name in unfinished_names(home)? {
        let damage = format!(
            "its indexing was cut off at the start; `localml index remove {name}` removes what is left"
        );
        collections.push(ListedCollection { damage: Some(damage), ..empty(name) });
    }
    collections.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(IndexListReport { collections })
}

fn empty(name: String) -> ListedCollection {
    let (roots, embedder, damage) = (Vec::new(), None, None);
    ListedCollection { name, roots, num_passages: 0, num_vectors: 0, embedder, damage }
}

fn listed(home: &Home, name: String) -> ListedCollection {
    let empty = empty(name.clone());
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
