//! How the bytes of a registry arrive: through a fetcher that the caller hands in.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What a fetcher may fail with.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// Brings files of one registry, wherever it lies.
pub trait Fetch: Send + Sync {
    /// Reads a file whose path is relative to the registry's base; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read, or has more than `max_bytes`.
    fn get(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError>;
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
