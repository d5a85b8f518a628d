//! Tensor descriptions: reading one, and checking that all of them lie in the file without sharing bytes.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::cursor::Cursor;
use super::error::{GgufError, Result};
use super::tensor_type::block_of;

/// ggml keeps a name in 64 bytes, the last of them zero.
const MAX_NAME_BYTES: u64 = 63;
/// ggml's own bound.
const MAX_DIMENSIONS: u32 = 4;

/// One tensor: its name and where its bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, for example `blk.0.attn_q.weight`.
    pub name: String,
    /// Its dimensions, the fastest-moving first.
    pub dimensions: Vec<u64>,
    /// How its numbers are stored, as `ggml_type` numbers it.
    pub type_id: u32,
    /// Where its bytes begin, counted from the start of the tensor data.
    pub offset: u64,
    /// How many bytes it has.
    pub size_bytes: u64,
}

pub(super) fn read_tensors<R: Read + Seek>(cursor: &mut Cursor<R>, count: u64) -> Result<Vec<TensorInfo>> {
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for _ in 0..count {
        let tensor = read_tensor(cursor)?;
        if !names.insert(tensor.name.clone()) {
            return Err(fault(tensor.name, "its name stands twice"));
        }
        tensors.push(tensor);
    }
    Ok(tensors)
}

fn read_tensor<R: Read + Seek>(cursor: &mut Cursor<R>) -> Result<TensorInfo> {
    let name = cursor.short_text(MAX_NAME_BYTES, "bytes of a tensor's name")?;
    let num_dimensions = cursor.u32("a tensor description")?;
    if num_dimensions > MAX_DIMENSIONS {
        return Err(fault(name, "it has more than 4 dimensions"));
    }
    let mut dimensions = Vec::new();
    for _ in 0..num_dimensions {
        dimensions.push(cursor.u64("a tensor description")?);
    }
    let type_id = cursor.u32("a tensor description")?;
    let offset = cursor.u64("a tensor description")?;
    let Some(block) = block_of(type_id) else {
        return Err(GgufError::UnknownTensorType { name, type_id });
    };
    match size_bytes(&dimensions, block) {
        Ok(size_bytes) => Ok(TensorInfo { name, dimensions, type_id, offset, size_bytes }),
        Err(reason) => Err(fault(name, reason)),
    }
}

fn size_bytes(
    dimensions: &[u64],
    (block_numbers, block_bytes): (u64, u64),
) -> std::result::Result<u64, &'static str> {
    let row = dimensions.first().copied().unwrap_or(1);
    if !row.is_multiple_of(block_numbers) {
        return Err("its rows are not whole blocks");
    }
    let mut size = row / block_numbers;
    for factor in dimensions.iter().skip(1).copied().chain([block_bytes]) {
        size = size.checked_mul(factor).ok_or("its size is beyond all measure")?;
    }
    // ggml counts elements in signed 64-bit numbers.
    if dimensions.iter().try_fold(1i64, |all, one| all.checked_mul(i64::try_from(*one).ok()?)).is_none() {
        return Err("its size is beyond all measure");
    }
    Ok(size)
}

/// Checks that every tensor is aligned, ends within the `data_bytes` after the header, and has its bytes alone.
pub(super) fn check_extents(
    tensors: &[TensorInfo],
    alignment: u64,
    data_start: u64,
    file_bytes: u64,
) -> Result<()> {
    let mut in_order: Vec<&TensorInfo> = tensors.iter().collect();
    in_order.sort_by_key(|tensor| (tensor.offset, tensor.size_bytes));
    let mut previous: Option<&TensorInfo> = None;
    for tensor in in_order {
        if !tensor.offset.is_multiple_of(alignment) {
            return Err(fault(tensor.name.clone(), "it is not aligned"));
        }
        let begin = data_start.checked_add(tensor.offset);
        let end = begin.and_then(|begin| begin.checked_add(tensor.size_bytes));
        if end.is_none_or(|end| end > file_bytes) {
            return Err(GgufError::CutShort {
                what: format!("tensor `{}`", tensor.name),
                needed_bytes: tensor.size_bytes,
                at: begin.unwrap_or(u64::MAX),
                file_bytes,
            });
        }
        // The sums below cannot wrap: both ends lie in the file.
        if let Some(before) = previous.filter(|before| before.offset + before.size_bytes > tensor.offset) {
            return Err(GgufError::Overlap { first: before.name.clone(), second: tensor.name.clone() });
        }
        previous = Some(tensor);
    }
    Ok(())
}

fn fault(name: String, reason: &'static str) -> GgufError {
    GgufError::Tensor { name, reason }
}
