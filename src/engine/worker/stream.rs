//! Bytes of tokens in, text out: only whole characters, and nothing that may yet become a stop text.

/// What one token added.
pub(super) struct Pushed {
    /// Text that can be shown now.
    pub(super) text: String,
    /// True when a stop text came; it and what follows are not shown.
    pub(super) is_stopped: bool,
}

/// Text under way.
pub(super) struct TextStream {
    /// The beginning of a character whose end has not come.
    bytes: Vec<u8>,
    /// Text that may be the beginning of a stop text.
    held: String,
    stops: Vec<String>,
    trims_start: bool,
}

impl TextStream {
    /// `trims_start` drops blanks before the first word.
    pub(super) fn new(stops: &[String], trims_start: bool) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { bytes: Vec::new(), held: String::new(), stops, trims_start }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Pushed {
        self.bytes.extend_from_slice(bytes);
        let whole = self.take_whole_characters();
        self.held.push_str(&whole);
        if self.trims_start {
            self.held = self.held.trim_start().to_owned();
            self.trims_start = self.held.is_empty();
        }
        let first_stop = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = first_stop {
            self.held.truncate(at);
            return Pushed { text: std::mem::take(&mut self.held), is_stopped: true };
        }
        let kept = self.held.split_off(self.held.len() - self.possible_stop_bytes());
        Pushed { text: std::mem::replace(&mut self.held, kept), is_stopped: false }
    }

    /// What is left when no more tokens come.
    pub(super) fn finish(mut self) -> String {
        self.held.push_str(&String::from_utf8_lossy(&self.bytes));
        self.held
    }

    fn take_whole_characters(&mut self) -> String {
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.bytes) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.bytes.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.bytes[..valid]));
                    match error.error_len() {
                        // The character's end is still to come.
                        None => {
                            self.bytes.drain(..valid);
                            return text;
                        }
                        Some(length) => {
                            text.push('\u{FFFD}');
                            self.bytes.drain(..valid + length);
                        }
                    }
                }
            }
        }
    }

    /// The length of the longest end of `held` that is the beginning of a stop text.
    fn possible_stop_bytes(&self) -> usize {
        let held = &self.held;
        (0..held.len())
            .filter(|at| held.is_char_boundary(*at))
            .find(|at| self.stops.iter().any(|stop| stop.starts_with(&held[*at..])))
            .map_or(0, |at| held.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(stream: &mut TextStream, pieces: &[&[u8]]) -> (String, bool) {
        let mut text = String::new();
        for piece in pieces {
            let pushed = stream.push(piece);
            text.push_str(&pushed.text);
            if pushed.is_stopped {
                return (text, true);
            }
        }
        (text, false)
    }

    #[test]
    fn shows_only_whole_characters() {
        let mut stream = TextStream::new(&[], false);
        // "ä" is C3 A4, in two tokens.
        assert_eq!(stream.push(b"\xC3").text, "");
        assert_eq!(stream.push(b"\xA4b").text, "äb");
        assert_eq!(feed(&mut stream, &[b"\xFFc", b"\xE2\x82"]).0, "\u{FFFD}c");
        assert_eq!(stream.finish(), "\u{FFFD}");
    }

    #[test]
    fn a_stop_text_across_tokens_is_never_shown() {
        let mut stream = TextStream::new(&["\nUser:".into()], false);
        assert_eq!(feed(&mut stream, &[b"fine.", b"\nU", b"ser", b": next"]), ("fine.".into(), true));
    }

    #[test]
    fn what_only_began_like_a_stop_text_is_shown_in_the_end() {
        let mut stream = TextStream::new(&["\nUser:".into()], false);
        assert_eq!(feed(&mut stream, &[b"a\nUs", b"ual"]), ("a\nUsual".into(), false));
        assert_eq!(feed(&mut stream, &[b"\nUse"]), (String::new(), false));
        assert_eq!(stream.finish(), "\nUse");
    }

    #[test]
    fn blanks_before_the_first_word_are_dropped() {
        let mut stream = TextStream::new(&[], true);
        assert_eq!(feed(&mut stream, &[b"\n ", b" Once", b" upon"]).0, "Once upon");
    }
}
