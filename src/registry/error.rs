//! What can go wrong with a registry, told apart by what a person can do about it.

use std::path::PathBuf;

use crate::disk::DiskError;
use crate::error::{ErrorKind, Explain};
use crate::package::InvalidManifest;

/// An error of the registry room.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The disk did not do its part.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Nothing that a registry begins with was found.
    #[error("no registry at {place}: `{file}` is not there")]
    NotARegistry {
        /// Where it was looked for, with its kind: "`https://…`", "the folder `…`".
        place: String,
        /// The file that should have been there.
        file: String,
    },
    /// Nobody has said that this root is to be trusted.
    #[error("the registry `{name}` is not known here; its fingerprint is\n{}", in_short_and_full(.fingerprint))]
    UnknownRoot {
        /// What the registry calls itself.
        name: String,
        /// The sha256 of its first `root.json`, 64 hexadecimal digits.
        fingerprint: String,
    },
    /// The root is not the one whose fingerprint was given.
    #[error(
        "the registry `{name}` has another fingerprint than the one given:\n{}\nwas expected, but it is\n{}",
        .expected,
        in_short_and_full(.found)
    )]
    WrongFingerprint {
        /// What the registry is called here.
        name: String,
        /// What was given with `--fingerprint`, in groups.
        expected: String,
        /// The sha256 of the `1.root.json` that is there.
        found: String,
    },
    /// The text is not 24 to 64 hexadecimal digits, however grouped.
    #[error("`{text}` is not a fingerprint (24 or more hexadecimal digits, spaces allowed)")]
    NotAFingerprint {
        /// What was given.
        text: String,
    },
    /// A signed file does not hold: wrong key, changed bytes, or not of one piece with the others.
    #[error("the registry `{registry}` cannot be trusted: `{file}` {reason}")]
    Untrusted {
        /// The registry.
        registry: String,
        /// The file that failed.
        file: String,
        /// What is wrong with it, continuing the sentence.
        reason: String,
    },
    /// Signed, but older than what is known: someone shows the past.
    #[error("the registry `{registry}` offers an older `{file}` than the one known here: {reason}")]
    Rollback {
        /// The registry.
        registry: String,
        /// The file that is too old.
        file: String,
        /// Both versions.
        reason: String,
    },
    /// The copy of a registry on this disk is torn, changed or incomplete.
    #[error("the stored copy of the registry `{registry}` is damaged: `{file}` {reason}")]
    DamagedCopy {
        /// The registry.
        registry: String,
        /// The file.
        file: String,
        /// What is wrong with it, continuing the sentence.
        reason: String,
    },
    /// The record that says who the registry is cannot be read.
    #[error("the record of the registry `{registry}` is damaged: `registry.toml` {reason}")]
    DamagedRecord {
        /// The registry.
        registry: String,
        /// What is wrong with it, continuing the sentence.
        reason: String,
    },
    /// A signed file is absent.
    #[error("the registry `{registry}` is incomplete: `{file}` is not there")]
    Missing {
        /// The registry.
        registry: String,
        /// The file.
        file: String,
    },
    /// Bytes could not be brought.
    #[error("could not fetch `{file}` of the registry `{registry}`")]
    Fetch {
        /// The registry.
        registry: String,
        /// The file.
        file: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer localml wrote it.
    #[error("`{file}` has format {found}; this localml reads up to {known}")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// A registry of this name is already known.
    #[error("another registry is called `{name}` here")]
    AlreadyKnown {
        /// Its name.
        name: String,
    },
    /// The name stands for something else.
    #[error("the name `{name}` stands for the index inside this program")]
    ReservedName {
        /// The name.
        name: String,
    },
    /// No registry of this name.
    #[error("no registry `{name}` is known here")]
    NoSuchRegistry {
        /// The name that was asked for.
        name: String,
    },
    /// No package of this name.
    #[error("no package `{name}` in the catalog or any known registry")]
    NoSuchPackage {
        /// The name that was asked for.
        name: String,
        /// Names that look like it.
        near: Vec<String>,
    },
    /// The package has no such version or variant.
    #[error("`{package}` has no {what} `{wanted}`")]
    NoSuchPart {
        /// The package.
        package: String,
        /// `version` or `variant`.
        what: &'static str,
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: Vec<String>,
    },
    /// Two registries hold different packages of this name.
    #[error("`{name}` stands for different packages in {}", list(.registries))]
    Ambiguous {
        /// The name.
        name: String,
        /// The registries that hold it.
        registries: Vec<String>,
    },
    /// The publisher took it back.
    #[error("`{package}` was revoked by its publisher: {reason}")]
    Revoked {
        /// The package, with its version.
        package: String,
        /// The publisher's words.
        reason: String,
    },
    /// A manifest in `manifests/` is not usable.
    #[error("`{}`: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        source: InvalidManifest,
    },
    /// A manifest and its place, or its files, do not agree.
    #[error("`{}`: {reason}", path.display())]
    Authoring {
        /// The manifest or file.
        path: PathBuf,
        /// What is wrong, and with which part.
        reason: String,
    },
    /// What is generated differs from what lies there.
    #[error("`{}` is not what its manifests say: {} would change", folder.display(), list(.files))]
    OutOfDate {
        /// The registry's folder.
        folder: PathBuf,
        /// The files that would change.
        files: Vec<String>,
    },
    /// A version that readers may have would become something else.
    #[error("`{package}` is published, and {changed}")]
    PublishedChanged {
        /// The package, with its version.
        package: String,
        /// What would change.
        changed: String,
    },
    /// Keys and registry must not lie together.
    #[error("the keys' folder `{}` lies inside the registry `{}`", keys.display(), registry.display())]
    KeysInside {
        /// Where the keys would be.
        keys: PathBuf,
        /// The tree that is given away.
        registry: PathBuf,
    },
    /// A signing key is absent, unreadable or not the one that the root names.
    #[error("the key `{}` {reason}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What is wrong, continuing the sentence.
        reason: String,
    },
    /// A root or another file needs more signatures than there are keys.
    #[error(
        "`{role}` needs {needed} of the {num_named} keys that `{file}` names, and {num_found} of them can be used \
         from {}{}",
        list(.folders),
        also(.unreadable)
    )]
    TooFewKeys {
        /// The role that signs.
        role: String,
        /// The root that says so.
        file: String,
        /// How many keys must sign.
        needed: u64,
        /// How many keys may.
        num_named: usize,
        /// How many of them are here.
        num_found: usize,
        /// Where they were looked for.
        folders: Vec<String>,
        /// What is wrong with key files that could not be used.
        unreadable: Vec<String>,
    },
    /// A number of root keys, or how many must sign, that makes no sense.
    #[error(
        "{threshold} of {num_keys} root keys: there may be 1 to {max_keys}, and at most all of them must sign"
    )]
    Quorum {
        /// How many keys were asked for.
        num_keys: usize,
        /// How many of them would have to sign.
        threshold: usize,
        /// The most keys that there may be.
        max_keys: usize,
    },
    /// A rotation that would change no key and no number.
    #[error("nothing is to be replaced")]
    NothingToRotate,
    /// What a courier says, or the record of one, does not hold.
    #[error("`{file}` {reason}")]
    Statement {
        /// The file.
        file: String,
        /// What is wrong with it, continuing the sentence.
        reason: String,
    },
    /// The record of a courier is damaged.
    #[error("the record `{file}` of the courier `{name}` {reason}")]
    CourierRecord {
        /// The courier.
        name: String,
        /// The file.
        file: String,
        /// What is wrong with it, continuing the sentence.
        reason: String,
    },
    /// The key of this home's own courier is damaged.
    #[error("the courier's key `{}` {reason}", path.display())]
    DamagedCourierKey {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it, continuing the sentence.
        reason: String,
    },
    /// Another courier has this name here.
    #[error("another courier is called `{name}` here, with another key")]
    CourierKnown {
        /// The name.
        name: String,
    },
    /// No courier of this name is authorised.
    #[error("no courier `{name}` is authorised here")]
    NoSuchCourier {
        /// The name.
        name: String,
    },
    /// Something exists that must not be written over.
    #[error("`{}` already exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A date lies outside what can be written.
    #[error("the date {what} cannot be written")]
    Date {
        /// Which date.
        what: String,
    },
}

