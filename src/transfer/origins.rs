//! Who sent the bytes of a part file, and who once sent a wrong one.

use std::collections::BTreeSet;

use super::journal::Record;
use super::reply::Validator;
use super::resume::Run;

/// Sources, by the key under which the journal has them.
pub(super) struct Origins {
    /// Who sent bytes that are in the part file, and in which version; the last one last.
    known: Vec<(String, Option<Validator>)>,
    /// Who once sent a whole file with the wrong digest.
    wrong: BTreeSet<String>,
}

impl Origins {
    /// What a journal knows.
    pub(super) fn of(records: &[Record]) -> Self {
        let mut origins = Self { known: Vec::new(), wrong: BTreeSet::new() };
        for record in records {
            match record {
                Record::From { address, validator, .. } => {
                    origins.begin(address, validator.as_ref());
                }
                Record::Wrong { address } => {
                    origins.wrong.insert(address.clone());
                }
                Record::Have { .. } => {}
            }
        }
        origins
    }

    /// Bytes come from this address now; false when that is nothing new.
    pub(super) fn begin(&mut self, address: &str, validator: Option<&Validator>) -> bool {
        let origin = (address.to_owned(), validator.cloned());
        if self.known.last() == Some(&origin) {
            return false;
        }
        self.known.retain(|old| old.0 != address);
        self.known.push(origin);
        true
    }

    /// The version of the file that this address sent before.
    pub(super) fn validator_of(&self, address: &str) -> Option<&Validator> {
        self.known.iter().find(|origin| origin.0 == address)?.1.as_ref()
    }

    /// True when this address sent bytes that are in the part file.
    pub(super) fn has(&self, address: &str) -> bool {
        self.known.iter().any(|origin| origin.0 == address)
    }

    /// True when this address once sent a whole file with the wrong digest.
    pub(super) fn was_wrong(&self, address: &str) -> bool {
        self.wrong.contains(address)
    }

    /// The whole file was wrong: everyone who sent some of it is to blame.
    pub(super) fn blame_all(&mut self) {
        self.wrong.extend(self.known.drain(..).map(|(address, _)| address));
    }

    /// What a new journal says of them and of what is there.
    pub(super) fn records_with(&self, runs: &[Run]) -> Vec<Record> {
        let wrong = self.wrong.iter().map(|address| Record::Wrong { address: address.clone() });
        let from = self.known.iter().map(|(address, validator)| Record::From {
            offset: 0,
            address: address.clone(),
            validator: validator.clone(),
        });
        let have = runs.iter().flat_map(|run| {
            run.marks.iter().map(|(length, sha256)| Record::Have {
                offset: run.offset,
                length: *length,
                sha256: *sha256,
            })
        });
        wrong.chain(from).chain(have).collect()
    }
}
