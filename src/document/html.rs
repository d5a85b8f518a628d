//! HTML to Markdown, so that headings, lists and tables keep their meaning.

use std::time::Duration;

use htmd::HtmlToMarkdown;

use super::encoding::decode;
use super::error::DocumentError;
use super::format::Format;
use super::guarded::guarded;
use super::read::extracted;
use super::text::Document;

/// How long one page may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The converter recurses; a page nested deeper than this is an attack or an accident.
const MAX_DEPTH: usize = 500;
/// What is never the page's own text.
const SKIPPED_TAGS: [&str; 8] = ["script", "style", "noscript", "template", "svg", "nav", "iframe", "title"];
/// Tags without an end, or whose next one ends the last: they cannot nest by themselves.
const FLAT_TAGS: [&str; 28] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
    "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option", "optgroup", "a", "html",
    "body",
];

pub(super) fn read(bytes: Vec<u8>) -> Result<Document, DocumentError> {
    let decoded = decode(bytes)?;
    let html = decoded.text;
    let depth = nesting_depth(&html);
    if depth > MAX_DEPTH {
        let reason = format!("its tags are nested {depth} deep");
        return Err(DocumentError::Malformed { format: "HTML", reason });
    }
    let title = title_of(&html);
    let text = guarded("HTML", TIME_LIMIT, move || {
        let converter = HtmlToMarkdown::builder().skip_tags(SKIPPED_TAGS.to_vec()).build();
        converter.convert(&html).map_err(|error| error.to_string())
    })?;
    let mut document = extracted(Format::Html, decoded.encoding, text);
    document.title = title;
    Ok(document)
}

/// How deep open tags stand in each other, counted from the tags alone.
fn nesting_depth(html: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for (at, _) in html.match_indices('<') {
        let rest = &html[at + 1..];
        if let Some(name) = rest.strip_prefix('/').map(tag_name) {
            if !name.is_empty() && !is_flat(name) {
                depth = depth.saturating_sub(1);
            }
        } else if !tag_name(rest).is_empty() && !is_flat(tag_name(rest)) {
            depth += 1;
            deepest = deepest.max(depth);
        }
    }
    deepest
}

fn is_flat(name: &str) -> bool {
    FLAT_TAGS.iter().any(|flat| flat.eq_ignore_ascii_case(name))
}

fn tag_name(rest: &str) -> &str {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    &rest[..end]
}

/// The text of the first `<title>`.
fn title_of(html: &str) -> Option<String> {
    let lower = html.get(..html.len().min(64 * 1024)).unwrap_or(html).to_ascii_lowercase();
    let open = lower.find("<title")?;
    let start = open + lower[open..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let title = html[start..end].split_whitespace().collect::<Vec<_>>().join(" ");
    let title = title.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Some(title).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_headings_and_lists_and_drops_scripts() {
        let page = "<html><head><title>Clean  water</title><script>alert(1)</script></head><body>\
                    <h2>Boiling</h2><p>Boil it for <b>one</b> minute.</p><ul><li>Let it cool</li></ul></body></html>";
        let document = read(page.as_bytes().to_vec()).expect("HTML");
        assert_eq!(document.title.as_deref(), Some("Clean water"));
        assert!(document.text.starts_with("## Boiling"), "{}", document.text);
        assert!(document.text.contains("Boil it for **one** minute."));
        assert!(!document.text.contains("alert"));
    }

    #[test]
    fn refuses_tags_nested_beyond_reason() {
        let error = read("<div>".repeat(100_000).into_bytes()).expect_err("too deep");
        assert_eq!(error.to_string(), "it is not readable as HTML: its tags are nested 100000 deep");
    }

    #[test]
    fn many_paragraphs_without_end_tags_are_not_deep() {
        let document = read("<p>one <br>two".repeat(2_000).into_bytes()).expect("HTML");
        assert!(document.text.contains("one"));
    }
}
