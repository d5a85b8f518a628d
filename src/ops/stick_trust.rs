//! The trust that a stick carries, judged by what is known here: newer is taken, older ignored,
//! damaged or forged refused, unknown shown by its fingerprint.

use serde::Serialize;

use crate::bundle::{Remark, Stick, TrustSets};
use crate::digest::Sha256;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::Name;
use crate::registry::{
    self, Addition, CATALOG, Fingerprint, Known, Outcome, RegistryError, short_fingerprint, show_fingerprint,
    show_full_fingerprint,
};

use super::carried::{Carried, registries_in};
use super::error::{Error, Result, While as _};
use super::kit_import::TrustedByKit;

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
    /// True when another registry has this name here.
    pub is_name_taken: bool,
}

/// What the trust files of a stick came to.
#[derive(Default)]
pub(super) struct Brought {
    pub(super) registries: Vec<ImportedTrust>,
    pub(super) unknown_roots: Vec<UnknownRoot>,
    pub(super) trusted_by_kit: Vec<TrustedByKit>,
    pub(super) remarks: Vec<Remark>,
}

/// Brings known registries up to date from every trust set on the stick.
///
/// # Errors
/// `Untrusted` when a set is damaged, or a known registry's files on the stick do not hold.
pub(super) fn update_from(stick: &Stick, home: &Home) -> Result<Brought> {
    let TrustSets { sets, damaged, remarks } = stick.trust_sets();
    if let Some(error) = damaged.into_iter().next() {
        return Err(error.into());
    }
    let known = registry::known(&home.registries())?;
    let mut brought = Brought { remarks, ..Brought::default() };
    for carried in sets.into_iter().flat_map(registries_in) {
        let Some(fingerprint) = carried.fingerprint() else {
            continue;
        };
        match known.iter().find(|known| known.fingerprint == fingerprint) {
            Some(known) => note(&mut brought.registries, known, update(known, &carried)?),
            None if brought.unknown_roots.iter().any(|other| other.fingerprint == fingerprint) => {}
            None => {
                let is_name_taken = is_taken(&carried.name, &known);
                brought.unknown_roots.push(UnknownRoot { name: carried.name, fingerprint, is_name_taken });
            }
        }
    }
    Ok(brought)
}

fn update(known: &Known, carried: &Carried) -> Result<Outcome> {
    let updated = match registry::update_from_stick(&known.folder, carried) {
        // A site without a network has no other place to heal its copy from.
        Err(RegistryError::DamagedCopy { .. }) => registry::repair(&known.folder, carried),
        done => done,
    };
    let updated = updated
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
/// `Untrusted` when no registry on the stick has this fingerprint, or the files of a new one do not hold; `Damaged`
/// or `NotFound` when none can be read, so that there was nothing to compare with.
pub(super) fn accept(stick: &Stick, home: &Home, told: &Fingerprint) -> Result<()> {
    let mut found: Vec<String> = Vec::new();
    let known = registry::known(&home.registries())?;
    let TrustSets { sets, damaged, remarks } = stick.trust_sets();
    for carried in sets.into_iter().flat_map(registries_in) {
        match carried.fingerprint() {
            // Accepted before; `update_from` judges whether the stick is newer.
            Some(other) if told.matches(&other) && known.iter().any(|known| known.fingerprint == other) => {
                return Ok(());
            }
            Some(other) if told.matches(&other) && is_taken(&carried.name, &known) => {
                let message = format!("another registry is called `{}` here", carried.name);
                let hint = add_as_other(stick, &other);
                return Err(
                    Error::new(ErrorKind::Usage, message).with_hint(format!("{hint}, then import again"))
                );
            }
            Some(other) if told.matches(&other) => return add(home, other, &carried),
            Some(other) => found.push(format!("`{}`:\n{}", carried.name, show_fingerprint(&other))),
            None => {}
        }
    }
    if let Some(error) = damaged.into_iter().next() {
        return Err(error.into());
    }
    found.dedup();
    if found.is_empty() {
        return Err(none_readable(&remarks));
    }
    let message =
        format!("no registry on this stick has the fingerprint given; on it is {}", found.join("\nand "));
    Err(Error::new(ErrorKind::Untrusted, message)
        .with_hint("do not go on: ask the publisher, by telephone for example, which fingerprint is right"))
}

/// The error of a stick with no registry to compare the fingerprint with, which may well be right.
fn none_readable(remarks: &[Remark]) -> Error {
    let error = match remarks.is_empty() {
        true => Error::new(ErrorKind::NotFound, "there is no registry on this stick"),
        false => {
            let remarks: Vec<String> = remarks.iter().map(ToString::to_string).collect();
            let message = format!("no registry on this stick can be read: {}", remarks.join("; "));
            Error::new(ErrorKind::Damaged, message)
        }
    };
    error.with_hint("export to the stick again, or use another copy of it")
}

fn add(home: &Home, fingerprint: Sha256, carried: &Carried) -> Result<()> {
    let untrusted = |reason: String| Error::new(ErrorKind::Untrusted, reason);
    let name: Name = carried.name.parse().map_err(|error| untrusted(format!("{error}")))?;
    let address = carried.address();
    let url =
        address.ok_or_else(|| untrusted(format!("the stick names no address of the registry `{name}`")))?;
    let folder = home.registries().join(name.as_str());
    let fingerprint = Some(fingerprint.into());
    registry::add(&folder, &Addition { name, url, fingerprint, vouched_by: None }, carried)?;
    Ok(())
}

fn is_taken(name: &str, known: &[Known]) -> bool {
    name == CATALOG || known.iter().any(|known| known.name.as_str() == name)
}

/// What a person calls the stick.
fn folder_of(stick: &Stick) -> String {
    let parent = stick.root().parent().map(|folder| folder.display().to_string());
    quoted(parent.filter(|folder| !folder.is_empty()).unwrap_or_else(|| ".".to_owned()))
}

/// A path as it is typed: many sticks have a name with a space.
fn quoted(path: String) -> String {
    let is_plain = |it: char| it.is_alphanumeric() || matches!(it, '/' | '\\' | ':' | '.' | '-' | '_' | '+');
    if path.chars().all(is_plain) { path } else { format!("\"{path}\"") }
}

/// The command that gives a registry of the stick another name than its carrier did.
fn add_as_other(stick: &Stick, fingerprint: &Sha256) -> String {
    let (folder, short) = (folder_of(stick), short_fingerprint(fingerprint));
    format!("`localml registry add OTHER-NAME {folder} --fingerprint {short}`")
}

/// The error that an unknown root ends with.
pub(super) fn unknown(stick: &Stick, root: &UnknownRoot) -> Error {
    let message = format!(
        "the packages on this stick come from the registry `{}`, which is not known here; its fingerprint is\n{}",
        root.name,
        show_full_fingerprint(&root.fingerprint)
    );
    let command = if root.is_name_taken {
        format!(
            "{}, since another registry is called `{}` here",
            add_as_other(stick, &root.fingerprint),
            root.name
        )
    } else {
        let (folder, short) = (folder_of(stick), short_fingerprint(&root.fingerprint));
        format!("`localml import {folder} --fingerprint {short}`")
    };
    Error::new(ErrorKind::Untrusted, message).with_hint(format!(
        "compare the fingerprint with the publisher, by telephone for example; if all of it agrees, {command}"
    ))
}
