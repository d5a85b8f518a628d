//! The courier's list: packages and kits that every `sync` takes along, kept in the home.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::PackageRef;

use super::error::{Error, Result};

/// The format that this program writes; a later one is refused by name.
const FORMAT: u32 = 1;

/// `wishlist.toml`.
#[derive(Debug, Serialize, Deserialize)]
struct Wishlist {
    format: u32,
    #[serde(default)]
    packages: Vec<PackageRef>,
}

/// What stands on the list; nothing where there is none.
///
/// # Errors
/// When the file cannot be read, or is no list.
pub(super) fn read(home: &Home) -> Result<Vec<PackageRef>> {
    let path = home.wishlist();
    if !path.exists() {
        return Ok(Vec::new());
    }
    let damaged = |reason: String| {
        let message = format!("`{}` is not a courier's list: {reason}", path.display());
        Error::new(ErrorKind::Damaged, message).with_hint(
            "put it right in an editor, or remove the file and add its packages with `--keep` again",
        )
    };
    let text = fs::read_to_string(&path).map_err(|error| damaged(error.to_string()))?;
    let list: Wishlist = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
    match list.format {
        FORMAT => Ok(list.packages),
        other => Err(damaged(format!("it has format {other}; this localml knows format {FORMAT}"))),
    }
}

/// Adds packages to the list and takes others off; returns what stands on it then.
///
/// # Errors
/// As `changed`; when the file cannot be written.
pub(super) fn change(home: &Home, keep: &[PackageRef], drop: &[PackageRef]) -> Result<Vec<PackageRef>> {
    let packages = changed(home, keep, drop)?;
    if keep.is_empty() && drop.is_empty() {
        return Ok(packages);
    }
    let list = Wishlist { format: FORMAT, packages };
    let text = toml::to_string(&list).map_err(|error| Error::new(ErrorKind::Failed, error.to_string()))?;
    disk::write_atomic(&home.wishlist(), text.as_bytes())?;
    Ok(list.packages)
}

/// What would stand on the list; nothing is written.
///
/// # Errors
/// As `read`; when one to take off is not on it.
pub(super) fn changed(home: &Home, keep: &[PackageRef], drop: &[PackageRef]) -> Result<Vec<PackageRef>> {
    let mut packages = read(home)?;
    for package in drop {
        let before = packages.len();
        packages.retain(|listed| listed != package);
        if packages.len() == before {
            let names: Vec<String> = packages.iter().map(|listed| format!("`{listed}`")).collect();
            let error = Error::new(ErrorKind::NotFound, format!("`{package}` is not on this courier's list"));
            return Err(match names.is_empty() {
                true => error,
                false => error.with_hint(format!("on it are {}", names.join(", "))),
            });
        }
    }
    let new = keep.iter().filter(|package| !packages.contains(package)).cloned().collect::<Vec<_>>();
    packages.extend(new);
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(text: &str) -> PackageRef {
        text.parse().expect("a name")
    }

    #[test]
    fn the_list_remembers_and_forgets() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path().to_owned());
        assert!(read(&home).expect("none").is_empty());
        change(&home, &[package("clinic-kit"), package("ngo/book")], &[]).expect("room");
        change(&home, &[package("clinic-kit")], &[]).expect("twice is once");
        assert_eq!(read(&home).expect("there"), [package("clinic-kit"), package("ngo/book")]);
        change(&home, &[], &[package("clinic-kit")]).expect("on it");
        let error = change(&home, &[], &[package("clinic-kit")]).expect_err("gone");
        assert_eq!(error.hint().as_deref(), Some("on it are `ngo/book`"));
    }

    #[test]
    fn a_damaged_list_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path().to_owned());
        fs::write(home.wishlist(), "format = 2\n").expect("room");
        let error = change(&home, &[package("book")], &[]).expect_err("a later format");
        assert!(error.to_string().ends_with("it has format 2; this localml knows format 1"), "{error}");
        assert_eq!(fs::read_to_string(home.wishlist()).expect("still there"), "format = 2\n");
    }
}
