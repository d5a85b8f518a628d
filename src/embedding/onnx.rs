//! An embedder in ONNX files, run by ONNX Runtime in this process.
//!
//! Each text is run alone. Int8 models find the range of their activations as they run, over the whole batch: in a
//! batch, a vector would depend on the texts beside it (measured: cosine down to .99), and short texts would be
//! padded to the longest. A session for each core keeps the cores busy all the same.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fastembed::{InitOptionsUserDefined, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};

use crate::passage::Vector;

use super::error::{EmbeddingError, Result};
use super::runtime::Runtime;
use super::{Embedder, Pooling, Settings, checked, prefixed};

/// A session holds its own copy of the weights, so more cores than this share sessions instead.
const MOST_SESSIONS: usize = 4;

/// The files of an ONNX embedder. All of them are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxFiles {
    /// The graph with its weights.
    pub model: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// `config.json`.
    pub config: PathBuf,
    /// `special_tokens_map.json`.
    pub special_tokens_map: PathBuf,
    /// `tokenizer_config.json`, with a numeric `model_max_length` and a `pad_token`.
    pub tokenizer_config: PathBuf,
}

/// An ONNX model, loaded.
pub struct OnnxEmbedder {
    files: OnnxFiles,
    settings: Settings,
    runtime: Runtime,
    /// At least one; more are loaded when there are several texts to do at once.
    sessions: Vec<TextEmbedding>,
    max_sessions: usize,
    threads_each: usize,
}

impl OnnxFiles {
    /// The usual names in one folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            model: folder.join("model.onnx"),
            tokenizer: folder.join("tokenizer.json"),
            config: folder.join("config.json"),
            special_tokens_map: folder.join("special_tokens_map.json"),
            tokenizer_config: folder.join("tokenizer_config.json"),
        }
    }
}

impl OnnxEmbedder {
    /// Loads the model and tries it on one short text. `num_threads` is how many cores it may use, at least 1.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the vectors are not as long as the settings promise.
    pub fn open(files: OnnxFiles, settings: Settings, runtime: &Runtime, num_threads: usize) -> Result<Self> {
        let max_sessions = num_threads.clamp(1, MOST_SESSIONS);
        let mut embedder = Self {
            files,
            settings,
            runtime: runtime.clone(),
            sessions: Vec::new(),
            max_sessions,
            threads_each: (num_threads / max_sessions).max(1),
        };
        embedder.embed("", &["."])?;
        Ok(embedder)
    }

    fn embed(&mut self, prefix: &str, texts: &[&str]) -> Result<Vec<Vector>> {
        let texts = prefixed(prefix, texts);
        let num_sessions = texts.len().min(self.max_sessions);
        while self.sessions.len() < num_sessions {
            self.sessions.push(self.load()?);
        }
        let queue = Queue::new(&texts);
        let settings = &self.settings;
        let sessions = &mut self.sessions[..num_sessions];
        let parts = match sessions {
            [session] => vec![queue.work_off(session, settings)],
            several => thread::scope(|scope| {
                let work = |session| scope.spawn(|| queue.work_off(session, settings));
                let threads: Vec<_> = several.iter_mut().map(work).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|_| Err(stopped("it stopped by itself"))))
                    .collect()
            }),
        };
        gathered(parts, texts.len())
    }

    fn load(&self) -> Result<TextEmbedding> {
        let files = TokenizerFiles {
            tokenizer_file: read(&self.files.tokenizer)?,
            config_file: read(&self.files.config)?,
            special_tokens_map_file: read(&self.files.special_tokens_map)?,
            tokenizer_config_file: read(&self.files.tokenizer_config)?,
        };
        let pooling = match self.settings.pooling {
            Pooling::Mean => fastembed::Pooling::Mean,
            Pooling::Cls => fastembed::Pooling::Cls,
            Pooling::Last => return Err(EmbeddingError::LastToken),
        };
        // Not declared as dynamically quantised: fastembed would then take all texts of a call as one batch.
        let model = UserDefinedEmbeddingModel::new(read(&self.files.model)?, files).with_pooling(pooling);
        let options = InitOptionsUserDefined::new()
            .with_environment(self.runtime.environment())
            // The arena would keep the memory that the longest text took, for as long as the session lives.
            .with_execution_providers(vec![ort::ep::CPU::default().with_arena_allocator(false).build()])
            .with_max_length(self.settings.max_tokens)
            .with_intra_threads(self.threads_each)
            // A waiting thread that spins heats a PC that runs on a battery.
            .with_session_config("session.intra_op.allow_spinning", "0");
        contained(|| TextEmbedding::try_new_from_user_defined(model, options)).map_err(|reason| {
            EmbeddingError::NotAModel { path: self.files.model.clone(), reason: self.explained(reason) }
        })
    }

    /// ONNX Runtime says only that parsing failed; what people usually have instead of a model is known.
    fn explained(&self, reason: String) -> String {
        let mut head = [0; 64];
        let is_read = fs::File::open(&self.files.model)
            .and_then(|mut file| std::io::Read::read(&mut file, &mut head))
            .is_ok();
        match &head {
            _ if !is_read => reason,
            [b'<', ..] => "it is a web page".to_owned(),
            head if head.starts_with(b"version https://git-lfs") => {
                "it is a pointer to the file, not the file".to_owned()
            }
            // An ONNX file begins with its format's version, which is field 1 of a protobuf message.
            [first, ..] if *first != 0x08 => "it does not begin as ONNX files do".to_owned(),
            _ => reason,
        }
    }
}

