//! A part file and its journal: takes bytes in file order, compares what is there, verifies run by run.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{Mismatch, Result, TransferError};
use super::gaps::Claims;
use super::journal::{Journal, Record, read};
use super::origins::Origins;
use super::readback::check;
use super::reply::{Chunk, Validator};
use super::resume::{Run, prove, rewind, stopped};
use super::staging::Paths;
use super::writer::Writer;
use crate::digest::{Hasher, Sha256};
use crate::disk::{DiskError, Staged, StagingFile, rename};
use crate::package::{MAX_PIECE_BYTES, Piece, PieceList};
use crate::progress::{Monitor, Silent};

/// How often the digest of what a run has is written down, in bytes of the run: what a kill can cost.
const MARK_BYTES: u64 = 256 * 1024;

/// How often a sync is asked for: what came since is what a power cut can cost.
const SYNC_EVERY: Duration = Duration::from_secs(2);

/// ... and how much may come before one is asked for, in bytes, where less time has passed.
const SYNC_BYTES: u64 = MAX_PIECE_BYTES / 2;

/// A blob under construction.
pub(super) struct Part {
    paths: Paths,
    digest: Sha256,
    size_bytes: u64,
    file: Arc<StagingFile>,
    writer: Writer,
    /// When a sync was last asked for.
    last_sync: Instant,
    /// What came since.
    unsynced_bytes: u64,
    /// In file order, without gap. One run where no pieces are known.
    runs: Vec<Run>,
    origins: Origins,
    /// Pieces may be left to the digest of the whole, for now and at all.
    is_hurried: bool,
    may_hurry: bool,
    /// The hash of the whole and how many bytes it covers, while bytes come too fast for the writer to make it.
    lent: Option<(Hasher, u64)>,
    /// Which lane works on which of the missing bytes.
    claims: Claims,
    /// How many runs are whole before the first that is not.
    num_sure: usize,
}

/// What became of the bytes handed in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All are in, or were there already; so many are new.
    Taken { new_bytes: u64 },
    /// The byte at this offset differs from the one that is there; none from here on was taken.
    Differs { offset: u64 },
    /// A run is full and has the wrong digest; it is empty again (a sole run stays full, for `set_aside`).
    Wrong { offset: u64, length: u64, mismatch: Mismatch },
}

impl Part {
    /// Opens what is there, verifies it, and begins anew where nothing holds.
    pub(super) fn open(
        paths: &Paths,
        (digest, size_bytes): (Sha256, u64),
        pieces: Option<&PieceList>,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let records = read(&paths.journal, digest, size_bytes)?;
        let file = Arc::new(StagingFile::open(&paths.part)?);
        let mut runs: Vec<Run> = match pieces.map(PieceList::pieces) {
            Some(pieces) if !pieces.is_empty() => {
                pieces.iter().map(|piece| Run::new(piece.offset, piece.length, piece.sha256)).collect()
            }
            _ => vec![Run::new(0, size_bytes, digest)],
        };
        check(&file, &mut runs, &records, monitor)?;
        let origins = Origins::of(&records);
        let journal = Journal::create(&paths.journal, digest, size_bytes, &origins.records_with(&runs))?;
        let writer = Writer::start(&file, journal, runs.len() > 1)?;
        let last_sync = Instant::now();
        let paths = paths.clone();
        let mut part = Self {
            paths,
            digest,
            size_bytes,
            file,
            writer,
            last_sync,
            unsynced_bytes: 0,
            runs,
            origins,
            claims: Claims::default(),
            is_hurried: false,
            may_hurry: true,
            lent: None,
            num_sure: 0,
        };
        part.tell_sure()?;
        Ok(part)
    }

    /// True when no byte is missing.
    pub(super) fn is_whole(&self) -> bool {
        // Runs are mostly filled in order: the last one is the most likely to be open.
        self.runs.iter().rev().all(|run| run.is_whole)
    }

    /// Gives a lane the first missing bytes that nobody works on, or half of what another one has before it.
    /// With `may_take_over` also all that another one stands still at.
    pub(super) fn claim(&mut self, lane: usize, may_take_over: bool) -> Option<(u64, u64)> {
        self.claims.claim(lane, &self.runs, may_take_over.then(Instant::now))
    }

    /// Where a lane's claim ends now: another one may have taken over its second half.
    pub(super) fn claim_end(&self, lane: usize) -> Option<u64> {
        self.claims.end_of(lane)
    }

