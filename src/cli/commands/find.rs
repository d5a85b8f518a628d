//! `localml find`.

use std::fmt::Write as _;

use owo_colors::OwoColorize as _;

use crate::cli::context::Context;
use crate::cli::output::harmless;
use crate::cli::report::Outcome;
use crate::ops::{Error, FindOptions, FindReport, FoundPassage, find};
use crate::progress::Monitor as _;

/// Find passages in indexed documents
///
/// Each passage comes with its file, its headings, its lines and the sentence that fits best. All
/// collections are searched unless `--in` names some.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml find \"how long do I boil water\" --in handbook")]
pub(crate) struct Args {
    /// What you want to know, in your own words
    #[arg(required = true, value_name = "QUESTION")]
    question: Vec<String>,
    /// Search only this collection; can be given more than once
    #[arg(long = "in", value_name = "NAME")]
    collections: Vec<String>,
    /// How many passages to show
    #[arg(long, short = 'n', default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    /// Show the whole passages, not only the best sentence of each
    #[arg(long)]
    full: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = FindOptions {
        question: args.question.join(" "),
        collections: args.collections.clone(),
        limit: usize::from(args.limit),
    };
    let report = find(&context.home, &options, &mut context.embedders()?, &context.terminal)?;
    context.output.show(&report, |report| text(report, args.full));
    for note in &report.notes {
        context.terminal.note(note);
    }
    Ok(Outcome::Done)
}

fn text(report: &FindReport, is_full: bool) -> String {
    let passages = report.passages.iter().enumerate();
    passages.map(|(place, passage)| shown(place + 1, passage, is_full)).collect::<Vec<_>>().join("\n")
}

fn shown(number: usize, passage: &FoundPassage, is_full: bool) -> String {
    let mut text = format!("{} {}", format!("{number}.").bold(), source(passage).bold());
    if !passage.heading_path.is_empty() {
        let _ = write!(text, "\n   {}", harmless(&passage.heading_path.join(" › ")).dimmed());
    }
    if is_full {
        for line in harmless(&passage.text).lines() {
            let _ = write!(text, "\n   {line}");
        }
    } else {
        let _ = write!(text, "\n   “{}”", quote(passage));
    }
    text.push('\n');
    text
}

/// The quote in one line.
pub(super) fn quote(passage: &FoundPassage) -> String {
    harmless(&passage.quote.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// `handbook: 12-power.md, lines 10–14` or, where there are pages, `book.pdf, page 3`.
pub(super) fn source(passage: &FoundPassage) -> String {
    let place = match passage.page {
        Some(page) => format!(", page {page}"),
        // Nobody can count lines in a web page.
        None if !passage.has_lines => String::new(),
        None if passage.first_line == passage.last_line => format!(", line {}", passage.first_line),
        None => format!(", lines {}–{}", passage.first_line, passage.last_line),
    };
    harmless(&format!("{}: {}{place}", passage.collection, passage.file))
}
