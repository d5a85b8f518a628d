//! `run`: chat with an installed model, or let it continue a text.

use std::path::PathBuf;

use serde::Serialize;

use crate::engine::{Engine, EngineOptions, Finish, GenerateRequest, Generated, Message, Prompt, Sampling};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Kind, Name, PackageRef};
use crate::progress::{Flow, Monitor};
use crate::store::{Installed, Store};

use super::error::{Error, Result, While as _};
use super::fitting::Fitting;
use super::path::{check_usable, find_installed};
use super::revoked;
use super::site;

/// How a model is to run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// The executable that the engine's process runs: this one.
    pub program: PathBuf,
    /// True to continue text even where the model has a chat template.
    pub is_raw: bool,
    /// What the model is told before the conversation.
    pub system: Option<String>,
    /// 0 always takes the likeliest token; `None` takes the usual.
    pub temperature: Option<f32>,
    /// Where the dice begin; `None` throws them anew.
    pub seed: Option<u32>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u32>,
    /// The longest conversation, in tokens.
    pub context_tokens: Option<u32>,
    /// How many threads compute.
    pub threads: Option<u32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// True to let a model think aloud first.
    pub thinks: bool,
    /// True to try even a model that needs more memory than there is.
    pub ignores_memory: bool,
    /// True to show llama.cpp's own log.
    pub is_verbose: bool,
}

/// What the model said, and what it took.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// The model.
    pub model: Name,
    /// Everything that was said.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// How many tokens the prompt had.
    pub prompt_tokens: u32,
    /// How many of them were still in memory.
    pub reused_tokens: u32,
    /// How many tokens were said.
    pub new_tokens: u32,
    /// How long reading the prompt took, in milliseconds.
    pub prompt_ms: u64,
    /// How long saying the answer took, in milliseconds.
    pub answer_ms: u64,
    /// Where the dice began; the same seed says the same again.
    pub seed: u32,
}

/// A model that is loaded and remembers the conversation.
pub struct Conversation {
    engine: Engine,
    model: Name,
    options: RunOptions,
    messages: Vec<Message>,
}

impl Conversation {
    /// Loads an installed chat model.
    ///
    /// # Errors
    /// When it is not installed, not a chat model, too big for this PC, or its file cannot be loaded.
    pub fn open(
        home: &Home,
        model: &PackageRef,
        options: &RunOptions,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let store = site::store(home);
        let installed = find_installed(&store, model)?;
        let path = chat_file(&store, &installed)?;
        revoked::warn(home, &[&installed], monitor);
        if let Some(variant) = installed.manifest.variant(&installed.variant) {
            Fitting::here(options.ignores_memory).check(&installed.manifest, variant)?;
        }
        let engine_options = EngineOptions {
            context_tokens: options.context_tokens,
            threads: options.threads,
            shows_log: options.is_verbose,
            ..EngineOptions::default()
        };
        let engine = Engine::start(&options.program, &path, &engine_options, monitor)
            .while_doing(|| format!("could not load `{}`", installed.name()))?;
        let system = options.system.iter();
        let messages = system.map(|text| Message { role: "system".into(), content: text.clone() }).collect();
        Ok(Self { engine, model: installed.name().clone(), options: options.clone(), messages })
    }

    /// True when texts are answered, false when they are continued.
    pub fn is_chat(&self) -> bool {
        self.engine.facts().has_chat_template && !self.options.is_raw
    }

    /// Says `text` to the model; `on_text` hears the answer as it comes, until it wants no more.
    ///
    /// # Errors
    /// When the text is too long, or the engine dies; what was heard until then was said.
    pub fn say(
        &mut self,
        text: &str,
        monitor: &dyn Monitor,
        on_text: &mut dyn FnMut(&str) -> Flow,
    ) -> Result<RunReport> {
        let seed = self.options.seed.map_or_else(random_seed, Ok)?;
        let request = self.request(text, seed);
        let mut said = String::new();
        let generated = self
            .engine
            .generate(&request, monitor, &mut |piece| {
                said.push_str(piece);
                on_text(piece)
            })
            .while_doing(|| format!("`{}` could not answer", self.model))?;
        if let Prompt::Chat(messages) = request.prompt {
            self.messages = messages;
            self.messages.push(Message { role: "assistant".into(), content: said.clone() });
        }
        Ok(self.report(said, &generated, seed))
    }

    fn request(&self, text: &str, seed: u32) -> GenerateRequest {
        let prompt = if self.is_chat() {
            let mut messages = self.messages.clone();
            messages.push(Message { role: "user".into(), content: text.to_owned() });
            Prompt::Chat(messages)
        } else {
            Prompt::Raw(text.to_owned())
        };
        let usual = Sampling::default();
        let temperature = self.options.temperature.unwrap_or(usual.temperature);
        GenerateRequest {
            prompt,
            sampling: Sampling { temperature, seed, ..usual },
            max_tokens: self.options.max_tokens,
            stop: self.options.stop.clone(),
            thinks: self.options.thinks,
        }
    }

    fn report(&self, text: String, generated: &Generated, seed: u32) -> RunReport {
        RunReport {
            model: self.model.clone(),
            text,
            finish: generated.finish,
            prompt_tokens: generated.prompt_tokens,
            reused_tokens: generated.reused_tokens,
            new_tokens: generated.new_tokens,
            prompt_ms: generated.prompt_ms,
            answer_ms: generated.answer_ms,
            seed,
        }
    }
}

/// Loads a model, says one text to it, and ends it.
///
/// # Errors
/// As [`Conversation::open`] and [`Conversation::say`].
pub fn run(
    home: &Home,
    model: &PackageRef,
    text: &str,
    options: &RunOptions,
    monitor: &dyn Monitor,
    on_text: &mut dyn FnMut(&str) -> Flow,
) -> Result<RunReport> {
    Conversation::open(home, model, options, monitor)?.say(text, monitor, on_text)
}

/// The GGUF of an installed chat model, unless it was found damaged.
pub(super) fn chat_file(store: &Store, installed: &Installed) -> Result<PathBuf> {
    let kind = &installed.manifest.package.kind;
    if *kind != Kind::ChatModel {
        let message = format!("`{}` is of kind `{kind}`, not `chat-model`", installed.name());
        return Err(
            Error::new(ErrorKind::Usage, message).with_hint("`localml list` shows the kind of each package")
        );
    }
    let file =
        installed.files().iter().find(|file| file.path.as_str().to_ascii_lowercase().ends_with(".gguf"));
    let file = file.ok_or_else(|| {
        Error::new(
            ErrorKind::Failed,
            format!("`{}` has no GGUF file, so llama.cpp cannot run it", installed.name()),
        )
    })?;
    check_usable(store, installed, std::slice::from_ref(file))?;
    Ok(store.package_folder(installed).join(file.path.to_path()))
}

fn random_seed() -> Result<u32> {
    getrandom::u32()
        .map_err(|error| Error::new(ErrorKind::Failed, format!("the system has no randomness: {error}")))
}
