//! What is fuzzed: each function puts any bytes where a stranger could put them, and goes in by the doors
//! that the program uses. Read by `tests/suite/fuzzing.rs` (a short run in every test) and by the libFuzzer
//! crate beside this file (long runs by hand).
//!
//! A target may end with any error. It panics when a door panics, and when something comes in that nobody
//! authorised. To add a target: a function, and a line in [`TARGETS`].

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use localml::bundle::{self, Authorised, BundleError, Receipt, Request, ShortRequest, Site, Stick};
use localml::digest::Sha256;
use localml::disk::Staged;
use localml::gguf::{self, Header};
use localml::package::{FileEntry, Manifest, PieceList};
use localml::progress::Silent;
use localml::registry::{self, Addition, Fetch, FetchError, Statement};
use tempfile::TempDir;

/// Takes any bytes.
pub(crate) type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its folder in `corpus/`.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("description", description),
    ("volume", volume),
    ("slot", slot),
    ("trust", trust),
    ("letter", letter),
    ("short", short),
    ("gguf", gguf),
    ("tuf", tuf),
    ("statement", statement),
];

/// A small stick that the real writer made: three blobs in pieces, one of them compressed, and a registry.
pub(crate) const SAMPLE: &[(&str, &[u8])] = &[
    ("STICK.A", include_bytes!("samples/STICK.A")),
    (DESCRIPTION, include_bytes!("samples/BUNDLE.JSON")),
    (VOLUME, include_bytes!("samples/V0001.TAR")),
    (TRUST, include_bytes!("samples/TRUST.TAR")),
];

const DESCRIPTION: &str = "B/CEAFBBCE/BUNDLE.JSON";
const VOLUME: &str = "B/CEAFBBCE/V0001.TAR";
const TRUST: &str = "TRUST/7AF9EEBD.TAR";

/// What a courier signed, as it travels; the key was thrown away.
pub(crate) const STATEMENT: &[u8] = include_bytes!("samples/STATEMENT.SIG");

const BLOCK_BYTES: usize = 512;

/// `BUNDLE.JSON`.
pub(crate) fn description(bytes: &[u8]) {
    read_stick(&[(DESCRIPTION, bytes)]);
}

/// A volume, as it is, and with header checksums that hold.
pub(crate) fn volume(bytes: &[u8]) {
    read_stick(&[(VOLUME, bytes)]);
    read_stick(&[(VOLUME, &with_checksums(bytes))]);
}

/// A slot of the commit record, as it is, and with a check line that holds.
pub(crate) fn slot(bytes: &[u8]) {
    read_stick(&[("STICK.A", bytes)]);
    read_stick(&[("STICK.B", &with_check_line(bytes))]);
}

/// A set of trust files that no record speaks of, as it is, and with header checksums that hold.
pub(crate) fn trust(bytes: &[u8]) {
    let empty: &[u8] = b"";
    read_stick(&[("STICK.A", empty), (TRUST, bytes)]);
    read_stick(&[("STICK.A", empty), (TRUST, &with_checksums(bytes))]);
}

/// A request or a receipt, in a file and on a stick.
pub(crate) fn letter(bytes: &[u8]) {
    if let Ok(receipt) = Receipt::parse("RCP/0A1B2C3D-1.JSON", bytes)
        && let Ok(again) = receipt.to_bytes()
    {
        let again = Receipt::parse("RCP/0A1B2C3D-1.JSON", &again).expect("what is written is read");
        assert!(again.says_the_same(&receipt));
    }
    let _ = Request::parse("REQ/0A1B2C3D-1.JSON", bytes);
    read_stick(&[("REQ/0A1B2C3D-1.JSON", bytes), ("RCP/0A1B2C3D-1.JSON", bytes)]);
}

/// A request as the text of an SMS.
pub(crate) fn short(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(request) = ShortRequest::parse(&text)
        && let Ok((again, num_left_out)) = request.to_text()
    {
        let again = ShortRequest::parse(&again).expect("what is written is read");
        assert!(num_left_out > 0 || again == request, "{again:?} {request:?}");
    }
}

