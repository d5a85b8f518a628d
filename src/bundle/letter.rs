//! Letters: the small JSON documents that a site leaves on a stick, `REQ/<SITE>-<N>.JSON` and
//! `RCP/<SITE>-<N>.JSON`.
//!
//! Nobody signs them and nobody trusts them: they are hints. A forged one can waste bytes, never install
//! one. They stand in no commit record, so a stick may be pulled out while one is written: each has a
//! name of its own, is synced and read back, and only then are the older ones of the same site removed.

use std::io::Read as _;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::disk::{self, Lock};
use crate::package::{Name, PackageRef};

use super::clock::rfc3339;
use super::error::{BundleError, Result, io_error};
use super::half::HalfBlob;
use super::id::SiteId;
use super::layout::{RECEIPTS, REQUESTS};
use super::remark::{Remark, Remarks};
use super::stick::{Stick, names_in};
use super::writer::{make_folder, write_small};

/// The most bytes that one letter may have.
const MAX_LETTER_BYTES: u64 = 16 * 1024 * 1024;

/// The most bytes of all letters of one kind that are read from one stick.
const MAX_TOTAL_BYTES: u64 = 64 * 1024 * 1024;

/// The most blobs, packages or other entries that a letter may list.
pub(super) const MAX_ENTRIES: usize = 100_000;

/// The most bytes that a label, a version or a date may have.
const MAX_TEXT_BYTES: usize = 200;

/// The highest number that a letter may have; one a minute for a thousand years.
const MAX_NUMBER: u64 = 999_999_999;

const KNOWN_FORMAT: &str = "1.0";

/// Who wrote a letter, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letterhead {
    /// `major.minor`.
    pub format: String,
    /// The site.
    pub site: SiteId,
    /// Rises with each letter of the site, whatever its kind.
    pub number: u64,
    /// When it was written, in RFC 3339 and UTC, by the site's clock.
    pub created: String,
    /// What the site calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The version of localml there.
    pub localml: String,
}

/// What a site has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The packages that are installed or kept, with version and variant.
    pub packages: Vec<PackageRef>,
    /// The blobs that are there whole; each was verified when it came in.
    pub blobs: Vec<Sha256>,
    /// The registries that it trusts, and what it has of them.
    #[serde(default)]
    pub registries: Vec<RegistryState>,
    /// The blobs of which only a part has come, and which bytes are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub half: Vec<HalfBlob>,
}

/// How far a site is with one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryState {
    /// What it is called there.
    pub name: Name,
    /// The sha256 of the first root.
    pub fingerprint: Sha256,
    /// The version of the newest root.
    pub root: u64,
    /// The version of the metadata as a whole: that of `timestamp.json`.
    pub version: u64,
    /// The day on which that expires, as `2026-11-22`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Letterhead {
    /// The head of a letter that is written now.
    pub fn new(site: SiteId, number: u64, label: Option<String>, created_at: u64) -> Self {
        Self {
            format: KNOWN_FORMAT.into(),
            site,
            number,
            created: rfc3339(created_at),
            label,
            localml: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn file_name(&self) -> String {
        format!("{}-{}.JSON", self.site, self.number)
    }
}

/// What requests and receipts have in common.
pub(super) trait Letter: Serialize + DeserializeOwned {
    /// The folder inside `LOCALML`.
    const FOLDER: &'static str;

    fn head(&self) -> &Letterhead;

    fn has(&self) -> &Holding;

    /// How many entries its own lists have.
    fn num_entries(&self) -> usize;

    /// Each text of its own, for a look at its length.
    fn texts(&self) -> Vec<&str>;
}

#[derive(Deserialize)]
struct FormatOnly {
    format: String,
}

/// Reads and checks a letter; `file` is its name for messages.
///
/// # Errors
/// `NewerLetter` for a later major format; `DamagedLetter` when it is not JSON of the right shape or too large.
pub(super) fn parse<L: Letter>(file: &str, bytes: &[u8]) -> Result<L> {
    let damaged = |reason: String| BundleError::DamagedLetter { file: file.to_owned(), reason };
    if bytes.len() as u64 > MAX_LETTER_BYTES {
        return Err(damaged("it is larger than 16 MiB".into()));
    }
    let form: FormatOnly = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if form.format.split('.').next() != Some("1") {
        let found = form.format.chars().take(20).collect();
        return Err(BundleError::NewerLetter { file: file.to_owned(), found, known: KNOWN_FORMAT });
    }
    let letter: L = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    check(&letter).map_err(|reason| damaged(reason.to_owned()))?;
    Ok(letter)
}

fn check<L: Letter>(letter: &L) -> std::result::Result<(), &'static str> {
    let (head, has) = (letter.head(), letter.has());
    if head.number > MAX_NUMBER {
        return Err("its number is larger than any real one");
    }
    let num_gaps = has.half.iter().map(|half| half.missing.len()).sum();
    let counts = [has.packages.len(), has.blobs.len(), has.registries.len(), has.half.len(), num_gaps];
    if counts.iter().chain([&letter.num_entries()]).any(|&count| count > MAX_ENTRIES) {
        return Err("it lists more than any site has");
    }
    let label = head.label.as_deref().unwrap_or_default();
    let expiries = has.registries.iter().filter_map(|registry| registry.expires.as_deref());
    let mut texts: Vec<&str> = vec![&head.created, label, &head.localml];
    texts.extend(expiries);
    texts.extend(letter.texts());
    match texts.iter().all(|text| is_plain_text(text)) {
        true => Ok(()),
        false => Err("a text in it is longer than any real one, or has control characters"),
    }
}

