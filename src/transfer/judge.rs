//! Is this answer the file that was asked for? Decided before a byte of it is written.

use std::time::Duration;

use super::error::{Mismatch, TransferError, shown};
use super::reply::{Ask, Head};
use crate::digest::Sha256;

/// How many bytes of a body are enough to know a web page.
pub(super) const SNIFF_BYTES: usize = 512;

/// The longest that a server's `Retry-After` is waited for; other sources are asked first.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(900);

/// A source failed; what may still be tried with it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: TransferError,
    pub(super) remedy: Remedy,
}

/// What may still be tried with a source that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The same again, not before this delay where the server named one.
    Retry { after: Option<Duration> },
    /// Once more, asking for the whole file.
    WithoutRanges,
    /// The others first; the same again when none of them is better.
    Later,
    /// Nothing, in this run.
    Leave,
    /// Nothing at all: it is not the source's fault.
    Stop,
}

impl Failure {
    pub(super) fn retry(error: TransferError) -> Self {
        Self { error, remedy: Remedy::Retry { after: None } }
    }

    pub(super) fn too_slow(error: TransferError) -> Self {
        Self { error, remedy: Remedy::Later }
    }

    pub(super) fn leave(error: TransferError) -> Self {
        Self { error, remedy: Remedy::Leave }
    }

    pub(super) fn stop(error: impl Into<TransferError>) -> Self {
        Self { error: error.into(), remedy: Remedy::Stop }
    }

    pub(super) fn without_ranges(error: TransferError) -> Self {
        Self { error, remedy: Remedy::WithoutRanges }
    }
}

/// What the head of an answer tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The body begins at this offset of the file.
    Take { position: u64 },
    /// The length is unknown: the first bytes must be looked at.
    LookFirst,
    /// Neither type nor length fit; the first bytes tell a web page from a wrong file.
    WrongLength { actual_bytes: u64 },
}

/// Judges an answer to a request for (a part of) a file of `size_bytes`.
pub(super) fn judge(head: &Head, ask: &Ask, name: &str, size_bytes: u64) -> Result<Verdict, Failure> {
    refuse_status(head, ask, name)?;
    if let Some(encoding) = &head.encoding {
        let error = TransferError::Encoded { address: shown(&ask.url), encoding: encoding.clone() };
        return Err(Failure::leave(error));
    }
    if head.status == 206 {
        return judge_range(head, ask, name, size_bytes).map(|()| Verdict::Take { position: ask.start });
    }
    let is_page = head.content_type.as_deref().is_some_and(is_page_type);
    match head.length {
        Some(length) if length == size_bytes => Ok(Verdict::Take { position: 0 }),
        _ if is_page && !is_page_name(name) => Err(portal(ask, name)),
        Some(actual_bytes) => Ok(Verdict::WrongLength { actual_bytes }),
        None => Ok(Verdict::LookFirst),
    }
}

/// Refuses a file whose server, or the hub that sends us there, says beforehand that it is another one: its bytes need not
/// be paid for.
pub(super) fn refuse_another(announced: Option<Sha256>, ask: &Ask) -> Result<(), Failure> {
    let (Some(actual), Some(expected)) = (announced, &ask.expected) else { return Ok(()) };
    if actual == expected.digest {
        return Ok(());
    }
    let mismatch = Box::new(Mismatch { expected: expected.digest, actual });
    let (name, address) = (expected.name.clone(), shown(&ask.url));
    Err(Failure::leave(TransferError::Replaced { name, address, mismatch }))
}

/// Refuses every status but 200 and 206.
pub(super) fn refuse_status(head: &Head, ask: &Ask, name: &str) -> Result<(), Failure> {
    let address = shown(&ask.url);
    let status = head.status;
    match status {
        200 => Ok(()),
        206 if !ask.is_whole() => Ok(()),
        404 | 410 => Err(Failure::leave(TransferError::Missing { address, status: Some(status) })),
        416 => Err(Failure::without_ranges(TransferError::BadRange { address })),
        511 => Err(portal(ask, name)),
        408 | 425 | 429 | 500..=599 => {
            let error = TransferError::Status { address, status, pause: head.retry_after };
            match head.retry_after {
                Some(after) if after > MAX_RETRY_AFTER => Err(Failure::leave(error)),
                after => Err(Failure { error, remedy: Remedy::Retry { after } }),
            }
        }
        _ => Err(Failure::leave(TransferError::Status { address, status, pause: None })),
    }
}