/// A model's header, and what else may stand in a model's place.
pub(crate) fn gguf(bytes: &[u8]) {
    let size_bytes = bytes.len() as u64;
    let _ = gguf::sniff(bytes).hint();
    let _ = gguf::check_model_file(&mut Cursor::new(bytes), size_bytes);
    let _ = gguf::check_onnx(&mut Cursor::new(bytes), size_bytes);
    // A header is also read from the beginning of a file that is longer.
    for file_bytes in [size_bytes, size_bytes + (1 << 40)] {
        if let Ok(header) = Header::read(&mut Cursor::new(bytes), file_bytes) {
            let shape = header.shape();
            let text = format!("{shape:?} {} {:?}", header.architecture(), header.title());
            assert!(text.len() < (1 << 20) + 2 * bytes.len());
            let grid = PieceList::grid(size_bytes, &header.piece_boundaries());
            assert_eq!(grid.iter().map(|(_, length)| length).sum::<u64>(), size_bytes);
            let _ = (header.version(), header.num_splits(), header.chat_template(), header.tensors().len());
        }
    }
}

/// A file of a registry: its name, a line feed, its bytes. What is accepted must be what was signed.
pub(crate) fn tuf(bytes: &[u8]) {
    let at = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let content = bytes.get(at + 1..).unwrap_or_default();
    let mut files = REGISTRY.files.clone();
    files.insert(name, content.to_vec());
    let fetch = Files(files);
    let room = room();
    let anew = registry::add(&room.path().join("anew/ngo"), &addition(), &fetch);
    // A site that knows the registry meets the same files on a stick.
    let known = room.path().join("known/ngo");
    registry::add(&known, &addition(), &Files(REGISTRY.files.clone())).expect("what was signed is accepted");
    let later = registry::update_from_stick(&known, &fetch);
    for updated in [anew, later].into_iter().flatten() {
        assert_eq!(updated.index.manifests(), REGISTRY.manifests, "what nobody signed was accepted");
    }
    assert_eq!(registry::load(&known).expect("it stays whole").manifests(), REGISTRY.manifests);
}

/// A courier's statement. What is accepted must be what the courier signed.
pub(crate) fn statement(bytes: &[u8]) {
    static SIGNED: LazyLock<Statement> =
        LazyLock::new(|| Statement::read("COURIER/1.SIG", STATEMENT).expect("what was signed is accepted"));
    if let Ok(read) = Statement::read("COURIER/1.SIG", bytes)
        && read.fingerprint == SIGNED.fingerprint
    {
        assert_eq!((&read.name, &read.packages), (&SIGNED.name, &SIGNED.packages), "nobody signed this");
    }
}

// ── the stick ────────────────────────────────────────────────────────────────────────────────

/// What the sample's blobs hash to: these and no others may come in.
static AUTHORISED: LazyLock<Vec<FileEntry>> = LazyLock::new(|| {
    let description: serde_json::Value = serde_json::from_slice(sample(DESCRIPTION)).expect("the sample");
    let blobs = description["blobs"].as_array().expect("the sample has blobs");
    let entry = |blob: &serde_json::Value| {
        let entry = serde_json::json!({
            "path": "file", "size_bytes": blob["size_bytes"], "sha256": blob["sha256"],
        });
        serde_json::from_value(entry).expect("a file of a manifest")
    };
    blobs.iter().map(entry).collect()
});

fn sample(path: &str) -> &'static [u8] {
    let found = SAMPLE.iter().find(|(name, _)| *name == path);
    found.map(|(_, bytes)| *bytes).unwrap_or_default()
}

