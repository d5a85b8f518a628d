//! Embeds the passages that have no vector yet, in an order and at a pace that can be stopped any time.

use std::collections::HashSet;

use serde::Serialize;

use crate::home::Home;
use crate::index::{Collection, VectorCache, VectorKey, attach_vectors, embedded_text};
use crate::ops::embedding::Embeds;
use crate::ops::error::Result;
use crate::progress::{Monitor, Unit};

use super::names::folder_of;

/// So many passages are gathered, then sorted by length: texts of one length make full batches.
const WINDOW: usize = 512;
/// So many are embedded before they are saved and a stop is heard.
const BATCH: usize = 32;

/// How far the vectors are.
#[derive(Debug, Default, Serialize)]
pub struct VectorCounts {
    /// The embedder.
    pub embedder: String,
    /// Passages embedded in this run.
    pub num_new: u64,
    /// Passages whose text had been embedded before.
    pub num_reused: u64,
    /// Passages that have a vector now.
    pub num_vectors: u64,
    /// True when the user stopped the run.
    pub is_interrupted: bool,
}

/// Embeds what is missing; when stopped, what is done is kept and used.
pub(in crate::ops) fn embed_missing(
    home: &Home,
    name: &str,
    embedder: &mut dyn Embeds,
    monitor: &dyn Monitor,
) -> Result<VectorCounts> {
    let folder = folder_of(home, name);
    let identity = embedder.identity().to_owned();
    let dimensions = embedder.dimensions();
    let mut cache = VectorCache::open(&home.vector_cache(), &identity, dimensions)?;
    let mut counts = VectorCounts { embedder: identity.clone(), ..VectorCounts::default() };
    let collection = Collection::open(&folder)?;
    let missing = missing(&collection, &cache, &identity, &mut counts)?;
    let embedded = embed_all(&collection, &missing, (embedder, &mut cache), &mut counts, monitor);
    if embedded.is_ok() || counts.num_new > 0 {
        let head = attach_vectors(&folder, &cache, &identity, dimensions)?;
        counts.num_vectors = head.vectors.map_or(0, |vectors| vectors.num_vectors);
    }
    // What an embedder made before it failed is in use by now.
    embedded.map(|()| counts)
}

fn embed_all(
    collection: &Collection,
    missing: &[(u64, VectorKey)],
    (embedder, cache): (&mut dyn Embeds, &mut VectorCache),
    counts: &mut VectorCounts,
    monitor: &dyn Monitor,
) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let task = monitor.start("embedding passages", Some(missing.len() as u64), Unit::Items);
    for window in missing.chunks(WINDOW) {
        let mut texts = texts_of(collection, window)?;
        texts.sort_by_key(|(_, text)| text.len());
        for batch in texts.chunks(BATCH) {
            if monitor.is_cancelled() {
                counts.is_interrupted = true;
                return Ok(());
            }
            embed(batch, embedder, cache)?;
            counts.num_new += batch.len() as u64;
            task.advance(batch.len() as u64);
        }
    }
    Ok(())
}

fn embed(batch: &[(VectorKey, String)], embedder: &mut dyn Embeds, cache: &mut VectorCache) -> Result<()> {
    let texts: Vec<&str> = batch.iter().map(|(_, text)| text.as_str()).collect();
    let vectors = embedder.passages(&texts)?;
    let rows: Vec<_> = batch.iter().map(|(key, _)| *key).zip(vectors).collect();
    Ok(cache.add(&rows)?)
}

/// The passages whose text was never embedded, each text once.
fn missing(
    collection: &Collection,
    cache: &VectorCache,
    identity: &str,
    counts: &mut VectorCounts,
) -> Result<Vec<(u64, VectorKey)>> {
    let mut missing = Vec::new();
    let mut waiting = HashSet::new();
    for id in collection.passage_ids()? {
        let Some(passage) = collection.passage(id)? else { continue };
        let key = VectorKey::of(identity, &embedded_text(&passage));
        if cache.contains(&key) {
            counts.num_reused += 1;
        } else if waiting.insert(key) {
            missing.push((id, key));
        }
    }
    Ok(missing)
}

fn texts_of(collection: &Collection, window: &[(u64, VectorKey)]) -> Result<Vec<(VectorKey, String)>> {
    let mut texts = Vec::with_capacity(window.len());
    for (id, key) in window {
        if let Some(passage) = collection.passage(*id)? {
            texts.push((*key, embedded_text(&passage)));
        }
    }
    Ok(texts)
}
