//! A model's words about the passages: which model, what it reads, what it says, and whether its citations hold.

use std::fs::File;
use std::path::PathBuf;

use crate::answer::{Source, check_citations, draft, says_not_in_documents};
use crate::engine::{Engine, EngineError, EngineOptions, Finish, GenerateRequest, Message, Prompt, Sampling};
use crate::gguf::Header;
use crate::hardware::Verdict;
use crate::home::Home;
use crate::index::Analyser;
use crate::ops::error::{Error, Result};
use crate::ops::find::FoundPassage;
use crate::ops::fitting::Fitting;
use crate::ops::path::find_installed;
use crate::ops::profile;
use crate::ops::run::chat_file;
use crate::ops::site;
use crate::package::{Kind, Name};
use crate::progress::{Flow, Monitor, Silent};
use crate::store::{Installed, Store};

use super::{Answer, AskEvent, AskOptions, AskReport};

/// The longest prompt, in tokens: a processor of two cores reads some dozens a second, and someone waits.
const PROMPT_TOKENS: usize = 1200;
/// The context that this takes with the longest usual answer, in tokens.
const CONTEXT_TOKENS: u32 = 2048;

/// A model that can answer.
pub(super) struct Model {
    name: Name,
    path: PathBuf,
}

/// The model that was named; else the one that the site's profile names; else the largest installed one that fits and has a chat template.
pub(super) fn choose(home: &Home, options: &AskOptions, report: &mut AskReport) -> Result<Option<Model>> {
    let store = site::store(home);
    if let Some(wanted) = &options.model {
        let installed = find_installed(&store, wanted)?;
        let path = chat_file(&store, &installed)?;
        if let Some(variant) = installed.manifest.variant(&installed.variant) {
            let checked = Fitting::here(false).check(&installed.manifest, variant);
            checked.map_err(|error| error.with_hint("ask a smaller model, or none with `--quotes`"))?;
        }
        return Ok(Some(Model { name: installed.name().clone(), path }));
    }
    let mut models: Vec<Installed> = store.installed()?;
    models.retain(|installed| installed.manifest.package.kind == Kind::ChatModel);
    // That it is damaged was told when the embedders were looked for.
    let preferred = profile::read_or_default(home, &Silent)?.roles.chat_model;
    models.sort_by_key(|installed| {
        (Some(installed.name()) != preferred.as_ref(), std::cmp::Reverse(installed.size_bytes()))
    });
    let fitting = Fitting::here(false);
    for installed in &models {
        match suits(&store, installed, &fitting) {
            Ok(path) => return Ok(Some(Model { name: installed.name().clone(), path })),
            Err(reason) => {
                report.num_passed_over += 1;
                report.notes.push(format!("`{}` was passed over: {reason}", installed.name()));
            }
        }
    }
    Ok(None)
}

fn suits(store: &Store, installed: &Installed, fitting: &Fitting) -> std::result::Result<PathBuf, String> {
    let path = chat_file(store, installed).map_err(|error| error.to_string())?;
    let variant = installed.manifest.variant(&installed.variant);
    if variant.is_some_and(|variant| fitting.verdict(&installed.manifest, variant).1 == Verdict::TooBig) {
        return Err("it needs more memory than this PC has".to_owned());
    }
    let mut file = File::open(&path).map_err(|error| error.to_string())?;
    let file_bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let header = Header::read(&mut file, file_bytes).map_err(|error| error.to_string())?;
    if header.chat_template().is_none() {
        let name = installed.name();
        return Err(format!("it has no chat template; `--model {name}` tries it all the same"));
    }
    Ok(path)
}

