//! The child process as a process: starting it, listening to its stderr, and learning how it ended.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::error::Death;

/// How many lines of the child's standard error are kept.
const KEPT_LINES: usize = 64;
/// How much of one line is kept, in bytes.
const KEPT_LINE_BYTES: u64 = 400;
/// How many lines go into an error.
const SHOWN_LINES: usize = 3;
/// How long a child that has closed its pipe may take to end, before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// A running child; dropping it kills and reaps it.
pub(super) struct Process {
    child: Child,
    lines: Lines,
    keeper: Option<JoinHandle<()>>,
    /// The keeper ends when this is dropped.
    alive: Option<mpsc::Sender<()>>,
}

type Lines = Arc<Mutex<VecDeque<String>>>;

impl Process {
    /// Starts `program engine`; returns the process, its standard input and its standard output.
    pub(super) fn start(program: PathBuf, shows_log: bool) -> io::Result<(Self, ChildStdin, ChildStdout)> {
        let lines = Lines::default();
        let (sender, receiver) = mpsc::channel();
        let kept = Arc::clone(&lines);
        let (alive, until_dropped) = mpsc::channel::<()>();
        // The kernel signals a child when the thread that started it ends, not the process; so that thread stays
        // as long as this value lives, and meanwhile listens to the child's standard error.
        let keeper = thread::Builder::new().name("engine-keeper".into()).spawn(move || {
            let mut spawned = spawn(program, shows_log);
            let stderr = spawned.as_mut().ok().and_then(|child| child.stderr.take());
            if sender.send(spawned).is_ok() {
                stderr.into_iter().for_each(|stderr| keep_lines(stderr, &kept));
                // An error is the message here: the other end is gone.
                let _ = until_dropped.recv();
            }
        })?;
        let mut child = receiver.recv().map_err(io::Error::other)??;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let process = Self { child, lines, keeper: Some(keeper), alive: Some(alive) };
        match (stdin, stdout) {
            (Some(stdin), Some(stdout)) => Ok((process, stdin, stdout)),
            _ => Err(io::Error::other("the child has no pipes")),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Learns how the child ended, helping it along where it does not; returns its last lines too.
    pub(super) fn post_mortem(&mut self) -> (Death, Vec<String>) {
        let deadline = Instant::now() + END_PATIENCE;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                Ok(None) | Err(_) => {
                    self.kill();
                    break None;
                }
            }
        };
        self.join_keeper();
        (status.map_or(Death::Unknown, Death::of), self.telling_lines())
    }

    /// The last lines that say what went wrong, or else simply the last ones.
    pub(super) fn telling_lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let is_telling = |line: &&String| {
            let lower = line.to_lowercase();
            ["error", "fail", "assert", "invalid", "unknown", "what():", "panicked"]
                .iter()
                .any(|word| lower.contains(word))
        };
        let telling: Vec<&String> = lines.iter().filter(is_telling).collect();
        let chosen: Vec<&String> = if telling.is_empty() { lines.iter().collect() } else { telling };
        chosen[chosen.len().saturating_sub(SHOWN_LINES)..].iter().map(|line| (*line).clone()).collect()
    }

    pub(super) fn kill(&mut self) {
        // Both fail only when the child is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn join_keeper(&mut self) {
        self.alive = None;
        if let Some(keeper) = self.keeper.take() {
            // It only listens; a panic there has nothing to add.
            let _ = keeper.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.join_keeper();
    }
}

fn spawn(program: PathBuf, shows_log: bool) -> io::Result<Child> {
    let stderr = if shows_log { Stdio::inherit() } else { Stdio::piped() };
    Command::new(program)
        .arg("engine")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        // A group of its own, so that Ctrl-C reaches only the parent, which then stops it between tokens.
        .process_group(0)
        .spawn()
}

fn keep_lines(stderr: ChildStderr, kept: &Lines) {
    let mut reader = BufReader::new(stderr);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match reader.by_ref().take(KEPT_LINE_BYTES).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&bytes).trim().to_owned();
        // llama.cpp draws its loading bar with dots.
        if line.trim_matches('.').is_empty() {
            continue;
        }
        let mut lines = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}
