//! What lies in the store's folders and no record needs: found here, judged and removed by the caller.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Sha256;

use super::Store;
use super::error::Result;
use super::installed::Installed;

/// Something that no record needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unneeded {
    /// Where it lies: a file, or a folder with all it holds.
    pub path: PathBuf,
    /// What it is.
    pub what: UnneededKind,
}

/// What something is that no record needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnneededKind {
    /// A blob in use of which no record speaks. Its bytes were verified when it came.
    Blob(Sha256),
    /// Bytes that were set aside as damaged. `is_needed` while a record still waits for the right ones.
    Damaged {
        /// The blob that they should be.
        digest: Sha256,
        /// True while the right bytes are not here and a record needs them.
        is_needed: bool,
    },
    /// A piece list of a publisher that no record names.
    PieceList(Sha256),
    /// A piece list that was made here, of a blob that no record needs.
    Cut(Sha256),
    /// The files of a package, under their own names, that no record speaks of.
    PackageFiles,
    /// What a write that was cut off has left.
    Temporary,
}

impl Store {
    /// Everything in the store's folders that no record needs, by path.
    ///
    /// # Errors
    /// When a record is damaged or was written by a later localml: then nobody knows what it needs.
    pub fn unneeded(&self) -> Result<Vec<Unneeded>> {
        let records = [self.installed()?, self.fetched()?, self.previous()?].concat();
        let files = || records.iter().flat_map(Installed::files);
        let blobs: HashSet<Sha256> = files().map(|file| file.sha256).collect();
        let lists: HashSet<Sha256> = files().filter_map(|file| file.pieces).collect();
        let folders: HashSet<PathBuf> = records.iter().map(|record| self.package_folder(record)).collect();
        let mut found = Vec::new();
        for path in names_in(&self.folders.blobs) {
            found.extend(self.judge_blob(&path, &blobs).map(|what| Unneeded { path, what }));
        }
        for path in names_in(&self.folders.pieces) {
            found.extend(judge_list(&path, &lists, &blobs).map(|what| Unneeded { path, what }));
        }
        for name in names_in(&self.folders.packages) {
            let builds = names_in(&name);
            let unneeded: Vec<PathBuf> =
                builds.iter().filter(|build| !folders.contains(*build)).cloned().collect();
            // A name of which nothing is left goes with its last build.
            let all = if unneeded.len() == builds.len() { vec![name] } else { unneeded };
            found.extend(all.into_iter().map(|path| Unneeded { path, what: UnneededKind::PackageFiles }));
        }
        for folder in [&self.folders.installed, &self.folders.fetched, &self.folders.previous] {
            let left = names_in(folder).into_iter().filter(|path| is_left_over(path));
            found.extend(left.map(|path| Unneeded { path, what: UnneededKind::Temporary }));
        }
        Ok(found)
    }

    fn judge_blob(&self, path: &Path, needed: &HashSet<Sha256>) -> Option<UnneededKind> {
        if is_left_over(path) {
            return Some(UnneededKind::Temporary);
        }
        let name = path.file_name()?.to_str()?;
        if let Some(digest) = name.strip_suffix(".damaged").and_then(|digest| digest.parse().ok()) {
            let is_needed = needed.contains(&digest) && !self.place_of(&digest).is_file();
            return Some(UnneededKind::Damaged { digest, is_needed });
        }
        let digest = name.parse().ok().filter(|digest| !needed.contains(digest))?;
        Some(UnneededKind::Blob(digest))
    }
}

fn judge_list(path: &Path, lists: &HashSet<Sha256>, blobs: &HashSet<Sha256>) -> Option<UnneededKind> {
    if is_left_over(path) {
        return Some(UnneededKind::Temporary);
    }
    let name = path.file_name()?.to_str()?;
    if let Some(blob) = name.strip_suffix(".cut").and_then(|blob| blob.parse().ok()) {
        return (!blobs.contains(&blob)).then_some(UnneededKind::Cut(blob));
    }
    let digest = name.parse().ok().filter(|digest| !lists.contains(digest))?;
    Some(UnneededKind::PieceList(digest))
}

/// True for the temporary file of a write whose process has ended: `.<name>.<process id>.new`.
pub fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let process = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".new"))
        .and_then(|name| name.rsplit_once('.'))
        .and_then(|(_, process)| process.parse::<u32>().ok());
    // A process of that number may be another one by now; then it goes the next time.
    process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
}

/// The paths in a folder, by name; none when it is not there.
fn names_in(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_writes_of_processes_that_have_ended_are_left_over() {
        let own = std::process::id();
        assert!(!is_left_over(Path::new(&format!("blobs/.abc.{own}.new"))));
        // Process numbers end far below this one.
        assert!(is_left_over(Path::new("blobs/.abc.4294967295.new")));
        for other in ["blobs/abc", "blobs/.abc.new", "blobs/abc.1.new", "blobs/.abc.x.new"] {
            assert!(!is_left_over(Path::new(other)), "{other}");
        }
    }
}
