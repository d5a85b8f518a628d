//! Opening what a stranger wrote: only plain files and plain folders, never through a link.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::error::{On as _, Result};

/// Opens a plain file for reading; a link, a device, a pipe or a folder is refused.
///
/// # Errors
/// `InvalidInput` inside when it is not a plain file; otherwise when it cannot be opened.
pub fn open_plain(path: &Path) -> Result<File> {
    // Without NONBLOCK, opening a pipe would wait for ever.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // A link, a socket and a device without a driver do not open; what the system says of them is a riddle.
        Err(_) if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) => {
            return Err(not_plain("file")).on(path);
        }
        opened => opened.on(path)?,
    };
    if file.metadata().on(path)?.is_file() { Ok(file) } else { Err(not_plain("file")).on(path) }
}

/// True when the path is a folder itself, not a link to one; false when nothing is there.
///
/// # Errors
/// `InvalidInput` inside when something else is there; otherwise when the system cannot tell.
pub fn is_plain_dir(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(not_plain("folder")).on(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).on(path),
    }
}

/// Writes a file into a folder that nothing speaks of yet. Durable only after `sync_filesystem`: for a thousand
/// files that is one wait instead of two thousand.
///
/// # Errors
/// When it cannot be written.
pub fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).on(path)
}

/// Gives a file a second name in a folder that nothing speaks of yet; false where the file system has no second
/// names. Durable only after `sync_filesystem`.
pub fn link_unsynced(from: &Path, to: &Path) -> bool {
    fs::hard_link(from, to).is_ok()
}

/// Brings everything that waits to be written to the file system that holds `path` to its medium.
///
/// # Errors
/// When the path cannot be opened or the medium reports a failure.
pub fn sync_filesystem(path: &Path) -> Result<()> {
    let folder = File::open(path).on(path)?;
    rustix::fs::syncfs(&folder).map_err(io::Error::from).on(path)
}

fn not_plain(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is not a plain {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_never_followed() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let file = folder.path().join("file");
        let link = folder.path().join("link");
        fs::write(&file, b"x").expect("room");
        std::os::unix::fs::symlink(&file, &link).expect("links");
        assert!(open_plain(&file).is_ok());
        let error = open_plain(&link).expect_err("a link");
        assert!(error.to_string().contains("not a plain file"), "{error}");
        assert!(open_plain(folder.path()).is_err());
        assert!(is_plain_dir(folder.path()).expect("a folder"));
        assert!(is_plain_dir(&file).is_err());
        assert!(!is_plain_dir(&folder.path().join("absent")).expect("nothing"));
    }
}
