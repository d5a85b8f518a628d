//! From loose files to blobs: whole files by their digest, parts by the digests of pieces or by their names.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::digest::{Hasher, Sha256};
use crate::disk::{DiskError, read_at};
use crate::home::Home;
use crate::ops::copying::{Original, copy_in, stopped};
use crate::ops::error::{Error, Result, While as _};
use crate::package::{FileEntry, Piece, PieceList};
use crate::progress::{Monitor, Task, Unit};
use crate::registry::VerifiedIndex;
use crate::store::Store;
use crate::transfer::{self, Client, Reusable, TransferError, Wanted, keep_prefix};

use super::lacking::{Lacking, piece_list};
use super::present::is_beginning_of_one_here;
use super::{LeftFile, LooseReport, TakenFile};

/// The longest piece list that is taken, in bytes.
const MAX_PIECE_LIST_BYTES: u64 = 16 * 1024 * 1024;

/// How much is read at a time, in bytes.
const BUFFER_BYTES: usize = 1024 * 1024;

/// So many zeros in a row are room that was kept for bytes to come, in bytes: weights and texts have none.
const PAGE_BYTES: u64 = 64 * 1024;

/// The endings that browsers and download managers give to half downloads.
const PARTIAL_ENDINGS: [&str; 6] = ["part", "crdownload", "download", "partial", "opdownload", "tmp"];

/// Every file that indexes speak of.
pub(super) struct Directory<'a> {
    by_digest: HashMap<Sha256, &'a FileEntry>,
    by_size: BTreeMap<u64, Vec<&'a FileEntry>>,
    piece_lists: HashSet<Sha256>,
}

impl<'a> Directory<'a> {
    /// Everything that these indexes name.
    pub(super) fn of(indexes: &'a [VerifiedIndex]) -> Self {
        let (mut by_digest, mut by_size) = (HashMap::new(), BTreeMap::<u64, Vec<&FileEntry>>::new());
        let mut piece_lists = HashSet::new();
        let variants = indexes.iter().flat_map(VerifiedIndex::manifests).flat_map(|it| &it.variants);
        for file in variants.flat_map(|variant| &variant.files) {
            if by_digest.insert(file.sha256, file).is_none() {
                by_size.entry(file.size_bytes).or_default().push(file);
            }
            piece_lists.extend(file.pieces);
        }
        Self { by_digest, by_size, piece_lists }
    }
}

/// Files on their way in.
pub(super) struct Intake<'a> {
    pub(super) home: &'a Home,
    pub(super) store: &'a Store,
    pub(super) wanted: Directory<'a>,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) report: &'a mut LooseReport,
    /// The digests of which something came.
    pub(super) touched: HashSet<Sha256>,
    /// What is not here; looked for once, when the first file comes that is not whole.
    pub(super) lacking: OnceCell<Lacking<'a>>,
}

