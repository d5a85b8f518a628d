//! `RCP/<SITE>-<N>.JSON`: what a site holds now, and what came of the bundles that it saw.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::package::PackageRef;

use super::error::Result;
use super::id::BundleId;
use super::layout::RECEIPTS;
use super::letter::{self, Holding, Letter, Letterhead};

/// What a site holds after an import. Fields that a later 1.x adds are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who writes, and when.
    #[serde(flatten)]
    pub head: Letterhead,
    /// The bundles that the site has seen, the newest last.
    #[serde(default)]
    pub bundles: Vec<ReceivedBundle>,
    /// What it has.
    #[serde(flatten)]
    pub has: Holding,
}

/// What came of one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedBundle {
    /// The bundle.
    pub id: BundleId,
    /// The packages in it that did not come, or not whole; none when all did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingPackage>,
}

/// A package that did not come whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingPackage {
    /// The package.
    pub package: PackageRef,
    /// The bytes that are still missing of it; 0 when it may not come in.
    pub missing_bytes: u64,
}

impl ReceivedBundle {
    /// True when the bundle has nothing more to give to this site.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }
}

impl Letter for Receipt {
    const FOLDER: &'static str = RECEIPTS;

    fn head(&self) -> &Letterhead {
        &self.head
    }

    fn has(&self) -> &Holding {
        &self.has
    }

    fn num_entries(&self) -> usize {
        self.bundles.iter().map(|bundle| bundle.missing.len() + 1).sum()
    }

    fn texts(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Receipt {
    /// Reads and checks a receipt; `file` is its name for messages.
    ///
    /// # Errors
    /// `NewerLetter` for a later major format; `DamagedLetter` when it is not one, or too large.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        letter::parse(file, bytes)
    }

    /// Reads and checks the receipt in a file.
    ///
    /// # Errors
    /// As `parse`, and when the file cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::parse(&path.display().to_string(), &letter::read_small(path)?)
    }

    /// The bytes of its file.
    ///
    /// # Errors
    /// `LetterTooLong` when no reader would accept it.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        letter::to_bytes(self)
    }

    /// True when both say the same, whenever they were written.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let own = (&self.head.site, &self.head.label, &self.head.localml, &self.bundles, &self.has);
        own == (&other.head.site, &other.head.label, &other.head.localml, &other.bundles, &other.has)
    }

    /// True when the stick at `folder` already holds exactly this receipt.
    pub fn is_on(&self, folder: &Path) -> bool {
        letter::is_there(folder, self)
    }

    /// Writes the receipt to the stick at `folder`; older ones of the same site go. Returns its path
    /// there, relative to `LOCALML`.
    ///
    /// # Errors
    /// When the stick cannot be written; older receipts then stay.
    pub fn write(&self, folder: &Path) -> Result<String> {
        letter::write(folder, self)
    }
}
