//! What can go wrong with the engine, in words for someone who only wanted an answer.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::error::{ErrorKind, Explain};
use crate::gguf::GgufError;

use super::message::Failure;

/// Why there is no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model file cannot be opened.
    #[error("`{}`: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a whole model; llama.cpp has not seen it.
    #[error("`{}` is not a usable model", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GgufError,
    },
    /// The child process could not be started.
    #[error("the engine process could not be started")]
    Start {
        /// What the system said.
        source: io::Error,
    },
    /// llama.cpp does not take this model.
    #[error("llama.cpp refused the model: {reason}")]
    Refused {
        /// The last lines of its log, or what is known.
        reason: String,
    },
    /// There is not enough memory for the context.
    #[error("there is not enough memory for a context of {context_tokens} tokens")]
    NoMemory {
        /// The context that was tried.
        context_tokens: u32,
    },
    /// The prompt is longer than the context.
    #[error("the text has {prompt_tokens} tokens; the model's context has room for {context_tokens}")]
    TooLong {
        /// How long the prompt is.
        prompt_tokens: usize,
        /// How long it may be, with at least one token for the answer.
        context_tokens: u32,
    },
    /// The model's chat template does not work.
    #[error("the model's chat template failed: {reason}")]
    Template {
        /// What minijinja said.
        reason: String,
    },
    /// The model cannot do what was asked.
    #[error("{reason}")]
    WrongUse {
        /// Why not.
        reason: String,
    },
    /// llama.cpp failed in a computation, and lives on.
    #[error("llama.cpp failed: {reason}")]
    Compute {
        /// What it said.
        reason: String,
    },
    /// The child process ended by itself.
    #[error("the engine process {death} while {doing}{}", Tail(log))]
    Died {
        /// How it ended.
        death: Death,
        /// What it was doing: `loading the model`, `answering`, …
        doing: &'static str,
        /// The last lines of its standard error.
        log: Vec<String>,
    },
    /// The pipe broke, or carried something that is no message.
    #[error("the engine process sent something unreadable")]
    Garbled {
        /// What was wrong.
        source: io::Error,
    },
    /// The user asked to stop before there was an answer.
    #[error("stopped")]
    Stopped,
}

/// The result of asking the engine.
pub type Result<T> = std::result::Result<T, EngineError>;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// By a signal.
    Signal(i32),
    /// With an exit code.
    Code(i32),
    /// In an unknown way.
    Unknown,
}

const SIGILL: i32 = 4;
const SIGABRT: i32 = 6;
const SIGBUS: i32 = 7;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;

impl Death {
    pub(super) fn of(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        match (status.signal(), status.code()) {
            (Some(signal), _) => Self::Signal(signal),
            (None, Some(code)) => Self::Code(code),
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(SIGKILL) => formatter.write_str("was killed (signal 9)"),
            Self::Signal(SIGABRT) => formatter.write_str("gave up (llama.cpp aborted, signal 6)"),
            Self::Signal(SIGSEGV | SIGBUS) => formatter.write_str("crashed (memory fault)"),
            Self::Signal(SIGILL) => formatter.write_str("crashed (an instruction this CPU does not have)"),
            Self::Signal(signal) => write!(formatter, "was ended by signal {signal}"),
            Self::Code(code) => write!(formatter, "ended with code {code}"),
            Self::Unknown => formatter.write_str("ended"),
        }
    }
}

/// The lines that a dead process left, after a colon.
struct Tail<'a>(&'a [String]);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(formatter, ": {}", self.0.join("; ")) }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { reason } => Self::Refused { reason },
            Failure::NoMemory { context_tokens } => Self::NoMemory { context_tokens },
            Failure::TooLong { prompt_tokens, context_tokens } => {
                Self::TooLong { prompt_tokens, context_tokens }
            }
            Failure::Template { reason } => Self::Template { reason },
            Failure::WrongUse { reason } => Self::WrongUse { reason },
            Failure::Compute { reason } => Self::Compute { reason },
        }
    }
}

impl Explain for EngineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::NotAModel { source, .. } => source.kind(),
            Self::NoMemory { .. } => ErrorKind::NoRoom,
            Self::WrongUse { .. } => ErrorKind::Usage,
            _ => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotAModel { source, .. } => return source.hint(),
            Self::Refused { .. } => {
                "the file is whole, but this llama.cpp does not know such a model; try another"
            }
            Self::NoMemory { .. } => "close other programs, or give a smaller `--context`",
            Self::TooLong { .. } => {
                "shorten the text, or give a larger `--context` where the model allows it"
            }
            Self::Template { .. } => "`localml run MODEL TEXT --raw` works without the template",
            Self::Died { death: Death::Signal(SIGKILL), .. } => {
                "if nobody did that, memory ran out: close other programs or take a smaller model; `localml doctor` \
                 shows what this PC has"
            }
            Self::Died { death: Death::Signal(SIGILL), .. } => {
                "this build is for a newer CPU; build localml on this PC, or use the portable build"
            }
            Self::Died { death: Death::Signal(SIGABRT | SIGSEGV | SIGBUS), .. } => {
                "`localml verify` tells whether the model's file is damaged; if it is not, try another model"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