impl<'a> Intake<'a> {
    /// Takes piece lists, by which half downloads are known, and then the other files. One that cannot be taken
    /// stops no other.
    ///
    /// # Errors
    /// When the user stopped; when nothing at all was of use and a file could not be taken: then why.
    pub(super) fn take_all(&mut self, (lists, files): (Vec<PathBuf>, Vec<PathBuf>)) -> Result<()> {
        let mut first_failure = None;
        for path in lists {
            let outcome = self.take_piece_list(path.clone());
            self.note_failure(path, outcome, &mut first_failure)?;
        }
        let files: Vec<(PathBuf, u64)> = files.into_iter().map(with_length).collect();
        let compared = files.iter().map(|(_, size_bytes)| *size_bytes).filter(|it| self.is_known_length(*it));
        let monitor = self.monitor;
        let task = monitor.start("comparing digests", Some(compared.sum()), Unit::Bytes);
        for (path, size_bytes) in files {
            let deed = || format!("could not take `{}`", path.display());
            let outcome = self.take_file(path.clone(), size_bytes, &*task).while_doing(deed);
            self.note_failure(path, outcome, &mut first_failure)?;
        }
        match first_failure {
            Some(error) if self.report.is_of_no_use() => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes down that a file could not be taken; a user who stopped ends it all.
    fn note_failure(&mut self, path: PathBuf, outcome: Result<()>, first: &mut Option<Error>) -> Result<()> {
        if self.monitor.is_cancelled() {
            return Err(stopped());
        }
        if let Err(error) = outcome {
            self.report.left.push(LeftFile { path, reason: error.in_one_line() });
            first.get_or_insert(error);
        }
        Ok(())
    }

    fn is_known_length(&self, size_bytes: u64) -> bool {
        size_bytes > 0 && self.wanted.by_size.contains_key(&size_bytes)
    }

    /// Takes a piece list that an index names.
    ///
    /// # Errors
    /// When the home cannot be written.
    fn take_piece_list(&mut self, path: PathBuf) -> Result<()> {
        let bytes = match path.metadata() {
            Ok(metadata) if metadata.len() <= MAX_PIECE_LIST_BYTES => fs::read(&path).unwrap_or_default(),
            _ => Vec::new(),
        };
        let list = std::str::from_utf8(&bytes).ok().and_then(|text| PieceList::parse(text).ok());
        let sha256 = Sha256::of(&bytes);
        match list.filter(|_| self.wanted.piece_lists.contains(&sha256)) {
            Some(list) => {
                self.store.keep_piece_list(&list)?;
                let size_bytes = bytes.len() as u64;
                let name = "piece list".to_owned();
                self.report.taken.push(TakenFile { path, name, sha256, size_bytes, kept_bytes: size_bytes });
            }
            None => self.report.strangers.push(path),
        }
        Ok(())
    }

    /// Takes a file, or what is right of it.
    ///
    /// # Errors
    /// When it cannot be read, or the home cannot be written.
    fn take_file(&mut self, path: PathBuf, size_bytes: u64, task: &dyn Task) -> Result<()> {
        if self.is_known_length(size_bytes) && self.take_whole(&path, size_bytes, task)? {
            return Ok(());
        }
        match self.beginning_of(&path, size_bytes).cloned() {
            Some(file) => self.take_part(path, size_bytes, file),
            None if self.is_half_of_what_is_here(&path, size_bytes) => {
                self.report.known.push(path);
                Ok(())
            }
            None => {
                self.report.strangers.push(path);
                Ok(())
            }
        }
    }

    /// True for the beginning of a file that has come whole since, or before. A few bytes say nothing, unless the name
    /// says that more was to come.
    fn is_half_of_what_is_here(&self, path: &Path, size_bytes: u64) -> bool {
        let length = bytes_before_zeros(path, size_bytes);
        let files = self.wanted.by_size.range(size_bytes..).flat_map(|(_, files)| files).copied();
        (length >= PAGE_BYTES || is_partial(path))
            && is_beginning_of_one_here((path, length, size_bytes), files, self.store, self.monitor)
    }

    /// Takes a file that is what an index promises; false when it is not.
    fn take_whole(&mut self, path: &Path, size_bytes: u64, task: &dyn Task) -> Result<bool> {
        let digest = digest_of(path, task, self.monitor)?;
        let Some(&file) = self.wanted.by_digest.get(&digest) else { return Ok(false) };
        if file.size_bytes != size_bytes {
            return Ok(false);
        }
        if self.store.blob_path(&digest, size_bytes).is_some() {
            self.touched.insert(digest);
            self.report.known.push(path.to_owned());
            return Ok(true);
        }
        let part = self.home.staging().join(format!("loose-{digest}.part"));
        let staged = copy_in(self.home, Original { path, sha256: &digest, size_bytes }, &part, self.monitor)?;
        self.store.adopt(&staged, &digest)?;
        self.touched.insert(digest);
        let (path, name, sha256) = (path.to_owned(), file.path.to_string(), digest);
        self.report.taken.push(TakenFile { path, name, sha256, size_bytes, kept_bytes: size_bytes });
        Ok(true)
    }

    /// The file that this one holds a part of: by the digest of a piece where its pieces are known, else by its name.
    fn beginning_of(&self, path: &Path, size_bytes: u64) -> Option<&'a FileEntry> {
        if size_bytes == 0 {
            return None;
        }
        let all = || self.wanted.by_size.values().flatten().copied();
        let lacking = self.lacking.get_or_init(|| Lacking::among(all(), self.store));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // `wget` and `curl` give half a download the name of the whole: a digest in it says enough.
        let by_name = || {
            lacking
                .by_name(name, size_bytes)
                .filter(|file| is_partial(path) || begins_with(name, &file.sha256))
        };
        lacking.by_beginning(path, size_bytes).or_else(by_name)
    }

    /// Takes what is right of a file that is not whole.
    fn take_part(&mut self, path: PathBuf, size_bytes: u64, file: FileEntry) -> Result<()> {
        let pieces = piece_list(self.store, &file);
        let wanted = Wanted {
            name: file.path.to_string(),
            digest: file.sha256,
            size_bytes: file.size_bytes,
            sources: Vec::new(),
            reuse: pieces.iter().flat_map(|list| reusable(list, &path, size_bytes)).collect(),
            pieces,
        };
        let kept_bytes = match wanted.pieces.is_some() {
            true => self.take_pieces(&wanted)?,
            false => {
                let length = bytes_before_zeros(&path, size_bytes).min(file.size_bytes - 1);
                keep_prefix(&wanted, (&path, length), &self.home.staging(), self.monitor)?
            }
        };
        match kept_bytes {
            0 => self.report.strangers.push(path),
            _ => {
                self.touched.insert(file.sha256);
                self.report.taken.push(TakenFile {
                    path,
                    name: wanted.name,
                    sha256: file.sha256,
                    size_bytes: file.size_bytes,
                    kept_bytes,
                });
            }
        }
        Ok(())
    }

    /// Copies the right pieces; all of them make the file whole.
    fn take_pieces(&self, wanted: &Wanted) -> Result<u64> {
        let client = Client::new(transfer::Options { is_offline: true, ..transfer::Options::default() });
        match client.fetch(wanted, &self.home.staging(), self.monitor) {
            Ok(fetched) => {
                self.store.adopt(&fetched.staged, &wanted.digest)?;
                Ok(wanted.size_bytes)
            }
            // Nobody is asked for the rest: that is all there is.
            Err(TransferError::Fetch { kept_bytes, cause, .. })
                if matches!(*cause, TransferError::NoSource { .. }) =>
            {
                Ok(kept_bytes)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn on(path: &Path, source: std::io::Error) -> DiskError {
    DiskError::Io { path: path.to_owned(), source }
}

fn with_length(path: PathBuf) -> (PathBuf, u64) {
    let size_bytes = path.metadata().map_or(0, |metadata| metadata.len());
    (path, size_bytes)
}

/// Hashes a file to its end, or until the user stops.
fn digest_of(path: &Path, task: &dyn Task, monitor: &dyn Monitor) -> Result<Sha256> {
    let file = File::open(path).map_err(|source| on(path, source))?;
    let (mut hasher, mut at) = (Hasher::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        if monitor.is_cancelled() {
            return Err(stopped());
        }
        let count = read_at(&file, &mut buffer, at).map_err(|source| on(path, source))?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..count]);
        at += count as u64;
        task.advance(count as u64);
    }
}

/// The pieces that the file may hold, each where it belongs.
fn reusable(list: &PieceList, path: &Path, size_bytes: u64) -> Vec<Reusable> {
    let lies_here = |piece: &&Piece| piece.offset + piece.length <= size_bytes;
    let pieces = list.pieces().iter().filter(lies_here);
    pieces.map(|piece| Reusable { piece: *piece, path: path.to_owned(), at: piece.offset }).collect()
}

fn begins_with(name: &str, digest: &Sha256) -> bool {
    name.starts_with(&digest.short())
}

fn is_partial(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let has_control_file = fs::exists(format!("{}.aria2", path.display())).unwrap_or(false);
    PARTIAL_ENDINGS.iter().any(|partial| ending.eq_ignore_ascii_case(partial)) || has_control_file
}

/// How many bytes lie before the zeros that begin the first page of zeros, or end the page before it: download managers
/// keep room for what is still to come.
fn bytes_before_zeros(path: &Path, size_bytes: u64) -> u64 {
    let Ok(file) = File::open(path) else { return 0 };
    let mut page = vec![0; PAGE_BYTES as usize];
    let (mut at, mut end) = (0, 0);
    while at < size_bytes {
        let page = &mut page[..PAGE_BYTES.min(size_bytes - at) as usize];
        let last = match file.read_exact_at(page, at) {
            Ok(()) => page.iter().rposition(|byte| *byte != 0),
            Err(_) => None,
        };
        let Some(last) = last else { return end };
        end = at + last as u64 + 1;
        at += page.len() as u64;
    }
    size_bytes
}
