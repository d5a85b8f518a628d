//! `sync --list`: what is missing, written down for a PC on which nothing may be run but a browser or a download
//! manager. `import` takes what came of it, whatever it is called then.
//!
//! ```text
//! *.html       a page to open in a browser and click
//! *.urls       one address a line, for `wget -i`
//! other names  for people and for `aria2c -i`: comments, addresses, `out=`, `checksum=`
//! ```

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use url::Url;

use crate::digest::Sha256;
use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::ops::choice::Sources;
use crate::ops::error::{Error, Result, While as _};
use crate::ops::removable;
use crate::ops::wishlist;
use crate::package::{FileEntry, PackageRef};
use crate::progress::Monitor;

use super::errand::UnmetWish;
use super::{Desk, SyncOptions};

/// What was written down.
#[derive(Debug, Serialize)]
pub struct SyncListReport {
    /// The list's file; nothing was written when nothing is missing.
    pub list: PathBuf,
    /// The files that are missing, small ones first.
    pub files: Vec<ListedFile>,
    /// The bytes of all files whose length is known.
    pub size_bytes: u64,
    /// What cannot be had at all, as far as is known here.
    pub unmet: Vec<UnmetWish>,
}

/// One missing file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedFile {
    /// The package that needs it.
    pub package: PackageRef,
    /// Its name in the package; of a piece list, that of the file which it is about.
    pub path: String,
    /// What it may be called where it is downloaded: no two files of a list share it.
    pub name: String,
    /// Its length in bytes; of a piece list nobody says it.
    pub size_bytes: Option<u64>,
    /// Its digest, by which `import` knows it.
    pub sha256: Sha256,
    /// Where it can be had, best first.
    pub urls: Vec<String>,
    /// True for a small list of digests, by which half a download can be used.
    pub is_piece_list: bool,
}

/// Writes down what is missing here of what a `sync` would fetch. Uses no network.
///
/// # Errors
/// As `sync`; when nothing is wished for; when the list cannot be written.
pub fn sync_list(
    home: &Home,
    options: &SyncOptions,
    list: &Path,
    monitor: &dyn Monitor,
) -> Result<SyncListReport> {
    let stick = removable::stick_if_any(options.stick.as_deref(), monitor)?;
    let wishes = wishlist::change(home, &options.keep, &options.drop)?;
    let desk = Desk::open(home, stick.as_deref(), options, wishes, monitor)?;
    let gathering = desk.gather(monitor)?;
    let mut files: Vec<ListedFile> = Vec::new();
    let mut seen: HashSet<Sha256> = HashSet::new();
    for errand in &gathering.errands {
        let missing = errand.choice.iter().flat_map(|choice| choice.missing(&desk.store));
        for (file, sources) in missing.filter(|(file, _)| seen.insert(file.sha256)) {
            files.push(listed(&errand.package, file, sources));
            files.extend(piece_list(&errand.package, file, sources, &desk));
        }
    }
    // Piece lists first: by them half of what follows is known, piece by piece.
    files.sort_by_key(|file| (!file.is_piece_list, file.size_bytes));
    let size_bytes = files.iter().filter_map(|file| file.size_bytes).sum();
    let report = SyncListReport { list: list.to_owned(), files, size_bytes, unmet: gathering.unmet };
    if !report.files.is_empty() {
        let text = text_of(&report);
        disk::write_atomic(list, text.as_bytes())
            .while_doing(|| format!("could not write `{}`", list.display()))?;
    }
    Ok(report)
}

fn listed(package: &PackageRef, file: &FileEntry, sources: &Sources) -> ListedFile {
    ListedFile {
        package: package.clone(),
        path: file.path.to_string(),
        name: name_for(&file.sha256, file.path.as_str()),
        size_bytes: Some(file.size_bytes),
        sha256: file.sha256,
        urls: on_the_net(sources.file.clone()),
        is_piece_list: false,
    }
}

/// The piece list of a file, where its publisher made one and it is not here.
fn piece_list(
    package: &PackageRef,
    file: &FileEntry,
    sources: &Sources,
    desk: &Desk<'_>,
) -> Option<ListedFile> {
    let (digest, url) = (file.pieces?, sources.piece_list.clone()?);
    let is_here = desk.store.piece_list(&digest).is_ok_and(|list| list.is_some());
    let urls = on_the_net(vec![url]);
    let listed = ListedFile {
        package: package.clone(),
        path: file.path.to_string(),
        name: name_for(&digest, "pieces.txt"),
        size_bytes: None,
        sha256: digest,
        urls,
        is_piece_list: true,
    };
    (!is_here && !listed.urls.is_empty()).then_some(listed)
}

/// The addresses that a browser knows. The list travels: user and password stay here, and a browser asks for them.
fn on_the_net(urls: Vec<Url>) -> Vec<String> {
    let mut urls = urls;
    urls.retain(|url| matches!(url.scheme(), "http" | "https"));
    for url in &mut urls {
        // Neither fails for http.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    urls.into_iter().map(String::from).collect()
}

/// The digest's first digits, then the file's own name: unique, and a person still sees what it is.
fn name_for(sha256: &Sha256, path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    format!("{}-{name}", sha256.short())
}

fn text_of(report: &SyncListReport) -> String {
    let ending = report.list.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "html" | "htm" => page(report),
        "urls" => addresses(report),
        _ => for_aria2(report),
    }
}

