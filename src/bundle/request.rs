//! `REQ/<SITE>-<N>.JSON`: what a site has, what it can take, and what it wants.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::package::PackageRef;

use super::error::Result;
use super::layout::REQUESTS;
use super::letter::{self, Holding, Letter, Letterhead};

/// What a site asks for. Fields that a later 1.x adds are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks, and when.
    #[serde(flatten)]
    pub head: Letterhead,
    /// The platform, as a target triple, for example `x86_64-unknown-linux-gnu`.
    pub platform: String,
    /// The memory of the machine, in bytes.
    pub ram_bytes: u64,
    /// The free space where packages will lie, in bytes.
    pub free_bytes: u64,
    /// The largest volume that the site can take, in bytes, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_volume_bytes: Option<u64>,
    /// The packages that it wants.
    #[serde(default)]
    pub wants: Vec<PackageRef>,
    /// What it has.
    #[serde(flatten)]
    pub has: Holding,
}

impl Letter for Request {
    const FOLDER: &'static str = REQUESTS;

    fn head(&self) -> &Letterhead {
        &self.head
    }

    fn has(&self) -> &Holding {
        &self.has
    }

    fn num_entries(&self) -> usize {
        self.wants.len()
    }

    fn texts(&self) -> Vec<&str> {
        vec![&self.platform]
    }
}

impl Request {
    /// Reads and checks a request; `file` is its name for messages.
    ///
    /// # Errors
    /// `NewerLetter` for a later major format; `DamagedLetter` when it is not one, or too large.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        letter::parse(file, bytes)
    }

    /// Reads and checks the request in a file.
    ///
    /// # Errors
    /// As `parse`, and when the file cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::parse(&path.display().to_string(), &letter::read_small(path)?)
    }

    /// Writes the request to the stick at `folder`; older ones of the same site go. Returns its path
    /// there, relative to `LOCALML`.
    ///
    /// # Errors
    /// When the stick cannot be written; older requests then stay.
    pub fn write(&self, folder: &Path) -> Result<String> {
        letter::write(folder, self)
    }
}
