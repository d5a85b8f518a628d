//! `doctor`: looks at this machine and at the home, and says what to mend.

use std::path::PathBuf;

use serde::Serialize;

use crate::disk;
#[cfg(feature = "onnx")]
use crate::embedding::Runtime;
#[cfg(feature = "onnx")]
use crate::error::Explain as _;
use crate::hardware::{self, Machine};
use crate::home::Home;
use crate::package::Kind;
use crate::store::{Installed, Store};

use super::error::{Error, Result};
use super::fitting::{Fitting, gib};
use super::identity::Identity;
use super::kit;
use super::path::mending;
use super::profile;
use super::revoked::{RevokedPackage, Words};
use super::site;

/// Less memory than this runs hardly any chat model, in bytes.
const LEAST_RAM_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Less free disk than this holds hardly any model, in bytes.
const LEAST_DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// This program cannot be older: 2025-01-01, in seconds since 1970.
const BUILT_AFTER: u64 = 1_735_689_600;
/// A clock this far in the future is wrong: 2045-01-01.
const BEFORE: u64 = 2_366_841_600;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Something to mend, or to know.
    Warning,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub struct DoctorReport {
    /// The machine.
    pub machine: Machine,
    /// What was looked at, in the order that matters.
    pub checks: Vec<Check>,
}

impl DoctorReport {
    /// True when nothing needs mending.
    pub fn is_well(&self) -> bool {
        self.checks.iter().all(|check| check.health == Health::Ok)
    }
}

/// Looks at everything. `onnx_places` are the files and folders where ONNX Runtime may lie.
///
/// # Errors
/// When the disk of the home cannot be asked.
pub fn doctor(home: &Home, onnx_places: &[PathBuf]) -> Result<DoctorReport> {
    let machine = hardware::probe();
    let mut checks = vec![
        processor(&machine),
        memory(&machine),
        disk_room(home)?,
        clock(site::now()),
        engine(),
        onnx_runtime(onnx_places),
    ];
    checks.extend(packages(home));
    checks.extend(site_kit(home));
    checks.extend(identity(home));
    Ok(DoctorReport { machine, checks })
}

fn ok(name: &'static str, found: String) -> Check {
    Check { name, health: Health::Ok, found, hint: None }
}

fn warning(name: &'static str, found: String, hint: impl Into<String>) -> Check {
    Check { name, health: Health::Warning, found, hint: Some(hint.into()) }
}

fn fault(name: &'static str, error: Error) -> Check {
    warning(name, error.with_causes(), error.hint().unwrap_or_default())
}

fn processor(machine: &Machine) -> Check {
    let features = machine.cpu_features.join(" ");
    let found = format!("{}, {} cores, {features}", machine.architecture, machine.num_cores);
    let is_slow = machine.architecture == "x86_64" && !machine.cpu_features.iter().any(|name| name == "avx2");
    if is_slow {
        return warning("processor", found, "without AVX2 models are slow here; choose small ones");
    }
    ok("processor", found)
}

fn memory(machine: &Machine) -> Check {
    let found =
        format!("{:.1} GiB, {:.1} GiB free now", gib(machine.ram_bytes), gib(machine.available_bytes));
    if machine.ram_bytes < LEAST_RAM_BYTES {
        return warning("memory", found, "enough to carry packages and to search, hardly for a chat model");
    }
    ok("memory", found)
}

fn disk_room(home: &Home) -> Result<Check> {
    let free_bytes = disk::free_bytes(home.root())?;
    let found = format!("{:.1} GiB free for `{}`", gib(free_bytes), home.root().display());
    if free_bytes < LEAST_DISK_BYTES {
        return Ok(warning(
            "disk",
            found,
            "free some space, `localml remove` a package, or use another `--home`",
        ));
    }
    Ok(ok("disk", found))
}

fn clock(now: u64) -> Check {
    if (BUILT_AFTER..BEFORE).contains(&now) {
        return ok("clock", "plausible".to_owned());
    }
    let found = format!("it says {now} seconds since 1970, which cannot be");
    warning("clock", found, "set the date; signatures hold all the same, but their age cannot be judged")
}

fn engine() -> Check {
    if cfg!(feature = "engine") {
        ok("engine", "llama.cpp is built in".to_owned())
    } else {
        warning(
            "engine",
            "this build has no llama.cpp".to_owned(),
            "the courier build carries packages; it runs none",
        )
    }
}

#[cfg(not(feature = "onnx"))]
fn onnx_runtime(_places: &[PathBuf]) -> Check {
    let hint = "GGUF embedders and word search do not need it";
    warning("onnx runtime", "this build has no ONNX".to_owned(), hint)
}

