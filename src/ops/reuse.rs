//! What of a wanted file lies here already, piece by piece, in whatever file: that need not be fetched.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use crate::digest::{Hasher, Sha256};
use crate::disk;
use crate::gguf::Header;
use crate::home::Home;
use crate::package::{FileEntry, Name, Piece, PieceList};
use crate::progress::{Monitor, Unit};
use crate::store::Store;
use crate::transfer::{self, Client, Reusable, held_ranges};

use super::choice::Choice;
use super::error::Result;
use super::fetch::{FetchReport, FetchedPackage, piece_list};
use super::line::{Line, LineOptions};
use super::nearby;
use super::pricing::is_some_here;

/// How many files are remembered for one piece: where the first is damaged, the next may not be.
const MAX_PLACES: usize = 3;

/// The pieces of a wanted file that files here should hold. Reads piece lists, and no blob.
///
/// # Errors
/// When a record is damaged.
pub(super) fn pieces_here(store: &Store, wanted: &PieceList) -> Result<Vec<Reusable>> {
    let mut by_digest: HashMap<Sha256, Vec<Piece>> = HashMap::new();
    for piece in wanted.pieces() {
        by_digest.entry(piece.sha256).or_default().push(*piece);
    }
    let mut num_places: HashMap<u64, usize> = HashMap::new();
    let mut here = Vec::new();
    for blob in store.cut_blobs()? {
        for held in blob.pieces.pieces() {
            let targets = by_digest.get(&held.sha256).into_iter().flatten();
            for piece in targets.filter(|piece| piece.length == held.length) {
                let num_places = num_places.entry(piece.offset).or_default();
                if *num_places < MAX_PLACES {
                    *num_places += 1;
                    here.push(Reusable { piece: *piece, path: blob.path.clone(), at: held.offset });
                }
            }
        }
    }
    Ok(here)
}

/// The publisher's piece list of a file, where it is here: in the store, or beside what sticks brought of the file.
pub(super) fn known_piece_list(home: &Home, store: &Store, file: &FileEntry) -> Option<PieceList> {
    let kept = file.pieces.and_then(|digest| store.piece_list(&digest).ok().flatten());
    kept.or_else(|| nearby::piece_list_from_sticks(home, file))
}

/// The pieces of a wanted file that files here should hold, and those that sticks brought.
///
/// # Errors
/// As `pieces_here`.
pub(super) fn pieces_at_hand(
    home: &Home,
    store: &Store,
    file: &FileEntry,
    list: &PieceList,
) -> Result<Vec<Reusable>> {
    let mut here = pieces_here(store, list)?;
    here.extend(nearby::pieces_from_sticks(home, file, list));
    Ok(here)
}

/// How much of a file lies here in other files, in bytes: what is called so, and what sticks brought, hashed again.
pub(super) fn reusable_bytes(home: &Home, store: &Store, file: &FileEntry, monitor: &dyn Monitor) -> u64 {
    let list = known_piece_list(home, store, file);
    let here = list.and_then(|list| pieces_at_hand(home, store, file, &list).ok()).unwrap_or_default();
    right_pieces(store, &here, monitor).values().sum::<u64>().min(file.size_bytes)
}

/// Looks once into what is here of a package whose publisher told no pieces, so that its newer version can reuse
/// them. Ends early when the user stops.
///
/// # Errors
/// When a record is damaged, or what was found cannot be kept.
pub(super) fn cut_what_is_here(store: &Store, package: &Name, monitor: &dyn Monitor) -> Result<()> {
    for (digest, path) in store.uncut_blobs_of(package)? {
        // A blob that cannot be read has nothing to reuse; that it is damaged, `verify` says.
        if let Some(list) = cut(&path, &digest, package, monitor) {
            store.keep_cut(&digest, &list)?;
        }
    }
    Ok(())
}

