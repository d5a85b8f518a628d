//! A bundle that is too large for one stick: which volumes go where, small and essential ones first.
//!
//! The sticks need not be plugged in at the same time. Every stick of a set gets the same description,
//! with the digests of all volumes, so each is whole in what it says; what was dealt to earlier sticks
//! comes back in through the description that the earlier writing returned.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::disk;

use super::description::Description;
use super::draft::{Draft, all_volumes};
use super::error::{BundleError, Result};
use super::id::BundleId;
use super::layout::{BUNDLES, ROOT};
use super::outgoing::Outgoing;
use super::plan::{ExportOptions, Plan, stick_id};
use super::share::StickShare;
use super::stick::Stick;

/// What the file system and the small files of a stick take beside the volumes, in bytes.
const OVERHEAD_BYTES: u64 = 1024 * 1024;

/// What a file may waste of a stick's last cluster, in bytes (FAT's largest is 64 KiB).
const CLUSTER_BYTES: u64 = 64 * 1024;

/// A stick that takes a share.
#[derive(Debug, Clone)]
pub struct Berth {
    /// Where it is mounted.
    pub folder: PathBuf,
    /// The most bytes that the bundle may take on it; all its free space when absent.
    pub room_bytes: Option<u64>,
}

/// Decides what each of these sticks takes of one bundle, in order, by the room that it has.
///
/// `earlier` gives the description as an earlier writing left it, with the sticks that have their share.
/// What is left over when all are full goes to sticks that come later: see [`remaining`].
///
/// # Errors
/// As `Plan::new`; `NoRoom` when a stick has not even room for the next volume.
pub fn spread(
    berths: &[Berth],
    outgoing: Outgoing,
    options: &ExportOptions,
    earlier: &dyn Fn(&BundleId) -> Option<Description>,
) -> Result<Vec<Plan>> {
    let mut draft = Draft::new(outgoing, options, true)?;
    let mut sticks: Vec<(Option<Stick>, String)> = Vec::new();
    for berth in berths {
        let stick = Stick::open_if_any(&berth.folder)?;
        let id = stick_id(stick.as_ref());
        sticks.push((stick, id));
    }
    let id = draft.description.id.clone();
    let on_sticks = || sticks.iter().find_map(|(stick, _)| description_on(stick.as_ref()?, &id));
    if let Some(known) = earlier(&id).or_else(on_sticks).filter(|known| known.id == id) {
        draft.description = known;
    }
    for (berth, (_, stick_id)) in berths.iter().zip(&sticks) {
        deal(&mut draft, berth, stick_id)?;
    }
    let plan = |(stick, stick_id): (Option<Stick>, String)| {
        let share = share_of(&draft.description, &stick_id).map(|share| share.volumes.clone());
        Plan::for_stick(stick.as_ref(), stick_id, draft.clone(), share.unwrap_or_default())
    };
    sticks.into_iter().map(plan).collect()
}

/// The volumes that no stick has yet, with their lengths in bytes.
pub fn remaining(description: &Description) -> Vec<(String, u64)> {
    let dealt: HashSet<&String> = description.sticks.iter().flat_map(|share| &share.volumes).collect();
    all_volumes(description)
        .map(|(name, size_bytes)| (name.to_owned(), size_bytes))
        .filter(|(name, _)| !dealt.contains(name))
        .collect()
}

/// A stick that has its share may have been carried off and brought back without this machine's notes.
fn description_on(stick: &Stick, id: &BundleId) -> Option<Description> {
    let bundle = stick.read_bundle(id).ok().flatten()?;
    (bundle.is_committed && !bundle.description.sticks.is_empty()).then_some(bundle.description)
}

fn share_of<'a>(description: &'a Description, stick_id: &str) -> Option<&'a StickShare> {
    description.sticks.iter().find(|share| share.stick == stick_id)
}

/// Gives a stick the next volumes that fit, unless it has its share already.
fn deal(draft: &mut Draft, berth: &Berth, stick_id: &str) -> Result<()> {
    let description = &mut draft.description;
    if share_of(description, stick_id).is_some() {
        return Ok(());
    }
    let small_bytes = description.to_bytes()?.len() as u64
        + draft.trust.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64)
        + OVERHEAD_BYTES;
    let folder = &berth.folder;
    let own_folder = folder.join(ROOT).join(BUNDLES).join(description.id.as_str());
    let free_bytes = disk::free_bytes(folder)? + lying_bytes(&own_folder);
    let mut room_bytes =
        berth.room_bytes.map_or(free_bytes, |most| most.min(free_bytes)).saturating_sub(small_bytes);
    let mut volumes = Vec::new();
    let left = remaining(description);
    for (name, size_bytes) in &left {
        let needed_bytes = size_bytes + CLUSTER_BYTES;
        if needed_bytes > room_bytes {
            break;
        }
        room_bytes -= needed_bytes;
        volumes.push(name.clone());
    }
    match (volumes.is_empty(), left.first()) {
        (true, Some((_, size_bytes))) => {
            let needed_bytes = size_bytes + CLUSTER_BYTES + small_bytes;
            let free_bytes = room_bytes + small_bytes;
            Err(BundleError::NoRoom { folder: folder.to_owned(), needed_bytes, free_bytes })
        }
        _ => {
            description.sticks.push(StickShare { stick: stick_id.to_owned(), volumes });
            Ok(())
        }
    }
}

/// What an export that was cut off left of this very bundle.
fn lying_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
