//! A monitor for which a user stops: in the middle of a task of a given name, after so many bytes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use localml::progress::{Monitor, Silent, Task, Unit};

/// Asks to stop once the tasks of one name have told of so many bytes.
pub(crate) struct Stops {
    label: &'static str,
    after_bytes: u64,
    heard_bytes: AtomicU64,
    totals: Mutex<Vec<Option<u64>>>,
    notes: Mutex<Vec<String>>,
}

impl Stops {
    pub(crate) fn in_task(label: &'static str, after_bytes: u64) -> Self {
        let (totals, notes) = (Mutex::default(), Mutex::default());
        Self { label, after_bytes, heard_bytes: AtomicU64::new(0), totals, notes }
    }

    /// How many bytes the tasks of that name told of.
    pub(crate) fn heard_bytes(&self) -> u64 {
        self.heard_bytes.load(Ordering::SeqCst)
    }

    /// How long each task of that name said that it would be.
    pub(crate) fn totals(&self) -> Vec<Option<u64>> {
        self.totals.lock().unwrap().clone()
    }

    /// What was said, a line each.
    pub(crate) fn notes(&self) -> String {
        self.notes.lock().unwrap().join("\n")
    }
}

impl Monitor for Stops {
    fn start(&self, label: &str, total: Option<u64>, _unit: Unit) -> Box<dyn Task + '_> {
        if label != self.label {
            return Box::new(Silent);
        }
        self.totals.lock().unwrap().push(total);
        Box::new(Heard(&self.heard_bytes))
    }

    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.to_owned());
    }

    fn warn(&self, text: &str) {
        self.note(text);
    }

    fn is_cancelled(&self) -> bool {
        self.heard_bytes() >= self.after_bytes
    }
}

struct Heard<'a>(&'a AtomicU64);

impl Task for Heard<'_> {
    fn advance(&self, count: u64) {
        self.0.fetch_add(count, Ordering::SeqCst);
    }
}
