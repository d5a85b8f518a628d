//! Writes that a power cut cannot halve.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::error::{On as _, Result};

/// Replaces a file with `bytes`: temporary file, sync, rename, sync of the folder.
///
/// # Errors
/// When any step fails; the old file is then still whole.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with_mode(path, bytes, 0o644)
}

/// As `write_atomic`, readable by the user alone (mode 0600).
///
/// # Errors
/// As `write_atomic`.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with_mode(path, bytes, 0o600)
}

/// Replaces a file in one step, but lets the system bring it to the medium in its own time: for what may be forgotten or
/// generated again. For many files, `sync_filesystem` after the last one waits for all.
///
/// # Errors
/// When any step fails.
pub fn write_forgettable(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = parent_of(path);
    create_dir_all(&parent)?;
    let temporary = parent.join(format!(".{}.{}.new", file_name(path), std::process::id()));
    let written =
        fs::write(&temporary, bytes).on(&temporary).and_then(|()| fs::rename(&temporary, path).on(path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let parent = parent_of(path);
    create_dir_all(&parent)?;
    let temporary = parent.join(format!(".{}.{}.new", file_name(path), std::process::id()));
    let written = fill(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path).on(path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_dir(&parent)
}

fn fill(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(path).on(path)?;
    file.write_all(bytes).on(path)?;
    file.sync_all().on(path)
}

/// Makes a name durable: syncs the folder that holds it.
///
/// # Errors
/// When the folder cannot be opened or synced. A file system that cannot sync folders (some FUSE
/// ones) is not an error.
pub fn sync_dir(path: &Path) -> Result<()> {
    let folder = File::open(path).on(path)?;
    match folder.sync_all() {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
        done => done.on(path),
    }
}

/// Creates a folder and its parents, and makes their names durable: what is synced inside a folder is
/// lost with the folder's own name.
///
/// # Errors
/// When one of them cannot be made or synced.
pub fn create_dir_all(path: &Path) -> Result<()> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(path).on(path)?;
    missing.into_iter().rev().try_for_each(|made| sync_dir(&parent_of(made)))
}

/// Creates a folder that only the user can enter (mode 0700), and its parents.
///
/// # Errors
/// When one of them cannot be made.
pub fn create_private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).on(path)
}

/// Makes a folder the user's alone (mode 0700), whether it is there yet or not; its parents stay open.
///
/// # Errors
/// When it cannot be made. A file system without modes (vfat) is not an error.
pub fn make_private_dir(path: &Path) -> Result<()> {
    create_dir_all(&parent_of(path))?;
    create_private_dir(path)?;
    // Made by an older version, perhaps.
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    Ok(())
}

/// Gives a file another name in the same folder, over whatever has that name, and syncs the folder.
///
/// # Errors
/// When it is not there or the system refuses.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).on(to)?;
    sync_dir(&parent_of(to))
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.on(path),
    }
}

/// Removes a folder with all it holds; one that is not there is fine.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.on(path),
    }
}

/// Removes a file, or a folder with all it holds, and makes that durable; what is not there is fine.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_any(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if metadata.is_dir() => remove_dir_all(path)?,
        _ => remove_file(path)?,
    }
    sync_dir(&parent_of(path))
}

/// Removes a folder that holds nothing; one that is not there is fine.
///
/// # Errors
/// When it holds something, or cannot be removed.
pub fn remove_empty_dir(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.on(path),
    }
}

/// Gives a file a second name: a hard link where the file system has them, else a synced copy. A file
/// that has the name already is replaced in one step.
///
/// # Errors
/// When neither can be made.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    let parent = parent_of(to);
    create_dir_all(&parent)?;
    let temporary = parent.join(format!(".{}.{}.new", file_name(to), std::process::id()));
    remove_file(&temporary)?;
    if fs::hard_link(from, &temporary).is_err() {
        fs::copy(from, &temporary).on(&temporary)?;
        File::open(&temporary).and_then(|file| file.sync_all()).on(&temporary)?;
    }
    fs::rename(&temporary, to).on(to)?;
    // Renaming one name of a file onto another of its names does nothing, and leaves both.
    remove_file(&temporary)?;
    sync_dir(&parent)
}

pub(super) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_whole_file_and_leaves_no_temporary() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("deep/file");
        write_atomic(&path, b"a longer first text").expect("first write");
        write_atomic(&path, b"second").expect("second write");
        assert_eq!(fs::read(&path).expect("readable"), b"second");
        assert_eq!(fs::read_dir(folder.path().join("deep")).expect("readable").count(), 1);
    }
}
