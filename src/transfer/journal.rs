//! The download journal: what of a part file was verified, and where it came from.
//!
//! ```text
//! localml journal 1
//! 5b2ae1c0 blob <sha256> <size in bytes>
//! 90fe1177 from <offset> <address> etag|date|none <value>
//! 07c41d3e have <offset> <length> <sha256 of these bytes>
//! b1d20c55 wrong <address>
//! ```
//!
//! Each line after the first begins with the first 8 hexadecimal digits of the sha256 of the rest of it; reading ends
//! at the first line that does not hold, for what follows a torn line was never finished. Lines are only
//! ever added. A line of an unknown kind is passed over, so that later versions may add kinds.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::error::{Result, TransferError};
use super::reply::Validator;
use crate::digest::Sha256;
use crate::disk::{DiskError, StagingFile, write_atomic};

const FIRST_WORDS: &str = "localml journal ";
const VERSION: u32 = 1;

/// Larger ones are not ours: at 1 MiB a line, that would be a blob of more than a terabyte.
const MAX_JOURNAL_BYTES: u64 = 256 * 1024 * 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// These bytes of the part file once had this digest, or should have it where the digest of the whole was to decide.
    Have { offset: u64, length: u64, sha256: Sha256 },
    /// From here on bytes came from this address, in this version.
    From { offset: u64, address: String, validator: Option<Validator> },
    /// A whole file from this address had the wrong digest.
    Wrong { address: String },
}

/// A journal open for adding to.
#[derive(Debug)]
pub(super) struct Journal {
    file: Arc<StagingFile>,
    end: u64,
}

impl Journal {
    /// Writes a new journal with these records, in one step.
    pub(super) fn create(path: &Path, digest: Sha256, size_bytes: u64, records: &[Record]) -> Result<Self> {
        let mut text = format!("{FIRST_WORDS}{VERSION}\n{}", checked(&format!("blob {digest} {size_bytes}")));
        for record in records {
            text += &line_of(record);
        }
        write_atomic(path, text.as_bytes())?;
        let file = Arc::new(StagingFile::open(path)?);
        Ok(Self { file, end: text.len() as u64 })
    }

    /// Adds a line, after the bytes that it speaks of.
    pub(super) fn add(&mut self, record: &Record) -> std::result::Result<(), DiskError> {
        let line = line_of(record);
        self.file.write_at(line.as_bytes(), self.end)?;
        self.end += line.len() as u64;
        Ok(())
    }

    /// The file, for syncing.
    pub(super) fn file(&self) -> &Arc<StagingFile> {
        &self.file
    }
}

/// Reads what a journal holds about this blob; nothing when there is none, or it is torn from the start.
pub(super) fn read(path: &Path, digest: Sha256, size_bytes: u64) -> Result<Vec<Record>> {
    let on = |source| DiskError::Io { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() <= MAX_JOURNAL_BYTES => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(on(error).into()),
    }
    let bytes = std::fs::read(path).map_err(on)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.split_inclusive('\n');
    match lines.next().and_then(|line| line.strip_suffix('\n')?.strip_prefix(FIRST_WORDS)?.parse().ok()) {
        Some(VERSION) => {}
        Some(version) if version > VERSION => {
            return Err(TransferError::NewerJournal { path: path.to_owned(), version });
        }
        _ => return Ok(Vec::new()),
    }
    let mut lines = lines.map_while(unchecked);
    if lines.next() != Some(&format!("blob {digest} {size_bytes}")) {
        return Ok(Vec::new());
    }
    Ok(lines.filter_map(parse).collect())
}

fn line_of(record: &Record) -> String {
    let text = match record {
        Record::Have { offset, length, sha256 } => format!("have {offset} {length} {sha256}"),
        Record::Wrong { address } => format!("wrong {address}"),
        Record::From { offset, address, validator } => {
            let (kind, value) = match validator {
                Some(Validator::Etag(value)) => ("etag", value.as_str()),
                Some(Validator::Modified(value)) => ("date", value.as_str()),
                None => ("none", ""),
            };
            format!("from {offset} {address} {kind} {value}")
        }
    };
    checked(&text)
}

