//! `localml registry`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::line::LineArgs;
use crate::cli::output::Output;
use crate::cli::report::Outcome;
use crate::ops::{
    AddOptions, AddReport, Error, InitReport, RotateReport, SignReport, registry_add, registry_build,
    registry_check, registry_init, registry_rotate, registry_sign, show_fingerprint, show_full_fingerprint,
};
use crate::ops::{BuildOptions, Built};
use crate::ops::{Quorum, Replaced, RotateOptions};
use crate::package::Name;

/// Make, build, sign and add registries
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, as a publisher:
  localml registry init my-registry --keys my-keys
  localml registry build my-registry --manifests my-manifests --files my-files
  localml registry sign my-registry --keys my-keys
Then, as a reader:
  localml registry add clinic https://example.org/my-registry/ --fingerprint \"ba78 16bf …\"")]
pub(crate) struct Args {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// Make keys and the root of a new registry
    #[command(
        after_help = "Example:\n  localml registry init my-registry --keys my-keys\n  localml registry init my-registry --keys my-keys --root-keys 3 --threshold 2"
    )]
    Init {
        /// The registry's folder; it will be given away
        registry: PathBuf,
        /// Where the keys go: a folder outside the registry, kept secret
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// How many root keys: of three in three places, one may be lost
        #[arg(long, value_name = "N", default_value_t = 1)]
        root_keys: usize,
        /// How many root keys must sign to replace keys; more than half when left out
        #[arg(long, value_name = "N")]
        threshold: Option<usize>,
    },
    /// Generate a registry's files from manifests
    #[command(
        after_help = "Example:\n  localml registry build my-registry --manifests my-manifests --files my-files"
    )]
    Build(BuildArgs),
    /// Sign what was generated
    #[command(after_help = "Example:\n  localml registry sign my-registry --keys my-keys --expires-days 365")]
    Sign {
        /// The registry's folder
        registry: PathBuf,
        /// Where the keys lie; may be given several times
        #[arg(long, value_name = "DIR", required = true)]
        keys: Vec<PathBuf>,
        /// For how many days you vouch for it; afterwards readers are warned
        #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_days: u32,
    },
    /// Replace lost or stolen keys, or change how many root keys must sign
    ///
    /// Writes the next root, signed by the root keys that are trusted now. Readers follow it by themselves,
    /// from the network or from any stick; the fingerprint stays.
    #[command(
        after_help = "Example:\n  localml registry rotate my-registry --keys my-keys --replace missing\n  localml registry rotate my-registry --keys my-keys --keys /media/drawer --replace targets\n  localml registry rotate my-registry --keys my-keys --root-keys 3 --threshold 2"
    )]
    Rotate(RotateArgs),
    /// Trust a registry from now on, by its fingerprint
    #[command(
        after_help = "Example:\n  localml registry add clinic https://example.org/my-registry/ --fingerprint \"ba78 16bf …\""
    )]
    Add(AddArgs),
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// What it will be called here
    name: Name,
    /// Its address: https://…, http://…, a folder, or a stick that carries it
    address: String,
    /// The fingerprint that the publisher told you: 24 digits or more; spaces do not matter
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
    #[command(flatten)]
    line: LineArgs,
}

#[derive(Debug, clap::Args)]
struct RotateArgs {
    /// The registry's folder
    registry: PathBuf,
    /// Where the keys lie; may be given several times
    #[arg(long, value_name = "DIR", required = true)]
    keys: Vec<PathBuf>,
    /// Where new keys go; beside the others when left out
    #[arg(long, value_name = "DIR")]
    new_keys: Option<PathBuf>,
    /// What no longer counts: `missing` (not in the folders), `root`, `targets`, `timestamp`, `all`, or a key's file
    #[arg(long, value_name = "WHAT")]
    replace: Vec<String>,
    /// How many root keys there will be; as many as before when left out
    #[arg(long, value_name = "N")]
    root_keys: Option<usize>,
    /// How many root keys must sign the next time; as before when left out
    #[arg(long, value_name = "N")]
    threshold: Option<usize>,
}

