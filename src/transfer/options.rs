//! How patient and how greedy a client is.

use std::time::{Duration, Instant};

use super::mirror::Mirror;

/// Settings of a client; the defaults suit a slow, failing line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Refuses every source but `file:` before a socket is opened.
    pub is_offline: bool,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a source may send nothing at all; there is no limit on the whole.
    pub silence_timeout: Duration,
    /// How many rounds through all sources may pass without a new byte before giving up; 0 means one try.
    pub max_retries: u32,
    /// Delay before the first retry; each later one is twice as long, up to 30 s, minus a random part of up to half.
    pub first_delay: Duration,
    /// How long a line that is down is waited for after that, where the source has sent something before; the deadline ends
    /// it too.
    pub outage_patience: Duration,
    /// A source slower than this, in bytes a second, makes way for one that was not asked yet; 0 waits for any.
    pub slow_bytes_per_second: u64,
    /// How long a source is watched before it counts as slow.
    pub slow_span: Duration,
    /// From this rate on, in bytes a second, pieces are not hashed one by one but stand or fall with the whole.
    pub hasty_bytes_per_second: u64,
    /// The most bytes a second over all connections of this client; `None` means as many as come.
    pub limit_bytes_per_second: Option<u64>,
    /// When all must be over; `None` means whenever it is done.
    pub deadline: Option<Instant>,
    /// Where published addresses are looked for first.
    pub mirrors: Vec<Mirror>,
    /// Addresses that end where a blob's digest begins; asked before all others.
    pub peers: Vec<url::Url>,
    /// How many connections one file may take; `None` lets the line decide.
    pub num_connections: Option<u32>,
}

impl Options {
    /// True for an address below one of the neighbours'.
    pub(super) fn is_peer(&self, url: &url::Url) -> bool {
        self.peers.iter().any(|peer| url.as_str().starts_with(peer.as_str()))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            is_offline: false,
            connect_timeout: Duration::from_secs(20),
            silence_timeout: Duration::from_secs(60),
            max_retries: 5,
            first_delay: Duration::from_secs(1),
            outage_patience: Duration::from_secs(600),
            slow_bytes_per_second: 16 * 1024,
            slow_span: Duration::from_secs(10),
            hasty_bytes_per_second: 100_000_000,
            limit_bytes_per_second: None,
            deadline: None,
            mirrors: Vec::new(),
            peers: Vec::new(),
            num_connections: None,
        }
    }
}
