//! The starter parts that `scripts/fetch-starter` made, where they are.

use std::path::{Path, PathBuf};

use super::publisher::Publisher;
use super::sandbox::Sandbox;
use super::skipped::skip;

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
    skip(&format!("{}: `scripts/fetch-starter` makes it", folder.display()));
    None
}

/// Installs the starter embedder into `home`, from a registry made on the spot; false when it is not here.
pub(crate) fn install_embedder(sandbox: &Sandbox, home: &str) -> bool {
    const FILES: [&str; 5] =
        ["model.onnx", "tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"];
    let Some(starter) = starter() else { return false };
    let manifest = include_str!("../../../scripts/starter/manifests/all-minilm-l6-v2/1.0.0.toml");
    let read =
        |name: &&'static str| (*name, std::fs::read(starter.join("all-minilm-l6-v2").join(name)).unwrap());
    let files: Vec<(&str, Vec<u8>)> = FILES.iter().map(read).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let publisher = Publisher::new(sandbox, "starter");
    publisher.add_manifest("all-minilm-l6-v2", "1.0.0", manifest, &files);
    publisher.publish();
    let registry = publisher.registry().canonicalize().unwrap();
    publisher.introduce(home, &format!("file://{}", registry.display()));
    sandbox.ok(home, &["install", "starter/all-minilm-l6-v2"]);
    std::os::unix::fs::symlink(starter.join("lib").canonicalize().unwrap(), sandbox.path(home).join("lib"))
        .unwrap();
    true
}
