//! One request to one source: judged by its head, compared where it overlaps, taken as far as it is right.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::client::{DroppedSource, Wanted};
use super::error::{TransferError, host_of, shown};
use super::judge::{
    Failure, Remedy, SNIFF_BYTES, Verdict, is_page_name, judge, looks_like_a_page, portal, refuse_another,
};
use super::local;
use super::lull::Lull;
use super::network::{Network, out_of_budget, pay_ahead};
use super::pace::Pace;
use super::part::{Part, Step};
use super::reply::{Ask, Body, Chunk, Expected, Head, Next, Reply};
use super::resume::stopped;
use super::sources::{Source, Sources};
use crate::package::MAX_PIECE_BYTES;
use crate::progress::{Monitor, Task};

/// What request and answer take beside the body, at most, in bytes; the handshake too.
const HEADS_BYTES: u64 = 16 * 1024;

/// Less than this is not worth a request.
const LEAST_BUDGET_BYTES: u64 = 2 * HEADS_BYTES;

/// How much of a file on this machine is handed over between two waits for the disk, in bytes.
const IN_FLIGHT_BYTES: u64 = 16 * 1024 * 1024;

/// What an attempt works with.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) task: &'a dyn Task,
    /// `None` when offline: only `file:` addresses are asked.
    pub(super) network: Option<&'a Network>,
    pub(super) part: &'a Mutex<Part>,
    /// Who was left in this fetch for what they sent.
    pub(super) dropped: &'a Mutex<BTreeMap<String, DroppedSource>>,
    /// From this rate on pieces are left to the digest of the whole.
    pub(super) hasty_bytes_per_second: u64,
    /// Which of the connections that share the file; 0 is the one that is always there.
    pub(super) lane: usize,
}

/// What an attempt moved, whether it succeeded or not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    /// Bytes of bodies that came over the network.
    pub(super) wire_bytes: u64,
    /// Bytes that are new in the part file.
    pub(super) new_bytes: u64,
}

impl Moved {
    /// The sum of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { wire_bytes: self.wire_bytes + other.wire_bytes, new_bytes: self.new_bytes + other.new_bytes }
    }
}

/// Sends a request and waits for the head of its answer.
pub(super) fn open(network: Option<&Network>, ask: &Ask, monitor: &dyn Monitor) -> Result<Reply, Failure> {
    match ask.url.scheme() {
        "file" => return local::open(ask).map_err(Failure::leave),
        "http" | "https" => {}
        _ => return Err(Failure::leave(TransferError::Scheme { address: shown(&ask.url) })),
    }
    let offline = || Failure::leave(TransferError::Offline { name: shown(&ask.url) });
    let mut body = network.ok_or_else(offline)?.ask(ask).map_err(Failure::stop)?;
    let address = shown(&ask.url);
    let mut lull = Lull::new(&address);
    loop {
        if monitor.is_cancelled() {
            return Err(Failure::stop(stopped()));
        }
        if let Some(head) = body.head() {
            return Ok(Reply { head: head?, body: Body::Http(body) });
        }
        lull.goes_on(monitor);
    }
}

