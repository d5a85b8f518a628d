//! What fits into the money, the minutes and the room, the smallest useful set first. Decides; touches nothing.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;

use crate::digest::Sha256;

/// Beside the bytes of a file, what asking for it costs on the wire: headers and handshakes, in bytes.
const WIRE_BYTES_PER_FILE: u64 = 8 * 1024;

/// What the packets' own headers add, in hundredths.
const WIRE_PERCENT: u64 = 1;

/// How long the commit of one bundle takes beside its bytes, in seconds: a slow stick's file table.
const COMMIT_SECONDS: f64 = 2.0;

/// How much longer than expected a stick may take, as a factor: time is kept back for that.
const STICK_RESERVE: f64 = 1.2;

/// Speeds to put packages into an order by, where none is known, in bytes a second: a slow line, a cheap stick.
const USUAL_LINE: f64 = 125_000.0;
const USUAL_WRITE: f64 = 4_000_000.0;
const USUAL_READ: f64 = 20_000_000.0;

/// What one package weighs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Load {
    /// What must come over the line: each blob with the bytes that are missing of it.
    pub(super) fetch: Vec<(Sha256, u64)>,
    /// What it takes on the stick, in bytes.
    pub(super) stick_bytes: u64,
    /// Lower ranks go first: what was asked for, then what would be newer.
    pub(super) rank: u8,
    /// True when it is of use for itself; others only go along.
    pub(super) is_root: bool,
    /// The loads without which it is of no use, counted from 0.
    pub(super) needs: Vec<usize>,
    /// False when it is done, or was given up.
    pub(super) is_open: bool,
}

/// What there is to spend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// What the budget has left on the wire; `None` where there is none.
    pub(super) budget_bytes: Option<u64>,
    /// What the time has left; `None` where there is no end.
    pub(super) time: Option<Duration>,
    /// The room on the stick, in bytes.
    pub(super) stick_bytes: u64,
    /// The room in the home, in bytes.
    pub(super) disk_bytes: u64,
    /// How fast the line is; `None` when nobody knows yet.
    pub(super) line_bytes_per_second: Option<f64>,
    /// How fast the stick is written; `None` when nobody knows.
    pub(super) write_bytes_per_second: Option<u64>,
    /// How fast it is read back.
    pub(super) read_bytes_per_second: Option<u64>,
}

/// What one step costs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    /// Bytes that come over the line.
    pub(super) fetch_bytes: u64,
    /// The same with headers.
    pub(super) wire_bytes: u64,
    /// Bytes that are written to the stick.
    pub(super) stick_bytes: u64,
}

/// Why something does not go along this time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "shortage", rename_all = "snake_case")]
pub enum Shortage {
    /// The money.
    Budget {
        /// On the wire, headers in.
        needed_bytes: u64,
        /// What is left when everything smaller was paid for.
        left_bytes: u64,
    },
    /// The minutes.
    Time {
        /// To fetch it, to write it and to read it back, at the speeds that are known.
        needed_seconds: u64,
        /// What is left when everything smaller is done.
        left_seconds: u64,
    },
    /// The stick.
    Stick {
        /// With the file system's own needs.
        needed_bytes: u64,
        /// What is left beside everything smaller.
        free_bytes: u64,
    },
    /// The disk of the home.
    Disk {
        /// What would be fetched.
        needed_bytes: u64,
        /// What is left beside everything smaller.
        free_bytes: u64,
    },
}

/// One package and what it cannot work without.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// The loads, what others need first, counted from 0.
    pub(super) members: Vec<usize>,
    /// What they cost beside the steps before.
    pub(super) cost: Cost,
    /// Why it does not go along; `None` when it does.
    pub(super) shortage: Option<Shortage>,
}

/// Puts all open loads into an order, and says of each whether it fits beside those before it.
pub(super) fn draw(loads: &[Load], limits: &Limits) -> Vec<Step> {
    let mut steps = Vec::new();
    walk(loads, limits, &mut |step| {
        steps.push(step);
        true
    });
    steps
}

