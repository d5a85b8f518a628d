//! Which chat model of the catalog would fit this PC, for someone who has none.

use serde::Serialize;

use crate::hardware::{self, DEFAULT_CONTEXT_TOKENS, Machine, Verdict};
use crate::package::{Kind, Manifest, Name, Variant, VariantId};
use crate::registry;

/// A processor reads each weight once a token, and one of few cores some gigabytes a second: a larger model would
/// fit its memory and bore its reader.
const PATIENT_BYTES: u64 = 1_400_000_000;
/// From so many cores on, three times that is bearable.
const MANY_CORES: usize = 6;

/// A model that would fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// The package.
    pub name: Name,
    /// Its build.
    pub variant: VariantId,
    /// One line for people.
    pub title: String,
    /// How much there is to fetch or carry, in bytes.
    pub size_bytes: u64,
    /// Its licence.
    pub license: String,
}

/// Takes the catalog's largest chat model that fits this PC's memory and patience. A build whose source may change
/// under its digest is never suggested: the data would be spent for nothing.
pub(super) fn suggest() -> Option<Suggestion> {
    let catalog = registry::catalog();
    let machine = hardware::probe();
    let models = catalog.manifests().iter().filter(|manifest| {
        let head = &manifest.package;
        let is_revoked = catalog.revocation_of(&head.name, &head.version).is_some();
        head.kind == Kind::ChatModel && !head.restricted && !is_revoked
    });
    largest_that_fits(models, &machine)
}

fn largest_that_fits<'a>(
    models: impl Iterator<Item = &'a Manifest>,
    machine: &Machine,
) -> Option<Suggestion> {
    let patience = if machine.num_cores >= MANY_CORES { PATIENT_BYTES * 3 } else { PATIENT_BYTES };
    let builds = models.flat_map(|manifest| manifest.variants.iter().map(move |variant| (manifest, variant)));
    let fits = |variant: &Variant| {
        let need = hardware::need(variant.size_bytes(), variant.shape.as_ref(), DEFAULT_CONTEXT_TOKENS);
        let is_pinned = variant.files.iter().all(|file| !file.unpinned);
        is_pinned && hardware::fit(&need, machine) == Verdict::Fits && variant.size_bytes() <= patience
    };
    let (manifest, variant) =
        builds.filter(|(_, variant)| fits(variant)).max_by_key(|(_, variant)| variant.size_bytes())?;
    Some(Suggestion {
        name: manifest.package.name.clone(),
        variant: variant.id.clone(),
        title: manifest.package.title.clone(),
        size_bytes: variant.size_bytes(),
        license: manifest.package.license.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(ram_gib: u64) -> Machine {
        Machine { ram_bytes: ram_gib << 30, num_cores: 2, ..hardware::probe() }
    }

    #[test]
    fn the_catalog_has_a_model_for_a_small_pc_and_none_for_a_tiny_one() {
        let catalog = registry::catalog();
        let chat = || catalog.manifests().iter().filter(|manifest| manifest.package.kind == Kind::ChatModel);
        let small = largest_that_fits(chat(), &machine(4)).expect("a half-billion model fits 4 GiB");
        assert!(small.size_bytes <= PATIENT_BYTES);
        assert_eq!(largest_that_fits(chat(), &machine(1)), None);
    }
}
