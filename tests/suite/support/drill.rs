//! How often a drill goes round: a tenth, with a fixed seed, in every run of the suite; all by hand.

/// `tenth` in the suite; `full` when `LOCALML_DRILL=full` is set, as `scripts/drill` does.
pub(crate) fn rounds<N>(tenth: N, full: N) -> N {
    let is_full = std::env::var("LOCALML_DRILL").is_ok_and(|value| value == "full");
    if is_full { full } else { tenth }
}

/// Numbers that look random and are the same for a seed (splitmix64, Steele et al. 2014).
#[derive(Debug, Clone)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is more than 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    /// True `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
