//! Writing a bundle to a stick: volumes, then what describes them, then the commit record, last.
//!
//! Whatever happens before the commit leaves the stick with what it held: the new bundle's folder is
//! not in the record. Running the same export again continues in that folder.

use std::path::Path;

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk::{self, Lock, StagingFile};
use crate::progress::{Monitor, Task, Unit};

use super::description::{Description, VolumeEntry};
use super::draft::all_volumes;
use super::error::{BundleError, Result};
use super::id::BundleId;
use super::layout::{BUNDLES, CLUSTER_BYTES, DESCRIPTION, README, ROOT, TRUST};
use super::outgoing::nothing;
use super::parity::{Encoding, ParityTarget, encode};
use super::plan::{Plan, PlannedFile};
use super::readback;
use super::readme;
use super::record::{self, CommitRecord, CommittedFile};
use super::stick::{Stick, is_folder};
use super::volume::{Copier, Sink, Target};

/// What an export did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Written {
    /// The bundle.
    pub bundle: BundleId,
    /// False when the stick already held it, whole, and nothing was written.
    pub is_new: bool,
    /// How many bytes were written, and read back.
    pub bytes_written: u64,
    /// The stick's generation now.
    pub generation: u64,
    /// What the bundle holds, with every digest; other sticks of its set are written from it.
    #[serde(skip)]
    pub description: Box<Description>,
}

/// Writes a planned bundle to the stick at `folder`. When it returns `Ok`, the stick is safe to remove.
///
/// # Errors
/// `NoRoom` before the first byte; `BlobDamaged` naming a blob that is not what its name says (the new
/// bundle's folder is then removed); `ReadBack` when the stick does not hold what was written;
/// `Cancelled`, or when the disk fails: run it again to continue.
pub fn write(folder: &Path, mut plan: Plan, monitor: &dyn Monitor) -> Result<Written> {
    let _lock = Lock::acquire_dir(Stick::create(folder)?.root())?;
    let mut stick = Stick::open(folder)?;
    if stick.record().map_or(0, |record| record.generation) + 1 != plan.record.generation {
        plan = plan.renewed(&stick)?;
    }
    if plan.is_committed && !is_still_whole(&stick, &plan, monitor)? {
        monitor.warn(&format!("bundle {} on the stick is damaged; it is written again", plan.id()));
        stick = withdraw(folder, &stick, &mut plan)?;
    }
    if plan.is_already_there() {
        return Ok(already_there(&stick, plan));
    }
    remove_leftovers(&stick, plan.id())?;
    check_room(&stick, &plan)?;
    let bytes_written = plan.total_bytes()?;
    if !plan.is_committed {
        let is_promised = promises(&stick, plan.id());
        if is_promised {
            // Another share of the same bundle: its files are written over, so the record must let them go.
            stick = withdraw(folder, &stick, &mut plan)?;
        }
        let written = write_checked_volumes(&stick, &mut plan, monitor);
        if matches!(written, Err(BundleError::BlobDamaged { .. })) && !is_promised {
            disk::remove_dir_all(&stick.root().join(BUNDLES).join(plan.id().as_str()))?;
        }
        written?;
    }
    write_small_files(&stick, &plan)?;
    if !plan.is_committed {
        // Last, for it is what makes a bundle of the volumes: by then whoever finds it can judge it.
        write_description(&stick, &mut plan)?;
    }
    record::commit(stick.root(), stick.slots(), &plan.record)?;
    remove_torn_trust(&Stick::open(folder)?)?;
    let (bundle, generation) = (plan.id().clone(), plan.record.generation);
    Ok(Written { bundle, is_new: true, bytes_written, generation, description: Box::new(plan.description) })
}

/// Writes the volumes that go to this stick, and reads them back.
fn write_checked_volumes(stick: &Stick, plan: &mut Plan, monitor: &dyn Monitor) -> Result<()> {
    // A blob that is damaged here is found before the long writing.
    hash_the_others(plan, monitor)?;
    write_volumes(stick, plan, monitor)?;
    read_back(stick, plan, monitor)
}

