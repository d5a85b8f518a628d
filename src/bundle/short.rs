//! A request short enough for an SMS, a telephone or a small QR code.
//!
//! ```text
//! LML1 3F2A9C01.12 X86_64-LINUX-GNU M8 F41 R11 WBOOK,NOTE H0A1B2C… CT7KQ
//!      site.number platform         memory and free space in GiB
//!                                          receipt that the rest follows from
//!                                              wants      have: 32 bits of each large blob's digest
//!                                                               check: 20 bits of the sha256 of all before it
//! ```
//!
//! Upper case on purpose: a QR code packs it tighter, and it can be read aloud. What is read may be in any
//! case. Numbers of bits stand in Crockford's base 32, which has no I, L, O or U. Words that begin with
//! another letter are skipped, for a later minor format; `LML2` is refused by name.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{ErrorKind, Explain};
use crate::package::PackageRef;

use super::id::SiteId;

/// The longest text, in characters: three SMS that are sent as one.
pub const MAX_SHORT_CHARS: usize = 3 * 153;

/// Blobs of fewer bytes are too many to be named one by one.
pub const SHORT_BLOB_BYTES: u64 = 1_000_000;

const FIRST_WORD: &str = "LML1";

/// Crockford's base 32.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What fits in an SMS of what a site has and wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortRequest {
    /// The site.
    pub site: SiteId,
    /// Rises with each letter of the site.
    pub number: u64,
    /// The platform, as a target triple.
    pub platform: String,
    /// The memory, rounded to GiB.
    pub ram_gib: u64,
    /// The free space, rounded down to GiB.
    pub free_gib: u64,
    /// The number of the last receipt, when all that it listed is still there; else 0.
    pub receipt: u64,
    /// The packages that it wants.
    pub wants: Vec<PackageRef>,
    /// The first 32 bits of the digests of its blobs of at least `SHORT_BLOB_BYTES`, in order.
    pub prefixes: BTreeSet<u32>,
}

/// A text is not a short request.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ShortError {
    /// It begins otherwise.
    #[error("the text is not a short request: it does not begin with `LML1`")]
    NotOne,
    /// It was made by a later localml.
    #[error("the short request has format {found}, and this localml reads LML1")]
    NewerFormat {
        /// How it begins.
        found: String,
    },
    /// A word of it is missing, wrong or was mistyped.
    #[error("the short request was mistyped or cut: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// It does not fit.
    #[error("{num_wants} wanted packages do not fit in a short request of {MAX_SHORT_CHARS} characters")]
    TooLong {
        /// How many packages were asked for.
        num_wants: usize,
    },
}

impl Explain for ShortError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotOne | Self::TooLong { .. } => ErrorKind::Usage,
            Self::NewerFormat { .. } => ErrorKind::Failed,
            Self::Damaged { .. } => ErrorKind::Damaged,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotOne => {
                "it is what `localml request --short` prints, from `LML1` to the last letter".into()
            }
            Self::NewerFormat { .. } => "use a newer localml here".into(),
            Self::Damaged { .. } => {
                "compare it with the sender's text letter by letter, or ask for `localml request DIR`".into()
            }
            Self::TooLong { .. } => "ask for fewer packages, or use `localml request DIR`".into(),
        })
    }
}

/// The first 32 bits of a digest.
pub fn prefix_of(digest: &Sha256) -> u32 {
    let [first, second, third, fourth, ..] = *digest.as_bytes();
    u32::from_be_bytes([first, second, third, fourth])
}

impl ShortRequest {
    /// The text. When it would be too long, prefixes are left out: the net side then sends more than it need.
    /// Returns how many.
    ///
    /// # Errors
    /// `TooLong` when even without prefixes it does not fit.
    pub fn to_text(&self) -> Result<(String, usize), ShortError> {
        let bare = self.text_with(0);
        let num_free_chars = MAX_SHORT_CHARS
            .checked_sub(bare.len())
            .ok_or(ShortError::TooLong { num_wants: self.wants.len() })?;
        // ` H` and 5 bits a character.
        let num_that_fit = num_free_chars.saturating_sub(2) * 5 / 32;
        let num_kept = self.prefixes.len().min(num_that_fit);
        Ok((self.text_with(num_kept), self.prefixes.len() - num_kept))
    }

