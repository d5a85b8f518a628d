//! A site that an export is for: what it has, wants and can take, by its own letters.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use crate::bundle::{HalfBlob, Receipt, Request, SHORT_BLOB_BYTES, ShortRequest, SiteId, Stick, prefix_of};
use crate::digest::Sha256;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{FileEntry, PackageRef};
use crate::progress::Monitor;

use super::error::{Error, Result};
use super::letters::{self, Heard, SiteRecord};

const GIB: u64 = 1 << 30;

/// The longest text that is taken for a short request, in bytes.
const MAX_TEXT_BYTES: u64 = 4096;

/// One site that an export is for.
#[derive(Debug, Clone)]
pub(super) struct Addressee {
    pub(super) site: SiteId,
    pub(super) label: Option<String>,
    pub(super) packages: Vec<PackageRef>,
    pub(super) wants: Vec<PackageRef>,
    pub(super) platform: Option<String>,
    pub(super) ram_bytes: Option<u64>,
    pub(super) free_bytes: Option<u64>,
    pub(super) max_volume_bytes: Option<u64>,
    half: Vec<HalfBlob>,
    blobs: HashSet<Sha256>,
    prefixes: BTreeSet<u32>,
}

impl Addressee {
    /// True when the site says that it has this file.
    pub(super) fn has(&self, file: &FileEntry) -> bool {
        let is_large = file.size_bytes >= SHORT_BLOB_BYTES;
        self.blobs.contains(&file.sha256) || (is_large && self.prefixes.contains(&prefix_of(&file.sha256)))
    }

    /// What is missing of a file that the site has in part.
    pub(super) fn half_of(&self, file: &FileEntry) -> Option<&HalfBlob> {
        self.half.iter().find(|half| half.sha256 == file.sha256 && half.size_bytes == file.size_bytes)
    }

    /// What the site has in part.
    pub(super) fn halves(&self) -> &[HalfBlob] {
        &self.half
    }

    /// How people call it.
    pub(super) fn name(&self) -> String {
        match &self.label {
            Some(label) => format!("{label} ({})", self.site),
            None => self.site.to_string(),
        }
    }

    /// Believes nothing of what it has: all that it gets is sent whole.
    pub(super) fn with_nothing(mut self) -> Self {
        self.half.clear();
        self.blobs.clear();
        self.prefixes.clear();
        self
    }

    /// The site as its request tells it, or its receipt where that is newer.
    fn from_request(request: Request, receipt: Option<&Receipt>) -> Self {
        let newer = receipt.filter(|receipt| receipt.head.number > request.head.number);
        let label = newer.map_or(&request.head, |newer| &newer.head).label.clone().or(request.head.label);
        let has = newer.map_or(request.has, |newer| newer.has.clone());
        let is_new =
            |want: &PackageRef| newer.is_none() || !has.packages.iter().any(|has| fulfils(has, want));
        Self {
            site: request.head.site,
            label,
            wants: request.wants.into_iter().filter(|want| is_new(want)).collect(),
            platform: Some(request.platform),
            ram_bytes: Some(request.ram_bytes),
            free_bytes: Some(request.free_bytes),
            max_volume_bytes: request.max_volume_bytes,
            packages: has.packages,
            half: has.half,
            blobs: has.blobs.into_iter().collect(),
            prefixes: BTreeSet::new(),
        }
    }

    /// The site as its short request tells it; the rest follows from the receipt that it names.
    fn from_short(short: ShortRequest, record: Option<&SiteRecord>) -> Self {
        let receipt = record.and_then(SiteRecord::believed_receipt);
        let named = receipt.filter(|receipt| receipt.head.number == short.receipt);
        // Packages only say what may be outdated: an older receipt will do.
        let has = named.map(|receipt| receipt.has.clone()).unwrap_or_default();
        Self {
            site: short.site,
            label: record.and_then(SiteRecord::label).map(ToOwned::to_owned),
            packages: receipt.map(|receipt| receipt.has.packages.clone()).unwrap_or_default(),
            wants: short.wants,
            platform: Some(short.platform),
            ram_bytes: Some(short.ram_gib.saturating_mul(GIB)),
            free_bytes: Some(short.free_gib.saturating_mul(GIB)),
            max_volume_bytes: None,
            half: has.half,
            blobs: has.blobs.into_iter().collect(),
            prefixes: short.prefixes,
        }
    }

    /// The site as its newest letter tells it.
    fn from_record(record: SiteRecord) -> Option<Self> {
        let newest_number = record.newest().map(|(number, _)| number);
        let SiteRecord { request, short, receipt, .. } = record.clone();
        match (request, short, receipt) {
            (_, Some(short), _) if newest_number.is_none_or(|number| number < short.number) => {
                Some(Self::from_short(short, Some(&record)))
            }
            (Some(request), ..) => Some(Self::from_request(request, record.believed_receipt())),
            (None, _, Some(receipt)) => Some(Self::from_receipt(receipt)),
            (None, ..) => None,
        }
    }

    fn from_receipt(receipt: Receipt) -> Self {
        Self {
            site: receipt.head.site,
            label: receipt.head.label,
            packages: receipt.has.packages,
            wants: Vec::new(),
            platform: None,
            ram_bytes: None,
            free_bytes: None,
            max_volume_bytes: None,
            half: receipt.has.half,
            blobs: receipt.has.blobs.into_iter().collect(),
            prefixes: BTreeSet::new(),
        }
    }
}

