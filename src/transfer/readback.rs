//! What of a part file still holds: every run is read and hashed again, on all cores, and kept up to the last line that
//! is true.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::error::Result;
use super::journal::Record;
use super::resume::{Run, hash};
use crate::digest::{Hasher, Sha256};
use crate::disk::StagingFile;
use crate::progress::{Monitor, Task, Unit};

/// What the user sees while a large part file is read: a task of its own, which brings nothing new.
pub const READING_LABEL: &str = "reading what is here";

/// More threads than this wait for the disk, and each has a buffer.
const MAX_THREADS: usize = 16;

/// A length of a run, and what so many bytes of it should hash to.
type Mark = (u64, Sha256);

/// Reads the part file back, and fills each run as far as the records and the file agree.
///
/// # Errors
/// When reading fails, or the user stopped.
pub(super) fn check(
    file: &StagingFile,
    runs: &mut [Run],
    records: &[Record],
    monitor: &dyn Monitor,
) -> Result<()> {
    let file_bytes = file.size_bytes()?;
    let noted = marks_by_run(records);
    let with_marks = runs.iter_mut().filter_map(|run| {
        let noted = noted.get(&run.offset);
        // Several connections leave holes between what they brought; no line speaks of these.
        let is_hole = noted.is_none() && !file.has_data(run.offset, run.length);
        let marks = if is_hole { Vec::new() } else { marks_of(run, noted, file_bytes) };
        (!marks.is_empty()).then_some((run, marks))
    });
    let work: Vec<(&mut Run, Vec<Mark>)> = with_marks.collect();
    if work.is_empty() {
        return Ok(());
    }
    let total_bytes = work.iter().filter_map(|(_, marks)| Some(marks.last()?.0)).sum();
    let task = monitor.start(READING_LABEL, Some(total_bytes), Unit::Bytes);
    share_out(work, &|(run, marks)| check_run(file, run, &marks, (&*task, monitor)))
}

/// Does the work on as many threads as there are cores; the first failure counts.
fn share_out<T: Send>(work: Vec<T>, deed: &(dyn Fn(T) -> Result<()> + Sync)) -> Result<()> {
    let num_cores = thread::available_parallelism().map_or(1, usize::from);
    let num_threads = num_cores.min(MAX_THREADS).min(work.len());
    let queue = Mutex::new(work.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let take_turns = || -> Result<()> {
        while let Some(one) = next() {
            deed(one)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..num_threads).map(|_| scope.spawn(take_turns)).collect();
        let own = take_turns();
        let ended = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        ended.fold(own, Result::and)
    })
}

/// The lines of the journal that speak of bytes, by the run that they speak of.
fn marks_by_run(records: &[Record]) -> HashMap<u64, Vec<Mark>> {
    let mut marks = HashMap::<u64, Vec<Mark>>::new();
    for record in records {
        if let Record::Have { offset, length, sha256 } = record {
            marks.entry(*offset).or_default().push((*length, *sha256));
        }
    }
    marks
}

/// The lengths worth checking. A whole run needs no record: its expected digest is known anyway.
fn marks_of(run: &Run, noted: Option<&Vec<Mark>>, file_bytes: u64) -> Vec<Mark> {
    let available = file_bytes.saturating_sub(run.offset);
    let is_within = |mark: &&Mark| mark.0 > 0 && mark.0 < run.length && mark.0 <= available;
    let mut marks: Vec<Mark> = noted.into_iter().flatten().filter(is_within).copied().collect();
    if run.length > 0 && run.length <= available {
        marks.push((run.length, run.expected));
    }
    // The sort is stable: of two records for one length, the later one stays.
    marks.sort_by_key(|(length, _)| *length);
    marks.reverse();
    marks.dedup_by_key(|(length, _)| *length);
    marks.reverse();
    marks
}

fn check_run(
    file: &StagingFile,
    run: &mut Run,
    marks: &[Mark],
    (task, monitor): (&dyn Task, &dyn Monitor),
) -> Result<()> {
    let mut hasher = Hasher::new();
    let mut hashed = 0;
    for (length, sha256) in marks {
        hash(file, &mut hasher, run.offset + hashed, run.offset + length, monitor)?;
        task.advance(length - hashed);
        hashed = *length;
        // A line that does not hold may be an old one; a later one that does speaks for all bytes before it.
        if hasher.clone().finish() != *sha256 {
            continue;
        }
        run.filled = hashed;
        run.hasher = hasher.clone();
        run.marks.push((hashed, *sha256));
    }
    run.is_whole = run.filled == run.length;
    Ok(())
}
