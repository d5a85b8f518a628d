//! What an export will write, to the byte, before it writes anything.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk;
use crate::package::PieceList;

use super::clock::rfc3339;
use super::codec;
use super::description::{BlobEntry, Description, Item, KNOWN_FORMAT, PieceEntry, Run, VolumeEntry};
use super::entry::{TRAILER_BYTES, entry_bytes};
use super::error::{BundleError, Result, io_error};
use super::layout::{
    BundleId, DEFAULT_VOLUME_BYTES, DESCRIPTION, MAX_VOLUME_BYTES, MAX_VOLUMES, README, volume_name,
};
use super::readme;
use super::record::{CommitRecord, CommittedFile};
use super::stick::Stick;
use super::trust::{self, TrustFile};

/// A blob that is to be carried.
#[derive(Debug, Clone)]
pub struct OutgoingBlob {
    /// Its digest; the bytes are checked against it while they are copied.
    pub digest: Sha256,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Where it lies on this machine.
    pub path: PathBuf,
    /// Its signed piece list, where there is one.
    pub pieces: Option<PieceList>,
    /// Lower numbers come first; among equals, small blobs.
    pub priority: u32,
    /// True for text, which is then compressed if that helps.
    pub is_text: bool,
}

/// All that one export carries.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// The packages.
    pub items: Vec<Item>,
    /// Their blobs, each once or more often.
    pub blobs: Vec<OutgoingBlob>,
    /// Blobs that the site must already hold.
    pub requires: Vec<Sha256>,
    /// Root chains and signed metadata.
    pub trust: Vec<TrustFile>,
    /// The time to write into the bundle, in seconds since 1970.
    pub created_at: u64,
}

/// How an export is cut.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// The most bytes that one volume may have, at most `MAX_VOLUME_BYTES`.
    pub volume_size_bytes: u64,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { volume_size_bytes: DEFAULT_VOLUME_BYTES }
    }
}

/// What an export will write.
#[derive(Debug)]
pub struct Plan {
    /// The description, its digests still empty where only the copying finds them.
    pub(super) description: Description,
    /// The blobs, as `description.blobs` has them.
    pub(super) sources: Vec<OutgoingBlob>,
    pub(super) trust: Option<(String, Vec<u8>)>,
    pub(super) writes_readme: bool,
    /// True when the record still promises trust files that are damaged; the new record does not.
    drops_trust: bool,
    /// True when the stick already holds this bundle, committed.
    pub(super) is_committed: bool,
    /// The record to commit, likewise with empty digests.
    pub(super) record: CommitRecord,
}

/// A file that an export writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// Where, relative to `LOCALML`.
    pub path: String,
    /// How many bytes.
    pub size_bytes: u64,
}

impl Plan {
    /// Decides what to write to the stick at `folder`, which need not carry anything yet.
    ///
    /// Text is compressed once here, to know its stored length.
    ///
    /// # Errors
    /// `VolumeSize`; `BlobDamaged` when a blob is not there with its length; as `Stick::open`.
    pub fn new(folder: &Path, outgoing: Outgoing, options: &ExportOptions) -> Result<Self> {
        let stick = match Stick::open(folder) {
            Err(BundleError::NotAStick { .. }) => None,
            opened => Some(opened?),
        };
        let Outgoing { items, blobs, requires, trust, created_at } = outgoing;
        let sources = in_order(blobs);
        let blobs = sources.iter().map(outline).collect::<Result<Vec<BlobEntry>>>()?;
        let volumes = pack(&blobs, options.volume_size_bytes)?;
        let trust = if trust.is_empty() { None } else { Some(trust::pack(&trust)?) };
        let mut description = Description {
            format: KNOWN_FORMAT.into(),
            id: BundleId::of(&nothing()),
            created: String::new(),
            items,
            requires,
            trust: None,
            volumes,
            blobs,
        };
        description.id = BundleId::of(&Sha256::of(&without_digests(&description).to_bytes()?));
        description.created = rfc3339(created_at);
        description.trust = trust.as_ref().map(|(path, _)| path.clone());
        Self::for_stick(stick.as_ref(), description, sources, trust)
    }

