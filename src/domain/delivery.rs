//! Carrying a request to the contact: what may be sent again and what never.
//!
//! A provider without idempotency keys is called at most once per proof that it did nothing. The state `dispatching` is
//! committed before the first byte; afterwards only evidence moves a delivery, and only [`Outcome::NotProcessed`] leads
//! back to the queue. [`step`] is the whole rule and is pure: the store runs it inside the transaction that locks the row.

use super::request::State;
use super::time::Timestamp;

/// How far carrying a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Nothing is to be carried: suppressed, or handed out in the answer to the trigger.
    None,
    /// Waits for its time; nothing is on the wire.
    Queued,
    /// A worker holds it; nothing is on the wire yet.
    Claimed,
    /// Committed before the first byte: the point of no return.
    Dispatching,
    /// It may or may not exist at the provider. Never sent again; only evidence moves it.
    Unknown,
    /// The provider has it.
    Accepted,
    /// The provider refused it for good.
    Rejected,
    /// Taken back, expired or given up before anything was sent.
    Dropped,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Queued,
        Self::Claimed,
        Self::Dispatching,
        Self::Unknown,
        Self::Accepted,
        Self::Rejected,
        Self::Dropped,
    ];

    /// The word used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Dispatching => "dispatching",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Dropped => "dropped",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What one provider call came to. Every provider must sort what it saw into one of these four; when in doubt, `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider has it, under this id.
    Accepted {
        /// The provider's id of the message or call.
        provider_id: String,
    },
    /// Proof that the provider did nothing: no byte was written, or the provider documents so (429).
    NotProcessed {
        /// A stable short code for logs and the API, such as `connect` or `429`.
        code: String,
        /// The provider asked not to come back earlier than this many milliseconds from now.
        retry_after_ms: Option<i64>,
    },
    /// The provider said no for good.
    Rejected {
        /// The provider's error code.
        code: String,
        /// The code means that the contact does not want to be written to.
        opted_out: bool,
    },
    /// Anything else once a byte was written.
    Unknown {
        /// What was seen, as a short code such as `timeout` or `http_502`.
        code: String,
    },
}

