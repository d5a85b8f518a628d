//! The installed embedders: which there are, what each is called in an index, and how one is opened.

use std::path::PathBuf;
use std::thread;

use crate::digest::{Hasher, Sha256};
#[cfg(feature = "engine")]
use crate::embedding::GgufEmbedder;
use crate::embedding::{Embedder, Pooling, Settings};
#[cfg(feature = "onnx")]
use crate::embedding::{OnnxEmbedder, OnnxFiles, Runtime};
#[cfg(feature = "engine")]
use crate::engine::{self, Engine, EngineOptions};
use crate::error::ErrorKind;
use crate::gguf::Shape;
use crate::home::Home;
use crate::package::{self, Embedding, FileEntry, Kind, Name};
use crate::progress::Monitor;
#[cfg(feature = "engine")]
use crate::progress::Silent;
use crate::store::{Installed, Store};

use super::embedding::EmbedderOptions;
use super::error::{Error, Result, While as _};
use super::path::check_usable;
use super::profile;
use super::site;

/// An installed embedder that this build can run.
#[derive(Debug, Clone)]
pub(super) struct InstalledEmbedder {
    /// The package.
    pub(super) name: Name,
    /// What it is called in an index: backend, model digest, and a digest of the way it is used.
    pub(super) identity: String,
    /// ISO 639-1 codes of the languages it is good for; empty when its publisher does not say.
    pub(super) languages: Vec<String>,
    backend: Backend,
    embedding: Option<Embedding>,
    shape: Option<Shape>,
    folder: PathBuf,
    files: Vec<FileEntry>,
    model: FileEntry,
    store: Store,
    installed: Installed,
}

/// What runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    #[cfg(feature = "onnx")]
    Onnx,
    #[cfg(feature = "engine")]
    Gguf,
}

/// Every installed embedder that this build can run, the one that the site's profile names in front, then
/// the one that was installed first.
///
/// # Errors
/// When an installed record is damaged.
pub(super) fn embedders(home: &Home, monitor: &dyn Monitor) -> Result<Vec<InstalledEmbedder>> {
    let store = site::store(home);
    let mut packages = store.installed()?;
    packages.retain(|installed| installed.manifest.package.kind == Kind::Embedder);
    let preferred = profile::read_or_default(home, monitor)?.roles.embedder;
    packages.sort_by_key(|installed| {
        (Some(installed.name()) != preferred.as_ref(), installed.installed_at, installed.name().clone())
    });
    Ok(packages.iter().filter_map(|installed| describe(&store, installed)).collect())
}

/// Loads an embedder.
///
/// # Errors
/// When its files are missing or damaged, the ONNX Runtime library or the engine cannot be started, or the model
/// does not do what its package says.
pub(super) fn open_embedder(
    embedder: &InstalledEmbedder,
    options: &EmbedderOptions,
) -> Result<Box<dyn Embedder>> {
    let num_threads =
        options.num_threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    check_usable(&embedder.store, &embedder.installed, &embedder.files)
        .while_doing(|| format!("could not start the embedder `{}`", embedder.name))?;
    let opened: Result<Box<dyn Embedder>> = match embedder.backend {
        #[cfg(feature = "onnx")]
        Backend::Onnx => open_onnx(embedder, options, num_threads),
        #[cfg(feature = "engine")]
        Backend::Gguf => open_gguf(embedder, options, num_threads),
    };
    opened.while_doing(|| format!("could not start the embedder `{}`", embedder.name))
}

fn describe(store: &Store, installed: &Installed) -> Option<InstalledEmbedder> {
    let files = installed.files();
    let (backend, model) = files.iter().find_map(|file| Some((backend_of(file)?, file.clone())))?;
    let embedding = installed.manifest.package.embedding.clone();
    let variant = installed.manifest.variant(&installed.variant);
    Some(InstalledEmbedder {
        name: installed.name().clone(),
        identity: identity(backend, &model.sha256, embedding.as_ref(), files),
        languages: installed.manifest.package.languages.clone(),
        backend,
        embedding,
        shape: variant.and_then(|variant| variant.shape.clone()),
        folder: store.package_folder(installed),
        files: files.to_vec(),
        model,
        store: store.clone(),
        installed: installed.clone(),
    })
}

fn backend_of(file: &FileEntry) -> Option<Backend> {
    let path = file.path.as_str();
    #[cfg(feature = "onnx")]
    if path.ends_with(".onnx") {
        return Some(Backend::Onnx);
    }
    #[cfg(feature = "engine")]
    if path.ends_with(".gguf") {
        return Some(Backend::Gguf);
    }
    let _ = path;
    None
}

