//! `install`: fetch packages and make them usable here. The record, written last, is the commit.

use serde::Serialize;

use crate::home::Home;
use crate::package::{Name, PackageRef};
use crate::progress::Monitor;
use crate::store::Store;

use super::choice::{Choice, is_usable};
use super::error::{Result, While as _};
use super::fetch::{FetchOptions, FetchReport, Reception, fetch_choices};
use super::kit::{SetUp, set_up, set_up_again};
use super::line;
use super::site;

/// What was installed, or would be.
#[derive(Debug, Serialize)]
pub struct InstallReport {
    /// What was fetched for it.
    #[serde(flatten)]
    pub fetch: FetchReport,
    /// The packages that are newly usable.
    pub installed: Vec<Name>,
    /// The kits that set this site up.
    pub kits: Vec<SetUp>,
}

/// Installs packages and what they require. The version that one replaces stays for `rollback`.
///
/// # Errors
/// As `fetch`; the installed set is then unchanged, or advanced by whole packages.
pub fn install(
    home: &Home,
    packages: &[PackageRef],
    options: &FetchOptions,
    monitor: &dyn Monitor,
) -> Result<InstallReport> {
    let mut desk = Installing::new(home, monitor);
    let fetch = fetch_choices(home, packages, options, &mut desk, monitor)?;
    if !options.is_plan {
        let here = fetch.packages.iter().filter(|package| package.was_installed);
        let again = set_up_again_by(home, here.map(|package| &package.name), options, monitor)?;
        desk.kits.extend(again);
    }
    Ok(InstallReport { fetch, installed: desk.installed, kits: desk.kits })
}

/// Sets the site up by those kits among what was installed already whose profile is gone.
fn set_up_again_by<'a>(
    home: &Home,
    names: impl Iterator<Item = &'a Name>,
    options: &FetchOptions,
    monitor: &dyn Monitor,
) -> Result<Vec<SetUp>> {
    let store = site::store(home);
    let mut kits = Vec::new();
    for name in names {
        kits.extend(store.find(name)?.filter(|here| here.manifest.is_kit()));
    }
    if kits.is_empty() {
        return Ok(Vec::new());
    }
    let _lock = line::lock_in_turn(home, &options.line, monitor)?;
    let mut reports = Vec::new();
    for kit in &kits {
        reports.extend(set_up_again(home, kit, monitor)?);
    }
    Ok(reports)
}

/// Takes packages into use as they become whole, for `install` and `upgrade`.
pub(super) struct Installing<'a> {
    home: &'a Home,
    monitor: &'a dyn Monitor,
    pub(super) installed: Vec<Name>,
    pub(super) kits: Vec<SetUp>,
}

impl<'a> Installing<'a> {
    pub(super) fn new(home: &'a Home, monitor: &'a dyn Monitor) -> Self {
        Self { home, monitor, installed: Vec::new(), kits: Vec::new() }
    }
}

impl Reception for Installing<'_> {
    fn take(&mut self, store: &Store, choice: &Choice) -> Result<()> {
        if choice.manifest.is_kit() {
            self.kits.push(set_up(self.home, &choice.to_installed(), self.monitor)?);
            self.installed.push(choice.name().clone());
            return Ok(());
        }
        if !is_usable(&choice.manifest.package.kind) {
            self.monitor.warn(&format!(
                "`{}` is of kind `{}`, which this localml can keep but not use",
                choice.name(),
                choice.manifest.package.kind
            ));
        }
        let deed = || format!("could not install `{}`", choice.name());
        store.record(&choice.to_installed()).while_doing(deed)?;
        self.installed.push(choice.name().clone());
        Ok(())
    }
}