fn is_plain_text(text: &str) -> bool {
    text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control)
}

/// The bytes of a letter.
///
/// # Errors
/// `LetterTooLong` when no reader would accept it.
pub(super) fn to_bytes<L: Letter>(letter: &L) -> Result<Vec<u8>> {
    let refused = |reason| BundleError::LetterTooLong { folder: L::FOLDER, reason };
    check(letter).map_err(refused)?;
    let mut bytes = serde_json::to_vec_pretty(letter).unwrap_or_default();
    bytes.push(b'\n');
    if bytes.len() as u64 > MAX_LETTER_BYTES {
        return Err(refused("it is larger than 16 MiB"));
    }
    Ok(bytes)
}

/// Writes a letter to the stick at `folder`, then removes older ones of the same site and kind. Returns
/// its path, relative to `LOCALML`.
///
/// # Errors
/// When the stick cannot be written, or does not hold what was written; older letters then stay.
pub(super) fn write<L: Letter>(folder: &Path, letter: &L) -> Result<String> {
    let bytes = to_bytes(letter)?;
    let stick = Stick::create(folder)?;
    let _lock = Lock::acquire_dir(stick.root())?;
    let letters = make_folder(stick.root(), &[L::FOLDER])?;
    let path = format!("{}/{}", L::FOLDER, letter.head().file_name());
    write_small(stick.root(), &path, &bytes)?;
    // The new one is safe. Whatever else bears this site's name is older, torn or forged.
    let own = letter.head().file_name();
    for name in names_in(&letters)? {
        let is_same_site = of_name(&name).is_some_and(|(site, _)| site == letter.head().site);
        let is_plain = letters.join(&name).symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if is_same_site && is_plain && name != own {
            disk::remove_file(&letters.join(&name))?;
        }
    }
    disk::sync_dir(&letters)?;
    disk::sync_filesystem(stick.root())?;
    Ok(path)
}

/// True when the stick already holds exactly this letter.
pub(super) fn is_there<L: Letter>(folder: &Path, letter: &L) -> bool {
    let Ok(stick) = Stick::open(folder) else { return false };
    let path = stick.root().join(L::FOLDER).join(letter.head().file_name());
    match (read_small(&path), to_bytes(letter)) {
        (Ok(lying), Ok(bytes)) => lying == bytes,
        _ => false,
    }
}

/// The newest whole letter of each site, and what is wrong with others.
pub(super) fn read_all<L: Letter>(stick: &Stick) -> (Vec<L>, Vec<Remark>) {
    let mut remarks = Remarks::default();
    let mut letters: Vec<L> = Vec::new();
    let mut total_bytes = 0;
    for (site, number, name) in newest_first(stick, L::FOLDER, &mut remarks) {
        if letters.iter().any(|letter| letter.head().site == site) {
            continue;
        }
        let path = format!("{}/{name}", L::FOLDER);
        let full_path = stick.root().join(&path);
        total_bytes +=
            full_path.symlink_metadata().map_or(0, |metadata| metadata.len().min(MAX_LETTER_BYTES));
        if total_bytes > MAX_TOTAL_BYTES {
            remarks.add(L::FOLDER, "its letters have more than 64 MiB; the rest is not read");
            break;
        }
        match read_small(&full_path).and_then(|bytes| parse::<L>(&path, &bytes)) {
            Ok(letter) if (&letter.head().site, letter.head().number) == (&site, number) => {
                letters.push(letter);
            }
            Ok(_) => remarks.add(&path, "it belongs to another site or has another number; it is ignored"),
            Err(error) => remarks.add(&path, format!("it is ignored: {error}")),
        }
    }
    (letters, remarks.finish())
}

/// The letters in a folder by their names: the highest numbers first.
fn newest_first(stick: &Stick, folder: &str, remarks: &mut Remarks) -> Vec<(SiteId, u64, String)> {
    let names = match names_in(&stick.root().join(folder)) {
        Ok(names) => names,
        Err(error) => {
            remarks.add(folder, error.to_string());
            Vec::new()
        }
    };
    let mut found: Vec<(SiteId, u64, String)> = names
        .into_iter()
        .filter_map(|name| of_name(&name).map(|(site, number)| (site, number, name)))
        .collect();
    found.sort_by(|left, right| (right.1, &right.0).cmp(&(left.1, &left.0)));
    found
}

