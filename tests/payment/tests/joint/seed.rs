//! A small generator: the same seed gives the same sequence everywhere.

/// `SplitMix64`.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 when that is 0.
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }

    /// True `parts` times in a hundred.
    pub(crate) const fn percent(&mut self, parts: u64) -> bool {
        self.below(100) < parts
    }

    /// One of so many, none of none.
    pub(crate) fn one_of(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| usize::try_from(self.below(count as u64)).unwrap())
    }
}
