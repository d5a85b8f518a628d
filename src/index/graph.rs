//! A neighbour graph (HNSW, by usearch) over the vectors of a large collection.
//!
//! A scan reads every vector: 100,000 of 384 numbers are 38 MB and some milliseconds. Above
//! `MIN_VECTORS` the graph is faster; it is opened only after its digest was checked, because usearch
//! trusts what it reads.

use std::fs::File;
use std::path::Path;

use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use crate::disk;
use crate::passage::Vector;

use super::error::{IndexError, Result};
use super::head::{FileSeal, GraphHead};
use super::vectors::VectorTable;

/// From this many vectors on, a graph is built.
pub(super) const MIN_VECTORS: usize = 200_000;
/// How many candidates are looked at for one that is wanted.
const EXPANSION: usize = 2;

/// An open graph.
pub(super) struct Graph {
    index: Index,
    last_id: u64,
}

impl Graph {
    /// Builds the graph of a table and writes it to `folder`.
    pub(super) fn build(table: &VectorTable, folder: &Path, file: &str) -> Result<GraphHead> {
        let index = new_index(table.dimensions())?;
        index.reserve_capacity_and_threads(table.len(), 1).map_err(failed)?;
        let mut last_id = 0;
        for (id, vector) in table.vectors() {
            index.add(id, &vector).map_err(failed)?;
            last_id = id;
        }
        let path = folder.join(file);
        index.save(path_text(&path)?).map_err(failed)?;
        // The head that names it must not reach the disk before it.
        let on_path = |source| IndexError::Io { path: path.clone(), source };
        File::open(&path).and_then(|file| file.sync_all()).map_err(on_path)?;
        disk::sync_dir(folder)?;
        Ok(GraphHead { num_vectors: table.len() as u64, last_id, seal: FileSeal::of(folder, file)? })
    }

    /// Checks the file's digest, then maps it into memory.
    pub(super) fn open(head: &GraphHead, dimensions: usize, folder: &Path, collection: &str) -> Result<Self> {
        head.seal.check(folder, collection)?;
        let index = new_index(dimensions)?;
        index.view(path_text(&folder.join(&head.seal.file))?).map_err(failed)?;
        Ok(Self { index, last_id: head.last_id })
    }

    /// The nearest vectors, best first; ids that the table no longer has are left out, later ones are
    /// scanned, and the scores are the table's own.
    pub(super) fn nearest(
        &self,
        table: &VectorTable,
        query: &Vector,
        limit: usize,
    ) -> Result<Vec<(u64, f32)>> {
        let matches = self.index.search(&query.0, limit * EXPANSION).map_err(failed)?;
        let scored = |id: &u64| Some((*id, table.score(*id, query)?));
        let mut hits: Vec<(u64, f32)> = matches.keys.iter().filter_map(scored).collect();
        hits.extend(table.nearest(query, limit, Some(self.last_id)));
        hits.sort_unstable_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        hits.truncate(limit);
        Ok(hits)
    }
}

fn new_index(dimensions: usize) -> Result<Index> {
    let options = IndexOptions {
        dimensions,
        metric: MetricKind::Cos,
        quantization: ScalarKind::I8,
        ..IndexOptions::default()
    };
    Index::new(&options).map_err(failed)
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| IndexError::Graph(format!("`{}` is not UTF-8", path.display())))
}

fn failed(error: impl std::fmt::Display) -> IndexError {
    IndexError::Graph(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors on a quarter circle, the id being the degree.
    fn table() -> VectorTable {
        let mut table = VectorTable::new(16);
        for degree in 0..90_u16 {
            let angle = f32::from(degree).to_radians();
            let mut values = vec![0.0; 16];
            (values[0], values[1]) = (angle.cos(), angle.sin());
            table.push(u64::from(degree), &Vector(values));
        }
        table
    }

    #[test]
    fn finds_what_the_scan_finds_and_refuses_a_damaged_file() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let table = table();
        let head = Graph::build(&table, folder.path(), "graph-1.usearch").expect("built");
        let graph = Graph::open(&head, 16, folder.path(), "docs").expect("sealed as built");
        let mut query = vec![0.0; 16];
        (query[0], query[1]) = (30.0_f32.to_radians().cos(), 30.0_f32.to_radians().sin());
        let query = Vector(query);
        let exact = table.nearest(&query, 5, None);
        assert_eq!(graph.nearest(&table, &query, 5).expect("found"), exact);

        let path = folder.path().join("graph-1.usearch");
        let mut bytes = std::fs::read(&path).expect("readable");
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).expect("room");
        let opened = Graph::open(&head, 16, folder.path(), "docs");
        assert!(matches!(opened, Err(IndexError::Damaged { .. })));
    }
}
