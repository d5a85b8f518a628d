//! Vectors by content, so that moved, duplicated and re-added text is never embedded twice.
//!
//! ```text
//! cache/vectors/<first 12 digits of sha256(embedder)>.lmc
//! "LMVCACHE" · u32 version · u32 dimensions                              (little-endian)
//! … × [ 32 B key · f32 scale · dimensions × i8 · 4 B first of sha256(row before it) ]
//! ```
//!
//! It only grows, row by row, so that work that was interrupted goes on where it was; a torn or flipped
//! row is not used.

use std::collections::HashMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::digest::{Hasher, Sha256};
use crate::disk::{self, DiskError, Lock, StagingFile};
use crate::passage::{Passage, Vector};

use super::error::{IndexError, Result};
use super::vectors::Quantized;

const MAGIC: &[u8; 8] = b"LMVCACHE";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 16;
/// Bytes of a row besides its numbers.
const ROW_EXTRA_BYTES: usize = 32 + 4 + 4;
/// Another process that appends is waited for, 30 seconds at most.
const LOCK_TRIES: u32 = 600;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What a vector is of: the embedder, the way texts are made, the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VectorKey(Sha256);

impl VectorKey {
    /// The key of a text as it is given to the embedder.
    pub fn of(embedder: &str, text: &str) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(b"localml vector 1\n");
        hasher.update(embedder.as_bytes());
        hasher.update(b"\n");
        hasher.update(text.as_bytes());
        Self(hasher.finish())
    }
}

/// The text that stands for a passage before an embedder: its headings, then itself.
pub fn embedded_text(passage: &Passage) -> String {
    if passage.heading_path.is_empty() {
        return passage.text.clone();
    }
    format!("{}\n{}", passage.heading_path.join(" > "), passage.text)
}

/// The vectors of one embedder that were ever computed here.
pub struct VectorCache {
    file: StagingFile,
    dimensions: usize,
    /// Where each key's row begins.
    rows: HashMap<VectorKey, u64>,
    end: u64,
}

impl VectorCache {
    /// Opens the cache of an embedder, or starts it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(folder: &Path, embedder: &str, dimensions: usize) -> Result<Self> {
        disk::make_private_dir(folder)?;
        let name = format!("{}.lmc", Sha256::of(embedder.as_bytes()).short());
        let file = StagingFile::open(&folder.join(name))?;
        let mut cache = Self { file, dimensions, rows: HashMap::new(), end: HEADER_BYTES };
        if !cache.has_header()? {
            cache.start_anew()?;
        }
        cache.read_rows()?;
        Ok(cache)
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// True when this text was embedded before.
    pub fn contains(&self, key: &VectorKey) -> bool {
        self.rows.contains_key(key)
    }

    /// Appends vectors and brings them to the disk.
    ///
    /// # Errors
    /// When a vector has another length than the cache's, or the disk is full.
    pub fn add(&mut self, vectors: &[(VectorKey, Vector)]) -> Result<()> {
        let mut bytes = Vec::with_capacity(vectors.len() * self.row_bytes());
        for (key, vector) in vectors {
            if vector.0.len() != self.dimensions {
                return Err(IndexError::Dimensions { found: vector.0.len(), expected: self.dimensions });
            }
            let start = bytes.len();
            let quantized = Quantized::of(vector);
            bytes.extend_from_slice(key.0.as_bytes());
            bytes.extend_from_slice(&quantized.scale.to_le_bytes());
            bytes.extend(quantized.values.iter().map(|value| value.cast_unsigned()));
            let check = check_of(&bytes[start..]);
            bytes.extend_from_slice(&check);
        }
        let _lock = self.lock()?;
        let start = self.first_free_row()?;
        self.file.write_at(&bytes, start)?;
        self.file.sync()?;
        for ((key, _), place) in vectors.iter().zip(0_u64..) {
            self.rows.insert(*key, start + place * self.row_bytes() as u64);
        }
        self.end = start + bytes.len() as u64;
        Ok(())
    }

    /// Rows are appended by one process at a time; each holds the lock for a moment only.
    fn lock(&self) -> Result<Lock> {
        let path = self.file.path().with_extension("lock");
        for _ in 0..LOCK_TRIES {
            match Lock::acquire(&path) {
                Err(DiskError::Locked { .. }) => thread::sleep(LOCK_PAUSE),
                taken => return Ok(taken?),
            }
        }
        Ok(Lock::acquire(&path)?)
    }

    /// Where the next row goes: after those that other processes have appended meanwhile.
    fn first_free_row(&self) -> Result<u64> {
        let rows_bytes = self.file.size_bytes()?.saturating_sub(HEADER_BYTES);
        Ok(HEADER_BYTES + rows_bytes - rows_bytes % self.row_bytes() as u64)
    }

    /// The vector of a text, if it was embedded before. A row that changed since it was noted is not used.
    ///
    /// # Errors
    /// When reading fails.
    pub(super) fn get(&self, key: &VectorKey) -> Result<Option<Quantized>> {
        let Some(offset) = self.rows.get(key) else { return Ok(None) };
        let mut row = vec![0; self.row_bytes()];
        let count = self.file.read_at(&mut row, *offset)?;
        let (body, check) = row.split_at(row.len() - 4);
        if count < row.len() || !body.starts_with(key.0.as_bytes()) || check_of(body) != check {
            return Ok(None);
        }
        let mut scale = [0; 4];
        scale.copy_from_slice(&row[32..36]);
        let values = row[36..36 + self.dimensions].iter().map(|value| value.cast_signed()).collect();
        Ok(Some(Quantized { scale: f32::from_le_bytes(scale), values }))
    }

