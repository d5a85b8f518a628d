//! The version that an installed package had before: its record and its blobs stay, so that the way back needs no
//! network.
//!
//! ```text
//! previous/<name>@<version>+<variant>-<content>.json    one record, as it stood in installed/
//! ```
//! The order of writing is what makes it safe: the old record is copied here first, then the new one is written to
//! `installed/` (the commit), then what was here before is forgotten. Killed in between, a record too many lies
//! here and none too few.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::digest::Sha256;
use crate::disk;
use crate::package::Name;

use super::Store;
use super::error::{RecordKind, Result, StoreError};
use super::installed::{Installed, read_record, record_paths, write_record};

impl Store {
    /// Every older version that is kept, by name, the one that was installed last first. Damaged records are left
    /// out, `damaged_previous` has them: all that is lost with one is a way back, and nothing else must wait for it.
    ///
    /// # Errors
    /// When a record was written by a later localml, or cannot be had from the disk.
    pub fn previous(&self) -> Result<Vec<Installed>> {
        let mut previous = Vec::new();
        for path in record_paths(&self.folders.previous) {
            match read_record(&path, RecordKind::Previous) {
                Err(StoreError::DamagedRecord { .. }) => {}
                record => previous.push(record?),
            }
        }
        previous.sort_by(|left, right| {
            let newest_first = right.installed_at.cmp(&left.installed_at);
            left.name().cmp(right.name()).then(newest_first)
        });
        Ok(previous)
    }

    /// The damaged records of older versions: where each lies, and what is wrong with it.
    pub fn damaged_previous(&self) -> Vec<(PathBuf, StoreError)> {
        let damage = |path: PathBuf| match read_record(&path, RecordKind::Previous) {
            Err(error @ StoreError::DamagedRecord { .. }) => Some((path, error)),
            _ => None,
        };
        record_paths(&self.folders.previous).into_iter().filter_map(damage).collect()
    }

    /// The older versions of one installed package, the one that was installed last first. What is installed now is
    /// none of them.
    ///
    /// # Errors
    /// As `previous`; and when a record of this package is damaged.
    pub fn previous_of(&self, name: &Name) -> Result<Vec<Installed>> {
        if let Some((_, damage)) = self.damaged_previous().into_iter().find(|(path, _)| is_of(path, name)) {
            return Err(damage);
        }
        let current = self.find(name)?;
        let is_current = |older: &Installed| {
            current.as_ref().is_some_and(|current| self.package_folder(current) == self.package_folder(older))
        };
        let mut previous = self.previous()?;
        previous.retain(|older| older.name() == name && !is_current(older));
        Ok(previous)
    }

    /// Forgets an older version, and removes the blobs that nothing else needs. Returns the bytes freed.
    ///
    /// # Errors
    /// `NotInstalled` when it is not kept, or when a record of what is here is damaged: nothing is removed then; or
    /// when the disk fails, with the record already gone.
    pub fn forget_previous(&self, older: &Installed) -> Result<u64> {
        let path = self.previous_path(older);
        if !path.is_file() {
            return Err(StoreError::NotInstalled { name: older.name().clone() });
        }
        let current = self.find(older.name())?;
        self.needed_blobs()?;
        disk::remove_file(&path)?;
        if current.is_none_or(|current| self.package_folder(&current) != self.package_folder(older)) {
            disk::remove_dir_all(&self.package_folder(older))?;
        }
        self.free_blobs_of(older)
    }

    /// Every blob that a record needs: what is installed, what is fetched, and what a way back needs whose record can
    /// be read.
    ///
    /// # Errors
    /// When a record is damaged or was written by a later localml.
    pub fn needed_blobs(&self) -> Result<HashSet<Sha256>> {
        let records = [self.installed()?, self.fetched()?, self.previous()?].concat();
        Ok(records.iter().flat_map(Installed::files).map(|file| file.sha256).collect())
    }

    /// Copies the record of what is about to be replaced.
    pub(super) fn keep_previous(&self, replaced: &Installed) -> Result<()> {
        write_record(&self.previous_path(replaced), replaced)
    }

