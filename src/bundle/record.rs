//! The commit record of a stick: which files belong to it, written twice, so that one can be lost.
//!
//! ```text
//! localml stick 1.0
//! generation 7
//! stick 3f2a9c01
//! file 1073741312 <sha256> B/0A1B2C3D/V0001.TAR
//! …
//! check <sha256 of all lines above>
//! ```
//!
//! A rename on FAT may be lost or leave nothing at all, so the record is never renamed: generation n + 1
//! overwrites the slot that does not hold generation n. Whatever happens then, one slot is whole; the
//! highest valid generation counts. Lines that a later 1.x adds are skipped.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use crate::digest::Sha256;
use crate::disk::{self, StagingFile};

use super::error::{BundleError, Result, io_error};
use super::layout::{self, MAX_VOLUME_BYTES, SLOTS};

/// The most bytes that a slot may have.
const MAX_SLOT_BYTES: u64 = 16 * 1024 * 1024;

/// The most files that a record may list.
const MAX_FILES: usize = 100_000;

const KNOWN_FORMAT: &str = "1.0";

/// A file that the stick promises to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedFile {
    /// Where it lies, relative to `LOCALML`, with `/` between folders.
    pub path: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
}

/// What a stick held when it was last said to be safe to remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitRecord {
    /// Rises by one with each commit.
    pub generation: u64,
    /// The stick's own name, drawn when it was first written: 8 hexadecimal digits.
    pub stick_id: String,
    /// Its files, in the order in which they were committed.
    pub files: Vec<CommittedFile>,
}

/// What one slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    Absent,
    Valid(CommitRecord),
    Damaged(String),
}

/// Both slots of a stick.
#[derive(Debug, Clone)]
pub(super) struct Slots([Slot; 2]);

impl CommitRecord {
    /// The file with this path.
    pub fn file(&self, path: &str) -> Option<&CommittedFile> {
        self.files.iter().find(|file| file.path == path)
    }

    fn to_text(&self) -> String {
        let mut text = format!(
            "localml stick {KNOWN_FORMAT}\ngeneration {}\nstick {}\n",
            self.generation, self.stick_id
        );
        for file in &self.files {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "file {} {} {}", file.size_bytes, file.sha256, file.path);
        }
        let check = Sha256::of(text.as_bytes());
        let _ = writeln!(text, "check {check}");
        text
    }

    /// How many bytes the record takes on the stick.
    pub(super) fn size_bytes(&self) -> u64 {
        self.to_text().len() as u64
    }
}

impl Slots {
    /// Reads both slots; damage is a state, not an error.
    ///
    /// # Errors
    /// `NewerFormat` when a whole slot was written by a later localml.
    pub(super) fn read(root: &Path) -> Result<Self> {
        Ok(Self([read_slot(root, SLOTS[0])?, read_slot(root, SLOTS[1])?]))
    }

    /// The record that counts.
    pub(super) fn newest(&self) -> Option<&CommitRecord> {
        let records = self.0.iter().filter_map(|slot| match slot {
            Slot::Valid(record) => Some(record),
            _ => None,
        });
        records.max_by_key(|record| record.generation)
    }

    /// Each damaged slot, with what is wrong with it.
    pub(super) fn damaged(&self) -> Vec<(&'static str, &str)> {
        let named = SLOTS.iter().zip(&self.0);
        named
            .filter_map(|(name, slot)| match slot {
                Slot::Damaged(reason) => Some((*name, reason.as_str())),
                _ => None,
            })
            .collect()
    }

    /// True when neither slot was ever written.
    pub(super) fn are_absent(&self) -> bool {
        self.0.iter().all(|slot| *slot == Slot::Absent)
    }

    /// The slot that may be overwritten: the one that does not hold the newest record.
    fn spare(&self) -> &'static str {
        match &self.0 {
            [Slot::Valid(first), Slot::Valid(second)] if first.generation > second.generation => SLOTS[1],
            [Slot::Valid(_), Slot::Absent | Slot::Damaged(_)] => SLOTS[1],
            _ => SLOTS[0],
        }
    }
}

/// Writes the record into the spare slot, brings it to the medium and reads it back.
///
/// # Errors
/// When writing fails, or the slot does not read back; the other slot then still serves.
pub(super) fn commit(root: &Path, slots: &Slots, record: &CommitRecord) -> Result<()> {
    if record.files.len() > MAX_FILES {
        return Err(BundleError::TooMany { what: "files on a stick", limit: MAX_FILES as u64 });
    }
    let name = slots.spare();
    let text = record.to_text();
    let path = root.join(name);
    let file = StagingFile::open(&path)?;
    file.write_at(text.as_bytes(), 0)?;
    file.truncate(text.len() as u64)?;
    file.sync()?;
    disk::sync_dir(root)?;
    disk::sync_filesystem(root)?;
    disk::drop_cached_pages(file.file());
    match read_slot(root, name)? {
        Slot::Valid(read) if read == *record => Ok(()),
        _ => Err(BundleError::ReadBack { file: name.to_owned() }),
    }
}

fn read_slot(root: &Path, name: &str) -> Result<Slot> {
    let path = root.join(name);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Slot::Absent),
        Err(error) => return Err(io_error(&path, error)),
        Ok(metadata) if !metadata.is_file() => {
            return Err(BundleError::NotPlain { path, expected: "file" });
        }
        // A file of no bytes is what FAT leaves of a name whose data was lost.
        Ok(metadata) if metadata.len() == 0 => return Ok(Slot::Damaged("it is empty".into())),
        Ok(metadata) if metadata.len() > MAX_SLOT_BYTES => {
            return Ok(Slot::Damaged("it is larger than 16 MiB".into()));
        }
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let read = disk::open_plain(&path)?.take(MAX_SLOT_BYTES).read_to_end(&mut bytes);
    match read {
        Err(error) => Ok(Slot::Damaged(format!("it cannot be read: {error}"))),
        Ok(_) => parse(name, &bytes),
    }
}

