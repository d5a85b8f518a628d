//! How a failure is told: error, causes and hint joined in one place, and the exit code.

use std::process::ExitCode;

use owo_colors::OwoColorize as _;
use serde_json::json;

use crate::error::ErrorKind;
use crate::ops::Error;

use super::output::{Output, harmless, say};

/// How a command ended when it did not fail outright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was done.
    Done,
    /// Part was done; the problems are in the report.
    Problems,
    /// The report itself is bad news, for example damaged files.
    Bad(ErrorKind),
}

/// Tells of a failure on stderr, or as JSON on stdout; returns the exit code.
pub(crate) fn tell(error: &Error, output: Output) -> ExitCode {
    let code = code_of(error.kind());
    if output.is_json() {
        let value = json!({"error": {
            "message": error.to_string(),
            "causes": error.causes(),
            "hint": error.hint(),
            "exit_code": code,
        }});
        output.show(&value, ToString::to_string);
        return code.into();
    }
    say(&format!("{}: {}", "error".red().bold(), harmless(&error.to_string())));
    for cause in error.causes() {
        say(&format!("  cause: {}", harmless(&cause)));
    }
    if let Some(hint) = error.hint() {
        say(&format!("{}: {}", "hint".cyan().bold(), harmless(&hint)));
    }
    code.into()
}

/// The exit code of a command that ran to its end.
pub(crate) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Problems => 8.into(),
        Outcome::Bad(kind) => code_of(kind).into(),
    }
}

/// The one place that gives each kind of failure its number.
fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failed => 1,
        ErrorKind::Usage => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::Damaged => 4,
        ErrorKind::Network => 5,
        ErrorKind::NoRoom => 6,
        ErrorKind::Untrusted => 7,
    }
}
