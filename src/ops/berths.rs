//! The sticks of one export: one that takes all, or several that share the volumes, now or one by one.
//!
//! What was dealt to the sticks so far is kept in the home until every volume lies on some stick, so that
//! the same command with the next stick goes on where the last one was full.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{self, Berth, BundleId, Description, Outgoing, Plan, PlannedFile};
use crate::disk;
use crate::home::Home;
use crate::progress::Monitor;

use super::export::ExportOptions;

/// What one stick of a set takes.
#[derive(Debug, Clone, Serialize)]
pub struct StickPart {
    /// The stick's folder.
    pub stick: PathBuf,
    /// The volumes, data and parity, that lie on it, or would.
    pub volumes: Vec<String>,
    /// The bytes that are written to it.
    pub size_bytes: u64,
}

/// The sticks of one export, the first of them first.
pub(super) struct Berths<'a> {
    pub(super) home: &'a Home,
    pub(super) stick: &'a Path,
    pub(super) options: &'a ExportOptions,
}

/// One stick and what it is to take.
pub(super) struct Planned {
    folder: PathBuf,
    plan: Plan,
}

impl Berths<'_> {
    /// Decides what each stick takes.
    ///
    /// # Errors
    /// As `bundle::Plan::new` and `bundle::spread`.
    pub(super) fn plan(
        &self,
        outgoing: Outgoing,
        cut: &bundle::ExportOptions,
    ) -> bundle::Result<Vec<Planned>> {
        let options = self.options;
        if !options.is_spread && options.also.is_empty() && options.room_bytes.is_none() {
            let plan = Plan::new(self.stick, outgoing, cut)?;
            return Ok(vec![Planned { folder: self.stick.to_owned(), plan }]);
        }
        let folders: Vec<PathBuf> = [self.stick.to_owned()].into_iter().chain(options.also.clone()).collect();
        let berth = |folder: &PathBuf| Berth { folder: folder.clone(), room_bytes: options.room_bytes };
        let berths: Vec<Berth> = folders.iter().map(berth).collect();
        let plans = bundle::spread(&berths, outgoing, cut, &|id| self.dealt(id))?;
        Ok(folders.into_iter().zip(plans).map(|(folder, plan)| Planned { folder, plan }).collect())
    }

    /// Writes to every stick; each is safe to remove as soon as it is done. Returns whether anything was
    /// written at all, and how many bytes.
    ///
    /// # Errors
    /// As `bundle::write`; the sticks that were done stay done.
    pub(super) fn write(&self, planned: Vec<Planned>, monitor: &dyn Monitor) -> bundle::Result<(bool, u64)> {
        let mut known: Option<Box<Description>> = None;
        let (mut is_new, mut num_bytes, num_sticks) = (false, 0, planned.len());
        for Planned { folder, mut plan } in planned {
            if let Some(known) = &known {
                plan.learn_from(known)?;
            }
            let written = bundle::write(&folder, plan, monitor)?;
            if num_sticks > 1 {
                monitor.note(&format!("`{}` has its share; it is safe to remove", folder.display()));
            }
            self.remember(&written.description)?;
            is_new |= written.is_new;
            num_bytes += written.bytes_written;
            known = Some(written.description);
        }
        Ok((is_new, num_bytes))
    }

    /// What earlier sticks of this very bundle took. Notes that cannot be read only cost a new dealing.
    fn dealt(&self, id: &BundleId) -> Option<Description> {
        let bytes = fs::read(self.note(id)).ok()?;
        Description::parse(&id.to_string(), &bytes).ok()
    }

    /// Keeps what was dealt until nothing is left to deal.
    fn remember(&self, description: &Description) -> bundle::Result<()> {
        let note = self.note(&description.id);
        if description.sticks.is_empty() || bundle::remaining(description).is_empty() {
            return Ok(disk::remove_file(&note)?);
        }
        Ok(disk::write_atomic(&note, &description.to_bytes()?)?)
    }

    fn note(&self, id: &BundleId) -> PathBuf {
        self.home.exports().join(format!("{id}.json"))
    }
}

/// The bundle that the sticks share. There is always a first stick.
pub(super) fn bundle_of(planned: &[Planned]) -> BundleId {
    planned.first().expect("a plan for the stick that was named").plan.id().clone()
}

/// True when no stick has anything to write.
pub(super) fn are_already_there(planned: &[Planned]) -> bool {
    planned.iter().all(|planned| planned.plan.is_already_there())
}

/// Every file that will be written, stick by stick.
///
/// # Errors
/// As `Plan::files`.
pub(super) fn files(planned: &[Planned]) -> bundle::Result<Vec<PlannedFile>> {
    let files = planned.iter().map(|planned| planned.plan.files()).collect::<bundle::Result<Vec<_>>>()?;
    Ok(files.into_iter().flatten().collect())
}

/// What each stick takes.
///
/// # Errors
/// As `Plan::files`.
pub(super) fn parts(planned: &[Planned]) -> bundle::Result<Vec<StickPart>> {
    let part = |Planned { folder, plan }: &Planned| {
        let (stick, volumes, size_bytes) = (folder.clone(), plan.share().to_vec(), plan.total_bytes()?);
        Ok(StickPart { stick, volumes, size_bytes })
    };
    planned.iter().map(part).collect()
}

/// The volumes that are left for sticks to come.
pub(super) fn left(planned: &[Planned]) -> Vec<PlannedFile> {
    let Some(first) = planned.first() else { return Vec::new() };
    let description = first.plan.description();
    if description.sticks.is_empty() {
        return Vec::new();
    }
    let left = bundle::remaining(description).into_iter();
    left.map(|(path, size_bytes)| PlannedFile { path, size_bytes }).collect()
}
