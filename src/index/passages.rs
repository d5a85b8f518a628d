//! Passages on disk, in a format of our own that outlives any search library.
//!
//! ```text
//! "LMPASS" 0x00 0x01                       magic and version
//! ┌ u32  length of the body                (all numbers little-endian)
//! │ 16 B first half of sha256(body)
//! └ body: a Passage as JSON, UTF-8         … repeated
//! u64 × count   where each frame begins
//! u64 count     "LMPASSND"                 the end: a file without it was cut short
//! ```
//!
//! A file is written once and never changed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::digest::{Hasher, Sha256};
use crate::disk::StagingFile;
use crate::passage::Passage;

use super::error::{IndexError, Result};
use super::head::{FileSeal, SegmentHead, damage};

const MAGIC: &[u8; 8] = b"LMPASS\0\x01";
const END: &[u8; 8] = b"LMPASSND";
const FRAME_HEAD_BYTES: u64 = 20;
const TAIL_BYTES: u64 = 16;
/// A passage is a few kilobytes; a frame that claims more is damage.
const MAX_BODY_BYTES: u32 = 16 * 1024 * 1024;
/// How much is collected before it is written, in bytes.
const BUFFER_BYTES: usize = 1024 * 1024;

/// The id of a passage.
pub(super) fn id_of(segment: u32, place: u32) -> u64 {
    (u64::from(segment) << 32) | u64::from(place)
}

/// The segment number and the place in it.
pub(super) fn parts_of(id: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the id")]
    ((id >> 32) as u32, id as u32)
}

/// Writes a file of passages.
pub(super) struct PassageWriter {
    number: u32,
    file: StagingFile,
    hasher: Hasher,
    buffer: Vec<u8>,
    written: u64,
    offsets: Vec<u64>,
}

impl PassageWriter {
    /// Starts the file of the segment `number`, in `folder`.
    pub(super) fn create(folder: &Path, number: u32) -> Result<Self> {
        let file = StagingFile::open(&folder.join(format!("{}.part", file_name(number))))?;
        file.truncate(0)?;
        let buffer = MAGIC.to_vec();
        Ok(Self { number, file, hasher: Hasher::new(), buffer, written: 0, offsets: Vec::new() })
    }

