//! `localml adopt`.

use std::path::PathBuf;

use crate::cli::caches;
use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::table::table;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{
    AdoptOptions, AdoptReport, Deed, Error, ScanOptions, ScanPlace, ScanReport, ScannedFile, adopt,
    adopt_scan,
};
use crate::package::{Kind, Name};
use crate::progress::counted;

/// Take a local file as a package, or find files that other programs hold
///
/// With `--scan` it looks through the folders of Ollama, LM Studio, GPT4All, Hugging Face and llama.cpp, or those that are
/// named, for files that a package known here consists of, by length and sha256, and uses them without fetching or copying:
/// they stay the other program's, and are never changed. Without it, one file is checked and copied into the store;
/// nobody vouches for that one, and `localml list` says so for ever.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml adopt model.gguf --name my-model --kind chat-model\n  localml adopt --scan --plan\n  localml adopt --scan ~/Downloads"
)]
pub(crate) struct Args {
    /// The file; with `--scan` the folders, or none for those of programs that are known
    #[arg(value_name = "FILE", required_unless_present = "scan")]
    paths: Vec<PathBuf>,
    /// Look through folders for files that packages known here consist of
    #[arg(long, conflicts_with_all = ["name", "kind", "license", "replace"])]
    scan: bool,
    /// With `--scan`, copy what lies on another disk or cannot be linked
    #[arg(long, requires = "scan")]
    copy: bool,
    /// What to call the package
    #[arg(long, required_unless_present = "scan")]
    name: Option<Name>,
    /// What it is for: chat-model, embedder, reranker, adapter, knowledge, …
    #[arg(long, required_unless_present = "scan")]
    kind: Option<Kind>,
    /// Its licence, where you know it
    #[arg(long)]
    license: Option<String>,
    /// Replace an installed package of this name
    #[arg(long)]
    replace: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    plan: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    if args.scan {
        return scan(args, context);
    }
    let ([file], Some(name), Some(kind)) = (args.paths.as_slice(), &args.name, &args.kind) else {
        let message = "`adopt` takes one file, with `--name` and `--kind`";
        return Err(Error::new(ErrorKind::Usage, message)
            .with_hint("`localml adopt --scan DIR` looks through folders for files of known packages"));
    };
    let options = AdoptOptions {
        file: file.clone(),
        name: name.clone(),
        kind: kind.clone(),
        license: args.license.clone(),
        is_replacing: args.replace,
        is_plan: args.plan,
    };
    context.output.show_with_advice(&adopt(&context.home, &options, &context.terminal)?, text);
    Ok(Outcome::Done)
}

fn scan(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let named =
        |folder: &PathBuf| ScanPlace { program: "-".to_owned(), folder: folder.clone(), is_named: true };
    let places = match args.paths.is_empty() {
        true => caches::known(),
        false => args.paths.iter().map(named).collect(),
    };
    let options = ScanOptions { places, copies: args.copy, is_plan: args.plan };
    let report = adopt_scan(&context.home, &options, &context.terminal)?;
    context.output.show(&report, scan_text);
    Ok(if report.left_bytes == 0 || report.is_plan { Outcome::Done } else { Outcome::Problems })
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

fn scan_text(report: &ScanReport) -> String {
    let mut text = String::new();
    for place in &report.places {
        let program = if place.program == "-" { String::new() } else { format!("{}: ", place.program) };
        text.push_str(&format!(
            "{program}{} in {}\n",
            counted(place.num_files, "file"),
            place.folder.display()
        ));
    }
    if report.places.is_empty() {
        text.push_str("no folder of Ollama, LM Studio, GPT4All, Hugging Face or llama.cpp is here\n");
    }
    if report.files.is_empty() {
        return text + "no file in it belongs to a package that is known here and still lacks it";
    }
    let rows: Vec<Vec<String>> = report.files.iter().map(|file| row(file, report.is_plan)).collect();
    text.push_str(&table(&["", "SIZE", "PACKAGE", "FILE", "WHERE"], &rows));
    for package in &report.packages {
        let (name, version, variant) = (&package.name, &package.version, &package.variant);
        let exactly = package.reference();
        let state = match (package.is_whole, report.is_plan) {
            (true, true) => "would be whole".to_owned(),
            (true, false) => {
                format!("is whole; `localml --offline install {exactly}` makes it usable")
            }
            (false, _) => format!(
                "lacks {}; `localml install {exactly}` fetches only that",
                size(package.missing_bytes)
            ),
        };
        text.push_str(&format!("{name} {version} ({variant}) {state}\n"));
    }
    let saved = size(report.saved_bytes);
    let deed = if report.is_plan { "need not be fetched" } else { "did not have to be fetched" };
    text.push_str(&format!("{saved} {deed}\n"));
    if report.left_bytes > 0 {
        let left = size(report.left_bytes);
        text.push_str(&format!("{left} lie on another disk or cannot be linked; `--copy` copies them\n"));
    }
    if report.is_plan && report.lacking_room_bytes > 0 {
        let lacking = size(report.lacking_room_bytes);
        text.push_str(&format!("NOT ENOUGH ROOM: the copies need {lacking} more than this disk has free\n"));
    }
    text
}

fn row(file: &ScannedFile, is_plan: bool) -> Vec<String> {
    let deed = match (file.deed, is_plan) {
        (Deed::Linked, true) => "would link",
        (Deed::Linked, false) => "linked",
        (Deed::Copied, true) => "would copy",
        (Deed::Copied, false) => "copied",
        (Deed::NeedsCopy, _) => "left",
    };
    vec![
        deed.to_owned(),
        size(file.size_bytes),
        file.package.to_string(),
        file.file.to_string(),
        file.path.display().to_string(),
    ]
}
