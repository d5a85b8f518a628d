//! A stick and its two ends, through the library: blobs that go out, and what comes in again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use localml::bundle::{
    self, Authorised, BundleError, ExportOptions, Intake, Outgoing, OutgoingBlob, Plan, Site, Stick, Written,
};
use localml::digest::Sha256;
use localml::disk::Staged;
use localml::package::FileEntry;
use localml::progress::{Monitor, Silent, Task, Unit};
use tempfile::TempDir;

/// A folder with `blobs/`, `stick/` and `site/` in it.
pub(crate) struct Desk {
    folder: TempDir,
    pub(crate) blobs: Vec<OutgoingBlob>,
}

impl Desk {
    pub(crate) fn new(blobs: &[&[u8]]) -> Self {
        let mut desk = Self { folder: tempfile::tempdir().unwrap(), blobs: Vec::new() };
        for folder in ["blobs", "stick", "site"] {
            fs::create_dir(desk.folder.path().join(folder)).unwrap();
        }
        blobs.iter().for_each(|bytes| desk.add(bytes, false));
        desk
    }

    pub(crate) fn add(&mut self, bytes: &[u8], is_text: bool) {
        let digest = Sha256::of(bytes);
        let path = self.folder.path().join("blobs").join(digest.to_string());
        fs::write(&path, bytes).unwrap();
        let size_bytes = bytes.len() as u64;
        self.blobs.push(OutgoingBlob {
            digest,
            size_bytes,
            path,
            pieces: None,
            priority: 0,
            is_text,
            only: None,
        });
    }

    pub(crate) fn stick(&self) -> PathBuf {
        self.folder.path().join("stick")
    }

    pub(crate) fn plan(&self, volume_size_bytes: u64) -> Plan {
        let outgoing = Outgoing { blobs: self.blobs.clone(), ..Outgoing::default() };
        Plan::new(&self.stick(), outgoing, &ExportOptions { volume_size_bytes, ..ExportOptions::default() })
            .unwrap()
    }

    pub(crate) fn write(&self, volume_size_bytes: u64) -> Written {
        bundle::write(&self.stick(), self.plan(volume_size_bytes), &Silent).unwrap()
    }

    /// Reads every blob from the stick into `site/`; each that is handed over must be what it is called.
    pub(crate) fn receive(&self, monitor: &dyn Monitor) -> bundle::Result<Intake> {
        self.receive_some(&self.stick(), |_| true, monitor)
    }

    /// As `receive`, for the blobs that are not in `site/` yet.
    pub(crate) fn receive_missing(&self, monitor: &dyn Monitor) -> bundle::Result<Intake> {
        let site = self.folder.path().join("site");
        self.receive_some(&self.stick(), |blob| !site.join(blob.digest.to_string()).exists(), monitor)
    }

    /// As `receive_missing`, from another stick.
    pub(crate) fn receive_from(&self, stick: &Path) -> bundle::Result<Intake> {
        let site = self.folder.path().join("site");
        self.receive_some(stick, |blob| !site.join(blob.digest.to_string()).exists(), &Silent)
    }

    /// True when every blob is at the site.
    pub(crate) fn has_all(&self) -> bool {
        let site = self.folder.path().join("site");
        self.blobs.iter().all(|blob| site.join(blob.digest.to_string()).exists())
    }

    /// A path beside the stick; nothing is made.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn receive_some(
        &self,
        stick: &Path,
        is_wanted: impl Fn(&OutgoingBlob) -> bool,
        monitor: &dyn Monitor,
    ) -> bundle::Result<Intake> {
        let mut authorised = Authorised::default();
        for blob in self.blobs.iter().filter(|blob| is_wanted(blob)) {
            authorised.add(&entry(blob));
        }
        let site = self.folder.path().join("site");
        let mut deliver = |staged: Staged| {
            assert_eq!(Sha256::of(&fs::read(&staged.path).unwrap()), staged.digest);
            fs::rename(&staged.path, site.join(staged.digest.to_string())).unwrap();
            Ok::<(), BundleError>(())
        };
        let staging = site.join("staging");
        let held = |digest: &Sha256, _| Some(site.join(digest.to_string())).filter(|path| path.exists());
        let place = Site { staging: &staging, held: &held };
        bundle::receive(Stick::open(stick)?.bundles()?, &authorised, &place, &mut deliver, monitor)
    }

    /// Every volume of the stick, sorted.
    pub(crate) fn volumes(&self) -> Vec<PathBuf> {
        let mut volumes: Vec<PathBuf> = self
            .files()
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "TAR"))
            .collect();
        volumes.sort();
        volumes
    }

    /// Every file of the stick.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        files_in(&self.stick())
    }
}

pub(crate) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_in(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn entry(blob: &OutgoingBlob) -> FileEntry {
    FileEntry {
        path: "file".parse().unwrap(),
        size_bytes: blob.size_bytes,
        sha256: blob.digest,
        sources: Vec::new(),
        pieces: None,
        unpinned: false,
    }
}

/// Flips one bit of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// A monitor under which the program dies at the n-th sign of progress.
pub(crate) struct DiesAt {
    left: AtomicUsize,
    pub(crate) cancels: bool,
}

impl DiesAt {
    pub(crate) fn new(count: usize, cancels: bool) -> Self {
        Self { left: AtomicUsize::new(count), cancels }
    }

    fn count_down(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
    }
}

impl Monitor for DiesAt {
    fn start(&self, _label: &str, _total: Option<u64>, _unit: Unit) -> Box<dyn Task + '_> {
        Box::new(Silent)
    }

    fn note(&self, _text: &str) {}

    fn warn(&self, _text: &str) {}

    fn is_cancelled(&self) -> bool {
        let is_over = self.count_down();
        assert!(!is_over || self.cancels, "killed");
        is_over
    }
}
