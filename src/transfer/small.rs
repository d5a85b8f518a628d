//! Small files, fetched into memory: from the first source that has the right one, going on where a line broke off.

use std::collections::BTreeMap;
use std::time::Instant;

use super::attempt::open;
use super::doubts::Doubts;
use super::error::{Result, TransferError, host_of, shown};
use super::fetch::wait_for;
use super::judge::{Failure, Remedy, is_page_name, is_page_type, looks_like_a_page, portal, refuse_status};
use super::lull::Lull;
use super::network::{Network, pay_ahead};
use super::options::Options;
use super::outage::Outage;
use super::reply::{Ask, Body, Head, Next, Validator};
use super::resume::stopped;
use super::sources::{Source, Sources, jitter};
use crate::progress::Monitor;

/// Tells a file from another one of its name.
pub type IsRight<'a> = &'a dyn Fn(&[u8]) -> bool;

/// A small file that is wanted.
#[derive(Clone, Copy)]
pub struct SmallFile<'a> {
    /// Where it was published.
    pub url: &'a url::Url,
    /// The most bytes that it may have.
    pub max_bytes: u64,
    /// How many bytes it has, where that is known.
    pub length: Option<u64>,
    /// Tells it from another file of its name, where that can be told.
    pub is_right: Option<IsRight<'a>>,
    /// It need not be there: who forbids it (403) has none. Stores that nobody may list answer so.
    pub may_be_absent: bool,
}

impl<'a> SmallFile<'a> {
    /// A file of which no more is known.
    pub fn at(url: &'a url::Url, max_bytes: u64) -> Self {
        Self { url, max_bytes, length: None, is_right: None, may_be_absent: false }
    }

    /// True when these bytes are known to be the file.
    fn is_whole(&self, bytes: &[u8]) -> bool {
        let has_length = self.length.is_none_or(|length| length == bytes.len() as u64);
        has_length && self.is_right.is_some_and(|is_right| is_right(bytes))
    }

    fn name(&self) -> String {
        let last = self.url.path_segments().and_then(|mut parts| parts.next_back());
        last.unwrap_or_default().to_owned()
    }
}

/// What a small file is fetched with.
pub(super) struct SmallErrand<'a> {
    /// `None` when offline.
    pub(super) network: Option<&'a Network>,
    pub(super) options: &'a Options,
    pub(super) doubts: &'a Doubts,
    /// The user and the hour.
    pub(super) monitor: &'a dyn Monitor,
}

/// What one source sent.
enum Came {
    Right(Vec<u8>),
    /// A whole file, but another one; nothing of it where its length alone tells.
    Other(Vec<u8>),
}

/// What came of a file from one source before its line broke off.
#[derive(Default)]
struct Begun {
    bytes: Vec<u8>,
    /// The source was asked for the rest, and began anew.
    is_anew: bool,
    /// Without it nobody can say whether the rest would be of the same file.
    validator: Option<Validator>,
}

/// What the sources said that did not have the file.
#[derive(Default)]
struct Refusals {
    other: Option<Vec<u8>>,
    last: Option<TransferError>,
    num_tries: usize,
    /// It is not there where it was published.
    is_unpublished: bool,
}

