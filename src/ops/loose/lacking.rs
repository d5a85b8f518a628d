//! The files that are still lacking, looked through once: a half download is found among them by how it begins, else
//! by what it is called.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::digest::{Hasher, Sha256};
use crate::package::{FileEntry, PieceList};
use crate::store::Store;

/// How many hexadecimal digits of a digest stand for it in a name.
const SHORT_DIGITS: usize = 12;

/// Everything that indexes name and is not here, by rising length.
pub(super) struct Lacking<'a> {
    store: &'a Store,
    files: Vec<&'a FileEntry>,
    /// By the length and the digest of the first piece: those whose piece list is here.
    by_beginning: BTreeMap<u64, HashMap<Sha256, Vec<usize>>>,
    names: OnceCell<Names>,
}

/// What the files are called.
struct Names {
    /// By the name in the package, and by the last part of each address.
    own: HashMap<String, Vec<usize>>,
    /// By the first digits of the digest.
    short: HashMap<String, Vec<usize>>,
}

impl<'a> Lacking<'a> {
    /// Of all these files, which come by rising length, those that are not here.
    pub(super) fn among(files: impl Iterator<Item = &'a FileEntry>, store: &'a Store) -> Self {
        let here: HashSet<(Sha256, u64)> = store.lying_blobs().into_iter().collect();
        let files: Vec<&FileEntry> =
            files.filter(|file| !here.contains(&(file.sha256, file.size_bytes))).collect();
        let mut by_beginning = BTreeMap::<u64, HashMap<Sha256, Vec<usize>>>::new();
        for (at, file) in files.iter().enumerate() {
            let first = piece_list(store, file).and_then(|list| list.pieces().first().copied());
            if let Some(first) = first {
                by_beginning.entry(first.length).or_default().entry(first.sha256).or_default().push(at);
            }
        }
        Self { store, files, by_beginning, names: OnceCell::new() }
    }

    /// The shortest file of at least this length that begins as this one does.
    pub(super) fn by_beginning(&self, path: &Path, size_bytes: u64) -> Option<&'a FileEntry> {
        let (mut hasher, mut hashed_bytes) = (Hasher::new(), 0);
        let mut file = None;
        let mut found = BTreeSet::new();
        for (length, by_digest) in self.by_beginning.range(..=size_bytes) {
            let is_open = |at: &usize| self.files[*at].size_bytes >= size_bytes;
            if !by_digest.values().flatten().any(is_open) {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(length - hashed_bytes).ok()?];
            let file = match &mut file {
                Some(file) => file,
                None => file.insert(File::open(path).ok()?),
            };
            file.read_exact(&mut bytes).ok()?;
            hasher.update(&bytes);
            hashed_bytes = *length;
            found.extend(
                by_digest.get(&hasher.clone().finish()).into_iter().flatten().copied().filter(is_open),
            );
        }
        found.into_iter().map(|at| self.files[at]).find(|file| self.is_lacking(file))
    }

    /// The only file of at least this length whose name, address or digest a half download's name tells.
    pub(super) fn by_name(&self, name: &str, size_bytes: u64) -> Option<&'a FileEntry> {
        let names = self.names.get_or_init(|| Names::of(&self.files));
        let is_meant = |at: &usize| {
            let file = self.files[*at];
            file.size_bytes >= size_bytes && self.is_lacking(file)
        };
        let mut found = names.called(name).into_iter().filter(is_meant);
        let only = found.next().filter(|_| found.next().is_none())?;
        Some(self.files[only])
    }

    /// It may have come since.
    fn is_lacking(&self, file: &FileEntry) -> bool {
        self.store.blob_path(&file.sha256, file.size_bytes).is_none()
    }
}

impl Names {
    fn of(files: &[&FileEntry]) -> Self {
        let (mut own, mut short) =
            (HashMap::<String, Vec<usize>>::new(), HashMap::<String, Vec<usize>>::new());
        let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        for (at, file) in files.iter().enumerate() {
            let addresses = file.sources.iter().map(|source| source.split('?').next().unwrap_or_default());
            let names = addresses.map(last).chain([last(file.path.as_str()), file.sha256.short()]);
            for name in names.filter(|name| !name.is_empty()) {
                own.entry(name).or_default().push(at);
            }
            short.entry(file.sha256.short()).or_default().push(at);
        }
        Self { own, short }
    }

    /// The files that a name means: it is theirs, or theirs with more after a dot, or begins with their digest.
    fn called(&self, name: &str) -> BTreeSet<usize> {
        let up_to_dots = name.match_indices('.').map(|(at, _)| &name[..at]);
        let by_own = up_to_dots.chain([name]).filter_map(|name| self.own.get(name));
        let by_short = name.get(..SHORT_DIGITS).and_then(|digits| self.short.get(digits));
        by_own.chain(by_short).flatten().copied().collect()
    }
}

/// A file's piece list, when it is here.
pub(super) fn piece_list(store: &Store, file: &FileEntry) -> Option<PieceList> {
    let list = store.piece_list(&file.pieces?).ok().flatten();
    list.filter(|list| list.size_bytes() == file.size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, seed: &[u8], address: &str) -> FileEntry {
        FileEntry {
            path: path.parse().expect("a path"),
            size_bytes: 100,
            sha256: Sha256::of(seed),
            sources: vec![address.to_owned()],
            pieces: None,
            unpinned: false,
        }
    }

    #[test]
    fn half_downloads_are_known_by_the_names_that_programs_give_them() {
        let weights = file("q4/weights.bin", b"a", "http://host/files/w-q4.gguf?download=true");
        let other = file("weights.txt", b"b", "http://host/files/w-q8.gguf");
        let names = Names::of(&[&weights, &other]);
        let short = weights.sha256.short();
        for name in [
            "weights.bin.part".to_owned(),
            "w-q4.gguf".to_owned(),
            "w-q4.gguf.crdownload".to_owned(),
            format!("{short}.part"),
            format!("{}.part", weights.sha256),
        ] {
            assert_eq!(names.called(&name), BTreeSet::from([0]), "{name}");
        }
        for name in ["weights.part", "w-q4.ggu", "my weights.bin.part", "", "."] {
            assert_eq!(names.called(name), BTreeSet::new(), "{name}");
        }
        assert_eq!(names.called(&format!("x{short}")), BTreeSet::new());
    }

    #[test]
    fn a_name_that_two_files_have_means_none() {
        let (one, two) = (file("a/same.bin", b"a", ""), file("b/same.bin", b"b", ""));
        assert_eq!(Names::of(&[&one, &two]).called("same.bin.part").len(), 2);
    }
}