    fn for_stick(
        stick: Option<&Stick>,
        description: Description,
        sources: Vec<OutgoingBlob>,
        trust: Option<(String, Vec<u8>)>,
    ) -> Result<Self> {
        let old = stick.and_then(Stick::record);
        let id = &description.id;
        let is_committed = old.is_some_and(|record| record.file(&id.path_of(DESCRIPTION)).is_some());
        let mut record = CommitRecord {
            generation: old.map_or(0, |record| record.generation) + 1,
            stick_id: old.map_or_else(new_stick_id, |record| record.stick_id.clone()),
            files: stick.map(Stick::known_files).transpose()?.unwrap_or_default(),
        };
        let damaged_trust: Vec<String> = stick.map(damaged_trust).unwrap_or_default();
        let has_trust = |path: &str, bytes: &[u8]| stick.is_some_and(|stick| holds(stick, path, bytes));
        let trust = trust.filter(|(path, bytes)| !has_trust(path, bytes));
        let drops_trust = record.files.iter().any(|file| damaged_trust.contains(&file.path));
        let is_written_anew = |path: &str| trust.as_ref().is_some_and(|(own, _)| own == path);
        record.files.retain(|file| !damaged_trust.contains(&file.path) && !is_written_anew(&file.path));
        let mut plan = Self {
            writes_readme: stick.is_none_or(|stick| !holds(stick, README, readme::text().as_bytes())),
            drops_trust,
            trust,
            is_committed,
            record,
            description,
            sources,
        };
        if !is_committed {
            plan.list_bundle()?;
        }
        plan.list_small_files();
        Ok(plan)
    }

    /// Has the bundle written again, because what the stick holds of it is damaged.
    pub(super) fn start_over(&mut self, generation: u64) -> Result<()> {
        self.is_committed = false;
        self.record.generation = generation;
        self.list_bundle()
    }

    /// The bundle's id.
    pub fn id(&self) -> &BundleId {
        &self.description.id
    }

    /// True when the stick already holds exactly this, and nothing needs to be written.
    pub fn is_already_there(&self) -> bool {
        self.is_committed && self.trust.is_none() && !self.writes_readme && !self.drops_trust
    }

    /// Every file that will be written; none when all is already there, and no volume when the bundle is.
    ///
    /// # Errors
    /// `TooMany` when there is more than any reader accepts.
    pub fn files(&self) -> Result<Vec<PlannedFile>> {
        if self.is_already_there() {
            return Ok(Vec::new());
        }
        let file = |path: String, size_bytes: u64| PlannedFile { path, size_bytes };
        let mut files: Vec<PlannedFile> = Vec::new();
        if !self.is_committed {
            let volumes = self.description.volumes.iter();
            files.extend(volumes.map(|volume| file(self.id().path_of(&volume.name), volume.size_bytes)));
            files.push(file(self.id().path_of(DESCRIPTION), self.description.to_bytes()?.len() as u64));
        }
        if let Some((path, bytes)) = &self.trust {
            files.push(file(path.clone(), bytes.len() as u64));
        }
        if self.writes_readme {
            files.push(file(README.into(), readme::text().len() as u64));
        }
        files.push(file("STICK".into(), self.record.size_bytes()));
        Ok(files)
    }

    /// How many bytes will be written.
    ///
    /// # Errors
    /// As `files`.
    pub fn total_bytes(&self) -> Result<u64> {
        Ok(self.files()?.iter().map(|file| file.size_bytes).sum())
    }

    /// Puts the files of this bundle into the record.
    fn list_bundle(&mut self) -> Result<()> {
        let own_folder = self.description.id.path_of("");
        self.record.files.retain(|file| !file.path.starts_with(&own_folder));
        for volume in &self.description.volumes {
            let (path, size_bytes) = (self.description.id.path_of(&volume.name), volume.size_bytes);
            self.record.files.push(CommittedFile { path, size_bytes, sha256: volume.sha256 });
        }
        let bytes = self.description.to_bytes()?;
        self.record.files.push(committed(self.description.id.path_of(DESCRIPTION), &bytes));
        Ok(())
    }

    /// Puts the other files that are written into the record.
    fn list_small_files(&mut self) {
        self.record.files.retain(|file| file.path != README);
        if let Some((path, bytes)) = &self.trust {
            self.record.files.push(committed(path.clone(), bytes));
        }
        self.record.files.push(committed(README.into(), readme::text().as_bytes()));
    }
}

fn committed(path: String, bytes: &[u8]) -> CommittedFile {
    CommittedFile { path, size_bytes: bytes.len() as u64, sha256: Sha256::of(bytes) }
}

/// A digest that stands for one not known yet.
pub(super) fn nothing() -> Sha256 {
    Sha256::from_bytes([0; 32])
}

