//! How evidence moves a delivery: the whole rule of what may be sent again and what never. Pure; the store runs it inside the
//! transaction that locks the row, and the simulation runs it a million times.

use super::DeliveryState::{
    self, Accepted, Claimed, Dispatching, Dropped, Guarded, Lost, Queued, Rejected, Unknown,
};
use super::{Outcome, Status};
use crate::domain::request::State;
use crate::domain::time::Timestamp;

/// What a delivery learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The worker's own call ended.
    Outcome(Outcome),
    /// The provider called back on the attempt's own token.
    Status(Status),
    /// The worker did not report in time: it died, or it is so late that it may not report any more.
    Silence,
    /// The contact answered or was seen with the ask in front of them.
    Contact,
    /// It was looked for as often and as long as the rules ask, and nothing was found.
    NotFound {
        /// A second attempt may be made: scheduled and revocable, or with the same identity as the first.
        second: bool,
    },
    /// The time of a scheduled second message has come, and it was not taken back.
    Released,
}

/// Where a delivery stands when evidence arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// How far carrying has come.
    pub delivery: DeliveryState,
    /// Where the request stands.
    pub state: State,
    /// The number of the attempt the evidence is about, from 1.
    pub attempt: i64,
    /// When that attempt's message goes out, if it is a second one that waits at the provider.
    pub send_at: Option<Timestamp>,
    /// An earlier attempt may exist at the provider, although the delivery is back in the queue.
    pub doubt: bool,
    /// Now.
    pub now: Timestamp,
    /// When the request stops waiting for an answer.
    pub expires_at: Timestamp,
    /// A random number from 0 to 999, for spreading retries.
    pub jitter: u16,
}

/// What changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The new delivery state.
    pub delivery: DeliveryState,
    /// The request's new state, if it moves.
    pub state: Option<State>,
    /// When the next attempt is due, if the delivery went back to the queue.
    pub next_at: Option<Timestamp>,
    /// The last word on it; empty if there is nothing to say.
    pub code: String,
    /// The contact is to be put on the opt-out list.
    pub opt_out: bool,
}

/// The longest that a provider's `Retry-After` is honoured.
const RETRY_AFTER_MAX_MS: i64 = 3_600_000;

/// Milliseconds to wait after attempt number `attempt`: 5 s doubled each time up to 10 minutes, spread by a fifth.
/// A provider's wish may only delay, and not by more than an hour.
pub fn backoff_ms(attempt: i64, retry_after_ms: Option<i64>, jitter: u16) -> i64 {
    let doubled = 5_000_i64 << attempt.clamp(1, 8).saturating_sub(1);
    let spread = doubled.min(600_000) * (800 + i64::from(jitter.min(999)) * 400 / 1000) / 1000;
    spread.max(retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_MS))
}

/// Applies evidence. `None` means that nothing changes: the evidence is old, repeated or overruled.
pub fn step(at: Position, evidence: &Evidence) -> Option<Step> {
    match evidence {
        Evidence::Outcome(outcome) => at.outcome(outcome),
        Evidence::Status(status) => at.status(status),
        Evidence::Silence => at.silence(),
        Evidence::Contact => at.contact(),
        Evidence::NotFound { second } => at.not_found(*second),
        Evidence::Released => at.released(),
    }
}

impl Position {
    fn to(self, delivery: DeliveryState, state: Option<State>, code: &str) -> Option<Step> {
        let state = state.filter(|to| self.state.admits(*to));
        let changed = delivery != self.delivery || state.is_some();
        changed.then(|| Step {
            delivery,
            state,
            next_at: None,
            code: code.to_owned(),
            opt_out: false,
        })
    }

    /// Evidence that the message exists ends every doubt, whatever was thought before.
    fn exists(self, state: Option<State>) -> Option<Step> {
        self.to(Accepted, state, "")
    }

    fn refused(self, code: &str, opted_out: bool) -> Option<Step> {
        self.to(Rejected, Some(State::Failed), code)
            .map(|step| Step {
                opt_out: opted_out,
                ..step
            })
    }

    /// Back to the queue. Given up by time alone: an outage of an hour must not cost what may be asked for days.
    fn again(self, code: &str, retry_after_ms: Option<i64>) -> Option<Step> {
        let wait = backoff_ms(self.attempt, retry_after_ms, self.jitter);
        let next = self.now.plus_millis(wait);
        if next >= self.expires_at {
            // What an earlier attempt may have sent is not undone by giving up the next one.
            return if self.doubt {
                self.to(Lost, None, code)
            } else {
                self.to(Dropped, Some(State::Failed), code)
            };
        }
        self.to(Queued, None, code).map(|step| Step {
            next_at: Some(next),
            ..step
        })
    }