/// True when a package that is there is what was asked for. Registries are not compared: each machine calls
/// them as it likes.
pub(super) fn fulfils(has: &PackageRef, want: &PackageRef) -> bool {
    has.name == want.name
        && want.version.as_ref().is_none_or(|version| has.version.as_ref() == Some(version))
        && want.variant.as_ref().is_none_or(|variant| has.variant.as_ref() == Some(variant))
}

/// The sites that an export is for: those whose requests were given, each a text, a file or a folder of
/// letters, and those that were named. All letters are taken in.
///
/// # Errors
/// When a request cannot be read, or a site is not known here.
pub(super) fn addressees(
    home: &Home,
    requests: &[String],
    sites: &[String],
    monitor: &dyn Monitor,
) -> Result<Vec<Addressee>> {
    let mut found: Vec<Addressee> = Vec::new();
    for request in requests {
        for heard in read(request, monitor)? {
            letters::take_in(home, heard.clone(), monitor)?;
            let record = SiteRecord::find(home, heard.site(), monitor);
            record.iter().for_each(|record| warn_of_sharing(record, monitor));
            let receipt = record.as_ref().and_then(SiteRecord::believed_receipt);
            let addressee = match heard {
                Heard::Request(request) => Addressee::from_request(request, receipt),
                Heard::Short(short) => Addressee::from_short(short, record.as_ref()),
                Heard::Receipt(receipt) => Addressee::from_receipt(receipt),
            };
            add(&mut found, addressee);
        }
    }
    for name in sites {
        let record = letters::named(home, name, monitor)?;
        warn_of_sharing(&record, monitor);
        add(&mut found, Addressee::from_record(record).ok_or_else(|| never_wrote(name))?);
    }
    Ok(found)
}

/// Whoever sends to a site that two machines write as should know why more goes along than seems to be lacking.
fn warn_of_sharing(record: &SiteRecord, monitor: &dyn Monitor) {
    if record.is_shared {
        monitor.warn(&format!(
            "two machines write as the site {site}: what its last request says that it has is believed, and no receipt, \
             until `localml sites --forget {site}`",
            site = record.site
        ));
    }
}

/// A site that is named twice counts once, with what it asked for last.
fn add(found: &mut Vec<Addressee>, addressee: Addressee) {
    found.retain(|other| other.site != addressee.site);
    found.push(addressee);
}

fn never_wrote(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("nothing is known here of what `{name}` has"))
        .with_hint("ask for `localml request`, or export without `--site`")
}

/// Reads requests: a text that begins with `LML`, a JSON file or a file with such a text, or a folder
/// that is a stick or holds requests.
fn read(request: &str, monitor: &dyn Monitor) -> Result<Vec<Heard>> {
    let path = Path::new(request);
    if path.is_dir() {
        return read_folder(path, monitor);
    }
    let begins_short = request.trim_start().get(..3).is_some_and(|start| start.eq_ignore_ascii_case("LML"));
    if begins_short && !path.exists() {
        return Ok(vec![Heard::Short(ShortRequest::parse(request)?)]);
    }
    if !path.is_file() {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no request `{request}`"))
            .with_hint("name a file, a folder or stick with requests, or a text that begins with `LML1`"));
    }
    Ok(vec![read_file(path)?])
}

fn read_file(path: &Path) -> Result<Heard> {
    let is_short = path.metadata().is_ok_and(|metadata| metadata.len() <= MAX_TEXT_BYTES);
    let text = if is_short { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    match text.trim_start().get(..3).is_some_and(|start| start.eq_ignore_ascii_case("LML")) {
        true => Ok(Heard::Short(ShortRequest::parse(&text)?)),
        false => Ok(Heard::Request(Request::open(path)?)),
    }
}

/// The newest request of each site in a folder: a stick, or plain files that came by other ways.
fn read_folder(folder: &Path, monitor: &dyn Monitor) -> Result<Vec<Heard>> {
    let mut newest: Vec<Request> = match Stick::open(folder) {
        Ok(stick) => {
            let (requests, remarks) = stick.requests();
            remarks.iter().for_each(|remark| monitor.warn(&remark.to_string()));
            requests
        }
        Err(_) => plain_requests(folder, monitor),
    };
    if newest.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("`{}` holds no request", folder.display()))
            .with_hint("`localml request DIR` at the site writes one"));
    }
    newest.sort_by(|left, right| left.head.site.cmp(&right.head.site));
    Ok(newest.into_iter().map(Heard::Request).collect())
}

fn plain_requests(folder: &Path, monitor: &dyn Monitor) -> Vec<Request> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_json = |path: &std::path::PathBuf| {
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
    };
    let mut newest: Vec<Request> = Vec::new();
    for path in entries.filter(is_json) {
        match Request::open(&path) {
            Err(error) => monitor.warn(&error.to_string()),
            Ok(request) => match newest.iter_mut().find(|other| other.head.site == request.head.site) {
                Some(older) if older.head.number < request.head.number => *older = request,
                Some(_) => {}
                None => newest.push(request),
            },
        }
    }
    newest
}
