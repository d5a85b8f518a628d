//! `adopt --scan`: find files that packages known here consist of in the folders of other programs, and use them where
//! they lie instead of fetching them.
//!
//! A file counts when its length and its sha256 are those that an index known here names. It is taken by a copy that
//! shares its room where the file system can, else by a second name (a hard link); it is copied only when that is
//! asked for. The other program's files are never written to, renamed or removed, nor is their mode changed.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::Sha256;
use crate::disk::{self, Identity, Sharing, Staged};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{FileEntry, Name, PackageRef, RelativePath, VariantId, Version};
use crate::progress::{Monitor, Unit};
use crate::registry::VerifiedIndex;
use crate::store::{HashedFile, Installed, Store, Watch, hash_files};

use super::checkup::grid;
use super::choice::origin;
use super::copying::{Original, changed, check_room, copy_in, lacking_room_bytes, stopped};
use super::error::{Error, Result};
use super::folder::Folder;
use super::indexes;
use super::revoked::publisher;
use super::site;

/// Where to look, and what may be done.
#[derive(Debug, Clone, Default)]
pub struct ScanOptions {
    /// The folders.
    pub places: Vec<ScanPlace>,
    /// Copies what cannot be linked.
    pub copies: bool,
    /// Only say what was found.
    pub is_plan: bool,
}

/// A folder of another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPlace {
    /// Whose it is.
    pub program: String,
    /// The folder.
    pub folder: PathBuf,
    /// True when it must be there.
    pub is_named: bool,
}

/// What was found and taken.
#[derive(Debug, Serialize)]
pub struct ScanReport {
    /// The folders that were there.
    pub places: Vec<ScannedPlace>,
    /// The files that packages consist of.
    pub files: Vec<ScannedFile>,
    /// The packages of which something was found.
    pub packages: Vec<ScannedPackage>,
    /// The bytes that need not be fetched any more.
    pub saved_bytes: u64,
    /// The bytes that could be had only by a copy, and were not.
    pub left_bytes: u64,
    /// The room that the copies lack on the disk of the home, in bytes; 0 when they fit.
    pub lacking_room_bytes: u64,
    /// True when nothing was done.
    pub is_plan: bool,
}

/// A folder that was looked through.
#[derive(Debug, Serialize)]
pub struct ScannedPlace {
    /// Whose it is.
    pub program: String,
    /// The folder.
    pub folder: PathBuf,
    /// How many files lie in it.
    pub num_files: usize,
}

/// A file that a package consists of.
#[derive(Debug, Clone, Serialize)]
pub struct ScannedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Whose folder that is.
    pub program: String,
    /// Its digest.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The package that consists of it.
    pub package: Name,
    /// What it is called there.
    pub file: RelativePath,
    /// How it was taken, or would be.
    pub deed: Deed,
}

/// How a file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Without a copy: by sharing its room, or by a second name.
    Linked,
    /// By a copy.
    Copied,
    /// Not: it lies on another disk, or belongs to somebody else, and a copy was not asked for.
    NeedsCopy,
}

/// A package of which something was found.
#[derive(Debug, Clone, Serialize)]
pub struct ScannedPackage {
    /// The registry that has it.
    pub registry: Option<Name>,
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// The build that these files make.
    pub variant: VariantId,
    /// True when all its files are here now, or would be.
    pub is_whole: bool,
    /// The bytes that it still lacks.
    pub missing_bytes: u64,
}

impl ScannedPackage {
    /// What to type for exactly this version and build.
    pub fn reference(&self) -> PackageRef {
        PackageRef {
            registry: self.registry.clone(),
            name: self.name.clone(),
            version: Some(self.version.clone()),
            variant: Some(self.variant.clone()),
        }
    }
}

