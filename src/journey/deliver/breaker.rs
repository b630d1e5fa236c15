//! A circuit breaker for one provider. While a provider is down, each send is one more message of which nobody knows whether it
//! exists; so after a few in a row nothing is sent for a while, and then one message tries the way for the others.
//!
//! What waits stays in the queue, where it costs nothing. Other providers have breakers of their own.

use std::sync::{Mutex, PoisonError};

use crate::domain::delivery::Outcome;
use crate::domain::time::Timestamp;

/// Sends in a row without a clear answer that open the circuit.
const FAILURES: u32 = 5;
/// The first pause; each further one is twice as long.
const PAUSE_MS: i64 = 5_000;
/// The longest pause.
const PAUSE_MAX_MS: i64 = 120_000;

/// The breaker.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<Circuit>);

#[derive(Debug, Default)]
struct Circuit {
    /// Failures in a row.
    failures: u32,
    /// Pauses in a row.
    pauses: u32,
    /// When the pause began, while the circuit is open.
    opened_at: Option<Timestamp>,
    /// One message is trying the way.
    probing: bool,
}

impl Circuit {
    fn pause_ms(&self) -> i64 {
        let doubled = PAUSE_MS << self.pauses.saturating_sub(1).min(10);
        doubled.min(PAUSE_MAX_MS)
    }
}

impl Breaker {
    fn circuit(&self) -> std::sync::MutexGuard<'_, Circuit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of `free` sends may start now.
    pub(super) fn allows(&self, free: usize, now: Timestamp) -> usize {
        let circuit = self.circuit();
        let Some(opened_at) = circuit.opened_at else {
            return free;
        };
        let open_for = now.as_millis() - opened_at.as_millis();
        // A clock that was set back must not keep the circuit open.
        let paused = (0..circuit.pause_ms()).contains(&open_for);
        if paused || circuit.probing {
            0
        } else {
            free.min(1)
        }
    }

    /// A send starts.
    pub(super) fn starts(&self) {
        let mut circuit = self.circuit();
        circuit.probing = circuit.opened_at.is_some();
    }

    /// A send ended without a call, such as one that was withdrawn.
    pub(super) fn abandons(&self) {
        self.circuit().probing = false;
    }

    /// A send ended; whether the circuit is open now.
    pub(super) fn ends(&self, outcome: &Outcome, now: Timestamp) -> bool {
        let mut circuit = self.circuit();
        circuit.probing = false;
        // A refusal is an answer: the provider works.
        if matches!(outcome, Outcome::Accepted { .. } | Outcome::Rejected { .. }) {
            *circuit = Circuit::default();
            return false;
        }
        circuit.failures = circuit.failures.saturating_add(1);
        let probe_failed = circuit.opened_at.is_some_and(|opened_at| {
            !(0..circuit.pause_ms()).contains(&(now.as_millis() - opened_at.as_millis()))
        });
        if probe_failed || (circuit.opened_at.is_none() && circuit.failures >= FAILURES) {
            circuit.pauses = circuit.pauses.saturating_add(1);
            circuit.opened_at = Some(now);
        }
        circuit.opened_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    fn bad() -> Outcome {
        Outcome::Unknown {
            code: "timeout".into(),
        }
    }

    fn good() -> Outcome {
        Outcome::Accepted {
            provider_id: "SM1".into(),
        }
    }

    fn open() -> Breaker {
        let breaker = Breaker::default();
        for n in 1..=FAILURES {
            assert_eq!(breaker.allows(16, at(0)), 16);
            breaker.starts();
            assert_eq!(breaker.ends(&bad(), at(0)), n == FAILURES);
        }
        breaker
    }

    #[test]
    fn five_in_a_row_stop_it_and_one_tries_the_way() {
        let breaker = open();
        assert_eq!(breaker.allows(16, at(4_999)), 0);
        assert_eq!(breaker.allows(16, at(5_000)), 1);
        breaker.starts();
        assert_eq!(breaker.allows(15, at(6_000)), 0, "one at a time");
        assert!(!breaker.ends(&good(), at(6_000)));
        assert_eq!(breaker.allows(16, at(6_000)), 16);
    }

    #[test]
    fn each_pause_is_twice_as_long_up_to_two_minutes() {
        let (breaker, mut now) = (open(), 0);
        for pause in [5_000, 10_000, 20_000, 40_000, 80_000, 120_000, 120_000] {
            assert_eq!(breaker.allows(16, at(now + pause - 1)), 0, "{pause}");
            now += pause;
            assert_eq!(breaker.allows(16, at(now)), 1, "{pause}");
            breaker.starts();
            assert!(breaker.ends(&bad(), at(now)));
        }
    }

    #[test]
    fn those_that_were_under_way_when_it_opened_do_not_lengthen_the_pause() {
        let breaker = open();
        for _ in 0..11 {
            assert!(breaker.ends(&bad(), at(100)));
        }
        assert_eq!(breaker.allows(16, at(5_000)), 1);
    }

    #[test]
    fn a_refusal_is_an_answer_and_a_probe_that_was_withdrawn_leaves_the_way_free() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES * 2 {
            breaker.ends(&bad(), at(0));
            let no = Outcome::Rejected {
                code: "21211".into(),
                opted_out: false,
            };
            assert!(!breaker.ends(&no, at(0)));
        }
        let breaker = open();
        breaker.starts();
        breaker.abandons();
        assert_eq!(breaker.allows(16, at(5_000)), 1);
    }

    #[test]
    fn a_clock_set_back_does_not_keep_it_open() {
        let breaker = open();
        assert_eq!(breaker.allows(16, at(-7_200_000)), 1);
    }
}
