//! The parent's side: start the child, ask it, stream what it says, and explain it when it is gone.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::gguf::Header;
use crate::progress::{Flow, Monitor, Unit};

use super::error::{EngineError, Result};
use super::message::{
    EngineOptions, Finish, GenerateRequest, Generated, ModelFacts, Reply, Request, read_frame, write_frame,
};
use super::process::Process;

/// How often a waiting parent looks whether the user has asked to stop.
const POLL: Duration = Duration::from_millis(50);
/// How long the child may take to stop between tokens, before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// How many texts go into one request for vectors.
const EMBED_TEXTS: usize = 64;
/// A prompt of fewer tokens is read too soon for a bar to be worth drawing.
const SHOWN_PROMPT_TOKENS: u32 = 256;

/// A loaded model in a child process. Dropping it ends the process.
pub struct Engine {
    process: Process,
    requests: ChildStdin,
    replies: Receiver<Incoming>,
    facts: ModelFacts,
}

type Incoming = io::Result<(Reply, Vec<u8>)>;

impl Engine {
    /// Checks the model's file, starts `program engine` and has it load the model.
    ///
    /// # Errors
    /// When the file is not a whole GGUF, or the child cannot start, refuses the model or dies.
    pub fn start(
        program: &Path,
        model: &Path,
        options: &EngineOptions,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        check_file(model)?;
        let (process, requests, stdout) = Process::start(program.to_owned(), options.shows_log)
            .map_err(|source| EngineError::Start { source })?;
        let facts = ModelFacts { context_tokens: 0, dimensions: 0, has_chat_template: false };
        let mut engine = Self { process, requests, replies: listen(stdout), facts };
        let doing = "loading the model";
        engine.send(&Request::Load { path: model.to_owned(), options: options.clone() }, doing)?;
        loop {
            let reply = engine.next_reply(doing).map_err(|error| engine.with_log(error))?;
            match reply {
                None if monitor.is_cancelled() => return Err(EngineError::Stopped),
                None => {}
                Some((Reply::Loaded(facts), _)) => {
                    engine.facts = facts;
                    return Ok(engine);
                }
                Some(_) => return Err(out_of_turn()),
            }
        }
    }

    /// What the child found in the model.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// The child's process number.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Has the model say something; `on_text` hears it as whole characters, soon after each token.
    ///
    /// When `on_text` says stop, or the monitor is cancelled, the model stops between tokens and what was said stays.
    ///
    /// # Errors
    /// When the prompt is too long or cannot be rendered, or the child dies. What was said before then was heard.
    pub fn generate(
        &mut self,
        request: &GenerateRequest,
        monitor: &dyn Monitor,
        on_text: &mut dyn FnMut(&str) -> Flow,
    ) -> Result<Generated> {
        let doing = "answering";
        self.send(&Request::Generate(request.clone()), doing)?;
        let mut reading = None;
        let mut stop_since: Option<Instant> = None;
        loop {
            let reply = self.next_reply(doing)?;
            let mut wants_stop = monitor.is_cancelled();
            match reply {
                None => {}
                Some((Reply::Prompt { done_tokens, total_tokens }, _))
                    if total_tokens >= SHOWN_PROMPT_TOKENS =>
                {
                    let start = || (monitor.start("reading", Some(total_tokens.into()), Unit::Items), 0);
                    let (task, shown) = reading.get_or_insert_with(start);
                    task.advance(u64::from(done_tokens.saturating_sub(*shown)));
                    *shown = done_tokens;
                }
                Some((Reply::Prompt { .. }, _)) => {}
                Some((Reply::Text { text }, _)) => {
                    reading = None;
                    wants_stop |= stop_since.is_none() && on_text(&text) == Flow::Stop;
                }
                Some((Reply::Generated(generated), _)) => return Ok(generated),
                Some(_) => return Err(out_of_turn()),
            }
            if wants_stop && stop_since.is_none() {
                stop_since = Some(Instant::now());
                self.send(&Request::Stop, doing)?;
            }
            if stop_since.is_some_and(|since| since.elapsed() > STOP_PATIENCE) {
                self.process.kill();
                return Ok(STOPPED);
            }
        }
    }

