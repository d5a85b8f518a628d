//! Is an ONNX file whole? Its outermost protobuf fields are walked; each must end within the file.
//!
//! An ONNX file is one `ModelProto`: `ir_version` (1), `producer_name` (2) … `graph` (7), `opset_import` (8) ….
//! Each field is a varint key (number × 8 + wire type), then a varint, 8 bytes, a length with bytes, or 4 bytes.

use std::io::{Read, Seek, SeekFrom};

use super::cursor::Cursor;
use super::error::{GgufError, Result};

/// Field numbers of `ModelProto` in `onnx.proto`.
const KNOWN_FIELDS: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26];
const GRAPH: u64 = 7;
const OPSET_IMPORT: u64 = 8;
/// A model has a few opsets and metadata properties; a walk of more fields is a walk through noise.
const MAX_FIELDS: usize = 100_000;

/// True when the bytes begin as an ONNX file does: a small `ir_version`, then another known field.
pub(super) fn looks_like_onnx(start: &[u8]) -> bool {
    match start {
        [0x08, ir_version, key, ..] => {
            (1..=32).contains(ir_version)
                && KNOWN_FIELDS.contains(&u64::from(key >> 3))
                && matches!(key & 7, 0 | 2)
        }
        _ => false,
    }
}

/// Checks that every outermost field of an ONNX file lies in it, and that graph and opset are there.
///
/// # Errors
/// When reading fails, or the file is cut short or not ONNX.
pub fn check_onnx<R: Read + Seek>(reader: &mut R, file_bytes: u64) -> Result<()> {
    reader.seek(SeekFrom::Start(0))?;
    let mut cursor = Cursor::new(reader, file_bytes);
    let (mut has_graph, mut has_opset) = (false, false);
    for _ in 0..MAX_FIELDS {
        if cursor.remaining_bytes() == 0 {
            return match (has_graph, has_opset) {
                (true, true) => Ok(()),
                (false, _) => Err(GgufError::Onnx { reason: "it has no graph" }),
                (true, false) => Err(GgufError::Onnx { reason: "it names no operator set" }),
            };
        }
        let field = skip_field(&mut cursor)?;
        has_graph |= field == GRAPH;
        has_opset |= field == OPSET_IMPORT;
    }
    Err(GgufError::Onnx { reason: "it has too many fields" })
}

/// Steps over one field; returns its number.
fn skip_field<R: Read + Seek>(cursor: &mut Cursor<R>) -> Result<u64> {
    let key = varint(cursor)?;
    let field = key >> 3;
    if !KNOWN_FIELDS.contains(&field) {
        return Err(GgufError::Onnx { reason: "it has a field that ONNX does not know" });
    }
    let what = if field == GRAPH { "the ONNX graph" } else { "an ONNX field" };
    match key & 7 {
        0 => {
            varint(cursor)?;
        }
        1 => cursor.skip(8, what)?,
        2 => {
            let length = varint(cursor)?;
            cursor.skip(length, what)?;
        }
        5 => cursor.skip(4, what)?,
        _ => return Err(GgufError::Onnx { reason: "it has a field of no known kind" }),
    }
    Ok(field)
}

fn varint<R: Read + Seek>(cursor: &mut Cursor<R>) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = cursor.bytes::<1>("an ONNX field")?;
        value |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(GgufError::Onnx { reason: "it has a number without an end" })
}
