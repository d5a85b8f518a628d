//! A manifest as a person writes it: what can be computed from the files may be left out.
//!
//! Besides what [`Manifest`] reads, a draft may have
//! * a file without `size_bytes` and `sha256`: they are taken from the file on disk;
//! * a file with `from = "path"`: where it lies, relative to the manifest's folder or the files' folder;
//! * a variant with `folder = "path"` instead of files: every file in it, by name.

use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::digest::Sha256;
use crate::package::{InvalidManifest, Manifest};

use crate::registry::error::{RegistryError, Result};

/// A manifest, and where its files lie on this disk.
pub(super) struct Draft {
    pub(super) manifest: Manifest,
    /// For each variant, for each file: the file, where it is here.
    pub(super) places: Vec<Vec<Option<PathBuf>>>,
}

/// Where files are looked for.
pub(super) struct Shelves<'a> {
    /// Big files, given by the publisher.
    pub(super) files: Option<&'a Path>,
    /// The registry's own blobs from an earlier build.
    pub(super) blobs: PathBuf,
}

/// Reads every manifest of `manifests/`: one folder a package, one file a version.
pub(super) fn read_all(manifests: &Path, shelves: &Shelves<'_>) -> Result<Vec<Draft>> {
    let mut drafts = Vec::new();
    for folder in sorted(manifests)?.into_iter().filter(|path| path.is_dir()) {
        for path in sorted(&folder)?.into_iter().filter(|path| is_toml(path)) {
            drafts.push(read(&path, &folder, shelves)?);
        }
    }
    Ok(drafts)
}

fn read(path: &Path, folder: &Path, shelves: &Shelves<'_>) -> Result<Draft> {
    let text = fs::read_to_string(path).map_err(|error| authoring(path, format!("not readable: {error}")))?;
    let invalid = |source: InvalidManifest| RegistryError::Manifest { path: path.to_owned(), source };
    let mut table: Table = toml::from_str(&text).map_err(|error| invalid(error.into()))?;
    let mut places = Vec::new();
    if let Some(Value::Array(variants)) = table.get_mut("variant") {
        for variant in variants.iter_mut().filter_map(Value::as_table_mut) {
            places.push(complete_variant(path, folder, variant, shelves)?);
        }
    }
    let manifest: Manifest =
        Value::Table(table).try_into().map_err(|error: toml::de::Error| invalid(error.into()))?;
    manifest.check().map_err(invalid)?;
    manifest.check_profile().map_err(invalid)?;
    check_place(path, folder, &manifest)?;
    Ok(Draft { manifest, places })
}

fn complete_variant(
    path: &Path,
    folder: &Path,
    variant: &mut Table,
    shelves: &Shelves<'_>,
) -> Result<Vec<Option<PathBuf>>> {
    expand_folder(path, folder, variant, shelves)?;
    let id = text_of(variant, "id");
    let mut places = Vec::new();
    let Some(Value::Array(files)) = variant.get_mut("file") else { return Ok(places) };
    for file in files.iter_mut().filter_map(Value::as_table_mut) {
        let place = find(folder, &id, file, shelves);
        complete_file(path, file, place.as_deref())?;
        places.push(place);
    }
    Ok(places)
}

/// Turns `folder = "…"` into one file entry for each file that lies there.
fn expand_folder(path: &Path, folder: &Path, variant: &mut Table, shelves: &Shelves<'_>) -> Result<()> {
    let Some(Value::String(relative)) = variant.remove("folder") else { return Ok(()) };
    let places = [Some(folder.join(&relative)), shelves.files.map(|files| files.join(&relative))];
    let Some(root) = places.into_iter().flatten().find(|place| place.is_dir()) else {
        return Err(authoring(path, format!("the folder `{relative}` is not there")));
    };
    // Absolute, since `from` is otherwise taken relative to the manifest's folder.
    let root = std::path::absolute(root).map_err(|error| authoring(path, error.to_string()))?;
    let mut found = Vec::new();
    walk(&root, &mut found)?;
    let files = found.iter().map(|place| {
        let relative = place.strip_prefix(&root).unwrap_or(place);
        let name: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let entry = [("path", name.join("/")), ("from", place.to_string_lossy().into_owned())];
        Value::Table(entry.map(|(key, text)| (key.to_owned(), Value::String(text))).into_iter().collect())
    });
    variant.insert("file".to_owned(), Value::Array(files.collect()));
    Ok(())
}

/// Every file below a folder, by name, without manifests and hidden files.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for path in sorted(folder)? {
        if path.is_dir() {
            walk(&path, found)?;
        } else if !is_toml(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn find(folder: &Path, variant: &str, file: &mut Table, shelves: &Shelves<'_>) -> Option<PathBuf> {
    let from = file.remove("from");
    let name = folder.file_name()?;
    let relative = text_of(file, "path");
    let mut places = Vec::new();
    match &from {
        Some(Value::String(from)) => {
            places.push(folder.join(from));
            places.extend(shelves.files.map(|files| files.join(from)));
        }
        _ => {
            if let Some(files) = shelves.files {
                places.push(files.join(name).join(variant).join(&relative));
                places.push(files.join(name).join(&relative));
            }
            places.push(folder.join(&relative));
        }
    }
    let digest = text_of(file, "sha256");
    if digest.parse::<Sha256>().is_ok() {
        places.push(shelves.blobs.join(digest));
    }
    places.into_iter().find(|place| place.is_file())
}

/// Fills in size and digest, or compares them with what the manifest says.
fn complete_file(path: &Path, file: &mut Table, place: Option<&Path>) -> Result<()> {
    let name = text_of(file, "path");
    let Some(place) = place else {
        if file.contains_key("sha256") && file.contains_key("size_bytes") {
            return Ok(());
        }
        return Err(authoring(path, format!("`{name}` has no digest, and the file is not on this disk")));
    };
    let mut reader =
        fs::File::open(place).map_err(|error| authoring(place, format!("not readable: {error}")))?;
    let (digest, size_bytes) =
        Sha256::of_reader(&mut reader).map_err(|error| authoring(place, format!("not readable: {error}")))?;
    let found = [
        ("sha256", Value::String(digest.to_string())),
        ("size_bytes", Value::Integer(i64::try_from(size_bytes).unwrap_or(i64::MAX))),
    ];
    for (key, value) in found {
        match file.get(key) {
            Some(said) if *said != value => {
                let reason = format!("`{name}` has {key} {said}, but `{}` has {value}", place.display());
                return Err(authoring(path, reason));
            }
            _ => file.insert(key.to_owned(), value),
        };
    }
    Ok(())
}

/// `manifests/NAME/VERSION.toml` must say the same inside.
fn check_place(path: &Path, folder: &Path, manifest: &Manifest) -> Result<()> {
    let package = &manifest.package;
    let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if folder_name != package.name.as_str() || stem != package.version.to_string() {
        let reason = format!("it belongs at `{}/{}.toml`", package.name, package.version);
        return Err(authoring(path, reason));
    }
    Ok(())
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).map_err(|error| authoring(folder, format!("not readable: {error}")))?;
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    Ok(paths)
}

fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

fn text_of(table: &Table, key: &str) -> String {
    table.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn authoring(path: &Path, reason: String) -> RegistryError {
    RegistryError::Authoring { path: path.to_owned(), reason }
}
