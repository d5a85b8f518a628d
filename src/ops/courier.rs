//! `courier`: who may vouch at this site for what no publisher signed, and this home's own key.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::bundle::{Item, Stick, TrustFile, TrustSet};
use crate::digest::Sha256;
use crate::error::{ErrorKind, Explain as _};
use crate::home::Home;
use crate::package::{Manifest, Name, PackageRef};
use crate::progress::Monitor;
use crate::registry::{
    self, Courier, CourierKey, MAX_STATEMENT_BYTES, Statement, VouchedPackage, short_fingerprint,
    show_full_fingerprint,
};
use crate::store::{Installed, Origin};

use super::error::{Error, Result};
use super::site;

/// Where statements lie in a set of trust files; no registry can be called so.
const FOLDER: &str = "COURIER/";

/// The most statements of one stick, and their bytes together, that are read: a hostile stick could hold thousands.
const MAX_STATEMENTS: usize = 64;
const MAX_STATEMENTS_BYTES: u64 = 8 * 1024 * 1024;

/// The courier that this home is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CourierShowReport {
    /// What it calls itself.
    pub name: Name,
    /// What a keeper compares before authorising it.
    pub fingerprint: Sha256,
}

/// The couriers whom the keeper authorised.
#[derive(Debug, Serialize)]
pub struct CourierListReport {
    /// By name.
    pub couriers: Vec<Courier>,
    /// The records that cannot be read; whoever they were about is not believed.
    pub damaged: Vec<DamagedCourier>,
}

/// A record of a courier that cannot be read.
#[derive(Debug, Serialize)]
pub struct DamagedCourier {
    /// What is wrong, and with which file.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Who is no longer believed.
#[derive(Debug, Serialize)]
pub struct CourierWithdrawReport {
    /// The courier.
    pub name: Name,
    /// The packages that came in by it; they stay, and stay labelled.
    pub packages: Vec<Name>,
}

/// Tells this home's own name and fingerprint as a courier.
///
/// # Errors
/// `NotFound` when nothing was signed here yet.
pub fn courier_show(home: &Home) -> Result<CourierShowReport> {
    match CourierKey::open(&home.courier())? {
        Some(key) => Ok(shown(&key)),
        None => Err(Error::new(ErrorKind::NotFound, "this home has no courier's key yet")
            .with_hint("`localml export DIR --sign` makes one")),
    }
}

/// Lists the couriers whom the keeper authorised, and the records that cannot be read.
pub fn courier_list(home: &Home) -> CourierListReport {
    let (couriers, damaged) = registry::readable_couriers(&home.couriers());
    let damaged = damaged
        .into_iter()
        .map(|error| DamagedCourier { message: error.to_string(), hint: error.hint() })
        .collect();
    CourierListReport { couriers, damaged }
}

/// Withdraws a courier's authority, under every name that the key has here.
///
/// # Errors
/// `NotFound` when nobody of this name is authorised.
pub fn courier_withdraw(home: &Home, name: &Name) -> Result<CourierWithdrawReport> {
    let _lock = site::lock(home)?;
    let withdrawn = registry::withdraw(&home.couriers(), name)?;
    let is_from = |installed: &Installed| match &installed.origin {
        Origin::Courier { name: other, fingerprint } => {
            withdrawn.map_or(other == name, |key| key == *fingerprint)
        }
        _ => false,
    };
    let mut packages = site::store(home).installed()?;
    packages.retain(is_from);
    let packages = packages.iter().map(|installed| installed.name().clone()).collect();
    Ok(CourierWithdrawReport { name: name.clone(), packages })
}

/// Signs those packages of an export that no publisher signed. Nothing is signed when there are none. Who signs
/// is told unless that is not known yet: a plan before the first signing.
///
/// # Errors
/// When another name was asked for than the key here has, or the key cannot be read or written.
pub(super) fn sign(
    home: &Home,
    name: Option<&Name>,
    chosen: &[&Installed],
    is_plan: bool,
) -> Result<Option<(Option<CourierShowReport>, TrustFile)>> {
    let packages: Vec<VouchedPackage> = chosen
        .iter()
        .filter(|installed| !installed.origin.is_published())
        .map(|installed| vouched(installed))
        .collect();
    if packages.is_empty() {
        return Ok(None);
    }
    let known = CourierKey::open(&home.courier())?;
    // A plan keeps no key: the fingerprint of one made for it would never be seen again.
    let is_shown = known.is_some() || !is_plan;
    let key = match known {
        Some(key) => key,
        None if is_plan => CourierKey::make(&home.courier(), name.cloned())?,
        None => CourierKey::open_or_keep(&home.courier(), name.cloned())?,
    };
    if name.is_some_and(|name| name != key.name()) {
        let message = format!("this home's courier is called `{}`", key.name());
        let hint =
            format!("`--sign` alone, or `--sign={}`; another courier needs another `--home`", key.name());
        return Err(Error::new(ErrorKind::Usage, message).with_hint(hint));
    }
    let file = format!("{FOLDER}{}.SIG", short_fingerprint(&key.fingerprint()).to_uppercase());
    let name = file.parse().map_err(|error| Error::new(ErrorKind::Failed, format!("{error}")))?;
    Ok(Some((is_shown.then(|| shown(&key)), TrustFile { name, bytes: key.sign(packages) })))
}

fn shown(key: &CourierKey) -> CourierShowReport {
    CourierShowReport { name: key.name().clone(), fingerprint: key.fingerprint() }
}

fn vouched(installed: &Installed) -> VouchedPackage {
    let head = &installed.manifest.package;
    let package = PackageRef {
        registry: None,
        name: head.name.clone(),
        version: Some(head.version.clone()),
        variant: Some(installed.variant.clone()),
    };
    VouchedPackage { package, manifest: installed.manifest.clone() }
}

/// What couriers say on a stick, and which of them are believed here.
#[derive(Default)]
pub(super) struct Statements {
    all: Vec<Statement>,
    authorised: Vec<Courier>,
    /// Why a statement counts for nothing.
    faults: Vec<String>,
}

impl Statements {
    /// Reads every statement on the stick, and authorises the courier whose fingerprint was told. A statement that
    /// does not hold is remembered by its reason; a damaged record of an authorised courier makes nobody believed.
    ///
    /// # Errors
    /// `Untrusted` when nobody on the stick has the fingerprint, or another courier has the name here.
    pub(super) fn read(
        stick: &Stick,
        home: &Home,
        told: Option<&str>,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let mut statements = Self::lying_on(stick);
        if let Some(told) = told {
            statements.authorise(home, told)?;
        }
        let (authorised, damaged) = registry::readable_couriers(&home.couriers());
        for error in damaged {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            monitor.warn(&format!("this courier is not believed: {error}{hint}"));
        }
        statements.authorised = authorised;
        Ok(statements)
    }

