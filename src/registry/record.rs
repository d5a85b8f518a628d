//! Who a known registry is, and which generation of its files is the current one.
//!
//! ```text
//! registries/<name>/
//!   registry.toml     the record; written last: that write is the commit of an update
//!   g<generation>/    every signed file as it came; older generations are removed after the commit
//!   summaries.txt     one line a package for `search` (`summary`); made anew when it is not of this generation
//!   arriving/         what an update that ended early has brought (`arriving`); goes when one comes to its end
//!   scratch/          an update under way; worth nothing
//!   .lock             held by who changes any of this
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::digest::Sha256;
use crate::disk::{self, DiskError, Lock};
use crate::package::Name;

use super::error::{RegistryError, Result};
use super::index::Files;
use super::signed::Versions;
use super::tree::{FORMAT, MAX_INDEX_BYTES, MAX_TOTAL_BYTES};
use super::turn::LOCK;

/// The record's file.
pub(crate) const RECORD: &str = "registry.toml";

/// A registry that was added here.
#[derive(Debug, Clone)]
pub struct Known {
    /// What it is called here.
    pub name: Name,
    /// Where it is refreshed from.
    pub url: Url,
    /// The sha256 of the root that a person accepted.
    pub fingerprint: Sha256,
    /// The kit that brought it; `None` when the keeper added it. What came by a kit vouches for no other.
    pub vouched_by: Option<Name>,
    /// Its folder in home.
    pub folder: PathBuf,
}

/// What `registry.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    pub(crate) name: Name,
    #[serde(with = "url_text")]
    pub(crate) url: Url,
    pub(crate) fingerprint: Sha256,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vouched_by: Option<Name>,
    pub(crate) generation: u64,
    /// The floors, kept apart from the files that they are about, so that a repair cannot go back.
    pub(crate) versions: Versions,
}

/// What every format of the record begins with.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// An address as its text.
mod url_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use url::Url;

    pub(super) fn serialize<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
        Url::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Lists the registries that were added, by name; one with a damaged record is an error.
///
/// # Errors
/// When a record cannot be read.
pub fn known(registries: &Path) -> Result<Vec<Known>> {
    let mut known = Vec::new();
    for folder in folders_in(registries).into_iter().filter(|folder| was_committed(folder)) {
        if let Some(record) = Record::settled(&folder)? {
            known.push(record.known(folder));
        }
    }
    known.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(known)
}

/// The address that a carried record names; `None` when it cannot be read. A place to look, no more: whatever user and
/// password an older localml let travel are not taken over.
pub fn address_in_record(text: &str) -> Option<Url> {
    toml::from_str::<Record>(text).ok().map(|record| public_address(&record.url))
}

/// An address as others may see it: without user, password, query and fragment.
pub fn public_address(url: &Url) -> Url {
    let mut public = url.clone();
    public.set_query(None);
    public.set_fragment(None);
    // Both fail only for addresses that cannot have a user at all.
    let _ = public.set_username("");
    let _ = public.set_password(None);
    public
}

impl Known {
    /// Reads the record of one registry.
    ///
    /// # Errors
    /// `NoSuchRegistry` when it was never added, `DamagedRecord` when its record cannot be read.
    pub fn open(registries: &Path, name: &Name) -> Result<Self> {
        let folder = registries.join(name.as_str());
        let record = match was_committed(&folder) {
            true => Record::settled(&folder)?,
            false => None,
        };
        match record {
            Some(record) => Ok(record.known(folder)),
            None => Err(RegistryError::NoSuchRegistry { name: name.to_string() }),
        }
    }
}

impl Record {
    fn known(self, folder: PathBuf) -> Known {
        let Self { name, url, fingerprint, vouched_by, .. } = self;
        Known { name, url, fingerprint, vouched_by, folder }
    }

