//! `BIN/<TARGET>/`: localml itself as plain files, for a site that has nothing yet.
//!
//! ```text
//! BIN/X86_64-UNKNOWN-LINUX-GNU/  LOCALML  LIB/…     the program, under names that any stick can hold
//!                                SHA256SUMS         for any checksum program
//!                                START.SH           checks, warns, copies, and names the next command
//! ```
//!
//! The files stand in the commit record like all others. Who made them is not proved by the stick: the
//! digests that a registry signed are, and `stick verify` compares them where the registry is known.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::{Hasher, Sha256};
use crate::disk::{self, Lock};
use crate::package::RelativePath;
use crate::progress::{Monitor, Task, Unit};

use super::error::{BundleError, Result, io_error};
use super::layout::{BIN, MAX_VOLUME_BYTES, is_safe_path};
use super::plan::{PlannedFile, stick_id};
use super::readback;
use super::record::{self, CommitRecord, CommittedFile};
use super::starter;
use super::stick::{Stick, names_in};
use super::volume::Sink;
use super::writer::{check_free, make_folder, open_plain_for_writing};

/// How much is copied at a time, in bytes.
const COPY_BYTES: usize = 1024 * 1024;
const SUMS: &str = "SHA256SUMS";

/// The files of a program that no manifest names.
const TEXTS: [&str; 3] = [SUMS, "START.SH", "START.BAT"];

/// localml for one platform.
#[derive(Debug, Clone)]
pub struct Program {
    /// The target triple.
    pub target: String,
    /// What it is called when it is shown, for example `localml 1.0.0`.
    pub title: String,
    /// Who signed it, where anyone did.
    pub signer: Option<Signer>,
    /// The executable and its libraries; at least one file.
    pub files: Vec<ProgramFile>,
}

/// Who signed a program.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The registry's fingerprint, as it is read over the telephone; lines of plain characters.
    pub fingerprint: String,
}

/// One file of a program.
#[derive(Debug, Clone)]
pub struct ProgramFile {
    /// Its name beside the executable.
    pub path: RelativePath,
    /// Where it lies on this machine.
    pub source: PathBuf,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its digest; the bytes are checked against it while they are copied.
    pub sha256: Sha256,
}

/// What is to be written below `BIN`.
#[derive(Debug)]
pub struct RuntimePlan {
    files: Vec<Copied>,
    /// The record without any file of these targets, and with all of them.
    without: CommitRecord,
    with: CommitRecord,
    /// Paths that the stick's record has and the new one has not.
    stale: Vec<String>,
    /// Bytes that the next record of the stick has more than it would have had.
    later_record_bytes: u64,
    is_there: bool,
}

#[derive(Debug)]
struct Copied {
    file: CommittedFile,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Source(PathBuf),
    Text(String),
}

/// A program on a stick.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RuntimeOnStick {
    /// The name of its folder: the target in upper case.
    pub target: String,
    /// The files that the record promises, their paths relative to that folder, without the sums and the
    /// script.
    pub files: BTreeMap<String, Sha256>,
    /// The sums and the script.
    pub texts: BTreeMap<String, Sha256>,
    /// What lies there and stands in no record; a folder ends in `/`.
    pub strangers: Vec<String>,
}

/// A file's name on the stick: upper-case, and only characters that every file system takes.
pub fn stick_name(path: &RelativePath) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "/_.-".contains(c) { c } else { '_' };
    path.as_str().to_ascii_uppercase().chars().map(plain).collect()
}

impl RuntimePlan {
    /// Decides what to write below `BIN` on the stick at `folder`, which need not carry anything yet.
    ///
    /// # Errors
    /// `NoPlace` when a name or a length is more than a stick can hold; as `Stick::open`.
    pub fn new(folder: &Path, programs: &[Program]) -> Result<Self> {
        let stick = Stick::open_if_any(folder)?;
        let mut files = Vec::new();
        for program in programs {
            files.extend(copied(program)?);
        }
        let old = stick.as_ref().and_then(Stick::record);
        let before = CommitRecord {
            generation: old.map_or(0, |record| record.generation) + 1,
            stick_id: stick_id(stick.as_ref()),
            files: stick.as_ref().map(Stick::known_files).transpose()?.unwrap_or_default(),
        };
        let folders: Vec<String> = programs.iter().map(folder_of).collect();
        let is_ours = |file: &CommittedFile| folders.iter().any(|folder| file.path.starts_with(folder));
        let mut without = before.clone();
        without.files.retain(|file| !is_ours(file));
        let mut with = without.clone();
        with.files.extend(files.iter().map(|copied| copied.file.clone()));
        let stale = before.files.iter().filter(|file| is_ours(file) && with.file(&file.path).is_none());
        let stale: Vec<String> = stale.map(|file| file.path.clone()).collect();
        let lies = |copied: &Copied| stick.as_ref().is_some_and(|stick| lies_on(stick, &copied.file));
        let is_there = stale.is_empty() && files.iter().all(lies);
        let later = CommitRecord { generation: with.generation + 1, ..with.clone() };
        let later_record_bytes = later.size_bytes().saturating_sub(before.size_bytes());
        Ok(Self { files, without, with, stale, later_record_bytes, is_there })
    }

