//! Reading bundles: only blobs that the caller authorises, only bytes that hash to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk::{self, Staged};
use crate::package::PieceList;
use crate::progress::{Monitor, Task, Unit};

use super::authorised::Authorised;
use super::description::{BlobEntry, Run, VolumeEntry};
use super::error::{BundleError, Result};
use super::half;
use super::id::BundleId;
use super::parity::{self, Missing, Recovery};
use super::part::Part;
use super::pump::{self, Message, Need};
use super::remark::{Remark, Remarks};
use super::stick::{Bundle, Bundles};

/// Free space that is left alone, in bytes.
const SLACK_BYTES: u64 = 16 * 1024 * 1024;

/// The most causes that are told of one blob.
const MAX_CAUSES: usize = 10;

/// A blob that is on the stick, but not all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// The blob.
    pub digest: Sha256,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// How many of its pieces are still missing; those that came are kept.
    pub num_missing_pieces: usize,
    /// The bytes of these pieces together.
    pub missing_bytes: u64,
    /// Why, and in which file of the stick.
    pub causes: Vec<Remark>,
}

/// The place where blobs come in.
pub struct Site<'a> {
    /// The folder for what is under way.
    pub staging: &'a Path,
    /// Where a whole blob lies that is here already, by digest and size; parity is completed with it.
    pub held: &'a dyn Fn(&Sha256, u64) -> Option<PathBuf>,
}

/// What came in.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Intake {
    /// The blobs that were handed over whole.
    pub received: Vec<Sha256>,
    /// Those that the stick has, but not whole.
    pub incomplete: Vec<Incomplete>,
    /// The signed piece lists of what was handed over, worth keeping.
    #[serde(skip)]
    pub piece_lists: Vec<PieceList>,
    /// Blobs on the stick that nobody authorised; they were not read.
    pub num_ignored_blobs: usize,
    /// How many pieces were lost or damaged, and made good from parity.
    pub num_recovered_pieces: usize,
    /// What else is wrong with the stick.
    pub remarks: Vec<Remark>,
}

/// Reads every authorised blob that the stick has into `staging`, and hands each over when it is whole.
///
/// What an earlier, interrupted run left in `staging` is hashed again and used. At most about 40 MiB of
/// memory, whatever the blobs' size.
///
/// # Errors
/// `NoRoom` before the first byte; `Cancelled`; whatever `deliver` returns; `Damaged` or `NewerFormat`
/// when no bundle on the stick can be read. A damaged volume is no error: see `Intake::incomplete`.
pub fn receive<E: From<BundleError>>(
    mut found: Bundles,
    authorised: &Authorised,
    site: &Site<'_>,
    deliver: &mut dyn FnMut(Staged) -> std::result::Result<(), E>,
    monitor: &dyn Monitor,
) -> std::result::Result<Intake, E> {
    if found.bundles.is_empty()
        && let Some(error) = found.refused.pop()
    {
        return Err(error.into());
    }
    let mut remarks = Remarks::default();
    found.remarks.iter().for_each(|remark| remarks.add(&remark.file, remark.text.clone()));
    found.refused.iter().for_each(|error| remarks.add(".", error.to_string()));
    let wanted = wanted_blobs(&found.bundles, authorised);
    let total_bytes = wanted.values().sum();
    check_room(site.staging, &wanted)?;
    let task = monitor.start("reading the stick", Some(total_bytes), Unit::Bytes);
    let mut reception = Reception {
        authorised,
        site,
        monitor,
        task: &*task,
        all_wanted: wanted,
        num_recovered_pieces: 0,
        remarks,
        received: BTreeSet::new(),
        incomplete: BTreeMap::new(),
        ignored: BTreeSet::new(),
        piece_lists: Vec::new(),
    };
    for bundle in &found.bundles {
        reception.take_bundle(bundle, deliver)?;
    }
    let complete = found.bundles.iter().filter(|bundle| reception.is_complete(bundle));
    let complete: Vec<&BundleId> = complete.map(|bundle| &bundle.description.id).collect();
    parity::forget(&complete, site.staging);
    Ok(reception.finish())
}

/// All authorised blobs on the stick, with their sizes.
fn wanted_blobs(bundles: &[Bundle], authorised: &Authorised) -> BTreeMap<Sha256, u64> {
    let blobs = bundles.iter().flat_map(|bundle| &bundle.description.blobs);
    blobs
        .filter(|blob| authorised.size_bytes(&blob.sha256) == Some(blob.size_bytes))
        .map(|blob| (blob.sha256, blob.size_bytes))
        .collect()
}

