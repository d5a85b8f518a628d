//! `BUNDLE.JSON`: what a bundle holds, and in which volume.
//!
//! Nobody signs it and nobody trusts it. It says where to look; what may enter the store is decided by
//! the digests that the caller authorises. A forged one can waste time, never install a byte.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::package::{Kind, MAX_PIECE_BYTES, Manifest, PackageRef, Piece, PieceList, RelativePath};

use super::error::{BundleError, Result};
use super::id::{BundleId, SiteId};
use super::layout::{self, MAX_VOLUME_BYTES, MAX_VOLUMES};
use super::parity::Parity;
use super::share::{MAX_SHARES, StickShare};

/// The most bytes that `BUNDLE.JSON` may have.
pub(super) const MAX_DESCRIPTION_BYTES: u64 = 64 * 1024 * 1024;

/// The most packages or blobs that one bundle may name.
const MAX_ENTRIES: usize = 100_000;

/// Pieces of fewer bytes are rare, in bytes.
const SMALL_PIECE_BYTES: u64 = 4096;

/// The most bytes that a licence or a date may have.
const MAX_TEXT_BYTES: usize = 1000;

pub(super) const KNOWN_FORMAT: &str = "1.0";

/// What stands in `BUNDLE.JSON`. Fields that a later 1.x adds are skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// `major.minor`.
    pub format: String,
    /// The bundle's id, which is also its folder's name.
    pub id: BundleId,
    /// When it was written, in RFC 3339 and UTC, by the writer's clock.
    pub created: String,
    /// The packages that it carries.
    pub items: Vec<Item>,
    /// Blobs that the site must already hold, because only a difference is carried.
    #[serde(default)]
    pub requires: Vec<Sha256>,
    /// The file under `TRUST` that was written with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// The sites that it is meant for; any other may take it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<SiteId>,
    /// Which volumes lie on which stick, as far as that was known when this one was written; a bundle
    /// that lies on one stick says nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sticks: Vec<StickShare>,
    /// The volumes that make up for lost ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Parity>,
    /// The volumes, in the order in which they were written.
    pub volumes: Vec<VolumeEntry>,
    /// The blobs, small and essential ones first.
    pub blobs: Vec<BlobEntry>,
}

/// A package that a bundle carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Registry, name, version and variant.
    pub package: PackageRef,
    /// What it is for.
    pub kind: Kind,
    /// Its licence, to be shown before it is installed.
    pub license: String,
    /// The sites that it is for; every site when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<SiteId>,
    /// Its whole description, when no registry vouches for it; a keeper may still want it by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsigned: Option<Manifest>,
    /// Its files.
    pub files: Vec<ItemFile>,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemFile {
    /// Its name inside the package.
    pub path: RelativePath,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The blob that holds its bytes.
    pub sha256: Sha256,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeEntry {
    /// Its file's name, for example `V0001.TAR`.
    pub name: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The digest of the whole file, for any checksum program.
    pub sha256: Sha256,
    /// Which pieces it holds, in order.
    pub holds: Vec<Run>,
}

/// Some consecutive pieces of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The blob, counted from 0 in `blobs`.
    pub blob: usize,
    /// The first piece, counted from 0.
    pub first: usize,
    /// How many pieces.
    pub count: usize,
}

/// One blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobEntry {
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its pieces, in order.
    pub pieces: Vec<PieceEntry>,
}

/// One piece of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceEntry {
    /// How many plain bytes it has.
    pub length: u64,
    /// How many bytes it takes as a zstd frame; it is stored plain when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// The digest of its plain bytes.
    pub sha256: Sha256,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: String,
}