    fn text_with(&self, num_prefixes: usize) -> String {
        let mut words = vec![
            FIRST_WORD.to_owned(),
            format!("{}.{}", self.site, self.number),
            self.platform.replacen("-unknown-", "-", 1),
            format!("M{}", self.ram_gib),
            format!("F{}", self.free_gib),
        ];
        if self.receipt > 0 {
            words.push(format!("R{}", self.receipt));
        }
        if !self.wants.is_empty() {
            let wants: Vec<String> = self.wants.iter().map(ToString::to_string).collect();
            words.push(format!("W{}", wants.join(",")));
        }
        if num_prefixes > 0 {
            let bytes: Vec<u8> =
                self.prefixes.iter().take(num_prefixes).flat_map(|prefix| prefix.to_be_bytes()).collect();
            words.push(format!("H{}", to_base32(&bytes)));
        }
        let text = words.join(" ").to_ascii_uppercase();
        let check = check_of(&text);
        format!("{text} C{check}")
    }

    /// Reads the text, in any case and with any white space between its words.
    ///
    /// # Errors
    /// See `ShortError`.
    pub fn parse(text: &str) -> Result<Self, ShortError> {
        let damaged = |reason: &str| ShortError::Damaged { reason: reason.to_owned() };
        if text.len() > 4 * MAX_SHORT_CHARS {
            return Err(damaged("it is longer than any"));
        }
        let text = text.to_ascii_uppercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.first() {
            Some(&FIRST_WORD) => {}
            Some(first) if is_later(first) => {
                return Err(ShortError::NewerFormat { found: (*first).to_owned() });
            }
            _ => return Err(ShortError::NotOne),
        }
        let [_, sender, platform, rest @ .., check] = words.as_slice() else {
            return Err(damaged("it has too few words"));
        };
        let checked = words[..words.len() - 1].join(" ");
        if check.strip_prefix('C') != Some(check_of(&checked).as_str()) {
            return Err(damaged("its last word, the check, does not agree with the others"));
        }
        let (site, number) = sender.split_once('.').ok_or_else(|| damaged("its second word has no dot"))?;
        let mut short = Self {
            site: site.parse().map_err(|_| damaged("its second word does not name a site"))?,
            number: number.parse().map_err(|_| damaged("its second word has no number"))?,
            platform: whole_triple(&platform.to_ascii_lowercase()),
            ram_gib: 0,
            free_gib: 0,
            receipt: 0,
            wants: Vec::new(),
            prefixes: BTreeSet::new(),
        };
        rest.iter().try_for_each(|word| short.take(word))?;
        Ok(short)
    }

    fn take(&mut self, word: &str) -> Result<(), ShortError> {
        let damaged = || ShortError::Damaged { reason: format!("`{word}` makes no sense") };
        let value = word.get(1..).ok_or_else(damaged)?;
        let number = || value.parse::<u64>().map_err(|_| damaged());
        match word.as_bytes().first() {
            Some(b'M') => self.ram_gib = number()?,
            Some(b'F') => self.free_gib = number()?,
            Some(b'R') => self.receipt = number()?,
            Some(b'W') => {
                let wants = value.split(',').map(|name| name.to_ascii_lowercase().parse::<PackageRef>());
                self.wants = wants.collect::<Result<_, _>>().map_err(|_| damaged())?;
            }
            Some(b'H') => {
                let bytes = from_base32(value).ok_or_else(damaged)?;
                let chunks = bytes.chunks_exact(4);
                self.prefixes =
                    chunks.filter_map(|four| four.try_into().ok().map(u32::from_be_bytes)).collect();
            }
            _ => {}
        }
        Ok(())
    }
}

fn is_later(word: &str) -> bool {
    word.strip_prefix("LML")
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()))
}

/// Gives `x86_64-linux-gnu` its vendor back; `aarch64-apple-darwin` has one.
fn whole_triple(platform: &str) -> String {
    match platform.split_once("-linux-") {
        Some((architecture, rest)) if !architecture.contains('-') => {
            format!("{architecture}-unknown-linux-{rest}")
        }
        _ => platform.to_owned(),
    }
}

/// 20 bits of the sha256 of a text, in four digits: a mistyped text passes once in a million times.
fn check_of(text: &str) -> String {
    to_base32(&Sha256::of(text.as_bytes()).as_bytes()[..3])[..4].to_owned()
}

fn to_base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut num_bits) = (0u32, 0u32);
    for &byte in bytes {
        bits = (bits << 8) | u32::from(byte);
        num_bits += 8;
        while num_bits >= 5 {
            num_bits -= 5;
            text.push(char::from(DIGITS[(bits >> num_bits & 31) as usize]));
        }
        bits &= (1 << num_bits) - 1;
    }
    if num_bits > 0 {
        text.push(char::from(DIGITS[(bits << (5 - num_bits) & 31) as usize]));
    }
    text
}

