//! `adopt`: take a local file as a package that nobody signed. It is labelled so for ever.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::{Hasher, Sha256};
use crate::disk::{self, DiskError, Staged, StagingFile};
use crate::error::ErrorKind;
use crate::gguf::{FileKind, Header, Shape, Value, check_model_file, sniff};
use crate::home::Home;
use crate::package::{
    Embedding, FileEntry, Kind, Manifest, Name, PackageHead, Piece, PieceList, Pooling, RelativePath,
    Variant, Version,
};
use crate::progress::{Monitor, Unit};
use crate::store::{Installed, Origin, Store};

use super::error::{Error, Result, While as _};
use super::site;

/// What to call the file.
#[derive(Debug, Clone)]
pub struct AdoptOptions {
    /// The file.
    pub file: PathBuf,
    /// The package's name.
    pub name: Name,
    /// What it is for.
    pub kind: Kind,
    /// Its licence, where it is known.
    pub license: Option<String>,
    /// True to replace an installed package of this name.
    pub is_replacing: bool,
    /// True to say what would be done, and do nothing.
    pub is_plan: bool,
}

/// What was adopted.
#[derive(Debug, Serialize)]
pub struct AdoptReport {
    /// The package's name.
    pub name: Name,
    /// What it is for.
    pub kind: Kind,
    /// How many bytes were copied into the store, or would be.
    pub size_bytes: u64,
    /// The file's digest; absent in a plan.
    pub sha256: Option<Sha256>,
    /// What the GGUF's header says of the model.
    pub shape: Option<Shape>,
    /// True when nothing was done.
    pub is_plan: bool,
}

/// Checks a file and installs it as an unsigned package.
///
/// # Errors
/// When the file is not what its kind needs (damaged), the name is taken, or the disk is full.
pub fn adopt(home: &Home, options: &AdoptOptions, monitor: &dyn Monitor) -> Result<AdoptReport> {
    let path = &options.file;
    let on = |source| Error::from(DiskError::Io { path: path.clone(), source });
    let mut file = File::open(path).map_err(on)?;
    let metadata = file.metadata().map_err(on)?;
    if !metadata.is_file() {
        let message = format!("`{}` is not a file", path.display());
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let size_bytes = metadata.len();
    let header = check(&mut file, size_bytes, options)?;
    let store = site::store(home);
    let _lock = if options.is_plan { None } else { Some(site::lock(home)?) };
    check_name_and_room(home, &store, options, size_bytes)?;
    let shape = header.as_ref().map(Header::shape);
    let mut report = AdoptReport {
        name: options.name.clone(),
        kind: options.kind.clone(),
        size_bytes,
        sha256: None,
        shape: shape.clone(),
        is_plan: options.is_plan,
    };
    if options.is_plan {
        return Ok(report);
    }
    let boundaries = header.as_ref().map(Header::piece_boundaries).unwrap_or_default();
    let part = home.staging().join(format!("adopt-{}.part", options.name));
    let staged = stage(&part, &mut file, size_bytes, &boundaries, options, monitor);
    if staged.is_err() {
        // The original is still where it was; its half copy only takes room.
        disk::remove_file(&part)?;
    }
    let (staged, pieces) = staged?;
    let digest = staged.digest;
    let manifest = manifest(options, header.as_ref(), &staged, store.keep_piece_list(&pieces)?)?;
    store.adopt(&staged, &digest)?;
    let variant = manifest.variants[0].id.clone();
    store.record(&Installed::new(manifest, variant, Origin::Unsigned, site::now()))?;
    report.sha256 = Some(digest);
    Ok(report)
}

/// Checks that the file is what its kind needs; a GGUF's header comes back.
fn check(file: &mut File, size_bytes: u64, options: &AdoptOptions) -> Result<Option<Header>> {
    let deed = || format!("`{}` cannot be adopted", options.file.display());
    let is_model = matches!(options.kind, Kind::ChatModel | Kind::Embedder | Kind::Reranker | Kind::Adapter);
    if !is_model {
        return check_other(file, options);
    }
    let found = check_model_file(file, size_bytes).while_doing(deed)?;
    match (&found, &options.kind) {
        (FileKind::Gguf, _) => {
            let header = Header::read(file, size_bytes).while_doing(deed)?;
            check_gguf(&header).map_err(|error| error.while_doing(deed()))?;
            Ok(Some(header))
        }
        (_, Kind::Reranker) => Ok(None),
        (_, Kind::Embedder) => Err(Error::new(
            ErrorKind::Usage,
            "an ONNX embedder is several files (graph and tokenizer), and `adopt` takes one",
        )
        .with_hint(
            "take the same embedder as GGUF, or describe it in a registry: `localml registry build --help`",
        )),
        (found, kind) => {
            let message = format!("`{}` is {found}; a `{kind}` must be GGUF", options.file.display());
            Err(Error::new(ErrorKind::Usage, message))
        }
    }
}

fn check_gguf(header: &Header) -> Result<()> {
    if header.num_splits() > 1 {
        let message = format!("it is one of {} parts of a model", header.num_splits());
        return Err(Error::new(ErrorKind::Usage, message)
            .with_hint("join them first, with `llama-gguf-split --merge` of llama.cpp"));
    }
    if header.tensors().is_empty() {
        return Err(Error::new(ErrorKind::Damaged, "it has a vocabulary but no weights"));
    }
    Ok(())
}

/// Other kinds may be any file, but not one of the well-known stand-ins for a file.
fn check_other(file: &mut File, options: &AdoptOptions) -> Result<Option<Header>> {
    let on = |source| DiskError::Io { path: options.file.clone(), source };
    let mut start = Vec::new();
    file.by_ref().take(512).read_to_end(&mut start).map_err(on)?;
    let found = sniff(&start);
    if matches!(found, FileKind::Empty | FileKind::GitLfsPointer { .. }) {
        let message = format!("`{}` is {found}", options.file.display());
        let error = Error::new(ErrorKind::Damaged, message);
        return Err(match found.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        });
    }
    Ok(None)
}

