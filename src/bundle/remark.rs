//! Things worth telling about a stick that do not stop the work.

use std::fmt;

use serde::Serialize;

/// The most remarks that one run keeps; a hostile stick could cause millions.
const MAX_REMARKS: usize = 200;

/// One thing that is not as it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// The file, relative to `LOCALML`.
    pub file: String,
    /// What is wrong, as one line without a full stop.
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: {}", self.file, self.text)
    }
}

/// A bounded list of remarks.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    kept: Vec<Remark>,
    num_dropped: usize,
}

impl Remarks {
    pub(super) fn add(&mut self, file: &str, text: impl Into<String>) {
        if self.kept.len() < MAX_REMARKS {
            self.kept.push(Remark { file: file.to_owned(), text: text.into() });
        } else {
            self.num_dropped += 1;
        }
    }

    /// True when something was said of this file.
    pub(super) fn name(&self, file: &str) -> bool {
        self.kept.iter().any(|remark| remark.file == file)
    }

    /// The remarks, and one line for those that were too many.
    pub(super) fn finish(mut self) -> Vec<Remark> {
        if self.num_dropped > 0 {
            let text = format!("{} more things are wrong", self.num_dropped);
            self.kept.push(Remark { file: ".".into(), text });
        }
        self.kept
    }
}
