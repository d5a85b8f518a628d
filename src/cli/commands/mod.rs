//! One file a verb: its arguments, a call into `ops`, and how the report reads.

mod overview;

mod adopt;
#[cfg(feature = "index")]
mod ask;
#[cfg(feature = "index")]
mod bench;
mod completions;
mod courier;
mod doctor;
#[cfg(feature = "engine")]
mod engine;
mod export;
mod fetch;
#[cfg(feature = "index")]
mod find;
mod gc;
mod import;
#[cfg(feature = "index")]
mod index;
mod info;
mod install;
mod list;
mod path;
mod registry;
mod remove;
mod repair;
mod request;
mod rollback;
#[cfg(feature = "engine")]
mod run;
mod search;
mod sites;
mod stick;
mod sync;
mod update;
mod upgrade;
mod verify;

use clap::{Parser, Subcommand};

use crate::ops::Error;

use super::context::{Context, GlobalArgs};
use super::report::Outcome;

/// A cargo-like tool for AI where the internet is rare, slow, metered or absent
///
/// While online it fetches and verifies models and knowledge; it carries them on USB sticks to sites
/// that have no net; there it installs them, indexes documents and answers questions about them.
#[derive(Debug, Parser)]
#[command(name = "localml", version, max_term_width = 100)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Update(update::Args),
    Search(search::Args),
    Info(info::Args),
    Fetch(fetch::Args),
    Install(install::Args),
    Sync(sync::Args),
    Upgrade(upgrade::Args),
    Rollback(rollback::Args),
    List(list::Args),
    Path(path::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Remove(remove::Args),
    Gc(gc::Args),
    Request(request::Args),
    Export(export::Args),
    Import(import::Args),
    Sites(sites::Args),
    Stick(stick::Args),
    Adopt(adopt::Args),
    #[cfg(feature = "index")]
    Index(index::Args),
    #[cfg(feature = "index")]
    Find(find::Args),
    #[cfg(feature = "index")]
    Ask(ask::Args),
    #[cfg(feature = "engine")]
    Run(run::Args),
    #[cfg(feature = "engine")]
    #[command(hide = true)]
    Engine(engine::Args),
    Registry(registry::Args),
    #[cfg(feature = "index")]
    Bench(bench::Args),
    Courier(courier::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
}

/// Runs one command; without one, says what this PC has and which command comes next.
pub(crate) fn run(command: Option<&Command>, context: &Context) -> Result<Outcome, Error> {
    let Some(command) = command else {
        return overview::run(context);
    };
    match command {
        Command::Update(args) => update::run(args, context),
        Command::Search(args) => search::run(args, context),
        Command::Info(args) => info::run(args, context),
        Command::Fetch(args) => fetch::run(args, context),
        Command::Install(args) => install::run(args, context),
        Command::Sync(args) => sync::run(args, context),
        Command::Upgrade(args) => upgrade::run(args, context),
        Command::Rollback(args) => rollback::run(args, context),
        Command::List(args) => list::run(args, context),
        Command::Path(args) => path::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Repair(args) => repair::run(args, context),
        Command::Remove(args) => remove::run(args, context),
        Command::Gc(args) => gc::run(args, context),
        Command::Request(args) => request::run(args, context),
        Command::Sites(args) => sites::run(args, context),
        Command::Export(args) => export::run(args, context),
        Command::Import(args) => import::run(args, context),
        Command::Stick(args) => stick::run(args, context),
        Command::Adopt(args) => adopt::run(args, context),
        #[cfg(feature = "index")]
        Command::Index(args) => index::run(args, context),
        #[cfg(feature = "index")]
        Command::Find(args) => find::run(args, context),
        #[cfg(feature = "index")]
        Command::Ask(args) => ask::run(args, context),
        #[cfg(feature = "engine")]
        Command::Run(args) => run::run(args, context),
        #[cfg(feature = "engine")]
        Command::Engine(args) => engine::run(args),
        Command::Registry(args) => registry::run(args, context),
        #[cfg(feature = "index")]
        Command::Bench(args) => bench::run(args, context),
        Command::Courier(args) => courier::run(args, context),
        Command::Doctor(args) => doctor::run(args, context),
        Command::Completions(args) => completions::run(args, context),
    }
}

/// This executable, which the engine's process runs too.
#[cfg(any(feature = "engine", feature = "index"))]
fn this_program() -> Result<std::path::PathBuf, Error> {
    std::env::current_exe().map_err(|error| {
        let message = format!("the system does not say where this program lies: {error}");
        Error::new(crate::error::ErrorKind::Failed, message)
    })
}
