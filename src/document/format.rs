//! Which files are documents, told by their names.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Headings, lists, fences and tables mean something.
    Markdown,
    /// Paragraphs between empty lines.
    Text,
    /// Program text: kept by lines.
    Code,
    /// Tags are removed; structure is kept as Markdown.
    Html,
    /// Pages are kept.
    Pdf,
    /// A document whose format nothing here reads yet (office, e-book, ZIM).
    Unsupported,
}

const MARKDOWN: &[&str] = &["md", "markdown", "mdown", "mkd", "mdx", "qmd", "rmd"];
const TEXT: &[&str] = &[
    "txt", "text", "rst", "adoc", "asciidoc", "org", "tex", "csv", "tsv", "log", "srt", "vtt", "bib", "po",
    "man", "1", "me",
];
const CODE: &[&str] = &[
    "rs", "py", "js", "ts", "jsx", "tsx", "java", "kt", "c", "h", "cc", "cpp", "hpp", "cs", "go", "rb",
    "php", "swift", "scala", "sh", "bash", "zsh", "fish", "ps1", "bat", "lua", "pl", "pm", "r", "jl", "sql",
    "toml", "yaml", "yml", "json", "jsonl", "xml", "ini", "cfg", "conf", "css", "scss", "vue", "svelte",
    "ex", "exs", "erl", "hs", "ml", "clj", "el", "lisp", "vim", "cmake", "mk", "gradle", "proto", "tf",
    "ino", "zig", "nix", "dart",
];
const HTML: &[&str] = &["html", "htm", "xhtml"];
const UNSUPPORTED: &[&str] = &[
    "doc", "docx", "odt", "rtf", "ppt", "pptx", "odp", "xls", "xlsx", "ods", "epub", "mobi", "azw3", "zim",
    "zimaa", "djvu", "eml", "mbox",
];
const NAMES: &[(&str, Format)] = &[
    ("readme", Format::Text),
    ("license", Format::Text),
    ("copying", Format::Text),
    ("authors", Format::Text),
    ("changelog", Format::Text),
    ("news", Format::Text),
    ("makefile", Format::Code),
    ("dockerfile", Format::Code),
];

/// The format of a file by its name; `None` when it is no document (a picture, a program).
pub fn format_of(path: &Path) -> Option<Format> {
    let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else {
        let name = path.file_name()?.to_str()?.to_lowercase();
        return NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format);
    };
    let extension = extension.to_lowercase();
    let is_in = |list: &[&str]| list.contains(&extension.as_str());
    match () {
        () if is_in(MARKDOWN) => Some(Format::Markdown),
        () if is_in(TEXT) => Some(Format::Text),
        () if is_in(HTML) => Some(Format::Html),
        () if extension == "pdf" => Some(Format::Pdf),
        () if is_in(CODE) => Some(Format::Code),
        () if is_in(UNSUPPORTED) => Some(Format::Unsupported),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_documents_from_other_files_by_their_names() {
        assert_eq!(format_of(Path::new("a/Guide.MD")), Some(Format::Markdown));
        assert_eq!(format_of(Path::new("README")), Some(Format::Text));
        assert_eq!(format_of(Path::new("a.pdf")), Some(Format::Pdf));
        assert_eq!(format_of(Path::new("letter.docx")), Some(Format::Unsupported));
        assert_eq!(format_of(Path::new("photo.jpg")), None);
    }
}
