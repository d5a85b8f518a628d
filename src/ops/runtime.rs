//! localml itself on a stick: which builds go along, and whether those that lie there are what was signed.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{
    self, PlannedFile, Program, ProgramFile, RuntimeOnStick, RuntimePlan, Signer, Stick, stick_name,
};
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Kind, Name, PackageRef, Variant, Version};
use crate::progress::Monitor;
use crate::registry::{self, VerifiedIndex, show_fingerprint};
use crate::store::{Installed, Origin, Store};

use super::error::{Error, Result, While as _};
use super::export::{ExportOptions, ExportReport};
use super::indexes;
use super::pace::{self, StickFacts, Stopwatch};

/// A build of localml that lies on a stick, and who says so.
#[derive(Debug, Serialize)]
pub struct RuntimeVerdict {
    /// The platform, as the stick names it.
    pub target: String,
    /// Who signed exactly these bytes, among the registries known here.
    #[serde(flatten)]
    pub voucher: Option<RuntimeVoucher>,
    /// Why its publisher took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

/// The signed package that a build on a stick is.
#[derive(Debug, Serialize)]
pub struct RuntimeVoucher {
    /// The registry that signed it.
    pub registry: Name,
    /// The package.
    pub package: Name,
    /// Its version.
    pub version: Version,
}

/// The builds of localml that an export puts below `BIN`: all that are here, or those that its kits name.
///
/// # Errors
/// `NotFound` when all are asked for and none is here; when a record is damaged.
pub(super) fn programs(
    home: &Home,
    store: &Store,
    takes_all: bool,
    kit_members: &[PackageRef],
) -> Result<Vec<Program>> {
    let mut here = [store.installed()?, store.fetched()?].concat();
    here.retain(|held| held.manifest.package.kind == Kind::Runtime && variant_of(held).is_some());
    // The newest version of a package and target is enough.
    here.sort_by(|left, right| right.manifest.package.version.cmp(&left.manifest.package.version));
    let mut targets: Vec<String> = Vec::new();
    let mut programs = Vec::new();
    for held in here {
        let is_asked = takes_all || kit_members.iter().any(|member| member.name == *held.name());
        let Some(target) = variant_of(&held).and_then(|variant| variant.target.clone()) else { continue };
        if is_asked && !targets.contains(&target.to_ascii_uppercase()) {
            targets.push(target.to_ascii_uppercase());
            programs.push(program(home, store, &held, target)?);
        }
    }
    if takes_all && programs.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "no build of localml itself is fetched here")
            .with_hint("`localml search runtime` shows what there is; `localml fetch PACKAGE` brings it"));
    }
    Ok(programs)
}

fn variant_of(held: &Installed) -> Option<&Variant> {
    held.manifest.variant(&held.variant)
}

fn program(home: &Home, store: &Store, held: &Installed, target: String) -> Result<Program> {
    let head = &held.manifest.package;
    let mut files = Vec::new();
    for file in held.files() {
        let place: PathBuf = store.blob_path(&file.sha256, file.size_bytes).ok_or_else(|| {
            Error::new(ErrorKind::Damaged, format!("`{}` lacks `{}`", head.name, file.path))
                .with_hint(format!("`localml fetch {}` brings it back", head.name))
        })?;
        files.push(ProgramFile {
            path: file.path.clone(),
            source: place,
            size_bytes: file.size_bytes,
            sha256: file.sha256,
        });
    }
    let title = format!("{} {} for {target}", head.name, head.version);
    Ok(Program { target, title, signer: signer(home, held)?, files })
}

/// What a finder of the stick is to compare over the telephone.
fn signer(home: &Home, held: &Installed) -> Result<Option<Signer>> {
    let Origin::Registry(name) = &held.origin else { return Ok(None) };
    let known = registry::known(&home.registries())?.into_iter().find(|known| known.name == *name);
    Ok(known.map(|known| Signer {
        registry: known.name.to_string(),
        fingerprint: show_fingerprint(&known.fingerprint),
    }))
}

/// What a file may waste of a stick's last cluster, in bytes (FAT's largest is 64 KiB).
const CLUSTER_BYTES: u64 = 64 * 1024;

/// What an export writes besides packages, and what it finds out about the stick.
pub(super) struct Extras<'a> {
    stick: &'a Path,
    facts: StickFacts,
    plan: Option<RuntimePlan>,
    files: Vec<PlannedFile>,
    later_record_bytes: u64,
}

