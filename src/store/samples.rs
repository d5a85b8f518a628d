//! A store in a folder and packages of one file, for the unit tests of this room.

use std::path::Path;

use crate::digest::Sha256;
use crate::disk::StagingFile;
use crate::package::Manifest;

use super::{Folders, Installed, Origin, Store};

/// A store whose six folders lie below `root`.
pub(super) fn store_in(root: &Path) -> Store {
    let at = |name: &str| root.join(name);
    Store::open(Folders {
        blobs: at("blobs"),
        pieces: at("pieces"),
        packages: at("packages"),
        installed: at("installed"),
        fetched: at("fetched"),
        previous: at("previous"),
    })
}

/// A package of one file, whose bytes are put into the store; it is not recorded. `build` is its name, version and variant.
pub(super) fn package(
    store: &Store,
    root: &Path,
    build: [&str; 3],
    content: &str,
    seconds: u64,
) -> Installed {
    let [name, version, variant] = build;
    let digest = Sha256::of(content.as_bytes());
    let file = StagingFile::open(&root.join("staged")).expect("room");
    file.write_at(content.as_bytes(), 0).expect("room");
    store.adopt(&file.finish(digest, content.len() as u64), &digest).expect("as promised");
    let manifest = Manifest::from_toml(&format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"knowledge\"\ntitle = \"T\"\nlicense = \"MIT\"\n[[variant]]\nid = \"{variant}\"\n[[variant.file]]\npath = \"a.md\"\nsize_bytes = {}\nsha256 = \"{digest}\"\n",
        content.len()
    ));
    Installed::new(manifest.expect("complete"), variant.parse().expect("an id"), Origin::Catalog, seconds)
}
