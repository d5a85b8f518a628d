//! Who is to get what: the wishes of sites, of the command line and of the courier's list, become packages with
//! the bytes that are missing of them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::bundle::SiteId;
use crate::digest::Sha256;
use crate::error::{ErrorKind, Explain as _};
use crate::home::Home;
use crate::ops::addressee::{Addressee, fulfils};
use crate::ops::choice::{Choice, Chosen, Terms, choose};
use crate::ops::difference::{Share, has_all, has_newer, share_of};
use crate::ops::error::{Error, Result};
use crate::ops::fitting::Fitting;
use crate::ops::holding::{is_whole, reference};
use crate::ops::reuse::{held_bytes, reusable_bytes};
use crate::package::{FileEntry, Manifest, Name, PackageRef, Variant};
use crate::progress::{Monitor, Silent};
use crate::registry::{RegistryError, Resolved, VerifiedIndex, resolve};
use crate::store::{Installed, Store};

use super::aboard::Aboard;
use super::plan::Load;

/// Beside its bytes, what a package takes on a stick: its description, the file table, in bytes.
const STICK_BYTES_PER_PACKAGE: u64 = 128 * 1024;

/// Why a package goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A site asked for it, or has a part of it.
    Asked,
    /// It was named, or stands on the courier's list.
    Named,
    /// A package that was chosen cannot work without it.
    Required,
    /// A site has an older version.
    Newer,
}

/// A wish that cannot be met from what is known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnmetWish {
    /// What is wished for.
    pub package: PackageRef,
    /// The site that wishes it; absent for a wish of the courier's.
    pub site: Option<SiteId>,
    /// Why not.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
}

/// One package that is to go along.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) package: PackageRef,
    /// Where it can be fetched; absent for what only this home has.
    pub(super) choice: Option<Choice>,
    /// Whom it is for; everyone when empty.
    pub(super) sites: Vec<SiteId>,
    pub(super) reason: Reason,
    /// The errands without which it is of no use, counted from 0.
    pub(super) needs: Vec<usize>,
    /// What it takes on the stick, in bytes.
    pub(super) stick_bytes: u64,
}

/// Collects errands, each package once.
pub(super) struct Gathering<'a> {
    pub(super) home: &'a Home,
    pub(super) store: &'a Store,
    pub(super) indexes: &'a [VerifiedIndex],
    pub(super) aboard: &'a Aboard,
    pub(super) accepts_stale: bool,
    monitor: &'a dyn Monitor,
    /// What is here whole, installed or kept.
    held: Vec<Installed>,
    /// What of a file lies here in other files; looked up once.
    reusable_bytes: RefCell<HashMap<Sha256, u64>>,
    pub(super) errands: Vec<Errand>,
    pub(super) unmet: Vec<UnmetWish>,
    /// What the stick brings already, and to whom; everyone when no site stands there.
    pub(super) brought: Vec<(PackageRef, Option<SiteId>)>,
}

