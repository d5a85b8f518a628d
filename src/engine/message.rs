//! What parent and child say to each other, and how it is framed.
//!
//! ```text
//! frame = json_bytes u32 | blob_bytes u32 | json | blob        little-endian; the blob carries vectors
//! ```

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A frame longer than this is a fault, not a message.
const MAX_FRAME_BYTES: u32 = 256 * 1024 * 1024;

/// How a model is to be loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineOptions {
    /// The longest prompt and answer together, in tokens; `None` means 4,096. Never more than the model's own.
    pub context_tokens: Option<u32>,
    /// How many threads compute; `None` means one a core.
    pub threads: Option<u32>,
    /// True to make vectors, false to make text.
    pub is_embedder: bool,
    /// How token vectors become one; `None` leaves it to the model's header.
    pub pooling: Option<Pooling>,
    /// True to let llama.cpp's own log through to this process's standard error.
    pub shows_log: bool,
}

/// How token vectors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over all tokens.
    Mean,
    /// The first token's vector.
    Cls,
    /// The last token's vector.
    Last,
}

/// What the child found in the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// The longest prompt and answer together, in tokens.
    pub context_tokens: u32,
    /// The length of its vectors.
    pub dimensions: usize,
    /// True when it has a template for messages.
    pub has_chat_template: bool,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// What the model reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// Messages, put into words by the model's own template.
    Chat(Vec<Message>),
    /// Text to continue; empty means: begin from nothing.
    Raw(String),
}

/// How the next token is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 always takes the likeliest token; higher is more varied.
    pub temperature: f32,
    /// Only the k likeliest tokens take part; 0 means all.
    pub top_k: i32,
    /// Only the likeliest tokens that together reach this probability take part; 1 means all.
    pub top_p: f32,
    /// Only tokens of at least this share of the likeliest one's probability take part; 0 means all.
    pub min_p: f32,
    /// How much less likely a token becomes that stood in the last 64; 1 means no less.
    pub repeat_penalty: f32,
    /// Where the dice begin; the same seed gives the same text.
    pub seed: u32,
}

impl Default for Sampling {
    /// llama.cpp's own defaults.
    fn default() -> Self {
        Self { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, repeat_penalty: 1.0, seed: 0 }
    }
}

/// A wish for text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateRequest {
    /// What the model reads.
    pub prompt: Prompt,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// The longest answer, in tokens; `None` means to the context's end.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// True to let a model think aloud before it answers, where its template knows of it.
    pub thinks: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model said that it is done.
    End,
    /// `max_tokens` were said.
    Length,
    /// The context is full.
    Context,
    /// One of the stop texts came.
    StopText,
    /// The reader asked to stop.
    Stopped,
}

/// What an answer took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// Why it ended.
    pub finish: Finish,
    /// How many tokens the prompt had.
    pub prompt_tokens: u32,
    /// How many of them were still in memory from the request before.
    pub reused_tokens: u32,
    /// How many tokens were said.
    pub new_tokens: u32,
    /// How long reading the prompt took, in milliseconds.
    pub prompt_ms: u64,
    /// How long saying the answer took, in milliseconds.
    pub answer_ms: u64,
}

/// From parent to child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    Load { path: PathBuf, options: EngineOptions },
    Generate(GenerateRequest),
    Embed { texts: Vec<String> },
    CountTokens { text: String },
    Stop,
}

/// From child to parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Loaded(ModelFacts),
    Prompt {
        done_tokens: u32,
        total_tokens: u32,
    },
    Text {
        text: String,
    },
    Generated(Generated),
    /// The vectors stand in the blob: `num_texts × dimensions` f32, row-major.
    Embedded {
        dimensions: usize,
    },
    Counted {
        tokens: usize,
    },
    Failed(Failure),
}

/// What the child can refuse while it lives on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failure {
    Refused { reason: String },
    NoMemory { context_tokens: u32 },
    TooLong { prompt_tokens: usize, context_tokens: u32 },
    Template { reason: String },
    WrongUse { reason: String },
    Compute { reason: String },
}

/// Writes one frame and flushes.
pub(super) fn write_frame<T: Serialize>(writer: &mut impl Write, message: &T, blob: &[u8]) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let too_long = |_| io::Error::other("the message is too long");
    let json_bytes = u32::try_from(json.len()).map_err(too_long)?;
    let blob_bytes = u32::try_from(blob.len()).map_err(too_long)?;
    writer.write_all(&json_bytes.to_le_bytes())?;
    writer.write_all(&blob_bytes.to_le_bytes())?;
    writer.write_all(&json)?;
    writer.write_all(blob)?;
    writer.flush()
}

/// Reads one frame; `None` when the other side has closed the pipe between frames.
pub(super) fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut lengths = [0; 8];
    match reader.read(&mut lengths[..1])? {
        0 => return Ok(None),
        _ => reader.read_exact(&mut lengths[1..])?,
    }
    let (first, second) = lengths.split_at(4);
    let json = read_bytes(reader, first)?;
    let blob = read_bytes(reader, second)?;
    Ok(Some((serde_json::from_slice(&json)?, blob)))
}

fn read_bytes(reader: &mut impl Read, length: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::from_le_bytes(length.try_into().map_err(io::Error::other)?);
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut bytes = Vec::new();
    reader.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == u64::from(length) { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_the_end_is_known() {
        let mut pipe = Vec::new();
        write_frame(&mut pipe, &Request::CountTokens { text: "ü".into() }, b"blob").expect("memory");
        let mut reader = &pipe[..];
        let (request, blob) = read_frame::<Request>(&mut reader).expect("whole").expect("one frame");
        assert!(matches!(request, Request::CountTokens { text } if text == "ü"));
        assert_eq!(blob, b"blob");
        assert!(read_frame::<Request>(&mut reader).expect("the end").is_none());
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let mut pipe = Vec::new();
        write_frame(&mut pipe, &Request::Stop, b"blob").expect("memory");
        for length in 1..pipe.len() {
            assert!(read_frame::<Request>(&mut &pipe[..length]).is_err(), "{length} bytes");
        }
    }
}
