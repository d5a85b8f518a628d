//! The HTTP clients, built when first needed: one for the world, one for this very machine.

use std::sync::OnceLock;
use std::time::Duration;

use super::error::Result;
use super::network::unusable;

/// The clients of one network.
pub(super) struct Clients {
    connect_timeout: Duration,
    /// Through the system's proxy, where one is set.
    outward: OnceLock<reqwest::Client>,
    /// For this very machine, which no proxy can reach.
    loopback: OnceLock<reqwest::Client>,
}

impl Clients {
    /// Builds nothing yet.
    pub(super) fn new(connect_timeout: Duration) -> Self {
        Self { connect_timeout, outward: OnceLock::new(), loopback: OnceLock::new() }
    }

    /// The one that reaches this address.
    pub(super) fn for_address(&self, url: &url::Url) -> Result<&reqwest::Client> {
        let (place, is_loopback) =
            if is_loopback(url) { (&self.loopback, true) } else { (&self.outward, false) };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let client = build(self.connect_timeout, is_loopback).map_err(|error| unusable(&error))?;
        Ok(place.get_or_init(|| client))
    }
}

/// Builds a client; where the system has no CA certificates, with Mozilla's, as compiled in.
///
/// Without the fallback a PC with no CA bundle could not even fetch over plain http on its LAN.
fn build(connect_timeout: Duration, is_loopback: bool) -> reqwest::Result<reqwest::Client> {
    let builder = || {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("localml/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect_timeout)
            // Several requests over one HTTP/2 connection share its line and its losses: here each has its own.
            .http1_only()
            // Each hop is counted, and looked at for what it tells (`redirect.rs`).
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        if is_loopback { builder.no_proxy() } else { builder }
    };
    builder().build().or_else(|_| builder().tls_certs_only(bundled_roots()).build())
}

fn bundled_roots() -> Vec<reqwest::Certificate> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .filter_map(|der| reqwest::Certificate::from_der(der).ok())
        .collect()
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_be_built_from_the_bundled_roots_alone() {
        let roots = bundled_roots();
        assert!(roots.len() > 100, "Mozilla trusts more than a hundred roots, not {}", roots.len());
        reqwest::Client::builder().tls_certs_only(roots).build().expect("no system certificate is needed");
    }

    #[test]
    fn only_this_machine_is_reached_without_the_proxy() {
        let is = |text: &str| is_loopback(&text.parse().expect("a URL"));
        assert!(is("http://localhost:1/") && is("http://127.0.0.1/") && is("http://[::1]/"));
        assert!(!is("http://192.168.0.1/") && !is("https://example.org/"));
    }
}