impl Description {
    /// Reads and checks `BUNDLE.JSON`; `file` is its path for messages.
    ///
    /// # Errors
    /// `NewerFormat` for a later major format; `Damaged` when it is not JSON of the right shape, or
    /// contradicts itself.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = |reason: String| BundleError::Damaged { file: file.to_owned(), reason };
        let head: FormatOnly = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if head.format.split('.').next() != Some("1") {
            let found = head.format.chars().take(20).collect();
            return Err(BundleError::NewerFormat { file: file.to_owned(), found, known: KNOWN_FORMAT });
        }
        let description: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        description.check().map_err(damaged)?;
        Ok(description)
    }

    /// Writes the file's bytes: one line a blob, volume or package would be too long, so it is indented.
    ///
    /// # Errors
    /// `TooMany` when it is larger than any reader accepts.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        if bytes.len() as u64 > MAX_DESCRIPTION_BYTES {
            return Err(BundleError::TooMany { what: "BUNDLE.JSON", limit: MAX_DESCRIPTION_BYTES });
        }
        Ok(bytes)
    }

    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let counts = [self.items.len(), self.blobs.len(), self.requires.len(), self.recipients.len()];
        if counts.iter().any(|&count| count > MAX_ENTRIES) || self.volumes.len() > MAX_VOLUMES {
            return Err("it lists more than any bundle may hold".into());
        }
        if self.sticks.len() > MAX_SHARES {
            return Err("it is said to lie on more sticks than any set does".into());
        }
        let texts = self.items.iter().map(|item| &item.license).chain([&self.created]);
        if texts.into_iter().any(|text| text.len() > MAX_TEXT_BYTES) {
            return Err("a licence or a date in it is longer than any real one".into());
        }
        self.check_nothing_twice()?;
        for blob in &self.blobs {
            let list =
                blob.piece_list().map_err(|reason| format!("blob {}: {reason}", blob.sha256.short()))?;
            if list.size_bytes() != blob.size_bytes {
                return Err(format!("blob {}: its pieces do not add up to its size", blob.sha256.short()));
            }
        }
        self.volumes.iter().try_for_each(|volume| self.check_volume(volume))?;
        let num_pieces: usize = self.blobs.iter().map(|blob| blob.pieces.len()).sum();
        let num_held: usize = self.volumes.iter().flat_map(|volume| &volume.holds).map(|run| run.count).sum();
        if num_held > num_pieces {
            return Err("its volumes are said to hold more pieces than there are".into());
        }
        self.sticks.iter().try_for_each(StickShare::check)?;
        self.parity.as_ref().map_or(Ok(()), |parity| {
            self.check_cutting()?;
            parity.check(self)
        })
    }

    /// Each lost piece costs a block of parity. A GGUF's grid begins anew at its tensors and at large ones, so
    /// two small pieces may stand side by side; more are cut to waste a site's time.
    fn check_cutting(&self) -> std::result::Result<(), String> {
        let is_small = |piece: &PieceEntry| piece.length < SMALL_PIECE_BYTES;
        for blob in &self.blobs {
            let inner = &blob.pieces[..blob.pieces.len().saturating_sub(1)];
            if blob.size_bytes >= SMALL_PIECE_BYTES
                && inner.windows(3).any(|three| three.iter().all(is_small))
            {
                return Err(format!("blob {}: it is cut smaller than any real one", blob.sha256.short()));
            }
        }
        Ok(())
    }

    /// What stands twice would be read, and its bytes on this machine hashed, as often as it stands.
    fn check_nothing_twice(&self) -> std::result::Result<(), String> {
        let mut blobs = HashSet::new();
        if let Some(twice) = self.blobs.iter().find(|blob| !blobs.insert(blob.sha256)) {
            return Err(format!("it lists blob {} twice", twice.sha256.short()));
        }
        let mut volumes = HashSet::new();
        match self.volumes.iter().find(|volume| !volumes.insert(&volume.name)) {
            Some(twice) => Err(format!("it lists `{}` twice", twice.name.escape_default())),
            None => Ok(()),
        }
    }

    fn check_volume(&self, volume: &VolumeEntry) -> std::result::Result<(), String> {
        if !layout::is_volume_name(&volume.name) || !volume.name.starts_with('V') {
            let name: String = volume.name.escape_default().take(60).collect();
            return Err(format!("`{name}` is not the name of a volume"));
        }
        if volume.size_bytes > MAX_VOLUME_BYTES {
            return Err(format!("`{}` is said to be larger than any volume", volume.name));
        }
        let is_inside = |run: &Run| {
            let num_pieces = self.blobs.get(run.blob).map_or(0, |blob| blob.pieces.len());
            run.first.checked_add(run.count).is_some_and(|end| end <= num_pieces)
        };
        match volume.holds.iter().all(is_inside) {
            true => Ok(()),
            false => Err(format!("`{}` is said to hold a piece that no blob has", volume.name)),
        }
    }
}

impl BlobEntry {
    /// The pieces with their offsets, as the signed piece lists have them.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn piece_list(&self) -> std::result::Result<PieceList, String> {
        let mut offset = 0u64;
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            if piece.stored.is_some_and(|stored| stored == 0 || stored > MAX_PIECE_BYTES) {
                return Err("a piece is stored in more than 4 MiB".into());
            }
            pieces.push(Piece { offset, length: piece.length, sha256: piece.sha256 });
            offset = offset.checked_add(piece.length).ok_or("its pieces are too long")?;
        }
        PieceList::new(pieces).map_err(|error| error.to_string())
    }
}

impl PieceEntry {
    /// How many bytes the piece takes in its volume.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored.unwrap_or(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "B/0A1B2C3D/BUNDLE.JSON";

