//! One entry of a volume: a ustar header, a piece, and zeros up to the next 512 bytes.
//!
//! ```text
//! <sha256 of the blob>.<piece number, 6 digits>        a piece as it is
//! <sha256 of the blob>.<piece number, 6 digits>.zst    a piece as one zstd frame
//! ```
//!
//! Six digits, so that `cat <sha256>.*` puts the pieces in order. All headers of a volume are written
//! from name and length alone: the same bundle is the same bytes on every stick.

use std::fmt;

use tar::{EntryType, Header};

use crate::digest::Sha256;

/// The unit of a tar file, in bytes.
pub(super) const BLOCK_BYTES: u64 = 512;

/// Two blocks of zeros end a tar file.
pub(super) const TRAILER_BYTES: u64 = 2 * BLOCK_BYTES;

/// The most digits that a piece number may have.
const MAX_DIGITS: usize = 7;

/// One block of 512 bytes.
pub(super) type Block = [u8; BLOCK_BYTES as usize];

/// Which piece an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EntryName {
    pub(super) blob: Sha256,
    pub(super) piece: usize,
    pub(super) is_compressed: bool,
}

/// What a block says where a header should stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heading {
    /// A piece of `length` stored bytes follows.
    Piece(EntryName, u64),
    /// Zeros: the end, or a hole.
    Zeros,
    /// A whole header of something that has no place in a volume; `length` bytes belong to it.
    Refused { reason: String, length: u64 },
    /// Not a header.
    Damaged,
}

impl EntryName {
    /// Reads a name; `None` unless it is exactly one that this room would write.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(name).ok()?;
        let (text, is_compressed) = match text.strip_suffix(".zst") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (blob, digits) = text.split_once('.')?;
        let is_number = (6..=MAX_DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits.len() == 6 || !digits.starts_with('0'));
        let is_lower = !blob.bytes().any(|byte| byte.is_ascii_uppercase());
        if !is_number || !is_lower {
            return None;
        }
        Some(Self { blob: blob.parse().ok()?, piece: digits.parse().ok()?, is_compressed })
    }

    /// The header of an entry with this name and `length` stored bytes.
    pub(super) fn header(&self, length: u64) -> Block {
        plain_header(self.to_string().as_bytes(), length)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.is_compressed { ".zst" } else { "" };
        write!(formatter, "{}.{:06}{suffix}", self.blob, self.piece)
    }
}

/// A ustar header of a plain file, with nothing of this machine in it.
///
/// `name` has at most 100 bytes; the callers' names are shorter by construction.
pub(super) fn plain_header(name: &[u8], length: u64) -> Block {
    let mut header = Header::new_ustar();
    if let Some(ustar) = header.as_ustar_mut() {
        let count = name.len().min(ustar.name.len());
        ustar.name[..count].copy_from_slice(&name[..count]);
    }
    sealed(header, length)
}

/// Completes the header of a plain file: nothing of this machine or this moment stands in it.
pub(super) fn sealed(mut header: Header, length: u64) -> Block {
    header.set_entry_type(EntryType::Regular);
    header.set_size(length);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    *header.as_bytes()
}

/// The bytes between the end of `length` bytes and the next block.
pub(super) fn padding_bytes(length: u64) -> u64 {
    (BLOCK_BYTES - length % BLOCK_BYTES) % BLOCK_BYTES
}

/// The bytes that an entry of `length` stored bytes takes in a volume.
pub(super) fn entry_bytes(length: u64) -> u64 {
    BLOCK_BYTES + length + padding_bytes(length)
}

/// Reads a block where a header should stand.
pub(super) fn read_heading(block: &Block) -> Heading {
    if block.iter().all(|&byte| byte == 0) {
        return Heading::Zeros;
    }
    match plain_entry(block) {
        None => Heading::Damaged,
        Some(Entry { name, length, kind }) => match EntryName::parse(&name) {
            Some(entry) if kind == EntryType::Regular => Heading::Piece(entry, length),
            _ => Heading::Refused { reason: refusal(&name, kind), length },
        },
    }
}

/// What a whole, well-formed header says.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) length: u64,
    pub(super) kind: EntryType,
}

/// Reads a header; `None` when its checksum or its length is wrong.
pub(super) fn plain_entry(block: &Block) -> Option<Entry> {
    let header = Header::from_byte_slice(block);
    let spaces = 8 * u32::from(b' ');
    let sum = block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum::<u32>() + spaces;
    if header.cksum().ok()? != sum {
        return None;
    }
    let length = header.entry_size().ok()?;
    Some(Entry { name: header.path_bytes().into_owned(), length, kind: header.entry_type() })
}

fn refusal(name: &[u8], kind: EntryType) -> String {
    let shown: String = String::from_utf8_lossy(name).escape_default().take(100).collect();
    match kind {
        EntryType::Regular => format!("the entry `{shown}` is not the name of a piece; it is ignored"),
        EntryType::Symlink | EntryType::Link => format!("the entry `{shown}` is a link; it is ignored"),
        EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink => {
            format!("the entry `{shown}` is an extended header, which a volume never has; it is ignored")
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            format!("the entry `{shown}` is a device; it is ignored")
        }
        EntryType::Directory => format!("the entry `{shown}` is a folder; it is ignored"),
        _ => format!("the entry `{shown}` is of an unknown type; it is ignored"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(piece: usize, is_compressed: bool) -> EntryName {
        EntryName { blob: Sha256::of(b"abc"), piece, is_compressed }
    }

    #[test]
    fn a_header_reads_back() {
        for (piece, is_compressed) in [(0, false), (999_999, true), (1_000_000, false)] {
            let name = name(piece, is_compressed);
            assert_eq!(read_heading(&name.header(77)), Heading::Piece(name, 77));
        }
    }

    #[test]
    fn only_exact_names_are_pieces() {
        let digest = Sha256::of(b"abc");
        assert!(EntryName::parse(format!("{digest}.000001").as_bytes()).is_some());
        for other in [
            format!("../{digest}.000001"),
            format!("/{digest}.000001"),
            format!("./{digest}.000001"),
            format!("{digest}.1"),
            format!("{digest}.+00001"),
            format!("{digest}.0000001"),
            format!("{digest}.000001.gz"),
            format!("{digest}.000001\n"),
            digest.to_string(),
            format!("{}.000001", digest.to_string().to_uppercase()),
        ] {
            assert!(EntryName::parse(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn one_flipped_bit_is_not_a_header() {
        let mut block = name(3, false).header(77);
        block[10] ^= 1;
        assert_eq!(read_heading(&block), Heading::Damaged);
    }

    #[test]
    fn a_link_is_refused_by_name() {
        let mut header = Header::new_ustar();
        header.set_path("evil").expect("short");
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.set_cksum();
        let Heading::Refused { reason, length: 0 } = read_heading(header.as_bytes()) else {
            panic!("a link is not a piece");
        };
        assert_eq!(reason, "the entry `evil` is a link; it is ignored");
    }

    #[test]
    fn padding_fills_the_last_block() {
        assert_eq!((padding_bytes(0), padding_bytes(1), padding_bytes(512)), (0, 511, 0));
        assert_eq!(entry_bytes(513), 512 + 1024);
    }
}