/// Looks through folders, and takes what packages known here consist of.
///
/// # Errors
/// When a named folder is not there, an index is damaged, or there is no room for the copies; when the disk refuses, or
/// it was stopped: what was taken by then is kept, its packages too.
pub fn adopt_scan(home: &Home, options: &ScanOptions, monitor: &dyn Monitor) -> Result<ScanReport> {
    let store = site::store(home);
    let _lock = if options.is_plan { None } else { Some(site::lock(home)?) };
    let indexes = indexes::load(home)?;
    let wanted = Wanted::of(&indexes, &store);
    let (places, candidates) = look_through(&options.places, &wanted)?;
    let found = hash(candidates, &wanted, monitor)?;
    let copied_bytes = copied_bytes(home, &found, options);
    if !options.is_plan {
        check_room(home, copied_bytes).map_err(|error| {
            error
                .with_hint("without `--copy` nothing is copied, and what can be linked is used where it lies")
        })?;
    }
    let lacking_room_bytes = lacking_room_bytes(home, copied_bytes)?;
    let mut files = Vec::new();
    let outcome = take_all(&Desk { home, store: &store, options, monitor }, &found, &mut files);
    let (left, taken): (Vec<&ScannedFile>, Vec<&ScannedFile>) =
        files.iter().partition(|file| file.deed == Deed::NeedsCopy);
    let bytes = |files: &[&ScannedFile]| files.iter().map(|file| file.size_bytes).sum();
    let (left_bytes, saved_bytes) = (bytes(&left), bytes(&taken));
    let here: HashSet<Sha256> = taken.iter().map(|file| file.sha256).collect();
    let packages = packages(&indexes, &store, &here, options)?;
    if let Err(error) = outcome {
        for package in packages.iter().filter(|package| package.is_whole) {
            monitor.note(&format!("`{}` {} is whole and kept", package.name, package.version));
        }
        return Err(error);
    }
    let is_plan = options.is_plan;
    Ok(ScanReport { places, files, packages, saved_bytes, left_bytes, lacking_room_bytes, is_plan })
}

/// What of the found files will be copied, in bytes, as far as that can be known before.
fn copied_bytes(home: &Home, found: &[Found<'_>], options: &ScanOptions) -> u64 {
    let is_copied = |found: &&Found<'_>| would_do(home, &found.candidate.path, options) == Deed::Copied;
    found.iter().filter(is_copied).map(|found| found.hashed.size_bytes).sum()
}

/// What indexes name and is not here, by length.
struct Wanted<'a> {
    by_length: HashMap<u64, HashMap<Sha256, (&'a Name, &'a FileEntry)>>,
}

impl<'a> Wanted<'a> {
    fn of(indexes: &'a [VerifiedIndex], store: &Store) -> Self {
        let mut by_length: HashMap<u64, HashMap<Sha256, (&Name, &FileEntry)>> = HashMap::new();
        for manifest in indexes.iter().flat_map(VerifiedIndex::manifests) {
            for file in manifest.variants.iter().flat_map(|variant| &variant.files) {
                if file.size_bytes > 0 {
                    let same = by_length.entry(file.size_bytes).or_default();
                    same.entry(file.sha256).or_insert((&manifest.package.name, file));
                }
            }
        }
        for (size_bytes, same) in &mut by_length {
            same.retain(|digest, _| store.blob_path(digest, *size_bytes).is_none());
        }
        by_length.retain(|_, same| !same.is_empty());
        Self { by_length }
    }

    /// True when a file of this length and name may be one of them. A name that is a digest says what the file is;
    /// that is checked all the same.
    fn may_be(&self, length: u64, path: &Path) -> bool {
        let Some(same) = self.by_length.get(&length) else { return false };
        digest_in_name(path).is_none_or(|digest| same.contains_key(&digest))
    }

    fn get(&self, length: u64, digest: &Sha256) -> Option<(&'a Name, &'a FileEntry)> {
        self.by_length.get(&length)?.get(digest).copied()
    }
}

/// The digest that Ollama (`sha256-…`) and Hugging Face (the digest alone) give a file as its name.
fn digest_in_name(path: &Path) -> Option<Sha256> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("sha256-").unwrap_or(name).parse().ok()
}

