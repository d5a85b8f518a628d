//! The site's profile, `profile.toml` in the home: what a kit set, and what its keeper changed since.
//!
//! ```toml
//! languages = ["en", "sw"]          # these lines are the settings; a keeper may change them
//! [roles]
//! chat_model = "qwen2.5-1.5b-instruct"
//! [collections]
//! handbook = ["localml-handbook"]
//! [kit]                             # who set the site up, and to what: it tells a keeper's lines from a kit's
//! name = "clinic-kit"
//! version = "1.0.0"
//! [kit.set]
//! …
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind as ErrorCause;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Manifest, Name, PackageRef, Roles, Version};
#[cfg(any(feature = "onnx", feature = "engine"))]
use crate::progress::Monitor;

use super::error::{Error, Result};
use super::site;

/// The tables whose entries are settings.
const SECTIONS: [&str; 2] = ["roles", "collections"];

/// What stands above the settings.
const HEADING: &str = "\
# How this site is set up. Change the settings as you like: a later kit leaves them, and says so.
";

/// The kit that set a site up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteKit {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
}

/// How this site is set up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct SiteProfile {
    #[serde(default)]
    pub(super) kit: Option<SiteKit>,
    #[serde(default)]
    pub(super) roles: Roles,
    #[serde(default)]
    pub(super) collections: BTreeMap<Name, Vec<PackageRef>>,
}

/// One setting that a kit and a keeper, or two kits, see differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// The setting, for example `roles.chat_model`.
    pub setting: String,
    /// What stood there; nothing when it was not set.
    pub old: Option<String>,
    /// What the kit says; nothing when it says nothing.
    pub new: Option<String>,
}

/// What a kit did to the profile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// The kit that had set the site up before, when it was another one or another version.
    pub(super) replaced: Option<SiteKit>,
    /// What an earlier kit had set and this one changed.
    pub(super) changed: Vec<SettingChange>,
    /// What the keeper had set, and what therefore stays.
    pub(super) kept: Vec<SettingChange>,
}

impl SiteKit {
    /// What the site is called after: `clinic` for `clinic-kit`.
    pub fn site(&self) -> &str {
        self.name.as_str().strip_suffix("-kit").unwrap_or(self.name.as_str())
    }
}

/// Reads how this site is set up; nothing is set when no kit came and nobody wrote the file.
///
/// # Errors
/// `Damaged` when the file is not what it should be.
pub(super) fn read(home: &Home) -> Result<SiteProfile> {
    Value::Table(read_table(home)?)
        .try_into()
        .map_err(|error: toml::de::Error| damaged(home, error.message()))
}

/// As `read`, for who can do without: a damaged file is told of, and counts as none.
///
/// # Errors
/// When the disk fails.
#[cfg(any(feature = "onnx", feature = "engine"))]
pub(super) fn read_or_default(home: &Home, monitor: &dyn Monitor) -> Result<SiteProfile> {
    match read(home) {
        Err(error) if error.kind() == ErrorKind::Damaged => {
            monitor.warn(&format!("this goes on without the settings of this site: {}", error.in_one_line()));
            Ok(SiteProfile::default())
        }
        profile => profile,
    }
}

/// Sets the site up as a kit says. What the keeper set stays; all differences are in the answer.
///
/// # Errors
/// `Damaged` when the file is not what it should be; when the disk fails.
pub(super) fn apply(home: &Home, kit: &Manifest) -> Result<Applied> {
    let Some(profile) = &kit.profile else { return Ok(Applied::default()) };
    let mut table = read_table(home)?;
    let (before, set) = (read(home)?.kit, set_by_kit(&table));
    let failed = |error: toml::ser::Error| Error::new(ErrorKind::Failed, error.to_string());
    let mut wanted = Table::try_from(profile).map_err(failed)?;
    wanted.remove("registry");
    let (new, last, mine) = (settings(&wanted), settings(&set), settings(&table));
    let mut applied = Applied::default();
    let all: BTreeSet<&Key> = new.keys().chain(last.keys()).collect();
    for key in all {
        let (new, last, mine) = (new.get(key), last.get(key), mine.get(key));
        if new == mine {
            continue;
        }
        let shown = |value: Option<&Value>| value.map(ToString::to_string);
        let change = SettingChange { setting: key.shown(), old: shown(mine), new: shown(new) };
        if mine == last {
            put(&mut table, key, new.cloned());
            applied.changed.extend(mine.is_some().then_some(change));
        } else {
            applied.kept.push(change);
        }
    }
    let now = SiteKit { name: kit.package.name.clone(), version: kit.package.version.clone() };
    let mut stamp = Table::try_from(&now).map_err(failed)?;
    stamp.insert("set".into(), Value::Table(wanted));
    disk::write_atomic(&home.profile(), to_text(table, stamp).map_err(failed)?.as_bytes())?;
    applied.replaced = before.filter(|before| *before != now);
    Ok(applied)
}

