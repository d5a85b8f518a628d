//! How long work speaks upward: a terminal, a server and a test each listen in their own way.

mod counted;
mod size;

use std::time::Instant;

pub use counted::counted;
pub use size::size;

/// What a task counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as MB and MB/s.
    Bytes,
    /// Files, passages, tokens: anything counted one by one.
    Items,
}

/// Whether a listener wants to hear more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on, please.
    Continue,
    /// Enough.
    Stop,
}

/// What a deed has cost so far, and what it did not have to cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// The bytes that went over the network, headers in.
    pub spent_bytes: u64,
    /// The bytes that were wanted and did not have to be fetched.
    pub saved_bytes: u64,
}

/// Listens to work in progress, and may ask it to stop.
pub trait Monitor: Sync {
    /// A task begins. `total` is `None` when the end cannot be known. A task over several others is begun before
    /// them and ends after them.
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_>;

    /// Something worth knowing happened; one line, no full stop.
    fn note(&self, text: &str);

    /// Something is not as it should be, but work goes on.
    fn warn(&self, text: &str);

    /// True once the user has asked to stop (Ctrl-C). Work ends soon, and keeps what is verified.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// One task under way; dropping it ends it.
pub trait Task: Sync + Send {
    /// `count` more bytes or items are done.
    fn advance(&self, count: u64);

    /// `count` more need not be done, because they were done before: they count as done, and say nothing of the
    /// speed.
    fn skip(&self, count: u64) {
        self.advance(count);
    }

    /// What it has cost by now, for a task that spends data.
    fn cost(&self, _cost: Cost) {}
}

/// A monitor that passes everything on, and asks to stop as soon as `is_over` says so: an hour, a helper's dismissal.
pub struct Until<'a, F> {
    /// Who listens, and may ask to stop too.
    pub monitor: &'a dyn Monitor,
    /// True from the moment on that work is to end.
    pub is_over: F,
}

impl<F: Fn() -> bool + Sync> Until<'_, F> {
    /// True when work is to end, and not because the listener wants it.
    pub fn is_reason(&self) -> bool {
        (self.is_over)() && !self.monitor.is_cancelled()
    }
}

impl<F: Fn() -> bool + Sync> Monitor for Until<'_, F> {
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_> {
        self.monitor.start(label, total, unit)
    }

    fn note(&self, text: &str) {
        self.monitor.note(text);
    }

    fn warn(&self, text: &str) {
        self.monitor.warn(text);
    }

    fn is_cancelled(&self) -> bool {
        self.monitor.is_cancelled() || (self.is_over)()
    }
}

/// True once a moment has come; never, where there is none.
pub fn has_come(moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| Instant::now() >= moment)
}

/// A monitor that hears nothing, for tests and for callers that do not care.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Monitor for Silent {
    fn start(&self, _label: &str, _total: Option<u64>, _unit: Unit) -> Box<dyn Task + '_> {
        Box::new(Silent)
    }

    fn note(&self, _text: &str) {}

    fn warn(&self, _text: &str) {}
}

impl Task for Silent {
    fn advance(&self, _count: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_at_its_moment() {
        let open = Until { monitor: &Silent, is_over: || has_come(None) };
        let over = Until { monitor: &Silent, is_over: || has_come(Some(Instant::now())) };
        assert!(!open.is_cancelled() && over.is_cancelled());
    }
}
