//! Installed records: one small JSON file a package, written after everything it speaks of is in place.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::disk;
use crate::package::{FileEntry, Manifest, Name, Variant, VariantId};

use super::Store;
use super::error::{Result, StoreError};

/// The record format that this program writes. A later one is refused by name.
const RECORD_FORMAT: u32 = 1;

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
}

impl Installed {
    /// Describes an installation.
    pub fn new(manifest: Manifest, variant: VariantId, origin: Origin, installed_at: u64) -> Self {
        Self { format: RECORD_FORMAT, manifest, variant, origin, installed_at }
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
    /// Gives the package's blobs their names and writes its record last. An older version is replaced.
    ///
    /// # Errors
    /// `MissingBlob` when a file's bytes are not in the store; otherwise when the disk fails. The
    /// record of an older version then still stands.
    pub fn record(&self, installed: &Installed) -> Result<()> {
        let folder = self.package_folder(installed);
        for file in installed.files() {
            let Some(blob) = self.blob_path(&file.sha256, file.size_bytes) else {
                return Err(StoreError::MissingBlob { name: installed.name().clone(), digest: file.sha256 });
            };
            disk::link_or_copy(&blob, &folder.join(file.path.to_path()))?;
        }
        let old = self.find(installed.name()).ok().flatten();
        write_record(&self.record_path(installed.name()), installed)?;
        disk::remove_file(&self.kept_path(installed.name()))?;
        match old.map(|old| self.package_folder(&old)) {
            Some(old_folder) if old_folder != folder => Ok(disk::remove_dir_all(&old_folder)?),
            _ => Ok(()),
        }
    }

    /// Records that a package's bytes are here, to be carried on. An installed package needs no such record.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn keep(&self, fetched: &Installed) -> Result<()> {
        write_record(&self.kept_path(fetched.name()), fetched)
    }

    /// Every installed package, by name.
    ///
    /// # Errors
    /// When a record is damaged or was written by a later localml.
    pub fn installed(&self) -> Result<Vec<Installed>> {
        read_records(&self.folders.installed)
    }

    /// Every package that is fetched and not installed, by name.
    ///
    /// # Errors
    /// When a record is damaged or was written by a later localml.
    pub fn fetched(&self) -> Result<Vec<Installed>> {
        read_records(&self.folders.fetched)
    }

    /// One installed package, when it is here.
    ///
    /// # Errors
    /// When its record is damaged or was written by a later localml.
    pub fn find(&self, name: &Name) -> Result<Option<Installed>> {
        let path = self.record_path(name);
        if path.is_file() { read_record(&path).map(Some) } else { Ok(None) }
    }

    /// Forgets an installed or fetched package, then removes the blobs that nothing else needs. Returns
    /// the bytes freed.
    ///
    /// # Errors
    /// `NotInstalled`; or when the disk fails, with the record already gone.
    pub fn remove(&self, name: &Name) -> Result<u64> {
        let all: Vec<Installed> = [self.installed()?, self.fetched()?].concat();
        let (removed, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|package| package.name() == name);
        if removed.is_empty() {
            return Err(StoreError::NotInstalled { name: name.clone() });
        }
        disk::remove_file(&self.record_path(name))?;
        disk::remove_file(&self.kept_path(name))?;
        let is_needed =
            |digest: &Sha256| rest.iter().flat_map(Installed::files).any(|file| file.sha256 == *digest);
        let mut freed_bytes = 0;
        for package in &removed {
            disk::remove_dir_all(&self.package_folder(package))?;
            for file in package.files().iter().filter(|file| !is_needed(&file.sha256)) {
                if let Some(blob) = self.blob_path(&file.sha256, file.size_bytes) {
                    disk::remove_file(&blob)?;
                    freed_bytes += file.size_bytes;
                }
            }
        }
        Ok(freed_bytes)
    }

    /// The folder that holds an installed package's files under their own names.
    pub fn package_folder(&self, installed: &Installed) -> PathBuf {
        let version = &installed.manifest.package.version;
        self.folders.packages.join(installed.name().as_str()).join(format!("{version}+{}", installed.variant))
    }

    fn record_path(&self, name: &Name) -> PathBuf {
        self.folders.installed.join(format!("{name}.json"))
    }

    fn kept_path(&self, name: &Name) -> PathBuf {
        self.folders.fetched.join(format!("{name}.json"))
    }
}

fn write_record(path: &Path, installed: &Installed) -> Result<()> {
    let json = serde_json::to_vec_pretty(installed)
        .map_err(|source| StoreError::DamagedRecord { path: path.to_owned(), source })?;
    Ok(disk::write_atomic(path, &json)?)
}

fn read_records(folder: &Path) -> Result<Vec<Installed>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read_record(path)).collect()
}

fn read_record(path: &Path) -> Result<Installed> {
    let damaged = |source| StoreError::DamagedRecord { path: path.to_owned(), source };
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
