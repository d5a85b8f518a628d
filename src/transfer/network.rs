//! The only sockets: one thread with a runtime, and clients that are built when first needed.

use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, IF_RANGE, RANGE};
use tokio::sync::{Semaphore, oneshot};

use super::error::{Result, TransferError, shown};
use super::judge::Failure;
use super::options::Options;
use super::rate::Bucket;
use super::reply::{Ask, Chunk, Event, Head, HttpBody, Validator};
use super::toll::Toll;

/// How many received bytes of all connections may wait for the caller; a kill loses them.
const BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// How often it is looked whether the caller has booked.
const BOOKING_TICK: Duration = Duration::from_millis(1);

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;

/// The network thread and its clients.
pub(super) struct Network {
    options: Options,
    handle: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Through the system's proxy, where one is set.
    outward: OnceLock<reqwest::Client>,
    /// For this very machine, which no proxy can reach.
    loopback: OnceLock<reqwest::Client>,
    bucket: Option<Arc<Bucket>>,
    toll: Arc<Toll>,
    /// Room for what was received and is not written yet.
    buffer: Arc<Semaphore>,
}

impl Network {
    /// Starts the thread; opens nothing.
    pub(super) fn start(options: &Options, toll: &Arc<Toll>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| unusable(&error))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("network".into())
            .spawn(move || {
                // Either way of ending means that the client is gone.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .map_err(|error| unusable(&error))?;
        let bucket = options.limit_bytes_per_second.map(|limit| Arc::new(Bucket::new(limit, Instant::now())));
        Ok(Self {
            options: options.clone(),
            handle,
            stop: Some(stop),
            thread: Some(thread),
            outward: OnceLock::new(),
            loopback: OnceLock::new(),
            bucket,
            toll: Arc::clone(toll),
            buffer: Arc::new(Semaphore::new(BUFFER_BYTES)),
        })
    }

    /// True when the user has set a rate.
    pub(super) fn is_held_back(&self) -> bool {
        self.bucket.is_some()
    }

    /// What counts, and pays.
    pub(super) fn toll(&self) -> &Toll {
        &self.toll
    }

    /// Sends a request; the answer comes through the returned body.
    pub(super) fn ask(&self, ask: &Ask) -> Result<HttpBody> {
        let client = self.client_for(&ask.url)?;
        let (sender, events) = std::sync::mpsc::channel();
        self.toll.book_ahead()?;
        if self.toll.left_bytes() == Some(0) {
            return Err(out_of_budget(&self.toll));
        }
        let exchange = Exchange {
            client: client.clone(),
            request: request(client, ask).build().map_err(|error| unusable(&error.without_url()))?,
            address: shown(&ask.url),
            silence: self.options.silence_timeout,
            bucket: self.bucket.clone(),
            toll: Arc::clone(&self.toll),
            buffer: Arc::clone(&self.buffer),
            is_neighbour: self.options.is_peer(&ask.url),
            sender,
        };
        let task = self.handle.spawn(exchange.run());
        Ok(HttpBody::new(events, task.abort_handle()))
    }

    fn client_for(&self, url: &url::Url) -> Result<&reqwest::Client> {
        let (place, is_loopback) =
            if is_loopback(url) { (&self.loopback, true) } else { (&self.outward, false) };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let client = build(&self.options, is_loopback).map_err(|error| unusable(&error))?;
        Ok(place.get_or_init(|| client))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Builds a client; where the system has no CA certificates, with Mozilla's, as compiled in.
///
/// Without the fallback a PC with no CA bundle could not even fetch over plain http on its LAN.
fn build(options: &Options, is_loopback: bool) -> reqwest::Result<reqwest::Client> {
    let builder = || {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("localml/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            // Several requests over one HTTP/2 connection share its line and its losses: here each has its own.
            .http1_only()
            .redirect(reqwest::redirect::Policy::limited(MAX_REDIRECTS))
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

fn unusable(error: &dyn std::error::Error) -> TransferError {
    TransferError::Connection { address: "the network".into(), reason: chain(error) }
}

fn request(client: &reqwest::Client, ask: &Ask) -> reqwest::RequestBuilder {
    // Offsets and digests are those of the plain bytes.
    let mut request = client.get(ask.url.clone()).header(ACCEPT_ENCODING, "identity");
    if !ask.is_whole() {
        let last = ask.end.map(|end| (end - 1).to_string()).unwrap_or_default();
        request = request.header(RANGE, format!("bytes={}-{last}", ask.start));
        if let Some(validator) = &ask.validator {
            request = request.header(IF_RANGE, validator.text());
        }
    }
    request
}

/// One request and its answer, on the network thread.
struct Exchange {
    client: reqwest::Client,
    request: reqwest::Request,
    address: String,
    silence: Duration,
    bucket: Option<Arc<Bucket>>,
    toll: Arc<Toll>,
    buffer: Arc<Semaphore>,
    /// It comes from a neighbour: that says nothing of the line.
    is_neighbour: bool,
    sender: Sender<Event>,
}

impl Exchange {
    async fn run(self) {
        let sender = self.sender.clone();
        let last = match self.converse().await {
            Ok(()) => Event::End,
            Err(failure) => Event::Failed(failure),
        };
        // The caller may have lost interest.
        let _ = sender.send(last);
    }

    async fn converse(self) -> std::result::Result<(), Failure> {
        let (asked, asked_bytes) = (self.request.url().clone(), request_bytes(&self.request));
        let asked_cost = self.toll.request(&asked, asked_bytes);
        let sent = tokio::time::timeout(self.silence, self.client.execute(self.request)).await;
        let mut response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                // Nothing went out; a handshake that broke, or an answer before a redirect, did.
                let is_first_hop = error.url() == Some(&asked);
                if error.is_connect() && is_first_hop && asked.scheme() == "http" {
                    self.toll.take_back(asked_cost);
                }
                return Err(connection(&self.address, error));
            }
            Err(_) => return Err(silent(&self.address, self.silence)),
        };
        let is_tls = response.url().scheme() == "https";
        let mut num_heads = 1;
        if *response.url() != asked {
            // Of what went before a redirect nothing is left to count; it is about as large as what came last.
            num_heads = 2;
            self.toll.is_ready(&asked);
            self.toll.request(response.url(), asked_bytes);
        }
        self.toll.head(is_tls, num_heads * head_bytes(&response));
        if self.sender.send(Event::Head(head_of(&response))).is_err() {
            return Ok(());
        }
        loop {
            // The caller books when it gets a chunk: nothing is spent that a kill would forget.
            while self.toll.is_short() {
                tokio::time::sleep(BOOKING_TICK).await;
            }
            let bytes = match tokio::time::timeout(self.silence, response.chunk()).await {
                Ok(Ok(Some(bytes))) if bytes.is_empty() => continue,
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => {
                    self.toll.is_ready(response.url());
                    return Ok(());
                }
                Ok(Err(error)) => return Err(connection(&self.address, error)),
                Err(_) => return Err(silent(&self.address, self.silence)),
            };
            if !self.is_neighbour {
                self.toll.measure(bytes.len() as u64);
            }
            let is_paid = self.toll.body(is_tls, bytes.len() as u64);
            let wait = self.bucket.as_ref().map(|bucket| bucket.take(bytes.len(), Instant::now()));
            let size = bytes.len().min(BUFFER_BYTES) as u32;
            let room = Arc::clone(&self.buffer).acquire_many_owned(size).await.ok();
            if self.sender.send(Event::Chunk(Chunk::new(bytes, room))).is_err() {
                return Ok(());
            }
            if !is_paid {
                return Err(Failure::stop(out_of_budget(&self.toll)));
            }
            if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// The budget is spent; `fetch` fills in what is kept.
pub(super) fn out_of_budget(toll: &Toll) -> TransferError {
    TransferError::OutOfBudget {
        name: String::new(),
        limit_bytes: toll.limit_bytes().unwrap_or_default(),
        kept_bytes: 0,
        size_bytes: 0,
    }
}

/// How long a request is as HTTP/1.1 writes it: its line, `Host`, `User-Agent`, `Accept`, and the headers it has.
fn request_bytes(request: &reqwest::Request) -> u64 {
    let url = request.url();
    let target_bytes = url.path().len() + url.query().map_or(0, |query| query.len() + 1);
    let host_bytes = url.host_str().map_or(0, str::len) + 6;
    let line_bytes = "GET  HTTP/1.1\r\n".len() + target_bytes;
    let own_bytes = "Host: \r\nUser-Agent: localml/0.0.0\r\nAccept: */*\r\n\r\n".len() + host_bytes;
    (line_bytes + own_bytes) as u64 + lines_bytes(request.headers())
}

/// How long the head of an answer is as HTTP/1.1 writes it.
fn head_bytes(response: &reqwest::Response) -> u64 {
    let reason_bytes = response.status().canonical_reason().map_or(0, str::len);
    ("HTTP/1.1 200 \r\n\r\n".len() + reason_bytes) as u64 + lines_bytes(response.headers())
}

fn lines_bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

fn connection(address: &str, error: reqwest::Error) -> Failure {
    let is_redirect = error.is_redirect();
    let reason = if error.is_timeout() && error.is_connect() {
        "it did not answer in time".into()
    } else if is_redirect {
        format!("more than {MAX_REDIRECTS} redirects, or a broken one")
    } else {
        chain(&error.without_url())
    };
    // Asking again mends neither.
    let is_lasting = is_redirect || reason.contains("certificate");
    let error = TransferError::Connection { address: address.into(), reason };
    if is_lasting { Failure::leave(error) } else { Failure::retry(error) }
}

fn silent(address: &str, silence: Duration) -> Failure {
    Failure::retry(TransferError::Silence { address: address.into(), seconds: silence.as_secs() })
}

/// The innermost cause says most; the outer ones are the library's own words.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

fn head_of(response: &reqwest::Response) -> Head {
    let headers = response.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let encoding = text(reqwest::header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
    let content_type = text(reqwest::header::CONTENT_TYPE)
        .and_then(|text| text.split(';').next())
        .map(|text| text.trim().to_ascii_lowercase());
    Head {
        status: response.status().as_u16(),
        length: text(reqwest::header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
        range: text(reqwest::header::CONTENT_RANGE).and_then(parse_content_range),
        content_type,
        encoding: encoding.map(str::to_owned),
        validator: validator_of(headers),
        retry_after: text(reqwest::header::RETRY_AFTER)
            .and_then(|text| parse_retry_after(text, text_of_date(headers))),
    }
}

fn text_of_date(headers: &HeaderMap) -> Option<&str> {
    headers.get(reqwest::header::DATE).and_then(|value| value.to_str().ok())
}

/// `120`, or a date, which is measured against the server's own: this PC's clock may be wrong by years.
fn parse_retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = |text: &str| jiff::fmt::rfc2822::parse(text.trim()).ok();
    let seconds = moment(text)?.timestamp().as_second() - moment(date?)?.timestamp().as_second();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// RFC 9110 §13.1.5: a weak ETag may not stand in `If-Range`.
fn validator_of(headers: &HeaderMap) -> Option<Validator> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let etag = text(reqwest::header::ETAG).filter(|etag| etag.starts_with('"'));
    etag.map(Validator::Etag).or_else(|| text(reqwest::header::LAST_MODIFIED).map(Validator::Modified))
}

/// `bytes 5-9/300` → (5, 10, Some(300)); the size may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.trim().parse::<u64>().ok()?.checked_add(1)?;
    Some((first.trim().parse().ok()?, end, size.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_content_range() {
        assert_eq!(parse_content_range("bytes 5-9/300"), Some((5, 10, Some(300))));
        assert_eq!(parse_content_range("bytes 0-0/*"), Some((0, 1, None)));
        assert_eq!(parse_content_range("bytes */300"), None);
        assert_eq!(parse_content_range("bytes 0-18446744073709551615/9"), None);
    }

    #[test]
    fn a_servers_wish_for_a_pause_may_be_a_date_by_its_own_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let seconds = |text| parse_retry_after(text, date).map(|pause| pause.as_secs());
        assert_eq!(seconds("90"), Some(90));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:51:07 GMT"), Some(90));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:51:07 GMT", None), None);
    }

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
