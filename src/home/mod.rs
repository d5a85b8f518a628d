//! Where things lie in localml's home folder. Only paths; nothing here touches the disk.
//!
//! ```text
//! home/
//!   config.toml                  what a flag can say, said once
//!   profile.toml                 how a kit set this site up, and what its keeper changed since
//!   paces.json                   how fast known sticks are
//!   line.json                    how fast the line was when it was last used
//!   budget.json                  what a budget for the line has left
//!   blobs/<sha256>               verified bytes, one plain file each
//!   installed/<name>.json        one record a package, written last
//!   fetched/<name>@….json        one record a build whose bytes are here, but which is not installed
//!   previous/<name>@<version>+<variant>-<content>.json   the record of the version before, for `rollback`;
//!                                its blobs and its folder in packages/ stay too
//!   packages/<name>/<version>+<variant>/…   the files of an installed package under their own names
//!   staging/                     downloads and imports under way
//!   registries/<name>/           root, signed metadata, verified index files, and a short form of them for `search`
//!   courier/<name>.pk8           this home's own key as a courier, readable by the user alone
//!   couriers/<name>.toml         couriers whom the keeper authorised
//!   pieces/<sha256>              piece lists, named by their own digest
//!   pieces/<sha256>.cut          the piece list of the blob <sha256>, made here
//!   collections/<name>/          the index of a set of documents
//!   site.toml                    who this site is in its letters: id, label, next number
//!   receipt.json                 the newest receipt, for the next stick that can be written
//!   wishlist.toml                what every `sync` of this courier takes along
//!   sites/<id>.json              what is known here of another site, from its letters
//!   cache/vectors/               vectors by content, so that moved text costs nothing
//! ```

use std::path::{Path, PathBuf};

/// The folder that holds everything localml keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Names a home; it need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// How a kit set this site up.
    pub fn profile(&self) -> PathBuf {
        self.root.join("profile.toml")
    }

    /// How fast known sticks are.
    pub fn paces(&self) -> PathBuf {
        self.root.join("paces.json")
    }

    /// How fast the line was when it was last used.
    pub fn line(&self) -> PathBuf {
        self.root.join("line.json")
    }

    /// What a budget for the line has left.
    pub fn budget(&self) -> PathBuf {
        self.root.join("budget.json")
    }

    /// The lock that a command holds while it changes the store.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The folder of verified blobs.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The folder of installed records.
    pub fn installed(&self) -> PathBuf {
        self.root.join("installed")
    }

    /// The folder of records of packages that are fetched, not installed.
    pub fn fetched(&self) -> PathBuf {
        self.root.join("fetched")
    }

    /// The folder of records of the versions that installed packages had before.
    pub fn previous(&self) -> PathBuf {
        self.root.join("previous")
    }

    /// The folder of installed packages' files under their own names.
    pub fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    /// The folder of downloads and imports under way.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// The folder of known registries.
    pub fn registries(&self) -> PathBuf {
        self.root.join("registries")
    }

    /// The folder of this home's own key as a courier.
    pub fn courier(&self) -> PathBuf {
        self.root.join("courier")
    }

    /// The folder of couriers whom the keeper authorised.
    pub fn couriers(&self) -> PathBuf {
        self.root.join("couriers")
    }

    /// The folder of piece lists.
    pub fn pieces(&self) -> PathBuf {
        self.root.join("pieces")
    }

    /// The folder of document collections.
    pub fn collections(&self) -> PathBuf {
        self.root.join("collections")
    }

    /// Who this site is in its letters.
    pub fn site(&self) -> PathBuf {
        self.root.join("site.toml")
    }

    /// The newest receipt of this site.
    pub fn receipt(&self) -> PathBuf {
        self.root.join("receipt.json")
    }

    /// What every `sync` of this courier takes along.
    pub fn wishlist(&self) -> PathBuf {
        self.root.join("wishlist.toml")
    }

    /// What exports over several sticks dealt to which of them.
    pub fn exports(&self) -> PathBuf {
        self.root.join("exports")
    }

    /// The folder of what is known here of other sites.
    pub fn sites(&self) -> PathBuf {
        self.root.join("sites")
    }

    /// The folder of blobs that come from sticks and are not whole yet.
    pub fn stick_staging(&self) -> PathBuf {
        self.staging().join("stick")
    }

    /// The folder of cached vectors.
    pub fn vector_cache(&self) -> PathBuf {
        self.root.join("cache").join("vectors")
    }
}
