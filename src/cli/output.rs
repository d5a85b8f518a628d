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

    /// Prints words as they come, without waiting for a line's end. False when nobody reads any more (`| head`), which
    /// is no failure of the work but ends its need.
    pub(crate) fn write(self, words: &str) -> bool {
        let mut stdout = anstream::stdout();
        stdout.write_all(words.as_bytes()).and_then(|()| stdout.flush()).is_ok()
    }
}

/// Text of a document, a model or a file name without control characters: an escape sequence in it could rewrite what
/// stands on the terminal. Line ends and tabs stay.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t')).collect()
}

/// Prints a line on stderr.
pub(crate) fn say(line: &str) {
    anstream::eprintln!("{line}");
}

/// Prints a line on stdout, for texts that are neither text nor JSON (completions).
pub(crate) fn print(text: &str) {
    anstream::print!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_power() {
        let text = "a\u{1b}[2Jb\u{1b}]0;title\u{7}\r\u{9b}31mc\n\td – é";
        assert_eq!(harmless(text), "a[2Jb]0;title31mc\n\td – é");
    }
}
