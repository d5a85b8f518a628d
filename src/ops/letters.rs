//! What the net side knows of each site: its newest letters, and what was sent since. One file a site,
//! `sites/<id>.json`.
//!
//! What was sent is kept for people alone. What a site has comes only from its own letters: a stick that
//! never arrived must not make the next one too small.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bundle::{BundleId, Holding, Receipt, Remark, Request, ShortRequest, SiteId, Stick};
use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::PackageRef;
use crate::progress::Monitor;

use super::addressee::fulfils;
use super::error::{Error, Result};
use super::letter_marks::LetterMark;
use super::site;

/// The format that this program writes.
const FORMAT: u32 = 1;

/// The most bytes that a file of a site may have: two letters, and some.
const MAX_RECORD_BYTES: u64 = 64 * 1024 * 1024;

/// The most sendings that are remembered of one site; older ones are forgotten.
const MAX_SENT: usize = 200;

/// What is known here of one site.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SiteRecord {
    format: u32,
    pub(super) site: SiteId,
    /// When the newest letter was taken in, in seconds since 1970 by this machine's clock.
    pub(super) heard_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Request>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) short: Option<ShortRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) receipt: Option<Receipt>,
    #[serde(default)]
    pub(super) sent: Vec<SentBundle>,
    /// The letters that were heard, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<LetterMark>,
    /// True once two letters of one number were heard: two machines write as this site, and what a receipt says that
    /// the site has may be true of the other one. Only `sites --forget` ends it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_shared: bool,
}

/// A bundle that was written for a site, and that the site has not acknowledged whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentBundle {
    /// The bundle.
    pub bundle: BundleId,
    /// When it was written, in seconds since 1970 by this machine's clock.
    pub sent_at: u64,
    /// The packages in it that are for the site.
    pub packages: Vec<PackageRef>,
    /// The bytes of its files on the stick.
    pub size_bytes: u64,
}

/// Any letter of a site.
#[derive(Debug, Clone)]
pub(super) enum Heard {
    Request(Request),
    Short(ShortRequest),
    Receipt(Receipt),
}

impl Heard {
    fn number(&self) -> u64 {
        match self {
            Self::Request(request) => request.head.number,
            Self::Short(short) => short.number,
            Self::Receipt(receipt) => receipt.head.number,
        }
    }

    pub(super) fn site(&self) -> &SiteId {
        match self {
            Self::Request(request) => &request.head.site,
            Self::Short(short) => &short.site,
            Self::Receipt(receipt) => &receipt.head.site,
        }
    }
}

impl SiteRecord {
    fn new(site: SiteId) -> Self {
        Self {
            format: FORMAT,
            site,
            heard_at: 0,
            request: None,
            short: None,
            receipt: None,
            sent: Vec::new(),
            marks: Vec::new(),
            is_shared: false,
        }
    }

    /// Reads what is known of a site, if anything. What cannot be read counts as nothing: the site's next
    /// letter says it all again.
    pub(super) fn find(home: &Home, site: &SiteId, monitor: &dyn Monitor) -> Option<Self> {
        read(&home.sites().join(format!("{site}.json")), monitor).filter(|record| record.site == *site)
    }

    /// What the site calls itself, by its newest letter that says so.
    pub(super) fn label(&self) -> Option<&str> {
        let request = self.request.as_ref().map(|request| &request.head);
        let receipt = self.receipt.as_ref().map(|receipt| &receipt.head);
        let mut heads: Vec<_> = request.into_iter().chain(receipt).collect();
        heads.sort_by_key(|head| std::cmp::Reverse(head.number));
        heads.into_iter().find_map(|head| head.label.as_deref())
    }

    /// The receipt, unless another machine may have written it.
    pub(super) fn believed_receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref().filter(|_| !self.is_shared)
    }

    /// What the site has by its newest whole letter, and that letter's number.
    pub(super) fn newest(&self) -> Option<(u64, &Holding)> {
        let request = self.request.as_ref().map(|request| (request.head.number, &request.has));
        let receipt = match self.request.is_none() && self.short.is_none() {
            true => self.receipt.as_ref(),
            false => self.believed_receipt(),
        };
        let receipt = receipt.map(|receipt| (receipt.head.number, &receipt.has));
        request.into_iter().chain(receipt).max_by_key(|(number, _)| *number)
    }

    /// The marks of the letters that were heard, those that are held among them.
    fn heard_marks(&self) -> Vec<LetterMark> {
        let mut marks = self.marks.clone();
        let held = self.request.iter().map(LetterMark::of_request);
        let held = held.chain(self.short.iter().map(LetterMark::of_short));
        for mark in held.chain(self.receipt.iter().map(LetterMark::of_receipt)) {
            mark.keep_in(&mut marks);
        }
        marks
    }

    /// Takes a letter in when it is newer than the last of its kind. Of a site that two machines write as, each
    /// request that comes counts: its number says nothing about the other machine's.
    fn hear(&mut self, heard: Heard) -> Hearing {
        let (mark, mut marks) = (LetterMark::of(&heard), self.heard_marks());
        let is_twin = !marks.contains(&mark) && marks.iter().any(|other| other.contradicts(&mark));
        mark.keep_in(&mut marks);
        self.is_shared |= is_twin;
        let is_shared = self.is_shared;
        let is_newer = match &heard {
            Heard::Request(new) => self
                .request
                .as_ref()
                .is_none_or(|old| old.head.number < new.head.number || (is_shared && old != new)),
            Heard::Short(new) => {
                self.short.as_ref().is_none_or(|old| old.number < new.number || (is_shared && old != new))
            }
            Heard::Receipt(new) => self.receipt.as_ref().is_none_or(|old| old.head.number < new.head.number),
        };
        let is_news = is_newer || marks != self.marks;
        self.marks = marks;
        if is_newer {
            self.heard_at = site::now();
            match heard {
                Heard::Request(request) => self.request = Some(request),
                Heard::Short(short) => self.short = Some(short),
                Heard::Receipt(receipt) => self.receipt = Some(receipt),
            }
            self.forget_what_arrived();
        }
        Hearing { is_news, is_twin }
    }

    /// What the site says that it has, in whole or as packages, is not on its way any more.
    fn forget_what_arrived(&mut self) {
        let whole: Vec<BundleId> = self
            .receipt
            .iter()
            .flat_map(|receipt| &receipt.bundles)
            .filter(|bundle| bundle.is_whole())
            .map(|bundle| bundle.id.clone())
            .collect();
        let packages: Vec<PackageRef> =
            self.newest().map(|(_, has)| has.packages.clone()).unwrap_or_default();
        self.sent.retain(|sent| {
            let has_all = !sent.packages.is_empty()
                && sent.packages.iter().all(|sent| packages.iter().any(|has| fulfils(has, sent)));
            !whole.contains(&sent.bundle) && !has_all
        });
    }

    /// Notes what was written for the site.
    pub(super) fn send(&mut self, sent: SentBundle) {
        self.sent.retain(|earlier| earlier.bundle != sent.bundle);
        self.sent.push(sent);
        self.sent.drain(..self.sent.len().saturating_sub(MAX_SENT));
    }

    /// Keeps it in the home.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, home: &Home) -> Result<()> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        Ok(disk::write_atomic(&home.sites().join(format!("{}.json", self.site)), &bytes)?)
    }
}

