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
    let mut costs: Vec<u64> = open.iter().map(cost_bytes).collect();
    let mut ordered = Vec::new();
    while !open.is_empty() {
        let sets = (0..open.len()).map(|root| with_required(root, &open));
        let cost = |set: &Vec<usize>| set.iter().map(|&at| costs[at]).sum::<u64>();
        // Of two that cost the same, the one that was named first.
        let Some(set) = sets.min_by_key(cost) else { break };
        let mut left: Vec<Option<(Choice, u64)>> = open.into_iter().zip(costs).map(Some).collect();
        ordered.extend(set.into_iter().filter_map(|at| left[at].take()).map(|(choice, _)| choice));
        (open, costs) = left.into_iter().flatten().unzip();
    }
    ordered.extend(kits);
    ordered
}

/// Puts what a package requires before it, and leaves the order as it is otherwise.
pub(super) fn required_first(choices: Vec<Choice>) -> Vec<Choice> {
    let mut order = Vec::new();
    for root in 0..choices.len() {
        visit(root, &choices, &mut Vec::new(), &mut order);
    }
    let mut open: Vec<Option<Choice>> = choices.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| open[at].take()).collect()
}

/// A package and those still open that it cannot work without, directly or not; what is required comes first.
fn with_required(root: usize, open: &[Choice]) -> Vec<usize> {
    let mut order = Vec::new();
    visit(root, open, &mut Vec::new(), &mut order);
    order
}

/// Adds a package to the order, after what it requires; `above` are those that led here, so that a circle ends.
fn visit(at: usize, open: &[Choice], above: &mut Vec<usize>, order: &mut Vec<usize>) {
    if above.contains(&at) || order.contains(&at) {
        return;
    }
    above.push(at);
    let requires = &open[at].manifest.package.requires;
    for other in (0..open.len()).filter(|&other| requires.iter().any(|it| it.name == *open[other].name())) {
        visit(other, open, above, order);
    }
    above.pop();
    order.push(at);
}