impl<'a> Gathering<'a> {
    /// Begins with nothing.
    ///
    /// # Errors
    /// When a record here is damaged.
    pub(super) fn new(
        home: &'a Home,
        store: &'a Store,
        indexes: &'a [VerifiedIndex],
        aboard: &'a Aboard,
        (accepts_stale, monitor): (bool, &'a dyn Monitor),
    ) -> Result<Self> {
        let mut held = [store.fetched()?, store.installed()?].concat();
        held.retain(|held| is_whole(store, held));
        let (errands, unmet, brought) = (Vec::new(), Vec::new(), Vec::new());
        let reusable_bytes = RefCell::default();
        Ok(Self {
            home,
            store,
            indexes,
            aboard,
            accepts_stale,
            monitor,
            held,
            reusable_bytes,
            errands,
            unmet,
            brought,
        })
    }

    /// What a site asked for, has in part, or has in an older version.
    pub(super) fn serve(&mut self, site: &Addressee) {
        for want in &site.wants {
            self.try_wish(want, Reason::Asked, Some(site));
        }
        for half in self.halves_of(site) {
            self.try_wish(&half, Reason::Asked, Some(site));
        }
        for newer in site.packages.iter().filter_map(|has| self.newer_than(has)).collect::<Vec<_>>() {
            self.try_wish(&newer, Reason::Newer, Some(site));
        }
    }

    /// As `wish`; what cannot be met is written down.
    pub(super) fn try_wish(&mut self, wish: &PackageRef, reason: Reason, site: Option<&Addressee>) {
        if let Err(error) = self.wish(wish, reason, site) {
            let (package, site) = (wish.clone(), site.map(|site| site.site.clone()));
            let unmet = UnmetWish { package, site, reason: error.with_causes(), hint: error.hint() };
            if !self.unmet.contains(&unmet) {
                self.unmet.push(unmet);
            }
        }
    }

    /// As `try_wish`, for a package on the courier's own list, off which it can be taken.
    pub(super) fn try_listed(&mut self, wish: &PackageRef, site: Option<&Addressee>) {
        let before = self.unmet.len();
        self.try_wish(wish, Reason::Named, site);
        for unmet in self.unmet[before..].iter_mut().filter(|unmet| unmet.package == *wish) {
            let drop = format!("`localml sync STICK --drop {wish}` takes it off your list");
            unmet.hint =
                Some(unmet.hint.take().map_or_else(|| drop.clone(), |hint| format!("{hint}; {drop}")));
        }
    }

    /// Adds a package, or a kit with its members, and what they cannot work without, as far as the site lacks it
    /// and the stick does not bring it already.
    ///
    /// # Errors
    /// When nothing known here is meant, or it can be had nowhere.
    pub(super) fn wish(&mut self, wish: &PackageRef, reason: Reason, site: Option<&Addressee>) -> Result<()> {
        let Chosen { choices, missing } = match self.choose(wish, site) {
            Ok(chosen) => chosen,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.hold(wish, reason, site, error),
            Err(error) => return Err(error),
        };
        // Members of a kit that no registry has may be here all the same.
        for member in missing {
            self.try_wish(&member.member, reason, site);
        }
        let choices = self.drop_what_has_no_source(choices, site);
        let members: Vec<Name> = choices
            .iter()
            .filter(|choice| choice.manifest.is_kit())
            .flat_map(|kit| kit.manifest.package.members.iter().map(|member| member.name.clone()))
            .collect();
        let is_root = |choice: &Choice| *choice.name() == wish.name || members.contains(choice.name());
        let required: Vec<PackageRef> =
            choices.iter().flat_map(|choice| choice.manifest.package.requires.clone()).collect();
        let is_there = |choice: &Choice| {
            let mut asked = required.iter().filter(|required| required.name == *choice.name());
            site.is_some_and(|site| asked.all(|it| site.packages.iter().any(|has| fulfils(has, it))))
        };
        let requires: Vec<(usize, Vec<PackageRef>)> = choices
            .into_iter()
            .filter(|choice| is_root(choice) || !is_there(choice))
            .filter_map(|choice| {
                let reason = if is_root(&choice) { reason } else { Reason::Required };
                let requires = choice.manifest.package.requires.clone();
                Some((self.add(choice.to_installed(), Some(choice), reason, site)?, requires))
            })
            .collect();
        for (errand, requires) in requires {
            self.link(errand, &requires);
        }
        Ok(())
    }

    /// What the errands weigh now, for the plan.
    pub(super) fn loads(&self) -> Vec<Load> {
        self.errands.iter().map(|errand| self.load(errand)).collect()
    }

    fn load(&self, errand: &Errand) -> Load {
        let missing = errand.choice.iter().flat_map(|choice| choice.missing(self.store));
        let left = missing.map(|(file, _)| (file.sha256, file.size_bytes - self.bytes_here(file)));
        Load {
            fetch: left.collect(),
            stick_bytes: errand.stick_bytes,
            rank: u8::from(errand.reason == Reason::Newer),
            is_root: errand.reason != Reason::Required,
            needs: errand.needs.clone(),
            is_open: true,
        }
    }

    /// How much of a file need not come: what an earlier try brought, or else what lies here in other files, those
    /// among them that sticks brought in part.
    fn bytes_here(&self, file: &FileEntry) -> u64 {
        let reusable_bytes = || reusable_bytes(self.home, self.store, file, self.monitor);
        let mut reusable = self.reusable_bytes.borrow_mut();
        let reusable_bytes = *reusable.entry(file.sha256).or_insert_with(reusable_bytes);
        held_bytes(self.home, file).max(reusable_bytes)
    }

    /// The versions and builds that a wish comes to for a site; for this machine when there is none.
    fn choose(&self, wish: &PackageRef, site: Option<&Addressee>) -> Result<Chosen> {
        let fitting = match site {
            Some(site) => Fitting::at(site.platform.as_deref(), site.ram_bytes),
            None => Fitting::here(true),
        };
        let resolved = self.resolve(wish)?;
        let head = &resolved.manifest.package;
        let variant = match (resolved.variant, resolved.manifest.is_kit()) {
            (_, true) => None,
            (Some(variant), false) => Some(variant),
            (None, false) => Some(self.build_for(resolved.manifest, &fitting)?),
        };
        let exact = PackageRef {
            registry: Some(resolved.index.name().clone()),
            name: head.name.clone(),
            version: Some(head.version.clone()),
            variant: variant.map(|variant| variant.id.clone()),
        };
        let terms = Terms { fitting, accepts_stale: self.accepts_stale, monitor: &Silent };
        choose(&[exact], self.indexes, self.store, &terms)
    }

    /// Finds what is meant. What a registry or a build is called elsewhere may mean nothing here: then the name counts.
    fn resolve(&self, wish: &PackageRef) -> Result<Resolved<'a>> {
        let any_registry = PackageRef { registry: None, ..wish.clone() };
        match resolve(self.indexes, wish) {
            Err(RegistryError::NoSuchRegistry { .. }) => Ok(resolve(self.indexes, &any_registry)?),
            // The site that has such a registry may mean what ours calls otherwise.
            Err(error) if wish.registry.is_some() && error.kind() == ErrorKind::NotFound => {
                resolve(self.indexes, &any_registry).map_err(|_| error.into())
            }
            resolved => Ok(resolved?),
        }
    }

