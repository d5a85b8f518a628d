//! `localml ask`.

use std::fmt::Write as _;

use owo_colors::OwoColorize as _;

use crate::cli::context::Context;
use crate::cli::output::harmless;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{
    Answer, AskEvent, AskOptions, AskReport, Citation, Confidence, Error, FoundPassage, Suggestion, Support,
    ask,
};
use crate::package::PackageRef;
use crate::progress::{Flow, Monitor as _};

use super::find::{quote, source};

/// Answer a question from indexed documents
///
/// First come the best quotes with their sources, then, where a chat model is installed, its answer with numbered
/// citations, then a check of each citation. "Not in your documents" is an answer too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml ask \"how do I store vaccines without power?\"")]
pub(crate) struct Args {
    /// What you want to know, in your own words
    #[arg(required = true, value_name = "QUESTION")]
    question: Vec<String>,
    /// Ask only this collection; can be given more than once
    #[arg(long = "in", value_name = "NAME")]
    collections: Vec<String>,
    /// How many passages to quote
    #[arg(long, short = 'n', default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=20))]
    limit: u16,
    /// Show the quotes and ask no model
    #[arg(long)]
    quotes: bool,
    /// The chat model to ask
    #[arg(long)]
    model: Option<PackageRef>,
    /// The longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=8192))]
    max_tokens: u32,
    /// How many threads compute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..1025))]
    threads: Option<u32>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = AskOptions {
        question: args.question.join(" "),
        collections: args.collections.clone(),
        limit: usize::from(args.limit),
        is_quotes_only: args.quotes,
        model: args.model.clone(),
        program: super::this_program()?,
        max_tokens: args.max_tokens,
        threads: args.threads,
        is_verbose: context.is_verbose,
    };
    let mut embedders = context.embedders()?;
    let mut hear = |event: AskEvent<'_>| {
        if context.output.is_json() || context.output.write(&heard(&event)) {
            Flow::Continue
        } else {
            Flow::Stop
        }
    };
    let report = ask(&context.home, &options, &mut embedders, &context.terminal, &mut hear)?;
    context.output.show(&report, closing);
    for note in &report.notes {
        context.terminal.note(note);
    }
    if context.terminal.is_cancelled() {
        return Ok(Outcome::Bad(ErrorKind::Failed));
    }
    Ok(Outcome::Done)
}

fn heard(event: &AskEvent<'_>) -> String {
    match event {
        AskEvent::Quotes(passages, confidence) => quotes(passages, *confidence),
        AskEvent::Model(name) => format!("{}\n", format!("{name} says:").bold()),
        AskEvent::Words(words) => harmless(words),
    }
}

fn quotes(passages: &[FoundPassage], confidence: Confidence) -> String {
    let mut text = String::new();
    match confidence {
        Confidence::NotInDocuments if passages.is_empty() => return "not in your documents\n".to_owned(),
        Confidence::NotInDocuments => text.push_str("not in your documents; the nearest passages are\n\n"),
        Confidence::Doubtful => {
            text.push_str("your documents may not answer this; the nearest passages are\n\n")
        }
        Confidence::Likely => {}
    }
    for (index, passage) in passages.iter().enumerate() {
        let number = format!("[{}]", index + 1);
        let _ = write!(text, "{} “{}”\n    {}\n\n", number.bold(), quote(passage), source(passage).dimmed());
    }
    text
}

/// What is said when quotes and words are out.
fn closing(report: &AskReport) -> String {
    match (&report.answer, &report.suggestion) {
        (Some(answer), _) => checks(answer),
        (None, Some(suggestion)) => suggested(suggestion, report.num_passed_over),
        (None, None) => String::new(),
    }
}

fn checks(answer: &Answer) -> String {
    let mut text = String::from("\n\n");
    for citation in &answer.citations {
        let _ = writeln!(text, "{}", check(citation));
    }
    if answer.citations.is_empty() && !answer.is_not_in_documents && !answer.is_stopped {
        text.push_str("the model named no source; trust the quotes, not its words\n");
    }
    text
}

fn check(citation: &Citation) -> String {
    let verdict = match citation.support {
        Support::Supported => "checked: the source has these words".green().to_string(),
        Support::Weak => "DOUBTFUL: the source does not say this in these words".yellow().to_string(),
        Support::NoSuchSource => "WRONG: there is no such source".red().to_string(),
    };
    let words: Vec<&str> = citation.sentence.split_whitespace().collect();
    let beginning = harmless(&words[..words.len().min(8)].join(" "));
    format!("[{}] {verdict} ({beginning}…)", citation.number)
}

fn suggested(suggestion: &Suggestion, num_passed_over: usize) -> String {
    let lack = match num_passed_over {
        0 => "no chat model is installed",
        _ => "no installed chat model can answer here",
    };
    format!(
        "{lack}, so these are quotes only; `{}:{}` ({}, {}) would fit this PC:\n\
         `localml install {}` online, or ask a courier to bring it\n",
        suggestion.name,
        suggestion.variant,
        size(suggestion.size_bytes),
        suggestion.license,
        suggestion.name
    )
}
