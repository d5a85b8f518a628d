//! Which build of a package suits this machine, decided before any byte is spent.

use crate::error::ErrorKind;
use crate::hardware::{self, DEFAULT_CONTEXT_TOKENS, Machine, Need, Verdict};
use crate::package::{Kind, Manifest, Variant};

use super::error::{Error, Result};

/// A machine that packages are chosen for.
#[derive(Debug)]
pub(super) struct Fitting {
    machine: Machine,
    /// True when the keeper said that too large is fine, for example to carry it elsewhere.
    ignores_memory: bool,
}

impl Fitting {
    /// Chooses for this machine.
    pub(super) fn here(ignores_memory: bool) -> Self {
        Self { machine: hardware::probe(), ignores_memory }
    }

    /// Chooses for a site that told of itself: its platform as a target triple, its memory. What it did not tell
    /// stands in no build's way. Too large is fine: the site asked.
    pub(super) fn at(platform: Option<&str>, ram_bytes: Option<u64>) -> Self {
        let here = hardware::probe();
        let triple = platform.unwrap_or_default();
        let architecture = triple.split('-').next().filter(|name| !name.is_empty());
        let systems = ["linux", "darwin", "windows"];
        let system = systems.into_iter().find(|system| triple.contains(system));
        let ram_bytes = ram_bytes.unwrap_or(u64::MAX);
        let machine = Machine {
            system: system.map_or(here.system, ToOwned::to_owned),
            architecture: architecture.map_or(here.architecture, ToOwned::to_owned),
            ram_bytes,
            available_bytes: ram_bytes,
            ..here
        };
        Self { machine, ignores_memory: true }
    }

    /// The publisher's first build that fits; when none does, the smallest, which `check` then judges.
    pub(super) fn pick<'a>(&self, manifest: &'a Manifest) -> Result<&'a Variant> {
        let suits = |variant: &&Variant| self.suits(manifest, variant);
        let smallest = || manifest.variants.iter().min_by_key(|variant| variant.size_bytes());
        manifest.variants.iter().find(suits).or_else(smallest).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("`{}` has no build", manifest.package.name))
        })
    }

    /// True for a build that runs there.
    pub(super) fn suits(&self, manifest: &Manifest, variant: &Variant) -> bool {
        self.is_for_this_platform(variant) && self.verdict(manifest, variant).1 != Verdict::TooBig
    }

    /// Refuses a model that cannot run here.
    pub(super) fn check(&self, manifest: &Manifest, variant: &Variant) -> Result<()> {
        let (need, verdict) = self.verdict(manifest, variant);
        if self.ignores_memory || verdict != Verdict::TooBig {
            return Ok(());
        }
        let message = format!(
            "`{}:{}` needs about {:.1} GiB of memory at {} tokens of context; this PC has {:.1} GiB",
            manifest.package.name,
            variant.id,
            gib(need.total_bytes),
            need.context_tokens,
            gib(self.machine.ram_bytes)
        );
        Err(Error::new(ErrorKind::NoRoom, message)
            .with_hint("choose a smaller model, or pass `--anyway` to carry it to another PC"))
    }

    /// What a build needs, and how that suits this machine. Only models are loaded whole into memory.
    pub(super) fn verdict(&self, manifest: &Manifest, variant: &Variant) -> (Need, Verdict) {
        let need = hardware::need(variant.size_bytes(), variant.shape.as_ref(), DEFAULT_CONTEXT_TOKENS);
        let is_model = matches!(manifest.package.kind, Kind::ChatModel | Kind::Embedder | Kind::Reranker);
        let verdict = if is_model { hardware::fit(&need, &self.machine) } else { Verdict::Fits };
        (need, verdict)
    }

    fn is_for_this_platform(&self, variant: &Variant) -> bool {
        variant.target.as_ref().is_none_or(|target| {
            target.starts_with(&self.machine.architecture) && target.contains(&self.machine.system)
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(super) fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0 * 1024.0)
}
