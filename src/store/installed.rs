//! Installed records: one small JSON file a package, written after everything it speaks of is in place.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Hasher, Sha256};
use crate::disk;
use crate::package::{FileEntry, Manifest, Name, Variant, VariantId};

use super::Store;
use super::error::{RecordKind, Result, StoreError};

/// The record format of packages that a courier vouches for: a program that knows no couriers refuses it by name,
/// instead of calling it damaged. Everything else is written as format 1, which every localml reads.
const COURIER_FORMAT: u32 = 2;
/// The newest record format that is read here. A later one is refused by name.
const RECORD_FORMAT: u32 = COURIER_FORMAT;

/// One installed package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Installed {
    /// The record's format number.
    format: u32,
    /// The package as its publisher described it.
    pub manifest: Manifest,
    /// Which build of it is here.
    pub variant: VariantId,
    /// Who vouches for it.
    pub origin: Origin,
    /// When it was installed, in seconds since 1970 by this machine's clock.
    pub installed_at: u64,
}

/// Who vouches for a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A registry's signed index.
    Registry(Name),
    /// The catalog inside the executable.
    Catalog,
    /// Nobody: a local file that the keeper adopted. Labelled so for ever.
    Unsigned,
    /// No publisher, but a courier whom the keeper authorised. Labelled so for ever.
    Courier {
        /// What the courier was called here.
        name: Name,
        /// The sha256 of the courier's public key.
        fingerprint: Sha256,
    },
}

impl Origin {
    /// True when a publisher vouches for it.
    pub fn is_published(&self) -> bool {
        matches!(self, Self::Registry(_) | Self::Catalog)
    }

    /// What a list says of it: nothing where a publisher vouches for it.
    pub fn label(&self) -> String {
        match self {
            Self::Registry(_) | Self::Catalog => String::new(),
            Self::Unsigned => "unsigned".to_owned(),
            Self::Courier { name, .. } => format!("courier {name}"),
        }
    }
}

impl Installed {
    /// Describes an installation.
    pub fn new(manifest: Manifest, variant: VariantId, origin: Origin, installed_at: u64) -> Self {
        let format = if matches!(origin, Origin::Courier { .. }) { COURIER_FORMAT } else { 1 };
        Self { format, manifest, variant, origin, installed_at }
    }

    /// The package's name.
    pub fn name(&self) -> &Name {
        &self.manifest.package.name
    }

    /// The files of the installed variant.
    pub fn files(&self) -> &[FileEntry] {
        self.manifest.variant(&self.variant).map_or(&[], |variant: &Variant| &variant.files)
    }

    /// The bytes of all its files together.
    pub fn size_bytes(&self) -> u64 {
        self.files().iter().map(|file| file.size_bytes).sum()
    }
}

impl Store {
    /// Gives the package's blobs their names and writes its record last: that is the commit. The version that it
    /// replaces is kept for a way back (`previous`); the one before that is forgotten, with the blobs that only
    /// it needed.
    ///
    /// # Errors
    /// `MissingBlob` when a file's bytes are not in the store; otherwise when the disk fails. The
    /// record of an older version then still stands.
    pub fn record(&self, installed: &Installed) -> Result<()> {
        self.check_whole(installed)?;
        self.put_in_place(installed)?;
        let name = installed.name();
        let is_other = |old: &Installed| self.package_folder(old) != self.package_folder(installed);
        let replaced = self.find_readable(name)?.filter(is_other);
        if let Some(old) = &replaced {
            self.keep_previous(old)?;
        }
        write_record(&self.record_path(name), installed)?;
        self.forget_fetched(installed)?;
        if let Some(old) = &replaced {
            self.forget_all_previous_but(old);
        }
        Ok(())
    }

