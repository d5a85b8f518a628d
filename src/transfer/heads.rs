//! Reads the heads of answers.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{HeaderMap, HeaderName};

use super::reply::{Head, Validator};
use crate::digest::Sha256;

/// How long a request is as HTTP/1.1 writes it: its line, `Host`, `User-Agent`, `Accept`, and the headers it has.
pub(super) fn request_bytes(request: &reqwest::Request) -> u64 {
    let url = request.url();
    let target_bytes = url.path().len() + url.query().map_or(0, |query| query.len() + 1);
    let host_bytes = url.host_str().map_or(0, str::len) + 6;
    let line_bytes = "GET  HTTP/1.1\r\n".len() + target_bytes;
    let own_bytes = "Host: \r\nUser-Agent: localml/0.0.0\r\nAccept: */*\r\n\r\n".len() + host_bytes;
    (line_bytes + own_bytes) as u64 + lines_bytes(request.headers())
}

/// How long the head of an answer is as HTTP/1.1 writes it.
pub(super) fn head_bytes(response: &reqwest::Response) -> u64 {
    let reason_bytes = response.status().canonical_reason().map_or(0, str::len);
    ("HTTP/1.1 200 \r\n\r\n".len() + reason_bytes) as u64 + lines_bytes(response.headers())
}

fn lines_bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

/// What the head of an answer tells; `linked` is what an answer before it announced.
pub(super) fn head_of(response: &reqwest::Response, linked: Option<Sha256>) -> Head {
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
        announced: linked.or_else(|| announced(headers)),
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

/// The digest that a hub gives for the file behind its redirect; of a small file it gives something else, and of other length.
pub(super) fn linked(headers: &HeaderMap) -> Option<Sha256> {
    headers.get("x-linked-etag").and_then(|value| value.to_str().ok()).and_then(in_hex)
}

/// The sha256 that a server gives for the whole of what it sends, also where it sends a part: `Repr-Digest` (RFC 9530), the
/// older `Digest` (RFC 3230), or what file stores write. An `ETag` may be anything, and is not looked at.
fn announced(headers: &HeaderMap) -> Option<Sha256> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let listed = || text("repr-digest").or_else(|| text("digest")).and_then(in_list);
    linked(headers).or_else(listed).or_else(|| text("x-checksum-sha256").and_then(in_hex))
}

fn in_hex(text: &str) -> Option<Sha256> {
    text.trim().trim_matches('"').to_ascii_lowercase().parse().ok()
}

/// `md5=…, sha-256=:base64:` → its 32 bytes; the older header has no colons.
fn in_list(text: &str) -> Option<Sha256> {
    let value = text.split(',').find_map(|entry| {
        let (name, value) = entry.trim().split_once('=')?;
        name.eq_ignore_ascii_case("sha-256").then_some(value)
    })?;
    let bytes = BASE64_STANDARD.decode(value.trim_matches(':')).ok()?;
    bytes.try_into().ok().map(Sha256::from_bytes)
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
    fn reads_the_digests_that_servers_announce_and_takes_no_other_text_for_one() {
        let digest = Sha256::of(b"a model");
        let (hex, base64) = (digest.to_string(), BASE64_STANDARD.encode(digest.as_bytes()));
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a header"));
            announced(&headers)
        };
        for (name, value) in [
            ("x-linked-etag", format!("\"{hex}\"")),
            ("x-checksum-sha256", hex.to_uppercase()),
            ("repr-digest", format!("md5=:bm90IGl0:, sha-256=:{base64}:")),
            ("digest", format!("SHA-256={base64}")),
        ] {
            assert_eq!(read(name, &value), Some(digest), "{name}: {value}");
        }
        for (name, value) in [
            ("etag", format!("\"{hex}\"")),
            ("x-linked-etag", "\"d41d8cd98f00b204e9800998ecf8427ed41d8cd9\"".into()),
            ("repr-digest", format!("sha-512=:{base64}:")),
            ("digest", "SHA-256=bm90IGl0".into()),
        ] {
            assert_eq!(read(name, &value), None, "{name}: {value}");
        }
    }
}
