//! A circuit breaker for one provider. While a provider is down, each send is one more message of which nobody knows whether it
//! exists; so after a few in a row nothing is sent for a while, and then one message tries the way for the others.
//!
//! What waits stays in the queue, where it costs nothing. Other providers have breakers of their own. Our own faults tell nothing
//! about a provider, and neither do sends that began before the circuit opened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::delivery::Outcome;
use crate::domain::time::Timestamp;

/// The code of a send that the database did not permit in time.
pub(super) const NO_PERMISSION: &str = "no_permission";
/// The code of a send that we were too slow for ourselves.
pub(super) const PAUSED: &str = "paused";
/// The code of a send whose turn came after the circuit had opened.
pub(super) const WITHHELD: &str = "withheld";
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
    /// Sends that were ever started: the number of the newest.
    started: u64,
    /// The newest send when the circuit opened last. What it and those before it come to is old news.
    opened_after: u64,
    /// Failures in a row.
    failures: u32,
    /// Pauses in a row.
    pauses: u32,
    /// When the pause began, while the circuit is open.
    opened_at: Option<Timestamp>,
    /// The send that is trying the way.
    probe: Option<u64>,
}

impl Circuit {
    fn pause_ms(&self) -> i64 {
        let doubled = PAUSE_MS << self.pauses.saturating_sub(1).min(10);
        doubled.min(PAUSE_MAX_MS)
    }

    /// Whether the circuit is open and a message may try the way.
    fn may_probe(&self, now: Timestamp) -> bool {
        let Some(opened_at) = self.opened_at else {
            return false;
        };
        let open_for = now.as_millis() - opened_at.as_millis();
        // A clock that was set back must not keep the circuit open.
        self.probe.is_none() && !(0..self.pause_ms()).contains(&open_for)
    }

    /// What a send came to that tells about the provider as it is now.
    fn hears(&mut self, outcome: &Outcome, now: Timestamp) {
        // A refusal is an answer: the provider works.
        if matches!(outcome, Outcome::Accepted { .. } | Outcome::Rejected { .. }) {
            self.failures = 0;
            self.pauses = 0;
            self.opened_at = None;
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.opened_at.is_some() || self.failures >= FAILURES {
            self.pauses = self.pauses.saturating_add(1);
            self.opened_at = Some(now);
            self.opened_after = self.started;
        }
    }
}

/// One send under way. Dropped without an end, such as by a panic or because the send was withdrawn, it leaves the way to the next.
#[derive(Debug)]
pub(super) struct Ticket {
    breaker: Arc<Breaker>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut circuit = self.breaker.circuit();
        if circuit.probe == Some(self.number) {
            circuit.probe = None;
        }
    }
}

impl Ticket {
    /// Whether it may still be sent: the circuit is closed, or it is this one that tries the way.
    pub(super) fn holds(&self) -> bool {
        let circuit = self.breaker.circuit();
        circuit.opened_at.is_none() || circuit.probe == Some(self.number)
    }

    /// The send ended; whether the circuit is open now.
    pub(super) fn ends(self, outcome: &Outcome, now: Timestamp) -> bool {
        let mut circuit = self.breaker.circuit();
        let current = if circuit.opened_at.is_some() {
            circuit.probe == Some(self.number)
        } else {
            self.number > circuit.opened_after
        };
        if current && !is_ours(outcome) {
            circuit.hears(outcome, now);
        }
        circuit.opened_at.is_some()
    }
}

/// Whether it was we who did not send.
fn is_ours(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NotProcessed { code, .. } if [NO_PERMISSION, PAUSED, WITHHELD].contains(&code.as_str()))
}

/// What a way that did not open tells about the provider: a refusal made before there was a connection is our own.
pub(super) fn told_by_opening(outcome: Outcome) -> Option<Outcome> {
    (!matches!(outcome, Outcome::Rejected { .. })).then_some(outcome)
}

impl Breaker {
    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of `free` sends may start now.
    pub(super) fn allows(&self, free: usize, now: Timestamp) -> usize {
        let circuit = self.circuit();
        if circuit.opened_at.is_none() {
            free
        } else if circuit.may_probe(now) {
            free.min(1)
        } else {
            0
        }
    }

