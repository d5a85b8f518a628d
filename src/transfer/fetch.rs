//! The story of one fetch: lock, resume, ask source after source, finish; and what is kept when it ends early.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Moved};
use super::client::{DroppedSource, Fetched, Wanted};
use super::crew::Crew;
use super::doubts::Doubts;
use super::error::{Result, TransferError};
use super::held::held_bytes;
use super::judge::{Failure, Remedy};
use super::network::Network;
use super::options::Options;
use super::outage::Outage;
use super::part::Part;
use super::resume::stopped;
use super::reuse::reuse;
use super::sources::{Source, Sources, jitter};
use super::staging::{Keeper, Paths};
use crate::digest::Sha256;
use crate::disk::free_bytes;
use crate::progress::{Monitor, Unit};

/// How often a waiting fetch looks whether the user wants to stop.
const TICK: Duration = Duration::from_millis(100);

/// How long is waited for a source before it is looked again who can be asked, and whether all has come.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long the first lane waits for the others to bring the last bytes before it looks again.
const LAST_BYTES_TICK: Duration = Duration::from_millis(20);

/// What a fetch works with.
pub(super) struct Errand<'a> {
    /// `None` when offline.
    pub(super) network: Option<&'a Network>,
    pub(super) options: &'a Options,
    /// What is known of sources from other files.
    pub(super) doubts: &'a Doubts,
    /// The user alone: what is done on this machine is not cut off by the hour.
    pub(super) user: &'a dyn Monitor,
    /// The user and the hour.
    pub(super) watch: &'a dyn Monitor,
}

impl Errand<'_> {
    /// Fetches `wanted` into `folder`.
    pub(super) fn fetch(&self, wanted: &Wanted, folder: &Path) -> Result<Fetched> {
        refuse_contradictions(wanted)?;
        let paths = Paths::new(folder, wanted.digest);
        let keeper = Keeper::take(&paths, &wanted.name)?;
        let identity = (wanted.digest, wanted.size_bytes);
        // Reading back and finishing cost no line: only the user stops them.
        let mut part = Part::open(&paths, identity, wanted.pieces.as_ref(), self.user).map_err(|error| {
            // Not read back yet, and still there.
            let held_bytes = held_bytes(folder, wanted.digest, wanted.size_bytes);
            error.about(&wanted.name, held_bytes, wanted.size_bytes)
        })?;
        let reused_bytes = part.kept_bytes();

        let task = self.watch.start(&wanted.name, Some(wanted.size_bytes), Unit::Bytes);
        task.skip(reused_bytes);
        let copied = make_room(&part, wanted, folder)
            .and_then(|()| reuse(&mut part, &wanted.reuse, &*task, self.user));
        let part = Mutex::new(part);
        let dropped = Mutex::new(BTreeMap::new());
        let attempt = Attempt {
            wanted,
            monitor: self.watch,
            task: &*task,
            network: self.network,
            part: &part,
            dropped: &dropped,
            hasty_bytes_per_second: self.options.hasty_bytes_per_second,
            lane: 0,
        };
        let filled = copied.and_then(|copied_bytes| {
            let crew = Crew::new(self.options, &usable(self.network, wanted), &attempt);
            crew.work(|| self.fill(&attempt, &paths)).map(|filled| (copied_bytes, filled))
        });
        let mut part = part.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (copied_bytes, (source, moved)) = match filled {
            Ok(filled) => filled,
            Err(error) => {
                // What cannot be synced now is still there unless the power goes.
                let _ = part.pause();
                return Err(error.about(&wanted.name, part.kept_bytes(), wanted.size_bytes));
            }
        };
        let (name, size_bytes) = (&wanted.name, wanted.size_bytes);
        let staged = part
            .finish(name, self.user)
            .map_err(|error| error.if_stopped_about(name, size_bytes, size_bytes))?;
        let dropped = dropped.into_inner().unwrap_or_else(PoisonError::into_inner);
        let dropped = dropped.into_values().collect();
        let wire_bytes = moved.wire_bytes;
        Ok(Fetched { staged, wire_bytes, reused_bytes, copied_bytes, source, dropped, _keeper: keeper })
    }

    /// Asks source after source until nothing is missing; returns the address of the last one.
    fn fill(&self, attempt: &Attempt<'_>, paths: &Paths) -> Result<(Option<String>, Moved)> {
        let wanted = attempt.wanted;
        let mut sources = Sources::new(&usable(self.network, wanted), self.options, |url, key| {
            attempt.part().was_wrong(key) || self.doubts.is_doubtful(url)
        });
        let mut moved = Moved::default();
        let mut last_source = None;
        let mut last_error = None;
        let mut outage = Outage::new(self.options.outage_patience);
        while !self.is_done(attempt)? {
            let Some(gap) = attempt.claim() else {
                wait_for(LAST_BYTES_TICK, attempt.monitor)?;
                continue;
            };
            attempt.leave_dropped(&mut sources);
            let Some((source, delay)) = sources.next(Instant::now()) else {
                return Err(last_error.unwrap_or_else(|| nothing_to_ask(attempt)));
            };
            if !delay.is_zero() {
                // Others may take it meanwhile, and finish.
                attempt.part().release(attempt.lane);
                wait_for(delay.min(LONGEST_WAIT), attempt.monitor)?;
                continue;
            }
            let before = moved.new_bytes;
            let outcome = attempt.run(&source, gap, &mut moved);
            let has_progressed = moved.new_bytes > before;
            if has_progressed {
                sources.progressed();
                outage.is_over();
                self.doubts.thank(&source.url);
            }
            last_source = Some(source.address.clone());
            let Err(failure) = outcome else { continue };
            if has_progressed {
                // A long wait may follow, and the power may go in it.
                attempt.part().pause()?;
            }
            let failure = if is_damage(attempt, &failure) {
                set_aside(attempt, &mut sources, paths, failure)?
            } else {
                failure
            };
            self.doubts.hear_of(&source.url, &failure, has_progressed);
            let now = Instant::now();
            let goes_on = sources.failed(failure.remedy, has_progressed, now, jitter())
                || sources.is_any(|url| self.doubts.has_served(url))
                    && outage.is_bearable(&failure.error)
                    && sources.begin_again(now);
            if !goes_on {
                return Err(failure.error);
            }
            let is_peer = self.options.is_peer(&source.url);
            match is_ordinary(&failure) && !has_progressed && !is_peer {
                true => outage.tell(&failure.error, attempt.monitor),
                false => tell(attempt, &source, &failure, is_peer),
            }
            last_error = Some(failure.error);
        }
        Ok((last_source, moved))
    }

    /// Nothing is missing, and what came too fast to be hashed piece by piece is right.
    fn is_done(&self, attempt: &Attempt<'_>) -> Result<bool> {
        let mut part = attempt.part();
        if !part.is_whole() {
            return Ok(false);
        }
        let is_right = part.settle_hurry(self.user)?;
        if !is_right {
            self.watch.warn(&format!(
                "some pieces of `{}` came wrong; they are fetched again",
                attempt.wanted.name
            ));
        }
        Ok(is_right)
    }
}