fn check_room(staging: &Path, wanted: &BTreeMap<Sha256, u64>) -> Result<()> {
    let needed_bytes = still_needed_bytes(staging, wanted.iter());
    let free_bytes = disk::free_bytes(staging)?;
    if needed_bytes == 0 || needed_bytes + SLACK_BYTES <= free_bytes {
        return Ok(());
    }
    Err(BundleError::NoRoom {
        folder: staging.to_owned(),
        needed_bytes: needed_bytes + SLACK_BYTES,
        free_bytes,
    })
}

/// How much room blobs will still take in staging.
fn still_needed_bytes<'a>(staging: &Path, blobs: impl Iterator<Item = (&'a Sha256, &'a u64)>) -> u64 {
    let still_needed = |(digest, size_bytes): (&Sha256, &u64)| {
        let part = staging.join(format!("{digest}.part"));
        size_bytes.saturating_sub(disk::allocated_bytes(&part))
    };
    blobs.map(still_needed).sum()
}

/// One reading of a stick.
struct Reception<'a> {
    authorised: &'a Authorised,
    site: &'a Site<'a>,
    monitor: &'a dyn Monitor,
    task: &'a dyn Task,
    /// All authorised blobs on the stick, with their sizes.
    all_wanted: BTreeMap<Sha256, u64>,
    num_recovered_pieces: usize,
    remarks: Remarks,
    received: BTreeSet<Sha256>,
    incomplete: BTreeMap<Sha256, Incomplete>,
    ignored: BTreeSet<Sha256>,
    piece_lists: Vec<PieceList>,
}

/// A blob that is wanted from the bundle at hand.
struct Wanted<'a> {
    blob: &'a BlobEntry,
    part: Part,
    causes: Remarks,
}