    /// True when the stick holds all this already.
    pub fn is_already_there(&self) -> bool {
        self.is_there
    }

    /// Every file that will be written.
    pub fn files(&self) -> Vec<PlannedFile> {
        if self.is_there {
            return Vec::new();
        }
        let file = |path: &str, size_bytes: u64| PlannedFile { path: path.to_owned(), size_bytes };
        let mut files: Vec<PlannedFile> =
            self.files.iter().map(|copied| file(&copied.file.path, copied.file.size_bytes)).collect();
        files.push(file("STICK", self.with.size_bytes()));
        files
    }

    /// How many bytes will be written.
    pub fn total_bytes(&self) -> u64 {
        self.files().iter().map(|file| file.size_bytes).sum()
    }

    /// How many bytes the record of an export after this one grows by.
    pub fn later_record_bytes(&self) -> u64 {
        if self.is_there { 0 } else { self.later_record_bytes }
    }

    /// Writes the files, reads them back from the medium and commits them. `more_bytes` is what the same
    /// export writes afterwards: a stick that has no room for all of it is refused before the first byte.
    ///
    /// # Errors
    /// `NoRoom`; `BlobDamaged` when a file here is not what it should be; `ReadBack`; `Cancelled`.
    pub fn write(self, folder: &Path, more_bytes: u64, monitor: &dyn Monitor) -> Result<()> {
        if self.is_there {
            return Ok(());
        }
        let stick = Stick::create(folder)?;
        let _lock = Lock::acquire_dir(stick.root())?;
        check_free(&stick, &self.files(), more_bytes)?;
        let (stick, generation) = self.withdraw(folder, stick)?;
        let total_bytes = self.files.iter().map(|copied| copied.file.size_bytes).sum();
        let task = monitor.start("writing localml itself", Some(total_bytes), Unit::Bytes);
        for copied in &self.files {
            write_file(stick.root(), copied, monitor, &*task)?;
        }
        let task = monitor.start("reading back", Some(total_bytes), Unit::Bytes);
        for copied in &self.files {
            if !readback::is_whole(stick.root(), &copied.file, monitor, &*task)? {
                return Err(BundleError::ReadBack { file: copied.file.path.clone() });
            }
        }
        let record = CommitRecord { generation, ..self.with };
        record::commit(stick.root(), stick.slots(), &record)?;
        for path in &self.stale {
            disk::remove_file(&stick.root().join(path))?;
        }
        Ok(())
    }

    /// Takes files that will be overwritten out of the record first; returns the next generation.
    fn withdraw(&self, folder: &Path, stick: Stick) -> Result<(Stick, u64)> {
        let promised = stick.record().map_or(0, |record| record.files.len());
        if promised <= self.without.files.len() {
            return Ok((stick, self.with.generation));
        }
        record::commit(stick.root(), stick.slots(), &self.without)?;
        Ok((Stick::open(folder)?, self.with.generation + 1))
    }
}

/// The programs that a stick's record promises, and those that lie there without one.
///
/// # Errors
/// When a folder cannot be read.
pub fn runtimes_on(stick: &Stick) -> Result<Vec<RuntimeOnStick>> {
    let mut found: BTreeMap<String, RuntimeOnStick> = BTreeMap::new();
    let empty = |target: &str| RuntimeOnStick { target: target.to_owned(), ..RuntimeOnStick::default() };
    let files = stick.record().into_iter().flat_map(|record| &record.files);
    for (path, file) in files.filter_map(|file| Some((file.path.strip_prefix("BIN/")?, file))) {
        let Some((target, name)) = path.split_once('/') else { continue };
        let runtime = found.entry(target.to_owned()).or_insert_with(|| empty(target));
        let files = if TEXTS.contains(&name) { &mut runtime.texts } else { &mut runtime.files };
        files.insert(name.to_owned(), file.sha256);
    }
    let bin = stick.root().join(BIN);
    for target in names_in(&bin)? {
        let runtime = found.entry(target.clone()).or_insert_with(|| empty(&target));
        add_strangers(&bin.join(&target), "", runtime);
    }
    Ok(found.into_values().collect())
}