    /// Gives the files of a package their own names again, where they are not there or are other bytes.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put_in_place(&self, installed: &Installed) -> Result<()> {
        // A kit has no files, and so no folder.
        if installed.files().is_empty() {
            return Ok(());
        }
        let folder = self.package_folder(installed);
        for file in installed.files() {
            let (blob, named) = (self.place_of(&file.sha256), folder.join(file.path.to_path()));
            if !is_same_file(&blob, &named, &file.sha256) {
                disk::link_or_copy(&blob, &named)?;
            }
        }
        // The folders above must be on the medium before the record speaks of them.
        let mut above = folder.parent();
        while let Some(parent) = above.filter(|parent| parent.starts_with(&self.folders.packages)) {
            disk::sync_dir(parent)?;
            above = parent.parent();
        }
        Ok(())
    }

    /// True when a package's files have their own names, and those mean the very bytes of its blobs.
    pub fn is_in_place(&self, installed: &Installed) -> bool {
        let folder = self.package_folder(installed);
        installed.files().iter().all(|file| {
            is_same_file(&self.place_of(&file.sha256), &folder.join(file.path.to_path()), &file.sha256)
        })
    }

    /// True when exactly this is installed: the same version, build and bytes, all of them here.
    ///
    /// # Errors
    /// When its record was written by a later localml, or the disk fails.
    pub fn has_installed(&self, wanted: &Installed) -> Result<bool> {
        let Some(installed) = self.find_readable(wanted.name())? else {
            return Ok(false);
        };
        let is_same = installed.manifest.package.version == wanted.manifest.package.version
            && installed.variant == wanted.variant
            && installed.origin == wanted.origin
            && content_of(&installed) == content_of(wanted);
        Ok(is_same && self.check_whole(&installed).is_ok())
    }

    /// Checks that every blob of a package is here and in use.
    ///
    /// # Errors
    /// `MissingBlob` for the first one that is not.
    pub fn check_whole(&self, package: &Installed) -> Result<()> {
        let is_missing = |file: &&FileEntry| self.blob_path(&file.sha256, file.size_bytes).is_none();
        match package.files().iter().find(is_missing) {
            None => Ok(()),
            Some(file) => Err(StoreError::MissingBlob { name: package.name().clone(), digest: file.sha256 }),
        }
    }

    /// Removes those blobs of a package that no record names any more. Returns the bytes freed.
    pub(super) fn free_blobs_of(&self, package: &Installed) -> Result<u64> {
        let needed = self.needed_blobs()?;
        let mut freed_bytes = 0;
        for file in package.files().iter().filter(|file| !needed.contains(&file.sha256)) {
            if let Some(blob) = self.blob_path(&file.sha256, file.size_bytes) {
                disk::remove_file(&blob)?;
                freed_bytes += file.size_bytes;
            }
            disk::remove_file(&self.set_aside_place(&file.sha256))?;
        }
        Ok(freed_bytes)
    }

    /// Every installed package, by name.
    ///
    /// # Errors
    /// When a record is damaged or was written by a later localml.
    pub fn installed(&self) -> Result<Vec<Installed>> {
        self.installed_but(&[])
    }

    /// Every installed package but these, by name. Whether the records of these can be read does not matter.
    ///
    /// # Errors
    /// As `installed`.
    pub fn installed_but(&self, left_out: &[Name]) -> Result<Vec<Installed>> {
        let left_out: Vec<PathBuf> = left_out.iter().map(|name| self.record_path(name)).collect();
        let mut paths = record_paths(&self.folders.installed);
        paths.retain(|path| !left_out.contains(path));
        paths.iter().map(|path| read_record(path, RecordKind::Installed)).collect()
    }

    /// One installed package, when it is here.
    ///
    /// # Errors
    /// When its record is damaged or was written by a later localml.
    pub fn find(&self, name: &Name) -> Result<Option<Installed>> {
        let path = self.record_path(name);
        if path.is_file() { read_record(&path, RecordKind::Installed).map(Some) } else { Ok(None) }
    }

    /// Forgets one installed or fetched package, and the versions before an installed one, then removes the blobs that nothing else needs. Returns
    /// the bytes freed.
    ///
    /// # Errors
    /// `NotInstalled` when no record says this, or when a record of another package is damaged: nothing is removed
    /// then; or when the disk fails, with the record already gone.
    pub fn remove(&self, package: &Installed) -> Result<u64> {
        let name = package.name();
        // What cannot be read is met before the first removal, not after it.
        self.needed_blobs()?;
        if self.find(name)?.as_ref() == Some(package) {
            disk::remove_file(&self.record_path(name))?;
            disk::remove_dir_all(&self.package_folder(package))?;
            return Ok(self.forget_versions_before(name)? + self.free_blobs_of(package)?);
        } else if self.fetched_of(name)?.contains(package) {
            self.forget_fetched(package)?;
        } else {
            return Err(StoreError::NotInstalled { name: name.clone() });
        }
        self.free_blobs_of(package)
    }

    /// The folder that holds an installed package's files under their own names. It is named by what is in
    /// it, so that other bytes never appear behind a name before the record says so.
    pub fn package_folder(&self, installed: &Installed) -> PathBuf {
        self.folders.packages.join(installed.name().as_str()).join(self.build_name(installed))
    }

    /// Version, build and content in one name.
    pub(super) fn build_name(&self, installed: &Installed) -> String {
        let version = &installed.manifest.package.version;
        format!("{version}+{}-{}", installed.variant, content_of(installed).short())
    }

    pub(super) fn forget_versions_before(&self, name: &Name) -> Result<u64> {
        self.forget_damaged_previous_but(name, None)?;
        let mut freed_bytes = 0;
        for older in self.previous()?.iter().filter(|older| older.name() == name) {
            freed_bytes += self.forget_previous(older)?;
        }
        Ok(freed_bytes)
    }

    pub(super) fn record_path(&self, name: &Name) -> PathBuf {
        self.folders.installed.join(format!("{name}.json"))
    }
}