/// Site and number of `0A1B2C3D-7.JSON`.
fn of_name(name: &str) -> Option<(SiteId, u64)> {
    let (site, number) = name.strip_suffix(".JSON")?.split_once('-')?;
    let parsed: u64 = number.parse().ok()?;
    // One number has one name.
    let is_plain = parsed.to_string() == number && parsed <= MAX_NUMBER;
    Some((site.parse().ok().filter(|_| is_plain)?, parsed))
}

/// Reads a small file whole; a link, a device or more than a letter's bytes is an error.
pub(super) fn read_small(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = disk::open_plain(path)?;
    let limit = MAX_LETTER_BYTES + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| io_error(path, error))?;
    Ok(bytes)
}

/// The highest number that letters of this site have on a stick, torn ones too.
pub(super) fn highest_number(stick: &Stick, site: &SiteId) -> u64 {
    let mut remarks = Remarks::default();
    let folders = [REQUESTS, RECEIPTS];
    let numbers = folders.iter().flat_map(|folder| newest_first(stick, folder, &mut remarks));
    // The last number of all would leave none for the next letter.
    let numbers: Vec<u64> = numbers
        .filter(|(other, number, _)| other == site && *number < MAX_NUMBER)
        .map(|(_, number, _)| number)
        .collect();
    numbers.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::bundle::Request;
    use crate::error::Explain as _;

    fn request(number: u64) -> Request {
        Request {
            head: Letterhead::new("0A1B2C3D".parse().unwrap(), number, Some("Clinic".into()), 0),
            platform: "x86_64-unknown-linux-gnu".into(),
            ram_bytes: 8 << 30,
            free_bytes: 100 << 30,
            max_volume_bytes: None,
            wants: vec!["book".parse().unwrap()],
            has: Holding { blobs: vec![Sha256::of(b"book")], ..Holding::default() },
        }
    }

    fn numbers(folder: &Path) -> (Vec<u64>, usize) {
        let (requests, remarks) = Stick::open(folder).unwrap().requests();
        (requests.iter().map(|request| request.head.number).collect(), remarks.len())
    }

    #[test]
    fn only_a_whole_newer_letter_replaces_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = request(1).write(folder.path()).unwrap();
        assert_eq!(path, "REQ/0A1B2C3D-1.JSON");
        let letters = folder.path().join("LOCALML/REQ");
        let bytes = std::fs::read(letters.join("0A1B2C3D-1.JSON")).unwrap();
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 3] {
            std::fs::write(letters.join("0A1B2C3D-2.JSON"), &bytes[..cut]).unwrap();
            assert_eq!(numbers(folder.path()), (vec![1], 1), "{cut}");
        }
        // A neighbour's letter stays.
        std::fs::write(letters.join("FFFFFFFF-9.JSON"), b"torn").unwrap();
        request(10).write(folder.path()).unwrap();
        assert_eq!(numbers(folder.path()), (vec![10], 1));
        let stick = Stick::open(folder.path()).unwrap();
        assert_eq!(stick.highest_letter(&"0A1B2C3D".parse().unwrap()), 10);
        assert_eq!(stick.requests().0, [request(10)]);
        assert!(is_there(folder.path(), &request(10)) && !is_there(folder.path(), &request(11)));
    }

    #[test]
    fn a_later_major_is_refused_by_name_and_absurd_ones_for_their_reason() {
        let mut value = serde_json::to_value(request(1)).unwrap();
        value["format"] = "2.0".into();
        let error = Request::parse("x", value.to_string().as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "`x` has format 2.0, and this localml reads formats up to 1.0");
        for (field, absurd) in [
            ("number", serde_json::json!(u64::MAX)),
            ("label", "x".repeat(1000).into()),
            ("created", "now\n".into()),
            ("site", "../../..".into()),
            ("wants", vec!["book"; MAX_ENTRIES + 1].into()),
        ] {
            let mut value = serde_json::to_value(request(1)).unwrap();
            value[field] = absurd;
            let error = Request::parse("x", value.to_string().as_bytes()).unwrap_err();
            assert!(matches!(error, BundleError::DamagedLetter { .. }), "{field}: {error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("`localml request DIR`")));
        }
    }

    #[test]
    fn what_no_reader_accepts_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut giant = request(1);
        giant.has.blobs = vec![Sha256::of(b"book"); MAX_ENTRIES + 1];
        let error = giant.write(folder.path()).unwrap_err();
        assert!(matches!(error, BundleError::LetterTooLong { .. }), "{error}");
        assert!(!folder.path().join("LOCALML").exists());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<usize>(), byte in any::<u8>()) {
            let _ = Request::parse("x", &bytes);
            let mut real = to_bytes(&request(7)).unwrap();
            let at = at % real.len();
            real[at] = byte;
            let _ = Request::parse("x", &real);
            let _ = crate::bundle::Receipt::parse("x", &real);
        }
    }
}
