//! How much of a drill is done: a tenth in every test run, all of it by hand.

/// `full` when the environment says `LOCALML_DRILL=full`, else `tenth`.
pub(crate) fn rounds(tenth: usize, full: usize) -> usize {
    match std::env::var("LOCALML_DRILL") {
        Ok(value) if value == "full" => full,
        _ => tenth,
    }
}