    /// The build that is here already where it runs there, else the publisher's first that does.
    fn build_for<'m>(&self, manifest: &'m Manifest, fitting: &Fitting) -> Result<&'m Variant> {
        let head = &manifest.package;
        let is_same =
            |held: &&Installed| *held.name() == head.name && held.manifest.package.version == head.version;
        let here = self.held.iter().filter(is_same).filter_map(|held| manifest.variant(&held.variant));
        let mut here = here.filter(|variant| fitting.suits(manifest, variant));
        here.next().map_or_else(|| fitting.pick(manifest), Ok)
    }

    /// A package that no registry known here names, but that is here.
    fn hold(
        &mut self,
        wish: &PackageRef,
        reason: Reason,
        site: Option<&Addressee>,
        error: Error,
    ) -> Result<()> {
        let version = |held: &&Installed| held.manifest.package.version.clone();
        let meant = self.held.iter().filter(|held| fulfils(&reference(held), wish));
        let Some(held) = meant.max_by_key(version).cloned() else { return Err(error) };
        let requires = held.manifest.package.requires.clone();
        let Some(errand) = self.add(held, None, reason, site) else { return Ok(()) };
        for required in &requires {
            self.try_wish(required, Reason::Required, site);
        }
        self.link(errand, &requires);
        Ok(())
    }

    /// Leaves out what can be had nowhere, and what cannot work without it; each is written down.
    fn drop_what_has_no_source(&mut self, mut choices: Vec<Choice>, site: Option<&Addressee>) -> Vec<Choice> {
        let mut lost: Vec<(PackageRef, String)> = Vec::new();
        loop {
            let is_lost = |choice: &Choice| {
                let missing = choice.missing(self.store);
                let file = missing.iter().find(|(_, sources)| sources.file.is_empty());
                let requires = &choice.manifest.package.requires;
                let needs = requires.iter().find(|need| lost.iter().any(|(other, _)| fulfils(other, need)));
                match (file, needs) {
                    (Some((file, _)), _) => Some(format!("no source is known for `{}`", file.path)),
                    (None, Some(need)) => Some(format!("it requires `{need}`, which can be had nowhere")),
                    (None, None) => None,
                }
            };
            let found = choices.iter().enumerate().find_map(|(at, choice)| Some((at, is_lost(choice)?)));
            let Some((at, reason)) = found else { break };
            lost.push((reference(&choices.remove(at).to_installed()), reason));
        }
        for (package, reason) in lost {
            let hint = "its publisher's registry may bring it: `localml registry add`".to_owned();
            let site = site.map(|site| site.site.clone());
            let unmet = UnmetWish { package, site, reason, hint: Some(hint) };
            if !self.unmet.contains(&unmet) {
                self.unmet.push(unmet);
            }
        }
        choices
    }

    /// Writes a package down, or the site beside others that get it; `None` when the site has it or will have it
    /// from this stick.
    fn add(
        &mut self,
        installed: Installed,
        choice: Option<Choice>,
        reason: Reason,
        site: Option<&Addressee>,
    ) -> Option<usize> {
        let package = reference(&installed);
        if site.is_some_and(|site| has_all(site, &installed) || has_newer(site, &installed)) {
            return None;
        }
        let id = site.map(|site| site.site.clone());
        if self.aboard.brings(&installed, site, self.store) {
            let brought = (package, id);
            if !self.brought.contains(&brought) {
                self.brought.push(brought);
            }
            return None;
        }
        let stick_bytes = self.stick_bytes(&installed, site);
        let known = self.errands.iter().position(|errand| fulfils(&errand.package, &package));
        let index = known.unwrap_or_else(|| {
            let (sites, needs) = (Vec::new(), Vec::new());
            self.errands.push(Errand { package, choice, sites, reason, needs, stick_bytes: 0 });
            self.errands.len() - 1
        });
        let errand = &mut self.errands[index];
        errand.reason = errand.reason.min(reason);
        errand.stick_bytes = errand.stick_bytes.max(stick_bytes);
        errand.sites.extend(id.filter(|id| !errand.sites.contains(id)));
        Some(index)
    }

    /// What of a package a site needs on the stick, in bytes, about.
    fn stick_bytes(&self, installed: &Installed, site: Option<&Addressee>) -> u64 {
        let sites: Vec<&Addressee> = site.into_iter().collect();
        let mut seen: HashSet<Sha256> = HashSet::new();
        let mut sum = STICK_BYTES_PER_PACKAGE;
        for file in installed.files().iter().filter(|file| seen.insert(file.sha256)) {
            let pieces = file.pieces.and_then(|digest| self.store.piece_list(&digest).ok().flatten());
            let bytes = match share_of(file, pieces.as_ref(), &sites) {
                Share::Nothing => 0,
                Share::Whole => file.size_bytes,
                Share::Pieces(ranges) => {
                    let pieces: u64 = ranges.iter().map(|range| range.len() as u64).sum();
                    pieces.saturating_mul(crate::package::MAX_PIECE_BYTES).min(file.size_bytes)
                }
            };
            // Each piece has a head of its own in the archive.
            sum = sum.saturating_add(bytes).saturating_add(bytes / 4096);
        }
        sum
    }

    /// Notes which errands one cannot work without.
    fn link(&mut self, errand: usize, requires: &[PackageRef]) {
        let is_required = |other: &Errand| requires.iter().any(|required| fulfils(&other.package, required));
        let needs = (0..self.errands.len()).filter(|&other| other != errand);
        let needs: Vec<usize> = needs.filter(|&other| is_required(&self.errands[other])).collect();
        let own = &mut self.errands[errand].needs;
        needs.into_iter().for_each(|need| {
            if !own.contains(&need) {
                own.push(need)
            }
        });
    }

    /// The packages of which a site has a part, where no wish of its own speaks of them.
    fn halves_of(&self, site: &Addressee) -> Vec<PackageRef> {
        let halves: HashSet<Sha256> = site.halves().iter().map(|half| half.sha256).collect();
        if halves.is_empty() {
            return Vec::new();
        }
        let is_wished =
            |manifest: &&Manifest| site.wants.iter().any(|want| want.name == manifest.package.name);
        let manifests = self.indexes.iter().flat_map(VerifiedIndex::manifests);
        let mut found: Vec<PackageRef> = Vec::new();
        for manifest in manifests.filter(|manifest| !is_wished(manifest)) {
            let has_half =
                |variant: &&Variant| variant.files.iter().any(|file| halves.contains(&file.sha256));
            let head = &manifest.package;
            found.extend(manifest.variants.iter().filter(has_half).map(|variant| PackageRef {
                registry: None,
                name: head.name.clone(),
                version: Some(head.version.clone()),
                variant: Some(variant.id.clone()),
            }));
        }
        // Of several versions that share it, the newest.
        found.sort_by(|left, right| (&left.name, &right.version).cmp(&(&right.name, &left.version)));
        found.dedup_by(|later, first| later.name == first.name);
        found
    }

    /// A wish for a later version of what a site has, in the same build where there is one.
    fn newer_than(&self, has: &PackageRef) -> Option<PackageRef> {
        let same_build = PackageRef { version: None, ..has.clone() };
        let any_build = PackageRef { variant: None, ..same_build.clone() };
        let (wish, resolved) = match self.resolve(&same_build) {
            Ok(resolved) => (same_build, resolved),
            Err(_) => (any_build.clone(), self.resolve(&any_build).ok()?),
        };
        let newest = &resolved.manifest.package.version;
        (Some(newest) > has.version.as_ref()).then_some(wish)
    }
}

/// The fetched bytes of a package become its record, so that it can be carried on.
///
/// # Errors
/// When it is not here whole, or the home cannot be written.
pub(super) fn keep(store: &Store, choice: &Choice) -> Result<()> {
    Ok(store.keep(&choice.to_installed())?)
}
