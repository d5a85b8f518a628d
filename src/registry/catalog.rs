//! The catalog: the registry of this repository, compiled into the executable.

use super::index::{Files, Trust, VerifiedIndex};

/// Every file of `registry/` that an index is read from; a test compares the list with the folder.
const FILES: &[(&str, &str)] = &[
    ("config.json", include_str!("../../registry/config.json")),
    ("revoked.json", include_str!("../../registry/revoked.json")),
    ("index-000.jsonl", include_str!("../../registry/index-000.jsonl")),
    ("index-001.jsonl", include_str!("../../registry/index-001.jsonl")),
    ("index-002.jsonl", include_str!("../../registry/index-002.jsonl")),
    ("index-003.jsonl", include_str!("../../registry/index-003.jsonl")),
    ("index-004.jsonl", include_str!("../../registry/index-004.jsonl")),
    ("index-005.jsonl", include_str!("../../registry/index-005.jsonl")),
    ("index-006.jsonl", include_str!("../../registry/index-006.jsonl")),
    ("index-007.jsonl", include_str!("../../registry/index-007.jsonl")),
];

/// What the catalog is called where a registry's name is shown or asked for.
pub const CATALOG: &str = "catalog";

/// The catalog: trusted as the executable is.
pub fn catalog() -> VerifiedIndex {
    let files: Files =
        FILES.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    let name = CATALOG.parse().expect("a constant name");
    VerifiedIndex::from_read_files(name, None, Trust::BuiltIn, &files)
        .expect("a test reads the same constant files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_catalog_is_readable_and_has_packages() {
        let catalog = catalog();
        assert!(catalog.manifests().len() > 20);
        assert_eq!(catalog.manifests().len(), catalog.num_versions(), "every line is a manifest");
    }
}
