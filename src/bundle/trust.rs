//! What lets a site verify packages with no network: root chains and signed metadata, carried as they are.
//!
//! One plain tar file a set, `TRUST/<id>.TAR`: a thousand small files would take minutes on a stick.
//! Its entries are `<registry>/<path>`. Nothing here judges them; the caller does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tar::EntryType;

use crate::digest::Sha256;
use crate::disk;
use crate::package::RelativePath;

use super::entry::{self, BLOCK_BYTES, Block, TRAILER_BYTES};
use super::error::{BundleError, Result, io_error};
use super::id::BundleId;
use super::layout::TRUST;
use super::record::CommittedFile;

/// The most bytes and the most files that one set may have.
const MAX_SET_BYTES: u64 = 256 * 1024 * 1024;
const MAX_SET_FILES: usize = 20_000;

/// A small file to be carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFile {
    /// Its name, beginning with the registry's.
    pub name: RelativePath,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One set of trust files on a stick, read on demand.
#[derive(Debug)]
pub struct TrustSet {
    path: String,
    file: File,
    /// Name → offset and length of the bytes.
    entries: BTreeMap<String, (u64, u64)>,
}

impl TrustSet {
    /// Opens `TRUST/<id>.TAR`; checks it against the commit record where that is known.
    ///
    /// # Errors
    /// `DamagedTrust` when it differs from the record or is not a tar file of plain files.
    pub(super) fn open(root: &Path, path: &str, committed: Option<&CommittedFile>) -> Result<Self> {
        let full_path = root.join(path);
        let damaged =
            |reason: &str| BundleError::DamagedTrust { file: path.to_owned(), reason: reason.into() };
        let mut file = disk::open_plain(&full_path).map_err(|error| damaged(&error.to_string()))?;
        let size_bytes = file.metadata().map_err(|error| io_error(&full_path, error))?.len();
        if size_bytes > MAX_SET_BYTES {
            return Err(damaged("it is larger than 256 MiB"));
        }
        if let Some(committed) = committed {
            let found = Sha256::of_reader(&mut file).map_err(|error| damaged(&error.to_string()))?;
            if found != (committed.sha256, committed.size_bytes) {
                return Err(damaged("its sha256 differs from the commit record"));
            }
        }
        let entries = read_entries(&file, size_bytes).map_err(|reason| damaged(&reason))?;
        Ok(Self { path: path.to_owned(), file, entries })
    }

    /// True when its name is the beginning of its digest, as `pack` names it.
    pub(super) fn has_its_name(&self) -> Result<bool> {
        let mut reader = At { file: &self.file, offset: 0 };
        let (digest, _) = Sha256::of_reader(&mut reader).map_err(|error| self.damaged(&error.to_string()))?;
        Ok(self.path == path_of(&digest))
    }

    pub(super) fn damaged(&self, reason: &str) -> BundleError {
        BundleError::DamagedTrust { file: self.path.clone(), reason: reason.into() }
    }

    /// The set's file, relative to `LOCALML`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The names of its files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Reads one file; `None` when the set does not hold it.
    ///
    /// # Errors
    /// `DamagedTrust` when it cannot be read or has more than `max_bytes`.
    pub fn read(&self, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let Some(&(offset, length)) = self.entries.get(name) else {
            return Ok(None);
        };
        let damaged = |reason: String| BundleError::DamagedTrust { file: self.path.clone(), reason };
        if length > max_bytes {
            return Err(damaged(format!("`{name}` has {length} bytes, at most {max_bytes} may be")));
        }
        let mut bytes = Vec::new();
        let reader = At { file: &self.file, offset };
        let count =
            reader.take(length).read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
        if count as u64 == length { Ok(Some(bytes)) } else { Err(damaged(format!("`{name}` is cut short"))) }
    }
}

/// The bytes of a set, and its path relative to `LOCALML`. The same files give the same bytes.
///
/// # Errors
/// `TooMany` when a name or the whole set is longer than any reader accepts.
pub(super) fn pack(files: &[TrustFile]) -> Result<(String, Vec<u8>)> {
    let mut sorted: Vec<&TrustFile> = files.iter().collect();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let mut bytes = Vec::new();
    for file in sorted {
        let length = file.bytes.len() as u64;
        bytes.extend_from_slice(&header(&file.name, length)?);
        bytes.extend_from_slice(&file.bytes);
        pad(&mut bytes);
    }
    bytes.resize(bytes.len() + TRAILER_BYTES as usize, 0);
    if bytes.len() as u64 > MAX_SET_BYTES || files.len() > MAX_SET_FILES {
        return Err(BundleError::TooMany { what: "the trust files", limit: MAX_SET_BYTES });
    }
    Ok((path_of(&Sha256::of(&bytes)), bytes))
}

