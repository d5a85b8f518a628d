//! One count over all files of a deed, with what it costs: each file's own progress passes through it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::progress::{Cost, Monitor, Task, Unit};
use crate::transfer::READING_LABEL;

/// A file that is to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreseen {
    /// What it is called.
    pub(super) name: String,
    /// Its length, in bytes.
    pub(super) size_bytes: u64,
    /// How much of that lies here already, as far as is known.
    pub(super) here_bytes: u64,
}

/// Passes the progress of files on, and adds them up.
pub(super) struct Tally<'a> {
    monitor: &'a dyn Monitor,
    /// The sum, where there is more than one file.
    total: Option<Box<dyn Task + 'a>>,
    /// What the sum holds already of files that have not begun, by their names and lengths.
    ahead: Mutex<HashMap<(String, u64), Vec<u64>>>,
    /// What the line has cost by now.
    spent_bytes: &'a (dyn Fn() -> u64 + Sync),
    saved_bytes: AtomicU64,
}

impl<'a> Tally<'a> {
    /// Begins with these files, and with what needs no fetching at all. The sum begins with all that is here: the time
    /// that is left is that of the rest.
    pub(super) fn begin(
        monitor: &'a dyn Monitor,
        files: Vec<Foreseen>,
        whole_bytes: u64,
        spent_bytes: &'a (dyn Fn() -> u64 + Sync),
    ) -> Self {
        let mut ahead: HashMap<(String, u64), Vec<u64>> = HashMap::new();
        let (mut total_bytes, mut here_bytes, num_files) = (whole_bytes, whole_bytes, files.len());
        for file in files {
            total_bytes += file.size_bytes;
            here_bytes += file.here_bytes;
            ahead.entry((file.name, file.size_bytes)).or_default().insert(0, file.here_bytes);
        }
        let saved_bytes = AtomicU64::new(whole_bytes);
        let mut tally = Self { monitor, total: None, ahead: Mutex::default(), spent_bytes, saved_bytes };
        if num_files > 1 {
            let total = monitor.start("in all", Some(total_bytes), Unit::Bytes);
            if here_bytes > 0 {
                total.skip(here_bytes);
            }
            tally.saved_bytes = AtomicU64::new(here_bytes);
            tally.ahead = Mutex::new(ahead);
            tally.total = Some(total);
        }
        tally
    }

    /// What the sum holds already of a file that begins.
    fn take_ahead(&self, name: &str, size_bytes: Option<u64>) -> u64 {
        let (Some(size_bytes), Ok(mut ahead)) = (size_bytes, self.ahead.lock()) else { return 0 };
        ahead.get_mut(&(name.to_owned(), size_bytes)).and_then(Vec::pop).unwrap_or_default()
    }

    fn cost(&self) -> Cost {
        Cost { spent_bytes: (self.spent_bytes)(), saved_bytes: self.saved_bytes.load(Ordering::Relaxed) }
    }
}

impl Monitor for Tally<'_> {
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_> {
        let task = self.monitor.start(label, total, unit);
        match label {
            // These bytes are counted when the file tells that it has them.
            READING_LABEL => task,
            _ => {
                let ahead_bytes = self.take_ahead(label, total);
                let counts = Mutex::new(Counts { left_bytes: total, ahead_bytes });
                Box::new(Counted { tally: self, task, counts })
            }
        }
    }

    fn note(&self, text: &str) {
        self.monitor.note(text);
    }

    fn warn(&self, text: &str) {
        self.monitor.warn(text);
    }

    fn is_cancelled(&self) -> bool {
        self.monitor.is_cancelled()
    }
}

/// One file, and the sum that it is part of.
struct Counted<'a> {
    tally: &'a Tally<'a>,
    task: Box<dyn Task + 'a>,
    counts: Mutex<Counts>,
}

/// How far one file is.
struct Counts {
    /// What of it has still to be told; `None` where nobody knows its length.
    left_bytes: Option<u64>,
    /// What the sum holds of it already, and the file has not told yet.
    ahead_bytes: u64,
}

impl Counts {
    /// So much was skipped: what of it is news to the sum.
    fn skip(&mut self, count: u64) -> u64 {
        self.left_bytes = self.left_bytes.map(|left| left.saturating_sub(count));
        let known = self.ahead_bytes.min(count);
        self.ahead_bytes -= known;
        count - known
    }

    /// So much came: what of it is news to the sum. What was thought to be here and was not right comes too, and
    /// is in the sum already.
    fn advance(&mut self, count: u64) -> u64 {
        let Some(left) = self.left_bytes.as_mut() else { return count };
        *left = left.saturating_sub(count);
        let known = self.ahead_bytes.saturating_sub(*left).min(count);
        self.ahead_bytes -= known;
        count - known
    }
}

impl Counted<'_> {
    /// The sum tells what all cost; a file that is alone tells it itself.
    fn tell(&self) {
        self.tally.total.as_ref().unwrap_or(&self.task).cost(self.tally.cost());
    }

    fn count(&self, news: impl FnOnce(&mut Counts) -> u64) -> u64 {
        self.counts.lock().map_or(0, |mut counts| news(&mut counts))
    }
}

