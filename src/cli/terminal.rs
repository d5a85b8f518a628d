//! The monitor of a terminal: bars where a person looks, plain lines where not, silence when asked.

use std::io::{self, IsTerminal as _};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::OwoColorize as _;

use crate::progress::{Monitor, Task, Unit};

use super::output::{harmless, say};

/// Set by the first Ctrl-C; the second one ends the process at once.
static CANCELLED: AtomicBool = AtomicBool::new(false);
/// True while a line is awaited: there is nothing to stop then but the process.
static IS_READING_LINE: AtomicBool = AtomicBool::new(false);
static INSTALL_HANDLER: Once = Once::new();

/// The exit code of a process that a second Ctrl-C ends.
const EXIT_INTERRUPTED: i32 = 130;

/// Shows progress and notes on stderr.
pub(crate) struct Terminal {
    bars: Option<MultiProgress>,
    is_quiet: bool,
}

impl Terminal {
    /// Bars only when stderr is a terminal, and neither quiet nor JSON was asked for.
    pub(crate) fn new(is_quiet: bool, is_json: bool) -> Self {
        INSTALL_HANDLER.call_once(|| {
            // Without a handler Ctrl-C still ends the process; everything verified is on disk by then.
            let _ = ctrlc::set_handler(on_interrupt);
        });
        let bars = (!is_quiet && !is_json && std::io::stderr().is_terminal())
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self { bars, is_quiet: is_quiet || is_json }
    }

    /// Waits for a line of standard input, empty at its end; meanwhile Ctrl-C ends the process at once.
    ///
    /// # Errors
    /// When it cannot be read.
    #[cfg_attr(not(feature = "engine"), expect(dead_code, reason = "only a conversation reads lines"))]
    pub(crate) fn read_line(&self) -> io::Result<String> {
        let mut line = String::new();
        IS_READING_LINE.store(true, Ordering::SeqCst);
        let outcome = io::stdin().read_line(&mut line);
        IS_READING_LINE.store(false, Ordering::SeqCst);
        outcome.map(|_| line)
    }

    fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| say(text)),
            None => say(text),
        }
    }
}

#[expect(clippy::exit, reason = "the second Ctrl-C, or one at a prompt, means: now")]
fn on_interrupt() {
    if CANCELLED.swap(true, Ordering::SeqCst) || IS_READING_LINE.load(Ordering::SeqCst) {
        std::process::exit(EXIT_INTERRUPTED);
    }
    say("stopping; what is verified is kept (press Ctrl-C again to end at once)");
}

impl Monitor for Terminal {
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_> {
        if let Some(bars) = &self.bars {
            let bar = bars.add(new_bar(total, unit));
            bar.set_message(label.to_owned());
            bar.enable_steady_tick(Duration::from_millis(250));
            return Box::new(Bar { bar });
        }
        Box::new(Lines::new(label, total, unit, self.is_quiet))
    }

    fn note(&self, text: &str) {
        if !self.is_quiet {
            self.line(&harmless(text));
        }
    }

    fn warn(&self, text: &str) {
        self.line(&format!("{}: {}", "warning".yellow().bold(), harmless(text)));
    }

    fn is_cancelled(&self) -> bool {
        CANCELLED.load(Ordering::SeqCst)
    }
}

fn new_bar(total: Option<u64>, unit: Unit) -> ProgressBar {
    let template = match (total, unit) {
        (Some(_), Unit::Bytes) => {
            "{msg:28!} [{bar:24}] {percent:>3} %  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left"
        }
        (Some(_), Unit::Items) => "{msg:28!} [{bar:24}] {percent:>3} %  {pos} of {len}  {eta} left",
        (None, Unit::Bytes) => "{msg:28!} {spinner} {bytes}  {bytes_per_sec}",
        (None, Unit::Items) => "{msg:28!} {spinner} {pos}",
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

struct Bar {
    bar: ProgressBar,
}

impl Task for Bar {
    fn advance(&self, count: u64) {
        self.bar.inc(count);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How long a task may run before plain lines tell of it, and how often they do then.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Plain progress lines for logs: nothing for short work, a line each few seconds for long.
struct Lines {
    label: String,
    total: Option<u64>,
    unit: Unit,
    is_quiet: bool,
    done: AtomicU64,
    began: Instant,
    num_lines: AtomicU64,
}

impl Lines {
    fn new(label: &str, total: Option<u64>, unit: Unit, is_quiet: bool) -> Self {
        Self {
            label: label.to_owned(),
            total,
            unit,
            is_quiet,
            done: AtomicU64::new(0),
            began: Instant::now(),
            num_lines: AtomicU64::new(0),
        }
    }
}

impl Task for Lines {
    fn advance(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        if self.is_quiet {
            return;
        }
        let due = self.began.elapsed().as_secs() / LINE_EVERY.as_secs();
        if due > self.num_lines.fetch_max(due, Ordering::Relaxed) {
            let show = |count: u64| match self.unit {
                Unit::Bytes => size(count),
                Unit::Items => count.to_string(),
            };
            let of = self.total.map(|total| format!(" of {}", show(total))).unwrap_or_default();
            say(&format!("{}: {}{of}", self.label, show(done)));
        }
    }
}

/// A number of bytes for people, in powers of 1000 as shops and phone companies count.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, f64); 4] = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let value = bytes as f64;
    for (name, factor) in UNITS {
        if value >= factor * 0.9995 {
            let scaled = value / factor;
            let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
            return format!("{scaled:.digits$} {name}");
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let shown: Vec<String> = [0, 999, 1_000, 491_400_032, 999_999_999, 12_300_000_000].map(size).to_vec();
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "491 MB", "1.00 GB", "12.3 GB"]);
    }
}
