//! Words in, words out: arguments, environment, terminal, colour, exit codes, JSON.

mod caches;
mod commands;
mod context;
mod line;
mod meter;
mod output;
mod report;
mod table;
mod tasks;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use context::Context;

/// Parses the command line, runs the command, tells how it ended.
pub fn main() -> ExitCode {
    let line = commands::Line::parse();
    let context = Context::new(&line.global);
    match commands::run(line.command.as_ref(), &context) {
        Ok(outcome) => report::exit_code(outcome),
        Err(error) => report::tell(&error, context.output),
    }
}