/// Each blob once, the essential and small ones first.
fn in_order(blobs: Vec<OutgoingBlob>) -> Vec<OutgoingBlob> {
    let mut once: HashMap<Sha256, OutgoingBlob> = HashMap::new();
    for blob in blobs {
        let known = once.entry(blob.digest).or_insert_with(|| blob.clone());
        known.priority = known.priority.min(blob.priority);
    }
    let mut blobs: Vec<OutgoingBlob> = once.into_values().collect();
    blobs.sort_by_key(|blob| (blob.priority, blob.size_bytes, blob.digest));
    blobs
}

/// A blob's entry with what is known before its bytes are read.
fn outline(blob: &OutgoingBlob) -> Result<BlobEntry> {
    let damaged =
        |reason: String| BundleError::BlobDamaged { digest: blob.digest, path: blob.path.clone(), reason };
    let file = File::open(&blob.path).map_err(|error| damaged(error.to_string()))?;
    let found_bytes = file.metadata().map_err(|error| io_error(&blob.path, error))?.len();
    if found_bytes != blob.size_bytes {
        return Err(damaged(format!("it has {found_bytes} bytes and should have {}", blob.size_bytes)));
    }
    let mut pieces: Vec<PieceEntry> = match &blob.pieces {
        Some(list) if list.size_bytes() == blob.size_bytes => {
            let entry = |piece: &crate::package::Piece| PieceEntry {
                length: piece.length,
                stored: None,
                sha256: piece.sha256,
            };
            list.pieces().iter().map(entry).collect()
        }
        _ => {
            let grid = PieceList::grid(blob.size_bytes, &[]);
            let entry = |(_, length)| PieceEntry { length, stored: None, sha256: nothing() };
            grid.into_iter().map(entry).collect()
        }
    };
    if blob.is_text {
        let stored = stored_lengths(&file, &pieces).map_err(|error| io_error(&blob.path, error))?;
        for (piece, stored) in pieces.iter_mut().zip(stored) {
            piece.stored = Some(stored);
        }
    }
    Ok(BlobEntry { sha256: blob.digest, size_bytes: blob.size_bytes, pieces })
}

/// The compressed length of every piece, or nothing when that saves less than a tenth.
///
/// All pieces or none, so that `cat … | zstd -dc` rebuilds the file.
fn stored_lengths(file: &File, pieces: &[PieceEntry]) -> std::io::Result<Vec<u64>> {
    let (mut offset, mut stored_total) = (0, 0);
    let mut lengths = Vec::with_capacity(pieces.len());
    let mut plain = Vec::new();
    for piece in pieces {
        plain.resize(usize::try_from(piece.length).unwrap_or_default(), 0);
        file.read_exact_at(&mut plain, offset)?;
        let stored = codec::compress(&plain)?.len() as u64;
        offset += piece.length;
        stored_total += stored;
        lengths.push(stored);
        // The first piece tells enough to spare the others.
        let saves = stored_total.saturating_mul(10) <= offset.saturating_mul(9);
        if !saves || stored > piece.length {
            return Ok(Vec::new());
        }
    }
    Ok(lengths)
}

/// Deals the pieces to volumes, in order, none longer than the limit.
fn pack(blobs: &[BlobEntry], limit_bytes: u64) -> Result<Vec<VolumeEntry>> {
    let longest = blobs.iter().flat_map(|blob| &blob.pieces).map(PieceEntry::stored_bytes).max();
    let least_bytes = entry_bytes(longest.unwrap_or(0)) + TRAILER_BYTES;
    if limit_bytes < least_bytes || limit_bytes > MAX_VOLUME_BYTES {
        let (asked_bytes, most_bytes) = (limit_bytes, MAX_VOLUME_BYTES);
        return Err(BundleError::VolumeSize { asked_bytes, least_bytes, most_bytes });
    }
    let mut volumes: Vec<VolumeEntry> = Vec::new();
    for (blob, entry) in blobs.iter().enumerate() {
        for (piece, stored) in entry.pieces.iter().map(PieceEntry::stored_bytes).enumerate() {
            let added = entry_bytes(stored);
            let is_full = volumes.last().is_none_or(|volume| volume.size_bytes + added > limit_bytes);
            if is_full {
                volumes.push(empty_volume(volumes.len() + 1));
            }
            if let Some(volume) = volumes.last_mut() {
                volume.size_bytes += added;
                append(&mut volume.holds, blob, piece);
            }
        }
    }
    match volumes.len() > MAX_VOLUMES {
        true => Err(BundleError::TooMany { what: "the volumes", limit: MAX_VOLUMES as u64 }),
        false => Ok(volumes),
    }
}

