//! Tar entries made by hand, hostile ones too.

use tar::{EntryType, Header};

/// A header with this name, whatever it is, and its bytes up to the next block.
pub(crate) fn entry(kind: EntryType, name: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend_from_slice(bytes);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

/// All of them, one after the other, and the end of a tar file.
pub(crate) fn finished(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}
