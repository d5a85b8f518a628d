//! `localml run`.

use std::io::{IsTerminal as _, Read as _};

use crate::cli::context::Context;
use crate::cli::output::{harmless, say};
use crate::cli::report::Outcome;
use crate::error::ErrorKind;
use crate::ops::{Conversation, Error, RunOptions, RunReport, run as run_model};
use crate::package::PackageRef;
use crate::progress::{Flow, Monitor as _};

/// Chat with a model, or let it continue a text
///
/// A model with a chat template answers; one without, or with `--raw`, continues the text. Without TEXT, lines are
/// read from the terminal and answered one after another; piped text is taken whole.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  localml run qwen2.5-0.5b-instruct \"Why is the sky blue?\"\n  \
                  localml run stories260k \"\" --temperature 0 --max-tokens 20")]
pub(crate) struct Args {
    /// An installed chat model
    model: PackageRef,
    /// What to say; \"\" begins from nothing
    text: Option<String>,
    /// Continue the text, without the chat template
    #[arg(long)]
    raw: bool,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// 0 always takes the likeliest word; 1 and more is adventurous
    #[arg(long, value_name = "T", value_parser = temperature)]
    temperature: Option<f32>,
    /// The longest answer, in tokens
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// The same seed says the same again
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// The longest conversation, in tokens
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(16..))]
    context: Option<u32>,
    /// How many threads compute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..1025))]
    threads: Option<u32>,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Let the model think aloud first, where it can
    #[arg(long)]
    think: bool,
    /// Try even a model that needs more memory than this PC has
    #[arg(long)]
    anyway: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = options(args, context)?;
    match (&args.text, std::io::stdin().is_terminal()) {
        (Some(text), _) => once(args, text, &options, context),
        (None, false) => once(args, &piped_text()?, &options, context),
        (None, true) => converse(args, &options, context),
    }
}

fn once(args: &Args, text: &str, options: &RunOptions, context: &Context) -> Result<Outcome, Error> {
    let mut hear = |piece: &str| hear(piece, context);
    let outcome = run_model(&context.home, &args.model, text, options, &context.terminal, &mut hear);
    finish(&outcome?, context);
    Ok(outcome_of(context))
}

/// Shows a piece of the answer; programs get it whole at its end.
fn hear(piece: &str, context: &Context) -> Flow {
    if context.output.is_json() || context.output.write(&harmless(piece)) {
        Flow::Continue
    } else {
        Flow::Stop
    }
}

/// Half an answer is a failure to a script.
fn outcome_of(context: &Context) -> Outcome {
    if context.terminal.is_cancelled() { Outcome::Bad(ErrorKind::Failed) } else { Outcome::Done }
}

/// Answers the terminal's lines until its end (Ctrl-D), an empty one, or Ctrl-C.
fn converse(args: &Args, options: &RunOptions, context: &Context) -> Result<Outcome, Error> {
    let monitor = &context.terminal;
    let mut conversation = Conversation::open(&context.home, &args.model, options, monitor)?;
    say("say something; an empty line ends the conversation");
    loop {
        let line = monitor.read_line().map_err(|error| unreadable(&error))?;
        if line.trim().is_empty() {
            break;
        }
        let report = conversation.say(&line, monitor, &mut |piece| hear(piece, context))?;
        finish(&report, context);
        if monitor.is_cancelled() {
            // Once set, the wish to stop holds for every later answer too.
            say("the conversation was ended by Ctrl-C");
            break;
        }
    }
    Ok(outcome_of(context))
}

fn finish(report: &RunReport, context: &Context) {
    context.output.show(report, |_| "\n".to_owned());
    if context.is_verbose {
        say(&format!(
            "{} prompt tokens ({} reused) in {} ms, {} tokens said in {} ms, seed {}",
            report.prompt_tokens,
            report.reused_tokens,
            report.prompt_ms,
            report.new_tokens,
            report.answer_ms,
            report.seed
        ));
    }
}

fn options(args: &Args, context: &Context) -> Result<RunOptions, Error> {
    Ok(RunOptions {
        program: super::this_program()?,
        is_raw: args.raw,
        system: args.system.clone(),
        temperature: args.temperature,
        seed: args.seed,
        max_tokens: args.max_tokens,
        context_tokens: args.context,
        threads: args.threads,
        stop: args.stop.clone(),
        thinks: args.think,
        ignores_memory: args.anyway,
        is_verbose: context.is_verbose,
    })
}

fn piped_text() -> Result<String, Error> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    Ok(text)
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Usage, format!("standard input cannot be read: {error}"))
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=10.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 10".to_owned()),
    }
}