impl Reception<'_> {
    fn take_bundle<E: From<BundleError>>(
        &mut self,
        bundle: &Bundle,
        deliver: &mut dyn FnMut(Staged) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut wanted = self.wanted_of(bundle)?;
        let whole: Vec<usize> =
            wanted.iter().filter(|(_, wanted)| wanted.part.is_complete()).map(|(&blob, _)| blob).collect();
        for blob in whole {
            self.hand_over(&mut wanted, blob, deliver)?;
        }
        for volume in &bundle.description.volumes {
            let is_needed = |wanted: &HashMap<usize, Wanted<'_>>| {
                volume.holds.iter().any(|run| wanted.contains_key(&run.blob))
            };
            if is_needed(&wanted) {
                self.take_volume(bundle, volume, &mut wanted, deliver)?;
            }
        }
        if !wanted.is_empty() {
            self.make_good(bundle, &mut wanted, deliver)?;
        }
        let runs = runs_of(bundle, &wanted);
        for (blob, wanted) in wanted {
            let num_absent = num_not_carried(runs.get(&blob), &wanted.part);
            self.note_incomplete(bundle, wanted, num_absent);
        }
        Ok(())
    }

    /// Makes lost pieces good from parity; keeps parity for the other sticks of the set where it is not enough.
    fn make_good<E: From<BundleError>>(
        &mut self,
        bundle: &Bundle,
        wanted: &mut HashMap<usize, Wanted<'_>>,
        deliver: &mut dyn FnMut(Staged) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Some(mut recovery) = Recovery::new(bundle, self.site.staging, self.site.held) else {
            return Ok(());
        };
        let mut missing: Vec<Missing> = Vec::new();
        for (&blob, wanted) in &mut *wanted {
            wanted.part.rest()?;
            for piece in 0..wanted.blob.pieces.len() {
                match wanted.part.has(piece) {
                    true => recovery.has_in_part((blob, piece)),
                    false => missing.push((blob, piece)),
                }
            }
        }
        let task = self.task;
        let mut take = |(blob, piece): Missing, bytes: Vec<u8>| {
            task.advance(bytes.len() as u64);
            wanted.get_mut(&blob).map_or(Ok(()), |wanted| wanted.part.take(piece, &Arc::new(bytes)))
        };
        self.num_recovered_pieces += recovery.run(&missing, &mut take, self.monitor)?;
        let whole: Vec<usize> =
            wanted.iter().filter(|(_, wanted)| wanted.part.is_complete()).map(|(&blob, _)| blob).collect();
        for blob in whole {
            self.hand_over(wanted, blob, deliver)?;
        }
        if !wanted.is_empty() && !bundle.description.sticks.is_empty() {
            let missing = self.all_wanted.iter().filter(|(digest, _)| !self.received.contains(*digest));
            let reserved_bytes = still_needed_bytes(self.site.staging, missing) + SLACK_BYTES;
            let limits = (num_lost_volumes(bundle, wanted), reserved_bytes);
            parity::keep(bundle, self.site.staging, limits, self.monitor)?;
        }
        Ok(())
    }

    /// True when every blob of a bundle is here, whoever wanted it: nothing is left to be made good.
    fn is_complete(&self, bundle: &Bundle) -> bool {
        bundle.description.blobs.iter().all(|blob| {
            self.received.contains(&blob.sha256) || (self.site.held)(&blob.sha256, blob.size_bytes).is_some()
        })
    }

    /// The authorised blobs of a bundle that have not come yet, by their place in its list.
    fn wanted_of<'b>(&mut self, bundle: &'b Bundle) -> Result<HashMap<usize, Wanted<'b>>> {
        let file = bundle.description.id.path_of(super::layout::DESCRIPTION);
        let mut wanted = HashMap::new();
        for (index, blob) in bundle.description.blobs.iter().enumerate() {
            match self.authorised.size_bytes(&blob.sha256) {
                None => {
                    self.ignored.insert(blob.sha256);
                }
                Some(size_bytes) if size_bytes != blob.size_bytes => {
                    let text = format!(
                        "it says that {} has {} bytes, and the signed index says {size_bytes}; it is ignored",
                        blob.sha256.short(),
                        blob.size_bytes
                    );
                    self.remarks.add(&file, text);
                }
                Some(_) if self.received.contains(&blob.sha256) => {}
                Some(_) => {
                    let damaged = |reason| BundleError::Damaged { file: file.clone(), reason };
                    let list = blob.piece_list().map_err(damaged)?;
                    half::remember(self.site.staging, &blob.sha256, &list)?;
                    let part = Part::resume(self.site.staging, blob.sha256, list)?;
                    self.task.skip(blob.size_bytes - part.missing_bytes());
                    wanted.insert(index, Wanted { blob, part, causes: Remarks::default() });
                }
            }
        }
        Ok(wanted)
    }

    fn take_volume<E: From<BundleError>>(
        &mut self,
        bundle: &Bundle,
        volume: &VolumeEntry,
        wanted: &mut HashMap<usize, Wanted<'_>>,
        deliver: &mut dyn FnMut(Staged) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let file_name = bundle.description.id.path_of(&volume.name);
        let Some((file, size_bytes)) = self.open_volume(bundle, volume, &file_name) else {
            let text = bundle.whereabouts(&volume.name);
            blame(volume, &file_name, wanted, |_| text.clone());
            return Ok(());
        };
        let needs: HashMap<Sha256, Need> = wanted
            .iter()
            .map(|(&index, wanted)| {
                (wanted.blob.sha256, Need::new(index, wanted.blob, |at| wanted.part.has(at)))
            })
            .collect();
        let mut current = None;
        pump::pump::<E>(&file, size_bytes, needs, |message| {
            if self.monitor.is_cancelled() {
                return Err(BundleError::Cancelled.into());
            }
            match message {
                Message::Piece { blob, index, bytes } => {
                    if let Some(before) = current.replace(blob).filter(|&before| before != blob)
                        && let Some(wanted) = wanted.get_mut(&before)
                    {
                        wanted.part.rest()?;
                    }
                    self.take_piece(wanted, blob, index, &bytes, deliver)?;
                    Ok(Some(bytes))
                }
                Message::Bad { blob, text } => {
                    if let Some(wanted) = wanted.get_mut(&blob) {
                        wanted.causes.add(&file_name, text);
                    }
                    Ok(None)
                }
                Message::Remark(text) => {
                    self.remarks.add(&file_name, text);
                    Ok(None)
                }
            }
        })?;
        blame(volume, &file_name, wanted, |count| format!("{count} of its pieces are not there or damaged"));
        Ok(())
    }

    fn open_volume(&mut self, bundle: &Bundle, volume: &VolumeEntry, name: &str) -> Option<(File, u64)> {
        let opened = disk::open_plain(&bundle.folder.join(&volume.name));
        let opened = opened.map_err(|error| error.to_string()).and_then(|file| {
            let size_bytes = file.metadata().map_err(|error| error.to_string())?.len();
            Ok((file, size_bytes))
        });
        match opened {
            Ok((file, size_bytes)) => {
                if size_bytes != volume.size_bytes {
                    let text = format!("it has {size_bytes} bytes and should have {}", volume.size_bytes);
                    self.remarks.add(name, text);
                }
                (size_bytes > 0).then_some((file, size_bytes))
            }
            // A volume of a set that lies on another stick is nothing to remark.
            Err(_) if bundle.lies_elsewhere(&volume.name) => None,
            Err(error) => {
                self.remarks.add(name, error);
                None
            }
        }
    }

    fn take_piece<E: From<BundleError>>(
        &mut self,
        wanted: &mut HashMap<usize, Wanted<'_>>,
        blob: usize,
        index: usize,
        bytes: &Arc<Vec<u8>>,
        deliver: &mut dyn FnMut(Staged) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Some(entry) = wanted.get_mut(&blob) else {
            return Ok(());
        };
        entry.part.take(index, bytes)?;
        self.task.advance(bytes.len() as u64);
        if entry.part.is_complete() { self.hand_over(wanted, blob, deliver) } else { Ok(()) }
    }

    /// Checks a complete blob as a whole and hands it to the caller.
    fn hand_over<E: From<BundleError>>(
        &mut self,
        wanted: &mut HashMap<usize, Wanted<'_>>,
        blob: usize,
        deliver: &mut dyn FnMut(Staged) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Some(Wanted { blob, part, mut causes }) = wanted.remove(&blob) else {
            return Ok(());
        };
        let is_signed = self.authorised.signs(&blob.sha256, part.list());
        let signed_list = is_signed.then(|| part.list().clone());
        let finished = part.finish()?;
        half::forget(self.site.staging, &blob.sha256)?;
        match finished {
            Ok(staged) => {
                deliver(staged)?;
                self.piece_lists.extend(signed_list);
                self.received.insert(blob.sha256);
                self.incomplete.remove(&blob.sha256);
            }
            Err(found) => {
                causes.add("BUNDLE.JSON", format!("its pieces make a file with sha256 {found}"));
                let (num_missing_pieces, missing_bytes) = (blob.pieces.len(), blob.size_bytes);
                self.insert_incomplete(blob, num_missing_pieces, missing_bytes, causes);
            }
        }
        Ok(())
    }

    fn note_incomplete(&mut self, bundle: &Bundle, wanted: Wanted<'_>, num_absent: usize) {
        let Wanted { blob, part, mut causes } = wanted;
        if num_absent > 0 {
            let file = bundle.description.id.path_of(super::layout::DESCRIPTION);
            let text =
                format!("it carries only a part of this file; {num_absent} pieces should have been here");
            causes.add(&file, text);
        }
        self.insert_incomplete(blob, part.num_missing(), part.missing_bytes(), causes);
    }

    fn insert_incomplete(
        &mut self,
        blob: &BlobEntry,
        num_missing: usize,
        missing_bytes: u64,
        causes: Remarks,
    ) {
        let mut new_causes = causes.finish();
        let entry = self.incomplete.entry(blob.sha256).or_insert_with(|| Incomplete {
            digest: blob.sha256,
            size_bytes: blob.size_bytes,
            num_missing_pieces: num_missing,
            missing_bytes,
            causes: Vec::new(),
        });
        entry.num_missing_pieces = num_missing;
        entry.missing_bytes = missing_bytes;
        entry.causes.append(&mut new_causes);
        entry.causes.truncate(MAX_CAUSES);
    }

    fn finish(self) -> Intake {
        Intake {
            received: self.received.into_iter().collect(),
            incomplete: self.incomplete.into_values().collect(),
            piece_lists: self.piece_lists,
            num_ignored_blobs: self.ignored.len(),
            num_recovered_pieces: self.num_recovered_pieces,
            remarks: self.remarks.finish(),
        }
    }
}

