//! Which files lie under a root, without opening them.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::document::{Format, format_of};

/// Folders deeper than this are not followed.
const MAX_DEPTH: usize = 64;

/// A document that lies there.
pub(super) struct Seen {
    pub(super) path: PathBuf,
    /// Under its root, with `/` between folders.
    pub(super) relative: String,
    pub(super) format: Format,
    pub(super) size_bytes: u64,
    pub(super) mtime_ns: i64,
}

/// What a walk saw.
#[derive(Default)]
pub(super) struct Walk {
    /// The documents, by name.
    pub(super) seen: Vec<Seen>,
    /// How many files are no documents.
    pub(super) num_others: u64,
    /// Folders, under the root, that could not be listed; what was in them may still be there.
    pub(super) unreadable: Vec<String>,
}

/// Walks a folder, or looks at one file. Hidden files and folders, links to folders and `excluded` (the
/// home itself) are passed over.
pub(super) fn walk(root: &Path, excluded: &Path) -> Walk {
    let mut walk = Walk::default();
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_file() => walk.file(root, "", &metadata),
        _ => walk.folder(root, "", excluded, 0),
    }
    walk
}

impl Walk {
    fn folder(&mut self, folder: &Path, relative: &str, excluded: &Path, depth: usize) {
        if folder == excluded || depth > MAX_DEPTH {
            return;
        }
        let Ok(entries) = fs::read_dir(folder) else {
            self.unreadable.push(relative.to_owned());
            return;
        };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
        entries.sort_unstable_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else {
                self.num_others += 1;
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let inner = if relative.is_empty() { name } else { format!("{relative}/{name}") };
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            match fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => self.file(&entry.path(), &inner, &metadata),
                Ok(metadata) if metadata.is_dir() && !is_link => {
                    self.folder(&entry.path(), &inner, excluded, depth + 1);
                }
                _ => {}
            }
        }
    }

    fn file(&mut self, path: &Path, relative: &str, metadata: &Metadata) {
        let Some(format) = format_of(path) else {
            self.num_others += 1;
            return;
        };
        self.seen.push(Seen {
            path: path.to_owned(),
            relative: relative.to_owned(),
            format,
            size_bytes: metadata.len(),
            mtime_ns: mtime_ns(metadata),
        });
    }

    /// True when a file that was not seen may still be there.
    pub(super) fn may_hide(&self, relative: &str) -> bool {
        self.unreadable.iter().any(|folder| {
            folder.is_empty()
                || relative.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

fn mtime_ns(metadata: &Metadata) -> i64 {
    let Ok(modified) = metadata.modified() else { return 0 };
    match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}