/// Loads the model and has it answer; `None` when the question leaves no room for a source, because what it would
/// say then is not in the documents.
pub(super) fn write(
    model: &Model,
    options: &AskOptions,
    report: &AskReport,
    monitor: &dyn Monitor,
    hear: &mut dyn FnMut(AskEvent<'_>) -> Flow,
) -> Result<Option<Answer>> {
    let engine_options = EngineOptions {
        context_tokens: Some(CONTEXT_TOKENS.saturating_add(options.max_tokens)),
        threads: options.threads,
        shows_log: options.is_verbose,
        ..EngineOptions::default()
    };
    let mut engine = Engine::start(&options.program, &model.path, &engine_options, monitor)
        .map_err(|error| explained(error, format!("could not load `{}`", model.name)))?;
    let max_tokens = options.max_tokens.min(engine.facts().context_tokens / 2);
    let (prompt, num_sources) = prompt(&mut engine, report, max_tokens)?;
    if num_sources == 0 {
        return Ok(None);
    }
    // Who stops here stops at the first word.
    let _ = hear(AskEvent::Model(&model.name));
    let request = GenerateRequest {
        prompt,
        // The likeliest word each time: who asks documents wants no surprise.
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        max_tokens: Some(max_tokens),
        stop: vec!["\nQuestion:".to_owned(), "\nSources:".to_owned()],
        thinks: false,
    };
    let mut text = String::new();
    let generated = engine
        .generate(&request, monitor, &mut |piece| {
            text.push_str(piece);
            hear(AskEvent::Words(piece))
        })
        .map_err(|error| explained(error, format!("`{}` could not answer", model.name)))?;
    let passages = &report.passages[..num_sources];
    Ok(Some(Answer {
        model: model.name.clone(),
        is_not_in_documents: says_not_in_documents(&text),
        citations: checked(&text, passages),
        text,
        num_sources,
        prompt_tokens: generated.prompt_tokens,
        new_tokens: generated.new_tokens,
        is_stopped: generated.finish == Finish::Stopped,
    }))
}

fn prompt(engine: &mut Engine, report: &AskReport, max_tokens: u32) -> Result<(Prompt, usize)> {
    let sources: Vec<Source<'_>> = report.passages.iter().map(source).collect();
    let room_tokens = engine.facts().context_tokens.saturating_sub(max_tokens) as usize;
    let mut failure = None;
    let mut count_tokens = |text: &str| match engine.count_tokens(text) {
        Ok(count) => count,
        Err(error) => {
            failure = Some(error);
            text.len()
        }
    };
    let draft = draft(&report.question, &sources, room_tokens.min(PROMPT_TOKENS), &mut count_tokens);
    if let Some(error) = failure {
        return Err(explained(error, "could not measure the question".to_owned()));
    }
    let num_sources = draft.num_sources;
    if !engine.facts().has_chat_template {
        return Ok((Prompt::Raw(draft.as_text()), num_sources));
    }
    let message = |role: &str, content: String| Message { role: role.to_owned(), content };
    Ok((Prompt::Chat(vec![message("system", draft.system), message("user", draft.user)]), num_sources))
}

/// The engine's own hints name flags that `ask` does not have.
fn explained(error: EngineError, deed: String) -> Error {
    let hint = match &error {
        EngineError::NoMemory { .. } => "close other programs, or ask a smaller model with `--model`",
        EngineError::TooLong { .. } => "ask a shorter question, or give a smaller `--max-tokens`",
        _ => return Error::from(error).while_doing(deed),
    };
    Error::from(error).while_doing(deed).with_hint(hint)
}

fn source(passage: &FoundPassage) -> Source<'_> {
    let place = match passage.page {
        Some(page) => format!("{}, page {page}", passage.file),
        None => format!("{}, lines {}-{}", passage.file, passage.first_line, passage.last_line),
    };
    Source { place, heading_path: &passage.heading_path, text: &passage.text }
}

fn checked(answer: &str, passages: &[FoundPassage]) -> Vec<crate::answer::Citation> {
    let mut analyser = Analyser::new();
    let languages: Vec<&str> = passages.iter().filter_map(|passage| passage.language.as_deref()).collect();
    let language = languages.first().copied();
    let texts: Vec<&str> = passages.iter().map(|passage| passage.text.as_str()).collect();
    check_citations(answer, &texts, &languages, &mut |text| analyser.terms(text, language))
}
