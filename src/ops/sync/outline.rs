//! What the first plan said, and the report that is made of it and of what became of it.

use crate::ops::addressee::Addressee;
use crate::ops::line::LineReport;
use crate::ops::pace::StickFacts;

use super::carry::Trip;
use super::errand::Errand;
use super::plan::{Limits, Load, Step, seconds};
use super::report::{BroughtPackage, End, State, SyncReport, SyncedPackage, SyncedSite};

/// What the first plan said.
pub(super) struct Outline {
    /// All errands that go along or would, in the order of the plan.
    pub(super) order: Vec<usize>,
    pub(super) fetch_bytes_of: Vec<u64>,
    pub(super) seconds_of: Vec<Option<u64>>,
    pub(super) fetch_bytes: u64,
    pub(super) stick_bytes: u64,
    pub(super) seconds: Option<u64>,
}

impl Outline {
    pub(super) fn new(steps: &[Step], loads: &[Load], limits: &Limits) -> Self {
        let mut order: Vec<usize> = Vec::new();
        for &member in steps.iter().flat_map(|step| &step.members) {
            if !order.contains(&member) {
                order.push(member);
            }
        }
        let shown = |step: &Step| {
            let is_line_known = limits.line_bytes_per_second.is_some() || step.cost.fetch_bytes == 0;
            let is_known = is_line_known && limits.write_bytes_per_second.is_some();
            is_known.then(|| seconds(&step.cost, limits).ceil() as u64)
        };
        let mut seconds_of = vec![None; loads.len()];
        for step in steps {
            if let Some(&root) = step.members.last() {
                seconds_of[root] = shown(step);
            }
        }
        let fitting = || steps.iter().filter(|step| step.shortage.is_none());
        Self {
            order,
            fetch_bytes_of: loads
                .iter()
                .map(|load| load.fetch.iter().map(|(_, bytes)| bytes).sum())
                .collect(),
            seconds_of,
            fetch_bytes: fitting().map(|step| step.cost.fetch_bytes).sum(),
            stick_bytes: fitting().map(|step| step.cost.stick_bytes).sum(),
            seconds: fitting().map(shown).sum(),
        }
    }
}

impl Trip<'_> {
    /// Everything together, but for what was written to the stick.
    pub(super) fn report(
        self,
        outline: Outline,
        facts: StickFacts,
        line: LineReport,
        end: End,
    ) -> SyncReport {
        let Self { desk, stick, gathering, states, pace, bundles, .. } = self;
        let mut packages: Vec<SyncedPackage> = Vec::new();
        for &index in &outline.order {
            let Errand { package, sites, reason, stick_bytes, .. } = &gathering.errands[index];
            packages.push(SyncedPackage {
                package: package.clone(),
                sites: sites.clone(),
                reason: *reason,
                fetch_bytes: outline.fetch_bytes_of[index],
                stick_bytes: *stick_bytes,
                seconds: outline.seconds_of[index],
                state: states[index].clone().unwrap_or(State::Waiting),
            });
        }
        let site = |site: &Addressee| SyncedSite { site: site.site.clone(), label: site.label.clone() };
        let brought = gathering.brought.into_iter().map(|(package, site)| BroughtPackage { package, site });
        SyncReport {
            stick: stick.to_owned(),
            sites: desk.addressees.iter().map(site).collect(),
            packages,
            brought: brought.collect(),
            unmet: gathering.unmet,
            fetch_bytes: outline.fetch_bytes,
            stick_bytes: 0,
            seconds: outline.seconds,
            bundles,
            line,
            pace,
            facts,
            registries: None,
            end,
            is_plan: false,
        }
    }
}
