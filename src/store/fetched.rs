//! Packages whose bytes are here only to be carried on: one record a build, so that no build takes the place of
//! another whose bytes were paid for.
//!
//! ```text
//! fetched/<name>@<version>+<variant>-<content>.json    one record
//! fetched/<name>.json                                  as earlier programs wrote the only one of a name; still read
//! ```

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::package::Name;

use super::Store;
use super::error::{RecordKind, Result};
use super::installed::{Installed, read_record, record_paths, write_record};

impl Store {
    /// Every package that is fetched and not installed, by name; of one name the newest version last, and of one
    /// version the build that was fetched last.
    ///
    /// # Errors
    /// When a record is damaged or was written by a later localml.
    pub fn fetched(&self) -> Result<Vec<Installed>> {
        self.read_fetched(&record_paths(&self.folders.fetched))
    }

    /// The builds of one package that are fetched and not installed, in the order of `fetched`.
    ///
    /// # Errors
    /// When one of their records is damaged or was written by a later localml.
    pub fn fetched_of(&self, name: &Name) -> Result<Vec<Installed>> {
        let (whole, begin) = (format!("{name}.json"), format!("{name}@"));
        let mut paths = record_paths(&self.folders.fetched);
        paths.retain(|path| {
            let file = path.file_name().map(|file| file.to_string_lossy()).unwrap_or_default();
            file == whole || file.starts_with(&begin)
        });
        self.read_fetched(&paths)
    }

    /// Records that a package's bytes are here, to be carried on. Other builds and versions of it stay. An installed
    /// package needs no such record.
    ///
    /// # Errors
    /// `MissingBlob` when they are not all here; otherwise when the record cannot be written.
    pub fn keep(&self, fetched: &Installed) -> Result<()> {
        self.check_whole(fetched)?;
        // Bytes that came again for what is in use take the place of damaged ones under its names too.
        if let Some(here) = self.find_readable(fetched.name())?
            && self.has_installed(fetched)?
        {
            self.put_in_place(&here)?;
            return self.forget_fetched(fetched);
        }
        write_record(&self.fetched_path(fetched), fetched)?;
        self.forget_early_record(fetched)
    }

    /// Where the record of a fetched build lies.
    pub fn fetched_path(&self, fetched: &Installed) -> PathBuf {
        self.folders.fetched.join(format!("{}@{}.json", fetched.name(), self.build_name(fetched)))
    }

    /// Removes the record of a fetched build, and no blob.
    pub(super) fn forget_fetched(&self, fetched: &Installed) -> Result<()> {
        disk::remove_file(&self.fetched_path(fetched))?;
        self.forget_early_record(fetched)
    }

    /// Removes the record that an earlier program wrote of this very build.
    fn forget_early_record(&self, fetched: &Installed) -> Result<()> {
        let path = self.folders.fetched.join(format!("{}.json", fetched.name()));
        let is_same = |early: Installed| self.build_name(&early) == self.build_name(fetched);
        match path.is_file() && read_record(&path, RecordKind::Fetched).is_ok_and(is_same) {
            true => Ok(disk::remove_file(&path)?),
            false => Ok(()),
        }
    }

    fn read_fetched(&self, paths: &[impl AsRef<Path>]) -> Result<Vec<Installed>> {
        let mut fetched: Vec<Installed> = paths
            .iter()
            .map(|path| read_record(path.as_ref(), RecordKind::Fetched))
            .collect::<Result<_>>()?;
        // A write that was killed before it removed an earlier program's record leaves two of one build.
        let mut seen = HashSet::new();
        fetched.retain(|record| seen.insert((record.name().clone(), self.build_name(record))));
        fetched.sort_by(|left, right| {
            let version = |record: &Installed| record.manifest.package.version.clone();
            let by_version = || version(left).cmp(&version(right));
            let by_time = || left.installed_at.cmp(&right.installed_at);
            left.name().cmp(right.name()).then_with(by_version).then_with(by_time)
        });
        Ok(fetched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::{self, store_in};

    /// A build of `mod` with one file, whose bytes are put into the store.
    fn build(store: &Store, root: &Path, version: &str, variant: &str) -> Installed {
        samples::package(store, root, ["mod", version, variant], &format!("{version} {variant}"), 7)
    }

    fn builds(packages: &[Installed]) -> Vec<String> {
        let name = |it: &Installed| format!("{}:{}", it.manifest.package.version, it.variant);
        packages.iter().map(name).collect()
    }

    #[test]
    fn no_build_takes_the_place_of_another() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let root = folder.path();
        let store = store_in(root);
        let kept = [("1.0.0", "q4"), ("1.1.0", "q4"), ("1.0.0", "q8")];
        let kept = kept.map(|(version, variant)| build(&store, root, version, variant));
        kept.iter().for_each(|build| store.keep(build).expect("whole"));
        let name: Name = "mod".parse().expect("a name");
        assert_eq!(builds(&store.fetched_of(&name).expect("sound")), ["1.0.0:q4", "1.0.0:q8", "1.1.0:q4"]);
        assert_eq!(store.lying_blobs().len(), 3);

        // What is installed needs no second record; the others stay beside it.
        store.record(&kept[0]).expect("whole");
        store.keep(&kept[0]).expect("whole");
        assert_eq!(builds(&store.fetched().expect("sound")), ["1.0.0:q8", "1.1.0:q4"]);
        assert_eq!(store.remove(&kept[2]).expect("fetched"), 8);
        assert_eq!(builds(&store.fetched().expect("sound")), ["1.1.0:q4"]);
        assert_eq!(store.lying_blobs().len(), 2);
    }

    #[test]
    fn a_record_that_an_earlier_program_wrote_is_read_and_replaced_by_its_own_build_alone() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let root = folder.path();
        let store = store_in(root);
        let [four, eight] = ["q4", "q8"].map(|variant| build(&store, root, "1.0.0", variant));
        let early = root.join("fetched/mod.json");
        write_record(&early, &four).expect("room");
        assert_eq!(store.fetched().expect("sound"), std::slice::from_ref(&four));
        store.keep(&eight).expect("whole");
        assert_eq!(builds(&store.fetched().expect("sound")), ["1.0.0:q4", "1.0.0:q8"]);
        assert!(early.is_file());
        // Written anew, it lies under its own name; killed in between, both names mean one build.
        write_record(&store.fetched_path(&four), &four).expect("room");
        assert_eq!(store.fetched_of(four.name()).expect("sound").len(), 2);
        store.keep(&four).expect("whole");
        assert!(!early.exists());

        write_record(&early, &four).expect("room");
        assert_eq!(store.remove(&four).expect("fetched"), 8);
        assert!(!early.exists());
        assert_eq!(store.fetched().expect("sound"), [eight]);
    }
}