    /// How fast a lane is, in bytes a second, where that is known by now.
    pub(super) fn note_rate(&mut self, lane: usize, bytes_per_second: Option<f64>) {
        if let Some(rate) = bytes_per_second {
            self.claims.note_rate(lane, rate);
        }
    }

    /// The first lane gets the whole file, whatever it asked for: the others have nothing more to do.
    pub(super) fn close_to_others(&mut self) {
        self.claims.close();
    }

    /// A lane works on nothing any more.
    pub(super) fn release(&mut self, lane: usize) {
        self.claims.release(lane);
    }

    /// How many bytes are missing.
    pub(super) fn missing_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.length - run.filled).sum()
    }

    /// How many bytes are there and verified, or hashed on arrival.
    pub(super) fn kept_bytes(&self) -> u64 {
        let filled_bytes: u64 = self.runs.iter().map(|run| run.filled).sum();
        filled_bytes.saturating_sub(self.writer.unwritten_bytes())
    }

    /// True when this very piece is known here, and not whole yet.
    pub(super) fn lacks(&self, piece: &Piece) -> bool {
        let index = self.runs.partition_point(|run| run.end() <= piece.offset);
        self.runs.get(index).is_some_and(|run| {
            let is_it = (run.offset, run.length, run.expected) == (piece.offset, piece.length, piece.sha256);
            is_it && !run.is_whole
        })
    }

    /// Waits until all that was handed in is in the file.
    pub(super) fn settle(&self) -> Result<()> {
        self.writer.flush()
    }

    /// True where one digest covers all bytes, so that a range from elsewhere could spoil them.
    pub(super) fn is_one_run(&self) -> bool {
        self.runs.len() == 1
    }

    /// What the file will still take on the disk.
    pub(super) fn needed_bytes(&self) -> Result<u64> {
        let metadata = self
            .file
            .file()
            .metadata()
            .map_err(|source| DiskError::Io { path: self.paths.part.clone(), source })?;
        Ok(self.size_bytes.saturating_sub(metadata.blocks().saturating_mul(512)))
    }

    /// The version of the file that this address sent before.
    pub(super) fn validator_of(&self, address: &str) -> Option<&Validator> {
        self.origins.validator_of(address)
    }

    /// True when this address sent bytes that are in the part file.
    pub(super) fn has_bytes_from(&self, address: &str) -> bool {
        self.origins.has(address)
    }

    /// True when this address once sent a whole file with the wrong digest.
    pub(super) fn was_wrong(&self, address: &str) -> bool {
        self.origins.was_wrong(address)
    }

    /// Writes down that bytes from `offset` on come from this address.
    pub(super) fn begin(&mut self, offset: u64, address: &str, validator: Option<&Validator>) -> Result<()> {
        match self.origins.begin(address, validator) {
            true => self.writer.note(Record::From {
                offset,
                address: address.to_owned(),
                validator: validator.cloned(),
            }),
            false => Ok(()),
        }
    }

    /// Takes bytes that stand at `position` in the file.
    pub(super) fn accept(&mut self, mut position: u64, chunk: &Chunk) -> Result<Step> {
        let mut chunk = chunk.clone();
        let mut new_bytes = 0;
        // The first run that ends behind the position.
        let mut index = self.runs.partition_point(|run| run.end() <= position);
        while let Some(run) = self.runs.get(index).filter(|_| !chunk.bytes.is_empty()) {
            let within = position - run.offset;
            let count = if within < run.filled {
                let count = (chunk.bytes.len() as u64).min(run.filled - within);
                if !run.is_whole
                    && let Some(at) = self.first_difference(position, &chunk.bytes[..count as usize])?
                {
                    return Ok(Step::Differs { offset: position + at });
                }
                count
            } else if within == run.filled {
                // Up to the next place where the digest is written down.
                let count = (chunk.bytes.len() as u64).min(next_mark(run) - within);
                if let Some(wrong) = self.fill(index, chunk.slice(0..count as usize))? {
                    return Ok(wrong);
                }
                new_bytes += count;
                count
            } else {
                // The beginning of this run was lost on the way; a later request brings it.
                (chunk.bytes.len() as u64).min(run.end() - position)
            };
            position += count;
            chunk = chunk.slice(count as usize..chunk.bytes.len());
            if position == self.runs[index].end() {
                index += 1;
            }
        }
        Ok(Step::Taken { new_bytes })
    }

    /// Says that bytes come faster than they can be hashed twice: pieces that begin from now on are not hashed one by one, and
    /// stand or fall with the whole.
    pub(super) fn set_hurried(&mut self, is_hurried: bool) {
        self.is_hurried = is_hurried && self.may_hurry && !self.is_one_run() && self.claims.is_alone();
    }

    /// Asks the digest of the whole about the pieces that came too fast. Where it is wrong, each of them is hashed, and
    /// those that are wrong are given up; false when there are any.
    pub(super) fn settle_hurry(&mut self, monitor: &dyn Monitor) -> Result<bool> {
        if self.runs.iter().all(|run| !run.is_unproven) {
            return Ok(true);
        }
        self.catch_up(monitor)?;
        if self.writer.digest()? == self.digest {
            self.runs.iter_mut().for_each(|run| run.is_unproven = false);
            return Ok(true);
        }
        (self.may_hurry, self.is_hurried) = (false, false);
        let mut is_right = true;
        for index in 0..self.runs.len() {
            let run = &mut self.runs[index];
            if !run.is_unproven {
                continue;
            }
            prove(&self.file, run, monitor)?;
            if run.digest() != run.expected {
                is_right = false;
                run.reset();
                self.leave(index)?;
            }
        }
        Ok(is_right)
    }

    /// Gives up the bytes of the run from `position` on, so that others can take their place.
    pub(super) fn rewind(&mut self, position: u64, monitor: &dyn Monitor) -> Result<()> {
        self.give_back()?;
        self.writer.flush()?;
        let is_one_run = self.is_one_run();
        let index = self.runs.partition_point(|run| run.end() <= position);
        let Some(run) = self.runs.get_mut(index) else { return Ok(()) };
        if is_one_run {
            rewind(&self.file, run, position, monitor)?;
            return self.rewrite_journal();
        }
        // Its lines in the journal no longer hold, and are found out when they are checked.
        run.reset();
        self.leave(index)
    }

    /// Keeps a whole file with the wrong digest as `.suspect`, and begins anew.
    pub(super) fn set_aside(&mut self) -> Result<()> {
        self.writer.flush()?;
        rename(&self.paths.part, &self.paths.suspect)?;
        self.file = Arc::new(StagingFile::open(&self.paths.part)?);
        self.runs.iter_mut().for_each(Run::reset);
        self.origins.blame_all();
        self.rewrite_journal()
    }

    /// Writes down all that is there, and brings it to the medium.
    pub(super) fn pause(&mut self) -> Result<()> {
        self.writer.flush()?;
        for index in 0..self.runs.len() {
            let run = &mut self.runs[index];
            if run.is_unproven && !run.is_whole {
                prove(&self.file, run, &Silent)?;
            }
            let is_written_down = run.marks.last().is_some_and(|mark| mark.0 == run.filled);
            if run.filled > 0 && run.filled < run.length && !is_written_down {
                self.mark(index)?;
            }
        }
        self.writer.sync()
    }

    /// Declares the file whole. The last word is the sha256 of all bytes.
    pub(super) fn finish(mut self, name: &str, monitor: &dyn Monitor) -> Result<Staged> {
        self.catch_up(monitor)?;
        let actual = if self.is_one_run() { self.runs[0].digest() } else { self.writer.digest()? };
        if actual != self.digest {
            let reason = format!("its pieces make a file with sha256 {actual}, not {}", self.digest);
            return Err(TransferError::WrongPieceList { name: name.into(), reason });
        }
        if self.file.size_bytes()? > self.size_bytes {
            self.file.truncate(self.size_bytes)?;
        }
        Ok(Staged { path: self.paths.part, digest: actual, size_bytes: self.size_bytes })
    }

    /// Writes the next bytes of a run, up to its next mark at most.
    fn fill(&mut self, index: usize, chunk: Chunk) -> Result<Option<Step>> {
        let is_one_run = self.is_one_run();
        let run = &mut self.runs[index];
        if run.filled == 0 {
            run.is_unproven = self.is_hurried;
            match (self.is_hurried, self.lent.take()) {
                (true, None) => self.lent = Some(self.writer.lend()?),
                (true, lent) => self.lent = lent,
                (false, Some((hasher, count))) => self.writer.take_back(hasher, count)?,
                (false, None) => {}
            }
        }
        self.writer.write(run.position(), chunk.clone(), run.filled == 0)?;
        if let Some((hasher, count)) = self.lent.as_mut().filter(|lent| lent.1 == run.position()) {
            hasher.update(&chunk.bytes);
            *count += chunk.bytes.len() as u64;
        }
        run.take(&chunk.bytes);
        if run.is_unproven {
            run.is_whole = run.filled == run.length;
        } else if run.filled == run.length {
            let (offset, length) = (run.offset, run.length);
            let mismatch = Mismatch { expected: run.expected, actual: run.digest() };
            if mismatch.actual != mismatch.expected {
                if !is_one_run {
                    run.reset();
                    self.leave(index)?;
                }
                return Ok(Some(Step::Wrong { offset, length, mismatch }));
            }
            run.is_whole = true;
        }
        if run.is_whole {
            self.tell_sure()?;
        }
        let run = &self.runs[index];
        self.unsynced_bytes += chunk.bytes.len() as u64;
        let is_due = self.unsynced_bytes >= SYNC_BYTES || self.last_sync.elapsed() >= SYNC_EVERY;
        if run.is_whole || (!run.is_unproven && (is_due || run.filled.is_multiple_of(MARK_BYTES))) {
            self.mark(index)?;
        }
        if is_due {
            self.writer.ask_for_sync()?;
            (self.last_sync, self.unsynced_bytes) = (Instant::now(), 0);
        }
        Ok(None)
    }

    /// Tells the writer up to where all is there: it hashes for the whole, when it has time, what came in an earlier run or
    /// out of order.
    fn tell_sure(&mut self) -> Result<()> {
        let before = self.num_sure;
        while self.runs.get(self.num_sure).is_some_and(|run| run.is_whole) {
            self.num_sure += 1;
        }
        match self.num_sure > before && !self.is_one_run() {
            true => self.writer.be_sure(self.runs[self.num_sure - 1].end()),
            false => Ok(()),
        }
    }

    /// Takes the run at `index` out of what is sure, and of the hash of the whole.
    fn leave(&mut self, index: usize) -> Result<()> {
        self.num_sure = self.num_sure.min(index);
        let offset = self.runs[index].offset;
        match self.lent.take() {
            Some((hasher, count)) if count <= offset => self.writer.take_back(hasher, count)?,
            // It has taken some of what is given up.
            Some(_) => self.writer.take_back(Hasher::new(), 0)?,
            None => {}
        }
        self.writer.leave(offset)
    }

    /// Writes down the digest of what a run has; of a whole one that came too fast to be hashed, what it should be.
    fn mark(&mut self, index: usize) -> Result<()> {
        let run = &mut self.runs[index];
        let sha256 = if run.is_unproven { run.expected } else { run.digest() };
        run.marks.push((run.filled, sha256));
        self.writer.note(Record::Have { offset: run.offset, length: run.filled, sha256 })
    }

    fn rewrite_journal(&mut self) -> Result<()> {
        let records = self.origins.records_with(&self.runs);
        let journal = Journal::create(&self.paths.journal, self.digest, self.size_bytes, &records)?;
        self.writer = Writer::start(&self.file, journal, !self.is_one_run())?;
        Ok(())
    }

    /// Gives the hash of the whole back to the writer.
    fn give_back(&mut self) -> Result<()> {
        match self.lent.take() {
            Some((hasher, count)) => self.writer.take_back(hasher, count),
            None => Ok(()),
        }
    }

    /// Hashes for the whole what came out of order and now has no gap before it.
    fn catch_up(&mut self, monitor: &dyn Monitor) -> Result<()> {
        self.give_back()?;
        self.writer.flush()?;
        if self.is_one_run() {
            return Ok(());
        }
        let end = self.runs.iter().find(|run| !run.is_whole).map_or(self.size_bytes, |run| run.offset);
        while self.writer.catch_up(end)? < end {
            if monitor.is_cancelled() {
                return Err(stopped());
            }
        }
        Ok(())
    }

    /// Where `bytes` first differ from the file's at `position`.
    fn first_difference(&self, position: u64, bytes: &[u8]) -> Result<Option<u64>> {
        self.writer.flush()?;
        let mut there = vec![0; bytes.len()];
        let count = self.file.read_at(&mut there, position)?;
        let same = there[..count].iter().zip(bytes).take_while(|(old, new)| old == new).count();
        Ok((same < bytes.len()).then_some(same as u64))
    }
}

/// The length of a run at which its digest is written down next.
fn next_mark(run: &Run) -> u64 {
    if run.is_unproven {
        return run.length;
    }
    run.length.min((run.filled / MARK_BYTES + 1) * MARK_BYTES)
}
