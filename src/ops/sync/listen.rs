//! A monitor around the monitor that says nothing twice.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::progress::{Monitor, Task, Unit};

/// Passes each note and warning on once: the exports of one `sync` would each say the same.
pub(super) struct Once<'a> {
    inner: &'a dyn Monitor,
    said: Mutex<HashSet<String>>,
}

impl<'a> Once<'a> {
    pub(super) fn new(inner: &'a dyn Monitor) -> Self {
        Self { inner, said: Mutex::default() }
    }

    fn is_new(&self, text: &str) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned())
    }
}

impl Monitor for Once<'_> {
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_> {
        self.inner.start(label, total, unit)
    }

    fn note(&self, text: &str) {
        if self.is_new(text) {
            self.inner.note(text);
        }
    }

    fn warn(&self, text: &str) {
        if self.is_new(text) {
            self.inner.warn(text);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Monitor for Heard {
        fn start(&self, _label: &str, _total: Option<u64>, _unit: Unit) -> Box<dyn Task + '_> {
            Box::new(Silent)
        }

        fn note(&self, text: &str) {
            self.0.lock().expect("one thread").push(text.to_owned());
        }

        fn warn(&self, text: &str) {
            self.note(text);
        }
    }

    #[test]
    fn a_warning_is_heard_once() {
        let heard = Heard::default();
        let once = Once::new(&heard);
        ["a", "b", "a"].iter().for_each(|text| once.warn(text));
        assert_eq!(*heard.0.lock().expect("one thread"), ["a", "b"]);
    }
}
