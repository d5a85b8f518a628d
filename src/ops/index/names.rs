//! What collections are called, and where they lie.

use std::path::{Path, PathBuf};

use crate::disk::DiskError;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::ops::error::{Error, Result};
use crate::ops::site;

const MAX_NAME_CHARS: usize = 64;

/// The folder of a collection.
pub(in crate::ops) fn folder_of(home: &Home, name: &str) -> PathBuf {
    home.collections().join(name)
}

/// The names of all collections, in order. One whose folder may not be read is among them.
///
/// # Errors
/// When the folder of all collections is there and cannot be read.
pub(in crate::ops) fn collection_names(home: &Home) -> Result<Vec<String>> {
    let mut names = folder_names(home)?;
    names.retain(|name| has_roots(&folder_of(home, name)));
    Ok(names)
}

/// The names of folders in which a first indexing was cut off before it said what it indexes, in order.
///
/// # Errors
/// As `collection_names`.
pub(super) fn unfinished_names(home: &Home) -> Result<Vec<String>> {
    let mut names = folder_names(home)?;
    names.retain(|name| !has_roots(&folder_of(home, name)) && check_name(name).is_ok());
    Ok(names)
}

fn folder_names(home: &Home) -> Result<Vec<String>> {
    let folder = home.collections();
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if site::is_absent(&error) => return Ok(Vec::new()),
        entries => entries.map_err(|source| DiskError::Io { path: folder, source })?,
    };
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

fn has_roots(folder: &Path) -> bool {
    match std::fs::metadata(folder.join("collection.json")) {
        Ok(metadata) => metadata.is_file(),
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// Refuses a name that is no plain folder name.
pub(super) fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_good = !name.is_empty()
        && name.chars().count() <= MAX_NAME_CHARS
        && name.chars().all(is_plain)
        && !name.starts_with(['.', '-']);
    if is_good {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Usage, format!("`{name}` cannot be the name of a collection"))
        .with_hint("use letters, digits, `-`, `_` and `.`, at most 64"))
}

/// A collection's name made of a path's last part: `My Documents` → `my-documents`.
pub(super) fn name_from(path: &Path) -> String {
    let stem = if path.is_file() { path.file_stem() } else { path.file_name() };
    let words = stem.unwrap_or_default().to_string_lossy().to_lowercase();
    let plain: String = words.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let parts: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
    let name: String = parts.join("-").chars().take(MAX_NAME_CHARS).collect();
    if name.is_empty() { "documents".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_name_becomes_a_plain_one() {
        assert_eq!(name_from(Path::new("/home/a/My Documents (2)")), "my-documents-2");
        assert_eq!(name_from(Path::new("/")), "documents");
        assert!(check_name("my-documents-2").is_ok());
        for bad in ["", "../up", "a/b", ".hidden", "-flag"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
