//! `stick`: what a stick holds, and whether it still holds it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{self, BundleId, FileHealth, Remark, SiteId, Stick};
use crate::home::Home;
use crate::package::PackageRef;
use crate::progress::Monitor;

use super::error::Result;
use super::removable;
use super::runtime::{self, RuntimeVerdict};

/// What a stick says that it holds; nothing of it is verified.
#[derive(Debug, Serialize)]
pub struct StickReport {
    /// The stick's folder.
    pub stick: PathBuf,
    /// The stick's own name.
    pub stick_id: Option<String>,
    /// How often it was written.
    pub generation: Option<u64>,
    /// The bundles, the newest first.
    pub bundles: Vec<StickBundle>,
    /// How many requests of sites lie on it.
    pub num_requests: usize,
    /// How many receipts of sites lie on it.
    pub num_receipts: usize,
    /// Bundles that cannot be read, and why.
    pub refused: Vec<String>,
    /// What is wrong with the commit record.
    pub remarks: Vec<Remark>,
}

/// One bundle.
#[derive(Debug, Serialize)]
pub struct StickBundle {
    /// Its id.
    pub id: BundleId,
    /// When it was written, by the writer's clock.
    pub created: String,
    /// The packages in it.
    pub packages: Vec<PackageRef>,
    /// The sites that it is for; any site when empty.
    pub recipients: Vec<SiteId>,
    /// The bytes that it takes on this stick.
    pub size_bytes: u64,
    /// The volumes that lie on this stick.
    pub volumes: Vec<String>,
    /// How many volumes there are on all sticks of its set.
    pub num_volumes: usize,
    /// False when the stick's record does not know it.
    pub is_committed: bool,
}

/// How a stick's files are.
#[derive(Debug, Serialize)]
pub struct StickVerifyReport {
    /// The stick's folder.
    pub stick: PathBuf,
    /// Every file of the record.
    pub files: Vec<FileHealth>,
    /// What is wrong with the commit record: the newest may be the one that is lost, and the older one, which
    /// then serves, knows nothing of the last export.
    pub remarks: Vec<Remark>,
    /// The builds of localml itself on the stick, and who signed them.
    pub runtimes: Vec<RuntimeVerdict>,
}

impl StickVerifyReport {
    /// True when every byte is as it was written, the commit record's too.
    pub fn is_whole(&self) -> bool {
        self.remarks.is_empty() && self.files.iter().all(|file| file.is_whole)
    }
}

/// Lists what a stick says that it holds.
///
/// # Errors
/// When it is not a stick.
pub fn stick_info(folder: Option<&Path>, monitor: &dyn Monitor) -> Result<StickReport> {
    let folder = removable::stick(folder, monitor)?;
    let stick = Stick::open(&folder)?;
    let found = stick.bundles()?;
    let bundles = found.bundles.into_iter().map(|bundle| StickBundle {
        packages: bundle.description.items.iter().map(|item| item.package.clone()).collect(),
        size_bytes: bundle.lying_bytes(),
        volumes: bundle.lying_volumes(),
        num_volumes: bundle.num_volumes(),
        recipients: bundle.description.recipients.clone(),
        is_committed: bundle.is_committed,
        created: bundle.description.created,
        id: bundle.description.id,
    });
    Ok(StickReport {
        stick_id: stick.record().map(|record| record.stick_id.clone()),
        generation: stick.record().map(|record| record.generation),
        bundles: bundles.collect(),
        num_requests: stick.requests().0.len(),
        num_receipts: stick.receipts().0.len(),
        refused: found.refused.iter().map(ToString::to_string).collect(),
        remarks: found.remarks,
        stick: folder,
    })
}

/// Reads every file of the stick from the medium and compares it with the record.
///
/// # Errors
/// When it is not a stick, or has no record to compare with.
pub fn stick_verify(home: &Home, folder: Option<&Path>, monitor: &dyn Monitor) -> Result<StickVerifyReport> {
    let folder = removable::stick(folder, monitor)?;
    let stick = Stick::open(&folder)?;
    let files = bundle::verify(&stick, monitor)?;
    let runtimes = runtime::judge(home, &stick, &files)?;
    Ok(StickVerifyReport { remarks: stick.remarks(), stick: folder, files, runtimes })
}
