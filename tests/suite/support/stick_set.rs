//! A bundle spread over five sticks of different sizes, through the library.

use std::fs;
use std::path::{Path, PathBuf};

use localml::bundle::{self, Berth, Description, ExportOptions, Outgoing, remaining};
use localml::digest::Sha256;
use localml::progress::Silent;

use super::noise::noise;
use super::stick::{Desk, files_in};

pub(crate) const NUM_STICKS: usize = 5;
pub(crate) const VOLUME_BYTES: u64 = 256 * 1024;

/// How many volumes each stick of a set has room for: no two sticks are of one size.
const SIZES: [u64; NUM_STICKS] = [2, 4, 1, 3, 5];

/// Room for the small files and this many volumes.
pub(crate) fn room_for(num_volumes: u64) -> u64 {
    1024 * 1024 + 128 * 1024 + num_volumes * (VOLUME_BYTES + 64 * 1024)
}

/// Nine volumes' worth of blobs: large ones over several volumes, small ones in one, one of text.
pub(crate) fn desk() -> Desk {
    let mut desk = Desk::new(&[]);
    for (seed, size_bytes) in [(1, 900_000), (2, 700_000), (3, 300_000), (4, 90_000), (5, 10), (6, 0)] {
        desk.add(&noise(seed, size_bytes), false);
    }
    desk.add("a line of a book that says the same again and again\n".repeat(3000).as_bytes(), true);
    // Pieces have 4 MiB otherwise, and then each blob would be one piece.
    for blob in &mut desk.blobs {
        blob.pieces = Some(small_pieces(&fs::read(&blob.path).unwrap()));
    }
    desk
}

fn small_pieces(bytes: &[u8]) -> localml::package::PieceList {
    let mut offset = 0;
    let pieces = bytes.chunks(60_000).map(|chunk| {
        let piece = localml::package::Piece { offset, length: chunk.len() as u64, sha256: Sha256::of(chunk) };
        offset += chunk.len() as u64;
        piece
    });
    localml::package::PieceList::new(pieces.collect()).unwrap()
}

pub(crate) fn sticks(desk: &Desk) -> Vec<PathBuf> {
    (0..NUM_STICKS).map(|number| desk.path(&format!("stick {number}"))).collect()
}

/// Writes the desk's blobs to as many of the sticks as it takes, one after the other; returns those used.
pub(crate) fn write_set(desk: &Desk, parity_percent: u32) -> Vec<PathBuf> {
    let mut known: Option<Description> = None;
    let mut used = Vec::new();
    for (stick, size) in sticks(desk).into_iter().zip(SIZES) {
        fs::create_dir_all(&stick).unwrap();
        known = Some(write_one(desk, &stick, room_for(size), parity_percent, known).unwrap());
        used.push(stick);
        if known.as_ref().is_some_and(|known| remaining(known).is_empty()) {
            return used;
        }
    }
    panic!("five sticks are not enough");
}

pub(crate) fn write_one(
    desk: &Desk,
    stick: &Path,
    room_bytes: u64,
    parity_percent: u32,
    known: Option<Description>,
) -> bundle::Result<Description> {
    let outgoing = Outgoing { blobs: desk.blobs.clone(), ..Outgoing::default() };
    let options = ExportOptions { volume_size_bytes: VOLUME_BYTES, parity_percent, begins_anew: false };
    let berth = Berth { folder: stick.to_owned(), room_bytes: Some(room_bytes), reserved_bytes: 0 };
    let plan = bundle::spread(&[berth], outgoing, &options, &|_| known.clone())?.remove(0).1;
    let (planned, before) = (plan.total_bytes()?, bytes_on(stick));
    let written = bundle::write(stick, plan, &Silent)?;
    assert_eq!(planned, written.bytes_written);
    // The record is planned once, and lies there twice from the second commit on.
    assert_eq!(bytes_on(stick) - before, planned);
    Ok(*written.description)
}

fn bytes_on(stick: &Path) -> u64 {
    files_in(stick).iter().map(|file| file.metadata().unwrap().len()).sum()
}

/// Every volume file of these sticks.
pub(crate) fn volumes(sticks: &[PathBuf]) -> Vec<PathBuf> {
    let files = sticks.iter().flat_map(|stick| files_in(stick));
    files.filter(|path| path.extension().is_some_and(|ending| ending == "TAR")).collect()
}