/// The first step that fits.
pub(super) fn first_fitting(loads: &[Load], limits: &Limits) -> Option<Step> {
    let mut found = None;
    walk(loads, limits, &mut |step| {
        found = Some(step).filter(|step| step.shortage.is_none());
        found.is_none()
    });
    found
}

/// Hands over step after step, as long as `goes_on` says so.
fn walk(loads: &[Load], limits: &Limits, goes_on: &mut dyn FnMut(Step) -> bool) {
    let mut left = *limits;
    let mut paid: HashSet<Sha256> = HashSet::new();
    let mut taken = vec![false; loads.len()];
    let mut open: Vec<usize> =
        (0..loads.len()).filter(|&index| loads[index].is_root && loads[index].is_open).collect();
    while let Some(place) = cheapest(&open, loads, &taken, (&paid, limits)) {
        let root = open.remove(place);
        if taken[root] {
            continue;
        }
        let members = members(root, loads, &taken);
        let cost = cost(&members, loads, &paid);
        let shortage = shortage(&cost, &left);
        if shortage.is_none() {
            spend(&mut left, &cost);
            members.iter().for_each(|&member| taken[member] = true);
            paid.extend(members.iter().flat_map(|&member| &loads[member].fetch).map(|(digest, _)| digest));
        }
        if !goes_on(Step { members, cost, shortage }) {
            return;
        }
    }
}

/// How long a cost takes, in seconds; what nobody can tell counts as nothing.
pub(super) fn seconds(cost: &Cost, limits: &Limits) -> f64 {
    fetch_seconds(cost, limits) + stick_seconds(cost.stick_bytes, limits)
}

/// How long so many bytes take to be written to the stick and read back, with some reserve, in seconds.
pub(super) fn stick_seconds(stick_bytes: u64, limits: &Limits) -> f64 {
    if stick_bytes == 0 {
        return 0.0;
    }
    let at = |speed: Option<u64>| speed.map_or(0.0, |speed| stick_bytes as f64 / speed.max(1) as f64);
    let bytes = at(limits.write_bytes_per_second) + at(limits.read_bytes_per_second);
    bytes * STICK_RESERVE + COMMIT_SECONDS
}

fn fetch_seconds(cost: &Cost, limits: &Limits) -> f64 {
    limits.line_bytes_per_second.map_or(0.0, |rate| cost.wire_bytes as f64 / rate.max(1.0))
}

/// The place in `open` of the one to take next: by rank, then by how long it takes.
fn cheapest(
    open: &[usize],
    loads: &[Load],
    taken: &[bool],
    (paid, limits): (&HashSet<Sha256>, &Limits),
) -> Option<usize> {
    let usual = Limits {
        line_bytes_per_second: limits.line_bytes_per_second.or(Some(USUAL_LINE)),
        write_bytes_per_second: limits.write_bytes_per_second.or(Some(USUAL_WRITE as u64)),
        read_bytes_per_second: limits.read_bytes_per_second.or(Some(USUAL_READ as u64)),
        ..*limits
    };
    let weight = |root: usize| seconds(&cost(&members(root, loads, taken), loads, paid), &usual);
    let weights: Vec<(u8, f64, usize)> =
        open.iter().map(|&root| (loads[root].rank, weight(root), root)).collect();
    let order = |left: &(u8, f64, usize), right: &(u8, f64, usize)| {
        let by_weight = left.1.partial_cmp(&right.1).unwrap_or(Ordering::Equal);
        left.0.cmp(&right.0).then(by_weight).then(left.2.cmp(&right.2))
    };
    (0..weights.len()).min_by(|&left, &right| order(&weights[left], &weights[right]))
}

/// A load with all that it needs and that is neither taken nor done, what is needed first.
fn members(root: usize, loads: &[Load], taken: &[bool]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut queue = vec![root];
    while let Some(index) = queue.pop() {
        found.push(index);
        let is_wanted = |need: &&usize| loads[**need].is_open && !taken[**need];
        queue.extend(loads[index].needs.iter().filter(is_wanted).filter(|need| seen.insert(**need)));
    }
    found.reverse();
    found
}

