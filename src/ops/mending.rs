//! The bench on which damaged blobs are mended: right pieces first, then sticks, folders and the network for the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;

use crate::bundle::{self, Authorised, Bundles, Stick};
use crate::digest::Sha256;
use crate::disk::{self, Staged, StagingFile};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{FileEntry, Manifest, Name, PieceList};
use crate::progress::{Monitor, Unit};
use crate::registry::VerifiedIndex;
use crate::store::{Origin, Store};
use crate::transfer::{Fetched, Wanted};

use super::choice::Sources;
use super::error::{Error, Result};
use super::fetch;
use super::folder::{self, Folder};
use super::indexes;
use super::intake;
use super::line::Line;
use super::repair::WantedBlob;
use super::reuse;
use super::tally::{Foreseen, Tally};

/// What became of the wanted blobs.
#[derive(Default)]
pub(super) struct Mended {
    /// Who gave the last of each blob, or why it is not whole.
    pub(super) outcomes: BTreeMap<Sha256, std::result::Result<Option<String>, Failure>>,
    /// The bytes that came over the network.
    pub(super) wire_bytes: u64,
}

/// Why a blob is not whole yet.
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) text: String,
    hint: Option<String>,
}

impl Failure {
    fn of(error: &Error) -> Self {
        let causes = error.causes().into_iter().map(|cause| format!(": {cause}")).collect::<String>();
        Self { kind: error.kind(), text: format!("{error}{causes}"), hint: error.hint() }
    }

    pub(super) fn to_error(&self) -> Error {
        let error = Error::new(self.kind, self.text.clone());
        match &self.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }
}

/// What mending needs.
pub(super) struct Bench<'a> {
    home: &'a Home,
    store: &'a Store,
    line: &'a Line,
    monitor: &'a dyn Monitor,
}

impl<'a> Bench<'a> {
    pub(super) fn new(home: &'a Home, store: &'a Store, line: &'a Line, monitor: &'a dyn Monitor) -> Self {
        Self { home, store, line, monitor }
    }

    /// Makes blobs whole again, as far as that can be had.
    ///
    /// # Errors
    /// When a folder cannot be read, the disk fails, or it was stopped. What a source did not give is in the outcome.
    pub(super) fn mend(
        &self,
        wanted: &BTreeMap<Sha256, WantedBlob<'_>>,
        from: &[PathBuf],
        folders: &[Folder],
    ) -> Result<Mended> {
        let mut mended = Mended::default();
        for folder in from {
            // A stick may hold loose files beside its bundles.
            if let Ok(stick) = Stick::open(folder) {
                self.take_from_stick(stick.bundles()?, folder, wanted, &mut mended)?;
            }
        }
        let indexes = indexes::load(self.home)?;
        let left = wanted.values().filter(|blob| !mended.outcomes.contains_key(&blob.file.sha256));
        let files = left.map(foresee).collect();
        let spent = || self.line.spent_bytes();
        let tally = Tally::begin(self.monitor, files, 0, &spent);
        for (digest, blob) in wanted {
            if mended.outcomes.contains_key(digest) {
                continue;
            }
            let sources = sources(blob, &indexes, folders)?;
            let outcome = match self.fetch(blob, &sources, &tally) {
                Ok(fetched) => {
                    mended.wire_bytes += fetched.wire_bytes;
                    self.switch(&fetched.staged)?;
                    Ok(fetched.source)
                }
                Err(error) if self.monitor.is_cancelled() => {
                    self.tell_what_is_whole(wanted, &mended);
                    return Err(error);
                }
                Err(error) => Err(Failure::of(&error)),
            };
            mended.outcomes.insert(*digest, outcome);
        }
        Ok(mended)
    }

    /// Where the user ends the work, says what it was good for.
    fn tell_what_is_whole(&self, wanted: &BTreeMap<Sha256, WantedBlob<'_>>, mended: &Mended) {
        let is_whole = |digest: &Sha256| matches!(mended.outcomes.get(digest), Some(Ok(_)));
        let mut packages: BTreeMap<&Name, bool> = BTreeMap::new();
        for (digest, blob) in wanted {
            *packages.entry(blob.package.name()).or_insert(true) &= is_whole(digest);
        }
        let whole: Vec<String> =
            packages.iter().filter(|(_, is_whole)| **is_whole).map(|(name, _)| format!("`{name}`")).collect();
        if !whole.is_empty() {
            self.monitor.note(&format!("repaired by then: {}", whole.join(", ")));
        }
    }

    /// Fills gaps with the pieces that a stick's volumes hold.
    fn take_from_stick(
        &self,
        bundles: Bundles,
        folder: &Path,
        wanted: &BTreeMap<Sha256, WantedBlob<'_>>,
        mended: &mut Mended,
    ) -> Result<()> {
        let mut authorised = Authorised::default();
        for (digest, blob) in wanted.iter().filter(|(digest, _)| !mended.outcomes.contains_key(*digest)) {
            authorised.add(blob.file);
            let carried = bundles.bundles.iter().flat_map(|bundle| &bundle.description.blobs);
            for entry in carried.filter(|entry| entry.sha256 == *digest) {
                if let Some(list) = entry.piece_list().ok().filter(|list| fits(list, blob.file)) {
                    self.lay_out(blob.file, &list)?;
                }
            }
        }
        let source = folder.display().to_string();
        let mut deliver = |staged: Staged| {
            let digest = staged.digest;
            self.switch(&staged)?;
            mended.outcomes.insert(digest, Ok(Some(source.clone())));
            Ok(())
        };
        let (home, store) = (self.home, self.store);
        let intake = intake::receive(home, store, (bundles, &authorised), &mut deliver, self.monitor)?;
        for blob in &intake.incomplete {
            self.monitor.note(&format!(
                "`{}` has not all of {}: {} bytes are still missing",
                folder.display(),
                blob.digest.short(),
                blob.missing_bytes
            ));
        }
        Ok(())
    }

