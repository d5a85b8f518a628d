//! Vectors on disk and in memory: 8 bits a number, one scale a vector, scanned exactly.
//!
//! ```text
//! "LMVECTS" 0x01 · u32 dimensions · u32 0 · u64 count          (little-endian)
//! count × [ u64 passage id · f32 scale · dimensions × i8 ]     sorted by id
//! ```
//!
//! `value ≈ scale × i8`, `scale = largest magnitude / 127`. The rounding error of a product of two vectors
//! of length 1 is below 0.5 %, less than what separates neighbours that matter.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::passage::Vector;

const MAGIC: &[u8; 8] = b"LMVECTS\x01";
const HEADER_BYTES: usize = 24;
/// Bytes of a row besides its numbers.
const ROW_HEAD_BYTES: usize = 12;

/// A table of vectors by passage id.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorTable {
    dimensions: usize,
    /// The file's bytes: header and rows.
    bytes: Vec<u8>,
}

/// A vector as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantized {
    pub(super) scale: f32,
    pub(super) values: Vec<i8>,
}

impl Quantized {
    pub(super) fn of(vector: &Vector) -> Self {
        let largest = vector.0.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = if largest.is_finite() { largest / 127.0 } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "rounded, and within ±127 by the scale")]
        let to_i8 = |value: &f32| if scale > 0.0 { (value / scale).round() as i8 } else { 0 };
        Self { scale, values: vector.0.iter().map(to_i8).collect() }
    }
}

impl VectorTable {
    /// Starts an empty table.
    pub fn new(dimensions: usize) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&u32::try_from(dimensions).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&[0; 12]);
        Self { dimensions, bytes }
    }

    /// Takes the bytes of a file, whose digest the caller has checked.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        let number = |at: usize, length: usize| {
            bytes
                .get(at..at + length)
                .map(|part| part.iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte)))
        };
        if bytes.get(..8) != Some(MAGIC) {
            return Err("it does not begin as a file of vectors does".into());
        }
        let (Some(dimensions), Some(count)) = (number(8, 4), number(16, 8)) else {
            return Err("it is cut short".into());
        };
        let row_bytes = ROW_HEAD_BYTES as u64 + dimensions;
        let expected = count.checked_mul(row_bytes).and_then(|rows| rows.checked_add(HEADER_BYTES as u64));
        if expected != Some(bytes.len() as u64) {
            return Err(format!("it has {} bytes, not {expected:?}", bytes.len()));
        }
        Ok(Self { dimensions: usize::try_from(dimensions).map_err(|error| error.to_string())?, bytes })
    }

    /// The file's bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The length of each vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        (self.bytes.len() - HEADER_BYTES) / (ROW_HEAD_BYTES + self.dimensions)
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// Appends a vector; ids must rise, and its length must be that of the table.
    pub fn push(&mut self, id: u64, vector: &Vector) {
        self.push_quantized(id, &Quantized::of(vector));
    }

    pub(super) fn push_quantized(&mut self, id: u64, vector: &Quantized) {
        debug_assert_eq!(vector.values.len(), self.dimensions, "the caller checks the dimensions");
        self.bytes.extend_from_slice(&id.to_le_bytes());
        self.bytes.extend_from_slice(&vector.scale.to_le_bytes());
        self.bytes.extend(vector.values.iter().map(|value| value.cast_unsigned()));
        let count = self.len() as u64;
        self.bytes[16..24].copy_from_slice(&count.to_le_bytes());
    }

    /// The ids that have a vector, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.rows().map(|row| row.0)
    }

    /// Each id with its vector, unpacked.
    pub(super) fn vectors(&self) -> impl Iterator<Item = (u64, Vec<f32>)> + '_ {
        self.rows().map(|(id, scale, values)| {
            (id, values.iter().map(|value| f32::from(value.cast_signed()) * scale).collect())
        })
    }

    /// Copies the rows whose id is wanted.
    pub(super) fn copy_to(&self, other: &mut Self, is_wanted: impl Fn(u64) -> bool) {
        for (id, scale, values) in self.rows().filter(|row| is_wanted(row.0)) {
            let values = values.iter().map(|value| value.cast_signed()).collect();
            other.push_quantized(id, &Quantized { scale, values });
        }
    }

    /// The product of the query with one passage's vector.
    pub(super) fn score(&self, id: u64, query: &Vector) -> Option<f32> {
        self.place_of(id).map(|place| product(self.row(place), &query.0))
    }

    /// The nearest vectors to the query among those with an id above `after`, best first.
    ///
    /// `query` has length 1 and as many numbers as the table's vectors.
    pub fn nearest(&self, query: &Vector, limit: usize, after: Option<u64>) -> Vec<(u64, f32)> {
        let start = after.map_or(0, |after| self.lower_bound(after.saturating_add(1)));
        let mut best: BinaryHeap<Scored> = BinaryHeap::with_capacity(limit + 1);
        for place in start..self.len() {
            let row = self.row(place);
            let scored = Scored { score: product(row, &query.0), id: row.0 };
            if best.len() < limit {
                best.push(scored);
            } else if best.peek().is_some_and(|worst| scored < *worst) {
                best.pop();
                best.push(scored);
            }
        }
        best.into_sorted_vec().into_iter().map(|scored| (scored.id, scored.score)).collect()
    }

    fn rows(&self) -> impl Iterator<Item = (u64, f32, &[u8])> + '_ {
        (0..self.len()).map(|place| self.row(place))
    }

    fn row(&self, place: usize) -> (u64, f32, &[u8]) {
        let start = HEADER_BYTES + place * (ROW_HEAD_BYTES + self.dimensions);
        let row = &self.bytes[start..start + ROW_HEAD_BYTES + self.dimensions];
        let mut id = [0; 8];
        id.copy_from_slice(&row[..8]);
        let mut scale = [0; 4];
        scale.copy_from_slice(&row[8..12]);
        (u64::from_le_bytes(id), f32::from_le_bytes(scale), &row[12..])
    }

    fn place_of(&self, id: u64) -> Option<usize> {
        let place = self.lower_bound(id);
        (place < self.len() && self.row(place).0 == id).then_some(place)
    }

    fn lower_bound(&self, id: u64) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle).0 < id { low = middle + 1 } else { high = middle }
        }
        low
    }
}