    /// Makes one vector a text, each of length 1.
    ///
    /// A text longer than the model reads is cut.
    ///
    /// # Errors
    /// When the engine was not started as an embedder, or the child dies.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        for group in texts.chunks(EMBED_TEXTS) {
            let texts = group.iter().map(|text| (*text).to_owned()).collect();
            match self.ask(&Request::Embed { texts }, "embedding")? {
                (Reply::Embedded { dimensions }, blob) if blob.len() == group.len() * dimensions * 4 => {
                    vectors.extend(blob.chunks_exact(dimensions * 4).map(row));
                }
                _ => return Err(out_of_turn()),
            }
        }
        Ok(vectors)
    }

    /// Counts the tokens of a text, as the model would read it in the middle of a prompt.
    ///
    /// # Errors
    /// When the child dies.
    pub fn count_tokens(&mut self, text: &str) -> Result<usize> {
        match self.ask(&Request::CountTokens { text: text.to_owned() }, "counting tokens")? {
            (Reply::Counted { tokens }, _) => Ok(tokens),
            _ => Err(out_of_turn()),
        }
    }

    fn ask(&mut self, request: &Request, doing: &'static str) -> Result<(Reply, Vec<u8>)> {
        self.send(request, doing)?;
        loop {
            if let Some(reply) = self.next_reply(doing)? {
                return Ok(reply);
            }
        }
    }

    fn send(&mut self, request: &Request, doing: &'static str) -> Result<()> {
        // The pipe breaks only when the child is gone; how it went is the better story.
        write_frame(&mut self.requests, request, &[]).map_err(|_| self.died(doing))
    }

    /// The next reply, or `None` when there was none for a moment.
    fn next_reply(&mut self, doing: &'static str) -> Result<Option<(Reply, Vec<u8>)>> {
        match self.replies.recv_timeout(POLL) {
            Ok(Ok((Reply::Failed(failure), _))) => Err(failure.into()),
            Ok(Ok(reply)) => Ok(Some(reply)),
            Ok(Err(source)) if source.kind() == io::ErrorKind::UnexpectedEof => Err(self.died(doing)),
            Ok(Err(source)) => Err(EngineError::Garbled { source }),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.died(doing)),
        }
    }

    /// Puts llama.cpp's own words into a refusal; the child ends after it.
    fn with_log(&mut self, error: EngineError) -> EngineError {
        match error {
            EngineError::Refused { reason } => {
                let (_, log) = self.process.post_mortem();
                EngineError::Refused { reason: if log.is_empty() { reason } else { log.join("; ") } }
            }
            other => other,
        }
    }

    fn died(&mut self, doing: &'static str) -> EngineError {
        let (death, log) = self.process.post_mortem();
        EngineError::Died { death, doing, log }
    }
}

fn out_of_turn() -> EngineError {
    EngineError::Garbled { source: io::Error::other("a reply came out of turn") }
}

/// What is known of an answer whose engine had to be ended by force.
const STOPPED: Generated = Generated {
    finish: Finish::Stopped,
    prompt_tokens: 0,
    reused_tokens: 0,
    new_tokens: 0,
    prompt_ms: 0,
    answer_ms: 0,
};

fn check_file(path: &Path) -> Result<()> {
    let open = |source| EngineError::Open { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(open)?;
    let file_bytes = file.metadata().map_err(open)?.len();
    match Header::read(&mut file, file_bytes) {
        Ok(_) => Ok(()),
        Err(source) => Err(EngineError::NotAModel { path: path.to_owned(), source }),
    }
}

fn listen(mut stdout: ChildStdout) -> Receiver<Incoming> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        loop {
            let (incoming, is_last) = match read_frame::<Reply>(&mut stdout) {
                Ok(Some(frame)) => (Ok(frame), false),
                Ok(None) => return,
                Err(error) => (Err(error), true),
            };
            if sender.send(incoming).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

fn row(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
