//! Bytes that stand for weights: they do not repeat and do not compress.

/// `size_bytes` of them, always the same for a seed (xorshift, Marsaglia 2003).
pub(crate) fn noise(seed: u64, size_bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(size_bytes)
    .collect()
}
