//! `localml index`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::error::ErrorKind;
use crate::ops::{
    CollectionStatus, Embedders, Error, IndexAddOptions, IndexListReport, IndexReport, IndexStatusReport,
    ProblemFile, index_add, index_list, index_refresh, index_remove, index_status,
};
use crate::progress::Monitor as _;

/// Make folders of documents searchable
///
/// Markdown, text, HTML, PDF and source code are read. What is indexed can be found by its words at once;
/// with an embedder installed, also by its meaning. The documents stay where they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml index add ~/Documents --name library\n  localml index refresh")]
pub(crate) struct Args {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// Index folders, files or installed knowledge packages
    #[command(after_help = "Example:\n  localml index add ~/Documents localml-handbook --name library")]
    Add {
        /// Folders, files, or names of installed knowledge packages
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The collection's name; made of the first path when not given
        #[arg(long)]
        name: Option<String>,
        /// Make no vectors now; `index refresh` does it later
        #[arg(long)]
        words_only: bool,
    },
    /// Read what changed since the last time, and complete the vectors
    #[command(after_help = "Example:\n  localml index refresh library")]
    Refresh {
        /// The collections; all when none is named
        names: Vec<String>,
        /// Make no vectors now
        #[arg(long)]
        words_only: bool,
    },
    /// Say how every file ended, and how far the vectors are
    #[command(after_help = "Example:\n  localml index status library")]
    Status {
        /// The collections; all when none is named
        names: Vec<String>,
    },
    /// List the collections
    #[command(after_help = "Example:\n  localml index list")]
    List,
    /// Remove collections; the documents themselves stay
    #[command(after_help = "Example:\n  localml index remove library")]
    Remove {
        /// The collections
        #[arg(required = true)]
        names: Vec<String>,
    },
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    match &args.deed {
        Deed::Add { paths, name, words_only } => {
            let mut embedders = embedders(*words_only, context)?;
            let options = IndexAddOptions { paths: paths.clone(), name: name.clone() };
            let report = index_add(&context.home, &options, &mut embedders, &context.terminal)?;
            context.output.show(&report, reported);
            Ok(outcome(std::slice::from_ref(&report), *words_only, context))
        }
        Deed::Refresh { names, words_only } => {
            let mut embedders = embedders(*words_only, context)?;
            let reports = index_refresh(&context.home, names, &mut embedders, &context.terminal)?;
            context.output.show(&reports, |reports| reports.iter().map(reported).collect());
            Ok(outcome(&reports, *words_only, context))
        }
        Deed::Status { names } => {
            context.output.show(&index_status(&context.home, names)?, stated);
            Ok(Outcome::Done)
        }
        Deed::List => {
            context.output.show(&index_list(&context.home)?, listed);
            Ok(Outcome::Done)
        }
        Deed::Remove { names } => {
            let report = index_remove(&context.home, names)?;
            context.output.show(&report, |report| {
                format!("removed the index of {}; the documents stay", report.removed.join(", "))
            });
            Ok(Outcome::Done)
        }
    }
}

fn embedders(words_only: bool, context: &Context) -> Result<Embedders, Error> {
    if words_only { Ok(Embedders::none()) } else { context.embedders() }
}

/// Failed files end with 8; a run that was stopped ends with 1.
fn outcome(reports: &[IndexReport], words_only: bool, context: &Context) -> Outcome {
    let mut is_whole = true;
    for report in reports {
        if let Some(problem) = &report.vector_problem {
            is_whole = false;
            context.terminal.warn(&format!("`{}` is found by words only: {problem}", report.name));
        }
    }
    let has_none = |report: &IndexReport| report.vectors.is_none() && !report.is_interrupted();
    if is_whole && !words_only && reports.iter().any(has_none) {
        context
            .terminal
            .note("found by words only; to find by meaning too, install an embedder: `localml search embed`");
    }
    if let Some(report) = reports.iter().find(|report| report.is_interrupted()) {
        context.terminal.note(&format!("stopped; `localml index refresh {}` goes on", report.name));
        return Outcome::Bad(ErrorKind::Failed);
    }
    let has_fault = |report: &IndexReport| report.files.num_failed > 0 || !report.files.offline.is_empty();
    if !is_whole || reports.iter().any(has_fault) {
        return Outcome::Problems;
    }
    Outcome::Done
}

fn reported(report: &IndexReport) -> String {
    let files = &report.files;
    let mut text =
        format!("{}: {} passages in {} files", report.name, report.num_passages, files.num_indexed);
    for (count, what) in [
        (files.num_unchanged, "unchanged"),
        (files.num_removed, "gone"),
        (files.num_empty, "empty"),
        (files.num_failed, "failed"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    if let Some(vectors) = &report.vectors {
        let _ = write!(
            text,
            "\n{} vectors ({} new, {} known) by {}",
            vectors.num_vectors, vectors.num_new, vectors.num_reused, vectors.embedder
        );
    }
    text.push('\n');
    let about_passages = match report.repairs.as_slice() {
        [] => "its passages are kept",
        _ => "what was damaged is read again when it is back",
    };
    for root in &files.offline {
        let _ = writeln!(text, "offline  {root} ({about_passages})");
    }
    text + &problems(&files.problems)
}

/// At most so many files are named; `index status` names all.
const MAX_SHOWN: usize = 20;

fn problems(problems: &[ProblemFile]) -> String {
    let mut text: String = problems.iter().take(MAX_SHOWN).map(problem).collect();
    if problems.len() > MAX_SHOWN {
        let _ = writeln!(text, "… and {} more; `localml index status` names all", problems.len() - MAX_SHOWN);
    }
    text
}

fn problem(problem: &ProblemFile) -> String {
    format!("{:8} {}: {}\n", problem.state, problem.file, problem.reason)
}

fn stated(report: &IndexStatusReport) -> String {
    if report.collections.is_empty() {
        return nothing();
    }
    report.collections.iter().map(status).collect::<Vec<_>>().join("\n")
}

fn status(collection: &CollectionStatus) -> String {
    let mut text = format!(
        "{}: {} files indexed, {} empty, {} failed\n{} passages, {} with a vector",
        collection.name,
        collection.num_indexed,
        collection.num_empty,
        collection.num_failed,
        collection.num_passages,
        collection.num_vectors
    );
    if let Some(embedder) = &collection.embedder {
        let _ = write!(text, " by {embedder}");
    }
    let languages: Vec<String> =
        collection.languages.iter().map(|(language, count)| format!("{language} {count}")).collect();
    if !languages.is_empty() {
        let _ = write!(text, "\nlanguages: {}", languages.join(", "));
    }
    text.push('\n');
    for root in &collection.offline {
        let _ = writeln!(text, "offline  {root}");
    }
    text.extend(collection.problems.iter().map(problem));
    text
}

fn listed(report: &IndexListReport) -> String {
    if report.collections.is_empty() {
        return nothing();
    }
    let rows: Vec<Vec<String>> = report
        .collections
        .iter()
        .map(|collection| {
            let about = match &collection.damage {
                Some(damage) => damage.clone(),
                None => collection.roots.join(", "),
            };
            vec![
                collection.name.clone(),
                collection.num_passages.to_string(),
                collection.num_vectors.to_string(),
                about,
            ]
        })
        .collect();
    table(&["COLLECTION", "PASSAGES", "VECTORS", "OF"], &rows)
}

fn nothing() -> String {
    "no documents are indexed; `localml index add FOLDER` makes them searchable".to_owned()
}
