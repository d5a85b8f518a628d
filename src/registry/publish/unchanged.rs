//! What was published stays what it was: other bytes are another version.
//!
//! A site that has a version never fetches it again, and a name with two meanings is refused as
//! ambiguous. Only a registry that was signed is published; what is generated for the first time, or into
//! a folder that nobody signs (the catalog, before its executable is built), may still change.

use std::fs;
use std::path::Path;

use crate::package::{Manifest, Variant};

use crate::registry::error::{RegistryError, Result};
use crate::registry::tree::{self, TARGETS};

/// Refuses when a version that stands in the signed registry would get other bytes, or lose a build.
///
/// # Errors
/// `PublishedChanged` names the package and the file.
pub(super) fn check(registry: &Path, manifests: &[Manifest]) -> Result<()> {
    if !registry.join(TARGETS).exists() {
        return Ok(());
    }
    for old in published(registry) {
        let is_same = |new: &&Manifest| {
            new.package.name == old.package.name && new.package.version == old.package.version
        };
        let Some(new) = manifests.iter().find(is_same) else { continue };
        if let Some(changed) = old.variants.iter().find_map(|variant| change(variant, new)) {
            let package = format!("{}@{}", old.package.name, old.package.version);
            return Err(RegistryError::PublishedChanged { package, changed });
        }
    }
    Ok(())
}

/// What the index that lies there names; a line that cannot be read is written anew, whatever it was.
fn published(registry: &Path) -> Vec<Manifest> {
    let shards = (0..tree::MAX_SHARDS).map(|shard| registry.join(tree::shard_file(shard)));
    let texts = shards.map_while(|shard| fs::read_to_string(shard).ok());
    texts
        .flat_map(|text| text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>())
        .collect()
}

/// What is another in the new description of a build, to be read after "would change".
fn change(old: &Variant, new: &Manifest) -> Option<String> {
    let Some(variant) = new.variant(&old.id) else {
        return Some(format!("the build `{}` would be gone", old.id));
    };
    let bytes = |variant: &Variant| -> Vec<_> {
        let mut files: Vec<_> =
            variant.files.iter().map(|file| (file.path.to_string(), file.sha256)).collect();
        files.sort();
        files
    };
    let (before, after) = (bytes(old), bytes(variant));
    let lost = before.iter().find(|file| !after.contains(file));
    let (path, _) = lost.or_else(|| after.iter().find(|file| !before.contains(file)))?;
    Some(format!("`{path}` of the build `{}` would be other bytes", old.id))
}