/// Reads the sample with some files exchanged: everything that a site looks at on a stick.
fn read_stick(changed: &[(&str, &[u8])]) {
    let room = room();
    let root = room.path().join("LOCALML");
    for (path, bytes) in SAMPLE.iter().chain(changed) {
        write(&root.join(path), bytes);
    }
    let Ok(stick) = Stick::open(room.path()) else { return };
    for set in stick.trust_sets().sets {
        for name in set.names() {
            assert!(!name.starts_with('/') && name.split('/').all(|part| part != ".."), "{name}");
            let _ = set.read(name, 1 << 20);
        }
    }
    let _ = bundle::verify(&stick, &Silent);
    let _ = (stick.requests(), stick.receipts());
    let Ok(bundles) = stick.bundles() else { return };
    let mut authorised = Authorised::default();
    AUTHORISED.iter().for_each(|entry| authorised.add(entry));
    let mut deliver = |staged: Staged| {
        let found = Sha256::of(&fs::read(&staged.path).expect("what is handed over is there"));
        assert_eq!(found, staged.digest, "what is handed over is what it is called");
        assert!(AUTHORISED.iter().any(|entry| entry.sha256 == found), "nobody authorised {found}");
        Ok::<(), BundleError>(())
    };
    let staging = room.path().join("staging");
    let site = Site { staging: &staging, held: &|_, _| None };
    let _ = bundle::receive(bundles, &authorised, &site, &mut deliver, &Silent);
    let names: Vec<PathBuf> =
        fs::read_dir(room.path()).expect("our room").map(|entry| entry.expect("readable").path()).collect();
    assert!(names.iter().all(|path| path.ends_with("LOCALML") || path.ends_with("staging")), "{names:?}");
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("below the room")).expect("room");
    fs::write(path, bytes).expect("room");
}

/// A folder in memory where there is one: the doors sync what they write.
fn room() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("room for a small folder")
}

/// Gives each block that looks like a header the checksum of its bytes.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK_BYTES) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

/// Ends a slot with the digest of its lines.
fn with_check_line(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: String =
        text.lines().filter(|line| !line.starts_with("check ")).map(|line| format!("{line}\n")).collect();
    let check = Sha256::of(lines.as_bytes());
    lines.push_str(&format!("check {check}\n"));
    lines.into_bytes()
}

// ── the registry ─────────────────────────────────────────────────────────────────────────────

/// The registry of the sample: its files by name, and the packages that it signs.
struct Published {
    files: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Manifest>,
}

static REGISTRY: LazyLock<Published> = LazyLock::new(|| {
    let room = room();
    for (path, bytes) in SAMPLE {
        write(&room.path().join("LOCALML").join(path), bytes);
    }
    let stick = Stick::open(room.path()).expect("the sample");
    let set = stick.trust_sets().sets.pop().expect("the sample has a registry");
    let file = |name: &str| {
        let bytes = set.read(name, 1 << 20).ok().flatten()?;
        Some((name.split_once('/')?.1.to_owned(), bytes))
    };
    let files: BTreeMap<String, Vec<u8>> = set.names().filter_map(file).collect();
    let first_root = Sha256::of(&files["1.root.json"]);
    let addition = Addition { fingerprint: Some(first_root.into()), ..nobody() };
    let added = registry::add(&room.path().join("copy/ngo"), &addition, &Files(files.clone()));
    let manifests = added.expect("the sample is signed").index.manifests().to_vec();
    assert!(!manifests.is_empty(), "the sample names packages");
    Published { files, manifests }
});

fn addition() -> Addition {
    Addition { fingerprint: Some(Sha256::of(&REGISTRY.files["1.root.json"]).into()), ..nobody() }
}

fn nobody() -> Addition {
    Addition {
        name: "ngo".parse().expect("a name"),
        url: "http://localhost/ngo/".parse().expect("an address"),
        fingerprint: None,
        vouched_by: None,
    }
}

/// A registry in memory.
struct Files(BTreeMap<String, Vec<u8>>);

impl Fetch for Files {
    fn get(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        match self.0.get(path) {
            Some(bytes) if bytes.len() as u64 > max_bytes => Err("it is too large".into()),
            found => Ok(found.cloned()),
        }
    }
}
