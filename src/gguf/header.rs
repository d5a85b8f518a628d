//! The whole header: version, metadata, tensors, and what they say of the model.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use super::cursor::Cursor;
use super::error::{GgufError, Result};
use super::shape::Shape;
use super::sniff::{SNIFF_BYTES, sniff};
use super::tensor::{TensorInfo, check_extents, read_tensors};
use super::value::{Value, ValueKind};

/// The largest models have a few thousand tensors, and a few hundred metadata entries.
const MAX_TENSORS: u64 = 65_536;
const MAX_METADATA: u64 = 65_536;
/// The format's own bound on a key.
const MAX_KEY_BYTES: u64 = 65_535;
const DEFAULT_ALIGNMENT: u64 = 32;
/// A tensor of at least this size begins a piece of its own.
const OWN_PIECE_BYTES: u64 = 1024 * 1024;
/// A metadata value of at least this size (a vocabulary, its merges) begins and ends a piece, so that a word changed
/// before it does not cost it too: a vocabulary of 150,000 tokens has 6 MB.
const OWN_PIECE_VALUE_BYTES: u64 = 64 * 1024;
/// How much of a file that does not parse is searched for U+FFFD.
const MANGLE_SEARCH_BYTES: u64 = 256 * 1024;

/// A GGUF header that was read to its end, with every tensor found inside the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    version: u32,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<TensorInfo>,
    data_start: u64,
    /// Where large metadata values begin and end.
    value_edges: Vec<u64>,
}

impl Header {
    /// Reads and checks the header of a file that is `file_bytes` long, from its first byte.
    ///
    /// # Errors
    /// When reading fails, when it is not GGUF, or when anything in it is out of bounds; see [`GgufError`].
    pub fn read<R: Read + Seek>(reader: &mut R, file_bytes: u64) -> Result<Self> {
        reader.seek(SeekFrom::Start(0))?;
        let parsed = Self::parse(&mut Cursor::new(&mut *reader, file_bytes), file_bytes);
        match parsed {
            Ok(header) => Ok(header),
            Err(GgufError::Foreign(_)) => {
                let mut start = Vec::new();
                reader.seek(SeekFrom::Start(0))?;
                reader.by_ref().take(SNIFF_BYTES).read_to_end(&mut start)?;
                Err(GgufError::Foreign(sniff(&start)))
            }
            Err(error @ GgufError::Io(_)) => Err(error),
            Err(_) if was_copied_as_text(reader)? => Err(GgufError::CopiedAsText),
            Err(error) => Err(error),
        }
    }

    fn parse<R: Read + Seek>(cursor: &mut Cursor<R>, file_bytes: u64) -> Result<Self> {
        let version = read_version(cursor)?;
        let num_tensors = bounded(cursor.u64("the header")?, "tensors", MAX_TENSORS)?;
        let num_metadata = bounded(cursor.u64("the header")?, "metadata entries", MAX_METADATA)?;
        let (metadata, value_edges) = read_metadata(cursor, num_metadata)?;
        let alignment = alignment(&metadata)?;
        let tensors = read_tensors(cursor, num_tensors)?;
        let data_start = cursor.position().checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        check_extents(&tensors, alignment, data_start, file_bytes)?;
        Ok(Self { version, metadata, tensors, data_start, value_edges })
    }

    /// The format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// The tensors, in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// `general.architecture`, or nothing.
    pub fn architecture(&self) -> &str {
        self.get("general.architecture").and_then(Value::as_text).unwrap_or_default()
    }

    /// The model's own name for itself.
    pub fn title(&self) -> Option<&str> {
        self.get("general.name")?.as_text()
    }

    /// The Jinja template that turns messages into a prompt, where the model has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.get("tokenizer.chat_template")?.as_text().filter(|template| !template.trim().is_empty())
    }

    /// How many files the model is split into; 1 where it is whole.
    pub fn num_splits(&self) -> u64 {
        self.get("split.count").and_then(Value::as_count).unwrap_or(1).max(1)
    }

    /// The numbers that decide how much memory the model needs; what the header leaves out is 0.
    pub fn shape(&self) -> Shape {
        let architecture = self.architecture().to_owned();
        let count = |suffix: &str| self.get(&format!("{architecture}.{suffix}")).and_then(Value::as_count);
        let embedding_width = count("embedding_length").unwrap_or(0);
        let num_heads = count("attention.head_count").unwrap_or(0);
        let head_width = embedding_width.checked_div(num_heads).unwrap_or(0);
        Shape {
            num_layers: count("block_count").unwrap_or(0),
            embedding_width,
            num_heads,
            num_kv_heads: count("attention.head_count_kv").unwrap_or(num_heads),
            key_width: count("attention.key_length").unwrap_or(head_width),
            value_width: count("attention.value_length").unwrap_or(head_width),
            context_tokens: count("context_length").unwrap_or(0),
            vocabulary_tokens: self.vocabulary_tokens().or_else(|| count("vocab_size")).unwrap_or(0),
            architecture,
            assumed: false,
        }
    }

    fn vocabulary_tokens(&self) -> Option<u64> {
        match self.get("tokenizer.ggml.tokens")? {
            Value::Array { count, .. } => Some(*count),
            _ => None,
        }
    }

    /// Where the file's pieces begin anew: both ends of each metadata value of at least 64 KiB, the tensor data,
    /// and each tensor of at least 1 MiB.
    pub fn piece_boundaries(&self) -> Vec<u64> {
        let large = self.tensors.iter().filter(|tensor| tensor.size_bytes >= OWN_PIECE_BYTES);
        let mut boundaries: Vec<u64> = large.map(|tensor| self.data_start + tensor.offset).collect();
        boundaries.push(self.data_start);
        boundaries.extend(&self.value_edges);
        boundaries.sort_unstable();
        boundaries.dedup();
        boundaries
    }
}

