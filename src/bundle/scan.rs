//! Walking through a volume that nobody vouches for: entry by entry, and over damage to the next one.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::package::MAX_PIECE_BYTES;

use super::entry::{BLOCK_BYTES, Block, EntryName, Heading, entry_bytes, read_heading};

/// How much is looked through at a time where no entry is found, in bytes.
const SEARCH_BYTES: usize = 1024 * 1024;

/// Something met on the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// A piece, by its header; its stored bytes begin at `data_at`.
    Piece { name: EntryName, data_at: u64, length: u64 },
    /// Something that is passed by, and why.
    Refused(String),
}

/// The entries of one volume, in order. Takes time in proportion to the file, and 1 MiB.
pub(super) struct Walk<'a> {
    file: &'a File,
    size_bytes: u64,
    at: u64,
    /// True while the next entry is being searched behind damage or zeros.
    is_searching: bool,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a File, size_bytes: u64) -> Self {
        Self { file, size_bytes, at: 0, is_searching: false, window: Vec::new(), window_at: 0 }
    }

    /// The block at the current place; `None` at the end of the file.
    fn block(&mut self) -> std::io::Result<Option<Block>> {
        if self.size_bytes.saturating_sub(self.at) < BLOCK_BYTES {
            return Ok(None);
        }
        let window_end = self.window_at + self.window.len() as u64;
        if self.at < self.window_at || self.at + BLOCK_BYTES > window_end {
            let most = if self.is_searching { SEARCH_BYTES as u64 } else { BLOCK_BYTES };
            let length = most.min(self.size_bytes - self.at);
            self.window.resize(usize::try_from(length).unwrap_or_default(), 0);
            self.window_at = self.at;
            if let Err(error) = self.file.read_exact_at(&mut self.window, self.at) {
                self.window.clear();
                return Err(error);
            }
        }
        let start = usize::try_from(self.at - self.window_at).unwrap_or_default();
        let mut block: Block = [0; BLOCK_BYTES as usize];
        block.copy_from_slice(&self.window[start..start + BLOCK_BYTES as usize]);
        Ok(Some(block))
    }

    fn skip(&mut self, count: u64) {
        self.at = self.at.saturating_add(count);
    }

    fn stop(&mut self) {
        self.at = self.size_bytes;
    }

    fn piece(&mut self, name: EntryName, length: u64) -> Sighting {
        let data_at = self.at + BLOCK_BYTES;
        if length > MAX_PIECE_BYTES {
            self.skip(BLOCK_BYTES);
            return Sighting::Refused(format!(
                "{} claims {length} bytes, a piece has at most 4 MiB",
                shown(&name)
            ));
        }
        if length > self.size_bytes - data_at {
            self.stop();
            return Sighting::Refused(format!("the volume is cut short inside {}", shown(&name)));
        }
        self.is_searching = false;
        self.skip(entry_bytes(length));
        Sighting::Piece { name, data_at, length }
    }
}

impl Iterator for Walk<'_> {
    type Item = Sighting;

    fn next(&mut self) -> Option<Sighting> {
        loop {
            let block = match self.block() {
                Ok(block) => block?,
                Err(error) => {
                    let text = format!("it cannot be read at byte {}: {error}", self.at);
                    self.stop();
                    return Some(Sighting::Refused(text));
                }
            };
            match read_heading(&block) {
                Heading::Piece(name, length) => return Some(self.piece(name, length)),
                Heading::Refused { reason, length } => {
                    self.is_searching = false;
                    self.skip(entry_bytes(length.min(self.size_bytes)));
                    return Some(Sighting::Refused(reason));
                }
                Heading::Damaged if !self.is_searching => {
                    let text = format!("there is no entry at byte {}; the next one is searched", self.at);
                    self.is_searching = true;
                    self.skip(BLOCK_BYTES);
                    return Some(Sighting::Refused(text));
                }
                Heading::Damaged => self.skip(BLOCK_BYTES),
                // The end, or a hole that FAT left: anything behind it still counts.
                Heading::Zeros => {
                    self.is_searching = true;
                    self.skip(BLOCK_BYTES);
                }
            }
        }
    }
}

/// A piece's name for people.
pub(super) fn shown(name: &EntryName) -> String {
    format!("piece {} of {}", name.piece, name.blob.short())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::digest::Sha256;

    fn entry(piece: usize, length: usize) -> Vec<u8> {
        let name = EntryName { blob: Sha256::of(b"abc"), piece, is_compressed: false };
        let mut bytes = name.header(length as u64).to_vec();
        bytes.resize(entry_bytes(length as u64) as usize, 7);
        bytes
    }

    fn walk(bytes: &[u8]) -> Vec<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let seen = Walk::new(&file, bytes.len() as u64).map(|sighting| match sighting {
            Sighting::Piece { name, .. } => name.piece.to_string(),
            Sighting::Refused(text) => text,
        });
        seen.collect()
    }

    #[test]
    fn finds_the_entries_behind_a_damaged_header_and_behind_a_hole() {
        let mut bytes = [entry(0, 600), entry(1, 600), vec![0; 2048], entry(2, 5), vec![0; 1024]].concat();
        bytes[512 + 1024 + 3] ^= 1;
        assert_eq!(walk(&bytes), ["0", "there is no entry at byte 1536; the next one is searched", "2"]);
    }

    #[test]
    fn a_cut_volume_ends_at_the_cut() {
        let bytes = [entry(0, 600), entry(1, 600)].concat();
        let short = Sha256::of(b"abc").short();
        assert_eq!(
            walk(&bytes[..1536 + 512 + 100]),
            ["0".to_owned(), format!("the volume is cut short inside piece 1 of {short}")]
        );
    }

    #[test]
    fn a_giant_is_not_believed() {
        let name = EntryName { blob: Sha256::of(b"abc"), piece: 0, is_compressed: false };
        let mut header = tar::Header::new_gnu();
        header.set_path(name.to_string()).unwrap();
        header.set_size(u64::MAX - 5);
        header.set_cksum();
        let bytes = [header.as_bytes().to_vec(), entry(1, 5)].concat();
        let seen = walk(&bytes);
        assert!(seen[0].contains("a piece has at most 4 MiB"), "{seen:?}");
        assert_eq!(seen[1], "1");
    }
}