    /// Removes the damaged records of older versions of a package, but not that of `kept`. What only they needed is
    /// found by `unneeded`.
    pub(super) fn forget_damaged_previous_but(&self, name: &Name, kept: Option<&Installed>) -> Result<()> {
        let kept_path = kept.map(|kept| self.previous_path(kept));
        for (path, _) in self.damaged_previous() {
            if is_of(&path, name) && kept_path.as_ref() != Some(&path) {
                disk::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Forgets every older version of a package but one. Failing to tidy up is no failure of what was installed.
    pub(super) fn forget_all_previous_but(&self, kept: &Installed) {
        let _ = self.forget_damaged_previous_but(kept.name(), Some(kept));
        let kept_path = self.previous_path(kept);
        let older = self.previous().unwrap_or_default();
        for older in older.iter().filter(|older| older.name() == kept.name()) {
            if self.previous_path(older) != kept_path {
                let _ = self.forget_previous(older);
            }
        }
    }

    fn previous_path(&self, older: &Installed) -> PathBuf {
        self.folders.previous.join(format!("{}@{}.json", older.name(), self.build_name(older)))
    }
}

/// True for the record of an older version of this package, by its name alone.
fn is_of(path: &Path, name: &Name) -> bool {
    let file = path.file_name().map(|file| file.to_string_lossy()).unwrap_or_default();
    file.split_once('@').is_some_and(|(found, _)| found == name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::{self, store_in};

    /// A version of `book` with one file, whose bytes are put into the store.
    fn package(store: &Store, root: &std::path::Path, version: &str, content: &str) -> Installed {
        let seconds = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        samples::package(store, root, ["book", version, "md"], content, seconds)
    }

    fn versions(packages: &[Installed]) -> Vec<String> {
        packages.iter().map(|package| package.manifest.package.version.to_string()).collect()
    }

    #[test]
    fn the_version_before_is_kept_and_the_one_before_that_is_not() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let root = folder.path();
        let store = store_in(root);
        let name: Name = "book".parse().expect("a name");
        let [one, two, three] = ["1.0.0", "2.0.0", "3.0.0"].map(|version| {
            let package = package(&store, root, version, version);
            store.record(&package).expect("whole");
            package
        });
        assert_eq!(versions(&store.previous_of(&name).expect("sound")), ["2.0.0"]);
        assert!(store.blob_path(&one.files()[0].sha256, 5).is_none(), "the first one's bytes are free");
        assert!(store.package_folder(&two).join("a.md").is_file());

        store.record(&two).expect("its bytes are here");
        assert_eq!(versions(&store.installed().expect("sound")), ["2.0.0"]);
        assert_eq!(versions(&store.previous_of(&name).expect("sound")), ["3.0.0"]);
        assert_eq!(store.needed_blobs().expect("sound").len(), 2);

        assert_eq!(store.forget_previous(&three).expect("kept"), 5);
        assert!(store.package_folder(&two).join("a.md").is_file());
        assert!(store.previous_of(&name).expect("sound").is_empty());
    }

    #[test]
    fn what_was_killed_between_two_records_loses_nothing() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let root = folder.path();
        let store = store_in(root);
        let one = package(&store, root, "1.0.0", "one");
        let two = package(&store, root, "2.0.0", "two");
        store.record(&one).expect("whole");
        // Killed before the commit: the copy is there, and what is installed is no older version of itself.
        store.keep_previous(&one).expect("room");
        assert!(store.previous_of(one.name()).expect("sound").is_empty());
        store.record(&two).expect("whole");
        // Killed after the commit: one record too many.
        store.keep_previous(&two).expect("room");
        assert_eq!(versions(&store.previous_of(one.name()).expect("sound")), ["1.0.0"]);
    }

    #[test]
    fn removing_a_package_removes_the_version_before_too() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let root = folder.path();
        let store = store_in(root);
        store.record(&package(&store, root, "1.0.0", "one")).expect("whole");
        let two = package(&store, root, "2.0.0", "two!");
        store.record(&two).expect("whole");
        assert_eq!(store.remove(&two).expect("installed"), 3 + 4);
        assert!(store.previous().expect("sound").is_empty() && store.lying_blobs().is_empty());
    }
}