fn read_version<R: Read + Seek>(cursor: &mut Cursor<R>) -> Result<u32> {
    if cursor.remaining_bytes() < 4 || &cursor.bytes::<4>("the magic")? != b"GGUF" {
        // Which foreign kind it is, the caller finds out.
        return Err(GgufError::Foreign(super::sniff::FileKind::Unknown));
    }
    match cursor.u32("the version")? {
        version @ (2 | 3) => Ok(version),
        1 => Err(GgufError::VersionOne),
        version if version != 0 && version & 0xFFFF == 0 => Err(GgufError::BigEndian),
        version => Err(GgufError::UnknownVersion { version }),
    }
}

fn bounded(count: u64, what: &'static str, limit: u64) -> Result<u64> {
    if count > limit { Err(GgufError::TooMany { what, count, limit }) } else { Ok(count) }
}

/// The metadata, and where its large values begin and end.
fn read_metadata<R: Read + Seek>(
    cursor: &mut Cursor<R>,
    count: u64,
) -> Result<(BTreeMap<String, Value>, Vec<u64>)> {
    let (mut metadata, mut edges) = (BTreeMap::new(), Vec::new());
    for _ in 0..count {
        let key = cursor.short_text(MAX_KEY_BYTES, "bytes of a metadata key")?;
        if key.is_empty() {
            return Err(GgufError::Metadata { key, reason: "an entry has no key" });
        }
        let start = cursor.position();
        let value = Value::read(cursor, &key)?;
        if cursor.position() - start >= OWN_PIECE_VALUE_BYTES {
            edges.extend([start, cursor.position()]);
        }
        if metadata.insert(key.clone(), value).is_some() {
            return Err(GgufError::Metadata { key, reason: "it stands twice" });
        }
    }
    Ok((metadata, edges))
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64> {
    let key = "general.alignment";
    match metadata.get(key) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::Integer { kind: ValueKind::U32, number }) => match u64::try_from(*number) {
            Ok(alignment) if alignment.is_power_of_two() => Ok(alignment),
            _ => Err(GgufError::Metadata { key: key.into(), reason: "it is not a power of two" }),
        },
        Some(_) => Err(GgufError::Metadata { key: key.into(), reason: "it is not a 32-bit number" }),
    }
}