/// `onnx:<model's sha256>:<12 digits over all else that a vector depends on>`.
fn identity(backend: Backend, model: &Sha256, embedding: Option<&Embedding>, files: &[FileEntry]) -> String {
    let mut hasher = Hasher::new();
    for file in files {
        hasher.update(format!("{} {}\n", file.path.as_str(), file.sha256).as_bytes());
    }
    if let Some(embedding) = embedding {
        let Embedding { dimensions, max_tokens, pooling, query_prefix, passage_prefix } = embedding;
        let settings = format!("{dimensions} {max_tokens} {pooling:?} {query_prefix:?} {passage_prefix:?}\n");
        hasher.update(settings.as_bytes());
    }
    let backend = match backend {
        #[cfg(feature = "onnx")]
        Backend::Onnx => "onnx",
        #[cfg(feature = "engine")]
        Backend::Gguf => "gguf",
    };
    format!("{backend}:{model}:{}", hasher.finish().short())
}

#[cfg(feature = "onnx")]
fn open_onnx(
    embedder: &InstalledEmbedder,
    options: &EmbedderOptions,
    num_threads: usize,
) -> Result<Box<dyn Embedder>> {
    let Some(embedding) = &embedder.embedding else {
        let message = "its package does not say how long its vectors are and how they are pooled";
        return Err(Error::new(ErrorKind::Failed, message)
            .with_hint("an ONNX embedder needs `[package.embedding]` in its manifest"));
    };
    let files = OnnxFiles {
        model: embedder.folder.join(embedder.model.path.to_path()),
        tokenizer: embedder.file("tokenizer.json"),
        config: embedder.file("config.json"),
        special_tokens_map: embedder.file("special_tokens_map.json"),
        tokenizer_config: embedder.file("tokenizer_config.json"),
    };
    let runtime = Runtime::load(&options.onnx_places)?;
    let settings = settings(&embedder.identity, embedding);
    Ok(Box::new(OnnxEmbedder::open(files, settings, &runtime, num_threads)?))
}

#[cfg(feature = "engine")]
fn open_gguf(
    embedder: &InstalledEmbedder,
    options: &EmbedderOptions,
    num_threads: usize,
) -> Result<Box<dyn Embedder>> {
    let embedding = embedder.embedding.as_ref();
    let engine_options = EngineOptions {
        context_tokens: embedding.and_then(|embedding| embedding.max_tokens.try_into().ok()),
        threads: num_threads.try_into().ok(),
        is_embedder: true,
        pooling: embedding.map(|embedding| match embedding.pooling {
            package::Pooling::Mean => engine::Pooling::Mean,
            package::Pooling::Cls => engine::Pooling::Cls,
            package::Pooling::Last => engine::Pooling::Last,
        }),
        shows_log: false,
    };
    let model = embedder.folder.join(embedder.model.path.to_path());
    let engine = Engine::start(&options.program, &model, &engine_options, &Silent)?;
    let settings = match embedding {
        Some(embedding) => settings(&embedder.identity, embedding),
        // An adopted file has no description; a GGUF's own header says enough.
        None => Settings {
            identity: embedder.identity.clone(),
            dimensions: engine.facts().dimensions,
            max_tokens: engine.facts().context_tokens.try_into().unwrap_or(usize::MAX),
            pooling: Pooling::Mean,
            query_prefix: String::new(),
            passage_prefix: String::new(),
        },
    };
    Ok(Box::new(GgufEmbedder::new(engine, settings)?))
}

impl InstalledEmbedder {
    /// The length of its vectors, before it is loaded: as its package says, or as a GGUF's header does. Where
    /// neither speaks it is 0, and loading it will say what is missing.
    pub(super) fn dimensions(&self) -> usize {
        let from_header = || self.shape.as_ref().map(|shape| shape.embedding_width.try_into().unwrap_or(0));
        let from_package = self.embedding.as_ref().map(|embedding| embedding.dimensions);
        from_package.or_else(from_header).unwrap_or_default()
    }

    /// Where a file lies by its last name; where it should lie, when the package has none.
    #[cfg(feature = "onnx")]
    fn file(&self, name: &str) -> PathBuf {
        let is_it = |file: &&FileEntry| file.path.as_str().rsplit('/').next() == Some(name);
        let path = self.files.iter().find(is_it).map(|file| file.path.to_path());
        self.folder.join(path.unwrap_or_else(|| name.into()))
    }
}

fn settings(identity: &str, embedding: &Embedding) -> Settings {
    Settings {
        identity: identity.to_owned(),
        dimensions: embedding.dimensions,
        max_tokens: embedding.max_tokens,
        pooling: match embedding.pooling {
            package::Pooling::Mean => Pooling::Mean,
            package::Pooling::Cls => Pooling::Cls,
            package::Pooling::Last => Pooling::Last,
        },
        query_prefix: embedding.query_prefix.clone(),
        passage_prefix: embedding.passage_prefix.clone(),
    }
}