impl Embedder for OnnxEmbedder {
    fn dimensions(&self) -> usize {
        self.settings.dimensions
    }

    fn identity(&self) -> &str {
        &self.settings.identity
    }

    fn embed_queries(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
        self.embed(&self.settings.query_prefix.clone(), texts)
    }

    fn embed_passages(&mut self, texts: &[&str]) -> Result<Vec<Vector>> {
        self.embed(&self.settings.passage_prefix.clone(), texts)
    }
}

/// Texts that several sessions work off, the longest first, so that they end at about the same time.
struct Queue<'a> {
    texts: &'a [String],
    longest_first: Vec<usize>,
    next: AtomicUsize,
}

impl<'a> Queue<'a> {
    fn new(texts: &'a [String]) -> Self {
        let mut longest_first: Vec<usize> = (0..texts.len()).collect();
        longest_first.sort_by_key(|&number| std::cmp::Reverse(texts[number].len()));
        Self { texts, longest_first, next: AtomicUsize::new(0) }
    }

    /// Takes texts until none is left; returns each one's number and vector.
    fn work_off(&self, session: &mut TextEmbedding, settings: &Settings) -> Result<Vec<(usize, Vector)>> {
        let mut done = Vec::new();
        while let Some(&number) = self.longest_first.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let text = std::slice::from_ref(&self.texts[number]);
            let mut vectors = contained(|| session.embed(text, Some(1))).map_err(stopped)?;
            let values = vectors.pop().ok_or_else(|| stopped("it made no vector"))?;
            done.push((number, checked(values, settings)?));
        }
        Ok(done)
    }
}

/// Puts the sessions' vectors into the order of the texts.
fn gathered(parts: Vec<Result<Vec<(usize, Vector)>>>, num_texts: usize) -> Result<Vec<Vector>> {
    let mut vectors: Vec<Option<Vector>> = vec![None; num_texts];
    for part in parts {
        for (number, vector) in part? {
            vectors[number] = Some(vector);
        }
    }
    vectors.into_iter().map(|vector| vector.ok_or_else(|| stopped("a text was left out"))).collect()
}

/// The last guard: the bindings assert on what a damaged library or graph returns, and a damaged file must not end
/// the program. Nothing that was half changed is used again: loading builds anew, and a session is only asked.
fn contained<T>(work: impl FnOnce() -> fastembed::Result<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
        Err(_) => Err("the ONNX binding gave up".to_owned()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| EmbeddingError::Unreadable { path: path.to_owned(), source })
}

fn stopped(reason: impl Into<String>) -> EmbeddingError {
    EmbeddingError::Failed { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_text_is_taken_first() {
        let texts: Vec<String> = ["bb", "a", "ccc"].map(str::to_owned).to_vec();
        assert_eq!(Queue::new(&texts).longest_first, [2, 0, 1]);
    }

    #[test]
    fn vectors_come_back_in_the_order_of_the_texts() {
        let vector = |value: f32| Vector(vec![value]);
        let parts = vec![Ok(vec![(2, vector(2.0)), (0, vector(0.0))]), Ok(vec![(1, vector(1.0))])];
        let vectors = gathered(parts, 3).expect("all three are there");
        assert_eq!(vectors, [vector(0.0), vector(1.0), vector(2.0)]);
    }

    #[test]
    fn a_panic_in_the_binding_is_an_error() {
        let outcome: std::result::Result<(), String> = contained(|| panic!("assertion in a binding"));
        assert_eq!(outcome, Err("the ONNX binding gave up".to_owned()));
    }
}