fn check_name_and_room(home: &Home, store: &Store, options: &AdoptOptions, size_bytes: u64) -> Result<()> {
    // What is replaced need not be readable.
    if !options.is_replacing
        && let Some(installed) = store.find(&options.name)?
    {
        let version = &installed.manifest.package.version;
        let message = format!("`{}` is already installed (version {version})", options.name);
        return Err(Error::new(ErrorKind::Failed, message).with_hint(format!(
            "choose another `--name`, or pass `--replace`, or `localml remove {}` first",
            options.name
        )));
    }
    let free_bytes = disk::free_bytes(home.root())?;
    if free_bytes < size_bytes {
        let message =
            format!("the file has {size_bytes} bytes, and the disk of the home has {free_bytes} free");
        return Err(
            Error::new(ErrorKind::NoRoom, message).with_hint("free some space, or use another `--home`")
        );
    }
    Ok(())
}

/// Copies the file into staging, hashing the whole and each piece on the way.
fn stage(
    part: &Path,
    file: &mut File,
    size_bytes: u64,
    boundaries: &[u64],
    options: &AdoptOptions,
    monitor: &dyn Monitor,
) -> Result<(Staged, PieceList)> {
    let on = |source| DiskError::Io { path: options.file.clone(), source };
    let staging = StagingFile::open(part)?;
    staging.truncate(0)?;
    file.seek(SeekFrom::Start(0)).map_err(on)?;
    let task = monitor.start("copying", Some(size_bytes), Unit::Bytes);
    let mut whole = Hasher::new();
    let mut pieces = Vec::new();
    let mut buffer = Vec::new();
    for (offset, length) in PieceList::grid(size_bytes, boundaries) {
        if monitor.is_cancelled() {
            return Err(Error::new(ErrorKind::Failed, "stopped; nothing was adopted"));
        }
        // A piece has at most 4 MiB.
        buffer.resize(usize::try_from(length).unwrap_or(0), 0);
        file.read_exact(&mut buffer).map_err(on)?;
        whole.update(&buffer);
        pieces.push(Piece { offset, length, sha256: Sha256::of(&buffer) });
        staging.write_at(&buffer, offset)?;
        task.advance(length);
    }
    let list = PieceList::new(pieces).map_err(|error| Error::new(ErrorKind::Failed, error.to_string()))?;
    Ok((staging.finish(whole.finish(), size_bytes), list))
}

fn manifest(
    options: &AdoptOptions,
    header: Option<&Header>,
    staged: &Staged,
    pieces: Sha256,
) -> Result<Manifest> {
    let invalid = |error: &dyn std::fmt::Display| Error::new(ErrorKind::Failed, error.to_string());
    let shape = header.map(Header::shape);
    let file = FileEntry {
        path: file_name(&options.file, header.is_some())
            .parse::<RelativePath>()
            .map_err(|error| invalid(&error))?,
        size_bytes: staged.size_bytes,
        sha256: staged.digest,
        sources: Vec::new(),
        pieces: Some(pieces),
        unpinned: false,
    };
    let title = header.and_then(Header::title).map_or_else(|| options.name.to_string(), str::to_owned);
    Ok(Manifest {
        package: PackageHead {
            name: options.name.clone(),
            version: Version::new(0, 0, 0),
            kind: options.kind.clone(),
            title,
            license: options.license.clone().unwrap_or_else(|| "unknown".into()),
            restricted: false,
            languages: Vec::new(),
            context_tokens: shape.as_ref().map(|shape| shape.context_tokens).filter(|tokens| *tokens > 0),
            requires: Vec::new(),
            members: Vec::new(),
            embedding: header.filter(|_| options.kind == Kind::Embedder).map(embedding),
            note: Some("adopted from a local file; nobody signed it".into()),
        },
        variants: vec![Variant {
            id: "local".parse().map_err(|error| invalid(&error))?,
            files: vec![file],
            target: None,
            shape,
        }],
        profile: None,
    })
}

/// How a GGUF embedder says that it wants to be used.
fn embedding(header: &Header) -> Embedding {
    let shape = header.shape();
    let small = |count: u64| usize::try_from(count).unwrap_or(0);
    let pooling = header.get(&format!("{}.pooling_type", shape.architecture)).and_then(Value::as_count);
    Embedding {
        dimensions: small(shape.embedding_width),
        max_tokens: small(shape.context_tokens),
        // The numbers of llama.cpp's `llama_pooling_type`.
        pooling: match pooling {
            Some(2) => Pooling::Cls,
            Some(3) => Pooling::Last,
            _ => Pooling::Mean,
        },
        query_prefix: String::new(),
        passage_prefix: String::new(),
    }
}

fn file_name(path: &Path, is_gguf: bool) -> String {
    if is_gguf {
        return "model.gguf".into();
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension {
        Some(extension) if !extension.is_empty() && extension.chars().all(|c| c.is_ascii_alphanumeric()) => {
            format!("file.{extension}")
        }
        _ => "file".into(),
    }
}
