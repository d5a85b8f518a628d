//! Which files lie under a root, without opening them.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
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
    /// Folders and files, under the root, that could not be looked at; they may still be there.
    pub(super) unreadable: Vec<String>,
}

/// Walks a folder, or looks at one file. Hidden files and folders, links to folders and `excluded` (the
/// home itself) are passed over.
pub(super) fn walk(root: &Path, excluded: &Path) -> Walk {
    let mut walk = Walk::default();
    // Either may have been named through a link; only their real paths can be compared.
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_file() => walk.file(root, "", &metadata),
        _ => walk.folder(&real(root), "", &real(excluded), 0),
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
        let (entries, failures): (Vec<_>, Vec<_>) = entries.partition(Result::is_ok);
        if !failures.is_empty() {
            self.unreadable.push(relative.to_owned());
        }
        let mut entries: Vec<_> = entries.into_iter().flatten().collect();
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
                // A link to nothing, or to a folder, is passed over; any other failure may pass.
                Err(error) if error.kind() != ErrorKind::NotFound => self.unreadable.push(inner),
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

    /// True when there was nothing at all, as in the folder where a drive is not mounted.
    pub(super) fn saw_nothing(&self) -> bool {
        self.seen.is_empty() && self.num_others == 0
    }

    /// True when a file that was not seen may still be there.
    pub(super) fn may_hide(&self, relative: &str) -> bool {
        self.unreadable.iter().any(|folder| {
            folder.is_empty()
                || relative
                    .strip_prefix(folder.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_passed_over_however_it_is_named() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let docs = folder.path().join("docs");
        fs::create_dir_all(docs.join("home/packages")).expect("room");
        fs::write(docs.join("a.txt"), "a").expect("room");
        fs::write(docs.join("home/packages/b.txt"), "b").expect("room");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&docs, &link).expect("a link");
        let names = |walk: Walk| walk.seen.into_iter().map(|seen| seen.relative).collect::<Vec<_>>();
        assert_eq!(names(walk(&docs, &link.join("home"))), ["a.txt"]);
        assert_eq!(names(walk(&link, &docs.join("home"))), ["a.txt"]);
    }

    #[test]
    fn what_could_not_be_looked_at_may_still_be_there() {
        let walk = Walk { unreadable: vec!["a/b".to_owned()], ..Walk::default() };
        assert!(walk.may_hide("a/b") && walk.may_hide("a/b/c.txt"));
        assert!(!walk.may_hide("a/bc.txt"));
    }
}
