//! A bundle that is too large for one stick: which volumes go where, small and essential ones first.
//!
//! The sticks need not be plugged in at the same time. Every stick of a set gets the same description,
//! with the digests of all volumes, so each is whole in what it says; what was dealt to earlier sticks
//! comes back in through the description that the earlier writing returned.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::disk;

use super::clean::bytes_in;
use super::description::Description;
use super::draft::{Draft, all_volumes};
use super::error::{BundleError, Result};
use super::id::BundleId;
use super::layout::{BUNDLES, CLUSTER_BYTES, ROOT};
use super::outgoing::Outgoing;
use super::plan::{ExportOptions, Plan, new_stick_id, stick_id};
use super::share::StickShare;
use super::stick::Stick;

/// What the file system and the small files of a stick take beside the volumes, in bytes.
const OVERHEAD_BYTES: u64 = 1024 * 1024;

/// A stick that takes a share.
#[derive(Debug, Clone)]
pub struct Berth {
    /// Where it is mounted.
    pub folder: PathBuf,
    /// The most bytes that the bundle may take on it; all its free space when absent.
    pub room_bytes: Option<u64>,
    /// Bytes that something else will take on it.
    pub reserved_bytes: u64,
}

/// A stick that is plugged in.
struct Moored<'a> {
    berth: &'a Berth,
    stick: Option<Stick>,
    /// The stick's name; a new one when it has none, or bears the name of another stick of the set.
    id: String,
    /// The description that lies on it, when it holds its share of this very bundle.
    known: Option<Description>,
}

/// Decides what each of these sticks takes of one bundle, in order, by the room that it has.
///
/// `earlier` gives the description as an earlier writing left it, with the sticks that have their share.
/// What is left over when all are full goes to sticks that come later: see [`remaining`]. Sticks that are
/// not needed, or too small while others are not, are absent from the answer.
///
/// # Errors
/// As `Plan::new`; `NoRoom` or `LittleRoom` when no stick has room for the next volume.
pub fn spread(
    berths: &[Berth],
    outgoing: Outgoing,
    options: &ExportOptions,
    earlier: &dyn Fn(&BundleId) -> Option<Description>,
) -> Result<Vec<(PathBuf, Plan)>> {
    let mut draft = Draft::new(outgoing, options, true)?;
    let mut sticks = Vec::new();
    for berth in berths {
        sticks.push(moor(berth, &mut draft)?);
    }
    let note = earlier(&draft.description.id).filter(|note| draft.take_over(note));
    let mut dealt = dealt_so_far(note, &sticks);
    if options.begins_anew {
        dealt.retain(|share| sticks.iter().any(|stick| stick.id == share.stick && stick.known.is_some()));
    }
    name_apart(&mut sticks, &dealt);
    let mut taken = dealt;
    let mut plans = Vec::new();
    let mut too_small = None;
    for Moored { berth, stick, id, .. } in sticks {
        let share = match taken.iter().find(|share| share.stick == id) {
            Some(share) => share.clone(),
            None => match deal(&draft, berth, &id, &taken) {
                Ok(None) => continue,
                Ok(Some(share)) => share,
                Err(error) => {
                    too_small = Some(error);
                    continue;
                }
            },
        };
        taken.retain(|other| other.stick != id);
        taken.push(share.clone());
        let mut own = draft.clone();
        // It is written after those before it, and tells of nothing that is not done by then.
        own.description.sticks.clone_from(&taken);
        plans.push((berth.folder.clone(), Plan::for_stick(stick.as_ref(), id, own, share.volumes)?));
    }
    match too_small {
        Some(error) if plans.is_empty() => Err(error),
        _ => Ok(plans),
    }
}

fn moor<'a>(berth: &'a Berth, draft: &mut Draft) -> Result<Moored<'a>> {
    let stick = Stick::open_if_any(&berth.folder)?;
    let bundle = stick.as_ref().and_then(|stick| stick.read_bundle(&draft.description.id).ok().flatten());
    let known = bundle.filter(|bundle| bundle.is_committed).map(|bundle| bundle.description);
    let known = known.filter(|known| draft.take_over(known));
    Ok(Moored { berth, id: stick_id(stick.as_ref()), stick, known })
}

