//! `localml info`.

use std::fmt::Write as _;

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::hardware::Verdict;
use crate::ops::{self, Age, Error, InfoReport, VariantInfo};
use crate::package::{Manifest, PackageRef};

/// Show everything known about a package: licence, builds, bytes, memory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml info qwen2.5-0.5b-instruct")]
pub(crate) struct Args {
    /// The package, as name, name@version or registry/name
    package: PackageRef,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let report = ops::info(&context.home, &args.package)?;
    context.output.show(&report, text);
    Ok(Outcome::Done)
}

fn text(report: &InfoReport) -> String {
    let head = &report.manifest.package;
    let mut text = format!("{} {}: {}\n", head.name, head.version, head.title);
    let restricted = if head.restricted { " (forbids some uses: read it)" } else { "" };
    line(&mut text, "licence", &format!("{}{restricted}", head.license));
    line(&mut text, "kind", head.kind.as_str());
    line(&mut text, "registry", &registry(report));
    line(&mut text, "languages", &head.languages.join(" "));
    line(
        &mut text,
        "context",
        &head.context_tokens.map(|tokens| format!("{tokens} tokens")).unwrap_or_default(),
    );
    line(&mut text, "embedding", &embedding(&report.manifest));
    line(&mut text, "needs", &joined(&head.requires));
    line(&mut text, "members", &joined(&head.members));
    line(&mut text, "versions", &joined(&report.versions));
    line(&mut text, "note", head.note.as_deref().unwrap_or_default());
    let installed = report.installed.as_ref().map(|(version, variant)| format!("{version}, {variant}"));
    line(&mut text, "installed", installed.as_deref().unwrap_or("no"));
    for variant in &report.variants {
        text.push_str(&build(variant, &report.manifest));
    }
    text
}

/// One labelled line; nothing where there is nothing to say.
fn line(text: &mut String, label: &str, value: &str) {
    if !value.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {label:10} {value}");
    }
}

fn joined<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

fn registry(report: &InfoReport) -> String {
    let Some(name) = &report.registry else {
        return match &report.courier {
            Some(courier) => format!("none: no publisher signed it, the courier {courier} did"),
            None => "none: nobody signed it".into(),
        };
    };
    match &report.freshness {
        None => format!("{name}, part of this program"),
        Some(freshness) if freshness.age == Age::Fresh => {
            format!("{name}, signed until {}", freshness.expires)
        }
        Some(freshness) => format!("{name}, expired on {}: `localml update`", freshness.expires),
    }
}

fn embedding(manifest: &Manifest) -> String {
    let embedding = manifest.package.embedding.as_ref();
    embedding.map(|it| format!("{} dimensions, {} tokens", it.dimensions, it.max_tokens)).unwrap_or_default()
}

fn build(variant: &VariantInfo, manifest: &Manifest) -> String {
    let mut text = format!("  :{}  {}{}\n", variant.id, size(variant.size_bytes), memory(variant));
    if variant.unpinned {
        text.push_str("      its source is a moving branch: it may stop matching the digest\n");
    }
    for file in manifest.variant(&variant.id).map_or(&[][..], |variant| &variant.files) {
        let _ =
            writeln!(text, "      {}  {} bytes  sha256 {}", file.path, file.size_bytes, file.sha256.short());
    }
    text
}

fn memory(variant: &VariantInfo) -> String {
    let (Some(need), Some(verdict)) = (&variant.need, variant.verdict) else { return String::new() };
    let verdict = match verdict {
        Verdict::Fits => "fits this computer",
        Verdict::Tight => "is tight on this computer",
        Verdict::TooBig => "is too big for this computer",
    };
    let about = if need.is_estimate { "about " } else { "" };
    format!(
        ", needs {about}{} of memory at {} tokens: {verdict}",
        size(need.total_bytes),
        need.context_tokens
    )
}
