//! One count over all files of a deed, with what it costs: each file's own progress passes through it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::progress::{Cost, Monitor, Task, Unit};
use crate::transfer::READING_LABEL;

/// Passes the progress of files on, and adds them up.
pub(super) struct Tally<'a> {
    monitor: &'a dyn Monitor,
    /// The sum, where there is more than one file.
    total: Option<Box<dyn Task + 'a>>,
    /// What the line has cost by now.
    spent_bytes: &'a (dyn Fn() -> u64 + Sync),
    saved_bytes: AtomicU64,
}

impl<'a> Tally<'a> {
    /// Begins with files of these lengths, and with what needs no fetching at all.
    pub(super) fn begin(
        monitor: &'a dyn Monitor,
        files: impl Iterator<Item = u64>,
        saved_bytes: u64,
        spent_bytes: &'a (dyn Fn() -> u64 + Sync),
    ) -> Self {
        let (num_files, total_bytes) =
            files.fold((0, 0), |(num_files, bytes), size_bytes| (num_files + 1, bytes + size_bytes));
        let total = (num_files > 1).then(|| monitor.start("in all", Some(total_bytes), Unit::Bytes));
        Self { monitor, total, spent_bytes, saved_bytes: AtomicU64::new(saved_bytes) }
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
            _ => Box::new(Counted { tally: self, task }),
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
}

impl Counted<'_> {
    /// The sum tells what all cost; a file that is alone tells it itself.
    fn tell(&self) {
        self.tally.total.as_ref().unwrap_or(&self.task).cost(self.tally.cost());
    }
}

impl Task for Counted<'_> {
    fn advance(&self, count: u64) {
        self.tell();
        self.task.advance(count);
        if let Some(total) = &self.tally.total {
            total.advance(count);
        }
    }

    fn skip(&self, count: u64) {
        self.tally.saved_bytes.fetch_add(count, Ordering::Relaxed);
        self.tell();
        self.task.skip(count);
        if let Some(total) = &self.tally.total {
            total.skip(count);
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

    #[test]
    fn several_files_are_added_up_and_the_sum_tells_the_cost() {
        let ear = Ear::default();
        let spent = || 7;
        let tally = Tally::begin(&ear, [10, 20].into_iter(), 5, &spent);
        let file = tally.start("a", Some(10), Unit::Bytes);
        file.skip(4);
        file.advance(6);
        drop(file);
        drop(tally);
        let expected = [
            "start in all Some(30)",
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
    fn a_file_that_is_alone_tells_the_cost_itself() {
        let ear = Ear::default();
        let spent = || 3;
        let tally = Tally::begin(&ear, [10].into_iter(), 0, &spent);
        tally.start("a", Some(10), Unit::Bytes).advance(1);
        assert_eq!(*ear.heard.lock().expect("one thread"), ["start a Some(10)", "a spent 3 saved 0", "a +1"]);
    }

    #[test]
    fn what_is_only_read_back_is_not_counted_twice() {
        let ear = Ear::default();
        let tally = Tally::begin(&ear, [100, 100].into_iter(), 0, &|| 0);
        tally.start(READING_LABEL, Some(60), Unit::Bytes).advance(60);
        tally.start("file", Some(100), Unit::Bytes).skip(60);
        drop(tally);
        let heard = ear.heard.lock().expect("one thread");
        let counts = |text: &&String| text.starts_with("in all +") || text.starts_with("in all skip");
        let counted: Vec<&String> = heard.iter().filter(counts).collect();
        assert_eq!(counted, ["in all skip 60"]);
    }
}
