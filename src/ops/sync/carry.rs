//! The trip itself: fetch one step, put it on the stick, look at what is left of time and money, and again.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::bundle::{BundleId, DEFAULT_VOLUME_BYTES, SiteId};
use crate::disk;
use crate::error::ErrorKind;
use crate::ops::addressee::fulfils;
use crate::ops::error::{Error, Result};
use crate::ops::export::{ExportOptions, ExportReport, export_some};
use crate::ops::fetch::{SPARE_BYTES, bring};
use crate::ops::line::{Line, LineReport, MAX_LINE_FAILURES};
use crate::ops::pace::{self, Pace, StickFacts};
use crate::ops::site;
use crate::package::PackageRef;
use crate::progress::{Monitor, Until, has_come};

use super::Desk;
use super::errand::{Errand, Gathering, keep};
use super::outline::Outline;
use super::plan::{Cost, Limits, Load, Shortage, Step, draw, first_fitting, stick_seconds};
use super::report::{End, State, SyncReport};

/// Packages of fewer bytes may share a bundle, and no bundle of several has more, in bytes.
const BATCH_BYTES: u64 = 64 * 1024 * 1024;

/// Less than this is put on a stick in a moment, whatever its speed, in bytes.
const SMALL_BYTES: u64 = 1024 * 1024;

/// What is fetched in a moment: packages that are ready need not be written before it, in bytes.
const SHORT_FETCH_BYTES: u64 = 1024 * 1024;

/// One trip, under way.
pub(super) struct Trip<'a> {
    pub(super) desk: &'a Desk<'a>,
    pub(super) stick: &'a Path,
    pub(super) gathering: Gathering<'a>,
    monitor: &'a dyn Monitor,
    /// What became of each errand so far.
    pub(super) states: Vec<Option<State>>,
    /// Errands whose bytes are here and which wait for the stick.
    ready: Vec<usize>,
    pub(super) pace: Option<Pace>,
    pub(super) bundles: Vec<BundleId>,
    written_bytes: u64,
    num_line_failures: usize,
    /// How many errands the stick has room for.
    num_expected: usize,
}

