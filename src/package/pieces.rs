//! The piece list of a blob: what can be fetched, carried and repaired on its own.
//!
//! A piece list is a small text file, named by its own sha256. It begins with `localml pieces 1`;
//! then one line a piece: `offset length sha256`, offsets rising from 0 without a gap.

use std::fmt::Write as _;

use crate::digest::Sha256;

/// The most bytes that one piece may have: 4 MiB.
pub const MAX_PIECE_BYTES: u64 = 4 * 1024 * 1024;

const FIRST_LINE: &str = "localml pieces 1";

/// One run of bytes of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many bytes it has, 1 to `MAX_PIECE_BYTES`.
    pub length: u64,
    /// What those bytes hash to.
    pub sha256: Sha256,
}

/// All pieces of one blob, in order, without gap or overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PieceList {
    pieces: Vec<Piece>,
}

/// The text is not a piece list.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("not a piece list: line {line}: {reason}")]
pub struct InvalidPieceList {
    line: usize,
    reason: &'static str,
}

impl PieceList {
    /// Cuts `0..size_bytes` into `(offset, length)` of at most `MAX_PIECE_BYTES`, beginning anew at each boundary.
    ///
    /// `boundaries` are offsets where something large begins (a GGUF's tensor data, a large tensor);
    /// those outside the blob are ignored. The same arguments always give the same grid.
    pub fn grid(size_bytes: u64, boundaries: &[u64]) -> Vec<(u64, u64)> {
        let mut cuts: Vec<u64> = boundaries.iter().copied().filter(|&at| at > 0 && at < size_bytes).collect();
        cuts.push(size_bytes);
        cuts.sort_unstable();
        cuts.dedup();
        let mut grid = Vec::new();
        let mut offset = 0;
        for cut in cuts {
            while offset < cut {
                let length = MAX_PIECE_BYTES.min(cut - offset);
                grid.push((offset, length));
                offset += length;
            }
        }
        grid
    }

    /// Takes pieces in order.
    ///
    /// # Errors
    /// When they leave a gap, overlap, or one is empty or too long. The line counts as in the file.
    pub fn new(pieces: Vec<Piece>) -> Result<Self, InvalidPieceList> {
        let mut expected = 0u64;
        for (index, piece) in pieces.iter().enumerate() {
            let fail = |reason| InvalidPieceList { line: index + 2, reason };
            if piece.offset != expected {
                return Err(fail("the piece does not begin where the one before it ends"));
            }
            if piece.length == 0 || piece.length > MAX_PIECE_BYTES {
                return Err(fail("a piece has 1 byte to 4 MiB"));
            }
            expected = expected.checked_add(piece.length).ok_or_else(|| fail("the offset is too large"))?;
        }
        Ok(Self { pieces })
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When the first line, a number or the order is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidPieceList> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(InvalidPieceList { line: 1, reason: "it must be `localml pieces 1`" });
        }
        let mut pieces = Vec::new();
        for (index, line) in lines.enumerate() {
            let reason = "expected `offset length sha256`";
            pieces.push(parse_line(line).ok_or(InvalidPieceList { line: index + 2, reason })?);
        }
        Self::new(pieces)
    }

    /// Writes the text form; its digest is what a manifest names.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for piece in &self.pieces {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {} {}", piece.offset, piece.length, piece.sha256);
        }
        text
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// How many bytes the whole blob has.
    pub fn size_bytes(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.offset + piece.length)
    }
}

fn parse_line(line: &str) -> Option<Piece> {
    let mut words = line.split(' ');
    let piece = Piece {
        offset: words.next()?.parse().ok()?,
        length: words.next()?.parse().ok()?,
        sha256: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_begins_anew_at_each_boundary() {
        let mib = 1024 * 1024;
        // 0–3 MiB header, a boundary at 3 MiB, then 4 MiB and the remaining 1 MiB.
        let grid = PieceList::grid(8 * mib, &[3 * mib, 9 * mib]);
        assert_eq!(grid, [(0, 3 * mib), (3 * mib, 4 * mib), (7 * mib, mib)]);
    }

    #[test]
    fn an_empty_blob_has_no_pieces() {
        assert!(PieceList::grid(0, &[]).is_empty());
    }

    #[test]
    fn the_text_form_reads_back() {
        let piece = |offset, length| Piece { offset, length, sha256: Sha256::of(b"x") };
        let list = PieceList::new(vec![piece(0, 5), piece(5, 7)]).expect("in order");
        assert_eq!(PieceList::parse(&list.to_text()), Ok(list));
    }

    #[test]
    fn refuses_a_gap_by_its_line() {
        let digest = Sha256::of(b"x");
        let text = format!("localml pieces 1\n0 5 {digest}\n6 1 {digest}\n");
        let error = PieceList::parse(&text).expect_err("a gap");
        assert_eq!(
            error.to_string(),
            "not a piece list: line 3: the piece does not begin where the one before it ends"
        );
    }
}