impl SmallErrand<'_> {
    /// Asks source after source. Where none has the right file, what the last of them sent is returned, for the caller to
    /// refuse.
    pub(super) fn fetch(&self, file: &SmallFile<'_>, urls: &[url::Url]) -> Result<Vec<u8>> {
        let mut sources = Sources::new(urls, self.options, |url, _| {
            self.doubts.is_doubtful(url) || self.doubts.is_behind(url)
        });
        let mut begun: BTreeMap<String, Begun> = BTreeMap::new();
        let mut outage = Outage::new(self.options.outage_patience);
        let mut refusals = Refusals::default();
        while let Some((source, delay)) = sources.next(Instant::now()) {
            wait_for(delay, self.monitor)?;
            refusals.num_tries += 1;
            let begun = begun.entry(source.key.clone()).or_default();
            let before = begun.bytes.len();
            let failure = match self.ask(file, &source, begun) {
                Ok(Came::Right(bytes)) => return Ok(bytes),
                Ok(Came::Other(bytes)) => {
                    self.doubts.doubt_lists(&source.url);
                    refusals.other = Some(bytes);
                    if !sources.failed(Remedy::Leave, false, Instant::now(), jitter()) {
                        break;
                    }
                    self.monitor.warn(&format!(
                        "`{}` has another `{}` than is wanted; the next source is asked",
                        source.address,
                        file.name()
                    ));
                    continue;
                }
                Err(failure) => as_absent(file, failure),
            };
            let has_progressed = begun.keeps_more_than(before, &source);
            if has_progressed {
                sources.progressed();
                outage.is_over();
            }
            let failure = match begun.is_anew && !has_progressed {
                true => only_anew(file, &source, failure),
                false => failure,
            };
            if failure.remedy == Remedy::Stop {
                return Err(failure.error);
            }
            self.doubts.hear_of(&source.url, &failure, has_progressed);
            refusals.is_unpublished |= failure.error.is_missing() && source.url == *file.url;
            let goes_on = sources.failed(failure.remedy, has_progressed, Instant::now(), jitter());
            if goes_on && !refusals.are_enough(file, urls.len()) {
                self.tell(&failure, &mut outage);
                refusals.last = Some(failure.error);
                continue;
            }
            refusals.last = Some(failure.error);
            break;
        }
        refusals.end(file, urls.len())
    }

    /// Says what became of a try, when another one follows.
    fn tell(&self, failure: &Failure, outage: &mut Outage) {
        match failure.remedy {
            Remedy::Retry { after: None } => outage.tell(&failure.error, self.monitor),
            // A mirror need not have everything.
            _ if failure.error.is_missing() => {}
            _ => self.monitor.warn(&failure.error.to_string()),
        }
    }

    /// Asks one source, for what it has not sent yet.
    fn ask(
        &self,
        file: &SmallFile<'_>,
        source: &Source,
        begun: &mut Begun,
    ) -> std::result::Result<Came, Failure> {
        let ask = begun.ask(source);
        let mut reply = open(self.network, &ask, self.monitor)?;
        let (head, name) = (&reply.head, file.name());
        if head.status == 416 && !ask.is_whole() {
            // There is no more of it: that was all.
            let bytes = std::mem::take(&mut begun.bytes);
            return Ok(if file.is_whole(&bytes) { Came::Right(bytes) } else { Came::Other(bytes) });
        }
        refuse_status(head, &ask, &name)?;
        if let Some(encoding) = head.encoding.clone() {
            return Err(Failure::leave(TransferError::Encoded { address: shown(&ask.url), encoding }));
        }
        let is_page = head.content_type.as_deref().is_some_and(is_page_type);
        if is_page && !is_page_name(&name) {
            return Err(portal(&ask, &name));
        }
        let whole_bytes = begun.begin(head, &ask)?;
        match (file.length, whole_bytes) {
            (Some(length), Some(found)) if found != length => return Ok(Came::Other(Vec::new())),
            (_, Some(found)) if found > file.max_bytes => return Err(too_large(file, source)),
            _ => {}
        }
        let position = begun.bytes.len();
        match self.read(file, source, &mut reply.body, &mut begun.bytes) {
            Err(Failure { error: TransferError::TooLarge { .. }, .. }) if file.length.is_some() => {
                return Ok(Came::Other(Vec::new()));
            }
            read => read?,
        }
        let bytes = std::mem::take(&mut begun.bytes);
        if looks_like_a_page(&bytes) && !is_page_name(&name) {
            return Err(portal(&ask, &name));
        }
        let num_bytes = bytes.len() as u64;
        if let Some(length) = file.length.or(whole_bytes).filter(|length| num_bytes < *length) {
            begun.bytes = bytes;
            let reason = format!("the body ended after {num_bytes} of {length} bytes");
            return Err(Failure::retry(TransferError::Broken { host: host_of(&source.url), reason }));
        }
        match file.is_right.is_none_or(|is_right| is_right(&bytes)) {
            true => Ok(Came::Right(bytes)),
            // Parts of two files, perhaps.
            false if position > 0 => {
                let (address, offset) = (source.address.clone(), position as u64);
                Err(Failure::without_ranges(TransferError::Changed { address, offset }))
            }
            false => Ok(Came::Other(bytes)),
        }
    }

    /// Reads a body to its end, behind what there is.
    fn read(
        &self,
        file: &SmallFile<'_>,
        source: &Source,
        body: &mut Body,
        bytes: &mut Vec<u8>,
    ) -> std::result::Result<(), Failure> {
        let mut lull = Lull::new(&source.address);
        loop {
            if self.monitor.is_cancelled() {
                return Err(Failure::stop(stopped()));
            }
            match body.next() {
                Next::Chunk(chunk) => {
                    lull.is_over();
                    pay_ahead(self.network)?;
                    bytes.extend_from_slice(&chunk.bytes);
                }
                Next::Waiting => {
                    pay_ahead(self.network)?;
                    lull.goes_on_over(self.network, self.monitor);
                }
                Next::Failed(failure) => return Err(failure),
                Next::End => return Ok(()),
            }
            if bytes.len() as u64 > file.max_bytes {
                return Err(too_large(file, source));
            }
        }
    }
}

