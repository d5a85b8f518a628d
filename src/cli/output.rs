//! The only file that speaks: results on stdout as text or JSON, errors and notes on stderr.

use std::io::Write as _;

use serde::Serialize;

/// Prints results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    is_json: bool,
}

impl Output {
    /// Speaks JSON or text.
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// True when stdout is for programs.
    pub(crate) fn is_json(self) -> bool {
        self.is_json
    }

    /// Prints a report: as one JSON value, or as the text that `text` makes of it.
    pub(crate) fn show<R: Serialize>(self, report: &R, text: impl FnOnce(&R) -> String) {
        let mut line = if self.is_json {
            serde_json::to_string_pretty(report).unwrap_or_else(|error| format!("\"{error}\""))
        } else {
            text(report)
        };
        if !line.is_empty() && !line.ends_with('\n') {
            line.push('\n');
        }
        self.write(&line);
    }

    /// Prints words as they come, without waiting for a line's end.
    pub(crate) fn write(self, words: &str) {
        let mut stdout = anstream::stdout();
        // A reader that went away (`| head`) is not a failure of the work.
        let _ = stdout.write_all(words.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// Prints a line on stderr.
pub(crate) fn say(line: &str) {
    anstream::eprintln!("{line}");
}

/// Prints a line on stdout, for texts that are neither text nor JSON (completions).
pub(crate) fn print(text: &str) {
    anstream::print!("{text}");
}
