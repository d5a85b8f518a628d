//! Words in, words out: arguments, environment, terminal, colour, exit codes, JSON.

use std::process::ExitCode;

/// Runs the program.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