/// True when the record lists files of this bundle.
fn promises(stick: &Stick, id: &BundleId) -> bool {
    let prefix = id.path_of("");
    stick.record().is_some_and(|record| record.files.iter().any(|file| file.path.starts_with(&prefix)))
}

fn already_there(stick: &Stick, plan: Plan) -> Written {
    let generation = stick.record().map_or(0, |record| record.generation);
    let (bundle, description) = (plan.id().clone(), Box::new(plan.description));
    Written { bundle, is_new: false, bytes_written: 0, generation, description }
}

/// Reads a committed bundle's files from the medium.
fn is_still_whole(stick: &Stick, plan: &Plan, monitor: &dyn Monitor) -> Result<bool> {
    let folder = plan.id().path_of("");
    let files: Vec<&CommittedFile> = stick
        .record()
        .into_iter()
        .flat_map(|record| &record.files)
        .filter(|file| file.path.starts_with(&folder))
        .collect();
    let total_bytes = files.iter().map(|file| file.size_bytes).sum();
    let task = monitor.start("reading the stick", Some(total_bytes), Unit::Bytes);
    for file in files {
        if !readback::is_whole(stick.root(), file, monitor, &*task)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes a damaged bundle out of the record before its files are touched.
fn withdraw(folder: &Path, stick: &Stick, plan: &mut Plan) -> Result<Stick> {
    let own_folder = plan.id().path_of("");
    let mut record = stick.record().cloned().unwrap_or_default();
    record.generation += 1;
    record.files.retain(|file| !file.path.starts_with(&own_folder));
    record::commit(stick.root(), stick.slots(), &record)?;
    plan.start_over(record.generation + 1)?;
    Stick::open(folder)
}

/// Removes what exports that never came to their end left behind, except for the one that goes on now.
fn remove_leftovers(stick: &Stick, own: &BundleId) -> Result<()> {
    for id in stick.bundle_ids()? {
        let is_known = promises(stick, &id);
        // Without a record nobody can tell a leftover from a bundle.
        let may_remove = id != *own && !is_known && stick.record().is_some();
        // Its description is absent, empty or torn; a whole one may be a copy by hand.
        if may_remove && matches!(stick.read_bundle(&id), Ok(None) | Err(BundleError::Damaged { .. })) {
            disk::remove_dir_all(&stick.root().join(BUNDLES).join(id.as_str()))?;
        }
    }
    Ok(())
}

/// Removes trust files that no record promises and that are not what their name says.
fn remove_torn_trust(stick: &Stick) -> Result<()> {
    for path in stick.trust_paths() {
        let full_path = stick.root().join(&path);
        let is_plain = full_path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if is_plain && stick.may_be_torn(&path) && stick.open_trust(&path).is_err() {
            disk::remove_file(&full_path)?;
        }
    }
    Ok(())
}

/// Compares what will be written with the free space, before the first byte.
fn check_room(stick: &Stick, plan: &Plan) -> Result<()> {
    check_free(stick, &plan.files()?, 0)
}

/// As `check_room`, for any files and so many bytes more.
pub(super) fn check_free(stick: &Stick, files: &[PlannedFile], more_bytes: u64) -> Result<()> {
    let lying_bytes = |path: &str| stick.root().join(path).metadata().map_or(0, |metadata| metadata.len());
    let needed_bytes: u64 = files
        .iter()
        .map(|file| (file.size_bytes + CLUSTER_BYTES).saturating_sub(lying_bytes(&file.path)))
        .sum::<u64>()
        .saturating_add(more_bytes);
    let free_bytes = disk::free_bytes(stick.root())?;
    if needed_bytes <= free_bytes {
        return Ok(());
    }
    let folder = stick.root().to_owned();
    Err(BundleError::NoRoom { folder, needed_bytes, free_bytes })
}

fn write_volumes(stick: &Stick, plan: &mut Plan, monitor: &dyn Monitor) -> Result<()> {
    let folder = make_folder(stick.root(), &[BUNDLES, plan.id().as_str()])?;
    remove_other_shares(&folder, plan)?;
    let num_bytes = share_bytes(plan);
    let task = monitor.start("writing to the stick", Some(num_bytes), Unit::Bytes);
    let mut copier = Copier::new(monitor, &*task);
    for index in 0..plan.description.volumes.len() {
        let volume = plan.description.volumes[index].clone();
        if plan.takes(&volume.name) {
            let target = Target::Stick(Sink::new(open_plain_for_writing(&folder.join(&volume.name))?)?);
            copier.write_volume(target, &volume, &mut plan.description.blobs, &plan.sources)?;
        }
    }
    check_empty_blobs(plan)?;
    write_parity(&folder, plan, (monitor, &*task))?;
    Ok(disk::sync_dir(&folder)?)
}

/// Removes volumes of the same bundle that this stick is not to have: it was copied from another one.
fn remove_other_shares(folder: &Path, plan: &Plan) -> Result<()> {
    for (name, _) in all_volumes(&plan.description).filter(|(name, _)| !plan.takes(name)) {
        let path = folder.join(name);
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            disk::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The bytes of the volumes that this stick takes.
fn share_bytes(plan: &Plan) -> u64 {
    all_volumes(&plan.description)
        .filter(|(name, _)| plan.takes(name))
        .map(|(_, size_bytes)| size_bytes)
        .sum()
}

/// Writes the parity volumes of this stick, and finds out the digests of those of other sticks.
fn write_parity(folder: &Path, plan: &mut Plan, (monitor, task): (&dyn Monitor, &dyn Task)) -> Result<()> {
    let Some(mut parity) = plan.description.parity.clone() else { return Ok(()) };
    let mut targets = Vec::new();
    for (number, volume) in parity.volumes.iter().enumerate() {
        if plan.takes(&volume.name) {
            let sink = Sink::new(open_plain_for_writing(&folder.join(&volume.name))?)?;
            targets.push(ParityTarget::new(number, Target::Stick(sink)));
        } else if volume.sha256 == nothing() {
            targets.push(ParityTarget::new(number, Target::nowhere()));
        }
    }
    if targets.is_empty() {
        return Ok(());
    }
    let encoding = Encoding { description: &plan.description, sources: &plan.sources, monitor, task };
    for encoded in encode(&encoding, &parity, targets)? {
        let volume = &mut parity.volumes[encoded.volume];
        volume.pieces = encoded.pieces;
        volume.sha256 = encoded.sha256.unwrap_or(volume.sha256);
    }
    plan.description.parity = Some(parity);
    Ok(())
}

/// A blob of no bytes has no piece, so the copying never looks at it.
fn check_empty_blobs(plan: &Plan) -> Result<()> {
    let is_wrong = |digest: &Sha256, size_bytes: u64| size_bytes == 0 && *digest != Sha256::of(b"");
    match plan.sources.iter().find(|blob| is_wrong(&blob.digest, blob.size_bytes)) {
        None => Ok(()),
        Some(blob) => {
            let (digest, path) = (blob.digest, blob.path.clone());
            Err(BundleError::BlobDamaged { digest, path, reason: "it is empty".into() })
        }
    }
}

/// Reads every volume of this stick from the medium, compares every byte, and notes what each hashes to.
fn read_back(stick: &Stick, plan: &mut Plan, monitor: &dyn Monitor) -> Result<()> {
    let task = monitor.start("reading back", Some(share_bytes(plan)), Unit::Bytes);
    let root = stick.root();
    for index in 0..plan.description.volumes.len() {
        let volume = &plan.description.volumes[index];
        if plan.takes(&volume.name) {
            let sha256 = readback::check_volume(root, &plan.description, volume, monitor, &*task)?;
            set_digest(&mut plan.record, &plan.description.id.path_of(&volume.name), sha256);
            plan.description.volumes[index].sha256 = sha256;
        }
    }
    let Some(mut parity) = plan.description.parity.take() else { return Ok(()) };
    for index in 0..parity.volumes.len() {
        if plan.takes(&parity.volumes[index].name) {
            let place = (&parity, index);
            let sha256 = readback::check_parity(root, &plan.description, place, monitor, &*task)?;
            set_digest(&mut plan.record, &plan.description.id.path_of(&parity.volumes[index].name), sha256);
            parity.volumes[index].sha256 = sha256;
        }
    }
    plan.description.parity = Some(parity);
    Ok(())
}

/// Finds out the digests of the volumes that go to other sticks, so that every stick names them all.
fn hash_the_others(plan: &mut Plan, monitor: &dyn Monitor) -> Result<()> {
    let is_unknown = |volume: &VolumeEntry| volume.sha256 == nothing() && !plan.takes(&volume.name);
    let num_bytes =
        plan.description.volumes.iter().filter(|volume| is_unknown(volume)).map(|volume| volume.size_bytes);
    let task = monitor.start("hashing what goes to other sticks", Some(num_bytes.sum()), Unit::Bytes);
    let mut copier = Copier::new(monitor, &*task);
    for index in 0..plan.description.volumes.len() {
        let volume = plan.description.volumes[index].clone();
        if volume.sha256 == nothing() && !plan.takes(&volume.name) {
            let target = Target::nowhere();
            let sha256 = copier.write_volume(target, &volume, &mut plan.description.blobs, &plan.sources)?;
            plan.description.volumes[index].sha256 = sha256.unwrap_or(volume.sha256);
        }
    }
    Ok(())
}

fn write_description(stick: &Stick, plan: &mut Plan) -> Result<()> {
    let bytes = plan.description.to_bytes()?;
    let path = plan.id().path_of(DESCRIPTION);
    set_digest(&mut plan.record, &path, Sha256::of(&bytes));
    write_small(stick.root(), &path, &bytes)
}

fn write_small_files(stick: &Stick, plan: &Plan) -> Result<()> {
    let root = stick.root();
    if let Some((path, bytes)) = &plan.trust {
        make_folder(root, &[TRUST])?;
        write_small(root, path, bytes)?;
    }
    if plan.writes_readme {
        write_small(root, README, readme::text().as_bytes())?;
    }
    Ok(disk::sync_dir(root)?)
}

/// Writes a small file, brings it to the medium and reads it back.
pub(super) fn write_small(root: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let full_path = root.join(path);
    let mut sink = Sink::new(open_plain_for_writing(&full_path)?)?;
    sink.put(bytes)?;
    sink.finish()?;
    if let Some(folder) = full_path.parent() {
        disk::sync_dir(folder)?;
    }
    let mut file = disk::open_plain(&full_path)?;
    disk::drop_cached_pages(&file);
    match Sha256::of_reader(&mut file) {
        Ok((digest, _)) if digest == Sha256::of(bytes) => Ok(()),
        _ => Err(BundleError::ReadBack { file: path.to_owned() }),
    }
}

fn set_digest(record: &mut CommitRecord, path: &str, sha256: Sha256) {
    if let Some(file) = record.files.iter_mut().find(|file| file.path == path) {
        file.sha256 = sha256;
    }
}

/// Makes folders inside `LOCALML`, each of them plain, and makes their names durable.
pub(super) fn make_folder(root: &Path, names: &[&str]) -> Result<std::path::PathBuf> {
    debug_assert!(root.ends_with(ROOT));
    let mut folder = root.to_owned();
    for name in names {
        let parent = folder.clone();
        folder.push(name);
        if !is_folder(&folder)? {
            disk::create_dir_all(&folder)?;
            disk::sync_dir(&parent)?;
        }
    }
    Ok(folder)
}

/// Opens a file to write, but never through a link that someone put on the stick.
pub(super) fn open_plain_for_writing(path: &Path) -> Result<StagingFile> {
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_file() => {
            Err(BundleError::NotPlain { path: path.to_owned(), expected: "file" })
        }
        _ => Ok(StagingFile::open(path)?),
    }
}