impl Task for Counted<'_> {
    fn advance(&self, count: u64) {
        self.tell();
        self.task.advance(count);
        let new_bytes = self.count(|counts| counts.advance(count));
        if let Some(total) = self.tally.total.as_ref().filter(|_| new_bytes > 0) {
            total.advance(new_bytes);
        }
    }

    fn skip(&self, count: u64) {
        let new_bytes = self.count(|counts| counts.skip(count));
        self.tally.saved_bytes.fetch_add(new_bytes, Ordering::Relaxed);
        self.tell();
        self.task.skip(count);
        if let Some(total) = self.tally.total.as_ref().filter(|_| new_bytes > 0) {
            total.skip(new_bytes);
        }
    }

    fn cost(&self, cost: Cost) {
        self.task.cost(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Writes down what it hears.
    #[derive(Default)]
    struct Ear {
        heard: Mutex<Vec<String>>,
    }

    struct Heard<'a> {
        ear: &'a Ear,
        label: String,
    }

    impl Ear {
        fn hear(&self, text: String) {
            self.heard.lock().expect("one thread").push(text);
        }
    }

    impl Monitor for Ear {
        fn start(&self, label: &str, total: Option<u64>, _unit: Unit) -> Box<dyn Task + '_> {
            self.hear(format!("start {label} {total:?}"));
            Box::new(Heard { ear: self, label: label.to_owned() })
        }

        fn note(&self, _text: &str) {}

        fn warn(&self, _text: &str) {}
    }

    impl Task for Heard<'_> {
        fn advance(&self, count: u64) {
            self.ear.hear(format!("{} +{count}", self.label));
        }

        fn skip(&self, count: u64) {
            self.ear.hear(format!("{} skip {count}", self.label));
        }

        fn cost(&self, cost: Cost) {
            self.ear.hear(format!("{} spent {} saved {}", self.label, cost.spent_bytes, cost.saved_bytes));
        }
    }

    fn file(name: &str, size_bytes: u64, here_bytes: u64) -> Foreseen {
        Foreseen { name: name.to_owned(), size_bytes, here_bytes }
    }

    #[test]
    fn several_files_are_added_up_and_the_sum_tells_the_cost() {
        let ear = Ear::default();
        let spent = || 7;
        let tally = Tally::begin(&ear, vec![file("a", 10, 0), file("b", 20, 0)], 5, &spent);
        let file = tally.start("a", Some(10), Unit::Bytes);
        file.skip(4);
        file.advance(6);
        drop(file);
        drop(tally);
        let expected = [
            "start in all Some(35)",
            "in all skip 5",
            "start a Some(10)",
            "in all spent 7 saved 9",
            "a skip 4",
            "in all skip 4",
            "in all spent 7 saved 9",
            "a +6",
            "in all +6",
        ];
        assert_eq!(*ear.heard.lock().expect("one thread"), expected);
    }

    #[test]
    fn the_sum_begins_with_what_later_files_hold_and_counts_it_once() {
        let ear = Ear::default();
        let tally = Tally::begin(&ear, vec![file("a", 10, 0), file("b", 20, 15)], 0, &|| 0);
        tally.start("a", Some(10), Unit::Bytes).advance(10);
        // One of the 15 was not right after all, and comes too: 14 are skipped, 6 come, of which 5 were to come.
        let second = tally.start("b", Some(20), Unit::Bytes);
        second.skip(14);
        second.advance(6);
        drop(second);
        drop(tally);
        let heard = ear.heard.lock().expect("one thread");
        let counts = |text: &&String| text.starts_with("in all +") || text.starts_with("in all skip");
        let counted: Vec<&String> = heard.iter().filter(counts).collect();
        assert_eq!(counted, ["in all skip 15", "in all +10", "in all +5"]);
        assert!(heard.contains(&"in all spent 0 saved 15".to_owned()));
    }

    #[test]
    fn a_file_that_is_alone_tells_the_cost_itself() {
        let ear = Ear::default();
        let spent = || 3;
        let tally = Tally::begin(&ear, vec![file("a", 10, 3)], 0, &spent);
        tally.start("a", Some(10), Unit::Bytes).advance(1);
        assert_eq!(*ear.heard.lock().expect("one thread"), ["start a Some(10)", "a spent 3 saved 0", "a +1"]);
    }

    #[test]
    fn what_is_only_read_back_is_not_counted_twice() {
        let ear = Ear::default();
        let tally = Tally::begin(&ear, vec![file("file", 100, 0), file("other", 100, 0)], 0, &|| 0);
        tally.start(READING_LABEL, Some(60), Unit::Bytes).advance(60);
        tally.start("file", Some(100), Unit::Bytes).skip(60);
        drop(tally);
        let heard = ear.heard.lock().expect("one thread");
        let counts = |text: &&String| text.starts_with("in all +") || text.starts_with("in all skip");
        let counted: Vec<&String> = heard.iter().filter(counts).collect();
        assert_eq!(counted, ["in all skip 60"]);
    }
}