/// A file that may be wanted.
struct Candidate {
    program: String,
    path: PathBuf,
    size_bytes: u64,
    /// Which file it was when it was found.
    identity: Identity,
}

/// A file that is wanted.
struct Found<'a> {
    candidate: Candidate,
    hashed: HashedFile,
    package: &'a Name,
    file: &'a FileEntry,
}

fn look_through(places: &[ScanPlace], wanted: &Wanted<'_>) -> Result<(Vec<ScannedPlace>, Vec<Candidate>)> {
    let (mut scanned, mut candidates) = (Vec::new(), Vec::new());
    let mut seen: HashSet<(u64, u64)> = HashSet::new();
    for place in places {
        if !place.is_named && !place.folder.is_dir() {
            continue;
        }
        let folder = Folder::open(&place.folder)?;
        let mut files: Vec<(u64, &PathBuf)> =
            folder.by_length().filter(|(length, path)| wanted.may_be(*length, path)).collect();
        files.sort_by_key(|(_, path)| *path);
        for (size_bytes, path) in files {
            // What cannot be looked at, or was seen under another name, is passed over.
            let Some(identity) = disk::identity(path) else { continue };
            if seen.insert(identity.number()) {
                let program = place.program.clone();
                candidates.push(Candidate { program, path: path.clone(), size_bytes, identity });
            }
        }
        let (program, num_files) = (place.program.clone(), folder.num_files);
        scanned.push(ScannedPlace { program, folder: place.folder.clone(), num_files });
    }
    Ok((scanned, candidates))
}

/// Hashes the candidates on all cores, and keeps those that are wanted, each digest once.
fn hash<'a>(
    candidates: Vec<Candidate>,
    wanted: &Wanted<'a>,
    monitor: &dyn Monitor,
) -> Result<Vec<Found<'a>>> {
    let total_bytes = candidates.iter().map(|candidate| candidate.size_bytes).sum();
    let task = monitor.start("comparing digests", Some(total_bytes), Unit::Bytes);
    let watch = Watch { advance: &|count| task.advance(count), is_cancelled: &|| monitor.is_cancelled() };
    let paths: Vec<&Path> = candidates.iter().map(|candidate| candidate.path.as_path()).collect();
    let hashed = hash_files(&paths, &grid, &watch);
    if monitor.is_cancelled() {
        return Err(Error::new(ErrorKind::Failed, "stopped; nothing was adopted"));
    }
    let mut seen = HashSet::new();
    let found = candidates.into_iter().zip(hashed).filter_map(|(candidate, hashed)| {
        let hashed = hashed?;
        let (package, file) = wanted.get(hashed.size_bytes, &hashed.digest)?;
        seen.insert(hashed.digest).then_some(Found { candidate, hashed, package, file })
    });
    Ok(found.collect())
}

/// What taking a file needs.
struct Desk<'a> {
    home: &'a Home,
    store: &'a Store,
    options: &'a ScanOptions,
    monitor: &'a dyn Monitor,
}

/// Takes file after file; what was taken before an error stands in `files`.
fn take_all(desk: &Desk<'_>, found: &[Found<'_>], files: &mut Vec<ScannedFile>) -> Result<()> {
    for found in found {
        if desk.monitor.is_cancelled() {
            return Err(stopped());
        }
        let deed = match desk.options.is_plan {
            true => would_do(desk.home, &found.candidate.path, desk.options),
            false => bring(desk, found)?,
        };
        files.push(found.to_report(deed));
    }
    Ok(())
}

impl Found<'_> {
    fn to_report(&self, deed: Deed) -> ScannedFile {
        ScannedFile {
            path: self.candidate.path.clone(),
            program: self.candidate.program.clone(),
            sha256: self.hashed.digest,
            size_bytes: self.hashed.size_bytes,
            package: self.package.clone(),
            file: self.file.path.clone(),
            deed,
        }
    }
}

