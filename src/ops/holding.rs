//! What this home has, as its letters tell it.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::bundle::{Holding, RegistryState, half_blobs};
use crate::digest::Sha256;
use crate::home::Home;
use crate::package::PackageRef;
use crate::progress::Monitor;
use crate::registry::{self, Known, Trust};
use crate::store::{Installed, Origin, Store};

use super::error::Result;

/// Everything that is installed or kept and whole, and what came in part.
///
/// # Errors
/// When a record is damaged, or it was stopped.
pub(super) fn holding(home: &Home, store: &Store, monitor: &dyn Monitor) -> Result<Holding> {
    let held = [store.installed()?, store.fetched()?].concat();
    let mut packages: Vec<PackageRef> =
        held.iter().filter(|held| is_whole(store, held)).map(reference).collect();
    packages.sort_by_key(ToString::to_string);
    packages.dedup();
    Ok(Holding {
        packages,
        blobs: whole_blobs(&held, store).into_iter().map(|(digest, _)| digest).collect(),
        registries: registry::known(&home.registries())?.iter().filter_map(state_of).collect(),
        half: half_blobs(&home.stick_staging(), monitor)?,
    })
}

/// The blobs that are here with their lengths, those of packages that are not whole yet too. One that is
/// shorter than its record says is not here.
pub(super) fn whole_blobs(held: &[Installed], store: &Store) -> Vec<(Sha256, u64)> {
    let expected: HashMap<Sha256, u64> =
        held.iter().flat_map(Installed::files).map(|file| (file.sha256, file.size_bytes)).collect();
    let mut blobs = store.lying_blobs();
    blobs.retain(|(digest, size_bytes)| expected.get(digest).is_none_or(|expected| expected == size_bytes));
    blobs
}

/// True when every byte of a package is here, as far as lengths tell; each blob was verified when it came.
pub(super) fn is_whole(store: &Store, package: &Installed) -> bool {
    package.files().iter().all(|file| store.blob_path(&file.sha256, file.size_bytes).is_some())
}

/// The full name of a package that is here.
pub(super) fn reference(installed: &Installed) -> PackageRef {
    let head = &installed.manifest.package;
    let registry = match &installed.origin {
        Origin::Registry(name) => Some(name.clone()),
        Origin::Catalog | Origin::Unsigned | Origin::Courier { .. } => None,
    };
    PackageRef {
        registry,
        name: head.name.clone(),
        version: Some(head.version.clone()),
        variant: Some(installed.variant.clone()),
    }
}

/// How far this home is with a registry; `None` when its copy is damaged, which another command tells.
fn state_of(known: &Known) -> Option<RegistryState> {
    let index = registry::load(&known.folder).ok()?;
    let Trust::Signed { fingerprint, root_version, version, dates } = index.trust() else {
        return None;
    };
    let expires = Some(dates.judge(SystemTime::now()).expires);
    Some(RegistryState { name: known.name.clone(), fingerprint, root: root_version, version, expires })
}
