//! What a refresh that ended early has brought: each signed file under its sha256, for the next one to begin with.
//!
//! `registries/<name>/arriving/<sha256>`. Nothing in it is trusted: a file is hashed when it is taken. It holds only
//! what the newest list that came has signed, and is removed when a refresh comes to its end.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Sha256;
use crate::disk;

use super::error::Result;

/// The folder's name in that of the registry.
const ARRIVING: &str = "arriving";

/// The folders of what waits, of all registries: without them the next refresh brings it again, no more.
pub fn arriving(registries: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(registries).into_iter().flatten().flatten();
    let arriving = entries.map(|entry| Arriving::of(&entry.path()));
    arriving.filter(|arriving| !arriving.is_empty()).map(|arriving| arriving.folder).collect()
}

/// The files that wait for the others.
#[derive(Debug)]
pub(crate) struct Arriving {
    folder: PathBuf,
}

impl Arriving {
    /// Those of the registry in `registry`; nothing is made yet.
    pub(crate) fn of(registry: &Path) -> Self {
        Self { folder: registry.join(ARRIVING) }
    }

    /// A file that came before.
    pub(crate) fn take(&self, length: u64, digest: &Sha256) -> Option<Vec<u8>> {
        let path = self.folder.join(digest.to_string());
        let is_whole = path.metadata().is_ok_and(|metadata| metadata.len() == length);
        let bytes = is_whole.then(|| fs::read(&path).ok())??;
        (Sha256::of(&bytes) == *digest).then_some(bytes)
    }

    /// Keeps a file. One that cannot be kept is fetched again, no more.
    pub(crate) fn keep(&self, digest: &Sha256, bytes: &[u8]) {
        let _ = disk::write_forgettable(&self.folder.join(digest.to_string()), bytes);
    }

    /// Forgets whatever is not of these files.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(crate) fn keep_only(&self, wanted: &BTreeSet<Sha256>) -> Result<()> {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().parse::<Sha256>();
            if !name.is_ok_and(|digest| wanted.contains(&digest)) {
                disk::remove_any(&entry.path())?;
            }
        }
        Ok(())
    }

    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        fs::read_dir(&self.folder).map_or(true, |mut entries| entries.next().is_none())
    }

    /// Makes durable what waits.
    pub(crate) fn sync(&self) {
        if !self.is_empty() {
            let _ = disk::sync_filesystem(&self.folder);
        }
    }

    /// Forgets all of it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn clear(&self) -> Result<()> {
        Ok(disk::remove_dir_all(&self.folder)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_when_it_is_taken_and_goes_when_it_is_signed_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let arriving = Arriving::of(folder.path());
        let (one, two) = (Sha256::of(b"one"), Sha256::of(b"two"));
        assert!(arriving.is_empty() && arriving.take(3, &one).is_none());
        arriving.keep(&one, b"one");
        arriving.keep(&two, b"tow");
        assert_eq!(arriving.take(3, &one).as_deref(), Some(&b"one"[..]));
        assert_eq!(arriving.take(3, &two), None, "torn");
        arriving.keep_only(&BTreeSet::from([two])).expect("writable");
        assert_eq!(arriving.take(3, &one), None);
        assert!(!arriving.is_empty());
        arriving.clear().expect("writable");
        assert!(arriving.is_empty());
    }
}