/// The line on which a plan may ask for piece lists: none offline, and none on a budget, which a plan must not begin.
///
/// # Errors
/// As `Line::open`.
pub(super) fn line_for_plan(home: &Home, options: &LineOptions) -> Result<Option<Line>> {
    match options.is_offline || options.budget_bytes.is_some() {
        true => Ok(None),
        false => Line::open(home, options).map(Some),
    }
}

/// Says in a plan what need not be fetched: what an earlier try has brought, and what lies here in other files; what
/// was found damaged and lies aside, and what sticks brought, is read for it. `client` brings piece lists that are not here yet, where an older version is; without it, or them, the plan is an upper bound.
///
/// # Errors
/// As `pieces_here`, or when the user stopped.
pub(super) fn plan(
    report: &mut FetchReport,
    choices: &[Choice],
    (home, store): (&Home, &Store),
    client: Option<&Client>,
    monitor: &dyn Monitor,
) -> Result<()> {
    let mut counted: HashSet<Sha256> = HashSet::new();
    for (choice, package) in choices.iter().zip(&mut report.packages) {
        let is_older_here = is_some_here(store, choice)?;
        let client = client.filter(|_| is_older_here);
        for (file, sources) in choice.missing(store) {
            let held = held_ranges(&home.staging(), file.sha256, file.size_bytes);
            let list = match (known_piece_list(home, store, file), client) {
                (None, Some(client)) => piece_list(store, client, file, sources, monitor)?,
                (known, _) => known,
            };
            package.is_upper_bound |= list.is_none() && file.pieces.is_some() && is_older_here;
            let mut here = Here { kept_bytes: held.iter().map(length).sum(), reused_bytes: 0 };
            if let Some(list) = list {
                if client.is_some() {
                    cut_what_is_here(store, choice.name(), monitor)?;
                }
                let right = right_pieces(store, &pieces_at_hand(home, store, file, &list)?, monitor);
                here.reused_bytes = bytes_beside(&right, &held);
            }
            note(package, here);
            if counted.insert(file.sha256) {
                report.missing_bytes =
                    report.missing_bytes.saturating_sub(here.kept_bytes + here.reused_bytes);
                report.kept_bytes += here.kept_bytes;
                report.reused_bytes += here.reused_bytes;
            }
        }
        report.is_upper_bound |= package.is_upper_bound;
    }
    report.saved_bytes += report.kept_bytes + report.reused_bytes;
    Ok(())
}

/// What of a missing file need not be fetched.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Here {
    /// What an earlier try has brought, in bytes.
    pub(super) kept_bytes: u64,
    /// What other files here hold beside that, in bytes.
    pub(super) reused_bytes: u64,
}

/// Counts what did not have to be fetched.
pub(super) fn note(package: &mut FetchedPackage, here: Here) {
    package.kept_bytes += here.kept_bytes;
    package.reused_bytes += here.reused_bytes;
    package.missing_bytes = package.missing_bytes.saturating_sub(here.kept_bytes + here.reused_bytes);
}

/// How much of a file an earlier try has brought, in bytes.
pub(super) fn held_bytes(home: &Home, file: &FileEntry) -> u64 {
    transfer::held_bytes(&home.staging(), file.sha256, file.size_bytes)
}

/// A GGUF's header; `None` where the file is none.
///
/// # Errors
/// Says why a file that begins as GGUF is none.
pub(super) fn gguf_header(path: &Path) -> std::result::Result<Option<Header>, String> {
    let mut magic = [0; 4];
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    if file.read_exact(&mut magic).is_err() || &magic != b"GGUF" {
        return Ok(None);
    }
    let size_bytes = file.metadata().map_err(|error| error.to_string())?.len();
    Header::read(&mut file, size_bytes).map(Some).map_err(|error| error.to_string())
}

