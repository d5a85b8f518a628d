//! What has still to come of packages, before their first byte comes: without what an earlier try has brought, and
//! without what lies here in other files.

use crate::home::Home;
use crate::package::FileEntry;
use crate::progress::Monitor;
use crate::store::Store;
use crate::transfer::{Client, held_ranges};

use super::choice::Choice;
use super::error::Result;
use super::fetch::piece_list;
use super::reuse;
use super::tally::Foreseen;

/// Asks for the piece lists of packages of which something lies here already: a few kilobytes each, without which
/// nobody knows what they cost. The first that cannot be had ends the asking; what is wrong with the line, the
/// packages themselves tell.
///
/// # Errors
/// When a record is damaged, or what was found cannot be kept.
pub(super) fn ask(store: &Store, choices: &[Choice], client: &Client, monitor: &dyn Monitor) -> Result<()> {
    for choice in choices {
        if !is_some_here(store, choice)? {
            continue;
        }
        for (file, sources) in choice.missing(store) {
            let has_list = file.pieces.is_some() && sources.piece_list.is_some();
            match piece_list(store, client, file, sources, monitor) {
                Ok(Some(_)) => {}
                Ok(None) if !has_list => {}
                Ok(None) | Err(_) => return Ok(()),
            }
        }
        reuse::cut_what_is_here(store, choice.name(), monitor)?;
    }
    Ok(())
}

/// What of a package has still to come, in bytes, by the piece lists that are here.
///
/// # Errors
/// When a record is damaged.
pub(super) fn left_bytes(home: &Home, store: &Store, choice: &Choice, monitor: &dyn Monitor) -> Result<u64> {
    let mut left_bytes = 0;
    for (file, _) in choice.missing(store) {
        left_bytes += file.size_bytes.saturating_sub(here_bytes(home, store, file, monitor)?);
    }
    Ok(left_bytes)
}

/// The missing files with what lies here of each.
///
/// # Errors
/// When a record is damaged.
pub(super) fn foresee<'a>(
    home: &Home,
    store: &Store,
    files: impl Iterator<Item = &'a FileEntry>,
    monitor: &dyn Monitor,
) -> Result<Vec<Foreseen>> {
    let foresee = |file: &FileEntry| {
        let here_bytes = here_bytes(home, store, file, monitor)?;
        Ok(Foreseen { name: file.path.to_string(), size_bytes: file.size_bytes, here_bytes })
    };
    files.map(foresee).collect()
}

/// True when a version of it lies here, or files that no record speaks of, which may be of one.
///
/// # Errors
/// When a record is damaged.
pub(super) fn is_some_here(store: &Store, choice: &Choice) -> Result<bool> {
    let is_older_here =
        store.find_readable(choice.name())?.is_some() || !store.fetched_of(choice.name())?.is_empty();
    Ok(is_older_here || store.has_unrecorded_cuts()?)
}

/// What lies here of a file, in its own part file or in others, in bytes.
fn here_bytes(home: &Home, store: &Store, file: &FileEntry, monitor: &dyn Monitor) -> Result<u64> {
    let held = held_ranges(&home.staging(), file.sha256, file.size_bytes);
    let held_bytes: u64 = held.iter().map(|range| range.end - range.start).sum();
    let list = file.pieces.and_then(|digest| store.piece_list(&digest).ok().flatten());
    let Some(list) = list.filter(|list| list.size_bytes() == file.size_bytes) else { return Ok(held_bytes) };
    let right = reuse::right_pieces(store, &reuse::pieces_here(store, &list)?, monitor);
    Ok((held_bytes + reuse::bytes_beside(&right, &held)).min(file.size_bytes))
}