/// Every site that is known here, by id.
pub(super) fn all(home: &Home, monitor: &dyn Monitor) -> Vec<SiteRecord> {
    let entries = fs::read_dir(home.sites()).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| read(path, monitor)).collect()
}

/// The site with this id or label.
///
/// # Errors
/// When none or several are meant.
pub(super) fn named(home: &Home, name: &str, monitor: &dyn Monitor) -> Result<SiteRecord> {
    let is_meant = |record: &SiteRecord| {
        record.site.as_str().eq_ignore_ascii_case(name)
            || record.label().is_some_and(|label| label.eq_ignore_ascii_case(name))
    };
    let mut found: Vec<SiteRecord> = all(home, monitor).into_iter().filter(is_meant).collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Error::new(ErrorKind::NotFound, format!("no site `{name}` is known here"))
            .with_hint("`localml sites` lists those that are; a stick with their letters brings others")),
        (Some(_), false) => Err(Error::new(ErrorKind::Usage, format!("several sites are called `{name}`"))
            .with_hint("name it by its id, which `localml sites` shows")),
    }
}

/// What a letter changed.
struct Hearing {
    /// True when the record is to be kept.
    is_news: bool,
    /// True when another letter of its number was heard before.
    is_twin: bool,
}

/// Takes one letter in. One whose number another letter had is told.
///
/// # Errors
/// When the home cannot be written.
pub(super) fn take_in(home: &Home, heard: Heard, monitor: &dyn Monitor) -> Result<()> {
    let (site, number) = (heard.site().clone(), heard.number());
    let mut record = SiteRecord::find(home, &site, monitor).unwrap_or_else(|| SiteRecord::new(site.clone()));
    let Hearing { is_news, is_twin } = record.hear(heard);
    if is_twin {
        monitor.warn(&format!(
            "letter {number} of the site {site} is another one than was heard before under this number: two machines \
             write as this site, or its home was restored from a copy; if two do, remove `site.toml` from the home of \
             one, then run `localml sites --forget {site}` here"
        ));
    }
    match is_news {
        true => record.keep(home),
        false => Ok(()),
    }
}

/// What lay on a stick.
#[derive(Debug, Default)]
pub(super) struct TakenIn {
    pub(super) num_requests: usize,
    /// Whose letters lie there, each site once.
    pub(super) sites: Vec<SiteId>,
    /// What is wrong with some letters.
    pub(super) remarks: Vec<Remark>,
}

/// Takes all letters of a stick in. A folder that is no stick has none.
///
/// # Errors
/// When the home cannot be written.
pub(super) fn take_in_stick(home: &Home, folder: &Path, monitor: &dyn Monitor) -> Result<TakenIn> {
    let Ok(stick) = Stick::open(folder) else {
        return Ok(TakenIn::default());
    };
    let ((requests, mut remarks), (receipts, others)) = (stick.requests(), stick.receipts());
    let num_requests = requests.len();
    let asking = requests.iter().map(|request| request.head.site.clone());
    let mut sites: Vec<SiteId> =
        asking.chain(receipts.iter().map(|receipt| receipt.head.site.clone())).collect();
    sites.sort();
    sites.dedup();
    for request in requests {
        take_in(home, Heard::Request(request), monitor)?;
    }
    for receipt in receipts {
        take_in(home, Heard::Receipt(receipt), monitor)?;
    }
    remarks.extend(others);
    Ok(TakenIn { num_requests, sites, remarks })
}

/// Forgets a site.
///
/// # Errors
/// When its file cannot be removed.
pub(super) fn forget(home: &Home, record: &SiteRecord) -> Result<()> {
    Ok(disk::remove_file(&home.sites().join(format!("{}.json", record.site)))?)
}

fn read(path: &Path, monitor: &dyn Monitor) -> Option<SiteRecord> {
    let is_small = path.metadata().ok()?.len() <= MAX_RECORD_BYTES;
    let record = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<SiteRecord>(&bytes).ok());
    let record = record.filter(|record| is_small && record.format <= FORMAT);
    if record.is_none() {
        monitor.warn(&format!("`{}` cannot be read; the site's next letter replaces it", path.display()));
    }
    record
}