impl<'a> Trip<'a> {
    pub(super) fn new(
        (desk, stick): (&'a Desk<'a>, &'a Path),
        gathering: Gathering<'a>,
        monitor: &'a dyn Monitor,
    ) -> Self {
        let states = vec![None; gathering.errands.len()];
        let stick_bytes: u64 = gathering.errands.iter().map(|errand| errand.stick_bytes).sum();
        let pace = match stick_bytes {
            // So little is written in a moment, and is no reason to try the stick.
            bytes if bytes < SMALL_BYTES => None,
            // A plan writes nothing, not for a trial either.
            bytes if desk.options.is_plan => pace::remembered(desk.home, stick, bytes),
            bytes => pace::expected(desk.home, stick, bytes, monitor),
        };
        let (ready, bundles) = (Vec::new(), Vec::new());
        Self {
            desk,
            stick,
            gathering,
            monitor,
            states,
            ready,
            pace,
            bundles,
            written_bytes: 0,
            num_line_failures: 0,
            num_expected: 0,
        }
    }

    /// Says what would be done.
    ///
    /// # Errors
    /// When a disk cannot be asked for its room.
    pub(super) fn plan(mut self, line: LineReport, facts: StickFacts) -> Result<SyncReport> {
        let limits = self.limits(&line)?;
        let loads = self.loads();
        let steps = draw(&loads, &limits);
        for step in &steps {
            let state = step.shortage.clone().map_or(State::Planned, State::LeftOut);
            self.settle(&step.members, &state);
        }
        let is_all = steps.iter().all(|step| step.shortage.is_none());
        let end = if is_all { End::Done } else { End::Limits };
        let outline = Outline::new(&steps, &loads, &limits);
        Ok(SyncReport {
            is_plan: true,
            stick_bytes: outline.stick_bytes,
            ..self.report(outline, facts, line, end)
        })
    }

    /// Does it.
    ///
    /// # Errors
    /// When the stick or the home fails. What is on the stick by then is whole.
    pub(super) fn travel(mut self, line: &Line, facts: StickFacts) -> Result<SyncReport> {
        let (loads, limits) = (self.loads(), self.limits(&line.report())?);
        let steps = draw(&loads, &limits);
        let fitting = steps.iter().filter(|step| !matches!(step.shortage, Some(Shortage::Stick { .. })));
        self.num_expected = fitting.map(|step| step.members.len()).sum();
        let outline = Outline::new(&steps, &loads, &limits);
        while let Some(step) = self.next(line)? {
            self.make_way_for(&step)?;
            let end = self.last_moment(line, step.cost.stick_bytes)?;
            self.fetch(line, &step, end)?;
        }
        self.write_ready()?;
        self.name_what_does_not_fit(line)?;
        if !self.desk.options.is_whole_only {
            self.begin_the_rest(line)?;
        }
        self.write_lists_alone()?;
        let is_limited = |state: &Option<State>| {
            matches!(state, Some(State::LeftOut(_) | State::Begun { .. } | State::Fetched))
        };
        let end = match self.states.iter().any(is_limited) {
            _ if self.monitor.is_cancelled() => End::Stopped,
            true => End::Limits,
            false => End::Done,
        };
        let written_bytes = self.written_bytes;
        Ok(SyncReport { stick_bytes: written_bytes, ..self.report(outline, facts, line.report(), end) })
    }

    /// The next step that fits, when there is one.
    fn next(&mut self, line: &Line) -> Result<Option<Step>> {
        if self.monitor.is_cancelled() {
            return Ok(None);
        }
        self.give_up_the_useless();
        Ok(first_fitting(&self.loads(), &self.limits(&line.report())?))
    }

    /// What cannot work because something that it needs did not come is not brought either.
    fn give_up_the_useless(&mut self) {
        for index in 0..self.states.len() {
            let needs = &self.gathering.errands[index].needs;
            let lost = needs.iter().find(|&&need| matches!(self.states[need], Some(State::Failed { .. })));
            if let (None, Some(&lost)) = (&self.states[index], lost) {
                let message =
                    format!("it requires `{}`, which did not come", self.gathering.errands[lost].package);
                self.states[index] = Some(State::Failed { message, hint: None, is_network: false });
            }
        }
    }

    fn loads(&self) -> Vec<Load> {
        let mut loads = self.gathering.loads();
        let is_line_down = self.num_line_failures >= MAX_LINE_FAILURES;
        for (index, load) in loads.iter_mut().enumerate() {
            load.is_open = self.states[index].is_none() && !self.ready.contains(&index);
            load.is_open &= !is_line_down || load.fetch.is_empty();
        }
        loads
    }

    fn limits(&self, line: &LineReport) -> Result<Limits> {
        let ready_bytes: u64 = self.errands(&self.ready).map(|errand| errand.stick_bytes).sum();
        let mut limits = Limits {
            budget_bytes: line.budget_left_bytes,
            time: None,
            stick_bytes: disk::free_bytes(self.stick)?.saturating_sub(ready_bytes),
            disk_bytes: disk::free_bytes(self.desk.home.root())?.saturating_sub(SPARE_BYTES),
            line_bytes_per_second: line.bytes_per_second.map(|rate| rate as f64),
            write_bytes_per_second: self.pace.as_ref().map(|pace| pace.write_bytes_per_second),
            read_bytes_per_second: self.pace.as_ref().map(|pace| pace.read_bytes_per_second),
        };
        let kept_back = Duration::try_from_secs_f64(stick_seconds(ready_bytes, &limits)).unwrap_or_default();
        limits.time = line.seconds_left.map(|left| Duration::from_secs(left).saturating_sub(kept_back));
        Ok(limits)
    }

    /// When fetching must end, so that there is time to write what is ready and so many bytes more.
    fn last_moment(&self, line: &Line, stick_bytes: u64) -> Result<Option<Instant>> {
        let Some(left) = line.time_left() else { return Ok(None) };
        let limits = self.limits(&line.report())?;
        let ready_bytes: u64 = self.errands(&self.ready).map(|errand| errand.stick_bytes).sum();
        let kept_back = stick_seconds(ready_bytes + stick_bytes, &limits);
        let kept_back = Duration::try_from_secs_f64(kept_back).unwrap_or_default();
        Ok(Some(Instant::now() + left.saturating_sub(kept_back)))
    }

    /// Puts on the stick what is ready, before something long is fetched or too much waits.
    fn make_way_for(&mut self, step: &Step) -> Result<()> {
        let ready_bytes: u64 = self.errands(&self.ready).map(|errand| errand.stick_bytes).sum();
        let sites_of = |errands: &[usize]| {
            let mut sites: Vec<SiteId> = self.errands(errands).flat_map(|it| it.sites.clone()).collect();
            sites.sort();
            sites.dedup();
            sites
        };
        let is_together = sites_of(&self.ready) == sites_of(&step.members);
        let is_full = ready_bytes + step.cost.stick_bytes > BATCH_BYTES;
        // Of one package the home keeps one build: another one would take its place.
        let name_of = |errand: usize| &self.gathering.errands[errand].package.name;
        let is_rival = |&ready: &usize| step.members.iter().any(|&member| name_of(member) == name_of(ready));
        let has_rival = self.ready.iter().any(is_rival);
        if is_full || has_rival || !is_together || step.cost.fetch_bytes > SHORT_FETCH_BYTES {
            self.write_ready()?;
        }
        Ok(())
    }

    /// Fetches a step; its packages then wait for the stick.
    fn fetch(&mut self, line: &Line, step: &Step, end: Option<Instant>) -> Result<()> {
        let is_over = || has_come(end);
        let until = Until { monitor: self.monitor, is_over };
        for &member in &step.members {
            match self.fetch_one(line, member, &until) {
                Ok(()) => self.num_line_failures = 0,
                Err(error) => {
                    self.stop_at(line, step, (member, error), is_over());
                    return Ok(());
                }
            }
        }
        self.ready.extend(&step.members);
        Ok(())
    }

    fn fetch_one(&self, line: &Line, errand: usize, monitor: &dyn Monitor) -> Result<()> {
        let Desk { home, store, .. } = self.desk;
        let Some(choice) = &self.gathering.errands[errand].choice else { return Ok(()) };
        let _lock = site::lock_in_turn(home, monitor)?;
        bring(home, store, line, choice, monitor)?;
        keep(store, choice)
    }

    /// Notes how a step ended early: the user, the time, the money, or a failure.
    fn stop_at(&mut self, line: &Line, step: &Step, (member, error): (usize, Error), is_over: bool) {
        let left_bytes = line.budget_left_bytes();
        let is_spent =
            error.kind() == ErrorKind::NoRoom && left_bytes.is_some_and(|left| left < step.cost.wire_bytes);
        let is_late = is_over || line.time_left().is_some_and(|left| left.is_zero());
        if self.monitor.is_cancelled() || is_late || is_spent {
            return self.mark_begun(step);
        }
        let is_network = error.kind() == ErrorKind::Network;
        self.num_line_failures = if is_network { self.num_line_failures + 1 } else { 0 };
        let package = &self.gathering.errands[member].package;
        self.monitor.warn(&format!("`{package}` did not come: {}", error.in_one_line()));
        let failed = State::Failed { message: error.with_causes(), hint: error.hint(), is_network };
        self.states[member] = Some(failed.clone());
        if let Some(&root) = step.members.last() {
            self.states[root] = Some(failed);
        }
    }

    /// What came of a step is kept, and the next `sync` goes on with it.
    fn mark_begun(&mut self, step: &Step) {
        let loads = self.gathering.loads();
        for &member in &step.members {
            let missing_bytes: u64 = loads[member].fetch.iter().map(|(_, bytes)| bytes).sum();
            self.states[member] = Some(match missing_bytes {
                0 => State::Fetched,
                _ => State::Begun { missing_bytes },
            });
        }
    }

    /// Writes what is ready as one bundle, commits it and reads it back.
    fn write_ready(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.ready);
        match batch.is_empty() {
            true => Ok(()),
            false => self.write(batch),
        }
    }