/// What a provider's signed callback says about a message or call that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Taken, on its way.
    Taken,
    /// Arrived at the contact's device.
    Delivered,
    /// It will not arrive.
    Failed {
        /// The provider's error code; empty if it gave none.
        code: String,
        /// The code means that the contact does not want to be written to.
        opted_out: bool,
    },
}

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
    use DeliveryState::{Accepted, Claimed, Dispatching, Dropped, Queued, Rejected, Unknown};

    let raise = |to: State| at.state.admits(to).then_some(to);
    let to = |delivery, state: Option<State>, code: &str| {
        let changed = delivery != at.delivery || state.is_some();
        changed.then(|| Step {
            delivery,
            state,
            next_at: None,
            code: code.to_owned(),
            opt_out: false,
        })
    };
    // Evidence that the message exists ends every doubt, whatever was thought before.
    let exists = |state| to(Accepted, state, "");
    let again = |code: &str, retry_after_ms| {
        let next = at
            .now
            .plus_millis(backoff_ms(at.attempt, retry_after_ms, at.jitter));
        // Given up by time alone: an outage of an hour must not cost what may be asked for days.
        if next >= at.expires_at {
            return to(Dropped, raise(State::Failed), code);
        }
        to(Queued, None, code).map(|step| Step {
            next_at: Some(next),
            ..step
        })
    };
    match (at.delivery, evidence) {
        // The worker reports on its own call, unless a callback was faster.
        (Dispatching | Unknown, Evidence::Outcome(outcome)) => match outcome {
            Outcome::Accepted { .. } => exists(raise(State::Sent)),
            // A report that comes after the deadline cannot be trusted to be about nothing.
            Outcome::NotProcessed { code, .. } if at.delivery == Unknown => to(Unknown, None, code),
            Outcome::NotProcessed {
                code,
                retry_after_ms,
            } => again(code, *retry_after_ms),
            Outcome::Rejected { code, opted_out } => {
                to(Rejected, raise(State::Failed), code).map(|step| Step {
                    opt_out: *opted_out,
                    ..step
                })
            }
            Outcome::Unknown { code } => to(Unknown, None, code),
        },
        // The way to the provider did not open: nothing was committed to, nothing was sent.
        (
            Claimed,
            Evidence::Outcome(Outcome::NotProcessed {
                code,
                retry_after_ms,
            }),
        ) => again(code, *retry_after_ms),
        // Refused before anything was sent, such as an address that cannot be written to.
        (Claimed, Evidence::Outcome(Outcome::Rejected { code, opted_out })) => {
            to(Rejected, raise(State::Failed), code).map(|step| Step {
                opt_out: *opted_out,
                ..step
            })
        }
        (Dispatching, Evidence::Silence) => to(Unknown, None, "no_report"),
        (_, Evidence::Outcome(_) | Evidence::Silence) => None,
        // A callback carries the secret of an attempt, so even one for an earlier attempt that looked unprocessed proves
        // that the message is there: nothing may be sent any more.
        (DeliveryState::None | Dropped, Evidence::Status(_)) => None,
        // News come in any order: that it was on its way is older than that it did not arrive.
        (Rejected, Evidence::Status(Status::Taken)) => None,
        (_, Evidence::Status(Status::Taken)) => exists(raise(State::Sent)),
        (_, Evidence::Status(Status::Delivered)) => exists(raise(State::Delivered)),
        (_, Evidence::Status(Status::Failed { code, opted_out })) => {
            to(Rejected, raise(State::Failed), code)
                .filter(|_| at.state.admits(State::Failed) || at.delivery == Unknown)
                .map(|step| Step {
                    opt_out: *opted_out,
                    ..step
                })
        }
        (Dispatching | Unknown | Rejected, Evidence::Contact) => exists(None),
        (_, Evidence::Contact) => None,
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
                        .is_some_and(|step| step.delivery == DeliveryState::Queued);
                    let held = matches!(
                        delivery,
                        DeliveryState::Dispatching | DeliveryState::Claimed
                    );
                    let proof = held && matches!(outcome, Outcome::NotProcessed { .. });
                    assert_eq!(queued, proof, "{delivery:?} {outcome:?}");
                }
                for evidence in [
                    Evidence::Silence,
                    Evidence::Contact,
                    Evidence::Status(Status::Taken),
                ] {
                    assert!(
                        step(at(delivery, state), &evidence)
                            .is_none_or(|s| s.delivery != DeliveryState::Queued)
                    );
                }
            }
        }
    }

    #[test]
    fn a_lost_answer_is_unknown_until_a_callback_settles_it() {
        let lost = step(
            at(DeliveryState::Dispatching, State::Scheduled),
            &Evidence::Outcome(outcomes()[3].clone()),
        )
        .unwrap();
        assert_eq!((lost.delivery, lost.state), (DeliveryState::Unknown, None));
        let settled = step(
            at(DeliveryState::Unknown, State::Scheduled),
            &Evidence::Status(Status::Delivered),
        )
        .unwrap();
        assert_eq!(
            (settled.delivery, settled.state),
            (DeliveryState::Accepted, Some(State::Delivered))
        );
    }

    #[test]
    fn a_callback_before_the_workers_report_makes_the_report_a_no_op() {
        let early = step(
            at(DeliveryState::Dispatching, State::Scheduled),
            &Evidence::Status(Status::Delivered),
        )
        .unwrap();
        assert_eq!(early.delivery, DeliveryState::Accepted);
        assert_eq!(
            step(
                at(DeliveryState::Accepted, State::Delivered),
                &Evidence::Outcome(outcomes()[3].clone())
            ),
            None
        );
    }

    #[test]
    fn callbacks_are_monotonic_whatever_their_order() {
        assert_eq!(
            step(
                at(DeliveryState::Accepted, State::Delivered),
                &Evidence::Status(Status::Taken)
            ),
            None
        );
        let failed = Evidence::Status(Status::Failed {
            code: "30005".into(),
            opted_out: false,
        });
        assert_eq!(
            step(at(DeliveryState::Accepted, State::Delivered), &failed),
            None
        );
        assert_eq!(
            step(at(DeliveryState::Accepted, State::Sent), &failed)
                .unwrap()
                .state,
            Some(State::Failed)
        );
        assert_eq!(
            step(at(DeliveryState::Rejected, State::Failed), &failed),
            None
        );
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
            ..at(DeliveryState::Dispatching, State::Scheduled)
        };
        let given_up = step(last, &Evidence::Outcome(outcomes()[1].clone())).unwrap();
        assert_eq!(
            (given_up.delivery, given_up.state),
            (DeliveryState::Dropped, Some(State::Failed))
        );
        assert_eq!(given_up.code, "connect");
    }
}