/// One address a line, the best of each file.
fn addresses(report: &SyncListReport) -> String {
    let first = report.files.iter().filter_map(|file| file.urls.first());
    first.map(|url| format!("{url}\n")).collect()
}

/// The input file of aria2: <https://aria2.github.io/manual/en/html/aria2c.html#input-file>. What begins with `#` is
/// for people.
fn for_aria2(report: &SyncListReport) -> String {
    let (num_files, size_bytes) = (report.files.len(), report.size_bytes);
    let mut text = format!(
        "# localml list 1: {num_files} files, {size_bytes} bytes\n\
         # Fetch these addresses with a browser or any download manager; `aria2c -i` takes this file as it is.\n\
         # Then, where localml runs: localml import FOLDER\n\
         # The files may be called anything, and half a download is of use too.\n"
    );
    for file in &report.files {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n# {} {}", file.package, described(file));
        let _ = write!(text, "\n# sha256 {}\n", file.sha256);
        match file.urls.is_empty() {
            true => text.push_str("# no address on the net is known for it\n"),
            false => {
                let _ = writeln!(text, "{}", file.urls.join("\t"));
                let _ = writeln!(text, "  out={}\n  checksum=sha-256={}", file.name, file.sha256);
            }
        }
    }
    text
}

fn described(file: &ListedFile) -> String {
    match (file.is_piece_list, file.size_bytes) {
        (true, _) => format!("the piece list of {} (small)", file.path),
        (false, Some(size_bytes)) => format!("{}: {size_bytes} bytes", file.path),
        (false, None) => file.path.clone(),
    }
}

/// A page for a browser; it loads nothing by itself.
fn page(report: &SyncListReport) -> String {
    let mut rows = String::new();
    for file in &report.files {
        let links: Vec<String> = file
            .urls
            .iter()
            .enumerate()
            .map(|(number, url)| {
                let title = if number == 0 { "download" } else { "other source" };
                format!("<a href=\"{}\" download=\"{}\">{title}</a>", escaped(url), escaped(&file.name))
            })
            .collect();
        let links = if links.is_empty() { "no address is known".to_owned() } else { links.join(" ") };
        let (package, what) = (escaped(&file.package.to_string()), escaped(&described(file)));
        let _ = writeln!(
            rows,
            "<tr><td>{links}</td><td>{package}</td><td>{what}</td><td><code>{}</code></td></tr>",
            file.sha256
        );
    }
    let (num_files, size_bytes) = (report.files.len(), report.size_bytes);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>localml: {num_files} files</title></head>\n\
         <body>\n<h1>{num_files} files, {size_bytes} bytes</h1>\n\
         <p>Click on each, and save the files to the stick. They may be called anything, and half a download is of use \
         too. Then, where localml runs: <code>localml import FOLDER</code></p>\n\
         <table border=\"1\" cellpadding=\"6\">\n<tr><th></th><th>package</th><th>file</th><th>sha256</th></tr>\n\
         {rows}</table>\n</body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What to do when a list has nothing to speak of.
pub(super) fn nothing_wished() -> Error {
    let message =
        "no stick is there, no package is named, and everything that is installed is the newest known";
    Error::new(ErrorKind::NotFound, message)
        .with_hint("name packages after the stick's folder, or with `--keep`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(list: &str) -> SyncListReport {
        let file = ListedFile {
            package: "ngo/book@1.0.0:plain".parse().expect("a name"),
            path: "maps/map.bin".into(),
            name: name_for(&Sha256::of(b"x"), "maps/map.bin"),
            size_bytes: Some(7),
            sha256: Sha256::of(b"x"),
            urls: vec!["http://one/a?b=1&c=2".into(), "http://two/a".into()],
            is_piece_list: false,
        };
        SyncListReport { list: list.into(), files: vec![file], size_bytes: 7, unmet: Vec::new() }
    }

    #[test]
    fn every_line_for_aria2_is_a_comment_an_address_or_an_option() {
        let text = text_of(&report("list.txt"));
        let lines: Vec<&str> =
            text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let sha256 = Sha256::of(b"x");
        let expected = [
            "http://one/a?b=1&c=2\thttp://two/a".to_owned(),
            "  out=2d711642b726-map.bin".to_owned(),
            format!("  checksum=sha-256={sha256}"),
        ];
        assert_eq!(lines, expected);
        assert!(text.contains("maps/map.bin: 7 bytes"), "{text}");
    }

    #[test]
    fn a_plain_list_has_nothing_but_addresses_and_a_page_links_them() {
        assert_eq!(text_of(&report("list.urls")), "http://one/a?b=1&c=2\n");
        let page = text_of(&report("list.HTML"));
        assert!(
            page.contains("href=\"http://one/a?b=1&amp;c=2\" download=\"2d711642b726-map.bin\""),
            "{page}"
        );
    }
}