    fn description() -> Description {
        let piece = PieceEntry { length: 3, stored: None, sha256: Sha256::of(b"abc") };
        let blob = BlobEntry { sha256: Sha256::of(b"abc"), size_bytes: 3, pieces: vec![piece] };
        let volume = VolumeEntry {
            name: "V0001.TAR".into(),
            size_bytes: 2048,
            sha256: Sha256::of(b"volume"),
            holds: vec![Run { blob: 0, first: 0, count: 1 }],
        };
        Description {
            format: KNOWN_FORMAT.into(),
            id: "0A1B2C3D".parse().unwrap(),
            created: "2026-11-22T13:50:00Z".into(),
            items: Vec::new(),
            requires: Vec::new(),
            trust: None,
            recipients: Vec::new(),
            sticks: Vec::new(),
            parity: None,
            volumes: vec![volume],
            blobs: vec![blob],
        }
    }

    fn parse(value: &serde_json::Value) -> Result<Description> {
        Description::parse(FILE, value.to_string().as_bytes())
    }

    #[test]
    fn reads_back_and_skips_what_a_later_minor_format_adds() {
        let mut value: serde_json::Value =
            serde_json::from_slice(&description().to_bytes().unwrap()).unwrap();
        value["format"] = "1.7".into();
        value["perfume"] = serde_json::json!({"scheme": "new"});
        let read = parse(&value).unwrap();
        assert_eq!(read.blobs, description().blobs);
    }

    #[test]
    fn refuses_a_later_major_format_by_name() {
        let error = parse(&serde_json::json!({"format": "2.0", "everything": "new"})).expect_err("too new");
        assert_eq!(
            error.to_string(),
            "`B/0A1B2C3D/BUNDLE.JSON` has format 2.0, and this localml reads formats up to 1.0"
        );
    }

    #[test]
    fn refuses_sets_and_cuttings_that_only_waste_time() {
        let share = |stick: &str| StickShare { stick: stick.into(), volumes: vec!["V0001.TAR".into()] };
        let mut many = description();
        many.sticks = vec![share("3f2a9c01"); MAX_SHARES + 1];
        let mut strange = description();
        strange.sticks = vec![share("a\u{1b}[2J")];
        let mut parity_as_data = description();
        parity_as_data.volumes[0].name = "P0001.TAR".into();
        let parity = |name: &str| {
            let pieces = vec![Sha256::of(b"")];
            let volume = crate::bundle::ParityVolume {
                name: name.into(),
                size_bytes: 2048,
                sha256: Sha256::of(b""),
                pieces,
            };
            Some(Parity { shard_bytes: 8192, volumes: vec![volume] })
        };
        let mut wrong_order = description();
        wrong_order.parity = parity("P0002.TAR");
        let mut crumbs = description();
        let crumb = PieceEntry { length: 1, stored: None, sha256: Sha256::of(b"a") };
        crumbs.blobs[0].pieces = vec![crumb; 5000];
        crumbs.blobs[0].size_bytes = 5000;
        crumbs.parity = parity("P0001.TAR");
        for wrong in [many, strange, parity_as_data, wrong_order, crumbs] {
            assert!(Description::parse(FILE, &wrong.to_bytes().unwrap()).is_err());
        }
        let mut right = description();
        (right.sticks, right.parity) = (vec![share("3f2a9c01")], parity("P0001.TAR"));
        Description::parse(FILE, &right.to_bytes().unwrap()).expect("nothing is wrong with it");
    }

    #[test]
    fn refuses_contradictions() {
        let mut wrong_size = description();
        wrong_size.blobs[0].size_bytes = 4;
        let mut wrong_run = description();
        wrong_run.volumes[0].holds[0].first = usize::MAX;
        let mut wrong_name = description();
        wrong_name.volumes[0].name = "../../etc/passwd".into();
        let mut too_long = description();
        too_long.blobs[0].pieces[0].length = u64::MAX;
        let mut bomb = description();
        bomb.blobs[0].pieces[0].stored = Some(1 << 40);
        let mut giant = description();
        giant.volumes[0].size_bytes = u64::MAX;
        let mut unequal = description();
        unequal.parity = Some(Parity { shard_bytes: 0, volumes: Vec::new() });
        let mut chatter = description();
        chatter.created = "now".repeat(1000);
        for description in [wrong_size, wrong_run, wrong_name, too_long, bomb, giant, unequal, chatter] {
            let error =
                Description::parse(FILE, &description.to_bytes().unwrap()).expect_err("contradiction");
            assert!(matches!(error, BundleError::Damaged { .. }), "{error}");
        }
    }
}
