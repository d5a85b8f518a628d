//! `path`: where an installed package's files lie, so that other programs can open them.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{FileEntry, PackageRef};
use crate::store::{Installed, Store, StoreError};

use super::error::{Error, Result};
use super::site;

/// Where a package lies.
#[derive(Debug, Serialize)]
pub struct PathReport {
    /// The only file of a package that has one, the file asked for, or the package's folder.
    pub path: PathBuf,
    /// All its files.
    pub files: Vec<PathBuf>,
}

/// Finds an installed package's files; `file` picks one of them by its name in the package.
///
/// # Errors
/// When the package, this version or variant of it, or the file is not here, or what is asked for was found damaged.
pub fn path(home: &Home, package: &PackageRef, file: Option<&str>) -> Result<PathReport> {
    let store = site::store(home);
    let installed = find_installed(&store, package)?;
    let folder = store.package_folder(&installed);
    let files: Vec<PathBuf> =
        installed.files().iter().map(|entry| folder.join(entry.path.to_path())).collect();
    let path = match (file, files.as_slice()) {
        (Some(wanted), _) => {
            let position = installed.files().iter().position(|entry| entry.path.as_str() == wanted);
            let index = position.ok_or_else(|| no_such_file(&installed, wanted))?;
            check_usable(&store, &installed, &installed.files()[index..=index])?;
            files[index].clone()
        }
        (None, [only]) => only.clone(),
        (None, _) => folder,
    };
    if file.is_none() {
        check_usable(&store, &installed, installed.files())?;
    }
    Ok(PathReport { path, files })
}

/// Fails unless files of an installed package lie under their names, with bytes that are in use. Nothing is hashed:
/// what was found damaged is out of use.
///
/// # Errors
/// `Damaged`, with the command that brings the bytes again.
pub(super) fn check_usable(store: &Store, installed: &Installed, files: &[FileEntry]) -> Result<()> {
    let Some(file) = files.iter().find(|file| !store.is_usable(installed, file)) else { return Ok(()) };
    let name = installed.name();
    let message = match store.blob_path(&file.sha256, file.size_bytes) {
        Some(_) => format!("`{}` of `{name}` has lost its name", file.path),
        None => format!("`{}` of `{name}` is damaged, and out of use", file.path),
    };
    Err(Error::new(ErrorKind::Damaged, message).with_hint(mending(installed)))
}

/// How a package becomes whole again.
pub(super) fn mending(installed: &Installed) -> String {
    format!("`localml repair {}` brings what is damaged of it, and nothing else", installed.name())
}

/// Finds the installed package and the fetched builds that a reference means, the installed one first.
///
/// # Errors
/// When none is here, or a record is damaged.
pub(super) fn held_all(store: &Store, package: &PackageRef) -> Result<Vec<Installed>> {
    let fetched = store.fetched_of(&package.name)?.into_iter().filter(|fetched| is_meant(fetched, package));
    let fetched: Vec<Installed> = fetched.collect();
    match find_installed(store, package) {
        Ok(installed) => Ok([vec![installed], fetched].concat()),
        Err(error) if error.kind() == ErrorKind::NotFound && !fetched.is_empty() => Ok(fetched),
        Err(error) => Err(error),
    }
}

/// Finds the installed package that a reference means; version and variant must match where given.
pub(super) fn find_installed(store: &Store, package: &PackageRef) -> Result<Installed> {
    let not_here = || Error::from(StoreError::NotInstalled { name: package.name.clone() });
    let installed = store.find(&package.name)?.ok_or_else(not_here)?;
    if is_meant(&installed, package) {
        return Ok(installed);
    }
    let version = &installed.manifest.package.version;
    let message =
        format!("`{package}` is not installed; `{}@{version}:{}` is", package.name, installed.variant);
    Err(Error::new(ErrorKind::NotFound, message))
}

/// True when a record has the version and build that a reference names.
pub(super) fn is_meant(installed: &Installed, package: &PackageRef) -> bool {
    let version = &installed.manifest.package.version;
    package.version.as_ref().is_none_or(|wanted| wanted == version)
        && package.variant.as_ref().is_none_or(|wanted| *wanted == installed.variant)
}

fn no_such_file(installed: &Installed, wanted: &str) -> Error {
    let names: Vec<&str> = installed.files().iter().map(|entry| entry.path.as_str()).collect();
    Error::new(ErrorKind::NotFound, format!("`{}` has no file `{wanted}`", installed.name()))
        .with_hint(format!("its files are {}", names.join(", ")))
}