fn checked(text: &str) -> String {
    format!("{} {text}\n", checksum(text))
}

/// The line without its checksum and line end; `None` when it is torn.
fn unchecked(line: &str) -> Option<&str> {
    let (sum, text) = line.strip_suffix('\n')?.split_once(' ')?;
    (sum == checksum(text)).then_some(text)
}

fn checksum(text: &str) -> String {
    Sha256::of(text.as_bytes()).to_string()[..8].to_owned()
}

fn parse(text: &str) -> Option<Record> {
    let (kind, rest) = text.split_once(' ')?;
    let mut words = rest.splitn(4, ' ');
    let mut word = || words.next();
    match kind {
        "have" => Some(Record::Have {
            offset: word()?.parse().ok()?,
            length: word()?.parse().ok()?,
            sha256: word()?.parse().ok()?,
        }),
        "from" => {
            let (offset, address) = (word()?.parse().ok()?, word()?.to_owned());
            let (kind, value) = (word()?, word()?.to_owned());
            let validator = match kind {
                "etag" => Some(Validator::Etag(value)),
                "date" => Some(Validator::Modified(value)),
                _ => None,
            };
            Some(Record::From { offset, address, validator })
        }
        "wrong" => Some(Record::Wrong { address: rest.to_owned() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let address = "http://host/a%20b".to_owned();
        let etag = Some(Validator::Etag("\"a b\"".into()));
        let date = Some(Validator::Modified("Sun, 06 Nov 1994 08:49:37 GMT".into()));
        vec![
            Record::From { offset: 0, address: address.clone(), validator: etag },
            Record::Have { offset: 0, length: 4, sha256: Sha256::of(b"data") },
            Record::From { offset: 4, address: address.clone(), validator: date },
            Record::From { offset: 4, address: address.clone(), validator: None },
            Record::Wrong { address },
        ]
    }

    fn written(path: &Path) -> Vec<Record> {
        let records = records();
        let mut journal = Journal::create(path, Sha256::of(b"x"), 9, &records[..1]).expect("room");
        for record in &records[1..] {
            journal.add(record).expect("room");
        }
        records
    }

    #[test]
    fn reads_back_what_was_written() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("journal");
        let records = written(&path);
        assert_eq!(read(&path, Sha256::of(b"x"), 9).expect("readable"), records);
        assert_eq!(read(&path, Sha256::of(b"y"), 9).expect("another blob's"), []);
        assert_eq!(read(&path, Sha256::of(b"x"), 8).expect("another size"), []);
    }

    #[test]
    fn cut_anywhere_it_holds_the_lines_before_the_cut_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("journal");
        let records = written(&path);
        let bytes = std::fs::read(&path).expect("there");
        for cut in 0..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).expect("room");
            let found = read(&path, Sha256::of(b"x"), 9).expect("readable");
            // The first line and the `blob` line come before the records.
            let whole_lines = bytes[..cut].iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(found, records[..whole_lines.saturating_sub(2)], "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_byte_hides_the_lines_from_there_on() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("journal");
        let records = written(&path);
        let bytes = std::fs::read(&path).expect("there");
        for at in FIRST_WORDS.len() + 2..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).expect("room");
            let found = read(&path, Sha256::of(b"x"), 9).expect("readable");
            assert!(records.starts_with(&found) && found.len() < records.len(), "flipped at {at}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("journal");
        std::fs::write(&path, "localml journal 2\nwho knows\n").expect("room");
        let error = read(&path, Sha256::of(b"x"), 9).expect_err("unknown");
        assert!(error.to_string().ends_with("has journal format 2; this localml knows format 1"), "{error}");
    }
}