impl Attempt<'_> {
    /// The part file, for a moment.
    pub(super) fn part(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The missing bytes that this lane shall work on; `None` when others work on all that is left.
    pub(super) fn claim(&self) -> Option<(u64, u64)> {
        self.part().claim(self.lane, self.may_take_over())
    }

    /// False where the user holds the line back: then a lane that stands still may only wait for its turn.
    pub(super) fn may_take_over(&self) -> bool {
        !self.network.is_some_and(Network::has_limit)
    }

    /// Writes down that a source is left for what it sent.
    pub(super) fn drop_source(&self, source: &Source, error: &TransferError) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.entry(source.key.clone()).or_insert_with(|| DroppedSource::new(&source.address, error));
    }

    /// Leaves the sources that another lane was disappointed by.
    pub(super) fn leave_dropped(&self, sources: &mut Sources) {
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        sources.leave(|key| dropped.contains_key(key));
    }

    /// Fetches a gap from `source` until it is filled or the source fails.
    pub(super) fn run(
        &self,
        source: &Source,
        (start, end): (u64, u64),
        moved: &mut Moved,
    ) -> Result<(), Failure> {
        if !source.has_ranges && start > 0 {
            self.refuse_all_or_nothing(source, start)?;
        }
        let ask = self.affordable(self.ask_for(source, (start, end)))?;
        let end = ask.end.map_or(end, |affordable| affordable.min(end));
        let reply = open(self.network, &ask, self.monitor)?;
        let is_http = source.url.scheme() != "file";
        let mut stream = Stream { body: reply.body, first: VecDeque::new(), is_http, in_flight_bytes: 0 };
        let position = self.position(&reply.head, &ask, &mut stream, moved)?;
        let is_whole = reply.head.status != 206;
        if is_whole && self.lane > 0 {
            // Whoever sends the whole file has no place for a second connection.
            return Err(Failure::leave(TransferError::BadRange { address: source.address.clone() }));
        }
        if is_whole && !ask.is_whole() {
            self.refuse_all_or_nothing(source, start)?;
        }
        self.note_change(source, &reply.head);
        self.part().begin(start, &source.key, reply.head.validator.as_ref()).map_err(Failure::stop)?;
        if !is_whole {
            return self.take(source, &mut stream, (position, end, false), moved);
        }
        // Whoever sends the whole file is read on: what came cannot be had cheaper, and it may fill other gaps too.
        self.part().close_to_others();
        let before = moved.new_bytes;
        let taken = self.take(source, &mut stream, (position, self.wanted.size_bytes, true), moved);
        let is_in_vain = start > 0 && moved.new_bytes == before;
        taken.map_err(|failure| if is_in_vain { self.never_again(source, failure) } else { failure })
    }

    /// A server that begins anew each time, and broke off before anything new came, would be paid for the same bytes again.
    fn never_again(&self, source: &Source, failure: Failure) -> Failure {
        let (name, address) = (self.wanted.name.clone(), source.address.clone());
        match failure.remedy {
            Remedy::Retry { .. } | Remedy::Later => Failure::leave(TransferError::OnlyAnew { name, address }),
            _ => failure,
        }
    }

    fn ask_for(&self, source: &Source, (start, end): (u64, u64)) -> Ask {
        let expected = Expected { name: self.wanted.name.clone(), digest: self.wanted.digest };
        let whole = Ask { expected: Some(expected), ..Ask::whole(source.url.clone()) };
        let part = self.part();
        if !part.is_one_run() && source.has_ranges {
            // Also from the first byte on: whoever sends a range stops where another connection took over. Pieces prove
            // themselves: of a server with several faces each may send some of them.
            return Ask { start, end: Some(end), ..whole };
        }
        let is_all = start == 0 && end == self.wanted.size_bytes;
        if is_all || !source.has_ranges {
            return whole;
        }
        Ask {
            // The seam is looked at.
            start: start - source.overlap_bytes.min(start),
            end: Some(end),
            validator: part.validator_of(&source.key).cloned(),
            ..whole
        }
    }

    /// Asks for no more than the budget pays for.
    fn affordable(&self, ask: Ask) -> Result<Ask, Failure> {
        let toll = match self.network {
            Some(network) if ask.url.scheme() != "file" => network.toll(),
            _ => return Ok(ask),
        };
        toll.book_ahead().map_err(Failure::stop)?;
        let Some(left_bytes) = toll.left_bytes() else { return Ok(ask) };
        if left_bytes < LEAST_BUDGET_BYTES {
            return Err(Failure::stop(out_of_budget(toll)));
        }
        let end = ask.end.unwrap_or(self.wanted.size_bytes);
        let affordable = ask.start.saturating_add(left_bytes - HEADS_BYTES);
        Ok(if affordable < end { Ask { end: Some(affordable), ..ask } } else { ask })
    }

    /// Leaves a server that sends the whole file where a part is wanted, when the budget does not pay for all of it: what
    /// came would be paid for in vain, and again the next time. Where nobody counts, the user is told.
    fn refuse_all_or_nothing(&self, source: &Source, start: u64) -> Result<(), Failure> {
        if source.url.scheme() == "file" {
            return Ok(());
        }
        let (name, size_bytes) = (self.wanted.name.clone(), self.wanted.size_bytes);
        let address = source.address.clone();
        match self.network.and_then(|network| network.toll().left_bytes()) {
            Some(left_bytes) if left_bytes < size_bytes.saturating_add(HEADS_BYTES) => {
                Err(Failure::leave(TransferError::AllOrNothing { name, address, size_bytes, left_bytes }))
            }
            _ if start == 0 => Ok(()),
            _ => {
                self.monitor.note(&format!(
                    "`{address}` cannot go on with a download: `{name}` comes from its first byte again"
                ));
                Ok(())
            }
        }
    }

    /// Where in the file the body begins, once it is known to be the file.
    fn position(
        &self,
        head: &Head,
        ask: &Ask,
        stream: &mut Stream,
        moved: &mut Moved,
    ) -> Result<u64, Failure> {
        let name = &self.wanted.name;
        let verdict = judge(head, ask, name, self.wanted.size_bytes)?;
        if let Verdict::Take { position } = verdict {
            refuse_another(head.announced, ask)?;
            return Ok(position);
        }
        let is_page = looks_like_a_page(&stream.look(self, &shown(&ask.url), moved)?);
        if is_page && !is_page_name(name) {
            return Err(portal(ask, name));
        }
        match verdict {
            Verdict::WrongLength { actual_bytes } => Err(Failure::leave(TransferError::WrongLength {
                name: name.clone(),
                address: shown(&ask.url),
                expected_bytes: self.wanted.size_bytes,
                actual_bytes,
            })),
            _ => refuse_another(head.announced, ask).map(|()| 0),
        }
    }

    fn note_change(&self, source: &Source, head: &Head) {
        let part = self.part();
        let old = part.validator_of(&source.key);
        if head.status == 200 && old.is_some() && head.validator.is_some() && old != head.validator.as_ref() {
            self.monitor.warn(&format!(
                "`{}` was replaced at `{}` since the last fetch; its bytes are compared with those already here",
                self.wanted.name, source.address
            ));
        }
    }

    /// Hands the body to the part file.
    fn take(
        &self,
        source: &Source,
        stream: &mut Stream,
        (mut position, until, is_whole): (u64, u64, bool),
        moved: &mut Moved,
    ) -> Result<(), Failure> {
        let begin = position;
        let mut pace = Pace::new(source);
        let mut lull = Lull::new(&source.address);
        while position < self.still_wanted(until, is_whole) {
            if self.monitor.is_cancelled() {
                return Err(Failure::stop(stopped()));
            }
            match stream.next(moved) {
                Next::Chunk(chunk) => {
                    lull.is_over();
                    pay_ahead(self.network)?;
                    let count = (chunk.bytes.len() as u64).min(until - position);
                    let here = Here { source, position, begin, is_whole };
                    pace.add(count);
                    self.part().set_hurried(self.is_hurried(&pace, position - begin));
                    self.accept(&here, chunk.slice(0..count as usize), moved)?;
                    position += count;
                    stream.settle(count, self)?;
                }
                Next::Waiting => {
                    pay_ahead(self.network)?;
                    lull.goes_on_over(self.network, self.monitor);
                }
                Next::End => return Err(cut_short(source)),
                Next::Failed(failure) => return Err(failure),
            }
            self.part().note_rate(self.lane, pace.bytes_per_second());
            pace.judge(source)?;
        }
        Ok(())
    }

    /// True on a line so fast that hashing holds it up, once a whole piece of this body was found right: then bytes are
    /// cheaper than time. Never where bytes are counted.
    fn is_hurried(&self, pace: &Pace, num_bytes: u64) -> bool {
        let is_counted = self.network.is_some_and(|network| network.toll().limit_bytes().is_some());
        self.lane == 0
            && !is_counted
            && num_bytes >= 2 * MAX_PIECE_BYTES
            && pace.is_at_least(self.hasty_bytes_per_second)
    }

    /// Where to stop reading: where the claim ends by now, or at once when nothing is missing.
    fn still_wanted(&self, until: u64, is_whole: bool) -> u64 {
        let part = self.part();
        match part.claim_end(self.lane) {
            _ if part.is_whole() => 0,
            // The rest of a whole body is asked for by nobody else in this lane's stead.
            _ if is_whole => until,
            Some(end) => until.min(end),
            None => until,
        }
    }

    fn accept(&self, here: &Here<'_>, mut chunk: Chunk, moved: &mut Moved) -> Result<(), Failure> {
        let mut position = here.position;
        loop {
            let step = self.part().accept(position, &chunk).map_err(Failure::stop)?;
            match step {
                Step::Taken { new_bytes } => {
                    moved.new_bytes += new_bytes;
                    self.task.advance(new_bytes);
                    return Ok(());
                }
                // The whole file comes: up to here both are the same, from here on this one counts.
                Step::Differs { offset } if here.is_whole => {
                    self.warn_of_difference(here.source, offset);
                    self.part().rewind(offset, self.monitor).map_err(Failure::stop)?;
                    chunk = chunk.slice((offset - position) as usize..chunk.bytes.len());
                    position = offset;
                }
                Step::Differs { offset } => {
                    let address = here.source.address.clone();
                    return Err(Failure::without_ranges(TransferError::Changed { address, offset }));
                }
                Step::Wrong { offset, length, mismatch } => {
                    let (name, address) = (self.wanted.name.clone(), here.source.address.clone());
                    let mismatch = Box::new(mismatch);
                    let error = TransferError::WrongPiece { name, address, offset, length, mismatch };
                    // A piece that was begun earlier may be another source's fault.
                    let is_ours = offset >= here.begin;
                    return Err(if is_ours { Failure::leave(error) } else { Failure::retry(error) });
                }
            }
        }
    }

    fn warn_of_difference(&self, source: &Source, offset: u64) {
        self.monitor.warn(&format!(
            "from byte {offset} on, `{}` sends another `{}` than was fetched before; it replaces the old bytes",
            source.address, self.wanted.name
        ));
    }
}

