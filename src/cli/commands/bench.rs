//! `localml bench`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::ops::{BenchOptions, BenchReport, BenchRow, Embedders, Error, bench_retrieval};

/// Measure search quality on a test collection
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml bench retrieval ~/beir/scifact")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How often the right document is found: words, vectors, both together
    ///
    /// DIR is in BEIR's layout: corpus.jsonl, queries.jsonl, qrels.tsv (or qrels/test.tsv).
    #[command(after_help = "Example:\n  localml bench retrieval ~/beir/scifact")]
    Retrieval {
        /// The folder of the test collection
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Measure word search alone, even when an embedder is installed
        #[arg(long)]
        words_only: bool,
        /// What the vectors count in the fused list, from 0 to 1
        #[arg(long, value_name = "WEIGHT")]
        vector_weight: Option<f32>,
    },
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let What::Retrieval { folder, words_only, vector_weight } = &args.what;
    let options = BenchOptions { folder: folder.clone(), vector_weight: *vector_weight };
    let mut embedders = if *words_only { Embedders::none() } else { context.embedders()? };
    let report = bench_retrieval(&context.home, &options, embedders.first(), &context.terminal)?;
    context.output.show(&report, text);
    Ok(Outcome::Done)
}

fn text(report: &BenchReport) -> String {
    let rows: Vec<Vec<String>> = report.rows.iter().map(row).collect();
    let embedder = report.embedder.as_ref().map(|name| format!(", vectors of {name}")).unwrap_or_default();
    format!(
        "{}: {} documents, {} questions{embedder}\n\n{}",
        report.dataset,
        report.num_documents,
        report.num_questions,
        table(&["SEARCH", "nDCG@10", "P@1", "R@5", "R@100"], &rows)
    )
}

fn row(row: &BenchRow) -> Vec<String> {
    let measures = &row.measures;
    let numbers =
        [measures.ndcg_at_10, measures.precision_at_1, measures.recall_at_5, measures.recall_at_100];
    let cells = numbers.iter().map(|number| format!("{number:.3}"));
    std::iter::once(row.method.to_owned()).chain(cells).collect()
}