/// A binary file almost never is valid UTF-8; one that is, and holds U+FFFD, was decoded and encoded again.
fn was_copied_as_text<R: Read + Seek>(reader: &mut R) -> Result<bool> {
    let mut bytes = Vec::new();
    reader.seek(SeekFrom::Start(0))?;
    reader.by_ref().take(MANGLE_SEARCH_BYTES).read_to_end(&mut bytes)?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // The last character may be cut by the end of what was read.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Ok(false),
    };
    Ok(text.contains('\u{FFFD}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor as Memory;

    #[derive(Default)]
    struct Bytes(Vec<u8>);

    impl Bytes {
        fn start(version: u32, num_tensors: u64, num_metadata: u64) -> Self {
            Self(b"GGUF".to_vec()).u32(version).u64(num_tensors).u64(num_metadata)
        }
        fn u32(mut self, number: u32) -> Self {
            self.0.extend(number.to_le_bytes());
            self
        }
        fn u64(mut self, number: u64) -> Self {
            self.0.extend(number.to_le_bytes());
            self
        }
        fn text(mut self, text: &str) -> Self {
            self = self.u64(text.len() as u64);
            self.0.extend(text.as_bytes());
            self
        }
        fn tensor(self, name: &str, length: u64, offset: u64) -> Self {
            self.text(name).u32(1).u64(length).u32(0).u64(offset)
        }
        fn padded(mut self, data_bytes: usize) -> Self {
            let padded = self.0.len().next_multiple_of(32);
            self.0.resize(padded + data_bytes, 0);
            self
        }
        fn read(&self) -> Result<Header> {
            Header::read(&mut Memory::new(&self.0), self.0.len() as u64)
        }
    }

    /// `llama`, 2 layers, width 64, 4 heads of which 2 are key/value heads, a template; two F32 tensors.
    fn whole() -> Bytes {
        Bytes::start(3, 2, 6)
            .text("general.architecture")
            .u32(8)
            .text("llama")
            .text("llama.block_count")
            .u32(4)
            .u32(2)
            .text("llama.embedding_length")
            .u32(4)
            .u32(64)
            .text("llama.attention.head_count")
            .u32(4)
            .u32(4)
            .text("llama.attention.head_count_kv")
            .u32(9)
            .u32(4)
            .u64(2)
            .u32(1)
            .u32(2)
            .text("tokenizer.chat_template")
            .u32(8)
            .text("{{ messages }}")
            .tensor("a", 8, 0)
            .tensor("b", 8, 32)
            .padded(64)
    }

    fn refusal(bytes: &Bytes) -> String {
        bytes.read().expect_err("it is not well-formed").to_string()
    }

    #[test]
    fn reads_shape_template_and_boundaries() {
        let header = whole().read().expect("well-formed");
        let shape = header.shape();
        assert_eq!((shape.num_layers, shape.num_heads, shape.num_kv_heads, shape.key_width), (2, 4, 2, 16));
        assert_eq!(header.chat_template(), Some("{{ messages }}"));
        assert_eq!(header.piece_boundaries().len(), 1);
    }

    #[test]
    fn a_large_value_begins_and_ends_a_piece() {
        // 24 bytes of start, then a key of 8 + 1: the value begins at 33. Its kind has 4 bytes, the array's head
        // 12, and 65,536 numbers of one byte follow.
        let mut bytes = Bytes::start(3, 0, 1).text("v").u32(9).u32(0).u64(65_536);
        bytes.0.extend(vec![7; 65_536]);
        let header = bytes.padded(0).read().expect("well-formed");
        let end: u64 = 33 + 4 + 12 + 65_536;
        assert_eq!(header.piece_boundaries(), [33, end, end.next_multiple_of(32)]);
    }

    #[test]
    fn refuses_every_truncation_without_a_panic() {
        let bytes = whole().0;
        for length in 0..bytes.len() {
            let cut = Bytes(bytes[..length].to_vec());
            cut.read().expect_err("the last tensor ends with the file");
        }
    }

    #[test]
    fn survives_every_single_changed_byte() {
        let bytes = whole().0;
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut changed = bytes.clone();
                changed[at] = value;
                // Good or bad, it must come back.
                let _ = Bytes(changed).read();
            }
        }
    }

    #[test]
    fn refuses_old_foreign_and_unknown_versions_by_name() {
        assert!(refusal(&Bytes::start(1, 0, 0)).contains("version 1"));
        assert!(refusal(&Bytes::start(3u32.swap_bytes(), 0, 0)).contains("big-endian"));
        assert!(refusal(&Bytes::start(4, 0, 0)).contains("version 4"));
    }

    #[test]
    fn refuses_counts_and_lengths_that_cannot_be() {
        assert!(refusal(&Bytes::start(3, u64::MAX, 0)).contains("tensors"));
        assert!(refusal(&Bytes::start(3, 0, u64::MAX)).contains("metadata entries"));
        assert!(refusal(&Bytes::start(3, 0, 1).u64(u64::MAX)).contains("the file ends after"));
        let array = Bytes::start(3, 0, 1).text("k").u32(9).u32(8).u64(u64::MAX / 2);
        assert!(refusal(&array).contains("the file ends after"));
    }

    #[test]
    fn keeps_a_bounded_number_of_numbers_and_of_key_bytes() {
        // 100 arrays of 1,024 bytes: 64 of them are 65,536 numbers.
        let mut arrays = Bytes::start(3, 0, 100);
        for index in 0..100 {
            arrays = arrays.text(&format!("a{index}")).u32(9).u32(0).u64(1024);
            arrays.0.extend([1; 1024]);
        }
        let header = arrays.padded(0).read().expect("well-formed");
        let kept = header.metadata.values().map(|value| match value {
            Value::Array { numbers, .. } => numbers.len(),
            _ => 0,
        });
        assert_eq!(kept.sum::<usize>(), 65_536);
        // 200 keys of 50,000 bytes are 10 MB.
        let mut keys = Bytes::start(3, 0, 200);
        for index in 0..200 {
            keys = keys.text(&format!("{index}{}", "k".repeat(50_000))).u32(4).u32(0);
        }
        assert!(refusal(&keys).contains("bytes of keys and names"));
    }

    #[test]
    fn refuses_overlap_misalignment_and_unknown_types() {
        let two = |second| Bytes::start(3, 2, 0).tensor("a", 16, 0).tensor("b", 8, second).padded(96);
        assert_eq!(refusal(&two(32)), "tensors `a` and `b` overlap");
        assert_eq!(refusal(&two(65)), "tensor `b`: it is not aligned");
        let unknown = Bytes::start(3, 1, 0).text("a").u32(1).u64(8).u32(4).u64(0).padded(64);
        assert_eq!(refusal(&unknown), "tensor `a` has the unknown type 4");
    }

    #[test]
    fn names_a_file_that_was_copied_as_text() {
        let mangled = String::from_utf8_lossy(&Bytes::start(3, 0, 200).text("k\u{FFFD}").0).into_owned();
        assert!(refusal(&Bytes(mangled.into_bytes())).contains("mangled"));
    }
}
