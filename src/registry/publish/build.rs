//! Generates a registry from manifests: index shards, piece lists, blobs. The same input gives the
//! same bytes, so that CI can check what is committed.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::digest::{Hasher, Sha256};
use crate::disk;
use crate::package::{FileEntry, Manifest, Piece, PieceList, Variant};

use super::draft::{self, Draft, Shelves};
use super::unchanged;
use crate::registry::error::{RegistryError, Result};
use crate::registry::index::Files;
use crate::registry::packed;
use crate::registry::tree::{
    self, CONFIG, Config, FORMAT, MAX_INDEX_BYTES, REVOKED, Revocation, RevokedFile,
};

/// The least shards of a new registry; a few, so that a small one is few files.
const NUM_SHARDS: usize = 8;

/// How many package versions a shard of a new registry should have: about 70 KB, so that a change costs little.
const SHARD_VERSIONS: usize = 100;

/// An index of at least so many bytes is also written in its packed form: 256 KiB.
const PACKED_FROM_BYTES: usize = 256 * 1024;

/// A file up to this size is copied, so that editing the original cannot change the blob; a larger
/// one is hard-linked where possible. 16 MiB.
const COPIED_BYTES: u64 = 16 * 1024 * 1024;

/// What to generate, and from what.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The folder of manifests: `NAME/VERSION.toml`, and `revoked.toml` where something was taken back.
    pub manifests: PathBuf,
    /// A folder with the packages' files: `NAME/PATH` or `NAME/VARIANT/PATH`.
    pub files: Option<PathBuf>,
    /// The number of shards, a power of two up to 1024; that of the registry, or by the number of packages, when
    /// absent.
    pub num_shards: Option<usize>,
}

/// Looks into a file of a variant: returns the offsets where its pieces begin anew, in bytes, and may
/// set what the variant says of its shape; or says why the file must not be published.
pub type Inspect<'a> = &'a dyn Fn(&Path, &mut Variant) -> std::result::Result<Vec<u64>, String>;

/// What was generated.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Built {
    /// How many package versions the index names.
    pub num_packages: usize,
    /// How many blobs the registry itself offers.
    pub num_blobs: usize,
    /// The index files and piece lists that changed.
    pub changed: Vec<String>,
    /// False when the folder has no root yet, so that nobody can sign what was generated.
    pub has_root: bool,
}

/// A registry as it should be.
struct Plan {
    num_packages: usize,
    /// Small files by their name in the registry.
    files: Files,
    /// Blobs by digest, and where each lies now.
    blobs: Vec<(Sha256, u64, PathBuf)>,
}

/// Generates the registry in its folder. Signing is another step.
///
/// # Errors
/// Names the manifest or file that cannot be used; `PublishedChanged` when a signed version would get other bytes.
pub fn build(registry: &Path, options: &BuildOptions, inspect: Inspect<'_>) -> Result<Built> {
    let plan = Plan::make(registry, options, inspect)?;
    let changed = plan.changed(registry);
    for (digest, size_bytes, place) in &plan.blobs {
        put_blob(place, &registry.join("blobs").join(digest.to_string()), *size_bytes)?;
    }
    for name in &changed {
        match plan.files.get(name) {
            Some(bytes) => disk::write_forgettable(&registry.join(name), bytes)?,
            None => disk::remove_file(&registry.join(name))?,
        }
    }
    if !changed.is_empty() {
        disk::sync_filesystem(registry)?;
    }
    Ok(plan.built(registry, changed))
}

/// Says whether `build` would change anything, and changes nothing.
///
/// # Errors
/// `OutOfDate` names the files; otherwise as `build`.
pub fn check(registry: &Path, options: &BuildOptions, inspect: Inspect<'_>) -> Result<Built> {
    let plan = Plan::make(registry, options, inspect)?;
    let mut files = plan.changed(registry);
    let blobs = plan.blobs.iter().map(|(digest, ..)| format!("blobs/{digest}"));
    files.extend(blobs.filter(|blob| !registry.join(blob).is_file()));
    if !files.is_empty() {
        return Err(RegistryError::OutOfDate { folder: registry.to_owned(), files });
    }
    Ok(plan.built(registry, Vec::new()))
}

