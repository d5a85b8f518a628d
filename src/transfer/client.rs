//! The door of the room: what is wanted, who is asked, what came.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::doubts::Doubts;
use super::error::{Result, TransferError, shown};
use super::fetch::Errand;
use super::mirror::{all_sources, with_mirrors};
use super::network::Network;
use super::options::Options;
use super::purse::Purse;
use super::reuse::Reusable;
use super::small::{SmallErrand, SmallFile};
use super::staging::Keeper;
use super::toll::Toll;
use super::watch::{explain, until};
use crate::digest::Sha256;
use crate::disk::Staged;
use crate::package::PieceList;
use crate::progress::Monitor;

/// A file that is wanted, as its package describes it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What to call it in progress and errors: its path in the package.
    pub name: String,
    /// What its bytes must hash to.
    pub digest: Sha256,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// Where it may be had, best first: http, https and file addresses.
    pub sources: Vec<url::Url>,
    /// Its pieces, where the publisher gave them: then a wrong one costs 4 MiB and not the file.
    pub pieces: Option<PieceList>,
    /// Pieces of it that other files on this machine should hold, in any order: they are not asked for.
    pub reuse: Vec<Reusable>,
}

/// A file that came, whole and verified.
///
/// Keep it until `staged` is adopted: it holds the lock that keeps other processes from fetching the same file.
#[derive(Debug)]
pub struct Fetched {
    /// The file, ready for the store.
    pub staged: Staged,
    /// How many bytes of bodies came over the network, those fetched in vain too.
    pub wire_bytes: u64,
    /// How many bytes were already here from an earlier run.
    pub reused_bytes: u64,
    /// How many bytes were copied from other files on this machine.
    pub copied_bytes: u64,
    /// The address of the source that finished it, without user, password and query; `None` when nothing was missing.
    pub source: Option<String>,
    /// The sources that were left for what they sent.
    pub dropped: Vec<DroppedSource>,
    pub(super) _keeper: Keeper,
}

/// A source that was left, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DroppedSource {
    /// Its address, without user, password and query.
    pub address: String,
    /// What it did.
    pub reason: String,
}

/// Fetches files. Building one opens and starts nothing; that happens at the first need of the network.
pub struct Client {
    options: Options,
    network: OnceLock<Network>,
    toll: Arc<Toll>,
    doubts: Doubts,
}

impl Client {
    /// Takes the settings.
    pub fn new(options: Options) -> Self {
        Self { options, network: OnceLock::new(), toll: Toll::new(None), doubts: Doubts::default() }
    }

    /// Pays for all that it fetches from this purse.
    #[must_use]
    pub fn with_purse(self, purse: Purse) -> Self {
        Self { toll: Toll::new(Some(purse)), ..self }
    }

    /// What went over the line so far, in bytes, headers in.
    pub fn spent_bytes(&self) -> u64 {
        self.toll.spent_bytes()
    }

    /// What the budget has left, in bytes; `None` where there is none.
    pub fn budget_left_bytes(&self) -> Option<u64> {
        self.toll.left_bytes()
    }

    /// How fast bytes come, smoothed; `None` before the first half second of them.
    pub fn bytes_per_second(&self) -> Option<f64> {
        self.toll.bytes_per_second()
    }

    /// Fetches a file into `staging_dir`, continuing what an earlier run left there.
    ///
    /// # Errors
    /// `Offline`, `InUse`, `Cancelled`, `OutOfBudget`, `OutOfTime`, `WrongPieceList`, or `Fetch` with the cause. Except for `InUse` and the contradictory
    /// `WrongPieceList`, what was fetched is kept, and the same call goes on from there.
    pub fn fetch(&self, wanted: &Wanted, staging_dir: &Path, monitor: &dyn Monitor) -> Result<Fetched> {
        let sources =
            all_sources(&self.options.peers, &self.options.mirrors, &wanted.digest, &wanted.sources);
        let wanted = &Wanted { sources, ..wanted.clone() };
        let needs_network = wanted.sources.iter().any(|url| url.scheme() != "file");
        let network = if needs_network { self.network()? } else { None };
        let watch = until(monitor, self.options.deadline);
        let (options, doubts) = (&self.options, &self.doubts);
        let errand = Errand { network, options, doubts, user: monitor, watch: &watch };
        let fetched = errand.fetch(wanted, staging_dir);
        self.toll.settle();
        fetched.map_err(|error| explain(&watch, error))
    }

    /// Fetches a small file into memory.
    ///
    /// # Errors
    /// As `fetch`, and `TooLarge` when it has more than `max_bytes`. `is_missing` tells that there is no such file.
    pub fn get(&self, url: &url::Url, max_bytes: u64, monitor: &dyn Monitor) -> Result<Vec<u8>> {
        self.get_small(&SmallFile::at(url, max_bytes), monitor)
    }

    /// Fetches a small file into memory, from the first source that has the right one. Where none has it, what the last
    /// of them sent is returned, for the caller to refuse; nothing, where its length alone told.
    ///
    /// # Errors
    /// As `get`.
    pub fn get_small(&self, file: &SmallFile<'_>, monitor: &dyn Monitor) -> Result<Vec<u8>> {
        let urls = with_mirrors(&self.options.mirrors, std::slice::from_ref(file.url));
        let needs_network = urls.iter().any(|url| url.scheme() != "file");
        let network = if needs_network { self.network()? } else { None };
        let urls: Vec<url::Url> =
            urls.into_iter().filter(|url| network.is_some() || url.scheme() == "file").collect();
        if urls.is_empty() {
            return Err(TransferError::Offline { name: shown(file.url) });
        }
        let watch = until(monitor, self.options.deadline);
        let (options, doubts) = (&self.options, &self.doubts);
        let got = SmallErrand { network, options, doubts, monitor: &watch }.fetch(file, &urls);
        self.toll.settle();
        got.map_err(|error| explain(&watch, error).if_stopped_about(&shown(file.url), 0, 0))
    }

    fn network(&self) -> Result<Option<&Network>> {
        if self.options.is_offline {
            return Ok(None);
        }
        if let Some(network) = self.network.get() {
            return Ok(Some(network));
        }
        let network = Network::start(&self.options, &self.toll)?;
        Ok(Some(self.network.get_or_init(|| network)))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}