/// The whole bytes in a text; `None` when a character is none of the digits.
fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut num_bits) = (0u32, 0u32);
    for letter in text.bytes() {
        let digit = DIGITS.iter().position(|&digit| digit == letter)?;
        bits = (bits << 5) | u32::try_from(digit).ok()?;
        num_bits += 5;
        if num_bits >= 8 {
            num_bits -= 8;
            bytes.push(u8::try_from(bits >> num_bits & 255).ok()?);
        }
        bits &= (1 << num_bits) - 1;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn short(wants: &[&str], prefixes: &[u32]) -> ShortRequest {
        ShortRequest {
            site: "3F2A9C01".parse().unwrap(),
            number: 12,
            platform: "x86_64-unknown-linux-gnu".into(),
            ram_gib: 8,
            free_gib: 41,
            receipt: 11,
            wants: wants.iter().map(|want| want.parse().unwrap()).collect(),
            prefixes: prefixes.iter().copied().collect(),
        }
    }

    #[test]
    fn a_normal_site_fits_one_sms() {
        // Two packages wanted, and ten large blobs: 64 digits.
        let prefixes: Vec<u32> = (1..=10).map(|index| index * 0x1234_5678 % 0xffff_fff1).collect();
        let (text, num_left_out) =
            short(&["localml-handbook", "qwen2.5-0.5b-instruct"], &prefixes).to_text().unwrap();
        assert!(text.len() <= 160 && num_left_out == 0, "{}: {text}", text.len());
        assert!(text.starts_with("LML1 3F2A9C01.12 X86_64-LINUX-GNU M8 F41 R11 WLOCALML-HANDBOOK,QWEN2.5"));
    }

    #[test]
    fn what_does_not_fit_three_sms_is_left_out_and_counted() {
        let prefixes: Vec<u32> = (0..200).map(|index| index * 7_654_321).collect();
        let (text, num_left_out) = short(&[], &prefixes).to_text().unwrap();
        assert!(text.len() <= MAX_SHORT_CHARS && text.len() > MAX_SHORT_CHARS - 7, "{}", text.len());
        assert_eq!(ShortRequest::parse(&text).unwrap().prefixes.len(), 200 - num_left_out);
        let wants = vec!["a-package-with-quite-a-long-name"; 20];
        assert_eq!(short(&wants, &[]).to_text(), Err(ShortError::TooLong { num_wants: 20 }));
    }

    #[test]
    fn base_32_is_crockfords() {
        // 0xff = 11111 111(00): Z and 28 = W.
        assert_eq!(to_base32(&[0xff]), "ZW");
        assert_eq!(from_base32("ZW"), Some(vec![0xff]));
        assert_eq!(from_base32("U"), None);
    }

    #[test]
    fn another_major_is_refused_by_name_and_other_words_are_skipped() {
        let later = ShortRequest::parse("lml2 whatever").unwrap_err();
        assert_eq!(later.to_string(), "the short request has format LML2, and this localml reads LML1");
        assert_eq!(ShortRequest::parse("hello"), Err(ShortError::NotOne));
        let text = "LML1 3F2A9C01.12 X86_64-LINUX-GNU M8 F41 R11 Q9 ";
        let text = format!("{text}C{}", check_of(text.trim()));
        assert_eq!(ShortRequest::parse(&text).unwrap(), short(&[], &[]));
    }

    #[test]
    fn no_mistyped_request_is_read() {
        let (text, _) = short(&["book", "ngo/note@1.2.0"], &[0x0a1b_2c3d, 0x1234_5678]).to_text().unwrap();
        // Each character of the text, exchanged for the next letter or digit. The check has only 20 bits,
        // so these typos are fixed: drawn at random, one in a million would pass.
        for at in (0..text.len()).filter(|&at| text.as_bytes()[at] != b' ') {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'Z' { b'0' } else { wrong[at] + 1 };
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(ShortRequest::parse(&wrong).is_err(), "{wrong}");
            let shorter = format!("{}{}", &text[..at], &text[at + 1..]);
            assert!(ShortRequest::parse(&shorter).is_err(), "{shorter}");
        }
    }

    proptest! {
        #[test]
        fn every_request_comes_back(prefixes in proptest::collection::btree_set(any::<u32>(), 0..50)) {
            let prefixes: Vec<u32> = prefixes.into_iter().collect();
            let request = short(&["book", "ngo/note@1.2.0"], &prefixes);
            let (text, num_left_out) = request.to_text().unwrap();
            prop_assert_eq!(num_left_out, 0);
            let spread = text.to_ascii_lowercase().replace(' ', " \n ");
            prop_assert_eq!(ShortRequest::parse(&spread).unwrap(), request);
        }

        #[test]
        fn no_text_makes_it_panic(text in "LML1 [ -~]{0,80}", other in any::<String>()) {
            let _ = (ShortRequest::parse(&text), ShortRequest::parse(&other));
        }
    }
}