    fn lying_on(stick: &Stick) -> Self {
        let mut read = Self::default();
        let mut room_bytes = MAX_STATEMENTS_BYTES;
        for set in stick.trust_sets().sets {
            for name in set.names().filter(|name| name.starts_with(FOLDER)) {
                if read.all.len() + read.faults.len() >= MAX_STATEMENTS {
                    read.faults.push("it holds more couriers' statements than are read".to_owned());
                    return read;
                }
                read.take(&set, name, &mut room_bytes);
            }
        }
        read
    }

    fn take(&mut self, set: &TrustSet, name: &str, room_bytes: &mut u64) {
        let file = format!("{}: {name}", set.path());
        match set.read(name, MAX_STATEMENT_BYTES.min(*room_bytes)) {
            Ok(Some(bytes)) => {
                *room_bytes = room_bytes.saturating_sub(bytes.len() as u64);
                match Statement::read(&file, &bytes) {
                    Ok(statement) => self.all.push(statement),
                    Err(error) => self.faults.push(error.to_string()),
                }
            }
            Ok(None) => {}
            Err(error) => self.faults.push(error.to_string()),
        }
    }

    fn authorise(&self, home: &Home, told: &str) -> Result<()> {
        let told = registry::parse_fingerprint(told)?;
        if let Some(found) = self.all.iter().find(|statement| told.matches(&statement.fingerprint)) {
            return Ok(registry::authorise(&home.couriers(), &found.name, found.fingerprint, site::now())?);
        }
        let mut others: Vec<String> = self
            .all
            .iter()
            .map(|other| format!("`{}`:\n{}", other.name, show_full_fingerprint(&other.fingerprint)))
            .collect();
        others.dedup();
        others.extend(self.faults.iter().cloned());
        let message = match others.is_empty() {
            true => "no courier signed anything on this stick".to_owned(),
            false => format!(
                "no courier on this stick has the fingerprint given; on it is {}",
                others.join("\nand ")
            ),
        };
        Err(Error::new(ErrorKind::Untrusted, message)
            .with_hint("ask the courier, by telephone for example, what `localml courier show` says"))
    }

    /// The description of a package by a courier who is believed here, and who that is. Of several, the one that
    /// is about the bytes on the stick: a statement of an older stick may lie beside it.
    ///
    /// # Errors
    /// Says who vouches for it and is not believed, or what is wrong with a statement.
    pub(super) fn vouch(&self, item: &Item) -> std::result::Result<(&Manifest, Origin), String> {
        let mut stranger = None;
        let mut believed: Option<(&Manifest, Origin)> = None;
        for statement in &self.all {
            let is_known = |courier: &&Courier| courier.fingerprint == statement.fingerprint;
            let courier = self.authorised.iter().find(is_known);
            for vouched in statement.packages.iter().filter(|it| is_same(&it.package, &item.package)) {
                let Some(courier) = courier else {
                    stranger = Some(statement);
                    continue;
                };
                let (name, fingerprint) = (courier.name.clone(), courier.fingerprint);
                let found = (&vouched.manifest, Origin::Courier { name, fingerprint });
                if is_about(vouched, item) {
                    return Ok(found);
                }
                believed.get_or_insert(found);
            }
        }
        if let Some(believed) = believed {
            return Ok(believed);
        }
        let mut reasons: Vec<String> = Vec::new();
        if let Some(Statement { name, fingerprint, .. }) = stranger {
            let short = short_fingerprint(fingerprint);
            reasons.push(format!(
                "the courier `{name}` did, who is not known here; compare the fingerprint{}, then `--courier {short}` \
                 takes what this courier carries, now and later",
                registry::show_fingerprint(fingerprint).replacen("  ", " ", 1)
            ));
        }
        reasons.extend(self.faults.iter().cloned());
        Err(reasons.join("; "))
    }
}

/// True when the courier vouches for the very files that the stick lists.
fn is_about(vouched: &VouchedPackage, item: &Item) -> bool {
    let variant = item.package.variant.as_ref().and_then(|variant| vouched.manifest.variant(variant));
    let listed: BTreeSet<Sha256> = item.files.iter().map(|file| file.sha256).collect();
    variant.is_some_and(|variant| {
        variant.files.iter().map(|file| file.sha256).collect::<BTreeSet<_>>() == listed
    })
}

fn is_same(left: &PackageRef, right: &PackageRef) -> bool {
    (&left.name, &left.version, &left.variant) == (&right.name, &right.version, &right.variant)
}
