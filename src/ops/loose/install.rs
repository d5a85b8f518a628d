//! From blobs to packages: what became whole by loose files is installed, under the rules of any import.

use std::collections::{BTreeSet, HashSet};

use crate::digest::Sha256;
use crate::ops::addressee::fulfils;
use crate::ops::choice::origin;
use crate::ops::error::Result;
use crate::ops::holding::reference;
use crate::ops::indexes;
use crate::ops::revoked;
use crate::ops::sift::{RefusedPackage, digests};
use crate::ops::site;
use crate::package::{FileEntry, PackageRef};
use crate::progress::Monitor;
use crate::registry::VerifiedIndex;
use crate::store::{Installed, Store};

use super::{LoosePackage, LooseReport, TakenFile};

/// Installs the packages that became whole by what came, and names those that did not.
///
/// # Errors
/// When an index is too old to install from, a record is damaged, or the home cannot be written.
pub(super) fn install(
    store: &Store,
    known: &[VerifiedIndex],
    (touched, accepts_stale): (&HashSet<Sha256>, bool),
    report: &mut LooseReport,
    monitor: &dyn Monitor,
) -> Result<()> {
    let mut candidates: Vec<(Installed, &VerifiedIndex)> = Vec::new();
    for index in known {
        for manifest in index.manifests() {
            let is_touched = |file: &FileEntry| touched.contains(&file.sha256);
            for variant in manifest.variants.iter().filter(|it| it.files.iter().any(is_touched)) {
                let installed =
                    Installed::new(manifest.clone(), variant.id.clone(), origin(index), site::now());
                candidates.push((installed, index));
            }
        }
    }
    // The newest first: an older version is then not installed over it.
    let version = |installed: &Installed| installed.manifest.package.version.clone();
    candidates.sort_by_key(|(installed, _)| std::cmp::Reverse(version(installed)));
    let mut judged: HashSet<String> = HashSet::new();
    for (candidate, index) in candidates {
        let package = reference(&candidate);
        let missing_bytes = missing_bytes(store, &candidate, &report.taken);
        let is_same = |other: &PackageRef| fulfils(other, &package);
        if report.installed.iter().any(is_same) || report.refused.iter().any(|it| is_same(&it.package)) {
            continue;
        }
        if missing_bytes > 0 {
            if !report.incomplete.iter().any(|it| is_same(&it.package)) {
                report.incomplete.push(LoosePackage { package, missing_bytes });
            }
            continue;
        }
        match objection(store, known, &candidate)? {
            Objection::None => {
                if judged.insert(index.name().to_string()) {
                    indexes::check_age(index, accepts_stale, monitor)?;
                }
                store.record(&candidate)?;
                report.installed.push(package);
            }
            Objection::Needless => {}
            Objection::Refused(reason) => report.refused.push(RefusedPackage { package, reason }),
        }
    }
    // Another build or version of it works: what this one lacks is no news.
    for name in report.incomplete.iter().map(|it| it.package.name.clone()).collect::<BTreeSet<_>>() {
        if store.find(&name)?.is_some() {
            report.incomplete.retain(|it| it.package.name != name);
        }
    }
    Ok(())
}

/// What a package lacks beside what came of its files in part.
fn missing_bytes(store: &Store, package: &Installed, taken: &[TakenFile]) -> u64 {
    let is_missing = |file: &&FileEntry| store.blob_path(&file.sha256, file.size_bytes).is_none();
    let kept = |file: &FileEntry| {
        taken.iter().find(|taken| taken.sha256 == file.sha256).map_or(0, |taken| taken.kept_bytes)
    };
    let missing = package.files().iter().filter(is_missing);
    missing.fold(0, |sum: u64, file| sum.saturating_add(file.size_bytes.saturating_sub(kept(file))))
}

enum Objection {
    None,
    /// It, or a newer version of it, is installed.
    Needless,
    Refused(String),
}

fn objection(store: &Store, indexes: &[VerifiedIndex], candidate: &Installed) -> Result<Objection> {
    if let Some(word) = revoked::against(indexes, candidate) {
        return Ok(Objection::Refused(format!("its publisher took it back: {}", word.reason)));
    }
    let Some(here) = store.find(candidate.name())? else {
        return Ok(rival_of(indexes, candidate).map_or(Objection::None, Objection::Refused));
    };
    let is_newer = here.manifest.package.version >= candidate.manifest.package.version;
    let (own, other) = (revoked::publisher(&here.origin), revoked::publisher(&candidate.origin));
    Ok(match own {
        _ if store.has_installed(candidate)? => {
            // Bytes that came for what was damaged here take its place under its names too.
            store.put_in_place(&here)?;
            Objection::Needless
        }
        Some(_) if own == other && is_newer => Objection::Needless,
        Some(_) if own == other => Objection::None,
        _ => Objection::Refused(format!(
            "another `{}` is installed here; `localml remove {}` makes room for it",
            here.name(),
            here.name()
        )),
    })
}

/// Why nobody can tell which package is meant: another registry has one of this name that is not the same.
fn rival_of(indexes: &[VerifiedIndex], candidate: &Installed) -> Option<String> {
    let own = revoked::publisher(&candidate.origin)?;
    let rival = indexes.iter().find(|index| *index.name() != own && means_another(index, candidate))?;
    let (other, name) = (rival.name(), candidate.name());
    Some(format!(
        "the registries `{own}` and `{other}` mean different packages by this name; the files are kept: `localml \
         install {own}/{name}` takes this one, without the net"
    ))
}

/// True when the index has the name, and never for these bytes.
fn means_another(index: &VerifiedIndex, candidate: &Installed) -> bool {
    let versions = index.versions_of(candidate.name());
    let variants = versions.iter().flat_map(|manifest| &manifest.variants);
    let mut same = variants.filter(|variant| digests(&variant.files) == digests(candidate.files()));
    !versions.is_empty() && same.next().is_none()
}