impl Begun {
    /// The whole file, or what of it has not come yet.
    fn ask(&mut self, source: &Source) -> Ask {
        let whole = Ask::whole(source.url.clone());
        match self.validator.clone().filter(|_| source.has_ranges && !self.bytes.is_empty()) {
            Some(validator) => {
                self.is_anew = false;
                Ask { start: self.bytes.len() as u64, validator: Some(validator), ..whole }
            }
            None => {
                *self = Self::default();
                whole
            }
        }
    }

    /// Takes note of an answer; returns how many bytes the whole file has, where that is said.
    fn begin(&mut self, head: &Head, ask: &Ask) -> std::result::Result<Option<u64>, Failure> {
        if head.status != 206 {
            let validator = head.validator.clone().filter(is_strong);
            *self = Self { bytes: Vec::new(), is_anew: !ask.is_whole(), validator };
            return Ok(head.length);
        }
        let bad = |this: &mut Self| {
            *this = Self::default();
            Failure::without_ranges(TransferError::BadRange { address: shown(&ask.url) })
        };
        let Some((start, end, whole_bytes)) = head.range else { return Err(bad(self)) };
        let is_same = head.validator.is_none() || head.validator == self.validator;
        if start != ask.start || end <= start || !is_same {
            return Err(bad(self));
        }
        Ok(whole_bytes)
    }

    /// True when more is kept than before, and can be gone on with.
    fn keeps_more_than(&self, before: usize, source: &Source) -> bool {
        source.has_ranges && self.validator.is_some() && self.bytes.len() > before
    }
}

/// The time of the last change tells nothing of what was changed within that second.
fn is_strong(validator: &Validator) -> bool {
    matches!(validator, Validator::Etag(_))
}

impl Refusals {
    /// True when it is not there where it was published, it need not be there, and everyone was asked.
    fn are_enough(&self, file: &SmallFile<'_>, num_sources: usize) -> bool {
        file.may_be_absent && self.is_unpublished && self.num_tries >= num_sources
    }

    fn end(self, file: &SmallFile<'_>, num_sources: usize) -> Result<Vec<u8>> {
        if self.are_enough(file, num_sources) {
            return Err(TransferError::Missing { address: shown(file.url), status: None });
        }
        match (self.last, self.other) {
            (Some(error), None) => Err(error),
            // What nobody signed, its reader judges: an old list tells more than a line that is down.
            (Some(error), Some(other))
                if error.ends_the_run()
                    || !error.is_missing() && (file.length.is_some() || other.is_empty()) =>
            {
                Err(error)
            }
            (_, Some(other)) => Ok(other),
            (None, None) => Err(TransferError::NoSource { name: shown(file.url) }),
        }
    }
}

/// A server that begins anew each time, and broke off before anything new came, would be paid for the same bytes again.
fn only_anew(file: &SmallFile<'_>, source: &Source, failure: Failure) -> Failure {
    match failure.remedy {
        Remedy::Retry { .. } => {
            let (name, address) = (file.name(), source.address.clone());
            Failure::leave(TransferError::OnlyAnew { name, address })
        }
        _ => failure,
    }
}

fn as_absent(file: &SmallFile<'_>, failure: Failure) -> Failure {
    match failure.error {
        TransferError::Status { address, status: 403, .. } if file.may_be_absent => {
            Failure::leave(TransferError::Missing { address, status: Some(403) })
        }
        _ => failure,
    }
}

fn too_large(file: &SmallFile<'_>, source: &Source) -> Failure {
    let (address, max_bytes) = (source.address.clone(), file.max_bytes);
    Failure::leave(TransferError::TooLarge { address, max_bytes })
}
