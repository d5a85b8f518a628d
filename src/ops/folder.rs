//! Foreign folders: finding in them the files that may be a blob.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use url::Url;

use crate::disk::DiskError;
use crate::error::ErrorKind;
use crate::package::FileEntry;

use super::error::{Error, Result};

/// How deep folders are looked into.
const MAX_DEPTH: usize = 16;

/// The most files of one folder that are looked at.
const MAX_FILES: usize = 1_000_000;

/// The most files of one length that are tried for a blob.
const MAX_CANDIDATES: usize = 8;

/// The plain files below a folder, by their length.
pub(super) struct Folder {
    files: HashMap<u64, Vec<PathBuf>>,
    /// How many files lie there.
    pub(super) num_files: usize,
}

impl Folder {
    /// Looks through a folder and those in it. Links are not followed.
    ///
    /// # Errors
    /// When it is not there or no folder. What cannot be read inside it is passed over.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            let message = format!("there is no folder `{}`", folder.display());
            return Err(Error::new(ErrorKind::NotFound, message)
                .with_hint("name a stick's folder, or one that holds the file; is it plugged in?"));
        }
        fs::read_dir(folder).map_err(|source| DiskError::Io { path: folder.to_owned(), source })?;
        let mut found = Self { files: HashMap::new(), num_files: 0 };
        found.look_into(folder, 0);
        Ok(found)
    }

    /// The files of exactly this length.
    pub(super) fn of_length(&self, size_bytes: u64) -> &[PathBuf] {
        self.files.get(&size_bytes).map_or(&[], Vec::as_slice)
    }

    /// All files, by their length.
    pub(super) fn by_length(&self) -> impl Iterator<Item = (u64, &PathBuf)> {
        self.files.iter().flat_map(|(length, paths)| paths.iter().map(|path| (*length, path)))
    }

    fn look_into(&mut self, folder: &Path, depth: usize) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut entries: Vec<fs::DirEntry> = entries.collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            // The kind of the entry itself: a link to a folder above would never end.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < MAX_DEPTH {
                self.look_into(&entry.path(), depth + 1);
            } else if kind.is_file() && self.num_files < MAX_FILES {
                let Ok(metadata) = entry.metadata() else { continue };
                self.num_files += 1;
                self.files.entry(metadata.len()).or_default().push(entry.path());
            }
        }
    }
}

/// The files of a folder that may be this blob, as addresses: those named by its digest or like it first.
///
/// # Errors
/// When a path cannot be spelled out.
pub(super) fn addresses(folder: &Folder, file: &FileEntry) -> Result<Vec<Url>> {
    let digest = file.sha256.to_string();
    let own_name = file.path.as_str().rsplit('/').next().unwrap_or_default().to_owned();
    let mut paths: Vec<&PathBuf> = folder.of_length(file.size_bytes).iter().collect();
    paths.sort_by_key(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        (!name.contains(&digest), name != own_name)
    });
    let spelled = |path: &&PathBuf| {
        let absolute = std::path::absolute(path);
        let absolute = absolute.map_err(|source| DiskError::Io { path: path.to_path_buf(), source })?;
        Url::from_file_path(&absolute)
            .map_err(|()| Error::new(ErrorKind::Usage, format!("`{}` has no address", path.display())))
    };
    paths.iter().take(MAX_CANDIDATES).map(spelled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn the_file_that_is_named_by_the_digest_is_asked_first() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let digest = Sha256::of(b"abc");
        for name in ["a/other.bin", "b/map.bin", &format!("c/sha256-{digest}"), "d/longer.bin"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("room");
            fs::write(path, if name.starts_with('d') { "abcd" } else { "abc" }).expect("room");
        }
        let file = FileEntry {
            path: "deep/map.bin".parse().expect("plain"),
            size_bytes: 3,
            sha256: digest,
            sources: Vec::new(),
            pieces: None,
            unpinned: false,
        };
        let found = Folder::open(folder.path()).expect("a folder");
        assert_eq!(found.num_files, 4);
        let addresses = addresses(&found, &file).expect("plain paths");
        let names: Vec<&str> = addresses.iter().filter_map(|url| url.path_segments()?.next_back()).collect();
        assert_eq!(names, [&format!("sha256-{digest}"), "map.bin", "other.bin"]);
        assert!(Folder::open(&folder.path().join("absent")).is_err());
    }
}
