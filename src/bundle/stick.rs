//! An open stick: its commit record, its bundles, its trust files. Reading it changes nothing.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::digest::Sha256;
use crate::disk;

use super::clean;
use super::description::{Description, MAX_DESCRIPTION_BYTES};
use super::draft::{all_volumes, volume_files};
use super::error::{BundleError, Result, io_error};
use super::id::{BundleId, SiteId};
use super::layout::{BIN, BUNDLES, DESCRIPTION, RECEIPTS, REQUESTS, ROOT, SLOTS, TRUST};
use super::letter;
use super::receipt::Receipt;
use super::record::{CommitRecord, CommittedFile, Slots};
use super::remark::{Remark, Remarks};
use super::request::Request;
use super::share::StickShare;
use super::trust::TrustSet;

/// The most bundles that one stick is searched for.
const MAX_BUNDLES: usize = 1000;

/// The most sets of trust files that are looked at; the newest count.
const MAX_TRUST_SETS: usize = 64;

/// A folder that carries bundles.
#[derive(Debug)]
pub struct Stick {
    root: PathBuf,
    slots: Slots,
}

/// One bundle of a stick, as its untrusted description tells it.
#[derive(Debug)]
pub struct Bundle {
    /// What it says that it holds.
    pub description: Description,
    /// False when the commit record does not know it: a copy by hand, or an export that was cut off
    /// in its last step.
    pub is_committed: bool,
    /// The digest of `BUNDLE.JSON` as it is.
    pub(super) description_digest: Sha256,
    pub(super) description_bytes: u64,
    pub(super) folder: PathBuf,
    /// The name of the stick that it lies on.
    pub(super) stick_id: Option<String>,
}

impl Bundle {
    /// The bytes that the bundle takes on this stick; of a set, those of this stick's share.
    pub fn lying_bytes(&self) -> u64 {
        clean::bytes_in(&self.folder)
    }

    /// The volumes, data and parity, that lie on this stick in their full length, by name. One that is shorter is
    /// what a power cut left of it.
    pub fn lying_volumes(&self) -> Vec<String> {
        let is_lying = |name: &str, size_bytes: u64| {
            let found = self.folder.join(name).symlink_metadata();
            found.is_ok_and(|found| found.is_file() && found.len() == size_bytes)
        };
        let volumes = all_volumes(&self.description);
        volumes
            .filter(|(name, size_bytes)| is_lying(name, *size_bytes))
            .map(|(name, _)| name.into())
            .collect()
    }

    /// How many volumes, data and parity, the bundle has on all sticks together.
    pub fn num_volumes(&self) -> usize {
        all_volumes(&self.description).count()
    }

    /// True when this volume of a set went to another stick than this one, or was not written yet.
    pub(super) fn lies_elsewhere(&self, volume: &str) -> bool {
        let names = |share: &StickShare| share.volumes.iter().any(|name| name == volume);
        let own = self.stick_id.as_deref();
        let sticks = &self.description.sticks;
        !sticks.is_empty() && !sticks.iter().any(|share| Some(share.stick.as_str()) == own && names(share))
    }

    /// Where a volume is that cannot be read here, in words.
    pub(super) fn whereabouts(&self, volume: &str) -> String {
        if !self.lies_elsewhere(volume) {
            return "the volume cannot be read".to_owned();
        }
        let mut sticks = (1..).zip(&self.description.sticks);
        match sticks.find(|(_, share)| share.volumes.iter().any(|name| name == volume)) {
            Some((number, share)) => format!("it is on stick {} (number {number} of the set)", share.stick),
            None => "it is on a later stick of the set".to_owned(),
        }
    }
}

/// The bundles of a stick, and what stands in the way of others.
#[derive(Debug, Default)]
pub struct Bundles {
    /// Those that can be read, the newest first.
    pub bundles: Vec<Bundle>,
    /// Why others cannot.
    pub refused: Vec<BundleError>,
    /// What is wrong with the commit record, and with what it says of the bundles.
    pub remarks: Vec<Remark>,
}

