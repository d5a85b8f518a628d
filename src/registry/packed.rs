//! A file of a registry in fewer bytes: `index-000.jsonl.zst` beside `index-000.jsonl`, and `targets.json.zst`, where
//! the registry is large.
//!
//! Only the plain file is signed. A packed one that is not there, or does not expand to exactly the signed bytes,
//! is as good as none; it can never expand to more than the signed length.

/// zstd's level: a publisher packs once, and everybody pays for the bytes.
const LEVEL: i32 = 12;

/// A single file of at least so many bytes is worth packing: 32 KiB.
pub(crate) const PACKED_FROM_BYTES: u64 = 32 * 1024;

/// The name of a file in its packed form.
pub(crate) fn packed_name(name: &str) -> String {
    format!("{name}.zst")
}

/// Packs a file. The same bytes give the same frame, in one version of zstd.
pub(crate) fn pack(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, LEVEL).expect("memory to memory")
}

/// Unpacks a file of exactly so many bytes; `None` when it is none.
pub(crate) fn unpack(packed: &[u8], length: u64) -> Option<Vec<u8>> {
    let mut plain = vec![0; usize::try_from(length).ok()?];
    let count = zstd::bulk::decompress_to_buffer(packed, &mut plain[..]).ok()?;
    (count == plain.len()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_expands_beyond_what_was_signed() {
        let plain = b"the same words, the same words, the same words".repeat(40);
        let packed = pack(&plain);
        assert!(packed.len() < plain.len() / 4);
        let length = plain.len() as u64;
        assert_eq!(unpack(&packed, length), Some(plain));
        assert_eq!((unpack(&packed, length - 1), unpack(&packed, length + 1)), (None, None));
        assert_eq!(unpack(b"<html>", 6), None);
    }
}
