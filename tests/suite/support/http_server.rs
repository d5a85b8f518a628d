//! A real HTTP/1.1 server on loopback that serves a folder, misbehaves when told to, and counts.
//!
//! It knows GET and HEAD, keep-alive, `Range: bytes=a-b`, `a-` and `-n`, `If-Range`, `ETag` and `Last-Modified`.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

/// The page that a captive portal answers with.
pub(crate) const PORTAL_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Welcome to Cafe WiFi</title></head><body>Please sign in</body></html>\n";

/// How much is sent between two looks at the stop flag, in bytes.
const SLICE_BYTES: u64 = 256 * 1024;

/// A way to misbehave, for one path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// Sends this many bytes of the body, then closes the connection.
    CutAfter(u64),
    /// Sends this many bytes of the body, then nothing until the server stops.
    StallAfter(u64),
    /// Flips all bits of the byte at this offset of the file.
    CorruptByte(u64),
    /// Answers 200 with `PORTAL_PAGE` as `text/html`.
    Html,
    /// Answers 200 with `PORTAL_PAGE` as `application/octet-stream`.
    DisguisedHtml,
    /// Answers 200 with the whole file whatever range was asked for.
    IgnoreRanges,
    /// Answers 206 and repeats the range asked for, but sends bytes from the beginning of the file.
    LieAboutRanges,
    /// Answers 206 with the honest beginning of the file, where another range was asked for.
    WrongRange,
    /// Sends neither `ETag` nor `Last-Modified`.
    NoValidators,
    /// Sends no `Content-Length`; the end of the connection ends the body.
    NoLength,
    /// Sends this many bytes more than the file has.
    TooLong(u64),
    /// Claims that the body is compressed, though it is not.
    ClaimsGzip,
    /// Answers 302 to this address.
    Redirect(String),
    /// Answers 302 to this address with a text that has neither a length nor an end.
    RedirectOpen(String),
    /// Answers with this status and a short text.
    Status(u16),
    /// Answers 503 with `Retry-After` in seconds.
    Busy(u64),
    /// Sends at most this many bytes a second on each connection.
    Throttle(u64),
    /// Answers 200 with the whole file whatever range was asked for, and closes the connection after this many bytes.
    IgnoreRangesAndCut(u64),
    /// As `Throttle`, and cuts the connection after the second number of bytes.
    ThrottleAndCut(u64, u64),
}

/// One request as it came, and what was answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Decoded, with the leading `/`.
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
    pub(crate) status: u16,
}

/// Serves a folder until dropped.
pub(crate) struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    folder: PathBuf,
    is_stopping: AtomicBool,
    num_connections: AtomicU64,
    bytes_sent: AtomicU64,
    head_bytes: AtomicU64,
    log: Mutex<Vec<Request>>,
    faults: Mutex<HashMap<String, Fault>>,
    next_faults: Mutex<HashMap<String, VecDeque<Fault>>>,
    headers: Mutex<HashMap<String, String>>,
    open: Mutex<Vec<TcpStream>>,
}

