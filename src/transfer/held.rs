//! What an earlier try has brought of a file, as its journal says: for plans, which read no part file and change nothing.

use std::ops::Range;
use std::path::Path;

use super::journal::{Record, read};
use super::staging::Paths;
use crate::digest::Sha256;

/// The runs of bytes of a wanted file that lie in a staging folder, in order, none touching the next. A fetch reads
/// them back and keeps what is right of them, so that it may cost more where the disk has damaged some; what cannot be
/// read counts as nothing.
pub fn held_ranges(staging_dir: &Path, digest: Sha256, size_bytes: u64) -> Vec<Range<u64>> {
    let paths = Paths::new(staging_dir, digest);
    let part_bytes = std::fs::metadata(&paths.part).map_or(0, |part| part.len()).min(size_bytes);
    if part_bytes == 0 {
        return Vec::new();
    }
    let records = read(&paths.journal, digest, size_bytes).unwrap_or_default();
    let mut ranges: Vec<Range<u64>> = records
        .iter()
        .filter_map(|record| match record {
            Record::Have { offset, length, .. } => {
                Some(*offset..offset.saturating_add(*length).min(part_bytes))
            }
            Record::From { .. } | Record::Wrong { .. } => None,
        })
        .filter(|range| !range.is_empty())
        .collect();
    ranges.sort_by_key(|range| range.start);
    let mut held: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match held.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => held.push(range),
        }
    }
    held
}

/// How many bytes these are.
pub fn held_bytes(staging_dir: &Path, digest: Sha256, size_bytes: u64) -> u64 {
    held_ranges(staging_dir, digest, size_bytes).iter().map(|range| range.end - range.start).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::journal::Journal;

    fn have(offset: u64, length: u64) -> Record {
        Record::Have { offset, length, sha256: Sha256::of(b"whatever") }
    }

    #[test]
    fn what_the_journal_says_counts_as_far_as_the_part_file_goes() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let digest = Sha256::of(b"a file");
        let paths = Paths::new(folder.path(), digest);
        assert_eq!(held_ranges(folder.path(), digest, 100), []);
        // A run that grew, one behind it, a gap, one that the part file has only half of, and one of nothing.
        let records = [have(0, 10), have(0, 30), have(30, 5), have(60, 30), have(95, 5)];
        Journal::create(&paths.journal, digest, 100, &records).expect("room");
        assert_eq!(held_ranges(folder.path(), digest, 100), [], "there is no part file");
        std::fs::write(&paths.part, [7; 70]).expect("room");
        assert_eq!(held_ranges(folder.path(), digest, 100), [0..35, 60..70]);
        assert_eq!(held_ranges(folder.path(), digest, 99), [], "it speaks of another length");
    }

    #[test]
    fn a_part_file_without_a_journal_holds_nothing_that_is_known() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let digest = Sha256::of(b"a file");
        std::fs::write(Paths::new(folder.path(), digest).part, [7; 70]).expect("room");
        assert_eq!(held_ranges(folder.path(), digest, 100), []);
    }
}
