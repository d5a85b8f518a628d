//! Installed packages whose records cannot be read: what is written anew or forgotten must not be stopped by what it
//! replaces.

use crate::disk;
use crate::package::Name;

use super::Store;
use super::error::{Result, StoreError};
use super::installed::Installed;

impl Store {
    /// One installed package, when it is here; a damaged record counts as none. For whoever is about to write that
    /// very record.
    ///
    /// # Errors
    /// When its record was written by a later localml, or cannot be had from the disk.
    pub fn find_readable(&self, name: &Name) -> Result<Option<Installed>> {
        match self.find(name) {
            Err(StoreError::DamagedRecord { .. }) => Ok(None),
            found => found,
        }
    }

    /// Every installed package whose record can be read, by name.
    ///
    /// # Errors
    /// As `find_readable`.
    pub fn installed_readable(&self) -> Result<Vec<Installed>> {
        let damaged: Vec<Name> = self.damaged_installed();
        self.installed_but(&damaged)
    }

    /// The installed packages whose records are damaged, by name.
    pub fn damaged_installed(&self) -> Vec<Name> {
        let paths = super::installed::record_paths(&self.folders.installed);
        let stems = paths.iter().filter_map(|path| path.file_stem()?.to_str()?.parse().ok());
        let is_damaged = |name: &Name| matches!(self.find(name), Err(StoreError::DamagedRecord { .. }));
        stems.filter(is_damaged).collect()
    }

    /// Forgets installed packages whose records are damaged, and the versions before them. What they needed is not
    /// known: `unneeded` finds it. Returns the bytes freed.
    ///
    /// # Errors
    /// When a record of another package is damaged: nothing is removed then; or when the disk fails.
    pub fn remove_damaged(&self, names: &[Name]) -> Result<u64> {
        self.installed_but(names)?;
        self.fetched()?;
        self.previous()?;
        names.iter().try_for_each(|name| disk::remove_file(&self.record_path(name)))?;
        let freed = names.iter().map(|name| self.forget_versions_before(name));
        freed.sum()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::samples::{self, store_in};

    /// Installs a package of one file that holds its version.
    fn install(store: &Store, root: &std::path::Path, name: &str, version: &str) -> Installed {
        let package = samples::package(store, root, [name, version, "md"], version, 1);
        store.record(&package).expect("whole");
        package
    }

    #[test]
    fn a_damaged_record_before_another_package_stops_nothing() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let root = folder.path();
        let store = store_in(root);
        install(&store, root, "sml", "1.0.0");
        install(&store, root, "sml", "2.0.0");
        let book = install(&store, root, "book", "3.0.0");
        let record = only(record_of_before(root));
        fs::write(&record, b"").expect("room");
        assert_eq!(store.damaged_previous().len(), 1);
        assert_eq!(store.remove(&book).expect("sound itself"), 5);
        let error = store.previous_of(&"sml".parse().expect("a name")).expect_err("its own way back");
        assert!(error.to_string().starts_with("the record of a version before, `"), "{error}");

        // The next version forgets it, as it would have forgotten a sound one.
        install(&store, root, "sml", "4.0.0");
        assert!(!record.exists() && store.damaged_previous().is_empty());
        assert_eq!(store.previous().expect("sound").len(), 1);
    }

    #[test]
    fn nothing_is_removed_while_another_packages_record_cannot_be_read() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let root = folder.path();
        let store = store_in(root);
        let sml = install(&store, root, "sml", "1.0.0");
        let book = install(&store, root, "book", "3.0.0");
        fs::write(root.join("installed/sml.json"), b"").expect("room");
        store.remove(&book).expect_err("nobody knows what `sml` needs");
        assert_eq!(store.find(book.name()).expect("sound"), Some(book.clone()));

        assert_eq!(store.damaged_installed(), [sml.name().clone()]);
        assert_eq!(store.installed_readable().expect("sound"), std::slice::from_ref(&book));
        store.remove_damaged(std::slice::from_ref(sml.name())).expect("its own");
        assert_eq!(store.installed().expect("sound"), [book]);
    }

    fn record_of_before(root: &std::path::Path) -> Vec<std::path::PathBuf> {
        super::super::installed::record_paths(&root.join("previous"))
    }

    fn only(mut paths: Vec<std::path::PathBuf>) -> std::path::PathBuf {
        assert_eq!(paths.len(), 1);
        paths.remove(0)
    }
}