    /// Fills the gaps that are left from folders and the network.
    fn fetch(&self, blob: &WantedBlob<'_>, sources: &Sources, tally: &Tally<'_>) -> Result<Fetched> {
        let client = self.line.client();
        let known = self.store.cut_of(blob.file);
        let pieces = match known {
            Some(list) => Some(list),
            None => fetch::piece_list(self.store, client, blob.file, sources, self.monitor)?,
        };
        if let Some(list) = &pieces {
            self.lay_out(blob.file, list)?;
        }
        let wanted = Wanted {
            name: blob.file.path.to_string(),
            digest: blob.file.sha256,
            size_bytes: blob.file.size_bytes,
            sources: sources.file.clone(),
            reuse: pieces.as_ref().map_or(Ok(Vec::new()), |list| reuse::pieces_here(self.store, list))?,
            pieces,
        };
        Ok(client.fetch(&wanted, &self.home.stick_staging(), tally)?)
    }

    /// Copies the pieces that are right into staging, where they are not yet.
    fn lay_out(&self, file: &FileEntry, list: &PieceList) -> Result<()> {
        let Some(lying) = self.store.lying_path(&file.sha256) else { return Ok(()) };
        let staging = self.home.stick_staging();
        bundle::remember_half(&staging, &file.sha256, list)?;
        let part = staging.join(format!("{}.part", file.sha256));
        if !part.exists() {
            // Shares the room where the file system can; each piece is compared in any case.
            let task = self.monitor.start("copying the damaged file", Some(file.size_bytes), Unit::Bytes);
            let advance = |count| {
                task.advance(count);
                !self.monitor.is_cancelled()
            };
            if !disk::clone_file(&lying, &part, &advance)? {
                return Err(stopped());
            }
        }
        let from = disk::open_plain(&lying)?;
        let part = StagingFile::open(&part)?;
        let task = self.monitor.start("keeping right pieces", Some(file.size_bytes), Unit::Bytes);
        let (mut bytes, mut there) = (Vec::new(), Vec::new());
        for piece in list.pieces() {
            if self.monitor.is_cancelled() {
                return Err(stopped());
            }
            let length = usize::try_from(piece.length).unwrap_or_default();
            bytes.resize(length, 0);
            there.resize(length, 0);
            let is_right = disk::read_at(&from, &mut bytes, piece.offset).is_ok_and(|count| count == length)
                && Sha256::of(&bytes) == piece.sha256;
            let is_there = part.read_at(&mut there, piece.offset)? == length && there == bytes;
            if is_right && !is_there {
                part.write_at(&bytes, piece.offset)?;
            }
            task.advance(piece.length);
        }
        Ok(())
    }

    /// Puts the whole blob into use; the damaged one, which lies aside, goes last.
    fn switch(&self, staged: &Staged) -> Result<()> {
        self.store.set_aside(&staged.digest)?;
        self.store.adopt(staged, &staged.digest)?;
        Ok(bundle::forget_half(&self.home.stick_staging(), &staged.digest)?)
    }
}

/// How much of a damaged blob is here.
fn foresee(blob: &WantedBlob<'_>) -> Foreseen {
    let WantedBlob { file, damage, at_hand, .. } = blob;
    let missing_bytes = damage.damaged_bytes().saturating_sub(at_hand.bytes());
    let here_bytes = file.size_bytes.saturating_sub(missing_bytes);
    Foreseen { name: file.path.to_string(), size_bytes: file.size_bytes, here_bytes }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Failed, "stopped; what was found damaged is out of use, and what came is kept")
        .with_hint("`localml repair` goes on there")
}

fn fits(list: &PieceList, file: &FileEntry) -> bool {
    list.size_bytes() == file.size_bytes
}

/// The files of these package versions that have a digest.
fn entries_of(manifests: &[Manifest], sha256: Sha256) -> impl Iterator<Item = &FileEntry> {
    let files = manifests.iter().flat_map(|manifest| &manifest.variants).flat_map(|variant| &variant.files);
    files.filter(move |entry| entry.sha256 == sha256)
}

/// Where a blob may be had: files of its length in the folders, then whatever an index known here says.
fn sources(blob: &WantedBlob<'_>, indexes: &[VerifiedIndex], folders: &[Folder]) -> Result<Sources> {
    let mut file: Vec<Url> = Vec::new();
    for folder in folders {
        file.extend(folder::addresses(folder, blob.file)?);
    }
    let mut piece_list = None;
    for index in indexes {
        let vouches = match &blob.package.origin {
            Origin::Registry(name) => name == index.name(),
            Origin::Catalog | Origin::Unsigned | Origin::Courier { .. } => index.base().is_none(),
        };
        let own = vouches.then_some(blob.file).into_iter();
        let same = entries_of(index.versions_of(blob.package.name()), blob.file.sha256);
        for entry in own.chain(same) {
            file.extend(index.sources_of(entry));
            piece_list = piece_list.or_else(|| index.piece_list_of(entry));
        }
    }
    if file.is_empty() {
        // Another package may consist of the same bytes.
        for index in indexes {
            let same = entries_of(index.manifests(), blob.file.sha256);
            file.extend(same.flat_map(|entry| index.sources_of(entry)));
        }
    }
    let mut seen = std::collections::HashSet::new();
    file.retain(|url| seen.insert(url.clone()));
    Ok(Sources { file, piece_list })
}
