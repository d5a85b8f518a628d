//! Finds the ONNX Runtime library and loads it, once a process. Never by the binding's own search, which panics.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::error::{EmbeddingError, Result};

/// The binding keeps one library and one environment a process, so the first that loads stays.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// ONNX Runtime, loaded.
#[derive(Clone)]
pub struct Runtime {
    path: PathBuf,
    environment: Environment,
}

/// A library's version, as its file name says it: `libonnxruntime.so.1.31.1` is 1.31.1, without number it is `[]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u32>);

impl Runtime {
    /// Loads the first library that the candidates lead to. A candidate is the library's file, or a folder that
    /// holds it under its usual name. What is loaded already is used again, whatever the candidates are.
    ///
    /// # Errors
    /// `RuntimeMissing` when no candidate leads to a file; `RuntimeUnusable` for the first file when none can be
    /// loaded.
    pub fn load(candidates: &[PathBuf]) -> Result<Self> {
        // A panic while the lock was held leaves `None` or a whole runtime, so the value can be trusted.
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            return Ok(runtime.clone());
        }
        let mut first_failure = None;
        for path in candidates.iter().filter_map(|candidate| library_at(candidate)) {
            match Self::open(&path) {
                Ok(runtime) => return Ok(loaded.insert(runtime).clone()),
                Err(failure) => first_failure = first_failure.or(Some(failure)),
            }
        }
        Err(first_failure
            .unwrap_or_else(|| EmbeddingError::RuntimeMissing { looked_in: candidates.to_vec() }))
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn environment(&self) -> Environment {
        self.environment.clone()
    }

    fn open(path: &Path) -> Result<Self> {
        let unusable = |reason: String| EmbeddingError::RuntimeUnusable {
            path: path.to_owned(),
            // One line; the loader's own words repeat the path, which does no harm.
            reason: reason.lines().next().unwrap_or_default().to_owned(),
        };
        let path = path.canonicalize().map_err(|error| unusable(error.to_string()))?;
        let builder = ort::init_from(&path).map_err(|error| unusable(explained(&error)))?;
        let environment = builder
            .with_name("localml")
            .with_telemetry(false)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        // Errors come back as values; the terminal is not this room's to write on.
        environment.set_log_level(LogLevel::Fatal);
        Ok(Self { path, environment })
    }
}

/// The library's file that a candidate leads to: itself, or in a folder the plain name, else the latest version.
fn library_at(candidate: &Path) -> Option<PathBuf> {
    if candidate.is_file() {
        return Some(candidate.to_owned());
    }
    let mut found: Vec<(Version, PathBuf)> = fs::read_dir(candidate)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .filter_map(|path| Some((Version::of(path.file_name()?.to_str()?)?, path)))
        .collect();
    found.sort();
    let is_plain = |(version, _): &&(Version, PathBuf)| version.0.is_empty();
    found.iter().find(is_plain).or(found.last()).map(|(_, path)| path.clone())
}

impl Version {
    /// Reads the version out of a library's file name; `None` when it is not one of ONNX Runtime.
    pub fn of(file_name: &str) -> Option<Self> {
        if file_name == format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
        {
            return Some(Self(Vec::new()));
        }
        let numbers = match file_name.strip_prefix("libonnxruntime.so.") {
            Some(numbers) => numbers,
            None => file_name.strip_prefix("libonnxruntime.")?.strip_suffix(".dylib")?,
        };
        numbers.split('.').map(|number| number.parse().ok()).collect::<Option<_>>().map(Self)
    }
}

/// The binding speaks of itself and its version; the reader wants to know about the library.
fn explained(error: &ort::LoadDynamicError) -> String {
    match error {
        ort::LoadDynamicError::Dlopen { error, .. } => error.to_string(),
        ort::LoadDynamicError::MissingApi { .. } => "it is a library, but not ONNX Runtime".to_owned(),
        ort::LoadDynamicError::InvalidVersionString => "it does not say its version".to_owned(),
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            format!("it is version {version_str}, and 1.{} or later is needed", ort::MINOR_VERSION)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_plain_name_first_and_else_the_latest_version() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let put = |name: &str| fs::write(folder.path().join(name), b"").expect("can be written");
        let found = || library_at(folder.path()).and_then(|path| Some(path.file_name()?.to_owned()));
        assert_eq!(found(), None);
        put("libonnxruntime_providers_shared.so");
        assert_eq!(found(), None);
        put("libonnxruntime.so.1.9.0");
        put("libonnxruntime.so.1.31.1");
        assert_eq!(found(), Some("libonnxruntime.so.1.31.1".into()));
        put("libonnxruntime.so");
        assert_eq!(found(), Some("libonnxruntime.so".into()));
    }

    // No test in this binary loads a real library, so each of these meets an empty `LOADED`.
    #[test]
    fn a_missing_library_is_named_with_the_places_looked_at() {
        let error = Runtime::load(&["/nowhere/lib".into(), "/else".into()]).err().expect("nothing is there");
        assert_eq!(error.to_string(), "the ONNX Runtime library was not found in `/nowhere/lib`, `/else`");
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("libonnxruntime.so");
        fs::write(&path, "not a library").expect("can be written");
        let error = Runtime::load(&[folder.path().to_owned()]).err().expect("text cannot be loaded");
        let says = error.to_string();
        assert!(says.starts_with(&format!("`{}` cannot be used", path.display())), "{says}");
    }

    #[test]
    fn another_library_is_an_error() {
        let Some(libc) = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.is_file())
        else {
            return;
        };
        let error = Runtime::load(&[libc]).err().expect("a mathematics library");
        assert!(error.to_string().ends_with("it is a library, but not ONNX Runtime"), "{error}");
    }

    #[test]
    fn an_old_library_is_told_from_a_new_one() {
        let error = ort::LoadDynamicError::BadVersion { version_str: "1.17.3".into(), path: "x".into() };
        assert_eq!(explained(&error), "it is version 1.17.3, and 1.24 or later is needed");
    }
}
