//! `localml completions`.

use clap::CommandFactory as _;

use crate::cli::context::Context;
use crate::cli::output::print;
use crate::cli::report::Outcome;
use crate::ops::Error;

use super::Line;

/// Print a completion script for a shell, or the manual page
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  localml completions bash > ~/.local/share/bash-completion/completions/localml"
)]
pub(crate) struct Args {
    /// Which shell
    #[arg(required_unless_present = "man")]
    shell: Option<clap_complete::Shell>,
    /// Print the manual page in roff instead
    #[arg(long)]
    man: bool,
}

pub(super) fn run(args: &Args, _context: &Context) -> Result<Outcome, Error> {
    let mut command = Line::command();
    let mut text = Vec::new();
    if let Some(shell) = args.shell {
        clap_complete::generate(shell, &mut command, "localml", &mut text);
    } else {
        // Rendering into memory cannot fail.
        let _ = clap_mangen::Man::new(command).render(&mut text);
    }
    print(&String::from_utf8_lossy(&text));
    Ok(Outcome::Done)
}
