//! A reader that knows how long the file is, so that nothing is read or allocated past its end.

use std::io::{BufReader, Read, Seek};

use super::error::{GgufError, Result};

/// How many bytes of text are kept from one file; longer texts are stepped over.
const MAX_KEPT_TEXT_BYTES: u64 = 8 * 1024 * 1024;
/// How many bytes of keys and tensor names one file may have; the largest models have some hundred thousand.
const MAX_NAME_TEXT_BYTES: u64 = 8 * 1024 * 1024;
/// How many elements of arrays are kept from one file: some dozens of arrays with one number a layer.
const MAX_KEPT_NUMBERS: u64 = 65_536;

/// Reads forward, counting.
pub(super) struct Cursor<R> {
    reader: BufReader<R>,
    position: u64,
    file_bytes: u64,
    kept_text_bytes: u64,
    name_text_bytes: u64,
    kept_numbers: u64,
}

impl<R: Read + Seek> Cursor<R> {
    pub(super) fn new(reader: R, file_bytes: u64) -> Self {
        Self {
            reader: BufReader::new(reader),
            position: 0,
            file_bytes,
            kept_text_bytes: 0,
            name_text_bytes: 0,
            kept_numbers: 0,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn remaining_bytes(&self) -> u64 {
        self.file_bytes - self.position
    }

    /// Fails unless `needed_bytes` more bytes are there.
    pub(super) fn need(&self, needed_bytes: u64, what: &str) -> Result<()> {
        if needed_bytes <= self.remaining_bytes() {
            return Ok(());
        }
        Err(GgufError::CutShort {
            what: what.to_owned(),
            needed_bytes,
            at: self.position,
            file_bytes: self.file_bytes,
        })
    }

    pub(super) fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        self.need(N as u64, what)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    /// True when `count` more numbers may be kept; they count as kept then.
    pub(super) fn keeps_numbers(&mut self, count: u64) -> bool {
        let is_room = count <= MAX_KEPT_NUMBERS - self.kept_numbers;
        if is_room {
            self.kept_numbers += count;
        }
        is_room
    }

    /// Reads a string of at most `limit_bytes`: a key or a name.
    pub(super) fn short_text(&mut self, limit_bytes: u64, what: &'static str) -> Result<String> {
        let length = self.u64(what)?;
        self.need(length, what)?;
        if length > limit_bytes {
            return Err(GgufError::TooMany { what, count: length, limit: limit_bytes });
        }
        self.name_text_bytes += length;
        if self.name_text_bytes > MAX_NAME_TEXT_BYTES {
            let what = "bytes of keys and names";
            return Err(GgufError::TooMany { what, count: self.name_text_bytes, limit: MAX_NAME_TEXT_BYTES });
        }
        self.text_of(length)
    }

    /// Reads a string where it is of bearable length; steps over it and returns `None` where not.
    pub(super) fn text(&mut self, what: &str) -> Result<Option<String>> {
        let length = self.u64(what)?;
        self.need(length, what)?;
        if length > MAX_KEPT_TEXT_BYTES - self.kept_text_bytes {
            self.skip(length, what)?;
            return Ok(None);
        }
        self.kept_text_bytes += length;
        Ok(Some(self.text_of(length)?))
    }

    pub(super) fn skip_text(&mut self, what: &str) -> Result<()> {
        let length = self.u64(what)?;
        self.skip(length, what)
    }

    pub(super) fn skip(&mut self, num_bytes: u64, what: &str) -> Result<()> {
        self.need(num_bytes, what)?;
        // Bounded by the file's length, which is an offset and so fits.
        self.reader.seek_relative(i64::try_from(num_bytes).unwrap_or(i64::MAX))?;
        self.position += num_bytes;
        Ok(())
    }

    /// The caller has checked that `length` bytes are there and that they are few.
    fn text_of(&mut self, length: u64) -> Result<String> {
        let mut bytes = Vec::new();
        let count = self.reader.by_ref().take(length).read_to_end(&mut bytes)?;
        if count as u64 != length {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        self.position += length;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