fn path_of(digest: &Sha256) -> String {
    format!("{TRUST}/{}.TAR", BundleId::of(digest))
}

fn header(name: &RelativePath, length: u64) -> Result<Block> {
    let mut header = tar::Header::new_ustar();
    // A ustar name has 100 bytes, and 155 more for its folders.
    let too_long = |_| BundleError::TooMany { what: "the name of a trust file", limit: 255 };
    header.set_path(name.as_str()).map_err(too_long)?;
    Ok(entry::sealed(header, length))
}

fn pad(bytes: &mut Vec<u8>) {
    let padding = entry::padding_bytes(bytes.len() as u64);
    bytes.resize(bytes.len() + padding as usize, 0);
}

fn read_entries(file: &File, size_bytes: u64) -> std::result::Result<BTreeMap<String, (u64, u64)>, String> {
    let mut entries = BTreeMap::new();
    let mut at = 0;
    while at + BLOCK_BYTES <= size_bytes {
        let mut block: Block = [0; BLOCK_BYTES as usize];
        file.read_exact_at(&mut block, at).map_err(|error| error.to_string())?;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(entries);
        }
        let entry = entry::plain_entry(&block).ok_or_else(|| format!("there is no entry at byte {at}"))?;
        let name = String::from_utf8_lossy(&entry.name).into_owned();
        let path: RelativePath =
            name.parse().map_err(|error: crate::package::InvalidPath| error.to_string())?;
        let data_at = at + BLOCK_BYTES;
        if entry.kind != EntryType::Regular {
            return Err(format!("`{path}` is not a plain file"));
        }
        if entry.length > size_bytes - data_at || entries.len() >= MAX_SET_FILES {
            return Err(format!("`{path}` is cut short, or there are too many files"));
        }
        if entries.insert(path.as_str().to_owned(), (data_at, entry.length)).is_some() {
            return Err(format!("`{path}` stands in it twice"));
        }
        at += entry::entry_bytes(entry.length);
    }
    Err("it is cut short".into())
}

/// Reads a file from an offset on, without moving its cursor.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8]) -> TrustFile {
        TrustFile { name: name.parse().unwrap(), bytes: bytes.to_vec() }
    }

    fn open(bytes: &[u8]) -> Result<TrustSet> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("TRUST")).unwrap();
        std::fs::write(folder.path().join("TRUST/X.TAR"), bytes).unwrap();
        TrustSet::open(folder.path(), "TRUST/X.TAR", None)
    }

    #[test]
    fn carries_files_as_they_are() {
        let long = format!("clinic/metadata/{}.{}.json", "a".repeat(64), "b".repeat(20));
        let files = [file("clinic/1.root.json", b"root"), file(&long, &[7; 600]), file("clinic/empty", b"")];
        let (path, bytes) = pack(&files).unwrap();
        assert!(path.starts_with("TRUST/") && super::super::layout::is_safe_path(&path));
        let set = open(&bytes).unwrap();
        assert_eq!(set.names().count(), 3);
        for file in &files {
            assert_eq!(set.read(file.name.as_str(), 1000).unwrap().as_ref(), Some(&file.bytes));
        }
        assert_eq!(set.read("clinic/absent", 10).unwrap(), None);
        assert!(set.read(&long, 599).is_err(), "more than the caller wants");
    }

    #[test]
    fn refuses_links_ways_out_and_cut_files() {
        let (_, whole) = pack(&[file("clinic/1.root.json", &[7; 600])]).unwrap();
        for cut in [0, 511, 512, 1000, 1536] {
            assert!(matches!(open(&whole[..cut]), Err(BundleError::DamagedTrust { .. })), "{cut}");
        }
        let mut header = tar::Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..9].copy_from_slice(b"../../out");
        header.set_size(0);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(2048, 0);
        assert!(matches!(open(&bytes), Err(BundleError::DamagedTrust { .. })));
    }
}