fn product((_, scale, values): (u64, f32, &[u8]), query: &[f32]) -> f32 {
    // Sixteen sums side by side, so that the compiler can use wide registers.
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (chunks, query_chunks) = (values.chunks_exact(LANES), query.chunks_exact(LANES));
    let rest = chunks.remainder().iter().zip(query_chunks.remainder());
    let tail: f32 = rest.map(|(value, query)| f32::from(value.cast_signed()) * query).sum();
    for (chunk, query) in chunks.zip(query_chunks) {
        for lane in 0..LANES {
            sums[lane] += f32::from(chunk[lane].cast_signed()) * query[lane];
        }
    }
    (sums.iter().sum::<f32>() + tail) * scale
}

/// Ordered so that the heap's greatest is the worst: the lowest score, then the highest id.
struct Scored {
    score: f32,
    id: u64,
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scored {}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> VectorTable {
        let mut table = VectorTable::new(3);
        table.push(2, &Vector::normalized(vec![1.0, 0.0, 0.0]));
        table.push(5, &Vector::normalized(vec![0.0, 1.0, 0.0]));
        table.push(9, &Vector::normalized(vec![1.0, 1.0, 0.0]));
        table
    }

    #[test]
    fn finds_the_nearest_first_and_can_begin_after_an_id() {
        let query = Vector::normalized(vec![1.0, 0.2, 0.0]);
        let nearest: Vec<u64> = table().nearest(&query, 2, None).iter().map(|(id, _)| *id).collect();
        assert_eq!(nearest, [2, 9]);
        assert_eq!(table().nearest(&query, 5, Some(2)).len(), 2);
        // 1/√1.04 = 0.9806.
        assert!((table().score(2, &query).expect("there") - 0.9806).abs() < 0.005);
        assert!(table().score(3, &query).is_none());
    }

    #[test]
    fn bytes_survive_a_round_trip_and_damage_is_named() {
        let bytes = table().as_bytes().to_vec();
        assert_eq!(VectorTable::from_bytes(bytes.clone()), Ok(table()));
        assert!(VectorTable::from_bytes(bytes[..bytes.len() - 1].to_vec()).is_err());
        assert!(VectorTable::from_bytes(vec![0; 30]).is_err());
        let mut huge = bytes;
        huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(VectorTable::from_bytes(huge).is_err());
    }
}