/// The trust files of a stick.
#[derive(Debug, Default)]
pub struct TrustSets {
    /// The sets that can be read, the newest first.
    pub sets: Vec<TrustSet>,
    /// Why others, which the stick promises to hold, cannot be read.
    pub damaged: Vec<BundleError>,
    /// What was passed over: the rest of an export that was cut off, or too many sets.
    pub remarks: Vec<Remark>,
}

impl Stick {
    /// Opens the stick that is mounted at `folder` (or its `LOCALML` folder itself).
    ///
    /// # Errors
    /// `NotAStick` when there is no `LOCALML` folder; `NewerFormat` when a later localml wrote it.
    pub fn open(folder: &Path) -> Result<Self> {
        let root = root_of(folder);
        match is_folder(&root)? {
            true => Ok(Self { slots: Slots::read(&root)?, root }),
            false => Err(BundleError::NotAStick { folder: folder.to_owned() }),
        }
    }

    /// Opens the stick; `None` when nothing was ever written to it.
    ///
    /// # Errors
    /// `NewerFormat` when a later localml wrote it.
    pub(super) fn open_if_any(folder: &Path) -> Result<Option<Self>> {
        match Self::open(folder) {
            Err(BundleError::NotAStick { .. }) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens a stick to write to it; makes its `LOCALML` folder when there is none.
    ///
    /// # Errors
    /// As `open`, and when the folder cannot be made.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let root = root_of(folder);
        if !is_folder(&root)? {
            disk::create_dir_all(&root)?;
            disk::sync_dir(folder)?;
        }
        Self::open(folder)
    }

    /// The `LOCALML` folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the stick held when it was last safe to remove; `None` when neither slot can be read.
    pub fn record(&self) -> Option<&CommitRecord> {
        self.slots.newest()
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// What is wrong with the commit record.
    pub fn remarks(&self) -> Vec<Remark> {
        let mut remarks = Remarks::default();
        for (name, reason) in self.slots.damaged() {
            remarks.add(name, format!("this slot of the commit record is damaged: {reason}"));
        }
        if self.record().is_none() && !self.carries_only_letters() {
            let why = if self.slots.are_absent() { "is not there" } else { "cannot be read" };
            let text = format!("the commit record {why}; every bundle found is looked at");
            remarks.add(SLOTS[0], text);
        }
        remarks.finish()
    }

    /// Finds the bundles, committed or not.
    ///
    /// # Errors
    /// When the stick itself cannot be read; a bundle that cannot be is in `refused`.
    pub fn bundles(&self) -> Result<Bundles> {
        let mut found = Bundles { remarks: self.remarks(), ..Bundles::default() };
        let mut total_bytes = 0;
        for id in self.bundle_ids()?.into_iter().rev() {
            let path = id.path_of(DESCRIPTION);
            let size_bytes = self.root.join(&path).symlink_metadata().map_or(0, |metadata| metadata.len());
            if size_bytes <= MAX_DESCRIPTION_BYTES && total_bytes + size_bytes > MAX_DESCRIPTION_BYTES {
                let reason = "with it the descriptions of this stick have more than 64 MiB".into();
                found.refused.push(BundleError::Damaged { file: path, reason });
                continue;
            }
            match self.read_bundle(&id) {
                Ok(Some(bundle)) => {
                    total_bytes += bundle.description_bytes;
                    if !bundle.is_committed && !self.is_unknown(&bundle) {
                        let text = "its sha256 differs from the commit record".to_owned();
                        found.remarks.push(Remark { file: path, text });
                    }
                    found.bundles.push(bundle);
                }
                Ok(None) => {}
                Err(error) => found.refused.push(error),
            }
        }
        Ok(found)
    }

    /// Opens the sets of trust files, the newest first.
    pub fn trust_sets(&self) -> TrustSets {
        let mut found = TrustSets::default();
        let mut remarks = Remarks::default();
        let paths = self.trust_paths();
        for path in paths.iter().rev().take(MAX_TRUST_SETS) {
            match self.open_trust(path) {
                Ok(set) => found.sets.push(set),
                Err(error) if self.may_be_torn(path) => {
                    let text =
                        format!("it is the rest of an export that was cut off; it is ignored: {error}");
                    remarks.add(path, text);
                }
                Err(error) => found.damaged.push(error),
            }
        }
        if let Some(num_older) = paths.len().checked_sub(MAX_TRUST_SETS).filter(|&count| count > 0) {
            remarks.add(TRUST, format!("{num_older} older sets of trust files are not looked at"));
        }
        found.remarks = remarks.finish();
        found
    }

    /// Opens one set. What no record promises, be it that no record can be read, must have the digest that its name
    /// was made from: zeros read as an archive that holds nothing.
    pub(super) fn open_trust(&self, path: &str) -> Result<TrustSet> {
        // A link in the folder's place would be followed on the way to the file.
        is_folder(&self.root.join(TRUST)).map_err(|error| {
            let reason = error.to_string();
            BundleError::DamagedTrust { file: TRUST.to_owned(), reason }
        })?;
        let committed = self.record().and_then(|record| record.file(path));
        let set = TrustSet::open(&self.root, path, committed)?;
        match committed.is_none() && !set.has_its_name()? {
            true => Err(set.damaged("its sha256 does not begin with its name")),
            false => Ok(set),
        }
    }

    /// True when no export ever wrote to it, not even one that was cut off.
    pub fn is_untouched(&self) -> bool {
        self.slots.are_absent() && [BUNDLES, TRUST, BIN].into_iter().all(|folder| self.is_empty(folder))
    }

    /// True when sites left letters on it, and nothing was exported to it yet.
    pub fn carries_only_letters(&self) -> bool {
        self.is_untouched() && ![REQUESTS, RECEIPTS].into_iter().all(|folder| self.is_empty(folder))
    }

    fn is_empty(&self, folder: &str) -> bool {
        names_in(&self.root.join(folder)).is_ok_and(|names| names.is_empty())
    }

    /// The newest whole request of each site, and what is wrong with others.
    pub fn requests(&self) -> (Vec<Request>, Vec<Remark>) {
        letter::read_all(self)
    }

    /// The newest whole receipt of each site, and what is wrong with others.
    pub fn receipts(&self) -> (Vec<Receipt>, Vec<Remark>) {
        letter::read_all(self)
    }

    /// The highest number of a letter that bears a site's name, whole or not; 0 when there is none.
    pub fn highest_letter(&self, site: &SiteId) -> u64 {
        letter::highest_number(self, site)
    }

    /// True when no record promises this file: an export may have died writing it, the first one of a stick too.
    /// A record that cannot be read may have promised everything.
    pub(super) fn may_be_torn(&self, path: &str) -> bool {
        self.record().map_or(self.slots.are_absent(), |record| record.file(path).is_none())
    }

    /// The bundles' ids: those of the record in its order, then the others.
    pub fn bundle_ids(&self) -> Result<Vec<BundleId>> {
        let mut ids: Vec<BundleId> = Vec::new();
        let mut seen = HashSet::new();
        let committed = self.record().into_iter().flat_map(|record| &record.files);
        let committed = committed.filter_map(|file| file.path.strip_prefix("B/")?.split('/').next());
        let lying = names_in(&self.root.join(BUNDLES))?;
        for name in committed.chain(lying.iter().map(String::as_str)) {
            if let Ok(id) = name.parse::<BundleId>()
                && seen.insert(id.clone())
                && ids.len() < MAX_BUNDLES
            {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Reads one bundle's description. `None` when there is none and none was promised: the rest of an
    /// export that was cut off.
    pub(super) fn read_bundle(&self, id: &BundleId) -> Result<Option<Bundle>> {
        let file = id.path_of(DESCRIPTION);
        let folder = self.root.join(BUNDLES).join(id.as_str());
        let promised = self.record().and_then(|record| record.file(&file));
        let damaged = |reason: String| BundleError::Damaged { file: file.clone(), reason };
        let is_there = is_folder(&folder)? && folder.join(DESCRIPTION).symlink_metadata().is_ok();
        let bytes = match is_there {
            true => read_small(&folder.join(DESCRIPTION)).map_err(|error| damaged(error.to_string()))?,
            false => Some(Vec::new()),
        };
        let bytes = bytes.ok_or_else(|| damaged("it is larger than 64 MiB".into()))?;
        // FAT can leave a name without its data.
        if bytes.is_empty() {
            return if promised.is_some() { Err(damaged("it is not there".into())) } else { Ok(None) };
        }
        let digest = Sha256::of(&bytes);
        let description = Description::parse(&file, &bytes)?;
        if description.id != *id {
            return Err(damaged(format!("it belongs to bundle {}", description.id)));
        }
        Ok(Some(Bundle {
            description,
            is_committed: promised.is_some_and(|promised| promised.sha256 == digest),
            description_digest: digest,
            description_bytes: bytes.len() as u64,
            folder,
            stick_id: self.record().map(|record| record.stick_id.clone()),
        }))
    }

    /// The trust files of the record, and any other that lies there, the oldest first.
    pub(super) fn trust_paths(&self) -> Vec<String> {
        let committed = self.record().into_iter().flat_map(|record| &record.files);
        let mut paths: Vec<String> =
            committed.map(|file| file.path.clone()).filter(|path| is_trust_path(path)).collect();
        let lying = names_in(&self.root.join(TRUST)).unwrap_or_default();
        let mut others: Vec<String> = lying.into_iter().map(|name| format!("{TRUST}/{name}")).collect();
        others.retain(|path| is_trust_path(path) && !paths.contains(path));
        others.append(&mut paths);
        others
    }

    /// What the next record keeps: the files of the record, and those of whole bundles beside it.
    pub(super) fn known_files(&self) -> Result<Vec<CommittedFile>> {
        let mut files = self.record().map(|record| record.files.clone()).unwrap_or_default();
        let strangers = self.bundles()?.bundles.into_iter().rev();
        for bundle in strangers.filter(|bundle| self.is_unknown(bundle)) {
            // Of a set, only some volumes were copied with it.
            let lies_here = |file: &CommittedFile| {
                bundle.description.sticks.is_empty() || self.root.join(&file.path).is_file()
            };
            files.extend(volume_files(&bundle.description).filter(lies_here));
            let (path, size_bytes) = (bundle.description.id.path_of(DESCRIPTION), bundle.description_bytes);
            files.push(CommittedFile { path, size_bytes, sha256: bundle.description_digest });
        }
        Ok(files)
    }

    fn is_unknown(&self, bundle: &Bundle) -> bool {
        let path = bundle.description.id.path_of(DESCRIPTION);
        self.record().is_none_or(|record| record.file(&path).is_none())
    }
}

/// Accepts the mounted folder, or the `LOCALML` folder in it.
fn root_of(folder: &Path) -> PathBuf {
    match folder.file_name().is_some_and(|name| name == ROOT) {
        true => folder.to_owned(),
        false => folder.join(ROOT),
    }
}

/// True when a plain folder is there, false when nothing is.
pub(super) fn is_folder(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_dir() => {
            Err(BundleError::NotPlain { path: path.to_owned(), expected: "folder" })
        }
        _ => Ok(disk::is_plain_dir(path)?),
    }
}

/// Reads a small file whole; `None` when it has more bytes than it may have.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = disk::open_plain(path)?;
    let size_bytes = file.metadata().map_err(|error| io_error(path, error))?.len();
    if size_bytes > MAX_DESCRIPTION_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or_default());
    file.take(size_bytes).read_to_end(&mut bytes).map_err(|error| io_error(path, error))?;
    Ok(Some(bytes))
}

fn is_trust_path(path: &str) -> bool {
    let id = path.strip_prefix("TRUST/").and_then(|name| name.strip_suffix(".TAR"));
    id.is_some_and(|id| id.parse::<BundleId>().is_ok())
}

/// The names in a folder, sorted; none when there is no folder.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>> {
    if !is_folder(folder)? {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).map_err(|error| io_error(folder, error))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .take(10 * MAX_BUNDLES)
        .collect();
    names.sort();
    Ok(names)
}