    /// Reads the record; one that is absent where a registry's folder is, is damage.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let damaged = |reason: String| RegistryError::DamagedRecord { registry: called(folder), reason };
        let text = fs::read_to_string(folder.join(RECORD)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged("is not there".into()),
            _ => damaged(format!("is not readable: {error}")),
        })?;
        let unreadable = |error: toml::de::Error| {
            damaged(format!("is not readable: {}", error.message().lines().next().unwrap_or_default()))
        };
        // A later localml may write other fields: that is no damage, and must not be written over as such.
        let head: Head = toml::from_str(&text).map_err(unreadable)?;
        if head.format > FORMAT {
            let file = format!("{}/{RECORD}", called(folder));
            return Err(RegistryError::NewerFormat { file, found: head.format, known: FORMAT });
        }
        let record: Self = toml::from_str(&text).map_err(unreadable)?;
        if record.name.as_str() != called(folder) {
            return Err(damaged(format!("is that of `{}`", record.name)));
        }
        Ok(record)
    }

    /// As it may travel.
    pub(crate) fn without_secrets(self) -> Self {
        Self { url: public_address(&self.url), ..self }
    }

    /// What stands in its file.
    pub(crate) fn text(&self) -> String {
        toml::to_string(self).expect("a record is plain data")
    }

    /// Writes it; where its address has a secret, readable by the user alone.
    fn write(&self, folder: &Path) -> Result<()> {
        let (path, text) = (folder.join(RECORD), self.text());
        match public_address(&self.url) == self.url {
            true => disk::write_atomic(&path, text.as_bytes())?,
            false => disk::write_private(&path, text.as_bytes())?,
        }
        Ok(())
    }

    /// The files of the current generation that can be read, whatever is in them.
    pub(crate) fn readable_files(&self, folder: &Path) -> Files {
        let mut files = Files::new();
        for path in paths_in(&generation_folder(folder, self.generation)) {
            let is_bounded = path.metadata().is_ok_and(|metadata| metadata.len() <= MAX_INDEX_BYTES);
            if let (true, Ok(bytes)) = (is_bounded, fs::read(&path)) {
                files.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes);
            }
        }
        files
    }

    /// Reads the record; `None` while another command adds the registry for the first time: its record comes last.
    fn settled(folder: &Path) -> Result<Option<Self>> {
        if !folder.join(RECORD).exists()
            && matches!(Lock::acquire(&folder.join(LOCK)), Err(DiskError::Locked { .. }))
        {
            return Ok(None);
        }
        Self::read(folder).map(Some)
    }

    /// Reads every file of the current generation; what must be among them, the verification says.
    pub(crate) fn read_files(&self, folder: &Path) -> Result<Files> {
        let generation = generation_folder(folder, self.generation);
        let damaged = |file: &str, reason: String| RegistryError::DamagedCopy {
            registry: self.name.to_string(),
            file: file.to_owned(),
            reason,
        };
        let mut files = Files::new();
        let mut total_bytes = 0;
        for path in paths_in(&generation) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let size_bytes = path.metadata().map_or(0, |metadata| metadata.len());
            total_bytes += size_bytes;
            if size_bytes > MAX_INDEX_BYTES || total_bytes > MAX_TOTAL_BYTES {
                return Err(damaged(&name, format!("is too large: {size_bytes} bytes")));
            }
            let bytes =
                fs::read(&path).map_err(|error| damaged(&name, format!("is not readable: {error}")))?;
            files.insert(name, bytes);
        }
        Ok(files)
    }

    /// Keeps verified files as the next generation; the record is written last.
    pub(crate) fn adopt(mut self, folder: &Path, files: &Files, versions: Versions) -> Result<Self> {
        let before = generation_folder(folder, self.generation);
        self.generation += 1;
        self.versions = versions;
        let next = generation_folder(folder, self.generation);
        disk::remove_dir_all(&next)?;
        disk::create_dir_all(&next)?;
        for (name, bytes) in files {
            let (old, new) = (before.join(name), next.join(name));
            let is_same = fs::read(&old).is_ok_and(|kept| kept == *bytes);
            if !is_same || !disk::link_unsynced(&old, &new) {
                disk::write_unsynced(&new, bytes)?;
            }
        }
        disk::sync_filesystem(&next)?;
        disk::sync_dir(folder)?;
        self.write(folder)?;
        for old in folders_in(folder).into_iter().filter(|old| *old != next && generation_of(old).is_some()) {
            disk::remove_dir_all(&old)?;
        }
        Ok(self)
    }
}

/// The folder of one generation.
pub(crate) fn generation_folder(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("g{generation}"))
}

/// The files of a folder whose names do not begin with a dot.
pub(crate) fn paths_in(folder: &Path) -> Vec<PathBuf> {
    visible(folder, |path| path.is_file())
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    visible(folder, |path| path.is_dir())
}

fn visible(folder: &Path, is_wanted: fn(&Path) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .filter(|path| is_wanted(path))
        .collect();
    paths.sort();
    paths
}

/// False for what an interrupted first `add` leaves: neither a record nor a generation.
pub(crate) fn was_committed(folder: &Path) -> bool {
    folder.join(RECORD).exists() || !generations_in(folder).is_empty()
}

/// The numbers of the generations in a folder, in no order.
pub(crate) fn generations_in(folder: &Path) -> Vec<u64> {
    folders_in(folder).iter().filter_map(|path| generation_of(path)).collect()
}

fn generation_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix('g')?.parse().ok()
}

fn called(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
