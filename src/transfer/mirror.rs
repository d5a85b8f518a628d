//! Where else a file may be had: addresses rewritten to mirrors, and neighbours that keep blobs by their digest.
//!
//! A rule is `FROM=TO`, both the beginnings of addresses: what begins with FROM is looked for under TO first, and
//! where it was published after that. A neighbour's address ends where a blob's digest begins.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::digest::Sha256;

/// One rewriting rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    from: Url,
    to: Url,
}

/// Why a rule or an address makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMirror {
    /// There is no `=` before a second address.
    #[error(
        "`{text}` is not a rule: it needs two addresses, as in `https://hub.example/=https://mirror.example/hub/`"
    )]
    NotARule {
        /// What was given.
        text: String,
    },
    /// One of the two is no address.
    #[error("`{text}` is no http, https or file address")]
    NotAnAddress {
        /// What was given.
        text: String,
    },
}

impl Mirror {
    /// The address under this mirror; `None` when the rule is about others.
    pub fn rewrite(&self, url: &Url) -> Option<Url> {
        let rest = url.as_str().strip_prefix(self.from.as_str())?;
        Url::parse(&format!("{}{rest}", self.to)).ok()
    }
}

impl FromStr for Mirror {
    type Err = InvalidMirror;

    fn from_str(text: &str) -> Result<Self, InvalidMirror> {
        // An address may hold a `=` of its own: the second one begins with a scheme.
        let at = ["=http://", "=https://", "=file://"].iter().filter_map(|scheme| text.find(scheme)).min();
        let at = at.ok_or_else(|| InvalidMirror::NotARule { text: text.into() })?;
        Ok(Self { from: folder_address(&text[..at])?, to: folder_address(&text[at + 1..])? })
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.from, self.to)
    }
}

/// An address under which others lie: one that ends with a slash.
///
/// # Errors
/// When it is not an http, https or file address.
pub fn folder_address(text: &str) -> Result<Url, InvalidMirror> {
    let invalid = || InvalidMirror::NotAnAddress { text: text.into() };
    let mut url = Url::parse(text).map_err(|_| invalid())?;
    if !matches!(url.scheme(), "http" | "https" | "file") {
        return Err(invalid());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Every address to ask for a blob, in order: neighbours, mirrors, where it was published. None stands twice.
pub(super) fn all_sources(peers: &[Url], mirrors: &[Mirror], digest: &Sha256, sources: &[Url]) -> Vec<Url> {
    let near = peers.iter().filter_map(|peer| peer.join(&digest.to_string()).ok());
    let mut all = Vec::new();
    for url in near.chain(with_mirrors(mirrors, sources)) {
        if !all.contains(&url) {
            all.push(url);
        }
    }
    all
}

/// The mirrors' addresses, then those given.
pub(super) fn with_mirrors(mirrors: &[Mirror], sources: &[Url]) -> Vec<Url> {
    let mirrored = sources.iter().flat_map(|url| mirrors.iter().filter_map(|mirror| mirror.rewrite(url)));
    mirrored.chain(sources.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn what_begins_as_the_rule_says_is_looked_for_at_the_mirror_first() {
        let rule: Mirror = "https://hub.example=https://mirror.example/hub".parse().expect("a rule");
        let published = url("https://hub.example/org/model.gguf?download=true");
        let elsewhere = url("https://hub.example.org/x");
        let mirrored = url("https://mirror.example/hub/org/model.gguf?download=true");
        assert_eq!(with_mirrors(slice::from_ref(&rule), slice::from_ref(&published)), [mirrored, published]);
        assert_eq!(with_mirrors(&[rule], slice::from_ref(&elsewhere)), [elsewhere]);
    }

    #[test]
    fn an_address_may_hold_an_equals_sign_of_its_own() {
        let rule: Mirror = "http://a/?x=1/=file:///srv/blobs".parse().expect("a rule");
        assert_eq!(rule.to_string(), "http://a/=file:///srv/blobs/");
    }

    #[test]
    fn what_is_no_rule_is_refused_by_name() {
        for text in ["https://hub.example/", "hub=mirror", "ftp://a/=http://b/"] {
            let error = text.parse::<Mirror>().expect_err("no rule");
            assert!(error.to_string().starts_with(&format!("`{}", &text[..3])), "{error}");
        }
    }

    #[test]
    fn neighbours_come_first_and_nobody_twice() {
        let digest = Sha256::of(b"x");
        let peers = [folder_address("http://192.168.1.5:8080").expect("an address")];
        let sources = [url("https://hub.example/x"), url("https://hub.example/x")];
        let all = all_sources(&peers, &[], &digest, &sources);
        assert_eq!(all, [url(&format!("http://192.168.1.5:8080/{digest}")), sources[0].clone()]);
    }
}
