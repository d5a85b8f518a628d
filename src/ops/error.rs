//! How a deed fails: any room's error, or a failure of the deed itself, with what was being done.

use std::error::Error as StdError;
use std::fmt;

use crate::error::{ErrorKind, Explain};

/// The result of a deed.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a deed did not succeed.
pub struct Error {
    /// What was being done, when that is more than the cause says.
    context: Option<String>,
    cause: Box<dyn Explain + Send + Sync>,
    hint: Option<String>,
}

impl Error {
    /// A failure of the deed itself, not of one room.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Plain { kind, message: message.into() }.into()
    }

    /// Says what to do; replaces the cause's own hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what was being done when the cause struck, for example "could not install `x`".
    #[must_use]
    pub fn while_doing(mut self, context: impl Into<String>) -> Self {
        let context = context.into();
        self.context = Some(match self.context {
            Some(inner) => format!("{context}: {inner}"),
            None => context,
        });
        self
    }

    /// Which kind of failure it is; it decides the exit code.
    pub fn kind(&self) -> ErrorKind {
        self.cause.kind()
    }

    /// What the reader can do.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone().or_else(|| self.cause.hint())
    }

    /// The error with its causes and its hint, for a warning beside a result.
    pub fn in_one_line(&self) -> String {
        let mut line = self.with_causes();
        if let Some(hint) = self.hint() {
            line = format!("{line}; {hint}");
        }
        line
    }

    /// The error with its causes.
    pub fn with_causes(&self) -> String {
        self.causes().iter().fold(self.to_string(), |line, cause| format!("{line}: {cause}"))
    }

    /// Everything that led here, the nearest cause first, without what `Display` already says.
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut next: Option<&dyn StdError> = self.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        // Some errors repeat their source in their own text.
        let mut said = self.to_string();
        causes.retain(|cause| {
            let is_news = !said.ends_with(cause.as_str());
            if is_news {
                said.clone_from(cause);
            }
            is_news
        });
        causes
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.context {
            Some(context) => formatter.write_str(context),
            None => self.cause.fmt(formatter),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self} (kind {:?}, causes {:?})", self.kind(), self.causes())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.context {
            Some(_) => Some(&*self.cause),
            None => self.cause.source(),
        }
    }
}

impl<E: Explain + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        Self { context: None, cause: Box::new(cause), hint: None }
    }
}

/// Adds what was being done to any room's result.
pub(crate) trait While<T> {
    /// Describes the deed; called only on failure.
    fn while_doing(self, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> While<T> for std::result::Result<T, E> {
    fn while_doing(self, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().while_doing(context()))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Plain {
    kind: ErrorKind,
    message: String,
}

impl Explain for Plain {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}
