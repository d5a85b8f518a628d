//! The format of a registry: static files that any web server, disk or stick can hold.
//!
//! ```text
//! config.json            format and number of shards
//! revoked.json           what the publisher took back
//! index-000.jsonl …      one JSON line a package version, in the shard that its name's sha256 gives
//! index-000.jsonl.zst …  the same in fewer bytes, where `config.json` says so; only the plain ones are signed
//! targets.json.zst       the same, where `targets.json` has at least 32 KiB
//! pieces/<sha256>        piece lists; the digest stands in the index
//! blobs/<sha256>         files that the registry itself offers; the digest stands in the index
//! 1.root.json …          TUF: who may sign, each version signed by the one before it
//! timestamp.json snapshot.json targets.json    TUF: sign config, revocations and shards
//! published.txt          every build that was ever signed, for the publisher's own use; TUF signs it too
//! ```
//! Names are plain, in one folder and at most one deep, so that they survive FAT in upper case.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::package::Name;

/// The newest format that this localml reads and the one that it writes.
pub(crate) const FORMAT: u32 = 1;

/// The most shards that an index may have; a power of two.
pub(crate) const MAX_SHARDS: usize = 1024;

/// The most bytes of a root, timestamp or snapshot file; real ones have a few kilobytes.
pub(crate) const MAX_METADATA_BYTES: u64 = 256 * 1024;

/// The most bytes of a targets file: 1,026 entries of about 200 bytes, four times over.
pub(crate) const MAX_TARGETS_BYTES: u64 = 1024 * 1024;

/// The most bytes of one index file, `config.json` or `revoked.json`.
pub(crate) const MAX_INDEX_BYTES: u64 = 16 * 1024 * 1024;

/// The most bytes of all index files together; what a machine of 2 GB can hold at ease.
pub(crate) const MAX_TOTAL_BYTES: u64 = 128 * 1024 * 1024;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const REVOKED: &str = "revoked.json";
pub(crate) const TIMESTAMP: &str = "timestamp.json";
pub(crate) const SNAPSHOT: &str = "snapshot.json";
pub(crate) const TARGETS: &str = "targets.json";

/// What `config.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) format: u32,
    pub(crate) num_shards: usize,
    /// True where each shard also lies there in its packed form.
    #[serde(default, rename = "packed", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_packed: bool,
}

/// What `revoked.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevokedFile {
    pub(crate) format: u32,
    pub(crate) revoked: Vec<Revocation>,
}

/// A package that its publisher took back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The package.
    pub name: Name,
    /// The version; every version when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The publisher's words.
    pub reason: String,
}

impl Config {
    /// True when the number of shards is one that a registry may have.
    pub(crate) fn is_sound(self) -> bool {
        self.num_shards.is_power_of_two() && self.num_shards <= MAX_SHARDS
    }

    /// Every file that TUF signs, in order.
    pub(crate) fn signed_files(self) -> Vec<String> {
        let shards = (0..self.num_shards).map(shard_file);
        [CONFIG.to_owned(), REVOKED.to_owned()].into_iter().chain(shards).collect()
    }
}

/// The file of the shard with this number.
pub(crate) fn shard_file(shard: usize) -> String {
    format!("index-{shard:03x}.jsonl")
}

/// The shard of a name: the first two bytes of its sha256, modulo the number of shards.
pub(crate) fn shard_of(name: &Name, num_shards: usize) -> usize {
    let digest = Sha256::of(name.as_str().as_bytes());
    let [first, second, ..] = *digest.as_bytes();
    usize::from(u16::from_be_bytes([first, second])) % num_shards
}

/// The name of a root's version.
pub(crate) fn root_file(version: u64) -> String {
    format!("{version}.root.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_falls_into_the_shard_of_its_digest() {
        // sha256("abc") begins with ba78: 0xba78 modulo 8 is 0, modulo 1024 is 0x278.
        let name: Name = "abc".parse().expect("a name");
        assert_eq!(shard_of(&name, 8), 0);
        assert_eq!(shard_file(shard_of(&name, 1024)), "index-278.jsonl");
    }

    #[test]
    fn signs_config_revocations_and_every_shard() {
        let config = Config { format: FORMAT, num_shards: 2, is_packed: false };
        assert_eq!(config.signed_files(), [CONFIG, REVOKED, "index-000.jsonl", "index-001.jsonl"]);
        assert!(!Config { num_shards: 3, ..config }.is_sound());
        assert!(!Config { num_shards: 2048, ..config }.is_sound());
    }
}
