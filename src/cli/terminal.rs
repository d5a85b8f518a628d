//! The monitor of a terminal: bars where a person looks, plain lines where not, events for programs, silence when asked.

use std::env;
use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressDrawTarget};
use owo_colors::OwoColorize as _;
use serde_json::json;

pub(crate) use crate::progress::size;
use crate::progress::{Monitor, Silent, Task, Unit};

use super::meter::Meter;
use super::output::{harmless, say};
use super::tasks::{Bar, Events, Lines, emit};

/// Set by the first Ctrl-C; the second one ends the process at once.
static CANCELLED: AtomicBool = AtomicBool::new(false);
/// True while a line is awaited: there is nothing to stop then but the process.
static IS_READING_LINE: AtomicBool = AtomicBool::new(false);
/// True when stderr is for programs.
static SPEAKS_EVENTS: AtomicBool = AtomicBool::new(false);
static INSTALL_HANDLER: Once = Once::new();
/// The bars that are drawn, for who speaks from another thread.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// The exit code of a process that a second Ctrl-C ends.
const EXIT_INTERRUPTED: i32 = 130;

/// Shows progress and notes on stderr.
pub(crate) struct Terminal {
    face: Face,
    /// How often progress is told where no bars are drawn.
    every: Duration,
    num_tasks: AtomicU64,
}

/// Who looks at stderr.
enum Face {
    /// A person at a terminal.
    Bars(MultiProgress),
    /// A person who reads a log later.
    Lines,
    /// A program.
    Events,
    /// A program that wants no progress.
    QuietEvents,
    /// A person who wants none.
    Quiet,
}

impl Terminal {
    /// Bars only when stderr is a terminal, and neither quiet nor JSON was asked for.
    pub(crate) fn new(is_quiet: bool, is_json: bool) -> Self {
        INSTALL_HANDLER.call_once(|| {
            // Without a handler Ctrl-C still ends the process; everything verified is on disk by then.
            let _ = ctrlc::set_handler(on_interrupt);
        });
        SPEAKS_EVENTS.store(is_json, Ordering::SeqCst);
        let face = match (is_quiet, is_json) {
            (true, false) => Face::Quiet,
            (true, true) => Face::QuietEvents,
            (false, true) => Face::Events,
            (false, false) if io::stderr().is_terminal() => bars_or_lines(),
            (false, false) => Face::Lines,
        };
        Self { face, every: rhythm(is_json), num_tasks: AtomicU64::new(0) }
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
        match &self.face {
            Face::Bars(bars) => bars.suspend(|| say(text)),
            _ => say(text),
        }
    }
}

/// A terminal that cannot move its cursor (`TERM=dumb`, or none) would show no bar at all.
fn bars_or_lines() -> Face {
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    if bars.is_hidden() {
        return Face::Lines;
    }
    let _ = BARS.set(bars.clone());
    Face::Bars(bars)
}

#[expect(clippy::exit, reason = "the second Ctrl-C, or one at a prompt, means: now")]
fn on_interrupt() {
    if CANCELLED.swap(true, Ordering::SeqCst) || IS_READING_LINE.load(Ordering::SeqCst) {
        std::process::exit(EXIT_INTERRUPTED);
    }
    let text = "stopping; what is verified is kept (press Ctrl-C again to end at once)";
    match (SPEAKS_EVENTS.load(Ordering::SeqCst), BARS.get()) {
        (true, _) => emit(&json!({"event": "note", "text": text})),
        // The next drawing of the bars would wipe it out, and the terminal's own `^C` stands in their way.
        (false, Some(bars)) => bars.suspend(|| say(text)),
        (false, None) => say(text),
    }
}

impl Monitor for Terminal {
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_> {
        let meter = Meter::new(label, total, unit);
        match &self.face {
            Face::Bars(bars) => Box::new(Bar::begin(bars, meter)),
            Face::Lines => Box::new(Lines::begin(meter, self.every)),
            Face::Events => {
                let number = self.num_tasks.fetch_add(1, Ordering::Relaxed) + 1;
                Box::new(Events::begin(number, meter, self.every))
            }
            Face::Quiet | Face::QuietEvents => Box::new(Silent),
        }
    }

    fn note(&self, text: &str) {
        match &self.face {
            Face::Bars(_) | Face::Lines => self.line(&harmless(text)),
            Face::Events => emit(&json!({"event": "note", "text": text})),
            Face::Quiet | Face::QuietEvents => {}
        }
    }

    fn warn(&self, text: &str) {
        match &self.face {
            Face::Events | Face::QuietEvents => emit(&json!({"event": "warning", "text": text})),
            _ => self.line(&format!("{}: {}", "warning".yellow().bold(), harmless(text))),
        }
    }

    fn is_cancelled(&self) -> bool {
        CANCELLED.load(Ordering::SeqCst)
    }
}

/// How often progress is told where no bars are drawn: what the environment says, else 5 s, or 1 s for programs.
fn rhythm(is_json: bool) -> Duration {
    let typed = env::var("LOCALML_PROGRESS_SECONDS").ok().and_then(|text| text.parse::<f64>().ok());
    let seconds = typed.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    Duration::from_secs_f64(seconds.unwrap_or(if is_json { 1.0 } else { 5.0 }).min(3600.0))
}
