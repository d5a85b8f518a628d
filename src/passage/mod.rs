//! The plain vocabulary of the knowledge wing: a passage, where it stands, and its vector.

use serde::{Deserialize, Serialize};

/// Where a passage stands, so that a citation can be opened and checked.
///
/// Lines count from 1. Bytes count from 0 in the text that was read: the file itself for plain
/// formats, the stored extracted text for PDF, office and e-book files.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceSpan {
    /// The file, relative to its collection's root, with `/` between folders.
    pub file: String,
    /// The page, counted from 1, where the format has pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// The first line that the passage covers.
    pub first_line: u32,
    /// The last line that the passage covers.
    pub last_line: u32,
    /// Where the passage begins, in bytes.
    pub start_byte: u64,
    /// One past where the passage ends, in bytes.
    pub end_byte: u64,
}

/// A chunk of a document: what is searched, quoted and cited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// The text exactly as it stands in the source, so that a quote is verbatim.
    pub text: String,
    /// The headings above it, outermost first.
    #[serde(default)]
    pub heading_path: Vec<String>,
    /// Where it stands.
    pub span: SourceSpan,
    /// ISO 639-1 code of its language, when it could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// A text's embedding: one row of `dimensions` numbers, of length 1 unless it is all zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector(pub Vec<f32>);

impl Vector {
    /// Scales the vector to length 1; a zero vector stays as it is.
    pub fn normalized(mut values: Vec<f32>) -> Self {
        let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            values.iter_mut().for_each(|value| *value /= length);
        }
        Self(values)
    }

    /// The cosine of the angle between two vectors of length 1.
    pub fn dot(&self, other: &Self) -> f32 {
        self.0.iter().zip(&other.0).map(|(left, right)| left * right).sum()
    }
}
