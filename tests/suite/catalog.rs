//! The catalog: generated from `manifests/`, committed in `registry/`, compiled into the program.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use localml::package::Manifest;
use localml::registry::{BuildOptions, catalog, check};

use crate::support::sandbox::{Sandbox, shared_data};

fn project(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

#[test]
fn registry_is_what_manifests_say() {
    let options = BuildOptions { manifests: project("manifests"), files: None, num_shards: None };
    let checked = check(&project("registry"), &options, &|_, _| Ok(Vec::new()));
    let built = checked.unwrap_or_else(|error| panic!("{error}; run `localml registry build`"));
    assert_eq!(built.num_packages, catalog().manifests().len(), "the program was built before the registry");
}

#[test]
fn every_index_file_is_compiled_in() {
    let code = fs::read_to_string(project("src/registry/catalog.rs")).unwrap();
    for entry in fs::read_dir(project("registry")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(code.contains(&format!("../../registry/{name}")), "`{name}` is not compiled in");
    }
}

#[test]
fn a_pinned_source_names_its_revision_and_an_unpinned_one_says_so() {
    for manifest in catalog().manifests() {
        for file in manifest.variants.iter().flat_map(|variant| &variant.files) {
            assert!(!file.sources.is_empty(), "{} has no source", manifest.package.name);
            for source in &file.sources {
                let revision =
                    source.split("/resolve/").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
                let is_commit = revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit());
                assert_eq!(is_commit, !file.unpinned, "{source}");
            }
        }
    }
}

#[test]
fn known_shapes_are_marked_as_assumed_and_consistent() {
    let catalog = catalog();
    let shapes: Vec<_> = catalog
        .manifests()
        .iter()
        .flat_map(|manifest| manifest.variants.iter().map(move |variant| (&manifest.package, variant)))
        .filter_map(|(package, variant)| Some((package, variant.shape.as_ref()?)))
        .collect();
    assert!(shapes.len() > 15);
    for (package, shape) in shapes {
        assert!(shape.assumed, "{}", package.name);
        assert_eq!(shape.num_heads % shape.num_kv_heads, 0, "{}", package.name);
        assert_eq!(package.context_tokens, Some(shape.context_tokens), "{}", package.name);
    }
}

#[test]
fn every_curated_file_stands_in_the_catalog_as_it_is() {
    let Some(path) = shared_data("catalog/curated-small-models.json") else { return };
    let curated: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let catalog = catalog();
    let by_digest: HashMap<String, &Manifest> = catalog
        .manifests()
        .iter()
        .flat_map(|manifest| manifest.variants.iter().map(move |variant| (manifest, variant)))
        .flat_map(|(manifest, variant)| {
            variant.files.iter().map(move |file| (file.sha256.to_string(), manifest))
        })
        .collect();
    for model in curated["models"].as_array().unwrap() {
        let digest = model["sha256"].as_str().unwrap();
        let manifest = by_digest.get(digest).unwrap_or_else(|| panic!("{} is missing", model["id"]));
        let files = manifest.variants.iter().flat_map(|variant| &variant.files);
        let file = files.clone().find(|file| file.sha256.to_string() == digest).unwrap();
        assert_eq!(Some(file.size_bytes), model["size_bytes"].as_u64(), "{}", model["id"]);
        assert!(file.sources.iter().any(|source| Some(source.as_str()) == model["url"].as_str()));
        let is_free = ["Apache-2.0", "MIT"].contains(&manifest.package.license.as_str());
        assert_eq!(is_free, !manifest.package.restricted, "{}", manifest.package.name);
    }
}

#[test]
fn a_fresh_machine_can_search_and_read_about_packages_offline() {
    let sandbox = Sandbox::new();
    let (code, found) = sandbox.json("home", &["--offline", "search", "speech-model", "swahili"]);
    assert_eq!(code, Some(0));
    assert!(found["packages"].as_array().unwrap().iter().any(|package| package["name"] == "whisper-tiny"));
    let text = sandbox.ok("home", &["--offline", "info", "qwen2.5-0.5b-instruct"]);
    assert!(text.contains("licence    Apache-2.0") && text.contains("491400032 bytes"), "{text}");
    let said = sandbox.run("home", &["info", "qwen2.5-0.5b-instuct"]).failed_with(3);
    assert!(said.contains("did you mean `qwen2.5-0.5b-instruct`"), "{said}");
    let nothing = sandbox.run("home", &["search", "no-such-thing"]);
    assert!(nothing.code == Some(3) && nothing.stdout.contains("localml find"), "{nothing:?}");
    assert!(!sandbox.path("home").exists(), "looking must not make a home");
}

#[test]
fn a_stale_registry_folder_is_named_by_check() {
    let sandbox = Sandbox::new();
    let manifest = fs::read(project("manifests/whisper-tiny/1.0.0.toml")).unwrap();
    sandbox.write("manifests/whisper-tiny/1.0.0.toml", &manifest);
    sandbox.ok("home", &["registry", "build"]);
    sandbox.ok("home", &["registry", "build", "--check"]);
    let changed = String::from_utf8(manifest).unwrap().replace("Whisper tiny", "Whisper, tiny");
    sandbox.write("manifests/whisper-tiny/1.0.0.toml", changed);
    let said = sandbox.run("home", &["registry", "build", "--check"]).failed_with(1);
    assert!(said.contains("index-00") && said.contains("run `localml registry build`"), "{said}");
}
