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
const MAX_DEPTH: usize = 1000;
/// What is never the page's own text.
const SKIPPED_TAGS: [&str; 8] = ["script", "style", "noscript", "template", "svg", "nav", "iframe", "title"];
/// Tags without an end, or whose next one ends the last: they cannot nest by themselves.
const FLAT_TAGS: [&str; 28] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
    "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option", "optgroup", "a", "html",
    "body",
];

/// What these hold is no part of the page's nesting: programs, drawings, what waits to be shown.
const OPAQUE_TAGS: [&str; 5] = ["script", "style", "svg", "template", "noscript"];

pub(super) fn read(bytes: Vec<u8>) -> Result<Document, DocumentError> {
    let decoded = decode(bytes)?;
    let html = decoded.text;
    let title = title_of(&html);
    let text = guarded("HTML", TIME_LIMIT, move || to_markdown(&html))?;
    let mut document = extracted(Format::Html, decoded.encoding, text);
    document.title = title;
    Ok(document)
}

/// The tags are counted before parsing, which takes long for deep pages, and the parsed tree is measured
/// before converting, because a parser mends broken pages in more ways than counting can follow.
fn to_markdown(html: &str) -> Result<String, String> {
    let too_deep = || format!("its tags are nested more than {MAX_DEPTH} deep");
    if is_nested_too_deep(html) {
        return Err(too_deep());
    }
    let converter = HtmlToMarkdown::builder().skip_tags(SKIPPED_TAGS.to_vec()).build();
    let tree = converter.html_to_tree(html).map_err(|error| error.to_string())?;
    let mut waiting = vec![(tree.clone(), 0)];
    while let Some((node, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        waiting.extend(node.children.borrow().iter().map(|child| (child.clone(), depth + 1)));
    }
    Ok(converter.tree_to_markdown(&tree))
}

/// True when more than `MAX_DEPTH` tags are open at once, judged by the tags alone.
fn is_nested_too_deep(html: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(found) = html[at..].find('<') {
        at += found + 1;
        let rest = &html[at..];
        if rest.starts_with("!--") {
            let Some(end) = rest.find("-->") else { return false };
            at += end;
        } else if let Some(name) = rest.strip_prefix('/').map(tag_name) {
            // A closing tag that nothing opened closes nothing.
            if let Some(place) = open.iter().rposition(|opened| opened.eq_ignore_ascii_case(name)) {
                open.truncate(place);
            }
        } else {
            let name = tag_name(rest);
            if name.is_empty() || is_flat(name) || is_closed_by_itself(rest) {
                continue;
            }
            if OPAQUE_TAGS.iter().any(|opaque| opaque.eq_ignore_ascii_case(name)) {
                let Some(end) = end_tag(rest, name) else { return false };
                at += end;
                continue;
            }
            open.push(name);
            if open.len() > MAX_DEPTH {
                return true;
            }
        }
    }
    false
}

/// True for `<path …/>`.
fn is_closed_by_itself(rest: &str) -> bool {
    rest.find(['<', '>']).is_some_and(|end| rest[end..].starts_with('>') && rest[..end].ends_with('/'))
}

/// Where `</name` stands.
fn end_tag(rest: &str, name: &str) -> Option<usize> {
    let mut ends = rest.match_indices("</").map(|(at, _)| at);
    ends.find(|at| tag_name(&rest[at + 2..]).eq_ignore_ascii_case(name))
}

fn is_flat(name: &str) -> bool {
    FLAT_TAGS.iter().any(|flat| flat.eq_ignore_ascii_case(name))
}

/// The name that a tag begins with; empty where no letter follows, for then it is no tag (`i<9`).
fn tag_name(rest: &str) -> &str {
    if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return "";
    }
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
        let said = "it is not readable as HTML: its tags are nested more than 1000 deep";
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn closing_tags_that_close_nothing_hide_no_depth() {
        // The last two are seen only in the parsed tree: `</span>` does not reach over a `div`, and what
        // stands in an attribute is no tag.
        for piece in ["<span></7>", "<span></x>", "<span><div></span>", "<b><div title='</div></b>'>"] {
            let error = read(piece.repeat(5_000).into_bytes()).expect_err(piece);
            assert!(error.to_string().ends_with("nested more than 1000 deep"), "{piece}: {error}");
        }
    }

    #[test]
    fn programs_and_drawings_in_a_page_are_not_depth() {
        let page = format!(
            "<script>{}</script><svg>{}</svg><!--{}--><p>Boil the water.",
            "if (i<n) j<k;".repeat(2_000),
            "<path d='M 0 0'/>".repeat(2_000),
            "<div>".repeat(2_000)
        );
        let document = read(page.into_bytes()).expect("a saved page");
        assert!(document.text.contains("Boil the water."), "{}", document.text);
    }

    #[test]
    fn many_paragraphs_without_end_tags_are_not_deep() {
        let document = read("<p>one <br>two".repeat(2_000).into_bytes()).expect("HTML");
        assert!(document.text.contains("one"));
    }
}