#[derive(Debug, clap::Args)]
struct BuildArgs {
    /// The registry's folder
    #[arg(default_value = "registry")]
    registry: PathBuf,
    /// The folder of manifests: NAME/VERSION.toml
    #[arg(long, value_name = "DIR", default_value = "manifests")]
    manifests: PathBuf,
    /// A folder with the packages' files: NAME/PATH or NAME/VARIANT/PATH
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// How many index files: a power of two up to 1024
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Change nothing; fail when something would change
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let output = context.output;
    match &args.deed {
        Deed::Init { registry, keys, root_keys, threshold } => {
            let majority = Quorum::majority(*root_keys);
            let quorum = Quorum { threshold: threshold.unwrap_or(majority.threshold), ..majority };
            output.show_with_advice(&registry_init(registry, keys, quorum)?, |report| {
                init_text(report, context.is_verbose)
            });
        }
        Deed::Rotate(args) => {
            let report = registry_rotate(&args.registry, &rotation(args))?;
            output.show_with_advice(&report, |report| rotate_text(report, args));
        }
        Deed::Build(args) => build(args, output)?,
        Deed::Sign { registry, keys, expires_days } => {
            let report = registry_sign(registry, keys, *expires_days)?;
            output.show(&report, |report| sign_text(report, context.is_verbose));
        }
        Deed::Add(args) => {
            let options = AddOptions {
                name: args.name.clone(),
                address: args.address.clone(),
                fingerprint: args.fingerprint.clone(),
                line: args.line.options(context)?,
            };
            let report = registry_add(&context.home, &options, &context.terminal)?;
            output.show_with_advice(&report, add_text);
        }
    }
    Ok(Outcome::Done)
}

fn build(args: &BuildArgs, output: Output) -> Result<(), Error> {
    let options = BuildOptions {
        manifests: args.manifests.clone(),
        files: args.files.clone(),
        num_shards: args.shards,
    };
    let built = match args.check {
        true => registry_check(&args.registry, &options)?,
        false => registry_build(&args.registry, &options)?,
    };
    output.show(&built, |built| built_text(built, args));
    Ok(())
}

fn rotation(args: &RotateArgs) -> RotateOptions {
    let replaced = |what: &String| match what.as_str() {
        "all" => Replaced::All,
        "missing" => Replaced::Missing,
        "root" => Replaced::Root,
        "targets" => Replaced::Targets,
        "timestamp" => Replaced::Timestamp,
        file => Replaced::File(file.into()),
    };
    RotateOptions {
        keys: args.keys.clone(),
        new_keys: args.new_keys.clone(),
        replaced: args.replace.iter().map(replaced).collect(),
        num_root_keys: args.root_keys,
        threshold: args.threshold,
    }
}

fn rotate_text(report: &RotateReport, args: &RotateArgs) -> String {
    let rotated = &report.rotated;
    let mut lines = vec![format!(
        "root {}: {} of {} root keys must sign the next one; the fingerprint stays",
        rotated.root_version, rotated.threshold, rotated.num_root_keys
    )];
    lines.extend(rotated.made.iter().map(|key| format!("new      {}: keep it secret", key.display())));
    lines.extend(rotated.retired.iter().map(|key| format!("retired  {}: it signs no more", key.display())));
    let folders = args.keys.iter().chain(&args.new_keys);
    let keys: Vec<String> = folders.map(|folder| format!(" --keys {}", folder.display())).collect();
    lines.push(format!("next: `localml registry sign {}{}`", report.registry.display(), keys.concat()));
    lines.join("\n")
}

fn init_text(report: &InitReport, is_verbose: bool) -> String {
    let drawer = match report.root_keys.len() {
        1 => "keep them secret, and a copy of `root.pk8` in a drawer".to_owned(),
        several => format!(
            "keep them secret, and each of the {several} root keys in another place: {} of them replace any lost key",
            report.threshold
        ),
    };
    format!(
        "the keys are in {keys}: {drawer}\n\
         the fingerprint of {registry}, for your readers, by telephone for example:\n{fingerprint}\n\
         next: `localml registry build {registry} --manifests DIR`, then `localml registry sign {registry} --keys {keys}`",
        keys = report.keys.display(),
        registry = report.registry.display(),
        fingerprint = if is_verbose {
            show_full_fingerprint(&report.fingerprint)
        } else {
            show_fingerprint(&report.fingerprint)
        },
    )
}

fn built_text(built: &Built, args: &BuildArgs) -> String {
    let registry = args.registry.display();
    let counts = format!("{} package versions, {} blobs", built.num_packages, built.num_blobs);
    match built.changed.len() {
        0 => format!("{registry} is up to date: {counts}"),
        changed if built.has_root => format!(
            "{registry}: {counts}; {changed} files written\nsign it: `localml registry sign {registry} --keys …`"
        ),
        changed => format!(
            "{registry}: {counts}; {changed} files written\nit has no root yet, so nobody can sign it: \
             `localml registry init {registry} --keys DIR` makes one"
        ),
    }
}

fn sign_text(report: &SignReport, is_verbose: bool) -> String {
    format!(
        "signed version {} of {}: {} files, until {}\nits fingerprint:\n{}",
        report.signed.version,
        report.registry.display(),
        report.signed.num_files,
        report.signed.expires,
        if is_verbose {
            show_full_fingerprint(&report.fingerprint)
        } else {
            show_fingerprint(&report.fingerprint)
        }
    )
}

fn add_text(report: &AddReport) -> String {
    format!(
        "`{}` is trusted from now on: {} package versions from {}\nnext: `localml search`",
        report.name, report.num_packages, report.url
    )
}
