//! Gives a collection the vectors that the cache has for its passages.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk::{self, Lock};

use super::collection::Collection;
use super::error::Result;
use super::graph::{Graph, MIN_VECTORS};
use super::head::{FileSeal, Head, VectorsHead};
use super::update::remove_strangers;
use super::vector_cache::{VectorCache, VectorKey, embedded_text};
use super::vectors::VectorTable;

/// Writes the vectors of every passage that the cache knows, then the head.
///
/// Passages without one are still found by their words; called again later, it completes the rest.
///
/// # Errors
/// When the collection is damaged or being changed, or the disk is full; it is then as it was before.
pub fn attach_vectors(folder: &Path, cache: &VectorCache, embedder: &str, dimensions: usize) -> Result<Head> {
    let _lock = Lock::acquire(&folder.join("lock"))?;
    let collection = Collection::open(folder)?;
    let mut table = VectorTable::new(dimensions);
    for id in collection.passage_ids()? {
        let Some(passage) = collection.passage(id)? else { continue };
        if let Some(vector) = cache.get(&VectorKey::of(embedder, &embedded_text(&passage)))? {
            table.push_quantized(id, &vector);
        }
    }
    write(folder, &collection, &table, embedder)
}

fn write(folder: &Path, collection: &Collection, table: &VectorTable, embedder: &str) -> Result<Head> {
    let mut head = collection.head().clone();
    let seal_of_before = head.vectors.as_ref().map(|vectors| vectors.seal.sha256);
    let generation = head.generation + 1;
    let name = format!("vectors-{generation}.lmv");
    if seal_of_before == Some(crate::digest::Sha256::of(table.as_bytes())) {
        return Ok(head);
    }
    disk::write_atomic(&folder.join(&name), table.as_bytes())?;
    let is_complete = table.len() as u64 >= head.num_passages;
    let graph = if is_complete && table.len() >= MIN_VECTORS {
        Some(Graph::build(table, folder, &format!("graph-{generation}.usearch"))?)
    } else {
        None
    };
    head.vectors = Some(VectorsHead {
        embedder: embedder.to_owned(),
        dimensions: table.dimensions(),
        num_vectors: table.len() as u64,
        seal: FileSeal::of(folder, &name)?,
        graph,
    });
    head.generation = generation;
    head.write(folder)?;
    let files: BTreeMap<_, _> =
        collection.files()?.into_iter().map(|entry| (entry.file.clone(), entry)).collect();
    remove_strangers(folder, &head, &files);
    Ok(head)
}
