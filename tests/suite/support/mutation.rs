//! Bytes made worse, the same way for the same seed: flipped bits, cuts, splices, lengths, lines, JSON.

use serde_json::Value;

/// Numbers at the edges of what a field can hold.
const EDGES: [u64; 14] = [
    0,
    1,
    127,
    128,
    255,
    511,
    65_535,
    65_536,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 62,
    (1 << 63) - 1,
    u64::MAX,
];

/// What readers stumble over.
const TOKENS: [&str; 16] = [
    "../",
    "..\\",
    "/etc/passwd",
    "CON",
    "aux.txt",
    "\0",
    "\u{202e}",
    "-1",
    "1e999",
    "99999999999999999999",
    "null",
    "[]",
    "{}",
    "\n\n",
    "\r",
    "1.0.0",
];

/// The longest input, in bytes: more than any seed, little enough to be quick.
const MAX_BYTES: usize = 256 * 1024;

/// A source of numbers (xorshift, Marsaglia 2003).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// A number below `limit`; 0 when that is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length } else { 64 };
        start..length.min(start + self.below(most + 1))
    }
}

/// One of the seeds, changed in one to four ways.
pub(crate) fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.pick(seeds).clone();
    for _ in 0..=dice.below(4) {
        change(&mut bytes, seeds, dice);
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let length = bytes.len();
    match dice.below(12) {
        0 if length > 0 => bytes[dice.below(length)] ^= 1 << dice.below(8),
        1 if length > 0 => bytes[dice.below(length)] = dice.below(256) as u8,
        2 => bytes.truncate(dice.below(length + 1)),
        3 => drop(bytes.drain(dice.range(length))),
        4 => {
            let run = bytes[dice.range(length)].to_vec();
            let at = dice.below(length + 1);
            bytes.splice(at..at, run);
        }
        5 => {
            let other = dice.pick(seeds);
            bytes.truncate(dice.below(length + 1));
            bytes.extend_from_slice(&other[dice.below(other.len() + 1)..]);
        }
        6 => binary_number(bytes, dice),
        7 => written_number(bytes, dice),
        8 => lines(bytes, dice),
        9 => {
            let at = dice.below(length + 1);
            bytes.splice(at..at, dice.pick(&TOKENS).bytes());
        }
        10 => tar_field(bytes, dice),
        _ => json(bytes, dice),
    }
}

/// A number as GGUF and zstd have them, at any place.
fn binary_number(bytes: &mut [u8], dice: &mut Dice) {
    let width = *dice.pick(&[1, 2, 4, 8]);
    if bytes.len() >= width {
        let at = dice.below(bytes.len() - width + 1);
        bytes[at..at + width].copy_from_slice(&dice.pick(&EDGES).to_le_bytes()[..width]);
    }
}

/// A number in digits, in the place of one that stands there.
fn written_number(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_digit()))
        .collect();
    if !starts.is_empty() {
        let start = *dice.pick(&starts);
        let count = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        bytes.splice(start..start + count, dice.pick(&EDGES).to_string().into_bytes());
    }
}

/// Two lines change places, or one stands there twice.
fn lines(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    if lines.is_empty() {
        return;
    }
    let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
    if dice.below(2) == 0 {
        lines.swap(one, other)
    } else {
        lines.insert(other, lines[one])
    }
    *bytes = lines.concat();
}

/// A field of a tar header: name, size, kind or format.
fn tar_field(bytes: &mut [u8], dice: &mut Dice) {
    const FIELDS: [(usize, &[u8]); 9] = [
        (0, b"../../out\0"),
        (0, b"/etc/out\0"),
        (124, b"77777777777\0"),
        (124, b"00000000000\0"),
        (124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
        (156, b"2"),
        (156, b"x"),
        (156, b"L"),
        (345, b"LOCALML/../..\0"),
    ];
    let blocks: Vec<usize> = (0..bytes.len() / 512)
        .map(|block| block * 512)
        .filter(|at| bytes[at + 257..].starts_with(b"ustar"))
        .collect();
    if !blocks.is_empty() {
        let (at, value) = dice.pick(&FIELDS);
        let start = dice.pick(&blocks) + at;
        bytes[start..start + value.len()].copy_from_slice(value);
    }
}

/// A value somewhere in a JSON text is exchanged, doubled, taken away or nested.
fn json(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return };
    let depth = dice.below(7);
    disturb(&mut value, depth, dice);
    *bytes = value.to_string().into_bytes();
}

fn disturb(value: &mut Value, depth: usize, dice: &mut Dice) {
    match value {
        Value::Array(items) if depth > 0 && !items.is_empty() => {
            let at = dice.below(items.len());
            match dice.below(5) {
                0 => drop(items.remove(at)),
                1 => {
                    let copies = vec![items[at].clone(); 1 + dice.below(200)];
                    items.extend(copies);
                }
                _ => disturb(&mut items[at], depth - 1, dice),
            }
        }
        Value::Object(fields) if depth > 0 && !fields.is_empty() => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let key = dice.pick(&keys);
            match dice.below(8) {
                0 => drop(fields.remove(key)),
                1 => {
                    let other = fields[dice.pick(&keys)].clone();
                    fields.insert(key.clone(), other);
                }
                _ => disturb(&mut fields[key], depth - 1, dice),
            }
        }
        other => *other = stranger(other, dice),
    }
}

fn stranger(value: &Value, dice: &mut Dice) -> Value {
    match dice.below(7) {
        0 => Value::Null,
        1 => (*dice.pick(&EDGES)).into(),
        2 => (-1).into(),
        3 => 0.5.into(),
        4 => (*dice.pick(&TOKENS)).into(),
        5 => (0..200).fold(value.clone(), |inner, _| Value::Array(vec![inner])),
        _ => match value.as_u64() {
            Some(number) => number.wrapping_add(1).into(),
            None => "x".repeat(dice.below(5000)).into(),
        },
    }
}