impl HttpServer {
    /// Listens on a free port of 127.0.0.1. A path of a request is a path in `folder`.
    pub(crate) fn serve(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { folder: folder.to_owned(), ..Shared::default() });
        let for_thread = Arc::clone(&shared);
        let listener = Some(thread::spawn(move || accept(&listener, &for_thread)));
        Self { address, shared, listener }
    }

    /// The address of the folder: `http://127.0.0.1:PORT`, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Misbehaves for `path` (with or without its leading `/`) at every request from now on.
    pub(crate) fn set_fault(&self, path: &str, fault: Fault) {
        self.shared.faults.lock().unwrap().insert(key(path), fault);
    }

    /// Misbehaves at one later request for `path`; several calls queue up, and come before `set_fault`.
    pub(crate) fn queue_fault(&self, path: &str, fault: Fault) {
        self.shared.next_faults.lock().unwrap().entry(key(path)).or_default().push_back(fault);
    }

    /// Sends this header too (`Name: value`) with every answer for `path`.
    pub(crate) fn set_header(&self, path: &str, header: String) {
        self.shared.headers.lock().unwrap().insert(key(path), header);
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behaves well again for every path.
    pub(crate) fn clear_faults(&self) {
        self.shared.faults.lock().unwrap().clear();
        self.shared.next_faults.lock().unwrap().clear();
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.shared.log.lock().unwrap().len()
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.num_connections.load(Ordering::SeqCst)
    }

    /// How many bytes of bodies were given to the sockets. Bytes that the other side never read count too.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.shared.bytes_sent.load(Ordering::SeqCst)
    }

    /// How many bytes of heads and bodies went either way. What the other side never read counts too.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.bytes_sent() + self.shared.head_bytes.load(Ordering::SeqCst)
    }

    /// Every request so far, in the order of their answers.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn key(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        if shared.is_stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        shared.num_connections.fetch_add(1, Ordering::SeqCst);
        shared.open.lock().unwrap().extend(stream.try_clone());
        let shared = Arc::clone(shared);
        threads.push(thread::spawn(move || {
            // A client that went away is no concern of the server's.
            let _ = converse(&stream, &shared);
            let _ = stream.shutdown(Shutdown::Both);
        }));
    }
    for stream in shared.open.lock().unwrap().iter() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Answers the requests of one connection, one after the other.
fn converse(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some((method, path, headers)) = read_request(&mut reader, shared)? {
        let asked = Asked { method, path, headers };
        let mut answer = decide(&asked, shared);
        answer.headers.extend(shared.headers.lock().unwrap().get(&asked.path).cloned());
        shared.log.lock().unwrap().push(Request {
            method: asked.method.clone(),
            path: asked.path.clone(),
            range: asked.headers.get("range").cloned(),
            if_range: asked.headers.get("if-range").cloned(),
            status: answer.status,
        });
        if !send(stream, &mut answer, asked.method == "HEAD", shared)? {
            return Ok(());
        }
    }
    Ok(())
}

struct Asked {
    method: String,
    path: String,
    headers: HashMap<String, String>,
}

type RawRequest = (String, String, HashMap<String, String>);

fn read_request(reader: &mut BufReader<TcpStream>, shared: &Shared) -> io::Result<Option<RawRequest>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut head_bytes = line.len();
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    // A proxy is asked with the whole address; this one serves every host from its own folder.
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let path = decoded(target.split('?').next().unwrap_or_default());
    let method = method.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        head_bytes += reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            shared.head_bytes.fetch_add(head_bytes as u64, Ordering::SeqCst);
            return Ok(Some((method, path, headers)));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
}

/// Undoes `%20` and its like.
fn decoded(target: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = target.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What goes over the wire: head, then `length` bytes of the body, then `padding` zeros.
struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Body,
    length: u64,
    padding: u64,
    has_length: bool,
    fault: Option<Fault>,
}

enum Body {
    Bytes(Vec<u8>),
    /// The file, and where to begin in it.
    File(File, u64),
}

fn decide(asked: &Asked, shared: &Shared) -> Answer {
    let queued = shared.next_faults.lock().unwrap().get_mut(&asked.path).and_then(VecDeque::pop_front);
    let fault = queued.or_else(|| shared.faults.lock().unwrap().get(&asked.path).cloned());
    match &fault {
        Some(Fault::Html) => page(200, "text/html; charset=utf-8", PORTAL_PAGE),
        Some(Fault::DisguisedHtml) => page(200, "application/octet-stream", PORTAL_PAGE),
        Some(Fault::Status(status)) => page(*status, "text/plain", "no\n"),
        Some(Fault::Busy(seconds)) => {
            let mut answer = page(503, "text/plain", "busy\n");
            answer.headers.push(format!("Retry-After: {seconds}"));
            answer
        }
        Some(Fault::Redirect(location)) => {
            let mut answer = page(302, "text/plain", "elsewhere\n");
            answer.headers.push(format!("Location: {location}"));
            answer
        }
        Some(Fault::RedirectOpen(location)) => {
            let mut answer = page(302, "text/plain", "elsewhere\n");
            answer.headers.push(format!("Location: {location}"));
            Answer { has_length: false, fault: Some(Fault::StallAfter(4)), ..answer }
        }
        _ => file_answer(asked, shared, fault).unwrap_or_else(|| page(404, "text/plain", "not found\n")),
    }
}

