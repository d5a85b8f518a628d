//! Where an answer sends its reader on.

use reqwest::header::{HeaderMap, LOCATION};

use super::error::{TransferError, shown};
use super::judge::Failure;

/// How many redirects are followed.
pub(super) const MAX_REDIRECTS: usize = 10;

/// The next address; `None` when this answer is the last one.
pub(super) fn next_address(
    from: &url::Url,
    status: u16,
    headers: &HeaderMap,
) -> Option<Result<url::Url, Failure>> {
    let is_redirect = matches!(status, 301 | 302 | 303 | 307 | 308);
    let location = headers.get(LOCATION).filter(|_| is_redirect)?;
    Some(resolve(from, location.as_bytes()))
}

/// User and password stay with their host.
fn resolve(from: &url::Url, location: &[u8]) -> Result<url::Url, Failure> {
    let next = std::str::from_utf8(location).ok().and_then(|text| from.join(text.trim()).ok());
    let Some(mut next) = next else {
        return Err(broken(from, "it redirects to an address that cannot be read".into()));
    };
    if !matches!(next.scheme(), "http" | "https") {
        return Err(Failure::leave(TransferError::Scheme { address: shown(&next) }));
    }
    let is_anonymous = next.username().is_empty() && next.password().is_none();
    if is_anonymous && next.origin() == from.origin() {
        // Neither fails for http.
        let _ = next.set_username(from.username());
        let _ = next.set_password(from.password());
    }
    Ok(next)
}

/// The error for who redirects without end.
pub(super) fn too_many(from: &url::Url) -> Failure {
    broken(from, format!("more than {MAX_REDIRECTS} redirects"))
}

/// Asking again mends neither.
fn broken(from: &url::Url, reason: String) -> Failure {
    Failure::leave(TransferError::Connection { address: shown(from), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(from: &str, location: &str) -> Option<String> {
        let next = resolve(&from.parse().expect("a URL"), location.as_bytes());
        next.ok().map(Into::into)
    }

    #[test]
    fn a_password_goes_to_no_other_host_and_no_other_scheme_is_followed() {
        let from = "https://reader:secret@hub/a/b?token=1";
        assert_eq!(next(from, "c").as_deref(), Some("https://reader:secret@hub/a/c"));
        assert_eq!(next(from, "https://hub/c").as_deref(), Some("https://reader:secret@hub/c"));
        assert_eq!(next(from, "https://cdn/c?signed=2").as_deref(), Some("https://cdn/c?signed=2"));
        assert_eq!(next(from, "//cdn/c").as_deref(), Some("https://cdn/c"));
        assert_eq!(next(from, "http://hub/c").as_deref(), Some("http://hub/c"));
        assert_eq!(next(from, "file:///etc/passwd"), None);
        assert_eq!(next(from, "http://[broken"), None);
    }

    #[test]
    fn only_a_redirect_with_an_address_leads_on() {
        let from = "http://hub/a".parse().expect("a URL");
        let mut headers = HeaderMap::new();
        assert!(next_address(&from, 302, &headers).is_none());
        headers.insert(LOCATION, "/b".parse().expect("a header"));
        assert!(next_address(&from, 302, &headers).is_some() && next_address(&from, 308, &headers).is_some());
        assert!(next_address(&from, 200, &headers).is_none() && next_address(&from, 304, &headers).is_none());
    }
}
