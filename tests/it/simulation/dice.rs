//! Chance from a seed: the same seed draws the same numbers on every machine (`SplitMix64`).

/// The dice of one world.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice that a seed stands for.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ 0x5851_F42D_4C95_7F2D)
    }

    /// The next number.
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to and without `end`.
    pub(super) fn below(&mut self, end: i64) -> i64 {
        (self.draw() >> 2).cast_signed() % end.max(1)
    }

    /// From `low` up to and without `end`.
    pub(super) fn between(&mut self, low: i64, end: i64) -> i64 {
        low + self.below(end - low)
    }

    /// Happens so many times in a thousand.
    pub(super) fn chance(&mut self, thousandths: i64) -> bool {
        self.below(1000) < thousandths
    }

    /// An index of a list of this length.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.draw() >> 1).unwrap_or(0) % length.max(1)
    }

    /// From 0 to 999.
    pub(super) fn jitter(&mut self) -> u16 {
        u16::try_from(self.below(1000)).unwrap_or(0)
    }
}