fn page(status: u16, content_type: &str, text: &str) -> Answer {
    Answer {
        status,
        headers: vec![format!("Content-Type: {content_type}")],
        body: Body::Bytes(text.as_bytes().to_vec()),
        length: text.len() as u64,
        padding: 0,
        has_length: true,
        fault: None,
    }
}

/// The file, or the part of it that was asked for; `None` when there is no such file.
fn file_answer(asked: &Asked, shared: &Shared, fault: Option<Fault>) -> Option<Answer> {
    let relative = asked.path.trim_start_matches('/');
    if relative.split('/').any(|part| part == "..") {
        return None;
    }
    let path = shared.folder.join(relative);
    let file = File::open(&path).ok()?;
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let size_bytes = metadata.len();
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let etag = format!("\"{size_bytes:x}-{:x}\"", modified.as_nanos());
    let last_modified = http_date(modified.as_secs());

    let mut headers =
        vec!["Content-Type: application/octet-stream".to_owned(), "Accept-Ranges: bytes".to_owned()];
    if fault != Some(Fault::NoValidators) {
        headers.push(format!("ETag: {etag}"));
        headers.push(format!("Last-Modified: {last_modified}"));
    }
    if fault == Some(Fault::ClaimsGzip) {
        headers.push("Content-Encoding: gzip".to_owned());
    }
    let unchanged = |value: &String| *value == etag || *value == last_modified;
    let range = asked
        .headers
        .get("range")
        .filter(|_| !matches!(fault, Some(Fault::IgnoreRanges | Fault::IgnoreRangesAndCut(_))));
    let range = range.filter(|_| asked.headers.get("if-range").is_none_or(unchanged));
    let padding = if let Some(Fault::TooLong(count)) = fault { count } else { 0 };
    let has_length = fault != Some(Fault::NoLength);
    let whole = |status, headers, length| {
        let body = Body::Bytes(Vec::new());
        Answer { status, headers, body, length, padding, has_length, fault: fault.clone() }
    };
    let Some(range) = range.and_then(|range| parse_range(range, size_bytes)) else {
        return Some(Answer { body: Body::File(file, 0), ..whole(200, headers, size_bytes) });
    };
    let Some((mut start, mut end)) = range else {
        headers.push(format!("Content-Range: bytes */{size_bytes}"));
        return Some(Answer { padding: 0, ..whole(416, headers, 0) });
    };
    if fault == Some(Fault::WrongRange) {
        (start, end) = (0, end - start);
    }
    headers.push(format!("Content-Range: bytes {start}-{}/{size_bytes}", end - 1));
    let from = if fault == Some(Fault::LieAboutRanges) { 0 } else { start };
    Some(Answer { body: Body::File(file, from), ..whole(206, headers, end - start) })
}

/// `Some(None)`: outside the file. `None`: not understood, so the whole file is the right answer.
fn parse_range(text: &str, size_bytes: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(start), Some(last)) => (start, size_bytes.min(last.checked_add(1)?)),
        (Some(start), None) if last.is_empty() => (start, size_bytes),
        (None, Some(count)) if first.is_empty() => (size_bytes.saturating_sub(count), size_bytes),
        _ => return None,
    };
    Some((start < end).then_some((start, end)))
}

