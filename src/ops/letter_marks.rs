//! What tells one letter of a site from another of the same number. A site numbers its letters, each number once; two
//! letters of one number come from two machines that write as one site, as copies of one home do.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::bundle::{Holding, Letterhead, Receipt, Request, ShortRequest};
use crate::digest::Sha256;
use crate::package::PackageRef;

use super::letters::Heard;

/// The most letters of one site that are remembered by their marks; older ones are forgotten.
const MAX_MARKS: usize = 500;

/// A letter that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LetterMark {
    number: u64,
    /// The digest of what the letter says, in the words of every version of this program.
    sha256: Sha256,
}

impl LetterMark {
    pub(super) fn of(heard: &Heard) -> Self {
        match heard {
            Heard::Request(request) => Self::of_request(request),
            Heard::Short(short) => Self::of_short(short),
            Heard::Receipt(receipt) => Self::of_receipt(receipt),
        }
    }

    pub(super) fn of_request(request: &Request) -> Self {
        let Request { head, platform, ram_bytes, free_bytes, wants, has, .. } = request;
        let machine = format!("{platform} {ram_bytes} {free_bytes}");
        let text = format!("request {}\n{machine}\nwants{}{}", written(head), listed(wants), held(has));
        Self::new(head.number, &text)
    }

    pub(super) fn of_short(short: &ShortRequest) -> Self {
        let ShortRequest { number, receipt, wants, prefixes, .. } = short;
        let prefixes: String = prefixes.iter().map(|prefix| format!(" {prefix:08x}")).collect();
        Self::new(*number, &format!("short {receipt}\nwants{}\nprefixes{prefixes}", listed(wants)))
    }

    pub(super) fn of_receipt(receipt: &Receipt) -> Self {
        let Receipt { head, has, .. } = receipt;
        Self::new(head.number, &format!("receipt {}{}", written(head), held(has)))
    }

    fn new(number: u64, text: &str) -> Self {
        Self { number, sha256: Sha256::of(text.as_bytes()) }
    }

    /// True when the other has this one's number and says something else.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        self.number == other.number && self.sha256 != other.sha256
    }

    /// Remembers this letter among the last ones.
    pub(super) fn keep_in(self, marks: &mut Vec<Self>) {
        if !marks.contains(&self) {
            marks.push(self);
            marks.drain(..marks.len().saturating_sub(MAX_MARKS));
        }
    }
}

/// When a letter was written, and by whom as people call it.
fn written(head: &Letterhead) -> String {
    format!("{} {}", head.created, head.label.as_deref().unwrap_or_default())
}

fn held(has: &Holding) -> String {
    let mut text = format!("\npackages{}\nblobs", listed(&has.packages));
    for blob in &has.blobs {
        // Writing to a String cannot fail.
        let _ = write!(text, " {blob}");
    }
    text
}

fn listed(packages: &[PackageRef]) -> String {
    packages.iter().map(|package| format!(" {package}")).collect()
}
