//! What a machine has no means for is skipped, and said where a person sees it.

use std::io::Write as _;

/// Names the file in which `scripts/test` collects what was skipped, a line each.
const LIST: &str = "LOCALML_SKIPPED";

/// Says aloud what is not tested here, and why. The test harness shows the output of a test that passes
/// to nobody, so it is also written down for the end of `scripts/test`.
pub(crate) fn skip(what: &str) {
    println!("SKIPPED: {what}");
    let Some(list) = std::env::var_os(LIST) else { return };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
    // One write, so that tests that run at the same time do not mix their lines.
    file.write_all(format!("{}\n", what.replace('\n', " ")).as_bytes()).unwrap();
}