fn cost(members: &[usize], loads: &[Load], paid: &HashSet<Sha256>) -> Cost {
    let mut seen: HashSet<Sha256> = HashSet::new();
    let mut cost = Cost::default();
    for load in members.iter().map(|&member| &loads[member]) {
        cost.stick_bytes += load.stick_bytes;
        for (digest, bytes) in load.fetch.iter().filter(|(digest, _)| !paid.contains(digest)) {
            if seen.insert(*digest) {
                cost.fetch_bytes += bytes;
                cost.wire_bytes += bytes + bytes / 100 * WIRE_PERCENT + WIRE_BYTES_PER_FILE;
            }
        }
    }
    cost
}

fn shortage(cost: &Cost, left: &Limits) -> Option<Shortage> {
    if cost.stick_bytes > left.stick_bytes {
        let (needed_bytes, free_bytes) = (cost.stick_bytes, left.stick_bytes);
        return Some(Shortage::Stick { needed_bytes, free_bytes });
    }
    if cost.fetch_bytes > left.disk_bytes {
        let (needed_bytes, free_bytes) = (cost.fetch_bytes, left.disk_bytes);
        return Some(Shortage::Disk { needed_bytes, free_bytes });
    }
    if let Some(left_bytes) = left.budget_bytes.filter(|&left_bytes| cost.wire_bytes > left_bytes) {
        return Some(Shortage::Budget { needed_bytes: cost.wire_bytes, left_bytes });
    }
    let needed = seconds(cost, left);
    match left.time {
        Some(time) if needed > time.as_secs_f64() => {
            let (needed_seconds, left_seconds) = (needed.ceil() as u64, time.as_secs());
            Some(Shortage::Time { needed_seconds, left_seconds })
        }
        _ => None,
    }
}