impl Plan {
    fn built(&self, registry: &Path, changed: Vec<String>) -> Built {
        let has_root = registry.join(tree::root_file(1)).is_file();
        Built { num_packages: self.num_packages, num_blobs: self.blobs.len(), changed, has_root }
    }

    fn make(registry: &Path, options: &BuildOptions, inspect: Inspect<'_>) -> Result<Self> {
        let shelves = Shelves { files: options.files.as_deref(), blobs: registry.join("blobs") };
        let mut plan = Self { num_packages: 0, files: Files::new(), blobs: Vec::new() };
        let mut manifests = Vec::new();
        for draft in draft::read_all(&options.manifests, &shelves)? {
            manifests.push(plan.take(draft, inspect)?);
        }
        unchanged::check(registry, &manifests)?;
        plan.blobs.sort();
        plan.blobs.dedup_by_key(|(digest, ..)| *digest);
        plan.num_packages = manifests.len();
        let num_shards = num_shards(registry, options, manifests.len())?;
        let revoked = read_revoked(&options.manifests)?;
        plan.add_json(REVOKED, &RevokedFile { format: FORMAT, revoked });
        let is_packed = plan.add_shards(manifests, num_shards)? >= PACKED_FROM_BYTES;
        if is_packed {
            plan.pack_shards(num_shards);
        }
        plan.add_json(CONFIG, &Config { format: FORMAT, num_shards, is_packed });
        Ok(plan)
    }

    /// Completes a manifest from the files that are here.
    fn take(&mut self, draft: Draft, inspect: Inspect<'_>) -> Result<Manifest> {
        let Draft { mut manifest, places } = draft;
        for (variant, places) in manifest.variants.iter_mut().zip(places) {
            for (index, place) in places.iter().enumerate() {
                let Some(place) = place else { continue };
                let boundaries = inspect(place, variant)
                    .map_err(|reason| RegistryError::Authoring { path: place.clone(), reason })?;
                self.take_file(&mut variant.files[index], place, &boundaries)?;
            }
        }
        Ok(manifest)
    }

    fn take_file(&mut self, file: &mut FileEntry, place: &Path, boundaries: &[u64]) -> Result<()> {
        let list = cut(place, file, boundaries)?;
        // One piece is the file itself: its digest is known already.
        if list.pieces().len() > 1 {
            let text = list.to_text().into_bytes();
            let digest = Sha256::of(&text);
            file.pieces = Some(digest);
            self.files.insert(format!("pieces/{digest}"), text);
        }
        let source = format!("blobs/{}", file.sha256);
        if !file.sources.contains(&source) {
            file.sources.insert(0, source);
        }
        self.blobs.push((file.sha256, file.size_bytes, place.to_owned()));
        Ok(())
    }

    fn add_json<T: serde::Serialize>(&mut self, name: &str, value: &T) {
        let mut bytes = serde_json::to_vec_pretty(value).expect("plain data");
        bytes.push(b'\n');
        self.files.insert(name.to_owned(), bytes);
    }

    /// Returns how many bytes all shards have.
    fn add_shards(&mut self, mut manifests: Vec<Manifest>, num_shards: usize) -> Result<usize> {
        let key = |manifest: &Manifest| (manifest.package.name.clone(), manifest.package.version.clone());
        manifests.sort_by_key(key);
        let mut shards = vec![Vec::new(); num_shards];
        for manifest in &manifests {
            let shard = &mut shards[tree::shard_of(&manifest.package.name, num_shards)];
            serde_json::to_writer(&mut *shard, manifest).expect("plain data into memory");
            shard.push(b'\n');
        }
        let total_bytes = shards.iter().map(Vec::len).sum();
        for (number, shard) in shards.into_iter().enumerate() {
            let name = tree::shard_file(number);
            if shard.len() as u64 > MAX_INDEX_BYTES {
                let reason = format!("it would have {} bytes; take more shards", shard.len());
                return Err(RegistryError::Authoring { path: name.into(), reason });
            }
            self.files.insert(name, shard);
        }
        Ok(total_bytes)
    }

    fn pack_shards(&mut self, num_shards: usize) {
        for name in (0..num_shards).map(tree::shard_file) {
            let packed = packed::pack(&self.files[&name]);
            self.files.insert(packed::packed_name(&name), packed);
        }
    }