/// One digest over the names and digests of a package's files.
fn content_of(package: &Installed) -> Sha256 {
    let mut hasher = Hasher::new();
    for file in package.files() {
        hasher.update(format!("{} {}\n", file.sha256, file.path).as_bytes());
    }
    hasher.finish()
}

/// True when both names mean one file of the disk; where they cannot, the bytes decide.
pub(super) fn is_same_file(blob: &Path, named: &Path, digest: &Sha256) -> bool {
    let (Ok(blob), Ok(other)) = (fs::symlink_metadata(blob), fs::symlink_metadata(named)) else {
        return false;
    };
    if blob.dev() == other.dev() && blob.ino() == other.ino() {
        return true;
    }
    other.is_file() && Sha256::of_file(named).is_ok_and(|found| found == *digest)
}

pub(super) fn write_record(path: &Path, installed: &Installed) -> Result<()> {
    let json = serde_json::to_vec_pretty(installed)
        .map_err(|error| disk::DiskError::Io { path: path.to_owned(), source: error.into() })?;
    Ok(disk::write_atomic(path, &json)?)
}

/// The records in a folder, by file name.
pub(super) fn record_paths(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
}

pub(super) fn read_record(path: &Path, kind: RecordKind) -> Result<Installed> {
    let damaged = |source| StoreError::DamagedRecord { path: path.to_owned(), kind, source };
    let bytes = fs::read(path).map_err(|source| disk::DiskError::Io { path: path.to_owned(), source })?;
    let head: Head = serde_json::from_slice(&bytes).map_err(damaged)?;
    if head.format > RECORD_FORMAT {
        return Err(StoreError::LaterRecord { path: path.to_owned(), format: head.format });
    }
    serde_json::from_slice(&bytes).map_err(damaged)
}

/// Enough of a record to tell its format before the rest is read.
#[derive(Deserialize)]
struct Head {
    format: u32,
}