fn parse(name: &str, bytes: &[u8]) -> Result<Slot> {
    let damaged = |reason: &str| Ok(Slot::Damaged(reason.to_owned()));
    let Some(text) = std::str::from_utf8(bytes).ok().and_then(checked) else {
        return damaged("its own checksum does not hold");
    };
    let mut lines = text.lines();
    let Some(format) = lines.next().and_then(|line| line.strip_prefix("localml stick ")) else {
        return damaged("it does not begin with `localml stick`");
    };
    if format.split('.').next() != Some("1") {
        let (file, found) = (name.to_owned(), format.chars().take(20).collect());
        return Err(BundleError::NewerFormat { file, found, known: KNOWN_FORMAT });
    }
    match parse_lines(lines) {
        Some(record) => Ok(Slot::Valid(record)),
        None => damaged("one of its lines makes no sense"),
    }
}

/// The text above the `check` line, when that line holds.
fn checked(text: &str) -> Option<&str> {
    let at = text.rfind("check ")?;
    let (above, check) = text.split_at(at);
    let digest: Sha256 = check.strip_prefix("check ")?.strip_suffix('\n')?.parse().ok()?;
    (above.ends_with('\n') && Sha256::of(above.as_bytes()) == digest).then_some(above)
}

fn parse_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Option<CommitRecord> {
    let mut record = CommitRecord::default();
    for line in lines {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "generation" => record.generation = rest.parse().ok()?,
            "stick" => record.stick_id = rest.chars().take(40).collect(),
            "file" => record.files.push(parse_file(rest)?),
            _ => {}
        }
    }
    // The next generations must still be numbers.
    let is_possible = record.generation > 0 && record.generation <= u64::MAX / 2;
    (is_possible && record.files.len() <= MAX_FILES).then_some(record)
}

fn parse_file(text: &str) -> Option<CommittedFile> {
    let mut words = text.splitn(3, ' ');
    let size_bytes = words.next()?.parse().ok().filter(|&bytes| bytes <= MAX_VOLUME_BYTES)?;
    let sha256 = words.next()?.parse().ok()?;
    let path = words.next()?.to_owned();
    layout::is_safe_path(&path).then_some(CommittedFile { path, size_bytes, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(generation: u64) -> CommitRecord {
        let path = "B/0A1B2C3D/V0001.TAR".to_owned();
        let file = CommittedFile { path, size_bytes: 3, sha256: Sha256::of(b"abc") };
        CommitRecord { generation, stick_id: "3f2a9c01".into(), files: vec![file] }
    }

    fn damage(path: &Path) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn commits_take_turns_and_the_newest_counts() {
        let folder = tempfile::tempdir().unwrap();
        for generation in 1..=3 {
            let slots = Slots::read(folder.path()).unwrap();
            commit(folder.path(), &slots, &record(generation)).unwrap();
            let newest = Slots::read(folder.path()).unwrap().newest().cloned();
            assert_eq!(newest, Some(record(generation)));
        }
        let slot_b = std::fs::read_to_string(folder.path().join("STICK.B")).unwrap();
        assert!(slot_b.contains("generation 2\n"));
    }

    #[test]
    fn when_one_slot_is_damaged_the_other_serves_and_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        for generation in 1..=2 {
            commit(folder.path(), &Slots::read(folder.path()).unwrap(), &record(generation)).unwrap();
        }
        damage(&folder.path().join("STICK.B"));
        let slots = Slots::read(folder.path()).unwrap();
        assert_eq!(slots.newest().map(|record| record.generation), Some(1));
        assert_eq!(slots.damaged(), [("STICK.B", "its own checksum does not hold")]);
        // The next commit must not overwrite the only whole slot.
        assert_eq!(slots.spare(), "STICK.B");
    }

    #[test]
    fn a_later_minor_format_is_read_and_a_later_major_refused_by_name() {
        let check = |text: String| format!("{text}check {}\n", Sha256::of(text.as_bytes()));
        let minor = check("localml stick 1.9\ngeneration 4\nparity 3 of 5\n".into());
        assert!(matches!(parse("STICK.A", minor.as_bytes()), Ok(Slot::Valid(_))));
        let major = check("localml stick 2.0\nall is new\n".into());
        let error = parse("STICK.A", major.as_bytes()).expect_err("too new");
        assert_eq!(error.to_string(), "`STICK.A` has format 2.0, and this localml reads formats up to 1.0");
    }

    #[test]
    fn numbers_that_no_stick_can_have_make_no_sense() {
        assert!(parse_file(&format!("{} {} B/X", MAX_VOLUME_BYTES, Sha256::of(b"abc"))).is_some());
        assert!(parse_file(&format!("{} {} B/X", u64::MAX, Sha256::of(b"abc"))).is_none());
        let line = format!("generation {}", u64::MAX);
        assert!(parse_lines([line.as_str()].into_iter()).is_none());
    }

    #[test]
    fn a_record_never_names_a_path_outside_the_stick() {
        assert!(parse_file(&format!("3 {} ../../x", Sha256::of(b"abc"))).is_none());
        assert!(parse_file(&format!("3 {} /etc/passwd", Sha256::of(b"abc"))).is_none());
    }
}
