//! `localml verify`.

use crate::cli::context::Context;
use crate::cli::report::Outcome;
use crate::cli::terminal::size;
use crate::error::ErrorKind;
use crate::ops::{DamagedFile, DamagedPiece, Error, VerifyReport, verify};
use crate::package::PackageRef;

/// How many damaged pieces of one file are told; `--json` has all.
const MAX_PIECES: usize = 12;

/// Hash installed packages again and name what is damaged
///
/// All cores work, on several files and on several pieces of one file at once. Of a file whose publisher gave no piece
/// list one is made here, so that later damage is found to the piece. Ends with 4 when a file differs from what its
/// publisher made; `localml repair` then fetches only the damaged pieces.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  localml verify\n  localml verify localml-handbook")]
pub(crate) struct Args {
    /// The packages; all of them when none is named, also those kept for `rollback`
    packages: Vec<PackageRef>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Error> {
    let report = verify(&context.home, &args.packages, &context.terminal)?;
    context.output.show(&report, text);
    if !report.is_complete {
        return Ok(Outcome::Bad(ErrorKind::Failed));
    }
    Ok(if report.is_whole() { Outcome::Done } else { Outcome::Bad(ErrorKind::Damaged) })
}

fn text(report: &VerifyReport) -> String {
    if !report.is_complete {
        return "stopped before the end; nothing was changed".to_owned();
    }
    let mut text = String::new();
    for package in &report.packages {
        let verdict = if package.is_whole { "whole" } else { "DAMAGED" };
        let version = &package.version;
        let older =
            if package.is_previous { format!(" ({version}, kept for `rollback`)") } else { String::new() };
        text.push_str(&format!("{:8} {}{older}\n", verdict, package.name));
        for file in &package.damaged_files {
            text.push_str(&damage(file));
        }
    }
    if report.packages.is_empty() {
        text.push_str("nothing is installed\n");
    } else if report.is_whole() {
        text.push_str(&format!("{} hashed, all as published\n", size(report.size_bytes)));
    } else {
        let from = match report.missing_bytes {
            0 => "from what lies here".to_owned(),
            bytes => format!("({}), from the net, a stick or a folder", size(bytes)),
        };
        text.push_str(&format!("nothing was removed; `localml repair` brings what is damaged {from}\n"));
    }
    text
}

/// What is wrong with a file, a line a piece.
pub(super) fn damage(file: &DamagedFile) -> String {
    if file.is_missing {
        return format!("         `{}` is missing ({})\n", file.path, size(file.size_bytes));
    }
    let num_pieces = file.damaged_pieces.len();
    let pieces = if num_pieces == 1 { "1 piece is" } else { &format!("{num_pieces} pieces are") };
    let (cost, all) = (size(file.damaged_bytes()), size(file.size_bytes));
    let mut text = format!("         `{}`: {pieces} damaged, {cost} of {all}\n", file.path);
    for piece in file.damaged_pieces.iter().take(MAX_PIECES) {
        text.push_str(&format!("           {}\n", place(piece)));
    }
    if num_pieces > MAX_PIECES {
        let rest = num_pieces - MAX_PIECES;
        text.push_str(&format!("           and {rest} more; `localml verify --json` lists all\n"));
    }
    text
}

fn place(piece: &DamagedPiece) -> String {
    let DamagedPiece { offset, length, number } = piece;
    match number {
        Some(number) => format!("piece {number}: {length} bytes at {offset}"),
        None if *offset == 0 => format!("somewhere in its {length} bytes; no piece list of it is here"),
        None => format!("{length} bytes at {offset}, where the file should have ended"),
    }
}
