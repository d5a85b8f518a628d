//! Metadata values: what kinds there are, and reading one.

use std::io::{Read, Seek};

use super::cursor::Cursor;
use super::error::{GgufError, Result};

/// How many elements of one integer array are kept: enough for one number a layer.
const MAX_KEPT_NUMBERS: u64 = 1024;

/// The kinds of value, numbered as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// 8 bits, unsigned.
    U8,
    /// 8 bits, signed.
    I8,
    /// 16 bits, unsigned.
    U16,
    /// 16 bits, signed.
    I16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, signed.
    I32,
    /// 32-bit floating point.
    F32,
    /// One byte, 0 or 1.
    Bool,
    /// Length and bytes.
    Text,
    /// Kind, count and elements.
    Array,
    /// 64 bits, unsigned.
    U64,
    /// 64 bits, signed.
    I64,
    /// 64-bit floating point.
    F64,
}

const KINDS: [ValueKind; 13] = [
    ValueKind::U8,
    ValueKind::I8,
    ValueKind::U16,
    ValueKind::I16,
    ValueKind::U32,
    ValueKind::I32,
    ValueKind::F32,
    ValueKind::Bool,
    ValueKind::Text,
    ValueKind::Array,
    ValueKind::U64,
    ValueKind::I64,
    ValueKind::F64,
];

impl ValueKind {
    fn of(number: u32) -> Option<Self> {
        KINDS.get(number as usize).copied()
    }

    /// The bytes of one value; `None` where they vary.
    fn size_bytes(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }
}

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any whole number; `kind` says how it is stored.
    Integer {
        /// How it is stored.
        kind: ValueKind,
        /// The number.
        number: i128,
    },
    /// A floating-point number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// Text; bytes that are not UTF-8 are replaced.
    Text(String),
    /// Text that was too long to keep.
    LongText,
    /// An array. Only short arrays of whole numbers keep their elements.
    Array {
        /// What its elements are.
        element: ValueKind,
        /// How many there are.
        count: u64,
        /// The elements, where they are whole numbers, at most 1,024, and among the file's first 65,536.
        numbers: Vec<i128>,
    },
}

impl Value {
    /// The value as a count: a whole number not below zero. Of an array (one number a layer), the largest.
    pub fn as_count(&self) -> Option<u64> {
        match self {
            Self::Integer { number, .. } => u64::try_from(*number).ok(),
            Self::Array { numbers, .. } => u64::try_from(*numbers.iter().max()?).ok(),
            _ => None,
        }
    }

    /// The value as text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Reads kind and value of the entry `key`.
    pub(super) fn read<R: Read + Seek>(cursor: &mut Cursor<R>, key: &str) -> Result<Self> {
        let kind = read_kind(cursor, key)?;
        match kind {
            ValueKind::Text => Ok(cursor.text(key)?.map_or(Self::LongText, Self::Text)),
            ValueKind::Array => read_array(cursor, key),
            ValueKind::F32 => Ok(Self::Float(f64::from(f32::from_le_bytes(cursor.bytes(key)?)))),
            ValueKind::F64 => Ok(Self::Float(f64::from_le_bytes(cursor.bytes(key)?))),
            ValueKind::Bool => Ok(Self::Bool(cursor.bytes::<1>(key)? != [0])),
            _ => Ok(Self::Integer { kind, number: read_integer(cursor, kind, key)? }),
        }
    }
}

fn read_kind<R: Read + Seek>(cursor: &mut Cursor<R>, key: &str) -> Result<ValueKind> {
    let number = cursor.u32(key)?;
    ValueKind::of(number)
        .ok_or_else(|| GgufError::Metadata { key: key.to_owned(), reason: "its kind of value is not known" })
}

fn read_array<R: Read + Seek>(cursor: &mut Cursor<R>, key: &str) -> Result<Value> {
    let element = read_kind(cursor, key)?;
    let count = cursor.u64(key)?;
    let mut numbers = Vec::new();
    match element.size_bytes() {
        None if element == ValueKind::Array => {
            return Err(GgufError::Metadata { key: key.to_owned(), reason: "an array stands in an array" });
        }
        None => {
            // Each string has at least its length, so a count that cannot be is found before the loop.
            cursor.need(count.saturating_mul(8), key)?;
            for _ in 0..count {
                cursor.skip_text(key)?;
            }
        }
        Some(size_bytes) => {
            let all_bytes = count.saturating_mul(size_bytes);
            cursor.need(all_bytes, key)?;
            let is_float = matches!(element, ValueKind::F32 | ValueKind::F64);
            if is_float || count > MAX_KEPT_NUMBERS || !cursor.keeps_numbers(count) {
                cursor.skip(all_bytes, key)?;
            } else {
                for _ in 0..count {
                    numbers.push(read_integer(cursor, element, key)?);
                }
            }
        }
    }
    Ok(Value::Array { element, count, numbers })
}

fn read_integer<R: Read + Seek>(cursor: &mut Cursor<R>, kind: ValueKind, key: &str) -> Result<i128> {
    Ok(match kind {
        ValueKind::U8 | ValueKind::Bool => u8::from_le_bytes(cursor.bytes(key)?).into(),
        ValueKind::I8 => i8::from_le_bytes(cursor.bytes(key)?).into(),
        ValueKind::U16 => u16::from_le_bytes(cursor.bytes(key)?).into(),
        ValueKind::I16 => i16::from_le_bytes(cursor.bytes(key)?).into(),
        ValueKind::U32 => u32::from_le_bytes(cursor.bytes(key)?).into(),
        ValueKind::I32 => i32::from_le_bytes(cursor.bytes(key)?).into(),
        ValueKind::U64 => u64::from_le_bytes(cursor.bytes(key)?).into(),
        ValueKind::I64 => i64::from_le_bytes(cursor.bytes(key)?).into(),
        ValueKind::F32 | ValueKind::F64 | ValueKind::Text | ValueKind::Array => 0,
    })
}