/// The pieces of the wanted file that need not come, by where they begin, with their lengths. A blob in use counts for what
/// it is called; what lies aside is hashed, because some of it is wrong. Stopped, it counts what it has found by then.
pub(super) fn right_pieces(store: &Store, here: &[Reusable], monitor: &dyn Monitor) -> HashMap<u64, u64> {
    let (in_use, doubtful): (Vec<&Reusable>, Vec<&Reusable>) =
        here.iter().partition(|it| store.is_in_use(&it.path));
    let mut right: HashMap<u64, u64> = in_use.iter().map(|it| (it.piece.offset, it.piece.length)).collect();
    let task = (!doubtful.is_empty()).then(|| {
        let bytes = doubtful.iter().map(|it| it.piece.length).sum();
        monitor.start("reading what lies aside", Some(bytes), Unit::Bytes)
    });
    for it in doubtful {
        if !right.contains_key(&it.piece.offset) && !monitor.is_cancelled() && is_right(it) {
            right.insert(it.piece.offset, it.piece.length);
        }
        task.iter().for_each(|task| task.advance(it.piece.length));
    }
    right
}

/// True when the bytes there are those of the piece.
pub(super) fn is_right(it: &Reusable) -> bool {
    let mut bytes = vec![0; usize::try_from(it.piece.length).unwrap_or_default()];
    let Ok(file) = disk::open_plain(&it.path) else { return false };
    let read = disk::read_at(&file, &mut bytes, it.at);
    read.is_ok_and(|count| count == bytes.len()) && Sha256::of(&bytes) == it.piece.sha256
}

/// The bytes of these pieces beside those that are held already.
pub(super) fn bytes_beside(pieces: &HashMap<u64, u64>, held: &[Range<u64>]) -> u64 {
    let beside = |(&offset, &bytes): (&u64, &u64)| bytes - overlap(&(offset..offset + bytes), held);
    pieces.iter().map(beside).sum()
}

/// How many bytes of a run lie in one of these, of which none touches another.
pub(super) fn overlap(run: &Range<u64>, held: &[Range<u64>]) -> u64 {
    let shared = |held: &Range<u64>| held.end.min(run.end).saturating_sub(held.start.max(run.start));
    held.iter().map(shared).sum()
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

/// Cuts a blob as its publisher would have; `None` when it is not what its name says, or the user stopped.
fn cut(path: &Path, digest: &Sha256, package: &Name, monitor: &dyn Monitor) -> Option<PieceList> {
    let header = gguf_header(path).ok().flatten();
    let boundaries = header.map(|header| header.piece_boundaries()).unwrap_or_default();
    let mut file = File::open(path).ok()?;
    let size_bytes = file.metadata().ok()?.len();
    let label = format!("looking into `{package}`");
    let task = monitor.start(&label, Some(size_bytes), Unit::Bytes);
    let (mut pieces, mut whole, mut buffer) = (Vec::new(), Hasher::new(), Vec::new());
    for (offset, length) in PieceList::grid(size_bytes, &boundaries) {
        if monitor.is_cancelled() {
            return None;
        }
        buffer.resize(length as usize, 0);
        file.read_exact(&mut buffer).ok()?;
        whole.update(&buffer);
        pieces.push(Piece { offset, length, sha256: Sha256::of(&buffer) });
        task.advance(length);
    }
    PieceList::new(pieces).ok().filter(|_| whole.finish() == *digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_try_brought_is_not_counted_again_as_reused() {
        let place = |offset, length| Reusable {
            piece: Piece { offset, length, sha256: Sha256::of(b"") },
            path: "here".into(),
            at: 0,
        };
        // The first piece is known at two places.
        let here = [place(0, 10), place(0, 10), place(10, 10), place(30, 5)];
        let pieces = here.iter().map(|it| (it.piece.offset, it.piece.length)).collect();
        assert_eq!(bytes_beside(&pieces, &[]), 25);
        assert_eq!(bytes_beside(&pieces, &[5..12, 31..40]), 5 + 8 + 1);
        assert_eq!(bytes_beside(&pieces, std::slice::from_ref(&(0..100))), 0);
    }
}