/// Loads it, as an ONNX embedder would.
#[cfg(feature = "onnx")]
fn onnx_runtime(places: &[PathBuf]) -> Check {
    let name = "onnx runtime";
    match Runtime::load(places) {
        Ok(runtime) => ok(name, format!("`{}`", runtime.path().display())),
        Err(error) => {
            let hint = error.hint().unwrap_or_default();
            warning(name, error.to_string(), format!("{hint}; GGUF embedders and word search do not need it"))
        }
    }
}

/// Records that read back, files that are there, models that fit. Hashing them again is what `verify` does.
fn packages(home: &Home) -> Vec<Check> {
    let store = site::store(home);
    let installed = match store.installed() {
        Ok(installed) => installed,
        Err(error) => return vec![fault("packages", error.into())],
    };
    let mut checks: Vec<Check> =
        installed.iter().filter_map(|package| package_fault(&store, package)).collect();
    checks.extend(store.damaged_previous().into_iter().map(|(_, damage)| fault("packages", damage.into())));
    let words = Words::read(home);
    checks.extend(installed.iter().filter_map(|package| words.against(package)).map(|revoked| {
        let RevokedPackage { name, version, reason, registry, .. } = &revoked;
        let found = format!("`{name}` {version} was revoked by its publisher (`{registry}`): {reason}");
        warning("packages", found, revoked.advice())
    }));
    if let Some(fault) = words.fault {
        checks.push(warning("registries", fault, "`localml update` says more"));
    }
    if checks.is_empty() {
        checks.push(ok("packages", format!("{} installed, every file in its place", installed.len())));
    }
    if cfg!(feature = "engine")
        && !installed.iter().any(|package| package.manifest.package.kind == Kind::ChatModel)
    {
        let hint = "`localml search` shows models; `localml adopt` takes a file that you have";
        checks.push(warning("chat model", "none is installed; `ask` will show quotes only".to_owned(), hint));
    }
    checks
}

fn package_fault(store: &Store, installed: &Installed) -> Option<Check> {
    let name = installed.name();
    if installed.files().iter().any(|file| !store.is_usable(installed, file)) {
        let found = format!("`{name}` lacks a file: it is missing, or was found damaged");
        let hint = format!("{}; so does `localml import DIR` from a stick that has it", mending(installed));
        return Some(warning("packages", found, hint));
    }
    let variant = installed.manifest.variant(&installed.variant)?;
    match Fitting::here(false).check(&installed.manifest, variant) {
        Ok(()) => None,
        Err(error) => Some(warning("packages", error.to_string(), "choose a smaller model for this PC")),
    }
}

/// Who set this site up, and what of it is missing; nothing where nobody did.
fn site_kit(home: &Home) -> Option<Check> {
    let name = "site";
    let kit = match profile::read(home) {
        Ok(site) => site.kit?,
        Err(error) => return Some(fault(name, error)),
    };
    let found = format!("this site was set up as {} (kit {})", kit.site(), kit.version);
    let store = site::store(home);
    let missing = match store.find(&kit.name) {
        Ok(Some(here)) => kit::missing_members(&store, &here.manifest).unwrap_or_default(),
        _ => Vec::new(),
    };
    if let Some(first) = missing.first() {
        let found = format!("{found}; {} of its packages are missing, `{first}` for example", missing.len());
        let hint = format!("import a stick that has them, or `localml install {}` online", kit.name);
        return Some(warning(name, found, hint));
    }
    match kit::next_commands(home).unwrap_or_default().into_iter().next() {
        Some(next) => Some(warning(name, found, format!("its kit asks for `{next}`"))),
        None => Some(ok(name, found)),
    }
}

/// Who this site is in its letters, where that cannot be read: an import leaves no receipt then.
fn identity(home: &Home) -> Option<Check> {
    Identity::open(home).err().map(|error| fault("letters", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_1970_is_named() {
        assert_eq!(clock(0).health, Health::Warning);
        assert_eq!(clock(BUILT_AFTER).health, Health::Ok);
    }

    #[cfg(feature = "onnx")]
    #[test]
    fn a_library_that_cannot_be_loaded_is_named() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let places = [folder.path().to_owned()];
        assert_eq!(onnx_runtime(&places).health, Health::Warning);
        std::fs::write(folder.path().join("libonnxruntime.so.1.31.1"), b"").expect("writable");
        let check = onnx_runtime(&places);
        assert_eq!(check.health, Health::Warning);
        assert!(check.found.contains("libonnxruntime.so.1.31.1"), "{}", check.found);
    }
}
