//! Time and randomness, always passed in.
//!
//! Everything that asks "what time is it" or "give me random bytes" takes one of these traits, so that tests turn a
//! [`ManualClock`] by hand and never sleep. `clippy.toml` forbids the wall clock everywhere else.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use crate::domain::time::Timestamp;

/// Tells the current time.
pub trait Clock: Send + Sync {
    /// Now, in milliseconds UTC.
    fn now(&self) -> Timestamp;

    /// Is told what time it is by the clock that everybody shares. Who has no use for it goes on as before.
    fn follow(&self, _now: Timestamp) {}
}

/// Gives random bytes fit for secrets.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// The machine's wall clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }
}

/// The machine's clock until somebody tells the time; from then on what was told and what has passed since, so that neither a
/// wrong wall clock nor one that is set while we run is noticed. Replicas that are told by one database agree with each other.
#[derive(Debug)]
pub struct SharedClock {
    begun: Instant,
    /// The told time at `begun`; [`UNTOLD`] before the first time.
    offset: AtomicI64,
}

const UNTOLD: i64 = i64::MIN;

impl Default for SharedClock {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            offset: AtomicI64::new(UNTOLD),
        }
    }
}

impl SharedClock {
    fn passed(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        match self.offset.load(Ordering::Relaxed) {
            UNTOLD => SystemClock.now(),
            offset => Timestamp::from_millis(offset.saturating_add(self.passed())),
        }
    }

    fn follow(&self, now: Timestamp) {
        let offset = now.as_millis().saturating_sub(self.passed());
        self.offset.store(offset, Ordering::Relaxed);
    }
}

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_millis()))
    }

    /// Turns the clock forward by `millis`.
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The operating system's random source.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without random bytes no token is a secret: stopping the process is the only honest answer.
        if getrandom::fill(bytes).is_err() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_clock_shows_what_it_is_told_however_wrong_the_machine_is() {
        const HOUR: i64 = 3_600_000;
        let clock = SharedClock::default();
        let machine = SystemClock.now();
        assert!(clock.now().millis_since(machine).abs() < HOUR);
        for told in [
            machine.plus_millis(-2 * HOUR),
            machine.plus_millis(8_766 * HOUR),
        ] {
            clock.follow(told);
            let ahead = clock.now().millis_since(told);
            assert!((0..HOUR).contains(&ahead), "{ahead}");
        }
    }

    #[test]
    fn a_manual_clock_is_turned_by_hand_only() {
        let clock = ManualClock::at(Timestamp::from_millis(1_000));
        clock.follow(Timestamp::from_millis(5_000));
        assert_eq!(clock.now(), Timestamp::from_millis(1_000));
    }
}
