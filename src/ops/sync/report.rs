//! What a `sync` says at its end, or before its beginning.

use std::path::PathBuf;

use serde::Serialize;

use crate::bundle::{BundleId, SiteId};
use crate::ops::line::LineReport;
use crate::ops::pace::{Pace, StickFacts};
use crate::ops::update::UpdateReport;
use crate::package::PackageRef;

use super::errand::{Reason, UnmetWish};
use super::plan::Shortage;

/// What was done, or would be.
#[derive(Debug, Serialize)]
pub struct SyncReport {
    /// The stick's folder.
    pub stick: PathBuf,
    /// The sites that it is for; any site when empty.
    pub sites: Vec<SyncedSite>,
    /// The packages that the sites lack, in the order of the plan.
    pub packages: Vec<SyncedPackage>,
    /// What the stick brought already.
    pub brought: Vec<BroughtPackage>,
    /// What cannot be had at all, as far as is known here.
    pub unmet: Vec<UnmetWish>,
    /// The bytes that were to be fetched of what fits, without headers.
    pub fetch_bytes: u64,
    /// The bytes that were written to the stick, or would be.
    pub stick_bytes: u64,
    /// How long all that fits takes, in seconds, as far as speeds are known.
    pub seconds: Option<u64>,
    /// The bundles that were written.
    pub bundles: Vec<BundleId>,
    /// What the line cost, and how fast it is.
    pub line: LineReport,
    /// How fast the stick is.
    pub pace: Option<Pace>,
    /// What the stick is like.
    pub facts: StickFacts,
    /// How the lists were refreshed; absent for a plan, and without a network.
    pub registries: Option<UpdateReport>,
    /// Why it ended.
    pub end: End,
    /// True when nothing was done yet.
    pub is_plan: bool,
}

/// A site that a stick is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SyncedSite {
    /// Its id.
    pub site: SiteId,
    /// What it calls itself.
    pub label: Option<String>,
}

/// One package that sites lack.
#[derive(Debug, Clone, Serialize)]
pub struct SyncedPackage {
    /// The package.
    pub package: PackageRef,
    /// Whom it is for; everyone when empty.
    pub sites: Vec<SiteId>,
    /// Why it goes along.
    pub reason: Reason,
    /// The bytes that had to be fetched when the plan was made, with what it cannot work without.
    pub fetch_bytes: u64,
    /// The bytes that it takes on the stick, about.
    pub stick_bytes: u64,
    /// How long it takes in seconds, as far as speeds are known.
    pub seconds: Option<u64>,
    /// What became of it.
    #[serde(flatten)]
    pub state: State,
}

/// A package that the stick brought before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BroughtPackage {
    /// The package.
    pub package: PackageRef,
    /// The site that gets it; absent for any site.
    pub site: Option<SiteId>,
}

/// What became of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It fits; nothing was done yet.
    Planned,
    /// It is on the stick, read back.
    Written,
    /// It was not begun.
    Waiting,
    /// Its bytes are here, but not on the stick.
    Fetched,
    /// It does not fit this time.
    LeftOut(Shortage),
    /// It did not become whole; what came is kept.
    Begun {
        /// How many bytes are still to come.
        missing_bytes: u64,
    },
    /// Something stopped it.
    Failed {
        /// What, with its causes.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// True when it was the line.
        is_network: bool,
    },
}

/// Why a `sync` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Nothing was left to do, or to try.
    Done,
    /// Money, time or room were not enough for all.
    Limits,
    /// The user stopped it.
    Stopped,
}