fn judge_range(head: &Head, ask: &Ask, name: &str, size_bytes: u64) -> Result<(), Failure> {
    let address = shown(&ask.url);
    let Some((start, end, whole_bytes)) = head.range else {
        return Err(Failure::without_ranges(TransferError::BadRange { address }));
    };
    if let Some(actual_bytes) = whole_bytes.filter(|&bytes| bytes != size_bytes) {
        return Err(Failure::leave(TransferError::WrongLength {
            name: name.into(),
            address,
            expected_bytes: size_bytes,
            actual_bytes,
        }));
    }
    let is_changed = matches!((&ask.validator, &head.validator), (Some(old), Some(new)) if old != new);
    if is_changed {
        return Err(Failure::without_ranges(TransferError::Changed { address, offset: ask.start }));
    }
    let is_too_long = end > ask.end.unwrap_or(size_bytes);
    let is_other_length = head.length.is_some_and(|length| Some(length) != end.checked_sub(start));
    if start != ask.start || is_too_long || is_other_length {
        return Err(Failure::without_ranges(TransferError::BadRange { address }));
    }
    Ok(())
}

/// A web page where another file was wanted.
pub(super) fn portal(ask: &Ask, name: &str) -> Failure {
    Failure::leave(TransferError::Portal { name: name.into(), address: shown(&ask.url) })
}

/// True for the type of a web page.
pub(super) fn is_page_type(content_type: &str) -> bool {
    matches!(content_type, "text/html" | "application/xhtml+xml")
}

/// True when a file of this name may be a web page.
pub(super) fn is_page_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".html", ".htm", ".xhtml"].iter().any(|ending| name.ends_with(ending))
}

/// True when the first bytes of a body are those of a web page.
pub(super) fn looks_like_a_page(first: &[u8]) -> bool {
    let first = &first[..first.len().min(SNIFF_BYTES)];
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    ["<!doctype html", "<html", "<head", "<meta", "<script", "<title"]
        .iter()
        .any(|tag| first.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::reply::Validator;
    use super::*;

    fn ask(start: u64) -> Ask {
        let url = "http://user:secret@host/a?token=x".parse().expect("a URL");
        Ask { start, validator: Some(Validator::Etag("\"a\"".into())), ..Ask::whole(url) }
    }

    fn part(range: (u64, u64, Option<u64>)) -> Head {
        let validator = Some(Validator::Etag("\"a\"".into()));
        Head {
            status: 206,
            length: Some(range.1 - range.0),
            range: Some(range),
            validator,
            ..Head::default()
        }
    }

    #[test]
    fn takes_the_range_that_was_asked_for() {
        let verdict = judge(&part((5, 10, Some(10))), &ask(5), "a", 10).expect("as asked");
        assert_eq!(verdict, Verdict::Take { position: 5 });
    }

    #[test]
    fn a_range_that_begins_elsewhere_or_ends_too_late_is_asked_for_no_more() {
        for head in [part((0, 5, Some(10))), part((5, 11, Some(10))), part((4, 10, None))] {
            let failure = judge(&head, &ask(5), "a", 10).expect_err("not as asked");
            assert_eq!(failure.remedy, Remedy::WithoutRanges);
        }
    }

    #[test]
    fn another_version_is_noticed_though_the_server_ignores_if_range() {
        let mut head = part((5, 10, Some(10)));
        head.validator = Some(Validator::Etag("\"b\"".into()));
        let failure = judge(&head, &ask(5), "a", 10).expect_err("changed");
        assert!(matches!(failure.error, TransferError::Changed { offset: 5, .. }));
    }

    #[test]
    fn a_page_is_refused_by_name_and_shows_no_secrets() {
        let content_type = Some("text/html".to_owned());
        let head = Head { status: 200, length: Some(99), content_type, ..Head::default() };
        let failure = judge(&head, &ask(0), "model.gguf", 10).expect_err("a page");
        assert_eq!(
            failure.error.to_string(),
            "the network answered with a web page instead of `model.gguf` (asked `http://host/a`)"
        );
        // The handbook's own page, of the promised length, is no portal.
        assert!(judge(&Head { length: Some(10), ..head.clone() }, &ask(0), "model.gguf", 10).is_ok());
        assert!(judge(&head, &ask(0), "page.HTML", 10).is_ok());
    }

    #[test]
    fn knows_a_page_by_its_first_bytes() {
        assert!(looks_like_a_page(b"\xef\xbb\xbf \r\n<!DocType HTML>"));
        assert!(looks_like_a_page(b"<HTML lang=en>"));
        assert!(!looks_like_a_page(b"GGUF\x03\0\0\0"));
        assert!(!looks_like_a_page(b""));
    }

    #[test]
    fn a_busy_server_is_obeyed_for_a_quarter_of_an_hour_at_most() {
        let busy = |seconds| Head {
            status: 503,
            retry_after: Some(Duration::from_secs(seconds)),
            ..Head::default()
        };
        let remedy = |seconds| judge(&busy(seconds), &ask(0), "a", 10).expect_err("busy").remedy;
        assert_eq!(remedy(7), Remedy::Retry { after: Some(Duration::from_secs(7)) });
        assert_eq!(remedy(901), Remedy::Leave);
    }
}