/// The result of this room.
pub type Result<T> = std::result::Result<T, RegistryError>;

impl Explain for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Disk(error) => error.kind(),
            Self::UnknownRoot { .. }
            | Self::WrongFingerprint { .. }
            | Self::Untrusted { .. }
            | Self::Rollback { .. }
            | Self::DamagedCopy { .. }
            | Self::DamagedRecord { .. }
            | Self::Missing { .. }
            | Self::Statement { .. }
            | Self::CourierRecord { .. }
            | Self::CourierKnown { .. }
            | Self::Revoked { .. } => ErrorKind::Untrusted,
            Self::DamagedCourierKey { .. } => ErrorKind::Damaged,
            Self::NotARegistry { .. }
            | Self::NoSuchRegistry { .. }
            | Self::NoSuchCourier { .. }
            | Self::NoSuchPackage { .. }
            | Self::NoSuchPart { .. } => ErrorKind::NotFound,
            Self::Fetch { .. } => ErrorKind::Network,
            Self::NotAFingerprint { .. }
            | Self::AlreadyKnown { .. }
            | Self::ReservedName { .. }
            | Self::Ambiguous { .. }
            | Self::Quorum { .. }
            | Self::NothingToRotate
            | Self::KeysInside { .. } => ErrorKind::Usage,
            Self::NewerFormat { .. }
            | Self::Manifest { .. }
            | Self::Authoring { .. }
            | Self::OutOfDate { .. }
            | Self::Key { .. }
            | Self::TooFewKeys { .. }
            | Self::PublishedChanged { .. }
            | Self::Exists { .. }
            | Self::Date { .. } => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::Untrusted { .. } | Self::Missing { .. } => Some(
                "nothing was changed here; if the publisher is updating it right now, try again in a minute, \
                 else ask the publisher"
                    .into(),
            ),
            Self::Rollback { .. } => {
                Some(
                    "nothing was changed here; a mirror or a stick may be out of date, or someone shows you the \
                     past: take a stick that is as new as what is known here, or `localml update`"
                        .into(),
                )
            }
            Self::UnknownRoot { name, .. } => Some(format!(
                "compare the fingerprint with the publisher, by telephone for example, then \
                 `localml registry add {name} URL --fingerprint …`"
            )),
            Self::WrongFingerprint { .. } => {
                Some("do not go on: ask the publisher, by telephone for example, which one is right".into())
            }
            Self::DamagedCopy { registry, .. } => {
                Some(format!(
                    "fetch it anew: `localml update {registry} --repair`, or without a network \
                     `localml import DIR` from a stick that carries it"
                ))
            }
            Self::DamagedRecord { registry, .. } => {
                Some(format!(
                    "add it anew: `localml registry add {registry} URL --fingerprint …`, or without a network \
                     `localml registry add {registry} DIR --fingerprint …` from a stick that carries it"
                ))
            }
            Self::NotARegistry { .. } => Some(
                "a registry is a folder with `1.root.json`, made by `localml registry init` and `registry sign`"
                    .into(),
            ),
            Self::NewerFormat { .. } => Some("a newer localml is needed to read it".into()),
            Self::AlreadyKnown { name } => Some(format!(
                "call the new one otherwise: `localml registry add OTHER-NAME …`; `localml update {name}` refreshes \
                 the one that is known"
            )),
            Self::ReservedName { .. } => {
                Some("call it otherwise: `localml registry add OTHER-NAME …`".into())
            }
            Self::NoSuchRegistry { .. } => Some("`localml registry add NAME URL --fingerprint …` adds one".into()),
            Self::NoSuchPackage { near, .. } if near.is_empty() => {
                Some("`localml search WORDS` looks in titles, kinds and languages too".into())
            }
            Self::NoSuchPackage { near, .. } => Some(format!("did you mean {}?", list(near))),
            Self::NoSuchPart { available, .. } => Some(format!("there is {}", list(available))),
            Self::Ambiguous { name, registries } => {
                let first = registries.first().map_or("REGISTRY", String::as_str);
                Some(format!("say which one, for example `{first}/{name}`"))
            }
            Self::Revoked { .. } => Some("`localml info` of the package lists its other versions".into()),
            _ => self.signing_hint(),
        }
    }
}

