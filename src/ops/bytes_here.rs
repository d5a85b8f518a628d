//! How many bytes of a file's contents lie in a place, however much room they take there: a link to another program's
//! file takes none, and the journal beside an empty half takes some.

use std::fs;
use std::path::Path;

use crate::digest::Sha256;
use crate::disk;
use crate::transfer::held_bytes;

/// The bytes of a file, or of what came of one by its journal; of a folder those that have no name elsewhere. What lies
/// beside a half (its journal, its lock, its list) counts as nothing.
pub(super) fn bytes_here(path: &Path, size_of: impl Fn(&Sha256) -> Option<u64>) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if metadata.is_dir() {
        let files = disk::files_below(path);
        return files.iter().filter(|file| file.num_names == 1).map(|file| file.allocated_bytes).sum();
    }
    let digest = path.file_stem().and_then(|stem| stem.to_str()?.parse::<Sha256>().ok());
    match (digest, path.extension().and_then(|ending| ending.to_str())) {
        (Some(_), Some("journal" | "lock" | "pieces")) => 0,
        (Some(digest), Some("part")) => {
            let size_bytes = size_of(&digest).filter(|_| path.with_extension("journal").is_file());
            match size_bytes.zip(path.parent()) {
                Some((size_bytes, folder)) => held_bytes(folder, digest, size_bytes),
                // Nobody knows what came; what was written takes room.
                None => disk::allocated_bytes(path).min(metadata.len()),
            }
        }
        _ => metadata.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_half_is_none_of_it_and_a_whole_file_counts_whole() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let digest = Sha256::of(b"a file");
        let place = |ending: &str| folder.path().join(format!("{digest}{ending}"));
        for ending in [".journal", ".lock", ".pieces", ".part", ""] {
            fs::write(place(ending), [7; 5000]).expect("room");
        }
        let bytes = |ending: &str| bytes_here(&place(ending), |_| Some(5000));
        // The journal is none, so nothing is known to have come.
        assert_eq!([".journal", ".lock", ".pieces", ".part", ""].map(bytes), [0, 0, 0, 0, 5000]);
        fs::hard_link(place(""), place(".other")).expect("a name");
        assert_eq!(bytes_here(&place(""), |_| None), 5000);
    }
}