/// Says what became of a source, and writes down the one that is left for what it sent.
fn tell(attempt: &Attempt<'_>, source: &Source, failure: &Failure, is_peer: bool) {
    // A neighbour need not have everything.
    if is_ordinary(failure) || is_peer && failure.error.is_missing() {
        return;
    }
    attempt.monitor.warn(&failure.error.to_string());
    if failure.remedy == Remedy::Leave {
        attempt.drop_source(source, &failure.error);
    }
}

/// A line as lines are: it broke, and the same again may help.
fn is_ordinary(failure: &Failure) -> bool {
    failure.remedy == (Remedy::Retry { after: None })
}

/// The whole file came, and it is not the one that was promised.
fn is_damage(attempt: &Attempt<'_>, failure: &Failure) -> bool {
    attempt.part().is_one_run() && matches!(failure.error, TransferError::WrongPiece { .. })
}

/// Keeps the wrong file aside, and leaves everyone who sent some of it.
fn set_aside(
    attempt: &Attempt<'_>,
    sources: &mut Sources,
    paths: &Paths,
    failure: Failure,
) -> Result<Failure> {
    let TransferError::WrongPiece { mismatch, .. } = failure.error else { return Ok(failure) };
    let mut part = attempt.part();
    sources.leave(|key| part.has_bytes_from(key));
    part.set_aside()?;
    let (name, suspect) = (attempt.wanted.name.clone(), paths.suspect.clone());
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
    if part.is_whole() || needed_bytes <= free_bytes {
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
pub(super) fn wait_for(delay: Duration, monitor: &dyn Monitor) -> Result<()> {
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

impl DroppedSource {
    pub(super) fn new(address: &str, error: &TransferError) -> Self {
        Self { address: address.to_owned(), reason: error.to_string() }
    }
}
