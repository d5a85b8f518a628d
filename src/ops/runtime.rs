//! localml itself on a stick: which builds go along, and whether those that lie there are what was signed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{
    self, FileHealth, PlannedFile, Program, ProgramFile, RuntimeOnStick, RuntimePlan, Signer, Stick,
    stick_name,
};
use crate::digest::Sha256;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::package::{Kind, Manifest, Name, PackageRef, Variant, Version};
use crate::progress::Monitor;
use crate::registry::{self, Known, VerifiedIndex, show_fingerprint};
use crate::store::{Installed, Origin, Store};

use super::addressee::fulfils;
use super::error::{Error, Result, While as _};
use super::export::{DamagedPackage, ExportOptions, ExportReport};
use super::holding::reference;
use super::indexes;
use super::pace::{self, StickFacts, Stopwatch};
use super::revoked;

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
    /// Why nobody vouches for it, where most of it is what a publisher signed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl RuntimeVerdict {
    /// True when it is what a publisher signed, all of it and nothing else, taken back or not.
    pub fn is_known(&self) -> bool {
        self.voucher.is_some()
    }
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
    /// The sum of its `SHA256SUMS`, which the publisher reads out by telephone.
    pub sums_sha256: Sha256,
}

/// The builds of localml that an export puts below `BIN`, and what was passed over.
#[derive(Debug, Default)]
struct Choice {
    programs: Vec<Program>,
    /// Why builds that are here do not go along.
    remarks: Vec<String>,
    /// Those whose bytes here are not what they should be.
    damaged: Vec<DamagedPackage>,
}

/// Chooses the builds that go below `BIN`: of each target the newest that a publisher signed and did not take
/// back, or the one that a kit names.
///
/// # Errors
/// `NotFound` when all are asked for and none can go; when a record is damaged.
fn choose(home: &Home, store: &Store, takes_all: bool, kit_members: &[PackageRef]) -> Result<Choice> {
    let mut choice = Choice::default();
    let is_member = |held: &Installed| kit_members.iter().any(|member| fulfils(&reference(held), member));
    let mut here = [store.installed()?, store.fetched()?].concat();
    here.retain(|held| {
        let is_runtime = held.manifest.package.kind == Kind::Runtime;
        is_runtime && variant_of(held).is_some() && (takes_all || is_member(held))
    });
    if here.is_empty() && !takes_all {
        return Ok(choice);
    }
    let version = |held: &Installed| held.manifest.package.version.clone();
    here.sort_by_key(|held| std::cmp::Reverse((is_member(held), version(held))));
    let mut seen: BTreeSet<String> = BTreeSet::new();
    here.retain(|held| seen.insert(reference(held).to_string()));
    let (indexes, mut targets) = (indexes::load(home)?, BTreeSet::new());
    for held in here {
        let Some(target) = variant_of(&held).and_then(|variant| variant.target.clone()) else { continue };
        if targets.contains(&target.to_ascii_uppercase()) {
            continue;
        }
        let reference = reference(&held);
        if let Some(why) = objection(&indexes, &held) {
            choice.remarks.push(format!("`{reference}` for {target} does not go below BIN: {why}"));
        } else if let Some(reason) = damage(store, &held) {
            choice.remarks.push(format!("`{reference}` for {target} stays behind: {reason}"));
            choice.damaged.push(DamagedPackage { name: held.name().clone(), reason });
        } else {
            targets.insert(target.to_ascii_uppercase());
            choice.programs.push(program(home, store, &held, target)?);
        }
    }
    match takes_all && choice.programs.is_empty() && choice.damaged.is_empty() {
        true => Err(none_here(&choice.remarks)),
        false => Ok(choice),
    }
}

fn none_here(remarks: &[String]) -> Error {
    let message = match remarks.first() {
        Some(remark) => format!("no build of localml itself can go along: {remark}"),
        None => "no build of localml itself is fetched here".to_owned(),
    };
    Error::new(ErrorKind::NotFound, message)
        .with_hint("`localml search runtime` shows what there is; `localml fetch PACKAGE` brings it")
}

/// Why nobody should run a build that he finds on a stick.
fn objection(indexes: &[VerifiedIndex], held: &Installed) -> Option<String> {
    if !held.origin.is_published() {
        return Some("no publisher signed it".to_owned());
    }
    let word = revoked::against(indexes, held)?;
    Some(format!("its publisher took it back: {}", word.reason))
}

/// What is wrong with the bytes of a build here.
fn damage(store: &Store, held: &Installed) -> Option<String> {
    held.files().iter().find_map(|file| {
        let Some(place) = store.blob_path(&file.sha256, file.size_bytes) else {
            return Some(format!("`{}` is not here whole", file.path));
        };
        match Sha256::of_file(&place) {
            Ok(found) if found == file.sha256 => None,
            Ok(found) => Some(format!("`{}` has sha256 {}", file.path, found.short())),
            Err(error) => Some(format!("`{}` cannot be read: {error}", file.path)),
        }
    })
}

fn variant_of(held: &Installed) -> Option<&Variant> {
    held.manifest.variant(&held.variant)
}

fn title(manifest: &Manifest, target: &str) -> String {
    format!("{} {} for {target}", manifest.package.name, manifest.package.version)
}