fn would_do(home: &Home, path: &Path, options: &ScanOptions) -> Deed {
    match (disk::is_same_disk(home.root(), path), options.copies) {
        (true, _) => Deed::Linked,
        (false, true) => Deed::Copied,
        (false, false) => Deed::NeedsCopy,
    }
}

/// Links or copies a file into staging, looks whether it still is the one that was hashed, and takes it in.
fn bring(desk: &Desk<'_>, found: &Found<'_>) -> Result<Deed> {
    let Desk { home, store, options, monitor } = desk;
    let Found { candidate, hashed, .. } = found;
    let (path, sha256, size_bytes) = (candidate.path.as_path(), &hashed.digest, hashed.size_bytes);
    let part = home.staging().join(format!("adopt-{sha256}.part"));
    let sharing = disk::share_file(path, &part)?;
    let deed = match (sharing, options.copies) {
        (Sharing::Impossible, false) => return Ok(Deed::NeedsCopy),
        (Sharing::Impossible, true) => {
            let staged = copy_in(home, Original { path, sha256, size_bytes }, &part, *monitor)?;
            store.adopt(&staged, sha256)?;
            Deed::Copied
        }
        (Sharing::Room | Sharing::Name, _) => {
            if disk::identity(path).as_ref() != Some(&candidate.identity) {
                disk::remove_file(&part)?;
                return Err(changed(path));
            }
            let staged = Staged { path: part, digest: *sha256, size_bytes };
            match sharing {
                Sharing::Name => store.adopt_shared(&staged, sha256)?,
                _ => store.adopt(&staged, sha256)?,
            };
            Deed::Linked
        }
    };
    if let Some(list) = &hashed.pieces {
        store.keep_cut(sha256, list)?;
    }
    Ok(deed)
}

/// The packages that the files make, and records of those that are whole: newest first, one build a name.
fn packages(
    indexes: &[VerifiedIndex],
    store: &Store,
    taken: &HashSet<Sha256>,
    options: &ScanOptions,
) -> Result<Vec<ScannedPackage>> {
    let mut packages = Vec::new();
    let mut seen: HashSet<(Name, VariantId)> = HashSet::new();
    let mut recorded: HashSet<Name> = HashSet::new();
    for index in indexes {
        for manifest in index.manifests().iter().rev() {
            let head = &manifest.package;
            if index.revocation_of(&head.name, &head.version).is_some() {
                continue;
            }
            for variant in &manifest.variants {
                let has_taken = variant.files.iter().any(|file| taken.contains(&file.sha256));
                if !has_taken || !seen.insert((head.name.clone(), variant.id.clone())) {
                    continue;
                }
                let is_here = |file: &&FileEntry| {
                    taken.contains(&file.sha256) || store.blob_path(&file.sha256, file.size_bytes).is_some()
                };
                let missing = variant.files.iter().filter(|file| !is_here(file));
                let missing_bytes = missing.map(|file| file.size_bytes).sum();
                let is_whole = variant.files.iter().all(|file| is_here(&file));
                let is_new = store.find(&head.name)?.is_none() && store.fetched_of(&head.name)?.is_empty();
                if is_whole && is_new && !options.is_plan && recorded.insert(head.name.clone()) {
                    let (manifest, variant) = (manifest.clone(), variant.id.clone());
                    store.keep(&Installed::new(manifest, variant, origin(index), site::now()))?;
                }
                packages.push(ScannedPackage {
                    registry: publisher(&origin(index)),
                    name: head.name.clone(),
                    version: head.version.clone(),
                    variant: variant.id.clone(),
                    is_whole,
                    missing_bytes,
                });
            }
        }
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_digests_are_read() {
        let digest = Sha256::of(b"abc");
        for name in [format!("blobs/sha256-{digest}"), format!("models--a--b/blobs/{digest}")] {
            assert_eq!(digest_in_name(Path::new(&name)), Some(digest));
        }
        for name in ["model.gguf", "sha256-abc", "blobs/a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"] {
            assert_eq!(digest_in_name(Path::new(name)), None, "{name}");
        }
    }
}