    /// True when a file does not lie there as it should. A packed one counts by what is in it: another version of
    /// zstd packs the same bytes in another way.
    fn differs(&self, registry: &Path, name: &str) -> bool {
        let (Some(wanted), Ok(there)) = (self.files.get(name), fs::read(registry.join(name))) else {
            return true;
        };
        let plain = name.strip_suffix(".zst").and_then(|plain| self.files.get(plain));
        match plain {
            Some(plain) => packed::unpack(&there, plain.len() as u64).as_ref() != Some(plain),
            None => there != *wanted,
        }
    }

    /// Files that are to be written, and shards that are no longer any.
    fn changed(&self, registry: &Path) -> Vec<String> {
        let mut changed: Vec<String> =
            self.files.keys().filter(|name| self.differs(registry, name)).cloned().collect();
        let shards = (0..tree::MAX_SHARDS).map(tree::shard_file);
        let left_over = shards.flat_map(|name| [packed::packed_name(&name), name]);
        changed
            .extend(left_over.filter(|name| !self.files.contains_key(name) && registry.join(name).exists()));
        changed
    }
}

/// As many shards as there are, else as a registry of this size should have.
fn num_shards(registry: &Path, options: &BuildOptions, num_packages: usize) -> Result<usize> {
    let existing = fs::read(registry.join(CONFIG)).ok();
    let existing = existing.and_then(|bytes| serde_json::from_slice::<Config>(&bytes).ok());
    let fitting = (num_packages / SHARD_VERSIONS).next_power_of_two().clamp(NUM_SHARDS, tree::MAX_SHARDS);
    let num_shards = options.num_shards.or(existing.map(|config| config.num_shards)).unwrap_or(fitting);
    if (Config { format: FORMAT, num_shards, is_packed: false }).is_sound() {
        return Ok(num_shards);
    }
    let reason = format!("{num_shards} shards: it must be a power of two up to {}", tree::MAX_SHARDS);
    Err(RegistryError::Authoring { path: registry.join(CONFIG), reason })
}

/// What was taken back stands in `manifests/revoked.toml`, if anything was.
fn read_revoked(manifests: &Path) -> Result<Vec<Revocation>> {
    #[derive(serde::Deserialize)]
    struct Revoked {
        revoked: Vec<Revocation>,
    }
    let path = manifests.join("revoked.toml");
    let authoring = |reason: String| RegistryError::Authoring { path: path.clone(), reason };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let revoked: Revoked =
                toml::from_str(&text).map_err(|error| authoring(error.message().to_owned()))?;
            Ok(revoked.revoked)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(authoring(format!("not readable: {error}"))),
    }
}

/// Hashes a file piece by piece.
fn cut(place: &Path, file: &FileEntry, boundaries: &[u64]) -> Result<PieceList> {
    let failed = |reason: String| RegistryError::Authoring { path: place.to_owned(), reason };
    let mut reader = fs::File::open(place).map_err(|error| failed(format!("not readable: {error}")))?;
    let mut pieces = Vec::new();
    let mut whole = Hasher::new();
    let mut buffer = Vec::new();
    for (offset, length) in PieceList::grid(file.size_bytes, boundaries) {
        buffer.clear();
        let read = reader.by_ref().take(length).read_to_end(&mut buffer);
        let read = read.map_err(|error| failed(format!("not readable: {error}")))?;
        if read as u64 != length {
            return Err(failed("it became shorter while it was read".into()));
        }
        whole.update(&buffer);
        pieces.push(Piece { offset, length, sha256: Sha256::of(&buffer) });
    }
    if whole.finish() != file.sha256 {
        return Err(failed("it changed while it was read".into()));
    }
    PieceList::new(pieces).map_err(|error| failed(error.to_string()))
}

fn put_blob(place: &Path, blob: &Path, size_bytes: u64) -> Result<()> {
    if blob.metadata().is_ok_and(|metadata| metadata.len() == size_bytes) {
        return Ok(());
    }
    if size_bytes > COPIED_BYTES {
        return Ok(disk::link_or_copy(place, blob)?);
    }
    let bytes = fs::read(place).map_err(|error| RegistryError::Authoring {
        path: place.to_owned(),
        reason: format!("not readable: {error}"),
    })?;
    Ok(disk::write_atomic(blob, &bytes)?)
}