fn program(home: &Home, store: &Store, held: &Installed, target: String) -> Result<Program> {
    let mut files = Vec::new();
    for file in held.files() {
        let place: PathBuf = store.blob_path(&file.sha256, file.size_bytes).ok_or_else(|| {
            let name = held.name();
            Error::new(ErrorKind::Damaged, format!("`{name}` lacks `{}`", file.path))
                .with_hint(format!("`localml fetch {name}` brings it back"))
        })?;
        files.push(ProgramFile {
            path: file.path.clone(),
            source: place,
            size_bytes: file.size_bytes,
            sha256: file.sha256,
        });
    }
    Ok(Program { title: title(&held.manifest, &target), target, signer: signer(home, held)?, files })
}

/// What a finder of the stick is to compare over the telephone.
fn signer(home: &Home, held: &Installed) -> Result<Option<Signer>> {
    let Origin::Registry(name) = &held.origin else { return Ok(None) };
    let known = registry::known(&home.registries())?.into_iter().find(|known| known.name == *name);
    Ok(known.map(|known| Signer { fingerprint: show_fingerprint(&known.fingerprint) }))
}

/// What an export writes besides packages, and what it finds out about the stick.
pub(super) struct Extras<'a> {
    stick: &'a Path,
    facts: StickFacts,
    plan: Option<RuntimePlan>,
    files: Vec<PlannedFile>,
    later_record_bytes: u64,
    remarks: Vec<String>,
    damaged: Vec<DamagedPackage>,
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
        let Choice { programs, remarks, damaged } = choose(home, store, options.takes_runtime, members)?;
        let plan = RuntimePlan::new(stick, &programs)?;
        let (files, later_record_bytes) = (plan.files(), plan.later_record_bytes());
        Ok(Self { stick, facts, plan: Some(plan), files, later_record_bytes, remarks, damaged })
    }

    /// The room that must be left on the stick for what is written besides packages.
    pub(super) fn reserved_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes + bundle::CLUSTER_BYTES).sum()
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
        self.remarks.iter().for_each(|remark| monitor.warn(remark));
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
        let is_new = |damaged: &DamagedPackage| report.damaged.iter().all(|other| other.name != damaged.name);
        let damaged: Vec<DamagedPackage> = self.damaged.into_iter().filter(is_new).collect();
        report.damaged.extend(damaged);
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
/// `files` is how the files of the stick are.
///
/// # Errors
/// When a registry's copy here is damaged, or the stick cannot be read.
pub(super) fn judge(home: &Home, stick: &Stick, files: &[FileHealth]) -> Result<Vec<RuntimeVerdict>> {
    let found = bundle::runtimes_on(stick)?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let (indexes, known) = (indexes::load(home)?, registry::known(&home.registries())?);
    let verdict = |runtime: &RuntimeOnStick| {
        let mut verdict = verdict(runtime, &indexes, &known);
        let folder = format!("BIN/{}/", runtime.target);
        let bad = files.iter().filter(|file| !file.is_whole && file.file.starts_with(&folder));
        verdict.problems.extend(bad.map(|file| format!("`{}` is damaged", file.file)));
        verdict.problems.extend(
            runtime.strangers.iter().map(|path| format!("`{folder}{path}` stands in no record of the stick")),
        );
        if !verdict.problems.is_empty() {
            verdict.voucher = None;
        }
        verdict
    };
    Ok(found.iter().map(verdict).collect())
}

fn verdict(runtime: &RuntimeOnStick, indexes: &[VerifiedIndex], known: &[Known]) -> RuntimeVerdict {
    let (target, problems) = (runtime.target.clone(), Vec::new());
    let mut verdict = RuntimeVerdict { target, voucher: None, revoked: None, problems };
    for index in indexes {
        for manifest in index.manifests().iter().filter(|it| it.package.kind == Kind::Runtime) {
            let Some(variant) = manifest.variants.iter().find(|variant| is_same(variant, runtime)) else {
                continue;
            };
            let (package, version) = (&manifest.package.name, &manifest.package.version);
            let revocation = indexes.iter().find_map(|index| index.revocation_of(package, version));
            verdict.revoked = revocation.map(|revocation| revocation.reason.clone());
            let of_index = known.iter().find(|known| known.name == *index.name());
            let signer = of_index.map(|known| Signer { fingerprint: show_fingerprint(&known.fingerprint) });
            let texts = expected(manifest, variant, signer).texts();
            verdict.problems = differing(runtime, &texts);
            verdict.voucher = texts.get("SHA256SUMS").map(|&sums_sha256| RuntimeVoucher {
                registry: index.name().clone(),
                package: package.clone(),
                version: version.clone(),
                sums_sha256,
            });
        }
    }
    verdict
}

/// The program as an export writes it.
fn expected(manifest: &Manifest, variant: &Variant, signer: Option<Signer>) -> Program {
    let files = variant.files.iter().map(|file| ProgramFile {
        path: file.path.clone(),
        source: PathBuf::new(),
        size_bytes: file.size_bytes,
        sha256: file.sha256,
    });
    let target = variant.target.clone().unwrap_or_default();
    Program { title: title(manifest, &target), target, signer, files: files.collect() }
}

/// The sums and scripts that are not those that this localml writes for a program.
fn differing(runtime: &RuntimeOnStick, texts: &BTreeMap<String, Sha256>) -> Vec<String> {
    let names: BTreeSet<&String> = runtime.texts.keys().chain(texts.keys()).collect();
    let differs = names.into_iter().filter(|name| runtime.texts.get(*name) != texts.get(*name));
    let folder = &runtime.target;
    let said = |name| format!("`BIN/{folder}/{name}` is not what this localml writes; do not run it");
    differs.map(said).collect()
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