/// Sends the answer; true when the connection can be used again.
fn send(stream: &TcpStream, answer: &mut Answer, is_head: bool, shared: &Shared) -> io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} Answer\r\n", answer.status);
    for header in &answer.headers {
        head += &format!("{header}\r\n");
    }
    if answer.has_length {
        head += &format!("Content-Length: {}\r\n", answer.length + answer.padding);
    } else {
        head += "Connection: close\r\n";
    }
    head += "\r\n";
    let mut out = stream;
    out.write_all(head.as_bytes())?;
    shared.head_bytes.fetch_add(head.len() as u64, Ordering::SeqCst);
    if is_head {
        return Ok(answer.has_length);
    }
    let stop_at = match answer.fault {
        Some(
            Fault::CutAfter(count)
            | Fault::StallAfter(count)
            | Fault::IgnoreRangesAndCut(count)
            | Fault::ThrottleAndCut(_, count),
        ) => count.min(answer.length),
        _ => answer.length,
    };
    send_body(stream, answer, stop_at, shared)?;
    if matches!(answer.fault, Some(Fault::StallAfter(count)) if count <= answer.length) {
        wait_for_stop(stream, shared);
        return Ok(false);
    }
    if matches!(
        answer.fault,
        Some(Fault::CutAfter(_) | Fault::IgnoreRangesAndCut(_) | Fault::ThrottleAndCut(..))
    ) {
        return Ok(false);
    }
    for _ in 0..answer.padding {
        out.write_all(&[0])?;
    }
    Ok(answer.has_length)
}

fn send_body(stream: &TcpStream, answer: &mut Answer, stop_at: u64, shared: &Shared) -> io::Result<()> {
    let mut out = stream;
    let (file, from) = match &mut answer.body {
        Body::Bytes(bytes) => {
            out.write_all(&bytes[..stop_at as usize])?;
            shared.bytes_sent.fetch_add(stop_at, Ordering::SeqCst);
            return Ok(());
        }
        Body::File(file, from) => (file, *from),
    };
    file.seek(SeekFrom::Start(from))?;
    let slice_bytes = match answer.fault {
        Some(Fault::Throttle(bytes_per_second) | Fault::ThrottleAndCut(bytes_per_second, _)) => {
            (bytes_per_second / 50).max(1)
        }
        _ => SLICE_BYTES,
    };
    let mut sent = 0;
    while sent < stop_at && !shared.is_stopping.load(Ordering::SeqCst) {
        let want = slice_bytes.min(stop_at - sent);
        let count = match answer.fault {
            Some(Fault::CorruptByte(at)) => send_corrupted(&mut out, file, want, from + sent, at)?,
            // On Linux this is sendfile: the server costs the client as little as it can.
            _ => io::copy(&mut io::Read::by_ref(file).take(want), &mut out)?,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        sent += count;
        shared.bytes_sent.fetch_add(count, Ordering::SeqCst);
        if matches!(answer.fault, Some(Fault::Throttle(_) | Fault::ThrottleAndCut(..))) {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn send_corrupted(out: &mut &TcpStream, file: &mut File, want: u64, offset: u64, at: u64) -> io::Result<u64> {
    let mut bytes = vec![0; want as usize];
    let count = file.read(&mut bytes)?;
    if at >= offset && at < offset + count as u64 {
        bytes[(at - offset) as usize] ^= 0xff;
    }
    out.write_all(&bytes[..count])?;
    Ok(count as u64)
}

/// Holds the connection open until the client leaves or the server stops.
fn wait_for_stop(stream: &TcpStream, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
    let mut byte = [0];
    while !shared.is_stopping.load(Ordering::SeqCst) {
        match (&mut { stream }).read(&mut byte) {
            Ok(0) => return,
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return;
            }
            _ => {}
        }
    }
}

/// RFC 9110 `IMF-fixdate`. The day count is Howard Hinnant's `civil_from_days`.
fn http_date(unix_seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[(month - 1) as usize],
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
    )
}