/// Notes what lies in a folder of a program and stands in no record; a folder without any such file whole.
fn add_strangers(folder: &Path, prefix: &str, runtime: &mut RuntimeOnStick) {
    // A plain file in the place of a program's folder is a stranger itself.
    let Ok(names) = names_in(folder) else {
        runtime.strangers.push(prefix.to_owned());
        return;
    };
    for name in names {
        let path = format!("{prefix}{name}");
        let is_folder = folder.join(&name).symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        let inside = format!("{path}/");
        let has_own = || runtime.files.keys().any(|own| own.starts_with(&inside));
        match is_folder {
            true if has_own() => add_strangers(&folder.join(&name), &inside, runtime),
            // An older version had a library there.
            true if is_empty_folder(&folder.join(&name)) => {}
            true => runtime.strangers.push(inside),
            false if runtime.files.contains_key(&path) || runtime.texts.contains_key(&path) => {}
            false => runtime.strangers.push(path),
        }
    }
}

fn is_empty_folder(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

impl Program {
    /// The digests of the sums and the script that belong to it, by their names on the stick.
    pub fn texts(&self) -> BTreeMap<String, Sha256> {
        let (name, script) = starter::script(self);
        let texts = [(SUMS, starter::sums(self)), (name, script)];
        texts.map(|(name, text)| (name.to_owned(), Sha256::of(text.as_bytes()))).into()
    }
}

fn folder_of(program: &Program) -> String {
    format!("{BIN}/{}/", program.target.to_ascii_uppercase())
}

fn copied(program: &Program) -> Result<Vec<Copied>> {
    let folder = folder_of(program);
    let mut files = Vec::new();
    for file in &program.files {
        let (size_bytes, sha256) = (file.size_bytes, file.sha256);
        let path = format!("{folder}{}", stick_name(&file.path));
        files.push(Copied {
            file: CommittedFile { path, size_bytes, sha256 },
            content: Content::Source(file.source.clone()),
        });
    }
    let (name, script) = starter::script(program);
    for (name, text) in [(SUMS, starter::sums(program)), (name, script)] {
        let (size_bytes, sha256) = (text.len() as u64, Sha256::of(text.as_bytes()));
        let file = CommittedFile { path: format!("{folder}{name}"), size_bytes, sha256 };
        files.push(Copied { file, content: Content::Text(text) });
    }
    check_names(&files)?;
    Ok(files)
}

fn check_names(files: &[Copied]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for Copied { file, .. } in files {
        let no_place = |reason| Err(BundleError::NoPlace { file: file.path.clone(), reason });
        if !is_safe_path(&file.path) {
            return no_place("its name is not one that every stick can hold");
        }
        if file.size_bytes > MAX_VOLUME_BYTES {
            return no_place("FAT32 holds no file of 4 GiB or more");
        }
        if !seen.insert(&file.path) {
            return no_place("another file would have the same name there");
        }
    }
    Ok(())
}

/// True when the record promises this file and something of its length lies there.
fn lies_on(stick: &Stick, file: &CommittedFile) -> bool {
    let is_promised = stick.record().and_then(|record| record.file(&file.path)) == Some(file);
    let lying = stick.root().join(&file.path).symlink_metadata();
    is_promised && lying.is_ok_and(|found| found.is_file() && found.len() == file.size_bytes)
}

fn write_file(root: &Path, copied: &Copied, monitor: &dyn Monitor, task: &dyn Task) -> Result<()> {
    let path = &copied.file.path;
    let folders: Vec<&str> = path.split('/').collect();
    let folder = make_folder(root, &folders[..folders.len() - 1])?;
    let mut sink = Sink::new(open_plain_for_writing(&root.join(path))?)?;
    match &copied.content {
        Content::Text(text) => sink.put(text.as_bytes())?,
        Content::Source(source) => copy(source, copied.file.sha256, &mut sink, monitor, task)?,
    }
    sink.finish()?;
    Ok(disk::sync_dir(&folder)?)
}

fn copy(
    source: &Path,
    digest: Sha256,
    sink: &mut Sink,
    monitor: &dyn Monitor,
    task: &dyn Task,
) -> Result<()> {
    let on = |error| io_error(source, error);
    let (mut file, mut hasher) = (File::open(source).map_err(on)?, Hasher::new());
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        if monitor.is_cancelled() {
            return Err(BundleError::Cancelled);
        }
        let count = file.read(&mut buffer).map_err(on)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        sink.put(&buffer[..count])?;
        task.advance(count as u64);
    }
    let found = hasher.finish();
    match found == digest {
        true => Ok(()),
        false => {
            let reason = format!("it has sha256 {found}");
            Err(BundleError::BlobDamaged { digest, path: source.to_owned(), reason })
        }
    }
}