/// How many volumes have pieces that are still wanted.
fn num_lost_volumes(bundle: &Bundle, wanted: &HashMap<usize, Wanted<'_>>) -> usize {
    let is_lost = |run: &Run| {
        let part = wanted.get(&run.blob).map(|wanted| &wanted.part);
        part.is_some_and(|part| (run.first..run.first + run.count).any(|piece| !part.has(piece)))
    };
    bundle.description.volumes.iter().filter(|volume| volume.holds.iter().any(is_lost)).count()
}

/// The runs of the blobs that are still wanted, gathered in one walk over the volumes.
fn runs_of<'b>(bundle: &'b Bundle, wanted: &HashMap<usize, Wanted<'_>>) -> HashMap<usize, Vec<&'b Run>> {
    let mut runs: HashMap<usize, Vec<&Run>> = HashMap::new();
    for run in bundle.description.volumes.iter().flat_map(|volume| &volume.holds) {
        if wanted.contains_key(&run.blob) {
            runs.entry(run.blob).or_default().push(run);
        }
    }
    runs
}

/// How many missing pieces of a blob none of its runs holds.
fn num_not_carried(runs: Option<&Vec<&Run>>, part: &Part) -> usize {
    let pieces = runs.into_iter().flatten().flat_map(|run| run.first..run.first + run.count);
    let num_carried = pieces.filter(|&piece| !part.has(piece)).count();
    part.num_missing().saturating_sub(num_carried)
}

/// Notes, for each wanted blob, that a volume did not give what it should hold of it.
fn blame(
    volume: &VolumeEntry,
    file_name: &str,
    wanted: &mut HashMap<usize, Wanted<'_>>,
    text: impl Fn(usize) -> String,
) {
    for run in &volume.holds {
        if let Some(wanted) = wanted.get_mut(&run.blob) {
            let missing = (run.first..run.first + run.count).filter(|&index| !wanted.part.has(index)).count();
            if missing > 0 && !wanted.causes.name(file_name) {
                wanted.causes.add(file_name, text(missing));
            }
        }
    }
}
