//! How the bytes of a registry arrive: through a fetcher that the caller hands in.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What a fetcher may fail with.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// A file of a registry that is wanted, and what is known of it.
#[derive(Clone, Copy)]
pub struct WantedFile<'a> {
    /// Relative to the registry's base.
    pub path: &'a str,
    /// The most bytes that it may have.
    pub max_bytes: u64,
    /// How many bytes it has, where that was signed.
    pub length: Option<u64>,
    /// Tells the right one from an older or a damaged one. Whoever asked judges what comes all the same.
    pub is_right: &'a dyn Fn(&[u8]) -> bool,
    /// It need not be there.
    pub may_be_absent: bool,
}

/// Brings files of one registry, wherever it lies.
pub trait Fetch: Send + Sync {
    /// Reads a file whose path is relative to the registry's base; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read, or has more than `max_bytes`.
    fn get(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError>;

    /// Reads a file of which more is known: where several places may have it, from the first that has the right one.
    ///
    /// # Errors
    /// As `get`.
    fn bring(&self, file: &WantedFile<'_>) -> Result<Option<Vec<u8>>, FetchError> {
        self.get(file.path, file.max_bytes)
    }

    /// True where bytes cost time or money: what came is then kept even if the refresh ends early.
    fn is_costly(&self) -> bool {
        false
    }
}

/// Reads a registry from a folder: a disk, a stick, a copy.
///
/// Names are found whatever their case: FAT gives `TIMESTAMP.JSON` for `timestamp.json`.
#[derive(Debug, Clone)]
pub struct FolderFetch {
    folder: PathBuf,
}

impl FolderFetch {
    /// Names the folder; it is read only when something is asked for.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

impl Fetch for FolderFetch {
    fn get(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        match find(&self.folder, path) {
            Some(found) => read(&found, max_bytes).map(Some),
            None => Ok(None),
        }
    }
}

/// Finds `path` below `folder`, part by part, preferring the exact name to one of another case.
fn find(folder: &Path, path: &str) -> Option<PathBuf> {
    let mut found = folder.to_owned();
    for part in path.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return None;
        }
        let exact = found.join(part);
        found = if exact.exists() { exact } else { other_case(&found, part)? };
    }
    Some(found)
}

fn other_case(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .flatten()
        .find(|entry| entry.file_name().to_str().is_some_and(|other| other.eq_ignore_ascii_case(name)))
        .map(|entry| entry.path())
}

fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(format!("`{}` has more than {max_bytes} bytes", path.display()).into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_name_in_upper_case_and_never_leaves_the_folder() {
        let folder = tempfile::tempdir().expect("a temp folder");
        fs::write(folder.path().join("1.ROOT.JSON"), b"{}").expect("writable");
        let fetch = FolderFetch::new(folder.path().join(""));
        assert_eq!(fetch.get("1.root.json", 2).expect("readable").as_deref(), Some(&b"{}"[..]));
        assert!(fetch.get("2.root.json", 9).expect("readable").is_none());
        assert!(fetch.get("../secret", 9).expect("refused").is_none());
        assert!(fetch.get("1.root.json", 1).is_err());
    }
}