    /// The vector of a text, unpacked.
    ///
    /// # Errors
    /// When reading fails.
    pub fn vector(&self, key: &VectorKey) -> Result<Option<Vector>> {
        let unpack = |quantized: Quantized| {
            Vector(quantized.values.iter().map(|value| f32::from(*value) * quantized.scale).collect())
        };
        Ok(self.get(key)?.map(unpack))
    }

    fn has_header(&self) -> Result<bool> {
        let mut header = [0; 16];
        let count = self.file.read_at(&mut header, 0)?;
        Ok(count == header.len() && header == self.header())
    }

    fn header(&self) -> [u8; 16] {
        let mut header = [0; 16];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..].copy_from_slice(&u32::try_from(self.dimensions).unwrap_or(u32::MAX).to_le_bytes());
        header
    }

    /// A cache can always be computed again.
    fn start_anew(&self) -> Result<()> {
        self.file.truncate(0)?;
        self.file.write_at(&self.header(), 0)?;
        Ok(())
    }

    /// Notes where each whole row begins, a thousand rows at a time.
    fn read_rows(&mut self) -> Result<()> {
        let row_bytes = self.row_bytes();
        let mut buffer = vec![0; row_bytes * 1024];
        loop {
            let count = self.file.read_at(&mut buffer, self.end)?;
            let whole = count - count % row_bytes;
            for row in buffer[..whole].chunks_exact(row_bytes) {
                let (body, check) = row.split_at(row_bytes - 4);
                if check_of(body) == check {
                    let mut key = [0; 32];
                    key.copy_from_slice(&body[..32]);
                    self.rows.insert(VectorKey(Sha256::from_bytes(key)), self.end);
                }
                self.end += row_bytes as u64;
            }
            if whole < buffer.len() {
                return Ok(());
            }
        }
    }

    fn row_bytes(&self) -> usize {
        ROW_EXTRA_BYTES + self.dimensions
    }
}

fn check_of(body: &[u8]) -> [u8; 4] {
    let digest = Sha256::of(body);
    let mut check = [0; 4];
    check.copy_from_slice(&digest.as_bytes()[..4]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_across_runs_and_drops_a_torn_row() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let (first, second) = (VectorKey::of("e", "one"), VectorKey::of("e", "two"));
        let vector = Vector::normalized(vec![3.0, 4.0]);
        let mut cache = VectorCache::open(folder.path(), "e", 2).expect("new");
        cache.add(&[(first, vector.clone()), (second, vector.clone())]).expect("room");
        let end = cache.end;
        cache.file.truncate(end - 1).expect("cut");
        let again = VectorCache::open(folder.path(), "e", 2).expect("old");
        assert!(again.contains(&first) && !again.contains(&second));
        // 0.8 → 127, 0.6 → 95.25 → 95.
        assert_eq!(again.get(&first).expect("readable").expect("there").values, [95, 127]);
        assert!((again.vector(&first).expect("readable").expect("there").dot(&vector) - 1.0).abs() < 0.01);
    }

    #[test]
    fn two_that_append_at_once_do_not_mix_up_vectors() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let mut left = VectorCache::open(folder.path(), "e", 2).expect("new");
        let mut right = VectorCache::open(folder.path(), "e", 2).expect("old");
        let (one, two) = (VectorKey::of("e", "one"), VectorKey::of("e", "two"));
        left.add(&[(one, Vector::normalized(vec![1.0, 0.0]))]).expect("room");
        right.add(&[(two, Vector::normalized(vec![0.0, 1.0]))]).expect("room");
        let values = |cache: &VectorCache, key| cache.get(key).expect("readable").map(|row| row.values);
        assert_eq!(values(&left, &one), Some(vec![127, 0]));
        assert_eq!(values(&right, &two), Some(vec![0, 127]));
        let again = VectorCache::open(folder.path(), "e", 2).expect("both");
        assert_eq!((values(&again, &one), values(&again, &two)), (Some(vec![127, 0]), Some(vec![0, 127])));
    }

    #[test]
    fn a_row_that_became_that_of_another_is_not_used() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let (one, two) = (VectorKey::of("e", "one"), VectorKey::of("e", "two"));
        let mut cache = VectorCache::open(folder.path(), "e", 2).expect("new");
        cache.add(&[(one, Vector::normalized(vec![1.0, 0.0]))]).expect("room");
        cache.file.truncate(HEADER_BYTES).expect("cut");
        let mut other = VectorCache::open(folder.path(), "e", 2).expect("old");
        other.add(&[(two, Vector::normalized(vec![0.0, 1.0]))]).expect("room");
        assert!(cache.get(&one).expect("readable").is_none());
    }

    #[test]
    fn keys_differ_by_embedder_and_text() {
        assert_ne!(VectorKey::of("a", "x"), VectorKey::of("b", "x"));
        assert_ne!(VectorKey::of("a", "x"), VectorKey::of("a", "y"));
    }
}