/// Where some bytes come from, and where they stand.
struct Here<'a> {
    source: &'a Source,
    /// Of the bytes, in the file.
    position: u64,
    /// Where the body began.
    begin: u64,
    /// The body is the whole file.
    is_whole: bool,
}

fn cut_short(source: &Source) -> Failure {
    Failure::retry(TransferError::Broken { host: host_of(&source.url), reason: String::new() })
}

/// A body whose first chunks may already have been looked at.
struct Stream {
    body: Body,
    first: VecDeque<Chunk>,
    is_http: bool,
    /// What was handed over since the disk was last waited for; what comes over a line is held back elsewhere.
    in_flight_bytes: u64,
}

impl Stream {
    /// Waits for the disk now and then where bytes come faster than it takes them.
    fn settle(&mut self, count: u64, attempt: &Attempt<'_>) -> Result<(), Failure> {
        self.in_flight_bytes += count;
        if self.is_http || self.in_flight_bytes < IN_FLIGHT_BYTES {
            return Ok(());
        }
        self.in_flight_bytes = 0;
        attempt.part().settle().map_err(Failure::stop)
    }

    /// The first bytes, as many as it takes to know a web page; they come again from `next`.
    fn look(&mut self, attempt: &Attempt<'_>, address: &str, moved: &mut Moved) -> Result<Vec<u8>, Failure> {
        let mut seen = Vec::new();
        let mut lull = Lull::new(address);
        while seen.len() < SNIFF_BYTES {
            if attempt.monitor.is_cancelled() {
                return Err(Failure::stop(stopped()));
            }
            match self.receive(moved) {
                Next::Chunk(chunk) => {
                    seen.extend_from_slice(&chunk.bytes);
                    self.first.push_back(chunk);
                }
                Next::Waiting => {
                    pay_ahead(attempt.network)?;
                    lull.goes_on(attempt.monitor);
                }
                // `next` says so again.
                Next::End => break,
                Next::Failed(failure) => return Err(failure),
            }
        }
        Ok(seen)
    }

    fn next(&mut self, moved: &mut Moved) -> Next {
        match self.first.pop_front() {
            Some(chunk) => Next::Chunk(chunk),
            None => self.receive(moved),
        }
    }

    fn receive(&mut self, moved: &mut Moved) -> Next {
        let next = self.body.next();
        if let (Next::Chunk(chunk), true) = (&next, self.is_http) {
            moved.wire_bytes += chunk.bytes.len() as u64;
        }
        next
    }
}
