//! Bytes to text: UTF-8, UTF-16 with its mark, else Latin-1, and which of them it was.

use serde::{Deserialize, Serialize};

use super::error::DocumentError;

/// How bytes were read as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    Utf8,
    /// UTF-8 but for a few bytes, which became `�`.
    DamagedUtf8,
    /// UTF-16, known by its byte order mark.
    Utf16,
    /// Not valid UTF-8: each byte was taken as one Latin-1 (Windows-1252) letter. A guess.
    Latin1,
}

/// Text, how it was read, and whether it is the file byte for byte.
pub(super) struct Decoded {
    pub(super) text: String,
    pub(super) encoding: Encoding,
    pub(super) is_verbatim: bool,
}

/// Reads bytes as text; a byte order mark stays in the text, so that offsets count from the file's start.
pub(super) fn decode(bytes: Vec<u8>) -> Result<Decoded, DocumentError> {
    if let Some(text) = decode_utf16(&bytes) {
        return Ok(Decoded { text, encoding: Encoding::Utf16, is_verbatim: false });
    }
    if let Some(at_byte) = bytes.iter().position(is_binary) {
        return Err(DocumentError::Binary { at_byte });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Decoded { text, encoding: Encoding::Utf8, is_verbatim: true }),
        Err(error) if is_nearly_utf8(error.as_bytes()) => {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Ok(Decoded { text, encoding: Encoding::DamagedUtf8, is_verbatim: false })
        }
        Err(error) => {
            let text = error.as_bytes().iter().map(|&byte| windows_1252(byte)).collect();
            Ok(Decoded { text, encoding: Encoding::Latin1, is_verbatim: false })
        }
    }
}

/// True when only a cut last letter is not UTF-8, or fewer than one in 200 of the bytes beyond ASCII.
/// Latin-1 letters stand alone between ASCII ones, so that hardly any of them is valid UTF-8.
fn is_nearly_utf8(bytes: &[u8]) -> bool {
    let num_beyond_ascii = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    let num_invalid: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    let is_cut = ends_in_a_cut_letter(bytes) && num_invalid < num_beyond_ascii;
    is_cut || num_invalid * 200 < num_beyond_ascii
}

/// True when the text stops within a letter of several bytes.
fn ends_in_a_cut_letter(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

fn decode_utf16(bytes: &[u8]) -> Option<String> {
    let read: fn([u8; 2]) -> u16 = match bytes.get(..2)? {
        [0xff, 0xfe] => u16::from_le_bytes,
        [0xfe, 0xff] => u16::from_be_bytes,
        _ => return None,
    };
    let units = bytes[2..].chunks_exact(2).map(|pair| read([pair[0], pair[1]]));
    Some(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// Control bytes that no text file has; tab, line feed, form feed, carriage return and escape may stand.
fn is_binary(byte: &u8) -> bool {
    matches!(byte, 0x00..=0x06 | 0x0e..=0x1a | 0x1c..=0x1f)
}

/// Windows-1252 differs from Latin-1 in 0x80..0xa0 only, and is what such files mostly are.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_utf16_by_its_mark_and_falls_back_to_latin_1() {
        let utf16 = decode(vec![0xff, 0xfe, b'h', 0, b'i', 0]).expect("text");
        assert_eq!((utf16.text.as_str(), utf16.encoding), ("hi", Encoding::Utf16));
        let latin = decode(b"caf\xe9 \x80".to_vec()).expect("text");
        assert_eq!((latin.text.as_str(), latin.encoding), ("café €", Encoding::Latin1));
        assert!(!latin.is_verbatim);
    }

    #[test]
    fn one_bad_byte_does_not_spoil_a_whole_utf8_file() {
        let mut bytes = "žluťoučký kůň ".repeat(40).into_bytes();
        bytes.extend_from_slice(b"\xff end");
        let decoded = decode(bytes).expect("text");
        assert_eq!((decoded.encoding, decoded.is_verbatim), (Encoding::DamagedUtf8, false));
        assert!(decoded.text.starts_with("žluťoučký kůň") && decoded.text.ends_with("\u{fffd} end"));
        // `é` and the first byte of another.
        let cut = decode(b"caf\xc3\xa9 \xc3".to_vec()).expect("text");
        assert_eq!((cut.text.as_str(), cut.encoding), ("café \u{fffd}", Encoding::DamagedUtf8));
    }

    #[test]
    fn names_the_first_byte_that_no_text_has() {
        assert!(matches!(decode(b"MZ\x00".to_vec()), Err(DocumentError::Binary { at_byte: 2 })));
    }
}
