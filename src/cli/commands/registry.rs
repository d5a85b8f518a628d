//! `localml registry`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::output::Output;
use crate::cli::report::Outcome;
use crate::ops::{
    AddOptions, AddReport, Error, InitReport, SignReport, registry_add, registry_build, registry_check,
    registry_init, registry_sign, show_fingerprint,
};
use crate::ops::{BuildOptions, Built};
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
    #[command(after_help = "Example:\n  localml registry init my-registry --keys my-keys")]
    Init {
        /// The registry's folder; it will be given away
        registry: PathBuf,
        /// Where the keys go: a folder outside the registry, kept secret
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
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
        /// Where the keys lie
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// For how many days you vouch for it; afterwards readers are warned
        #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_days: u32,
    },
    /// Trust a registry from now on, by its fingerprint
    #[command(
        after_help = "Example:\n  localml registry add clinic https://example.org/my-registry/ --fingerprint \"ba78 16bf …\""
    )]
    Add {
        /// What it will be called here
        name: Name,
        /// Its address: https://…, http://…, a folder, or a stick that carries it
        address: String,
        /// The fingerprint that the publisher told you; spaces do not matter
        #[arg(long, value_name = "HEX")]
        fingerprint: Option<String>,
    },
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
        Deed::Init { registry, keys } => output.show(&registry_init(registry, keys)?, init_text),
        Deed::Build(args) => build(args, output)?,
        Deed::Sign { registry, keys, expires_days } => {
            output.show(&registry_sign(registry, keys, *expires_days)?, sign_text);
        }
        Deed::Add { name, address, fingerprint } => {
            let options = AddOptions {
                name: name.clone(),
                address: address.clone(),
                fingerprint: fingerprint.clone(),
                is_offline: context.is_offline,
            };
            output.show(&registry_add(&context.home, &options, &context.terminal)?, add_text);
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

fn init_text(report: &InitReport) -> String {
    format!(
        "the keys are in {keys}: keep them secret, and a copy of `root.pk8` in a drawer\n\
         the fingerprint of {registry}, for your readers, by telephone for example:\n{fingerprint}\n\
         next: `localml registry build {registry}`, then `localml registry sign {registry} --keys {keys}`",
        keys = report.keys.display(),
        registry = report.registry.display(),
        fingerprint = show_fingerprint(&report.fingerprint),
    )
}

fn built_text(built: &Built, args: &BuildArgs) -> String {
    let registry = args.registry.display();
    let counts = format!("{} package versions, {} blobs", built.num_packages, built.num_blobs);
    match built.changed.len() {
        0 => format!("{registry} is up to date: {counts}"),
        changed => format!(
            "{registry}: {counts}; {changed} files written\nsign it: `localml registry sign {registry} --keys …`"
        ),
    }
}

fn sign_text(report: &SignReport) -> String {
    format!(
        "signed version {} of {}: {} files, until {}\nits fingerprint:\n{}",
        report.signed.version,
        report.registry.display(),
        report.signed.num_files,
        report.signed.expires,
        show_fingerprint(&report.fingerprint)
    )
}

fn add_text(report: &AddReport) -> String {
    format!(
        "`{}` is trusted from now on: {} package versions from {}\nnext: `localml search`",
        report.name, report.num_packages, report.url
    )
}