impl RegistryError {
    /// What someone who signs, or believes a courier, can do.
    fn signing_hint(&self) -> Option<String> {
        match self {
            Self::OutOfDate { .. } => Some("run `localml registry build` and commit what it writes".into()),
            Self::TooFewKeys { role, .. } if role == "root" => Some(
                "name every folder that holds one, with more `--keys`; without enough of them the registry can only \
                 begin anew, under another fingerprint: `localml registry init`"
                    .into(),
            ),
            Self::TooFewKeys { .. } => Some(
                "name every folder that holds one, with more `--keys`; a lost key is replaced with \
                 `localml registry rotate REGISTRY --keys DIR --replace missing`"
                    .into(),
            ),
            Self::NothingToRotate => {
                Some("say what: `--replace missing`, `--replace targets`, `--root-keys N` or `--threshold N`".into())
            }
            Self::CourierKnown { name } => Some(format!(
                "ask the courier whether the key was made anew; `localml courier withdraw {name}` makes room for it"
            )),
            Self::CourierRecord { name, .. } => Some(format!(
                "`localml courier withdraw {name}` removes the record; `localml import DIR --courier FINGERPRINT` \
                 authorises the courier again"
            )),
            Self::NoSuchCourier { .. } => Some("`localml courier list` shows who is".into()),
            Self::PublishedChanged { .. } => {
                Some("sites that have it would never see the change: describe it as a new version".into())
            }
            Self::KeysInside { .. } => {
                Some("give `--keys` a folder elsewhere: what lies in the registry is given away".into())
            }
            _ => self.key_hint(),
        }
    }