    fn write(&mut self, batch: Vec<usize>) -> Result<()> {
        let packages: Vec<PackageRef> = self.errands(&batch).map(|errand| errand.package.clone()).collect();
        let mut sites: Vec<String> =
            self.errands(&batch).flat_map(|errand| &errand.sites).map(ToString::to_string).collect();
        sites.sort();
        sites.dedup();
        let options = export_options(self.stick, packages.clone(), sites);
        let is_wanted = |package: &PackageRef| packages.iter().any(|wanted| fulfils(package, wanted));
        match export_some(self.desk.home, &options, &is_wanted, self.monitor) {
            Ok(report) => self.note_written(&batch, report),
            Err(_) if self.monitor.is_cancelled() => self.settle(&batch, &State::Fetched),
            Err(error) if error.kind() == ErrorKind::NoRoom && batch.len() > 1 => {
                for errand in batch {
                    self.write(vec![errand])?;
                }
            }
            Err(error) if error.kind() == ErrorKind::NoRoom => {
                let needed_bytes = self.errands(&batch).map(|errand| errand.stick_bytes).sum();
                let free_bytes = disk::free_bytes(self.stick)?;
                self.settle(&batch, &State::LeftOut(Shortage::Stick { needed_bytes, free_bytes }));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn note_written(&mut self, batch: &[usize], report: ExportReport) {
        for &errand in batch {
            let name = &self.gathering.errands[errand].package.name;
            let damaged = report.damaged.iter().find(|damaged| damaged.name == *name);
            self.states[errand] = Some(match damaged {
                None => State::Written,
                Some(damaged) => State::Failed {
                    message: format!("its bytes here are damaged: {}", damaged.reason),
                    hint: Some(format!("`localml verify {name}` takes them out of use; then sync again")),
                    is_network: false,
                },
            });
        }
        self.pace = report.pace.or(self.pace.take());
        self.written_bytes += report.size_bytes;
        let names: Vec<String> = self.errands(batch).map(|errand| format!("`{}`", errand.package)).collect();
        self.bundles.push(report.bundle);
        let is_written = |state: &&Option<State>| **state == Some(State::Written);
        let num_written = self.states.iter().filter(is_written).count();
        self.monitor.note(&format!(
            "on the stick and read back: {} ({num_written} of {})",
            names.join(", "),
            self.num_expected.max(num_written)
        ));
    }

    /// Whatever has no state yet does not fit, or the user stopped.
    fn name_what_does_not_fit(&mut self, line: &Line) -> Result<()> {
        if self.monitor.is_cancelled() {
            return Ok(());
        }
        for step in draw(&self.loads(), &self.limits(&line.report())?) {
            if let Some(shortage) = step.shortage {
                self.settle(&step.members, &State::LeftOut(shortage));
            }
        }
        Ok(())
    }

    /// Time and money that nothing whole fits into any more begin what does not fit: the next `sync` completes it.
    fn begin_the_rest(&mut self, line: &Line) -> Result<()> {
        let is_short = |state: &Option<State>| {
            matches!(state, Some(State::LeftOut(Shortage::Budget { .. } | Shortage::Time { .. })))
        };
        let loads = self.gathering.loads();
        let left_bytes = |errand: usize| loads[errand].fetch.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let mut rest: Vec<usize> =
            (0..loads.len()).filter(|&errand| is_short(&self.states[errand])).collect();
        rest.sort_by_key(|&errand| (loads[errand].rank, left_bytes(errand)));
        for errand in rest {
            let is_over = line.time_left().is_some_and(|left| left.is_zero());
            let is_spent = line.budget_left_bytes().is_some_and(|left| left < SHORT_FETCH_BYTES);
            let has_room = left_bytes(errand) <= self.limits(&line.report())?.disk_bytes;
            if self.monitor.is_cancelled() || is_over || is_spent {
                break;
            }
            if has_room && left_bytes(errand) > 0 && self.num_line_failures < MAX_LINE_FAILURES {
                self.begin(line, errand)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, line: &Line, errand: usize) -> Result<()> {
        let package = &self.gathering.errands[errand].package;
        self.monitor.note(&format!(
            "nothing whole fits any more; what is left of time and money begins `{package}` for the next time"
        ));
        let cost = Cost { wire_bytes: u64::MAX, ..Cost::default() };
        let step = Step { members: vec![errand], cost, shortage: None };
        let before = self.states[errand].take();
        self.fetch(line, &step, None)?;
        if self.ready.contains(&errand) {
            // It came whole after all: the speed had been judged too low.
            let limits = self.limits(&line.report())?;
            match limits.time.is_none_or(|left| left > Duration::ZERO) {
                true => self.write_ready()?,
                false => {
                    self.ready.clear();
                    self.states[errand] = Some(State::Fetched);
                }
            }
        }
        if self.states[errand].is_none() {
            self.states[errand] = before;
        }
        Ok(())
    }

    /// When no package went along, the newest signed lists still do, if they brought news.
    fn write_lists_alone(&mut self) -> Result<()> {
        let has_news = self.desk.has_news;
        if !has_news
            || !self.bundles.is_empty()
            || self.desk.addressees.is_empty()
            || self.monitor.is_cancelled()
        {
            return Ok(());
        }
        let sites = self.desk.addressees.iter().map(|site| site.site.to_string()).collect();
        let options = export_options(self.stick, Vec::new(), sites);
        let report = export_some(self.desk.home, &options, &|_| false, self.monitor)?;
        self.written_bytes += report.size_bytes;
        self.bundles.push(report.bundle);
        Ok(())
    }

    /// Gives a state to those that have none.
    fn settle(&mut self, errands: &[usize], state: &State) {
        for &errand in errands {
            self.states[errand].get_or_insert_with(|| state.clone());
        }
    }

    fn errands<'s>(&'s self, indices: &'s [usize]) -> impl Iterator<Item = &'s Errand> {
        indices.iter().map(|&index| &self.gathering.errands[index])
    }
}

fn export_options(stick: &Path, packages: Vec<PackageRef>, sites: Vec<String>) -> ExportOptions {
    ExportOptions {
        stick: Some(stick.to_owned()),
        packages,
        kits: Vec::new(),
        takes_runtime: false,
        requests: Vec::new(),
        sites,
        is_full: false,
        also: Vec::new(),
        is_spread: false,
        begins_anew: false,
        room_bytes: None,
        parity_percent: 0,
        volume_size_bytes: DEFAULT_VOLUME_BYTES,
        is_plan: false,
        signing: None,
    }
}
