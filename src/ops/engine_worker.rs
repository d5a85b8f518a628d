//! `engine`, a hidden verb: this process becomes the one that runs llama.cpp for its parent.

use std::io::{Read, Write};

use crate::engine::worker;

use super::error::Result;

/// Serves one parent over a pair of pipes, until the parent closes them.
///
/// # Errors
/// When a pipe breaks, or what comes in is not a request.
pub fn engine_worker(input: impl Read + Send + 'static, output: impl Write) -> Result<()> {
    Ok(worker::serve(input, output)?)
}
