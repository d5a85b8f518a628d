//! Which folder is the stick, when nobody said: the only removable one that is mounted.

use std::path::{Path, PathBuf};

use sysinfo::Disks;

use crate::error::ErrorKind;
use crate::progress::Monitor;

use super::error::{Error, Result};

/// The folder that was named, or the only removable disk; the monitor hears which.
///
/// # Errors
/// When none or several are mounted and none was named, or the named folder is not one.
pub(super) fn stick(named: Option<&Path>, monitor: &dyn Monitor) -> Result<PathBuf> {
    stick_if_any(named, monitor)?.ok_or_else(|| {
        Error::new(ErrorKind::Usage, "no removable disk is mounted")
            .with_hint("name the folder where the stick is mounted")
    })
}

/// As `stick`; `None` when no folder was named and no removable disk is mounted.
///
/// # Errors
/// When several are mounted and none was named, or the named folder is not one.
pub(super) fn stick_if_any(named: Option<&Path>, monitor: &dyn Monitor) -> Result<Option<PathBuf>> {
    if let Some(folder) = named {
        return match folder.is_dir() {
            true => Ok(Some(folder.to_owned())),
            false => Err(not_a_folder(folder)),
        };
    }
    let mut mounted = mounted();
    match (mounted.pop(), mounted.is_empty()) {
        (Some(only), true) => {
            monitor.note(&format!("the stick is `{}`", only.display()));
            Ok(Some(only))
        }
        (None, _) => Ok(None),
        (Some(last), false) => {
            let all: Vec<String> =
                mounted.iter().chain([&last]).map(|folder| format!("`{}`", folder.display())).collect();
            let message = format!("several removable disks are mounted: {}", all.join(", "));
            Err(Error::new(ErrorKind::Usage, message).with_hint("name one of them"))
        }
    }
}

fn not_a_folder(folder: &Path) -> Error {
    let shown = folder.display();
    if folder.is_file() {
        let is_model = folder.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
        let hint = match is_model {
            true => {
                format!("`localml adopt {shown} --name NAME --kind chat-model` takes a single model file")
            }
            false => format!("`localml adopt {shown} --name NAME --kind KIND` takes a single file"),
        };
        return Error::new(ErrorKind::Usage, format!("`{shown}` is a file, not a stick's folder"))
            .with_hint(hint);
    }
    Error::new(ErrorKind::NotFound, format!("there is no folder `{shown}`"))
        .with_hint("name the folder where the stick is mounted; is it plugged in?")
}

fn mounted() -> Vec<PathBuf> {
    let Ok(disks) = Disks::new_with_refreshed_list() else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> =
        disks.iter().filter(|disk| disk.is_removable()).map(|disk| disk.mount_point().to_owned()).collect();
    folders.sort();
    folders.dedup();
    folders
}
