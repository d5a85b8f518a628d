//! `stick`: what a stick holds, and whether it still holds it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{self, BundleId, FileHealth, Remark, SiteId, Stick};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::PackageRef;
use crate::progress::{Monitor, counted};

use super::error::{Error, Result};
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
    /// False when nothing was exported to it yet: only letters of sites lie there.
    pub was_exported_to: bool,
    /// How many requests of sites lie on it.
    pub num_requests: usize,
    /// How many receipts of sites lie on it.
    pub num_receipts: usize,
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
/// When it is not a stick, nothing at all is on it, or it has no record to compare with.
pub fn stick_verify(home: &Home, folder: Option<&Path>, monitor: &dyn Monitor) -> Result<StickVerifyReport> {
    let folder = removable::stick(folder, monitor)?;
    let stick = Stick::open(&folder)?;
    let was_exported_to = !stick.carries_only_letters();
    if was_exported_to && stick.is_untouched() {
        return Err(nothing_on(&stick, &folder));
    }
    let files = bundle::verify(&stick, monitor)?;
    let runtimes = runtime::judge(home, &stick, &files)?;
    let ((requests, damaged_requests), (receipts, damaged_receipts)) = (stick.requests(), stick.receipts());
    let mut remarks = stick.remarks();
    if !was_exported_to {
        // Beside an export they are hints, and a site writes them anew; here they are all there is.
        remarks.extend(damaged_requests.into_iter().chain(damaged_receipts));
    }
    let (num_requests, num_receipts) = (requests.len(), receipts.len());
    Ok(StickVerifyReport {
        stick: folder,
        files,
        remarks,
        runtimes,
        was_exported_to,
        num_requests,
        num_receipts,
    })
}

/// The error of a stick that has no package: a FAT whose stick was pulled out reads as if it were empty, and one that
/// a site has just written its request to is as it should be.
pub(super) fn nothing_on(stick: &Stick, folder: &Path) -> Error {
    if stick.carries_only_letters() {
        let message = format!(
            "`{}` carries no packages yet, only {}",
            folder.display(),
            letters_in_words(stick.requests().0.len(), stick.receipts().0.len())
        );
        return Error::new(ErrorKind::NotFound, message)
            .with_hint("`localml sync DIR` or `localml export DIR` at the net side puts packages on it");
    }
    let message = format!("`{}` carries no packages, and no record of any", folder.display());
    Error::new(ErrorKind::NotFound, message)
        .with_hint("is the stick still plugged in? `localml stick info DIR` shows what can be read of it")
}

/// How many letters of sites there are, in words.
pub fn letters_in_words(num_requests: usize, num_receipts: usize) -> String {
    match (num_requests, num_receipts) {
        (requests, 0) => counted(requests, "request"),
        (0, receipts) => counted(receipts, "receipt"),
        (requests, receipts) => {
            format!("{} and {}", counted(requests, "request"), counted(receipts, "receipt"))
        }
    }
}
