//! Damage to what a home holds, done from outside as a failing disk does it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use super::sandbox::Sandbox;

/// Flips all bits of one byte at each offset. The blob's names in packages are the same file, and damaged too.
pub(crate) fn corrupt(path: &Path, offsets: &[u64]) {
    fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    for offset in offsets {
        let mut byte = [0];
        file.read_exact_at(&mut byte, *offset).unwrap();
        file.write_all_at(&[!byte[0]], *offset).unwrap();
    }
}

/// The path of a home's largest blob.
pub(crate) fn largest_blob(sandbox: &Sandbox, home: &str) -> PathBuf {
    let blobs = fs::read_dir(sandbox.path(home).join("blobs")).unwrap().map(|entry| entry.unwrap().path());
    blobs.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// Makes a home forget which pieces its packages have, as if their publishers had never told.
pub(crate) fn forget_pieces(sandbox: &Sandbox, home: &str) {
    let home = sandbox.path(home);
    fs::remove_dir_all(home.join("pieces")).unwrap();
    for record in fs::read_dir(home.join("installed")).unwrap().map(|entry| entry.unwrap().path()) {
        let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        for variant in value["manifest"]["variant"].as_array_mut().unwrap() {
            for file in variant["file"].as_array_mut().unwrap() {
                file.as_object_mut().unwrap().remove("pieces");
            }
        }
        fs::write(&record, value.to_string()).unwrap();
    }
}
