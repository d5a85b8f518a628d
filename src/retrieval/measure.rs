//! How good rankings are, in the field's own numbers.
//!
//! `nDCG@10 = Σ gain(rank) / log2(rank + 1)` over the first ten, divided by the same sum of the best order;
//! the gain is the judged grade (trec_eval's and BEIR's way).

use std::collections::HashMap;

use serde::Serialize;

/// The judged documents of one question, with their grades above 0.
pub type Judgements = HashMap<String, u32>;

/// Means over all questions that have a judged document.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Measures {
    /// nDCG of the first ten.
    pub ndcg_at_10: f64,
    /// How often the first is right.
    pub precision_at_1: f64,
    /// The share of right documents among the first five.
    pub recall_at_5: f64,
    /// The share of right documents among the first hundred.
    pub recall_at_100: f64,
}

/// Measures rankings (document names, best first) against their judgements.
pub fn measure<'a>(rankings: impl Iterator<Item = (&'a [String], &'a Judgements)>) -> Measures {
    let mut sum = Measures::default();
    let mut count = 0.0;
    for (ranking, judged) in rankings.filter(|(_, judged)| !judged.is_empty()) {
        count += 1.0;
        sum.ndcg_at_10 += ndcg(ranking, judged, 10);
        sum.precision_at_1 += f64::from(u8::from(ranking.first().is_some_and(|id| judged.contains_key(id))));
        sum.recall_at_5 += recall(ranking, judged, 5);
        sum.recall_at_100 += recall(ranking, judged, 100);
    }
    let mean = |sum: f64| if count > 0.0 { sum / count } else { 0.0 };
    Measures {
        ndcg_at_10: mean(sum.ndcg_at_10),
        precision_at_1: mean(sum.precision_at_1),
        recall_at_5: mean(sum.recall_at_5),
        recall_at_100: mean(sum.recall_at_100),
    }
}

fn ndcg(ranking: &[String], judged: &Judgements, depth: usize) -> f64 {
    let found = ranking.iter().take(depth).map(|id| judged.get(id).copied().unwrap_or(0));
    let mut ideal: Vec<u32> = judged.values().copied().collect();
    ideal.sort_unstable_by(|left, right| right.cmp(left));
    let best = gain(ideal.into_iter().take(depth));
    if best > 0.0 { gain(found) / best } else { 0.0 }
}

fn gain(grades: impl Iterator<Item = u32>) -> f64 {
    let discounted = |(rank, grade): (u32, u32)| f64::from(grade) / f64::from(rank + 1).log2();
    (1..).zip(grades).map(discounted).sum()
}

fn recall(ranking: &[String], judged: &Judgements, depth: usize) -> f64 {
    let found = ranking.iter().take(depth).filter(|id| judged.contains_key(*id)).count();
    #[expect(clippy::cast_precision_loss, reason = "at most a hundred documents")]
    let share = found as f64 / judged.len() as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_as_worked_by_hand() {
        let judged: Judgements = [("a".to_owned(), 2), ("b".to_owned(), 1)].into();
        let ranking: Vec<String> = ["x", "a", "b"].map(str::to_owned).to_vec();
        let measures = measure([(ranking.as_slice(), &judged)].into_iter());
        // found: 2/log2(3) + 1/log2(4) = 1.2619 + 0.5; best: 2/1 + 1/log2(3) = 2.6309.
        assert!((measures.ndcg_at_10 - 1.7619 / 2.6309).abs() < 1e-4);
        assert!((measures.precision_at_1 - 0.0).abs() < 1e-9);
        assert!((measures.recall_at_5 - 1.0).abs() < 1e-9);
    }
}
