//! A piece as it is stored: plain, or as one zstd frame that cannot grow beyond the declared length.

use std::io;

use super::description::PieceEntry;

/// zstd's level: text shrinks well and a slow machine still keeps up with a stick.
const LEVEL: i32 = 6;

/// File name endings of what is worth compressing. Weights, pictures and archives are not.
const TEXT_ENDINGS: [&str; 13] =
    ["txt", "md", "json", "jsonl", "toml", "csv", "tsv", "html", "htm", "xml", "yaml", "rst", "srt"];

/// True for names of text files, which a volume may hold compressed.
pub fn is_text_name(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| TEXT_ENDINGS.contains(&ending.as_str()))
}

/// Compresses one piece. The same bytes give the same frame.
pub(super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(plain, LEVEL)
}

/// Gives a piece its plain bytes back, or says what is wrong with its stored ones.
///
/// Never allocates more than the declared length.
pub(super) fn restore(piece: &PieceEntry, stored: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let length = usize::try_from(piece.length).map_err(|_| "its length is too large")?;
    if piece.stored.is_none() {
        return if stored.len() == length { Ok(stored) } else { Err("its length is not the declared one") };
    }
    let mut plain = vec![0; length];
    match zstd::bulk::decompress_to_buffer(&stored, &mut plain[..]) {
        Ok(count) if count == length => Ok(plain),
        Ok(_) => Err("it expands to less than the declared length"),
        Err(_) => Err("it does not expand to the declared length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    fn piece(length: u64, stored: &[u8]) -> PieceEntry {
        PieceEntry { length, stored: Some(stored.len() as u64), sha256: Sha256::of(b"") }
    }

    #[test]
    fn text_comes_back() {
        let plain = b"the same words, the same words, the same words".repeat(40);
        let stored = compress(&plain).unwrap();
        assert!(stored.len() < plain.len() / 4);
        assert_eq!(restore(&piece(plain.len() as u64, &stored), stored.clone()), Ok(plain));
    }

    #[test]
    fn a_bomb_is_bounded_by_the_declared_length() {
        let bomb = compress(&vec![0; 64 * 1024 * 1024]).unwrap();
        assert_eq!(
            restore(&piece(1000, &bomb), bomb.clone()),
            Err("it does not expand to the declared length")
        );
        let two_frames = [bomb.clone(), bomb].concat();
        assert!(restore(&piece(4096, &two_frames), two_frames.clone()).is_err());
    }

    #[test]
    fn only_text_is_worth_it() {
        assert!(is_text_name("docs/01 buying.MD") && is_text_name("tokenizer.json"));
        assert!(!is_text_name("model.gguf") && !is_text_name("README"));
    }
}