fn empty_volume(number: usize) -> VolumeEntry {
    let name = volume_name(number);
    VolumeEntry { name, size_bytes: TRAILER_BYTES, sha256: nothing(), holds: Vec::new() }
}

fn append(holds: &mut Vec<Run>, blob: usize, piece: usize) {
    match holds.last_mut() {
        Some(run) if run.blob == blob && run.first + run.count == piece => run.count += 1,
        _ => holds.push(Run { blob, first: piece, count: 1 }),
    }
}

/// The description with nothing in it that only the copying finds: it names the bundle.
fn without_digests(description: &Description) -> Description {
    let mut description = description.clone();
    for piece in description.blobs.iter_mut().flat_map(|blob| &mut blob.pieces) {
        piece.sha256 = nothing();
    }
    description
}

/// True when the stick promises these bytes in this file, and still has them.
fn holds(stick: &Stick, path: &str, bytes: &[u8]) -> bool {
    let digest = Sha256::of(bytes);
    let is_promised = stick.record().and_then(|record| record.file(path));
    is_promised.is_some_and(|file| file.sha256 == digest) && lying_digest(stick, path) == Some(digest)
}

/// The digest of a file as the medium has it; `None` when it cannot be read.
fn lying_digest(stick: &Stick, path: &str) -> Option<Sha256> {
    let mut file = disk::open_plain(&stick.root().join(path)).ok()?;
    disk::drop_cached_pages(&file);
    Sha256::of_reader(&mut file).ok().map(|(digest, _)| digest)
}

/// The promised trust files that are damaged: nobody can use them, and every import ends at them.
fn damaged_trust(stick: &Stick) -> Vec<String> {
    let mut paths = stick.trust_paths();
    paths.retain(|path| !stick.may_be_torn(path) && stick.open_trust(path).is_err());
    paths
}

fn new_stick_id() -> String {
    let mut bytes = [0; 4];
    // Without randomness every stick is called the same, which only a person would notice.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn blob(seed: u64, lengths: Vec<u64>) -> BlobEntry {
        let piece = |length| PieceEntry { length, stored: None, sha256: nothing() };
        BlobEntry {
            sha256: Sha256::of(&seed.to_le_bytes()),
            size_bytes: lengths.iter().sum(),
            pieces: lengths.into_iter().map(piece).collect(),
        }
    }

    fn blobs() -> impl Strategy<Value = Vec<BlobEntry>> {
        let lengths = proptest::collection::vec(1..4000u64, 0..20);
        proptest::collection::vec((any::<u64>(), lengths), 0..12)
            .prop_map(|blobs| blobs.into_iter().map(|(seed, lengths)| blob(seed, lengths)).collect())
    }

    proptest! {
        #[test]
        fn no_volume_is_longer_than_the_limit_and_no_piece_is_lost(blobs in blobs(), spare in 0..9000u64) {
            // 4000 bytes take 512 + 4096; the end takes 1024.
            let limit_bytes = 512 + 4096 + 1024 + spare;
            let volumes = pack(&blobs, limit_bytes).unwrap();
            let mut dealt = Vec::new();
            for volume in &volumes {
                prop_assert!(volume.size_bytes <= limit_bytes);
                prop_assert!(!volume.holds.is_empty());
                for run in &volume.holds {
                    dealt.extend((run.first..run.first + run.count).map(|piece| (run.blob, piece)));
                }
            }
            let all: Vec<(usize, usize)> = blobs
                .iter()
                .enumerate()
                .flat_map(|(index, blob)| (0..blob.pieces.len()).map(move |piece| (index, piece)))
                .collect();
            prop_assert_eq!(dealt, all);
        }
    }

    #[test]
    fn a_volume_that_cannot_hold_a_piece_or_that_fat_cannot_hold_is_refused() {
        let blobs = [blob(1, vec![1000])];
        // 1000 bytes take 512 + 1024; the end takes 1024.
        assert!(pack(&blobs, 2560).is_ok());
        for asked in [0, 2559, MAX_VOLUME_BYTES + 1] {
            let error = pack(&blobs, asked).expect_err("impossible");
            assert!(matches!(error, BundleError::VolumeSize { least_bytes: 2560, .. }), "{error}");
        }
    }
}
