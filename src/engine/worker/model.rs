//! A loaded model, its tokens, and a context to compute in.

use std::fs::File;
use std::num::NonZeroU32;
use std::path::Path;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

use crate::engine::message::{EngineOptions, Failure, Pooling};
use crate::gguf::{Header, Value};

/// The context where none was asked for, in tokens.
const DEFAULT_CONTEXT_TOKENS: u32 = 4096;
/// How many tokens are computed between two looks at the wish to stop. llama.cpp reserves memory in proportion
/// (vocabulary × this × 4 bytes), and on a CPU a larger number is hardly faster.
pub(super) const BATCH_TOKENS: u32 = 256;
/// How many texts an embedder computes at a time.
pub(super) const MAX_TEXTS: u32 = 16;

/// A model in memory.
pub(super) struct Loaded {
    backend: LlamaBackend,
    model: LlamaModel,
    header: Header,
    /// Texts of the tokens that steer a conversation, such as `<|im_end|>`; longest first.
    control_texts: Vec<String>,
}

/// What requests are computed in, one after another.
pub(super) struct Session<'m> {
    pub(super) loaded: &'m Loaded,
    pub(super) context: LlamaContext<'m>,
    /// The tokens whose keys and values are in the context, in order.
    pub(super) cached: Vec<LlamaToken>,
    pub(super) is_embedder: bool,
}

impl Loaded {
    /// Checks the file in safe Rust, then hands it to llama.cpp.
    pub(super) fn open(path: &Path, _options: &EngineOptions) -> Result<Self, Failure> {
        let header = check(path).map_err(|reason| Failure::Refused { reason })?;
        let backend = LlamaBackend::init().map_err(|error| Failure::Refused { reason: error.to_string() })?;
        let model = LlamaModel::load_from_file(&backend, path, &LlamaModelParams::default())
            .map_err(|error| Failure::Refused { reason: error.to_string() })?;
        let control_texts = control_texts(&model);
        Ok(Self { backend, model, header, control_texts })
    }

    pub(super) fn session(&self, options: &EngineOptions) -> Result<Session<'_>, Failure> {
        if !options.is_embedder && self.is_encoder() {
            let reason = "this model makes vectors, not text; it is an embedder".to_owned();
            return Err(Failure::WrongUse { reason });
        }
        let context_tokens = self.context_tokens(options);
        let params = self.context_params(options, context_tokens);
        let context = self
            .model
            .new_context(&self.backend, params)
            .map_err(|_| Failure::NoMemory { context_tokens })?;
        Ok(Session { loaded: self, context, cached: Vec::new(), is_embedder: options.is_embedder })
    }

    fn context_params(&self, options: &EngineOptions, context_tokens: u32) -> LlamaContextParams {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = options.threads.map_or(available, |threads| threads.max(1) as usize);
        let threads = i32::try_from(threads).unwrap_or(1);
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(context_tokens))
            .with_n_threads(threads)
            .with_n_threads_batch(threads);
        if !options.is_embedder {
            let batch = BATCH_TOKENS.min(context_tokens);
            return params.with_n_batch(batch).with_n_ubatch(batch);
        }
        // An encoder sees a text at once, so a batch must hold the longest text.
        let params = params
            .with_n_batch(context_tokens)
            .with_n_ubatch(context_tokens)
            .with_n_seq_max(MAX_TEXTS)
            .with_kv_unified(true)
            .with_embeddings(true);
        match options.pooling {
            None => params,
            Some(Pooling::Mean) => params.with_pooling_type(LlamaPoolingType::Mean),
            Some(Pooling::Cls) => params.with_pooling_type(LlamaPoolingType::Cls),
            Some(Pooling::Last) => params.with_pooling_type(LlamaPoolingType::Last),
        }
    }

    fn context_tokens(&self, options: &EngineOptions) -> u32 {
        let wanted = options.context_tokens.unwrap_or(DEFAULT_CONTEXT_TOKENS);
        let trained = u32::try_from(self.header.shape().context_tokens).unwrap_or(u32::MAX);
        if trained == 0 { wanted } else { wanted.min(trained) }
    }

    /// True when the model reads a text as a whole and cannot continue it.
    fn is_encoder(&self) -> bool {
        let key = format!("{}.attention.causal", self.header.architecture());
        self.header.get(&key) == Some(&Value::Bool(false)) || self.header.architecture().contains("bert")
    }

    pub(super) fn dimensions(&self) -> usize {
        usize::try_from(self.model.n_embd_out()).unwrap_or(0)
    }

    pub(super) fn has_chat_template(&self) -> bool {
        self.header.chat_template().is_some()
    }

    pub(super) fn chat_template(&self) -> Option<&str> {
        self.header.chat_template()
    }

    pub(super) fn num_tokens(&self) -> i32 {
        self.model.vocab().n_tokens()
    }

    pub(super) fn control_texts(&self) -> &[String] {
        &self.control_texts
    }

    /// Text to tokens. `adds_special` puts the beginning token before where the model wants it; `reads_special` takes
    /// `<|im_end|>` and its like for what they steer, which only a template's own text may do.
    pub(super) fn tokenize(&self, text: &str, adds_special: bool, reads_special: bool) -> Vec<LlamaToken> {
        self.model.vocab().tokenize(text.as_bytes(), adds_special, reads_special)
    }

    pub(super) fn begin_token(&self) -> Option<LlamaToken> {
        let token = self.model.vocab().bos();
        (token.0 >= 0).then_some(token)
    }

    pub(super) fn begin_text(&self) -> String {
        self.text_of(self.model.vocab().bos())
    }

    pub(super) fn end_text(&self) -> String {
        self.text_of(self.model.vocab().eos())
    }

    fn text_of(&self, token: LlamaToken) -> String {
        // llama.cpp throws on a token that is not there.
        if token.0 < 0 || token.0 >= self.num_tokens() {
            return String::new();
        }
        self.model.vocab().text(token).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub(super) fn ends_answer(&self, token: LlamaToken) -> bool {
        self.model.vocab().is_eog(token)
    }

    pub(super) fn piece(&self, token: LlamaToken) -> Vec<u8> {
        self.model.vocab().token_to_piece(token, false, None)
    }
}

impl Session<'_> {
    pub(super) fn context_tokens(&self) -> u32 {
        self.context
            .n_ctx()
            .min(u32::try_from(self.loaded.header.shape().context_tokens).unwrap_or(u32::MAX).max(1))
    }
}

fn check(path: &Path) -> Result<Header, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let file_bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let header = Header::read(&mut file, file_bytes).map_err(|error| error.to_string())?;
    if header.num_splits() > 1 {
        // llama.cpp would open the other parts by itself, unchecked.
        return Err(format!(
            "it is one of {} parts; join them with `llama-gguf-split --merge`",
            header.num_splits()
        ));
    }
    Ok(header)
}

fn control_texts(model: &LlamaModel) -> Vec<String> {
    let vocab = model.vocab();
    let mut texts: Vec<String> = vocab
        .tokens()
        .filter(|token| vocab.is_control(*token))
        .filter_map(|token| vocab.text(token).map(|text| text.to_string_lossy().into_owned()))
        .filter(|text| text.len() > 1)
        .collect();
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    texts
}