    /// Appends a passage; returns its id.
    pub(super) fn add(&mut self, passage: &Passage) -> Result<u64> {
        let body = serde_json::to_vec(passage).map_err(|error| damage("", "passage", error.to_string()))?;
        let length = u32::try_from(body.len()).map_err(|error| damage("", "passage", error.to_string()))?;
        let place = u32::try_from(self.offsets.len()).unwrap_or(u32::MAX);
        self.offsets.push(self.written + self.buffer.len() as u64);
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&Sha256::of(&body).as_bytes()[..16]);
        self.buffer.extend_from_slice(&body);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(id_of(self.number, place))
    }

    /// How many passages there are so far.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Ends the file and puts it in its place.
    pub(super) fn finish(mut self, folder: &Path) -> Result<SegmentHead> {
        for offset in &self.offsets {
            self.buffer.extend_from_slice(&offset.to_le_bytes());
        }
        self.buffer.extend_from_slice(&(self.offsets.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(END);
        self.flush()?;
        let sha256 = self.hasher.finish();
        let name = file_name(self.number);
        self.file.finish(sha256, self.written).move_to(&folder.join(&name))?;
        Ok(SegmentHead {
            number: self.number,
            num_passages: u32::try_from(self.offsets.len()).unwrap_or(u32::MAX),
            num_dead: 0,
            seal: FileSeal { file: name, size_bytes: self.written, sha256 },
        })
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_at(&self.buffer, self.written)?;
        self.hasher.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn file_name(number: u32) -> String {
    format!("passages-{number:06}.lmp")
}

/// Reads a file of passages, one at a time, from anywhere.
pub(super) struct PassageReader {
    file: File,
    name: String,
    collection: String,
    size_bytes: u64,
    count: u64,
}

impl PassageReader {
    /// Opens a segment; checks its two ends, not its middle.
    pub(super) fn open(folder: &Path, segment: &SegmentHead, collection: &str) -> Result<Self> {
        let name = segment.seal.file.clone();
        let path = folder.join(&name);
        let file = File::open(&path).map_err(|error| damage(collection, &name, error.to_string()))?;
        let size_bytes = file.metadata().map_err(|source| IndexError::Io { path, source })?.len();
        let count = u64::from(segment.num_passages);
        let reader = Self { file, name, collection: collection.to_owned(), size_bytes, count };
        if size_bytes != segment.seal.size_bytes || size_bytes < 8 + TAIL_BYTES + 8 * count {
            return Err(reader.damaged(format!("it has {size_bytes} bytes, not {}", segment.seal.size_bytes)));
        }
        let tail = reader.bytes::<16>(size_bytes - TAIL_BYTES)?;
        if &reader.bytes::<8>(0)? != MAGIC || &tail[8..] != END || tail[..8] != count.to_le_bytes() {
            return Err(reader.damaged("its beginning or its end is not as it must be".into()));
        }
        Ok(reader)
    }

    /// The passage at `place`; checks its digest.
    pub(super) fn get(&self, place: u32) -> Result<Passage> {
        if u64::from(place) >= self.count {
            return Err(self.damaged(format!("there is no passage {place}")));
        }
        let table = self.size_bytes - TAIL_BYTES - 8 * self.count;
        let offset = u64::from_le_bytes(self.bytes::<8>(table + 8 * u64::from(place))?);
        let head = self.bytes::<20>(offset)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if length > MAX_BODY_BYTES || offset.saturating_add(FRAME_HEAD_BYTES + u64::from(length)) > table {
            return Err(self.damaged(format!("passage {place} reaches beyond the file")));
        }
        let mut body = vec![0; length as usize];
        self.read(&mut body, offset + FRAME_HEAD_BYTES)?;
        if Sha256::of(&body).as_bytes()[..16] != head[4..] {
            return Err(self.damaged(format!("passage {place} has another sha256")));
        }
        serde_json::from_slice(&body).map_err(|error| self.damaged(error.to_string()))
    }

    fn bytes<const COUNT: usize>(&self, offset: u64) -> Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.read(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|error| self.damaged(error.to_string()))
    }

    fn damaged(&self, reason: String) -> IndexError {
        damage(&self.collection, &self.name, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passage::SourceSpan;

    fn passage(text: &str) -> Passage {
        let span = SourceSpan {
            file: "a.md".into(),
            page: None,
            first_line: 1,
            last_line: 1,
            start_byte: 0,
            end_byte: text.len() as u64,
        };
        Passage { text: text.into(), heading_path: vec!["Water".into()], span, language: Some("en".into()) }
    }

    fn written(folder: &Path) -> SegmentHead {
        let mut writer = PassageWriter::create(folder, 3).expect("room");
        assert_eq!(writer.add(&passage("boil it")).expect("room"), 3 << 32);
        assert_eq!(writer.add(&passage("cool it")).expect("room"), (3 << 32) + 1);
        writer.finish(folder).expect("room")
    }

    #[test]
    fn gives_back_what_it_was_given() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let segment = written(folder.path());
        segment.seal.check(folder.path(), "docs").expect("sealed as written");
        let reader = PassageReader::open(folder.path(), &segment, "docs").expect("whole");
        assert_eq!(reader.get(1).expect("there"), passage("cool it"));
        assert!(reader.get(2).is_err());
    }

    #[test]
    fn a_flipped_byte_anywhere_is_damage_not_a_panic() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let segment = written(folder.path());
        let path = folder.path().join(&segment.seal.file);
        let whole = std::fs::read(&path).expect("readable");
        std::fs::remove_file(&path).expect("removable");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            std::fs::write(&path, &damaged).expect("room");
            let read = PassageReader::open(folder.path(), &segment, "docs")
                .and_then(|reader| Ok((reader.get(0)?, reader.get(1)?)));
            assert!(matches!(read, Err(IndexError::Damaged { .. })), "byte {at}");
        }
    }
}
