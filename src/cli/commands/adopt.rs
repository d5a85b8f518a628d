//! `localml adopt`.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::ops::{AdoptOptions, AdoptReport, Error, adopt};
use crate::package::{Kind, Name};

/// Take a local file as an unsigned package
///
/// The file is checked and copied into the store. Nobody vouches for it, and `localml list` says so for ever.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml adopt model.gguf --name my-model --kind chat-model")]
pub(crate) struct Args {
    /// The file
    file: PathBuf,
    /// What to call the package
    #[arg(long)]
    name: Name,
    /// What it is for: chat-model, embedder, reranker, adapter, knowledge, …
    #[arg(long)]
    kind: Kind,
    /// Its licence, where you know it
    #[arg(long)]
    license: Option<String>,
    /// Replace an installed package of this name
    #[arg(long)]
    replace: bool,
    /// Check the file and say what would be done, and do nothing
    #[arg(long)]
    plan: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let options = AdoptOptions {
        file: args.file.clone(),
        name: args.name.clone(),
        kind: args.kind.clone(),
        license: args.license.clone(),
        is_replacing: args.replace,
        is_plan: args.plan,
    };
    context.output.show(&adopt(&context.home, &options, &context.terminal)?, text);
    Ok(Outcome::Done)
}

fn text(report: &AdoptReport) -> String {
    let deed = if report.is_plan { "would adopt" } else { "adopted" };
    let mut text =
        format!("{deed} `{}` ({}, {}), unsigned", report.name, report.kind, size(report.size_bytes));
    if let Some(shape) = &report.shape {
        text += &format!(
            "\n{}: {} layers, width {}, context {} tokens",
            shape.architecture, shape.num_layers, shape.embedding_width, shape.context_tokens
        );
    }
    if !report.is_plan && report.kind == Kind::ChatModel {
        text += &format!("\nnext: localml run {} \"…\"", report.name);
    }
    text
}
