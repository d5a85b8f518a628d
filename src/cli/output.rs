//! The only file that speaks: results on stdout as text or JSON, errors and notes on stderr.

use std::io::Write as _;

use serde::Serialize;

/// Prints results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    is_json: bool,
    gives_advice: bool,
}

impl Output {
    /// Speaks JSON or text.
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, gives_advice: true }
    }

    /// As `new`, without advice on what to type next.
    pub(crate) fn quiet(is_json: bool) -> Self {
        Self { is_json, gives_advice: false }
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

    /// As `show`, for a text some lines of which say which command comes next: they begin with `next: `.
    pub(crate) fn show_with_advice<R: Serialize>(self, report: &R, text: impl FnOnce(&R) -> String) {
        self.show(report, |report| match self.gives_advice {
            true => text(report),
            false => without_advice(&text(report)),
        });
    }

    /// Prints words as they come, without waiting for a line's end. False when nobody reads any more (`| head`), which
    /// is no failure of the work but ends its need.
    pub(crate) fn write(self, words: &str) -> bool {
        let mut stdout = anstream::stdout();
        stdout.write_all(words.as_bytes()).and_then(|()| stdout.flush()).is_ok()
    }
}

fn without_advice(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("next: ")).collect();
    lines.join("\n")
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
    fn whoever_wants_only_results_gets_no_advice() {
        assert_eq!(
            without_advice("installed a\nnext: `localml b`\nwhat comes next: c\n"),
            "installed a\nwhat comes next: c"
        );
    }

    #[test]
    fn escape_sequences_lose_their_power() {
        let text = "a\u{1b}[2Jb\u{1b}]0;title\u{7}\r\u{9b}31mc\n\td – é";
        assert_eq!(harmless(text), "a[2Jb]0;title31mc\n\td – é");
    }
}