    /// The worker reports on its own call, unless a callback was faster.
    fn outcome(self, outcome: &Outcome) -> Option<Step> {
        match (self.delivery, outcome) {
            // A second message that waits at the provider does not settle the first.
            (Dispatching | Unknown | Lost, Outcome::Accepted { .. }) if self.send_at.is_some() => {
                self.to(Guarded, None, "")
            }
            (Queued | Dispatching | Unknown | Lost, Outcome::Accepted { .. }) => {
                self.exists(Some(State::Sent))
            }
            // Before the point of no return, or proof from the call itself that nothing happened. A report that comes after
            // the deadline cannot be trusted to be about nothing.
            (
                Claimed | Dispatching,
                Outcome::NotProcessed {
                    code,
                    retry_after_ms,
                },
            ) => self.again(code, *retry_after_ms),
            // The second was refused; the first is as much in doubt as before.
            (Claimed | Dispatching | Unknown, Outcome::Rejected { code, .. }) if self.doubt => {
                self.to(Lost, None, code)
            }
            (Claimed | Dispatching | Unknown | Lost, Outcome::Rejected { code, opted_out })
                if !self.doubt =>
            {
                self.refused(code, *opted_out)
            }
            (Dispatching, Outcome::Unknown { code }) => self.to(Unknown, None, code),
            (_, _) => None,
        }
    }

    fn silence(self) -> Option<Step> {
        if self.delivery == Dispatching {
            self.to(Unknown, None, "no_report")
        } else {
            None
        }
    }

    /// A callback carries the secret of an attempt, so even one for an earlier attempt that looked unprocessed proves that the
    /// message is there: nothing may be sent any more.
    fn status(self, status: &Status) -> Option<Step> {
        let waits = self.send_at.is_some_and(|send_at| self.now < send_at);
        match (self.delivery, status) {
            (DeliveryState::None, _) => None,
            // A second message before its time: it is there, and still to be taken back.
            (Dispatching | Unknown | Lost, Status::Taken) if waits => self.to(Guarded, None, ""),
            (_, Status::Taken) if waits => None,
            (Guarded, Status::Failed { code, .. }) if waits => self.to(Unknown, None, code),
            (_, Status::Failed { .. }) if waits => None,
            // News come in any order: that it was on its way is older than that it did not arrive.
            (Rejected, Status::Taken) => None,
            (_, Status::Taken) => self.exists(Some(State::Sent)),
            (_, Status::Delivered) => self.exists(Some(State::Delivered)),
            (_, Status::Failed { code, opted_out }) => self
                .refused(code, *opted_out)
                .filter(|_| self.state.admits(State::Failed) || self.in_doubt() || self.doubt),
        }
    }

    /// Whether a message may be on its way of which nothing is known.
    fn in_doubt(self) -> bool {
        matches!(self.delivery, Unknown | Guarded | Lost)
    }

    fn contact(self) -> Option<Step> {
        let queued = matches!(self.delivery, Queued | Claimed) && self.doubt;
        let seen = matches!(self.delivery, Dispatching | Rejected) || self.in_doubt();
        if queued || seen {
            self.exists(None)
        } else {
            None
        }
    }

    fn not_found(self, second: bool) -> Option<Step> {
        if !matches!(self.delivery, Unknown | Queued | Claimed) {
            return None;
        }
        let wanted = self.state == State::Scheduled && self.now < self.expires_at;
        if second && wanted && self.delivery == Unknown {
            return self.to(Queued, None, "not_found").map(|step| Step {
                next_at: Some(self.now),
                ..step
            });
        }
        if second && self.delivery != Unknown {
            return None;
        }
        self.to(Lost, None, "not_confirmed")
    }