    /// What someone whose key is damaged, or in the way, can do.
    fn key_hint(&self) -> Option<String> {
        match self {
            Self::DamagedCourierKey { .. } => Some(
                "restore it from a copy, or move it away: `localml export DIR --sign` then makes a new key, which has \
                 another fingerprint, and every keeper authorises it anew"
                    .into(),
            ),
            Self::Exists { path } if path.extension().is_some_and(|ending| ending == "pk8") => Some(
                "give `--keys` another folder; only keys of a `registry init` that was stopped before it wrote \
                 `1.root.json` belong to no registry, and may be deleted"
                    .into(),
            ),
            Self::Exists { .. } => Some(
                "the registry has its root: `localml registry build` and `registry sign` go on with it; a new one \
                 needs another folder"
                    .into(),
            ),
            _ => None,
        }
    }
}

/// A fingerprint in groups of four, eight groups a line: short enough to read over the telephone.
pub(crate) fn grouped(hex: &str) -> String {
    let digits: Vec<char> = hex.chars().collect();
    let groups: Vec<String> = digits.chunks(4).map(|group| group.iter().collect()).collect();
    let lines: Vec<String> = groups.chunks(8).map(|line| format!("  {}", line.join(" "))).collect();
    lines.join("\n")
}

/// A fingerprint to be read aloud, and below it the whole of it for programs.
pub(crate) fn in_short_and_full(hex: &str) -> String {
    format!("{}\n  in full {hex}", grouped(hex.get(..24).unwrap_or(hex)))
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// What else was found, in brackets.
fn also(remarks: &[String]) -> String {
    if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join("; ")) }
}