fn spend(left: &mut Limits, cost: &Cost) {
    left.budget_bytes = left.budget_bytes.map(|bytes| bytes.saturating_sub(cost.wire_bytes));
    let needed = Duration::try_from_secs_f64(seconds(cost, left)).unwrap_or_default();
    left.time = left.time.map(|time| time.saturating_sub(needed));
    left.stick_bytes = left.stick_bytes.saturating_sub(cost.stick_bytes);
    left.disk_bytes = left.disk_bytes.saturating_sub(cost.fetch_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn blob(name: &str, bytes: u64) -> (Sha256, u64) {
        (Sha256::of(name.as_bytes()), bytes)
    }

    fn load(name: &str, bytes: u64) -> Load {
        let fetch = vec![blob(name, bytes)];
        Load { fetch, stick_bytes: bytes, rank: 0, is_root: true, needs: Vec::new(), is_open: true }
    }

    fn limits() -> Limits {
        Limits {
            budget_bytes: None,
            time: None,
            stick_bytes: u64::MAX,
            disk_bytes: u64::MAX,
            line_bytes_per_second: Some(1e6),
            write_bytes_per_second: Some(4 * MB),
            read_bytes_per_second: Some(20 * MB),
        }
    }

    /// The members of the steps that fit.
    fn fitting(steps: &[Step]) -> Vec<Vec<usize>> {
        steps.iter().filter(|step| step.shortage.is_none()).map(|step| step.members.clone()).collect()
    }

    #[test]
    fn the_smallest_goes_first_and_what_was_asked_for_before_what_is_only_newer() {
        let newer = Load { rank: 1, ..load("newer", MB) };
        let steps = draw(&[load("large", 9 * MB), newer, load("small", 2 * MB)], &limits());
        assert_eq!(fitting(&steps), [vec![2], vec![0], vec![1]]);
    }

    #[test]
    fn a_budget_takes_what_fits_and_names_the_rest() {
        // 3 MB cost 3 MB and 1 % and 8 KiB: 3,038,192 bytes. Of 10 MB that leaves 6,961,808; 8 MB do not fit.
        let limits = Limits { budget_bytes: Some(10 * MB), ..limits() };
        let steps = draw(&[load("large", 8 * MB), load("small", 3 * MB)], &limits);
        assert_eq!(fitting(&steps), [vec![1]]);
        let expected = Shortage::Budget { needed_bytes: 8_088_192, left_bytes: 6_961_808 };
        assert_eq!(steps[1].shortage, Some(expected));
    }

    #[test]
    fn time_is_for_fetching_and_for_the_stick() {
        // 10 MB: 10.108 s on the line, (2.5 + 0.5) × 1.2 + 2 = 5.6 s on the stick.
        let cost = cost(&[0], &[load("a", 10 * MB)], &HashSet::new());
        assert!((seconds(&cost, &limits()) - 15.708).abs() < 0.001, "{}", seconds(&cost, &limits()));
        let with = |time| Limits { time: Some(Duration::from_secs(time)), ..limits() };
        assert_eq!(fitting(&draw(&[load("a", 10 * MB)], &with(16))).len(), 1);
        let steps = draw(&[load("a", 10 * MB)], &with(15));
        assert_eq!(steps[0].shortage, Some(Shortage::Time { needed_seconds: 16, left_seconds: 15 }));
    }

    #[test]
    fn what_a_package_needs_goes_along_and_is_paid_once() {
        let needed = Load { is_root: false, ..load("needed", MB) };
        let one = Load { needs: vec![0], ..load("one", 2 * MB) };
        let two = Load { needs: vec![0], ..load("two", 3 * MB) };
        let steps = draw(&[needed, one, two], &limits());
        assert_eq!(fitting(&steps), [vec![0, 1], vec![2]]);
        assert_eq!((steps[0].cost.fetch_bytes, steps[1].cost.fetch_bytes), (3 * MB, 3 * MB));
        // Without the one that needs it, it is of no use.
        let steps = draw(&[Load { is_root: false, ..load("needed", MB) }], &limits());
        assert!(steps.is_empty());
    }

    #[test]
    fn a_blob_that_two_packages_share_comes_over_the_line_once() {
        let shared = blob("shared", 5 * MB);
        let with = |name: &str| Load { fetch: vec![shared, blob(name, MB)], ..load(name, 6 * MB) };
        let steps = draw(&[with("a"), with("b")], &limits());
        assert_eq!((steps[0].cost.fetch_bytes, steps[1].cost.fetch_bytes), (6 * MB, MB));
        assert_eq!(steps[1].cost.stick_bytes, 6 * MB);
    }

    #[test]
    fn a_small_stick_or_disk_is_named() {
        let stick = Limits { stick_bytes: 4 * MB, ..limits() };
        let steps = draw(&[load("a", 5 * MB)], &stick);
        let expected = Shortage::Stick { needed_bytes: 5 * MB, free_bytes: 4 * MB };
        assert_eq!(steps[0].shortage, Some(expected));
        let disk = Limits { disk_bytes: 4 * MB, ..limits() };
        let steps = draw(&[load("a", 5 * MB), load("b", 3 * MB)], &disk);
        assert_eq!(steps[0].shortage, None);
        assert_eq!(steps[1].shortage, Some(Shortage::Disk { needed_bytes: 5 * MB, free_bytes: MB }));
    }

    #[test]
    fn packages_that_need_each_other_end() {
        let one = Load { needs: vec![1], ..load("one", MB) };
        let two = Load { needs: vec![0], ..load("two", 2 * MB) };
        assert_eq!(fitting(&draw(&[one, two], &limits())), [vec![1, 0]]);
    }

    #[test]
    fn done_loads_cost_nothing_more() {
        let done = Load { is_open: false, ..load("done", MB) };
        let other = Load { needs: vec![0], ..load("other", 2 * MB) };
        assert_eq!(fitting(&draw(&[done, other], &limits())), [vec![1]]);
    }
}
