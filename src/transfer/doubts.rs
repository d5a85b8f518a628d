//! What a run has learnt of hosts: who does not answer, or sends wrong bytes, is asked last for all that follows.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::error::TransferError;
use super::judge::Failure;

/// Hosts that failed in this run, hosts that sent something, and hosts whose lists are old.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    hosts: Mutex<BTreeSet<String>>,
    served: Mutex<BTreeSet<String>>,
    behind: Mutex<BTreeSet<String>>,
}

impl Doubts {
    /// True when the host of this address has failed before.
    pub(super) fn is_doubtful(&self, url: &url::Url) -> bool {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).contains(&host_of(url))
    }

    /// Remembers that the host of this address has sent something.
    pub(super) fn thank(&self, url: &url::Url) {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).insert(host_of(url));
    }

    /// True when the host of this address has sent something in this run.
    pub(super) fn has_served(&self, url: &url::Url) -> bool {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).contains(&host_of(url))
    }

    /// Remembers that the host of this address sent another small file than it should have. Who is behind with its lists
    /// may still have the large files: those are known by their digests.
    pub(super) fn doubt_lists(&self, url: &url::Url) {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner).insert(host_of(url));
    }

    /// True when the host of this address is behind with its lists.
    pub(super) fn is_behind(&self, url: &url::Url) -> bool {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner).contains(&host_of(url))
    }

    /// Remembers a failure that says something of the host and not of one file.
    pub(super) fn hear_of(&self, url: &url::Url, failure: &Failure, has_progressed: bool) {
        let is_the_hosts = match failure.error {
            TransferError::WrongPiece { .. }
            | TransferError::Damaged { .. }
            | TransferError::Portal { .. }
            | TransferError::Slow { .. }
            | TransferError::Encoded { .. } => true,
            TransferError::Connection { .. }
            | TransferError::Broken { .. }
            | TransferError::Silence { .. } => !has_progressed,
            _ => false,
        };
        if is_the_hosts {
            self.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(host_of(url));
        }
    }
}

/// Scheme, host and port; a folder is a host of its own.
fn host_of(url: &url::Url) -> String {
    match url.host_str() {
        Some(host) => format!("{}://{host}:{}", url.scheme(), url.port_or_known_default().unwrap_or(0)),
        None => url.path().rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_does_not_answer_is_doubted_and_one_that_lacks_a_file_is_not() {
        let url = |text: &str| text.parse::<url::Url>().expect("a URL");
        let doubts = Doubts::default();
        let (address, reason) = ("http://a/1".to_owned(), "refused".to_owned());
        let missing = TransferError::Missing { address: address.clone(), status: Some(404) };
        doubts.hear_of(&url("http://b/1"), &Failure::leave(missing), false);
        let broken = Failure::retry(TransferError::Connection { address, reason });
        doubts.hear_of(&url("http://c/1"), &broken, true);
        doubts.hear_of(&url("http://a/1"), &broken, false);
        assert!(doubts.is_doubtful(&url("http://a/2")));
        assert!(!doubts.is_doubtful(&url("http://a:8080/2")));
        assert!(!doubts.is_doubtful(&url("http://b/2")) && !doubts.is_doubtful(&url("http://c/2")));
    }
}