/// The settings first, where a keeper looks for them; the kit's stamp below.
fn to_text(mut table: Table, stamp: Table) -> std::result::Result<String, toml::ser::Error> {
    table.remove("kit");
    let stamp = Table::from_iter([("kit".to_owned(), Value::Table(stamp))]);
    Ok(format!("{HEADING}{}\n{}", toml::to_string(&table)?, toml::to_string(&stamp)?))
}

/// A setting: an entry of a table, or one that stands alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    section: Option<&'static str>,
    name: String,
}

impl Key {
    fn shown(&self) -> String {
        self.section.map_or_else(|| self.name.clone(), |section| format!("{section}.{}", self.name))
    }
}

fn settings(table: &Table) -> BTreeMap<Key, Value> {
    let alone = table.get("languages").map(|value| (Key { section: None, name: "languages".into() }, value));
    let entries = SECTIONS.into_iter().flat_map(|section| {
        let entries = table.get(section).and_then(Value::as_table).into_iter().flatten();
        entries.map(move |(name, value)| (Key { section: Some(section), name: name.clone() }, value))
    });
    alone.into_iter().chain(entries).map(|(key, value)| (key, value.clone())).collect()
}

fn put(table: &mut Table, key: &Key, value: Option<Value>) {
    let table = match key.section {
        None => table,
        Some(section) => {
            let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let Some(inner) = entry.as_table_mut() else { return };
            inner
        }
    };
    match value {
        Some(value) => table.insert(key.name.clone(), value),
        None => table.remove(&key.name),
    };
}

/// What the kit that was applied last had set.
fn set_by_kit(table: &Table) -> Table {
    let set = table.get("kit").and_then(|kit| kit.get("set")).and_then(Value::as_table);
    set.cloned().unwrap_or_default()
}

fn read_table(home: &Home) -> Result<Table> {
    match std::fs::read_to_string(home.profile()) {
        Ok(text) => toml::from_str(&text).map_err(|error: toml::de::Error| damaged(home, error.message())),
        Err(error) if site::is_absent(&error) => Ok(Table::new()),
        Err(error) if error.kind() == ErrorCause::InvalidData => Err(damaged(home, &error.to_string())),
        Err(source) => Err(disk::DiskError::Io { path: home.profile(), source }.into()),
    }
}

fn damaged(home: &Home, reason: &str) -> Error {
    let path = home.profile();
    Error::new(ErrorKind::Damaged, format!("`{}` cannot be read: {reason}", path.display()))
        .with_hint("mend the file, or remove it and install or import the kit again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit(name: &str, profile: &str) -> Manifest {
        let head = format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nkind = \"kit\"\ntitle = \"T\"\nlicense = \"MIT\"\nmembers = [\"a\"]\n"
        );
        Manifest::from_toml(&(head + profile)).expect("complete")
    }

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path().to_owned());
        (folder, home)
    }

    #[test]
    fn a_second_kit_changes_only_what_the_first_one_set() {
        let (_folder, home) = home();
        let clinic = kit(
            "clinic-kit",
            "[profile]\nlanguages = [\"en\"]\n[profile.roles]\nchat_model = \"a\"\nlan = true\n",
        );
        assert_eq!(apply(&home, &clinic).expect("room"), Applied::default());
        // The keeper opens the file and turns the room's access off.
        let text = std::fs::read_to_string(home.profile()).expect("written");
        let (settings, stamp) = text.split_once("[kit]").expect("a stamp");
        let own = format!("{}[kit]{stamp}", settings.replace("lan = true", "lan = false"));
        std::fs::write(home.profile(), own + "\n[own]\nx = 1\n").expect("room");

        let school = kit("school-kit", "[profile]\nlanguages = [\"fr\"]\n[profile.roles]\nlan = true\n");
        let applied = apply(&home, &school).expect("room");
        assert_eq!(applied.replaced.expect("the clinic").site(), "clinic");
        let names = |changes: &[SettingChange]| -> Vec<String> {
            changes.iter().map(|change| change.setting.clone()).collect()
        };
        assert_eq!(names(&applied.changed), ["languages", "roles.chat_model"]);
        assert_eq!(names(&applied.kept), ["roles.lan"]);
        let now = read(&home).expect("sound");
        assert_eq!((now.roles.chat_model, now.roles.lan), (None, Some(false)));
        assert!(std::fs::read_to_string(home.profile()).expect("written").contains("[own]\nx = 1"));
    }

    #[test]
    fn a_profile_that_is_no_toml_is_named_with_what_to_do() {
        let (_folder, home) = home();
        std::fs::write(home.profile(), "languages = [").expect("room");
        let error = read(&home).expect_err("torn");
        assert!(
            error.kind() == ErrorKind::Damaged && error.hint().expect("a hint").contains("mend the file")
        );
        assert!(apply(&home, &kit("k", "[profile]\nlanguages = [\"en\"]\n")).is_err());
    }
}
