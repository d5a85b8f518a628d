//! One request and its answer, on the network thread: asked, followed, counted, held back, handed over.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use tokio::sync::Semaphore;

use super::clients::Clients;
use super::error::{TransferError, host_of, shown};
use super::heads::{head_bytes, head_of, linked, request_bytes};
use super::judge::{Failure, refuse_another};
use super::network::{BUFFER_BYTES, chain, out_of_budget, unusable};
use super::rate::Bucket;
use super::redirect::{MAX_REDIRECTS, next_address, too_many};
use super::reply::{Ask, Chunk, Event, Head};
use super::toll::Toll;

/// How often it is looked whether the caller has booked.
const BOOKING_TICK: Duration = Duration::from_millis(1);

/// How much of a redirect's own body is read so that its connection can be used again, in bytes.
const MAX_REDIRECT_BODY_BYTES: u64 = 16 * 1024;

/// ... and how long that may take.
const MAX_REDIRECT_BODY_TIME: Duration = Duration::from_secs(1);

/// What one request takes with it.
pub(super) struct Exchange {
    pub(super) clients: Arc<Clients>,
    pub(super) ask: Ask,
    pub(super) silence: Duration,
    pub(super) bucket: Option<Arc<Bucket>>,
    pub(super) toll: Arc<Toll>,
    /// Room for what was received and is not written yet.
    pub(super) buffer: Arc<Semaphore>,
    /// It comes from a neighbour: that says nothing of the line.
    pub(super) is_neighbour: bool,
    pub(super) sender: Sender<Event>,
}

impl Exchange {
    /// Sends every event; the last one is `End` or `Failed`.
    pub(super) async fn run(self) {
        let last = match self.converse().await {
            Ok(()) => Event::End,
            Err(failure) => Event::Failed(failure),
        };
        // The caller may have lost interest.
        let _ = self.sender.send(last);
    }

    async fn converse(&self) -> Result<(), Failure> {
        let (response, head) = self.follow().await?;
        if self.sender.send(Event::Head(head)).is_err() {
            return Ok(());
        }
        self.hand_over(response).await
    }

    /// Asks, and goes where it is sent. A hub that sends its readers elsewhere for a file tells its digest first.
    async fn follow(&self) -> Result<(reqwest::Response, Head), Failure> {
        let mut url = self.ask.url.clone();
        let mut announced = None;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url).await?;
            announced = announced.or_else(|| linked(response.headers()));
            refuse_another(announced, &self.ask)?;
            let Some(next) = next_address(&url, response.status().as_u16(), response.headers()) else {
                let head = head_of(&response, announced);
                return Ok((response, head));
            };
            self.drain(response).await;
            url = next?;
            if self.toll.left_bytes() == Some(0) {
                return Err(Failure::stop(out_of_budget(&self.toll)));
            }
        }
        Err(too_many(&self.ask.url))
    }

    /// Sends one request, and waits for the head of its answer.
    async fn send(&self, url: &url::Url) -> Result<reqwest::Response, Failure> {
        let client = self.clients.for_address(url).map_err(Failure::stop)?;
        let request = request(client, url, &self.ask).build();
        let request = request.map_err(|error| Failure::stop(unusable(&error.without_url())))?;
        let cost = self.toll.request(url, request_bytes(&request));
        match tokio::time::timeout(self.silence, client.execute(request)).await {
            Ok(Ok(response)) => {
                self.toll.head(url.scheme() == "https", head_bytes(&response));
                Ok(response)
            }
            Ok(Err(error)) => {
                // Nothing went out; of a handshake that broke, something did.
                if error.is_connect() && url.scheme() == "http" {
                    self.toll.take_back(cost);
                }
                Err(connection(&shown(url), error))
            }
            Err(_) => Err(silent(&shown(url), self.silence)),
        }
    }

    /// Reads the few words of a redirect, so that its connection is free for the next request; where they are many, of
    /// unknown length, or slow, another connection is cheaper.
    async fn drain(&self, mut response: reqwest::Response) {
        if response.content_length().is_none_or(|length| length > MAX_REDIRECT_BODY_BYTES) {
            return;
        }
        let is_tls = response.url().scheme() == "https";
        let read = async {
            while let Ok(Some(bytes)) = response.chunk().await {
                self.toll.body(is_tls, bytes.len() as u64);
            }
        };
        if tokio::time::timeout(MAX_REDIRECT_BODY_TIME, read).await.is_ok() {
            self.toll.is_ready(response.url());
        }
    }

    /// Hands the body over as it comes.
    async fn hand_over(&self, mut response: reqwest::Response) -> Result<(), Failure> {
        let is_tls = response.url().scheme() == "https";
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
                Ok(Err(error)) => return Err(broken(&response, error)),
                Err(_) => return Err(silent(&shown(response.url()), self.silence)),
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

fn request(client: &reqwest::Client, url: &url::Url, ask: &Ask) -> reqwest::RequestBuilder {
    // Offsets and digests are those of the plain bytes.
    let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    if !ask.is_whole() {
        let last = ask.end.map(|end| (end - 1).to_string()).unwrap_or_default();
        request = request.header(RANGE, format!("bytes={}-{last}", ask.start));
        if let Some(validator) = &ask.validator {
            request = request.header(IF_RANGE, validator.text());
        }
    }
    request
}

fn connection(address: &str, error: reqwest::Error) -> Failure {
    let reason = match error.is_timeout() && error.is_connect() {
        true => "it did not answer in time".into(),
        false => in_words(chain(&error.without_url())),
    };
    // Asking again does not mend it.
    let is_lasting = reason.contains("certificate");
    let error = TransferError::Connection { address: address.into(), reason };
    if is_lasting { Failure::leave(error) } else { Failure::retry(error) }
}

/// A body that does not go on. That it ended too early is what "broke off" says already.
fn broken(response: &reqwest::Response, error: reqwest::Error) -> Failure {
    let reason = chain(&error.without_url());
    let reason = if reason.contains("end of file") { String::new() } else { reason };
    Failure::retry(TransferError::Broken { host: host_of(response.url()), reason })
}

/// What rustls says of a certificate, in words that help; anything else stays as it is.
fn in_words(reason: String) -> String {
    let today = || jiff::Timestamp::now().strftime("%Y-%m-%d");
    let says = |word: &str| reason.contains("certificate") && reason.contains(word);
    if says("expired") {
        format!("its certificate is expired by this PC's clock, which says {}", today())
    } else if says("not valid yet") {
        format!("its certificate is not valid yet by this PC's clock, which says {}", today())
    } else if says("not valid for name") {
        "its certificate belongs to another host".into()
    } else if says("UnknownIssuer") {
        "its certificate is signed by nobody whom this PC trusts".into()
    } else {
        reason
    }
}

fn silent(address: &str, silence: Duration) -> Failure {
    Failure::retry(TransferError::Silence { address: address.into(), seconds: silence.as_secs() })
}
