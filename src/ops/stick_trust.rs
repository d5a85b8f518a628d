//! The trust that a stick carries, judged by what is known here: newer is taken, older ignored,
//! damaged or forged refused, unknown shown by its fingerprint.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::bundle::{Stick, TrustSet};
use crate::digest::Sha256;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::Name;
use crate::registry::{self, Addition, Fetch, FetchError, Known, Outcome, Updated, show_fingerprint};

use super::error::{Error, Result, While as _};

/// The longest record of a registry that is read from a stick, in bytes.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// What a stick did to one registry known here.
#[derive(Debug, Serialize)]
pub struct ImportedTrust {
    /// What it is called here.
    pub name: Name,
    /// What changed.
    pub outcome: Outcome,
}

/// A registry on a stick that nobody here accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnknownRoot {
    /// What the stick calls it.
    pub name: String,
    /// The sha256 of its first root.
    pub fingerprint: Sha256,
    /// Where in `LOCALML` it lies.
    pub file: String,
}

/// Brings known registries up to date from every trust set on the stick.
///
/// # Errors
/// `Untrusted` when a set is damaged, or a known registry's files on the stick do not hold.
pub(super) fn update_from(stick: &Stick, home: &Home) -> Result<(Vec<ImportedTrust>, Vec<UnknownRoot>)> {
    let (sets, damaged) = stick.trust_sets();
    if let Some(error) = damaged.into_iter().next() {
        return Err(error.into());
    }
    let known = registry::known(&home.registries())?;
    let mut imported: Vec<ImportedTrust> = Vec::new();
    let mut unknown: Vec<UnknownRoot> = Vec::new();
    for set in &sets {
        for prefix in registries_in(set) {
            let fetch = SetFetch { set, prefix: &prefix };
            let Ok(fingerprint) = registry::fingerprint_of(&prefix, &fetch) else {
                continue;
            };
            match known.iter().find(|known| known.fingerprint == fingerprint) {
                Some(known) => note(&mut imported, known, update(known, &fetch)?),
                None => {
                    let root = UnknownRoot { name: prefix, fingerprint, file: set.path().to_owned() };
                    if unknown.iter().all(|other| other.fingerprint != root.fingerprint) {
                        unknown.push(root);
                    }
                }
            }
        }
    }
    Ok((imported, unknown))
}

fn update(known: &Known, fetch: &SetFetch<'_>) -> Result<Outcome> {
    let updated = registry::update_from_stick(&known.folder, fetch)
        .while_doing(|| format!("the stick's copy of the registry `{}` cannot be trusted", known.name))?;
    Ok(updated.outcome)
}

/// Several sets may bring one registry; anything newer is the news.
fn note(imported: &mut Vec<ImportedTrust>, known: &Known, outcome: Outcome) {
    match imported.iter_mut().find(|entry| entry.name == known.name) {
        Some(entry) if outcome == Outcome::Newer => entry.outcome = outcome,
        Some(_) => {}
        None => imported.push(ImportedTrust { name: known.name.clone(), outcome }),
    }
}

/// Accepts a registry that the stick carries, by the fingerprint that a person compared.
///
/// Its address for later refreshes comes from the stick too: whoever answers there must have its keys.
///
/// # Errors
/// `Untrusted` when no registry on the stick has this fingerprint, or its files do not hold.
pub(super) fn accept(
    stick: &Stick,
    home: &Home,
    name: Option<&Name>,
    fingerprint: &Sha256,
) -> Result<Updated> {
    let (sets, damaged) = stick.trust_sets();
    if let Some(error) = damaged.into_iter().next() {
        return Err(error.into());
    }
    let mut found = Vec::new();
    for set in &sets {
        for prefix in registries_in(set) {
            let fetch = SetFetch { set, prefix: &prefix };
            match registry::fingerprint_of(&prefix, &fetch) {
                Ok(other) if other == *fingerprint => return add(home, name, *fingerprint, &fetch),
                Ok(other) => found.push(format!("`{prefix}`:\n{}", show_fingerprint(&other))),
                Err(_) => {}
            }
        }
    }
    found.dedup();
    let message = match found.is_empty() {
        true => "there is no registry on this stick".to_owned(),
        false => {
            format!("no registry on this stick has the fingerprint given; on it is {}", found.join("\nand "))
        }
    };
    Err(Error::new(ErrorKind::Untrusted, message)
        .with_hint("do not go on: ask the publisher, by telephone for example, which fingerprint is right"))
}

fn add(home: &Home, name: Option<&Name>, fingerprint: Sha256, fetch: &SetFetch<'_>) -> Result<Updated> {
    let name = match name {
        Some(name) => name.clone(),
        None => fetch.prefix.parse().map_err(|error| Error::new(ErrorKind::Untrusted, format!("{error}")))?,
    };
    let folder = home.registries().join(name.as_str());
    let addition = Addition { name, url: fetch.address()?, fingerprint: Some(fingerprint) };
    Ok(registry::add(&folder, &addition, fetch)?)
}

/// The error that an unknown root ends with.
pub(super) fn unknown(root: &UnknownRoot) -> Error {
    let message = format!(
        "the packages on this stick come from the registry `{}`, which is not known here; its fingerprint is\n{}",
        root.name,
        show_fingerprint(&root.fingerprint)
    );
    Error::new(ErrorKind::Untrusted, message).with_hint(format!(
        "compare the fingerprint with the publisher, by telephone for example; if all of it agrees, \
         `localml import DIR --fingerprint {}`",
        root.fingerprint
    ))
}

/// The first part of the set's names.
fn registries_in(set: &TrustSet) -> Vec<String> {
    let mut registries: Vec<String> =
        set.names().filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect();
    registries.dedup();
    registries
}

/// Reads one registry's files out of a trust set.
struct SetFetch<'a> {
    set: &'a TrustSet,
    prefix: &'a str,
}

/// What is read of the record that the exporter kept.
#[derive(Deserialize)]
struct CarriedRecord {
    url: String,
}

impl SetFetch<'_> {
    /// Where the exporter refreshed the registry from.
    fn address(&self) -> Result<Url> {
        let name = format!("{}/registry.toml", self.prefix);
        let bytes = self.set.read(&name, MAX_RECORD_BYTES)?.unwrap_or_default();
        let record =
            std::str::from_utf8(&bytes).ok().and_then(|text| toml::from_str::<CarriedRecord>(text).ok());
        record.and_then(|record| Url::parse(&record.url).ok()).ok_or_else(|| {
            Error::new(ErrorKind::Untrusted, format!("`{}`: `{name}` names no address", self.set.path()))
        })
    }
}

impl Fetch for SetFetch<'_> {
    fn get(&self, path: &str, max_bytes: u64) -> std::result::Result<Option<Vec<u8>>, FetchError> {
        Ok(self.set.read(&format!("{}/{path}", self.prefix), max_bytes)?)
    }
}