impl<'a> Extras<'a> {
    /// Looks at the stick and at the builds of localml that go along; `asked` are the export's options and
    /// the members of its kits.
    ///
    /// # Errors
    /// When the stick cannot be written to, or the builds that were asked for are not here.
    pub(super) fn plan(
        home: &Home,
        store: &Store,
        stick: &'a Path,
        asked: (&ExportOptions, &[PackageRef]),
    ) -> Result<Self> {
        let facts = pace::look_at(stick)?;
        let (options, members) = asked;
        let plan = RuntimePlan::new(stick, &programs(home, store, options.takes_runtime, members)?)?;
        let (files, later_record_bytes) = (plan.files(), plan.later_record_bytes());
        Ok(Self { stick, facts, plan: Some(plan), files, later_record_bytes })
    }

    /// The room that must be left on the stick for what is written besides packages.
    pub(super) fn reserved_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes + CLUSTER_BYTES).sum()
    }

    /// Writes localml itself below `BIN`, before the packages, unless this is only a plan.
    /// `more_bytes` says how much the packages will take.
    ///
    /// # Errors
    /// As `RuntimePlan::write`.
    pub(super) fn write(
        mut self,
        options: &ExportOptions,
        more_bytes: impl FnOnce() -> u64,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        if let (false, Ok(stick)) = (options.is_plan, Stick::open(self.stick)) {
            bundle::remove_probe(&stick)?;
        }
        if let Some(plan) = self.plan.take().filter(|plan| !options.is_plan && !plan.is_already_there()) {
            let stick = self.stick;
            plan.write(stick, more_bytes(), monitor)
                .while_doing(|| format!("could not write localml itself to `{}`", stick.display()))?;
        }
        Ok(self)
    }

    /// Adds to the report of an export what was found out and written here.
    pub(super) fn add_to(
        self,
        report: &mut ExportReport,
        home: &Home,
        watch: &Stopwatch<'_>,
        monitor: &dyn Monitor,
    ) {
        // A plan knows the record as it is now; after this one has written, it has more lines.
        if report.is_plan && !report.was_there {
            report.size_bytes += self.later_record_bytes;
        }
        report.size_bytes += self.files.iter().map(|file| file.size_bytes).sum::<u64>();
        report.was_there &= self.files.is_empty();
        report.files.splice(0..0, self.files);
        report.pace = match report.is_plan {
            true if report.was_there => None,
            true => pace::expected(home, self.stick, report.size_bytes, monitor),
            // What several sticks took together tells nothing of one.
            false if report.sticks.len() > 1 => None,
            false => watch.remember(home, self.stick),
        };
        report.facts = self.facts;
    }
}

/// Says of each build of localml on a stick whether a registry known here signed exactly these bytes.
///
/// # Errors
/// When a registry's copy here is damaged.
pub(super) fn judge(home: &Home, stick: &Stick) -> Result<Vec<RuntimeVerdict>> {
    let found = bundle::runtimes_on(stick);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let indexes = indexes::load(home)?;
    Ok(found.iter().map(|runtime| verdict(runtime, &indexes)).collect())
}

fn verdict(runtime: &RuntimeOnStick, indexes: &[VerifiedIndex]) -> RuntimeVerdict {
    let mut verdict = RuntimeVerdict { target: runtime.target.clone(), voucher: None, revoked: None };
    for index in indexes {
        for manifest in index.manifests().iter().filter(|it| it.package.kind == Kind::Runtime) {
            if manifest.variants.iter().any(|variant| is_same(variant, runtime)) {
                let (package, version) = (&manifest.package.name, &manifest.package.version);
                let revocation = indexes.iter().find_map(|index| index.revocation_of(package, version));
                verdict.revoked = revocation.map(|revocation| revocation.reason.clone());
                verdict.voucher = Some(RuntimeVoucher {
                    registry: index.name().clone(),
                    package: package.clone(),
                    version: version.clone(),
                });
            }
        }
    }
    verdict
}

/// True when the stick has every file of the build, byte for byte, and none besides.
fn is_same(variant: &Variant, runtime: &RuntimeOnStick) -> bool {
    let is_target =
        variant.target.as_ref().is_some_and(|target| target.to_ascii_uppercase() == runtime.target);
    let mut files = variant.files.iter();
    is_target
        && variant.files.len() == runtime.files.len()
        && files.all(|file| runtime.files.get(&stick_name(&file.path)) == Some(&file.sha256))
}
