//! The sticks of one export: one that takes all, or several that share the volumes, now or one by one.
//!
//! Which sticks have their share is kept in the home, so that the same command with the next stick goes on
//! where the last one was full.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{self, Berth, BundleId, Description, Outgoing, Plan, PlannedFile, StickShare};
use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::progress::Monitor;

use super::error::{Error, Result};
use super::export::ExportOptions;
use super::removable;

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
    /// What something else will take on the first stick.
    pub(super) reserved_bytes: u64,
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
        let first = Berth {
            folder: self.stick.to_owned(),
            room_bytes: options.room_bytes,
            reserved_bytes: self.reserved_bytes,
        };
        let other = |folder: &PathBuf| Berth { folder: folder.clone(), reserved_bytes: 0, ..first.clone() };
        let others: Vec<Berth> = options.also.iter().map(other).collect();
        let berths = [vec![first], others].concat();
        let plans = bundle::spread(&berths, outgoing, cut, &|id| self.dealt(id))?;
        Ok(plans.into_iter().map(|(folder, plan)| Planned { folder, plan }).collect())
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
            if let Err(error) = self.remember(&written.description) {
                // The stick is whole; only this machine's notes are not.
                monitor.warn(&format!("could not note which stick has which volumes: {error}"));
            }
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

    /// Keeps which sticks have their share, also when all of them have: the same command goes on, or finds
    /// its sticks again.
    fn remember(&self, description: &Description) -> bundle::Result<()> {
        if description.sticks.is_empty() {
            return Ok(());
        }
        Ok(disk::write_atomic(&self.note(&description.id), &description.to_bytes()?)?)
    }

    fn note(&self, id: &BundleId) -> PathBuf {
        self.home.exports().join(format!("{id}.json"))
    }
}

/// The sticks beside the first one: each must be there, and none twice.
///
/// # Errors
/// When a folder is not there, or is named twice.
pub(super) fn others(first: &Path, also: &[PathBuf], monitor: &dyn Monitor) -> Result<Vec<PathBuf>> {
    let real = |folder: &Path| folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut seen = vec![real(first)];
    let mut others = Vec::new();
    for folder in also {
        let folder = removable::stick(Some(folder), monitor)?;
        if seen.contains(&real(&folder)) {
            let message = format!("`{}` is named twice", folder.display());
            return Err(Error::new(ErrorKind::Usage, message).with_hint("name each stick once"));
        }
        seen.push(real(&folder));
        others.push(folder);
    }
    Ok(others)
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

/// What lies on sticks that are not plugged in.
pub(super) fn elsewhere(planned: &[Planned]) -> Vec<StickShare> {
    let Some(last) = planned.last() else { return Vec::new() };
    let is_here = |share: &StickShare| planned.iter().any(|planned| planned.plan.share() == share.volumes);
    last.plan.description().sticks.iter().filter(|share| !is_here(share)).cloned().collect()
}

/// The volumes that are left for sticks to come.
pub(super) fn left(planned: &[Planned]) -> Vec<PlannedFile> {
    // The last plan knows of all shares.
    let Some(last) = planned.last() else { return Vec::new() };
    let description = last.plan.description();
    if description.sticks.is_empty() {
        return Vec::new();
    }
    let left = bundle::remaining(description).into_iter();
    left.map(|(path, size_bytes)| PlannedFile { path, size_bytes }).collect()
}
