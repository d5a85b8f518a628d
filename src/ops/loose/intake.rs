//! From loose files to blobs: whole files by their digest, parts by the digests of pieces or by their names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::digest::{Hasher, Sha256};
use crate::disk::{DiskError, Staged, StagingFile};
use crate::home::Home;
use crate::ops::error::Result;
use crate::package::{FileEntry, Piece, PieceList};
use crate::progress::{Monitor, Unit};
use crate::registry::VerifiedIndex;
use crate::store::Store;
use crate::transfer::{self, Client, Reusable, TransferError, Wanted, keep_prefix};

use super::{LooseReport, TakenFile};

/// The longest piece list that is taken, in bytes.
const MAX_PIECE_LIST_BYTES: u64 = 16 * 1024 * 1024;

/// How much is copied at a time, in bytes.
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
}

impl Intake<'_> {
    /// Takes a piece list that an index names.
    ///
    /// # Errors
    /// When the home cannot be written.
    pub(super) fn take_piece_list(&mut self, path: PathBuf) -> Result<()> {
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
    pub(super) fn take_file(&mut self, path: PathBuf) -> Result<()> {
        let size_bytes = path.metadata().map_or(0, |metadata| metadata.len());
        if size_bytes == 0 {
            self.report.strangers.push(path);
            return Ok(());
        }
        if self.wanted.by_size.contains_key(&size_bytes) && self.take_whole(&path, size_bytes)? {
            return Ok(());
        }
        match self.beginning_of(&path, size_bytes) {
            Some(file) => self.take_part(path, size_bytes, file),
            None => {
                self.report.strangers.push(path);
                Ok(())
            }
        }
    }

    /// Takes a file that is what an index promises; false when it is not.
    fn take_whole(&mut self, path: &Path, size_bytes: u64) -> Result<bool> {
        let digest = Sha256::of_file(path).map_err(|source| on(path, source))?;
        let Some(&file) = self.wanted.by_digest.get(&digest) else { return Ok(false) };
        if file.size_bytes != size_bytes {
            return Ok(false);
        }
        self.touched.insert(digest);
        if self.store.blob_path(&digest, size_bytes).is_some() {
            self.report.known.push(path.to_owned());
            return Ok(true);
        }
        let staged = self.copy(path, &digest, size_bytes)?;
        self.store.adopt(&staged, &digest)?;
        let (path, name, sha256) = (path.to_owned(), file.path.to_string(), digest);
        self.report.taken.push(TakenFile { path, name, sha256, size_bytes, kept_bytes: size_bytes });
        Ok(true)
    }

    /// Copies a file into the home; what is copied is hashed again, for the original may change meanwhile.
    fn copy(&self, path: &Path, digest: &Sha256, size_bytes: u64) -> Result<Staged> {
        let staging = StagingFile::open(&self.home.staging().join(format!("loose-{digest}.part")))?;
        staging.truncate(0)?;
        let mut source = File::open(path).map_err(|source| on(path, source))?;
        let task = self.monitor.start("taking in", Some(size_bytes), Unit::Bytes);
        let (mut hasher, mut at) = (Hasher::new(), 0);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = source.read(&mut buffer).map_err(|source| on(path, source))?;
            if count == 0 {
                return Ok(staging.finish(hasher.finish(), at));
            }
            hasher.update(&buffer[..count]);
            staging.write_at(&buffer[..count], at)?;
            at += count as u64;
            task.advance(count as u64);
        }
    }

    /// The file that this one holds a part of: by the digest of a piece where its pieces are known, else by its name.
    fn beginning_of(&self, path: &Path, size_bytes: u64) -> Option<FileEntry> {
        let larger = self.wanted.by_size.range(size_bytes..).flat_map(|(_, files)| files);
        let lacking: Vec<&&FileEntry> =
            larger.filter(|file| self.store.blob_path(&file.sha256, file.size_bytes).is_none()).collect();
        let mut first_pieces: HashMap<u64, Option<Sha256>> = HashMap::new();
        let has_first = |file: &&&&FileEntry| {
            let Some(piece) = self.piece_list(file).and_then(|list| list.pieces().first().copied()) else {
                return false;
            };
            let read = || piece_of(path, 0, piece.length);
            *first_pieces.entry(piece.length).or_insert_with(read) == Some(piece.sha256)
        };
        let by_piece = lacking.iter().find(has_first);
        let is_named = |file: &&&&FileEntry| is_partial(path) && is_called(path, file);
        let mut by_name = lacking.iter().filter(is_named);
        let named = by_name.next().filter(|_| by_name.next().is_none());
        by_piece.or(named).map(|file| (**file).clone())
    }

    fn piece_list(&self, file: &FileEntry) -> Option<PieceList> {
        let list = self.store.piece_list(&file.pieces?).ok().flatten();
        list.filter(|list| list.size_bytes() == file.size_bytes)
    }

    /// Takes what is right of a file that is not whole.
    fn take_part(&mut self, path: PathBuf, size_bytes: u64, file: FileEntry) -> Result<()> {
        let pieces = self.piece_list(&file);
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

fn piece_of(path: &Path, offset: u64, length: u64) -> Option<Sha256> {
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    File::open(path).ok()?.read_exact_at(&mut bytes, offset).ok()?;
    Some(Sha256::of(&bytes))
}

/// The pieces that the file may hold, each where it belongs.
fn reusable(list: &PieceList, path: &Path, size_bytes: u64) -> Vec<Reusable> {
    let lies_here = |piece: &&Piece| piece.offset + piece.length <= size_bytes;
    let pieces = list.pieces().iter().filter(lies_here);
    pieces.map(|piece| Reusable { piece: *piece, path: path.to_owned(), at: piece.offset }).collect()
}

fn is_partial(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let has_control_file = fs::exists(format!("{}.aria2", path.display())).unwrap_or(false);
    PARTIAL_ENDINGS.iter().any(|partial| ending.eq_ignore_ascii_case(partial)) || has_control_file
}

/// True when a half download's name tells of a file: by its own name, that of an address, or its digest.
fn is_called(path: &Path, file: &FileEntry) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    let addresses = file.sources.iter().map(|source| last(source.split('?').next().unwrap_or_default()));
    let mut names = addresses.chain([last(file.path.as_str()), file.sha256.short()]);
    names.any(|own| {
        !own.is_empty() && (name == own || name.starts_with(&format!("{own}.")))
            || own == file.sha256.short() && name.starts_with(&own)
    })
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
