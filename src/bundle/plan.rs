//! What an export will write, to the byte, before it writes anything.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk;

use super::description::Description;
use super::draft::{Draft, all_volumes, shape, volume_files};
use super::error::Result;
use super::id::BundleId;
use super::layout::{DEFAULT_VOLUME_BYTES, DESCRIPTION, README};
use super::outgoing::{Outgoing, OutgoingBlob};
use super::readme;
use super::record::{CommitRecord, CommittedFile};
use super::stick::Stick;

/// How an export is cut.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// The most bytes that one volume may have, at most `MAX_VOLUME_BYTES`.
    pub volume_size_bytes: u64,
    /// How many parity volumes for a hundred volumes, rounded up; 0 for none.
    pub parity_percent: u32,
    /// True when a set over several sticks begins anew, whatever is known of earlier sticks.
    pub begins_anew: bool,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { volume_size_bytes: DEFAULT_VOLUME_BYTES, parity_percent: 0, begins_anew: false }
    }
}

/// What an export will write.
#[derive(Debug)]
pub struct Plan {
    /// The description, its digests still empty where only the copying finds them.
    pub(super) description: Description,
    /// The blobs, as `description.blobs` has them.
    pub(super) sources: Vec<OutgoingBlob>,
    /// The names of the volumes, data and parity, that go to this stick.
    pub(super) share: Vec<String>,
    pub(super) trust: Option<(String, Vec<u8>)>,
    pub(super) writes_readme: bool,
    /// True when the record still promises trust files that are damaged; the new record does not.
    drops_trust: bool,
    /// True when the stick already holds its share of this bundle, committed.
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
        let stick = Stick::open_if_any(folder)?;
        let draft = Draft::new(outgoing, options, false)?;
        let share = all_volumes(&draft.description).map(|(name, _)| name.to_owned()).collect();
        let stick_id = stick_id(stick.as_ref());
        Self::for_stick(stick.as_ref(), stick_id, draft, share)
    }

    /// Decides the same for one of several sticks, which takes only its share of the volumes.
    pub(super) fn for_stick(
        stick: Option<&Stick>,
        stick_id: String,
        draft: Draft,
        share: Vec<String>,
    ) -> Result<Self> {
        let Draft { description, sources, trust } = draft;
        let old = stick.and_then(Stick::record);
        let id = &description.id;
        let has = |name: &str| old.is_some_and(|record| record.file(&id.path_of(name)).is_some());
        let is_other = stick.is_some_and(|stick| holds_another(stick, &description));
        let is_committed = has(DESCRIPTION) && share.iter().all(|name| has(name)) && !is_other;
        let mut record = CommitRecord {
            generation: old.map_or(0, |record| record.generation) + 1,
            stick_id,
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
            share,
        };
        if !is_committed {
            plan.list_bundle()?;
        }
        plan.list_small_files();
        Ok(plan)
    }

    /// Decides anew what to write, because the stick was written to since.
    pub(super) fn renewed(self, stick: &Stick) -> Result<Self> {
        let Self { description, sources, share, trust, record, .. } = self;
        Self::for_stick(Some(stick), record.stick_id, Draft { description, sources, trust }, share)
    }

    /// Takes over what the writing to an earlier stick of the set found out, and that it was done.
    ///
    /// # Errors
    /// `TooMany` when the description becomes larger than any reader accepts.
    pub fn learn_from(&mut self, earlier: &Description) -> Result<()> {
        let own = std::mem::take(&mut self.description.sticks);
        self.description = earlier.clone();
        for share in own {
            if self.description.sticks.iter().all(|known| known.stick != share.stick) {
                self.description.sticks.push(share);
            }
        }
        if self.is_committed { Ok(()) } else { self.list_bundle() }
    }

    /// What the bundle holds, as far as it is known now.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The names of the volumes that go to this stick.
    pub fn share(&self) -> &[String] {
        &self.share
    }

    /// True when this volume goes to this stick.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.share.iter().any(|own| own == name)
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
            let volumes = all_volumes(&self.description).filter(|(name, _)| self.takes(name));
            files.extend(volumes.map(|(name, size_bytes)| file(self.id().path_of(name), size_bytes)));
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
        let own: HashSet<String> = self.share.iter().map(|name| self.description.id.path_of(name)).collect();
        self.record.files.extend(volume_files(&self.description).filter(|file| own.contains(&file.path)));
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

/// True when another bundle lies on the stick under the name of this one.
fn holds_another(stick: &Stick, description: &Description) -> bool {
    let bundle = stick.read_bundle(&description.id).ok().flatten();
    bundle.is_some_and(|bundle| shape(&bundle.description) != shape(description))
}

/// True when the stick promises these bytes in this file, and still has them.
fn holds(stick: &Stick, path: &str, bytes: &[u8]) -> bool {
    let digest = Sha256::of(bytes);
    let is_promised = stick.record().and_then(|record| record.file(path));
    let is_promised = is_promised.is_some_and(|file| file.sha256 == digest);
    is_promised && lying_digest(stick, path, bytes.len() as u64) == Some(digest)
}

/// The digest of a file as the medium has it; `None` when it cannot be read or is of another length.
fn lying_digest(stick: &Stick, path: &str, size_bytes: u64) -> Option<Sha256> {
    let mut file = disk::open_plain(&stick.root().join(path)).ok()?;
    if file.metadata().ok()?.len() != size_bytes {
        return None;
    }
    disk::drop_cached_pages(&file);
    Sha256::of_reader(&mut file).ok().map(|(digest, _)| digest)
}

/// The promised trust files that are damaged: nobody can use them, and every import ends at them.
fn damaged_trust(stick: &Stick) -> Vec<String> {
    let mut paths = stick.trust_paths();
    paths.retain(|path| !stick.may_be_torn(path) && stick.open_trust(path).is_err());
    paths
}

/// The name of a stick; a new one when it has none.
pub(super) fn stick_id(stick: Option<&Stick>) -> String {
    stick.and_then(Stick::record).map_or_else(new_stick_id, |record| record.stick_id.clone())
}

pub(super) fn new_stick_id() -> String {
    let mut bytes = [0; 4];
    // Without randomness every stick is called the same, which only a person would notice.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}
