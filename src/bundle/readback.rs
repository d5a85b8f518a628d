//! Reading back what was written, from the medium: sticks lie, and "copied" is not "on the stick".

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::digest::Sha256;
use crate::disk;
use crate::progress::{Monitor, Task};

use super::background::{Background, Buffers, READ_AHEAD_BYTES};
use super::codec;
use super::description::{Description, PieceEntry, Run, VolumeEntry};
use super::entry::{BLOCK_BYTES, EntryName, TRAILER_BYTES, entry_bytes};
use super::error::{BundleError, Result};
use super::parity::{self, Parity};
use super::record::CommittedFile;

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// Reads a volume from the medium and compares every byte with what it must be. Returns its digest.
///
/// # Errors
/// `ReadBack` when a byte differs or cannot be read; `Cancelled`.
pub(super) fn check_volume(
    root: &Path,
    description: &Description,
    volume: &VolumeEntry,
    monitor: &dyn Monitor,
    task: &dyn Task,
) -> Result<Sha256> {
    let path = description.id.path_of(&volume.name);
    let wrong = || BundleError::ReadBack { file: path.clone() };
    let file = disk::open_plain(&root.join(&path))?;
    disk::drop_cached_pages(&file);
    let (mut at, mut buffers, whole) = (0, Buffers::new(), Background::start());
    for &Run { blob, first, count } in &volume.holds {
        let blob = &description.blobs[blob];
        for (index, piece) in blob.pieces.iter().enumerate().skip(first).take(count) {
            if monitor.is_cancelled() {
                return Err(BundleError::Cancelled);
            }
            let name = EntryName { blob: blob.sha256, piece: index, is_compressed: piece.stored.is_some() };
            let bytes = read(&file, &mut buffers, at, entry_bytes(piece.stored_bytes())).ok_or_else(wrong)?;
            whole.update(&bytes);
            if !is_right(&name, piece, &bytes) {
                return Err(wrong());
            }
            at += bytes.len() as u64;
            task.advance(bytes.len() as u64);
        }
    }
    whole.update(&trailer(&file, &mut buffers, at, volume.size_bytes).ok_or_else(wrong)?);
    Ok(whole.finish())
}

/// Reads a parity volume from the medium and compares every byte; `volume` counts from 0. Returns its digest.
///
/// # Errors
/// `ReadBack` when a byte differs or cannot be read; `Cancelled`.
pub(super) fn check_parity(
    root: &Path,
    description: &Description,
    (parity, volume): (&Parity, usize),
    monitor: &dyn Monitor,
    task: &dyn Task,
) -> Result<Sha256> {
    let listed = &parity.volumes[volume];
    let path = description.id.path_of(&listed.name);
    let wrong = || BundleError::ReadBack { file: path.clone() };
    let file = disk::open_plain(&root.join(&path))?;
    disk::drop_cached_pages(&file);
    let (mut at, mut buffers, whole) = (0, Buffers::new(), Background::start());
    for (index, expected) in listed.pieces.iter().enumerate() {
        if monitor.is_cancelled() {
            return Err(BundleError::Cancelled);
        }
        let length = parity.piece_bytes(index);
        let bytes = read(&file, &mut buffers, at, entry_bytes(length)).ok_or_else(wrong)?;
        whole.update(&bytes);
        let (header, rest) = bytes.split_at(BLOCK_BYTES as usize);
        let (piece, padding) = rest.split_at(usize::try_from(length).unwrap_or_default());
        let is_right = Sha256::of(piece) == *expected && padding.iter().all(|&byte| byte == 0);
        if !is_right || *header != parity::header(&description.id, volume, index, length) {
            return Err(wrong());
        }
        at += bytes.len() as u64;
        task.advance(bytes.len() as u64);
    }
    whole.update(&trailer(&file, &mut buffers, at, listed.size_bytes).ok_or_else(wrong)?);
    Ok(whole.finish())
}

/// Reads a file from the medium and compares its length and digest; false when it differs or is not there.
///
/// # Errors
/// `Cancelled`.
pub(super) fn is_whole(
    root: &Path,
    expected: &CommittedFile,
    monitor: &dyn Monitor,
    task: &dyn Task,
) -> Result<bool> {
    let Ok(file) = disk::open_plain(&root.join(&expected.path)) else {
        return Ok(false);
    };
    disk::drop_cached_pages(&file);
    let is_long_enough = file.metadata().is_ok_and(|metadata| metadata.len() == expected.size_bytes);
    if !is_long_enough {
        return Ok(false);
    }
    let (mut at, mut buffers, whole) = (0, Buffers::new(), Background::start());
    while at < expected.size_bytes {
        if monitor.is_cancelled() {
            return Err(BundleError::Cancelled);
        }
        let length = (expected.size_bytes - at).min(READ_BYTES as u64);
        let Some(bytes) = read(&file, &mut buffers, at, length) else {
            return Ok(false);
        };
        whole.update(&bytes);
        at += length;
        task.advance(length);
    }
    Ok(whole.finish() == expected.sha256)
}

/// The two blocks of zeros that must end a volume here.
fn trailer(file: &File, buffers: &mut Buffers, at: u64, size_bytes: u64) -> Option<Arc<Vec<u8>>> {
    let trailer = read(file, buffers, at, TRAILER_BYTES)?;
    let is_zeros = trailer.iter().all(|&byte| byte == 0);
    (is_zeros && file.metadata().is_ok_and(|metadata| metadata.len() == size_bytes)).then_some(trailer)
}

fn read(file: &File, buffers: &mut Buffers, at: u64, length: u64) -> Option<Arc<Vec<u8>>> {
    let count = usize::try_from(length).ok()?;
    let bytes = buffers.filled(count, |buffer| file.read_exact_at(buffer, at)).ok()?;
    disk::read_ahead(file, at + length, READ_AHEAD_BYTES);
    Some(bytes)
}

/// True when an entry is exactly the header, the piece and zeros.
fn is_right(name: &EntryName, piece: &PieceEntry, bytes: &[u8]) -> bool {
    let (header, rest) = bytes.split_at(BLOCK_BYTES as usize);
    let (stored, padding) = rest.split_at(usize::try_from(piece.stored_bytes()).unwrap_or(rest.len()));
    let has_piece = match piece.stored {
        None => Sha256::of(stored) == piece.sha256,
        Some(_) => {
            codec::restore(piece, stored.to_vec()).is_ok_and(|plain| Sha256::of(&plain) == piece.sha256)
        }
    };
    has_piece && *header == name.header(piece.stored_bytes()) && padding.iter().all(|&byte| byte == 0)
}
