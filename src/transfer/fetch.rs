//! The story of one fetch: lock, resume, ask source after source, finish; and what is kept when it ends early.

use std::path::Path;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Moved};
use super::client::{Fetched, Wanted};
use super::error::{Result, TransferError};
use super::judge::{Failure, Remedy};
use super::network::Network;
use super::options::Options;
use super::part::Part;
use super::resume::stopped;
use super::reuse::reuse;
use super::sources::{Sources, jitter};
use super::staging::{Keeper, Paths};
use crate::digest::Sha256;
use crate::disk::free_bytes;
use crate::progress::{Monitor, Unit};

/// How often a waiting fetch looks whether the user wants to stop.
const TICK: Duration = Duration::from_millis(100);

/// Fetches `wanted` into `folder`; `network` is `None` when offline.
pub(super) fn fetch(
    network: Option<&Network>,
    options: &Options,
    wanted: &Wanted,
    folder: &Path,
    monitor: &dyn Monitor,
) -> Result<Fetched> {
    refuse_contradictions(wanted)?;
    let paths = Paths::new(folder, wanted.digest);
    let keeper = Keeper::take(&paths, &wanted.name)?;
    let identity = (wanted.digest, wanted.size_bytes);
    let mut part = Part::open(&paths, identity, wanted.pieces.as_ref(), monitor)
        .map_err(|error| error.about(&wanted.name, 0, wanted.size_bytes))?;
    let reused_bytes = part.kept_bytes();

    let task = monitor.start(&wanted.name, Some(wanted.size_bytes), Unit::Bytes);
    task.skip(reused_bytes);
    let attempt = Attempt { wanted, monitor, task: &*task, network };
    let (mut moved, mut copied_bytes) = (Moved::default(), 0);
    let filled = make_room(&part, wanted, folder).and_then(|()| {
        copied_bytes = reuse(&mut part, &wanted.reuse, &*task, monitor)?;
        let sources = Sources::new(&usable(network, wanted), options, |address| part.was_wrong(address));
        fill(&attempt, &mut part, sources, &paths, &mut moved)
    });
    let source = match filled {
        Ok(source) => source,
        Err(error) => {
            // What cannot be synced now is still there unless the power goes.
            let _ = part.pause();
            return Err(error.about(&wanted.name, part.kept_bytes(), wanted.size_bytes));
        }
    };
    let staged = part.finish(&wanted.name, monitor)?;
    let wire_bytes = moved.wire_bytes;
    Ok(Fetched { staged, wire_bytes, reused_bytes, copied_bytes, source, _keeper: keeper })
}

/// Asks source after source until nothing is missing; returns the address of the last one.
fn fill(
    attempt: &Attempt<'_>,
    part: &mut Part,
    mut sources: Sources,
    paths: &Paths,
    moved: &mut Moved,
) -> Result<Option<String>> {
    let wanted = attempt.wanted;
    let mut last_source = None;
    let mut last_error = None;
    while part.next_gap().is_some() {
        let Some((source, delay)) = sources.next(Instant::now()) else {
            return Err(last_error.unwrap_or_else(|| nothing_to_ask(attempt)));
        };
        wait(delay, attempt.monitor)?;
        let before = moved.new_bytes;
        let outcome = attempt.run(part, &source, moved);
        let has_progressed = moved.new_bytes > before;
        if has_progressed {
            sources.progressed();
        }
        last_source = Some(source.address);
        let Err(failure) = outcome else { continue };
        if has_progressed {
            // A long wait may follow, and the power may go in it.
            part.pause()?;
        }
        let failure = if is_damage(part, &failure) {
            set_aside(part, &mut sources, paths, wanted, failure)?
        } else {
            failure
        };
        let goes_on = sources.failed(failure.remedy, has_progressed, Instant::now(), jitter());
        if !goes_on {
            return Err(failure.error);
        }
        if failure.remedy != (Remedy::Retry { after: None }) {
            attempt.monitor.warn(&failure.error.to_string());
        }
        last_error = Some(failure.error);
    }
    Ok(last_source)
}

/// The whole file came, and it is not the one that was promised.
fn is_damage(part: &Part, failure: &Failure) -> bool {
    part.is_one_run() && matches!(failure.error, TransferError::WrongPiece { .. })
}

/// Keeps the wrong file aside, and leaves everyone who sent some of it.
fn set_aside(
    part: &mut Part,
    sources: &mut Sources,
    paths: &Paths,
    wanted: &Wanted,
    failure: Failure,
) -> Result<Failure> {
    let TransferError::WrongPiece { mismatch, .. } = failure.error else { return Ok(failure) };
    sources.leave(|address| part.has_bytes_from(address));
    part.set_aside()?;
    let (name, suspect) = (wanted.name.clone(), paths.suspect.clone());
    Ok(Failure::leave(TransferError::Damaged { name, mismatch, suspect }))
}

fn refuse_contradictions(wanted: &Wanted) -> Result<()> {
    let name = wanted.name.clone();
    if let Some(pieces) = wanted.pieces.as_ref().filter(|pieces| pieces.size_bytes() != wanted.size_bytes) {
        let reason = format!("it covers {} bytes of {}", pieces.size_bytes(), wanted.size_bytes);
        return Err(TransferError::WrongPieceList { name, reason });
    }
    if wanted.size_bytes == 0 && wanted.digest != Sha256::of(b"") {
        let reason = format!("an empty file cannot have sha256 {}", wanted.digest);
        return Err(TransferError::WrongPieceList { name, reason });
    }
    Ok(())
}

fn make_room(part: &Part, wanted: &Wanted, folder: &Path) -> Result<()> {
    let needed_bytes = part.needed_bytes()?;
    let free_bytes = free_bytes(folder)?;
    if part.next_gap().is_none() || needed_bytes <= free_bytes {
        return Ok(());
    }
    let (name, folder) = (wanted.name.clone(), folder.to_owned());
    Err(TransferError::NoRoom { name, needed_bytes, free_bytes, folder })
}

/// The sources that may be asked: offline, only those on this machine.
fn usable(network: Option<&Network>, wanted: &Wanted) -> Vec<url::Url> {
    let is_usable = |url: &&url::Url| network.is_some() || url.scheme() == "file";
    wanted.sources.iter().filter(is_usable).cloned().collect()
}

fn nothing_to_ask(attempt: &Attempt<'_>) -> TransferError {
    let name = attempt.wanted.name.clone();
    let is_offline = attempt.network.is_none() && !attempt.wanted.sources.is_empty();
    if is_offline { TransferError::Offline { name } } else { TransferError::NoSource { name } }
}

/// Waits, but not for a user who wants to stop.
pub(super) fn wait(delay: Duration, monitor: &dyn Monitor) -> Result<()> {
    let until = Instant::now() + delay;
    loop {
        if monitor.is_cancelled() {
            return Err(stopped());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(TICK));
    }
}