    /// A send starts. It tries the way for the others if that is due.
    pub(super) fn starts(self: &Arc<Self>, now: Timestamp) -> Ticket {
        let mut circuit = self.circuit();
        circuit.started += 1;
        let number = circuit.started;
        if circuit.may_probe(now) {
            circuit.probe = Some(number);
        }
        Ticket {
            breaker: Arc::clone(self),
            number,
        }
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

    fn refused() -> Outcome {
        Outcome::Rejected {
            code: "21211".into(),
            opted_out: false,
        }
    }

    fn not_processed(code: &str) -> Outcome {
        Outcome::NotProcessed {
            code: code.into(),
            retry_after_ms: None,
        }
    }

    /// Sends one; whether the circuit is open then.
    fn send(breaker: &Arc<Breaker>, outcome: &Outcome, now: Timestamp) -> bool {
        breaker.starts(now).ends(outcome, now)
    }

    fn open() -> Arc<Breaker> {
        let breaker = Arc::new(Breaker::default());
        for n in 1..=FAILURES {
            assert_eq!(breaker.allows(16, at(0)), 16);
            assert_eq!(send(&breaker, &bad(), at(0)), n == FAILURES);
        }
        breaker
    }

    /// Opened with `late` sends still under way.
    fn open_with(late: usize) -> (Arc<Breaker>, Vec<Ticket>) {
        let breaker = Arc::new(Breaker::default());
        let tickets = (0..late).map(|_| breaker.starts(at(0))).collect();
        for n in 1..=FAILURES {
            assert_eq!(send(&breaker, &bad(), at(0)), n == FAILURES);
        }
        (breaker, tickets)
    }

    #[test]
    fn five_in_a_row_stop_it_and_one_tries_the_way() {
        let breaker = open();
        assert_eq!(breaker.allows(16, at(4_999)), 0);
        assert_eq!(breaker.allows(16, at(5_000)), 1);
        let probe = breaker.starts(at(5_000));
        assert_eq!(breaker.allows(15, at(6_000)), 0, "one at a time");
        assert!(!probe.ends(&good(), at(6_000)));
        assert_eq!(breaker.allows(16, at(6_000)), 16);
    }

    #[test]
    fn each_pause_is_twice_as_long_up_to_two_minutes() {
        let (breaker, mut now) = (open(), 0);
        for pause in [5_000, 10_000, 20_000, 40_000, 80_000, 120_000, 120_000] {
            assert_eq!(breaker.allows(16, at(now + pause - 1)), 0, "{pause}");
            now += pause;
            assert_eq!(breaker.allows(16, at(now)), 1, "{pause}");
            assert!(send(&breaker, &bad(), at(now)));
        }
    }

    #[test]
    fn those_that_were_under_way_when_it_opened_do_not_lengthen_the_pause() {
        let (breaker, late) = open_with(11);
        // Some end within the pause, some after it.
        for (n, ticket) in (0..).zip(late) {
            assert!(ticket.ends(&bad(), at(n * 1_000)));
        }
        assert_eq!(breaker.allows(16, at(11_000)), 1);
        assert!(!send(&breaker, &good(), at(11_000)));
    }

    #[test]
    fn those_that_were_under_way_when_it_opened_do_not_end_the_probe() {
        let (breaker, mut late) = open_with(3);
        let probe = breaker.starts(at(5_000));
        assert!(late.pop().unwrap().ends(&good(), at(5_100)));
        assert!(late.pop().unwrap().ends(&bad(), at(5_200)));
        drop(late);
        assert_eq!(breaker.allows(15, at(5_300)), 0, "it is still under way");
        assert!(probe.ends(&bad(), at(6_000)));
        assert_eq!(breaker.allows(16, at(15_999)), 0);
        assert_eq!(breaker.allows(16, at(16_000)), 1);
    }

    #[test]
    fn those_that_were_under_way_when_it_opened_do_not_open_it_again() {
        let (breaker, late) = open_with(11);
        assert!(!send(&breaker, &good(), at(5_000)));
        for ticket in late {
            assert!(!ticket.ends(&bad(), at(6_000)));
        }
    }

    #[test]
    fn what_waits_for_its_turn_is_withheld_while_it_is_open() {
        let (breaker, waiting) = open_with(1);
        assert!(!waiting[0].holds());
        let probe = breaker.starts(at(5_000));
        assert!(probe.holds(), "it tries the way");
        assert!(!waiting[0].holds(), "for the others");
        assert!(!probe.ends(&good(), at(6_000)));
        assert!(waiting[0].holds());
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let breaker = Arc::new(Breaker::default());
        for _ in 0..FAILURES * 2 {
            assert!(!send(&breaker, &bad(), at(0)));
            assert!(!send(&breaker, &refused(), at(0)));
        }
    }

    #[test]
    fn our_own_faults_tell_nothing() {
        for code in [NO_PERMISSION, PAUSED, WITHHELD] {
            let breaker = Arc::new(Breaker::default());
            for _ in 0..FAILURES * 2 {
                assert!(!send(&breaker, &not_processed(code), at(0)), "{code}");
            }
            // Nor do they end a row of failures.
            for n in 1..=FAILURES {
                assert_eq!(send(&breaker, &bad(), at(0)), n == FAILURES, "{code}");
                send(&breaker, &not_processed(code), at(0));
            }
            // A probe that we did not send proves nothing, and leaves the way to the next.
            assert!(send(&breaker, &not_processed(code), at(5_000)), "{code}");
            assert_eq!(breaker.allows(16, at(5_000)), 1, "{code}");
        }
    }

    #[test]
    fn a_refusal_before_there_was_a_connection_tells_nothing() {
        assert_eq!(told_by_opening(refused()), None);
        let unreachable = not_processed("connect");
        assert_eq!(told_by_opening(unreachable.clone()), Some(unreachable));
    }

    #[test]
    fn a_probe_that_was_withdrawn_or_died_leaves_the_way_free() {
        let breaker = open();
        drop(breaker.starts(at(5_000)));
        assert_eq!(breaker.allows(16, at(5_000)), 1);
        let probe = breaker.starts(at(5_000));
        assert_eq!(breaker.allows(16, at(5_000)), 0);
        let died = std::thread::spawn(move || {
            let _probe = probe;
            panic!("a worker dies over its probe");
        });
        assert!(died.join().is_err());
        assert_eq!(breaker.allows(16, at(5_000)), 1);
    }

    #[test]
    fn a_clock_set_back_does_not_keep_it_open() {
        let breaker = open();
        assert_eq!(breaker.allows(16, at(-7_200_000)), 1);
        assert!(!send(&breaker, &good(), at(-7_200_000)));
    }
}
