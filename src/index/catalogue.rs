//! What a collection was asked to hold, and how each of its files ended.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One thing that was asked to be indexed: a folder, a file, or an installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Where it lies, absolute.
    pub path: PathBuf,
    /// What stands before its files' names in the collection; empty for the only folder.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// True when it is one file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_file: bool,
    /// The installed package that it is, so that a new version is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

impl Root {
    /// The name, within the collection, of the file at `relative` under this root.
    pub fn name_of(&self, relative: &str) -> String {
        match (self.label.is_empty(), self.is_file) {
            (_, true) => self.label.clone(),
            (true, false) => relative.to_owned(),
            (false, false) => format!("{}/{relative}", self.label),
        }
    }

    /// Where the file with this name lies, if it is of this root.
    pub fn locate(&self, name: &str) -> Option<PathBuf> {
        if self.is_file {
            return (name == self.label).then(|| self.path.clone());
        }
        if self.label.is_empty() {
            return Some(self.path.join(name));
        }
        let relative = name.strip_prefix(self.label.as_str())?.strip_prefix('/')?;
        Some(self.path.join(relative))
    }
}

/// The collection's name and roots: all that is needed to build its index anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roots {
    /// The version of this file's format.
    pub format: u32,
    /// The collection's name.
    pub name: String,
    /// What it holds.
    pub roots: Vec<Root>,
}

impl Roots {
    /// Starts a collection without roots.
    pub fn new(name: &str) -> Self {
        Self { format: 1, name: name.to_owned(), roots: Vec::new() }
    }

    /// Adds a root under a label that no other has; one with the same path is kept as it is.
    ///
    /// Returns its place in `roots`.
    pub fn add(&mut self, path: &Path, is_file: bool, package: Option<String>) -> usize {
        let is_same = |root: &Root| match &package {
            Some(_) => root.package == package,
            None => root.path == path,
        };
        if let Some(place) = self.roots.iter().position(is_same) {
            path.clone_into(&mut self.roots[place].path);
            return place;
        }
        let label = if self.roots.is_empty() && !is_file { String::new() } else { self.free_label(path) };
        self.roots.push(Root { path: path.to_owned(), label, is_file, package });
        self.roots.len() - 1
    }

    fn free_label(&self, path: &Path) -> String {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Files of a root without a label bear their own folders' names.
        let has_inside = |root: &Root, label: &str| root.label.is_empty() && root.path.join(label).exists();
        let is_taken =
            |label: &str| self.roots.iter().any(|root| root.label == label || has_inside(root, label));
        if !is_taken(&name) {
            return name;
        }
        let parent = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let longer = format!("{parent}/{name}");
        if !is_taken(&longer) {
            return longer;
        }
        (2_usize..).map(|count| format!("{name} ({count})")).find(|label| !is_taken(label)).unwrap_or(longer)
    }
}

impl Roots {
    /// Where a file may lie when its root is not known: a root without a label answers for any name, so
    /// that it is asked last.
    pub(super) fn guess(&self, file: &str) -> Option<PathBuf> {
        let (labelled, plain): (Vec<_>, Vec<_>) = self.roots.iter().partition(|root| !root.label.is_empty());
        labelled.into_iter().chain(plain).find_map(|root| root.locate(file))
    }
}

/// One file of a collection, as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name within the collection, with `/` between folders.
    pub file: String,
    /// The root that it is of, as a place in the list of roots.
    pub root: usize,
    /// Its size.
    pub size_bytes: u64,
    /// When it was changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// How it ended.
    pub state: FileState,
}

/// How reading a file ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// It has passages.
    Indexed {
        /// The id of its first passage.
        first_id: u64,
        /// How many passages it has, with ids that follow each other.
        num_passages: u32,
        /// ISO 639-1 code of its language.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        /// The extracted text that its spans point into, by its sha256; none when they point into the file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Something the reader should know, such as a guessed encoding or unreadable pages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// There is nothing to search in it; a scan, perhaps.
    Empty,
    /// It could not be read.
    Failed {
        /// Why.
        reason: String,
        /// True when it may go well the next time, though the file is the same (a right that was missing).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        may_pass: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_get_labels_that_keep_their_files_apart() {
        let mut roots = Roots::new("docs");
        assert_eq!(roots.add(Path::new("/a/guides"), false, None), 0);
        assert_eq!(roots.add(Path::new("/b/guides"), false, None), 1);
        assert_eq!(roots.add(Path::new("/a/guides"), false, None), 0);
        assert_eq!(roots.add(Path::new("/c/note.md"), true, None), 2);
        assert_eq!(roots.roots[0].name_of("x/y.md"), "x/y.md");
        assert_eq!(roots.roots[1].name_of("y.md"), "guides/y.md");
        assert_eq!(roots.roots[2].name_of(""), "note.md");
        assert_eq!(roots.roots[1].locate("guides/y.md"), Some(PathBuf::from("/b/guides/y.md")));
    }
    #[test]
    fn a_folder_inside_the_first_root_takes_its_name() {
        let folder = tempfile::tempdir().expect("a temp folder");
        std::fs::create_dir_all(folder.path().join("a/guides")).expect("room");
        let mut roots = Roots::new("docs");
        roots.add(&folder.path().join("a"), false, None);
        roots.add(&folder.path().join("b/guides"), false, None);
        assert_eq!(roots.roots[1].label, "b/guides");
        assert_eq!(roots.guess("b/guides/x.md"), Some(folder.path().join("b/guides/x.md")));
    }
}
