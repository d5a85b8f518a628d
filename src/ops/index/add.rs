//! `index add`: folders, files and installed packages become a collection.

use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::home::Home;
use crate::index::{Collection, Update};
use crate::ops::embedding::Embedders;
use crate::ops::error::{Error, Result, While as _};
use crate::ops::path::check_usable;
use crate::ops::site;
use crate::package::{Kind, Name};
use crate::progress::Monitor;

use super::names::{check_name, collection_names, folder_of, name_from};
use super::read::chunking;
use super::refresh::{IndexReport, finish};

/// What to index.
#[derive(Debug, Clone, Default)]
pub struct IndexAddOptions {
    /// Folders, files, or names of installed packages.
    pub paths: Vec<PathBuf>,
    /// The collection; made of the first path's name when it is not given.
    pub name: Option<String>,
}

/// Indexes documents; they can be found by words when the reading is done, by meaning when all vectors are.
///
/// # Errors
/// When a path does not exist, the name cannot be one, or the disk is full.
pub fn index_add(
    home: &Home,
    options: &IndexAddOptions,
    embedders: &mut Embedders,
    monitor: &dyn Monitor,
) -> Result<IndexReport> {
    let sources: Vec<Source> =
        options.paths.iter().map(|path| Source::find(home, path)).collect::<Result<_>>()?;
    let Some(first) = sources.first() else {
        return Err(Error::new(ErrorKind::Usage, "there is nothing to index"));
    };
    let name = match &options.name {
        Some(name) => name.clone(),
        None => free_name(home, first)?,
    };
    check_name(&name)?;
    let mut update = Update::begin(&folder_of(home, &name), &name, chunking())
        .while_doing(|| format!("could not index `{name}`"))?;
    for source in &sources {
        let is_file = source.path.is_file();
        update.roots_mut().add(&source.path, is_file, source.package.clone());
    }
    finish(home, &name, update, embedders, monitor)
}

/// Something to index.
struct Source {
    path: PathBuf,
    package: Option<String>,
}

impl Source {
    fn find(home: &Home, path: &Path) -> Result<Self> {
        if let Ok(absolute) = std::fs::canonicalize(path) {
            return Ok(Self { path: absolute, package: None });
        }
        let text = path.to_string_lossy();
        if let Some(folder) = package_folder(home, &text)? {
            return Ok(Self { path: folder, package: Some(text.into_owned()) });
        }
        Err(Error::new(
            ErrorKind::NotFound,
            format!("`{text}` is neither a file or folder nor an installed package"),
        )
        .with_hint("`localml list` shows the installed packages"))
    }
}

/// Where the documents of an installed knowledge package lie; `None` when there is no such package. One that was
/// found damaged is refused: what it lacks now would count as deleted.
pub(super) fn package_folder(home: &Home, name: &str) -> Result<Option<PathBuf>> {
    let Ok(name) = name.parse::<Name>() else { return Ok(None) };
    let store = site::store(home);
    let Some(installed) = store.find(&name)? else { return Ok(None) };
    if installed.manifest.package.kind != Kind::Knowledge {
        let kind = installed.manifest.package.kind;
        return Err(Error::new(
            ErrorKind::Usage,
            format!("`{name}` is of the kind `{kind}`, not `knowledge`"),
        )
        .with_hint("only knowledge packages hold documents"));
    }
    check_usable(&store, &installed, installed.files())?;
    Ok(Some(store.package_folder(&installed)))
}

/// The name made of the path; where another collection has it, with a number.
fn free_name(home: &Home, source: &Source) -> Result<String> {
    let base = source.package.clone().unwrap_or_else(|| name_from(&source.path));
    let known = collection_names(home)?;
    let is_ours = |name: &str| {
        Collection::open(&folder_of(home, name)).is_ok_and(|collection| {
            collection.roots().roots.iter().any(|root| match &source.package {
                Some(_) => root.package == source.package,
                None => root.path == source.path,
            })
        })
    };
    let numbered = (2_usize..).map(|count| format!("{base}-{count}"));
    let mut candidates = std::iter::once(base.clone()).chain(numbered);
    Ok(candidates.find(|name| !known.contains(name) || is_ours(name)).unwrap_or(base))
}
