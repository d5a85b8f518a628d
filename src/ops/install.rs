//! `install`: fetch packages and make them usable here. The record, written last, is the commit.

use serde::Serialize;

use crate::home::Home;
use crate::package::{Name, PackageRef};
use crate::progress::Monitor;
use crate::store::Store;

use super::choice::{Choice, is_usable};
use super::error::{Result, While as _};
use super::fetch::{FetchOptions, FetchReport, fetch_choices};
use super::kit::{SetUp, set_up};

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

/// Installs packages and what they require.
///
/// # Errors
/// As `fetch`; the installed set is then unchanged, or advanced by whole packages.
pub fn install(
    home: &Home,
    packages: &[PackageRef],
    options: &FetchOptions,
    monitor: &dyn Monitor,
) -> Result<InstallReport> {
    let (mut installed, mut kits) = (Vec::new(), Vec::new());
    let mut install = |store: &Store, choice: &Choice| {
        if choice.manifest.is_kit() {
            kits.push(set_up(home, &choice.to_installed(), monitor)?);
            installed.push(choice.name().clone());
            return Ok(());
        }
        if !is_usable(&choice.manifest.package.kind) {
            monitor.warn(&format!(
                "`{}` is of kind `{}`, which this localml can keep but not use",
                choice.name(),
                choice.manifest.package.kind
            ));
        }
        let deed = || format!("could not install `{}`", choice.name());
        store.record(&choice.to_installed()).while_doing(deed)?;
        installed.push(choice.name().clone());
        Ok(())
    };
    let fetch = fetch_choices(home, packages, options, &mut install, monitor)?;
    Ok(InstallReport { fetch, installed, kits })
}
