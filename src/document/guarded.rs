//! Runs a foreign format's reader where neither its panic nor its endless loop can stop a run.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::error::DocumentError;

/// Deep nesting recurses; the pages of a stack are only used when touched.
const STACK_BYTES: usize = 64 * 1024 * 1024;
const THREAD_NAME: &str = "localml-reader";

/// Runs `read` in a thread of its own for at most `limit`.
///
/// A reader that does not come back is left to itself: a thread cannot be ended from outside, and the
/// process ends soon after.
pub(super) fn guarded<T: Send + 'static>(
    format: &'static str,
    limit: Duration,
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, DocumentError> {
    silence_panics_of_readers();
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = move || {
        let outcome = catch_unwind(AssertUnwindSafe(read));
        // The receiver may have stopped waiting.
        let _ = sender.send(outcome);
    };
    let malformed = |reason: String| DocumentError::Malformed { format, reason };
    thread::Builder::new()
        .name(THREAD_NAME.into())
        .stack_size(STACK_BYTES)
        .spawn(work)
        .map_err(|error| malformed(format!("no thread for it: {error}")))?;
    match receiver.recv_timeout(limit) {
        Ok(Ok(outcome)) => outcome.map_err(malformed),
        Ok(Err(_)) => Err(malformed("its structure is broken (the reader gave up)".into())),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(DocumentError::TimedOut { format, limit }),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(malformed("the reader ended early".into())),
    }
}

/// A contained panic is reported as an error; its message on the terminal would only frighten.
fn silence_panics_of_readers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if thread::current().name() != Some(THREAD_NAME) {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_and_an_endless_loop_become_errors() {
        let long = Duration::from_secs(60);
        let panicked = guarded::<()>("PDF", long, || panic!("index out of bounds"));
        assert!(matches!(panicked, Err(DocumentError::Malformed { .. })));
        let (_keep, never) = mpsc::channel::<()>();
        let hung = guarded::<()>("PDF", Duration::from_millis(1), move || {
            let _ = never.recv();
            Ok(())
        });
        assert!(matches!(hung, Err(DocumentError::TimedOut { .. })));
    }
}
