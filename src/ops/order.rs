//! Which package first: where money or time may end before all is here, the smallest useful set.

use super::choice::Choice;
use super::line::LineOptions;

/// True where something may end the work before all is here.
pub(super) fn is_limited(line: &LineOptions) -> bool {
    line.budget_bytes.is_some() || line.ends_at.is_some() || line.until.is_some()
}

/// Puts the packages into the order in which the cheapest useful one comes next: with what it requires, which comes
/// before it. Kits are no more than their members, and stay last.
pub(super) fn smallest_first(choices: Vec<Choice>, cost_bytes: impl Fn(&Choice) -> u64) -> Vec<Choice> {
    let (kits, mut open): (Vec<Choice>, Vec<Choice>) =
        choices.into_iter().partition(|choice| choice.manifest.is_kit());
    let mut ordered = Vec::new();
    while !open.is_empty() {
        let sets = (0..open.len()).map(|root| with_required(root, &open));
        let cost = |set: &Vec<usize>| set.iter().map(|&at| cost_bytes(&open[at])).sum::<u64>();
        // Of two that cost the same, the one that was named first.
        let Some(mut set) = sets.min_by_key(cost) else { break };
        // What is required was found after what requires it.
        set.reverse();
        let mut taken: Vec<Option<Choice>> = open.into_iter().map(Some).collect();
        ordered.extend(set.into_iter().filter_map(|at| taken[at].take()));
        open = taken.into_iter().flatten().collect();
    }
    ordered.extend(kits);
    ordered
}

/// A package and those still open that it cannot work without, directly or not.
fn with_required(root: usize, open: &[Choice]) -> Vec<usize> {
    let mut set = vec![root];
    let mut next = 0;
    while let Some(&at) = set.get(next) {
        let requires = &open[at].manifest.package.requires;
        let required =
            (0..open.len()).filter(|&other| requires.iter().any(|it| it.name == *open[other].name()));
        let new: Vec<usize> = required.filter(|other| !set.contains(other)).collect();
        set.extend(new);
        next += 1;
    }
    set
}
