//! What a file is, by its first bytes: a model, or one of the things found in a model's place.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};

use super::error::{GgufError, Result};
use super::header::Header;
use super::onnx::{check_onnx, looks_like_onnx};

/// How many first bytes [`sniff`] looks at.
pub(super) const SNIFF_BYTES: u64 = 512;

/// What a file seems to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A GGUF, of any version.
    Gguf,
    /// An ONNX graph.
    Onnx,
    /// A safetensors file.
    Safetensors,
    /// A ZIP archive, which a PyTorch checkpoint also is.
    Zip,
    /// A tar archive compressed with gzip, or another gzip file.
    Gzip,
    /// The text that Git keeps in a large file's place.
    GitLfsPointer {
        /// The size of the real file, where the pointer says it.
        size_bytes: Option<u64>,
    },
    /// A web page: an error, a redirect, or a network's login page.
    WebPage,
    /// llama.cpp's format before GGUF.
    OldGgml {
        /// `ggml`, `ggmf` or `ggjt`.
        magic: &'static str,
    },
    /// A file without bytes.
    Empty,
    /// Readable text that is none of the above.
    Text,
    /// Anything else.
    Unknown,
}

impl FileKind {
    /// What to do about a file of this kind where a model was expected.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::GitLfsPointer { .. } => {
                "fetch the real file: `git lfs pull`, or the site's own download link"
            }
            Self::WebPage => "the address led to a page instead of the file; open it in a browser to see why",
            Self::OldGgml { .. } => "look for the same model as GGUF",
            Self::Safetensors | Self::Zip => "look for the same model as GGUF (chat) or ONNX (embedder)",
            Self::Gzip => "unpack it first",
            Self::Empty => "the download did not begin; fetch the file again",
            Self::Gguf | Self::Onnx | Self::Text | Self::Unknown => return None,
        })
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gguf => "a GGUF model",
            Self::Onnx => "an ONNX model",
            Self::Safetensors => "a safetensors file, which localml does not run",
            Self::Zip => "a ZIP archive (a PyTorch checkpoint?), which localml does not run",
            Self::Gzip => "a gzip archive",
            Self::GitLfsPointer { size_bytes: Some(size_bytes) } => {
                return write!(
                    formatter,
                    "a Git LFS pointer to a file of {size_bytes} bytes, not the file itself"
                );
            }
            Self::GitLfsPointer { size_bytes: None } => "a Git LFS pointer, not the file itself",
            Self::WebPage => "a web page (a redirect, an error or a login page), not the file itself",
            Self::OldGgml { magic } => {
                return write!(formatter, "a model in the old GGML format (`{magic}`), from before GGUF");
            }
            Self::Empty => "an empty file",
            Self::Text => "plain text",
            Self::Unknown => "not a model file that localml knows",
        })
    }
}

/// Says what a file is that begins with these bytes (512 are enough).
pub fn sniff(start: &[u8]) -> FileKind {
    let magics: [(&[u8], FileKind); 6] = [
        (b"GGUF", FileKind::Gguf),
        (b"PK\x03\x04", FileKind::Zip),
        (b"\x1f\x8b", FileKind::Gzip),
        // Written as a little-endian number, so it reads backwards.
        (b"fmgg", FileKind::OldGgml { magic: "ggmf" }),
        (b"tjgg", FileKind::OldGgml { magic: "ggjt" }),
        (b"lmgg", FileKind::OldGgml { magic: "ggml" }),
    ];
    if start.is_empty() {
        return FileKind::Empty;
    }
    for (magic, kind) in magics {
        if start.starts_with(magic) {
            return kind;
        }
    }
    if start.len() > 9 && start[5..8] == [0, 0, 0] && start[8..].starts_with(b"{\"") {
        return FileKind::Safetensors;
    }
    if looks_like_onnx(start) {
        return FileKind::Onnx;
    }
    sniff_text(start)
}

fn sniff_text(start: &[u8]) -> FileKind {
    let text = String::from_utf8_lossy(start);
    let lower = text.trim_start_matches(['\u{FEFF}', ' ', '\t', '\r', '\n']).to_ascii_lowercase();
    if lower.starts_with("version https://git-lfs.github.com/spec/") {
        let size = lower.lines().find_map(|line| line.strip_prefix("size "));
        return FileKind::GitLfsPointer { size_bytes: size.and_then(|size| size.trim().parse().ok()) };
    }
    let pages =
        ["<!doctype html", "<html", "<head", "<?xml", "<!--", "found. redirecting to", "moved permanently"];
    if pages.iter().any(|page| lower.starts_with(page)) {
        return FileKind::WebPage;
    }
    let is_text = !text.contains('\u{FFFD}') && !text.chars().any(|c| c.is_control() && !c.is_whitespace());
    if is_text { FileKind::Text } else { FileKind::Unknown }
}

/// Checks that a file is a whole GGUF or ONNX model and says which.
///
/// # Errors
/// When reading fails, when it is neither, or when it is cut short or malformed.
pub fn check_model_file<R: Read + Seek>(reader: &mut R, file_bytes: u64) -> Result<FileKind> {
    let mut start = Vec::new();
    reader.seek(SeekFrom::Start(0))?;
    reader.by_ref().take(SNIFF_BYTES).read_to_end(&mut start)?;
    match sniff(&start) {
        FileKind::Gguf => Header::read(reader, file_bytes).map(|_| FileKind::Gguf),
        FileKind::Onnx => check_onnx(reader, file_bytes).map(|()| FileKind::Onnx),
        foreign => Err(GgufError::Foreign(foreign)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor as Memory;

    #[test]
    fn names_what_lies_in_a_models_place() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n";
        let cases: [(&[u8], FileKind); 8] = [
            (b"", FileKind::Empty),
            (b"GGUF\x03\0\0\0", FileKind::Gguf),
            (pointer, FileKind::GitLfsPointer { size_bytes: Some(7) }),
            (b"\n<!DOCTYPE HTML><title>Sign in", FileKind::WebPage),
            (b"Found. Redirecting to https://example.org", FileKind::WebPage),
            (b"fmggd\0\0\0", FileKind::OldGgml { magic: "ggmf" }),
            (b"\x40\0\0\0\0\0\0\0{\"a\":{}}", FileKind::Safetensors),
            (b"\x08\x06\x12\x04onnx", FileKind::Onnx),
        ];
        for (start, kind) in cases {
            assert_eq!(sniff(start), kind);
        }
    }

    #[test]
    fn an_onnx_file_is_whole_or_refused() {
        // ir_version 6; graph of 2 bytes; opset_import of 2 bytes.
        let whole = b"\x08\x06\x3a\x02ab\x42\x02cd";
        let check = |bytes: &[u8]| check_model_file(&mut Memory::new(bytes), bytes.len() as u64);
        assert_eq!(check(whole).expect("whole"), FileKind::Onnx);
        let error = check(&whole[..5]).expect_err("cut in the graph").to_string();
        assert_eq!(error, "the ONNX graph needs 2 bytes at byte 4, but the file ends after 5");
        assert!(check(&whole[..6]).is_err(), "no operator set");
    }
}