/// The shares that are written: those of the note and those that the sticks tell of; a stick's own word
/// wins for itself. A note of a set that is complete counts only for its own sticks: any other stick
/// begins a new set.
fn dealt_so_far(note: Option<Description>, sticks: &[Moored<'_>]) -> Vec<StickShare> {
    let is_here = |share: &StickShare| sticks.iter().any(|stick| stick.id == share.stick);
    let note = note.filter(|note| !remaining(note).is_empty() || note.sticks.iter().any(is_here));
    let mut dealt: Vec<StickShare> = note.map(|note| note.sticks).unwrap_or_default();
    for Moored { id, known, .. } in sticks {
        for share in known.iter().flat_map(|known| &known.sticks) {
            let is_own = share.stick == *id;
            let is_new = dealt.iter().all(|other| other.stick != share.stick);
            if is_own {
                dealt.retain(|other| other.stick != *id);
            }
            if is_own || is_new {
                dealt.push(share.clone());
            }
        }
    }
    dealt
}

/// A stick that bears the name of one that has its share, and does not hold it, is a copy made before: it
/// gets a name of its own. So does the second of two copies.
fn name_apart(sticks: &mut [Moored<'_>], dealt: &[StickShare]) {
    let mut seen = HashSet::new();
    for stick in sticks {
        let is_copy = stick.known.is_none() && dealt.iter().any(|share| share.stick == stick.id);
        if is_copy || !seen.insert(stick.id.clone()) {
            stick.id = new_stick_id();
            seen.insert(stick.id.clone());
        }
    }
}

/// The volumes that no stick has yet, with their lengths in bytes.
pub fn remaining(description: &Description) -> Vec<(String, u64)> {
    let dealt: HashSet<&String> = description.sticks.iter().flat_map(|share| &share.volumes).collect();
    all_volumes(description)
        .map(|(name, size_bytes)| (name.to_owned(), size_bytes))
        .filter(|(name, _)| !dealt.contains(name))
        .collect()
}

/// Gives a stick the next volumes that fit; `None` when no volume is left.
fn deal(draft: &Draft, berth: &Berth, stick_id: &str, taken: &[StickShare]) -> Result<Option<StickShare>> {
    let description = &draft.description;
    let Berth { folder, room_bytes, reserved_bytes } = berth;
    let small_bytes = description.to_bytes()?.len() as u64
        + draft.trust.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64)
        + OVERHEAD_BYTES;
    let own_folder = folder.join(ROOT).join(BUNDLES).join(description.id.as_str());
    // What an export that was cut off left of this very bundle is written over.
    let free_bytes = disk::free_bytes(folder)? + bytes_in(&own_folder);
    let most_bytes =
        room_bytes.map_or(free_bytes, |most| most.min(free_bytes)).saturating_sub(*reserved_bytes);
    let mut left_bytes = most_bytes.saturating_sub(small_bytes);
    let mut volumes = Vec::new();
    let is_taken = |name: &str| taken.iter().any(|share| share.volumes.iter().any(|other| other == name));
    for (name, size_bytes) in all_volumes(description).filter(|(name, _)| !is_taken(name)) {
        let needed_bytes = size_bytes + CLUSTER_BYTES;
        if needed_bytes <= left_bytes {
            left_bytes -= needed_bytes;
            volumes.push(name.to_owned());
            continue;
        }
        if volumes.is_empty() {
            let (folder, needed_bytes) = (folder.clone(), needed_bytes + small_bytes);
            return Err(match room_bytes {
                Some(_) if free_bytes >= needed_bytes => {
                    BundleError::LittleRoom { folder, room_bytes: most_bytes, needed_bytes }
                }
                _ => BundleError::NoRoom { folder, needed_bytes, free_bytes },
            });
        }
        break;
    }
    let share = StickShare { stick: stick_id.to_owned(), volumes };
    Ok((!share.volumes.is_empty()).then_some(share))
}
