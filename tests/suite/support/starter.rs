//! The starter parts that `scripts/fetch-starter` made, where they are.

use std::path::{Path, PathBuf};

/// A folder with `lib/` and `all-minilm-l6-v2/`: `LOCALML_TEST_STARTER`, else `starter` in the target folder.
/// Says aloud when there is none.
pub(crate) fn starter() -> Option<PathBuf> {
    let folder = match std::env::var_os("LOCALML_TEST_STARTER") {
        Some(folder) => PathBuf::from(folder),
        // target/release/localml → target/starter
        None => Path::new(env!("CARGO_BIN_EXE_localml")).ancestors().nth(2)?.join("starter"),
    };
    if folder.join("all-minilm-l6-v2/model.onnx").is_file() {
        return Some(folder);
    }
    println!("skipped: no {}; `scripts/fetch-starter` makes it", folder.display());
    None
}