    fn released(self) -> Option<Step> {
        if self.in_doubt() {
            self.exists(Some(State::Sent))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(delivery: DeliveryState, state: State) -> Position {
        let now = Timestamp::from_millis(1_000_000);
        Position {
            delivery,
            state,
            attempt: 1,
            send_at: None,
            doubt: false,
            now,
            expires_at: now.plus_millis(86_400_000),
            jitter: 500,
        }
    }

    fn outcomes() -> Vec<Outcome> {
        vec![
            Outcome::Accepted {
                provider_id: "SM1".into(),
            },
            Outcome::NotProcessed {
                code: "connect".into(),
                retry_after_ms: None,
            },
            Outcome::Rejected {
                code: "21211".into(),
                opted_out: false,
            },
            Outcome::Unknown {
                code: "timeout".into(),
            },
        ]
    }

    #[test]
    fn only_proof_that_nothing_happened_leads_back_to_the_queue() {
        for delivery in DeliveryState::ALL {
            for state in State::ALL {
                for outcome in outcomes() {
                    let queued = step(at(delivery, state), &Evidence::Outcome(outcome.clone()))
                        .is_some_and(|step| step.delivery == Queued);
                    let held = matches!(delivery, Dispatching | Claimed);
                    let proof = held && matches!(outcome, Outcome::NotProcessed { .. });
                    assert_eq!(queued, proof, "{delivery:?} {outcome:?}");
                }
                for evidence in [
                    Evidence::Silence,
                    Evidence::Contact,
                    Evidence::Status(Status::Taken),
                ] {
                    assert!(
                        step(at(delivery, state), &evidence).is_none_or(|s| s.delivery != Queued)
                    );
                }
            }
        }
    }

    #[test]
    fn a_lost_answer_is_unknown_until_a_callback_settles_it() {
        let lost = step(
            at(Dispatching, State::Scheduled),
            &Evidence::Outcome(outcomes()[3].clone()),
        )
        .unwrap();
        assert_eq!((lost.delivery, lost.state), (Unknown, None));
        let settled = step(
            at(Unknown, State::Scheduled),
            &Evidence::Status(Status::Delivered),
        )
        .unwrap();
        assert_eq!(
            (settled.delivery, settled.state),
            (Accepted, Some(State::Delivered))
        );
    }

    #[test]
    fn a_callback_before_the_workers_report_makes_the_report_a_no_op() {
        let early = step(
            at(Dispatching, State::Scheduled),
            &Evidence::Status(Status::Delivered),
        )
        .unwrap();
        assert_eq!(early.delivery, Accepted);
        assert_eq!(
            step(
                at(Accepted, State::Delivered),
                &Evidence::Outcome(outcomes()[3].clone())
            ),
            None
        );
    }

    #[test]
    fn callbacks_are_monotonic_whatever_their_order() {
        assert_eq!(
            step(
                at(Accepted, State::Delivered),
                &Evidence::Status(Status::Taken)
            ),
            None
        );
        let failed = Evidence::Status(Status::Failed {
            code: "30005".into(),
            opted_out: false,
        });
        assert_eq!(step(at(Accepted, State::Delivered), &failed), None);
        assert_eq!(
            step(at(Accepted, State::Sent), &failed).unwrap().state,
            Some(State::Failed)
        );
        assert_eq!(step(at(Rejected, State::Failed), &failed), None);
    }

    #[test]
    fn the_back_off_doubles_spreads_and_lets_the_provider_only_delay() {
        assert_eq!(
            (backoff_ms(1, None, 0), backoff_ms(1, None, 999)),
            (4_000, 5_995)
        );
        assert_eq!(backoff_ms(2, None, 500), 10_000);
        assert_eq!(backoff_ms(30, None, 500), 600_000);
        assert_eq!(backoff_ms(1, Some(1), 500), 5_000);
        assert_eq!(backoff_ms(1, Some(60_000), 500), 60_000);
        assert_eq!(backoff_ms(1, Some(i64::MAX), 500), 3_600_000);
    }

    #[test]
    fn giving_up_is_a_failure_that_says_why() {
        let last = Position {
            now: Timestamp::from_millis(1_000_000 + 86_399_000),
            attempt: 40,
            ..at(Dispatching, State::Scheduled)
        };
        let given_up = step(last, &Evidence::Outcome(outcomes()[1].clone())).unwrap();
        assert_eq!(
            (given_up.delivery, given_up.state),
            (Dropped, Some(State::Failed))
        );
        assert_eq!(given_up.code, "connect");
    }

    #[test]
    fn what_is_heard_late_of_one_attempt_settles_the_request_whatever_the_other_does() {
        let accepted = Evidence::Outcome(outcomes()[0].clone());
        let waiting = step(at(Queued, State::Scheduled), &accepted).unwrap();
        assert_eq!(
            (waiting.delivery, waiting.state),
            (Accepted, Some(State::Sent)),
            "nothing is sent again while the queue holds a second attempt"
        );
        let second = Position {
            attempt: 2,
            doubt: true,
            ..at(Unknown, State::Scheduled)
        };
        let refused = step(second, &Evidence::Outcome(outcomes()[2].clone())).unwrap();
        assert_eq!(refused.delivery, Lost, "nobody looks after it any more");
        for ended in [State::Cancelled, State::Expired] {
            let unwanted = step(at(Unknown, ended), &Evidence::NotFound { second: true });
            assert_eq!(unwanted.unwrap().delivery, Lost, "{ended:?}");
        }
        for given_up in [Unknown, Lost] {
            let out = step(at(given_up, State::Scheduled), &Evidence::Released).unwrap();
            assert_eq!((out.delivery, out.state), (Accepted, Some(State::Sent)));
        }
    }
}
