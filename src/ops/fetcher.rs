//! Where a registry's bytes come from: a folder, or the network through the transfer room.

use std::path::Path;

use url::Url;

use crate::error::ErrorKind;
use crate::progress::{Monitor, Task, Unit};
use crate::registry::{Fetch, FetchError, FolderFetch, RegistryError, WantedFile, public_address};
use crate::transfer::{Client, SmallFile, TransferError};

use super::error::{Error, Result};

/// Brings a registry's files: straight from a folder, or through the client.
pub(super) fn fetcher<'a>(
    url: &Url,
    client: &'a Client,
    monitor: &'a dyn Monitor,
) -> Result<Box<dyn Fetch + 'a>> {
    match url.to_file_path() {
        Ok(folder) if url.scheme() == "file" => Ok(Box::new(FolderFetch::new(folder))),
        _ => {
            let task = monitor.start("the list of packages", None, Unit::Bytes);
            Ok(Box::new(ClientFetch { base: url.clone(), client, monitor, task }))
        }
    }
}

/// An address from what a person typed: a URL, or a folder on this machine.
pub(super) fn address(text: &str) -> Result<Url> {
    let usage = |reason: String| Error::new(ErrorKind::Usage, reason);
    if let Ok(mut url) = Url::parse(text) {
        if !matches!(url.scheme(), "http" | "https" | "file") {
            let shown = public_address(&url);
            return Err(usage(format!("`{shown}`: only http, https and file addresses are known")));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        return Ok(url);
    }
    let folder = std::path::absolute(Path::new(text)).map_err(|error| usage(format!("`{text}`: {error}")))?;
    Url::from_directory_path(folder)
        .map_err(|()| usage(format!("`{text}` is neither an address nor a folder")))
}

/// True when asking for another registry would end the same way: the user, the budget or the clock said stop.
pub(super) fn ends_the_run(error: &RegistryError) -> bool {
    let RegistryError::Fetch { source, .. } = error else { return false };
    source.downcast_ref::<TransferError>().is_some_and(TransferError::ends_the_run)
}

/// Keeps the transfer's own kind and hint when that is what stopped a registry.
pub(super) fn explained(error: RegistryError) -> Error {
    match error {
        RegistryError::Fetch { registry, file, source } => match source.downcast::<TransferError>() {
            Ok(transfer) => Error::from(*transfer)
                .while_doing(format!("could not fetch `{file}` of the registry `{registry}`")),
            Err(source) => RegistryError::Fetch { registry, file, source }.into(),
        },
        other => other.into(),
    }
}

struct ClientFetch<'a> {
    base: Url,
    client: &'a Client,
    monitor: &'a dyn Monitor,
    /// A large registry has a thousand files; what matters is what they cost.
    task: Box<dyn Task + 'a>,
}

impl Fetch for ClientFetch<'_> {
    fn get(&self, path: &str, max_bytes: u64) -> std::result::Result<Option<Vec<u8>>, FetchError> {
        self.fetch(&SmallFile::at(&self.base.join(path)?, max_bytes))
    }

    fn bring(&self, file: &WantedFile<'_>) -> std::result::Result<Option<Vec<u8>>, FetchError> {
        self.fetch(&SmallFile {
            url: &self.base.join(file.path)?,
            max_bytes: file.max_bytes,
            length: file.length,
            is_right: Some(file.is_right),
            may_be_absent: file.may_be_absent,
        })
    }

    fn is_costly(&self) -> bool {
        true
    }
}

impl ClientFetch<'_> {
    fn fetch(&self, file: &SmallFile<'_>) -> std::result::Result<Option<Vec<u8>>, FetchError> {
        match self.client.get_small(file, self.monitor) {
            Ok(bytes) => {
                self.task.advance(bytes.len() as u64);
                Ok(Some(bytes))
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(Box::new(error)),
        }
    }
}
