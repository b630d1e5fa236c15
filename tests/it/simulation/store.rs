//! The store's double: rows in memory, and the transactions of the real one as functions. What decides is the real thing,
//! `domain::delivery::step` and `domain::reply::effect`; what stands here is only which row is locked and what is written.

use onefive::domain::delivery::{AttemptState, DeliveryState, Evidence, Outcome, Position, Step};
use onefive::domain::rating::Rating;
use onefive::domain::request::State;
use onefive::domain::time::Timestamp;

use super::dice::Dice;
use super::mutation::Mutation;

/// For how long a claim and a dispatch are held, and how long after its time a second message counts as sent.
const CLAIM_MS: i64 = 15_000;
pub(super) const LEASE_MS: i64 = 30_000;
pub(super) const RELEASE_MS: i64 = 30_000;

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// One provider call.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) state: AttemptState,
    pub(super) message: Option<usize>,
    pub(super) started_at: i64,
    pub(super) send_at: Option<i64>,
    /// When it is looked after next; 0 for never.
    pub(super) check_at: i64,
    pub(super) looks: i64,
    pub(super) absent: i64,
    pub(super) absent_since: Option<i64>,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) delivery: DeliveryState,
    pub(super) state: State,
    pub(super) fence: i64,
    pub(super) lease_until: i64,
    pub(super) next_at: i64,
    pub(super) expires_at: i64,
    pub(super) listening: bool,
    pub(super) listen_until: i64,
    /// Calls made; those before the point of no return have no entry in `calls`.
    pub(super) attempts: i64,
    pub(super) calls: Vec<(i64, Attempt)>,
    pub(super) rating: Option<Rating>,
    /// How often a first answer was counted.
    pub(super) counted: u32,
    pub(super) replies: Vec<usize>,
}

impl Row {
    pub(super) fn call(&self, n: i64) -> Option<&Attempt> {
        self.calls.iter().find(|(m, _)| *m == n).map(|(_, a)| a)
    }

    pub(super) fn call_mut(&mut self, n: i64) -> Option<&mut Attempt> {
        let mut calls = self.calls.iter_mut();
        calls.find(|(m, _)| *m == n).map(|(_, a)| a)
    }

    /// Whether an attempt has no report, although its request is not being sent any more.
    pub(super) fn has_orphan(&self) -> bool {
        let dispatching = |(_, a): &(i64, Attempt)| a.state == AttemptState::Dispatching;
        self.delivery != DeliveryState::Dispatching && self.calls.iter().any(dispatching)
    }

    /// Attempts of which nobody knows whether they happened.
    pub(super) fn doubts(&self) -> i64 {
        let unknown = |(_, a): &&(i64, Attempt)| a.state == AttemptState::Unknown;
        i64::try_from(self.calls.iter().filter(unknown).count()).unwrap_or(i64::MAX)
    }

    /// Whether a later attempt than this may still wait at the provider.
    pub(super) fn has_later(&self, n: i64, now: i64) -> bool {
        self.calls
            .iter()
            .any(|(m, a)| *m > n && a.send_at.is_some_and(|send_at| now < send_at))
    }

    /// Whether an earlier attempt than this may exist.
    pub(super) fn doubts_before(&self, n: i64) -> bool {
        self.calls
            .iter()
            .any(|(m, a)| *m < n && a.state == AttemptState::Unknown)
    }

    pub(super) fn enter(&mut self, to: State) {
        if matches!(
            to,
            State::Suppressed | State::Expired | State::Cancelled | State::Failed
        ) {
            self.listening = false;
        }
        self.state = to;
    }

    pub(super) fn call_off(&mut self) {
        if matches!(
            self.delivery,
            DeliveryState::Queued | DeliveryState::Claimed
        ) {
            self.delivery = DeliveryState::Dropped;
        }
        if self.delivery == DeliveryState::Guarded {
            self.delivery = DeliveryState::Unknown;
        }
    }
}

/// Which attempt a piece of evidence is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    pub(super) attempt: i64,
    pub(super) send_at: Option<i64>,
    pub(super) doubt: bool,
}

/// What the point of no return came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    /// The claim is somebody else's, or the request has ended.
    No,
    /// Send, and tell the provider to hold it back until then.
    Send(Option<i64>),
}

/// What a second attempt has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Second {
    Never,
    Same,
    At(i64),
}

/// All rows, and what breaks the rules on purpose.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) rows: Vec<Row>,
    pub(super) dice: Dice,
    pub(super) mutation: Option<Mutation>,
}

impl Store {
    /// Accepts a trigger. A repeated one finds its row.
    pub(super) fn accept(&mut self, due_at: i64, expires_at: i64) {
        self.rows.push(Row {
            delivery: DeliveryState::Queued,
            state: State::Scheduled,
            fence: 0,
            lease_until: 0,
            next_at: due_at,
            expires_at,
            listening: true,
            listen_until: expires_at,
            attempts: 0,
            calls: Vec::new(),
            rating: None,
            counted: 0,
            replies: Vec::new(),
        });
    }

    pub(super) fn weigh(
        &mut self,
        r: usize,
        about: About,
        evidence: &Evidence,
        now: i64,
    ) -> Option<Step> {
        let jitter = self.dice.jitter();
        let row = &mut self.rows[r];
        let position = Position {
            delivery: row.delivery,
            state: row.state,
            attempt: about.attempt,
            send_at: about.send_at.map(at),
            doubt: about.doubt,
            now: at(now),
            expires_at: at(row.expires_at),
            jitter,
        };
        let step = super::mutation::step(self.mutation, position, evidence)?;
        row.delivery = step.delivery;
        if let Some(next) = step.next_at {
            row.next_at = next.as_millis();
        }
        if let Some(to) = step.state {
            let failed = row.state == State::Failed;
            row.enter(to);
            row.listening |= failed;
        }
        if row.state != State::Scheduled {
            row.call_off();
        }
        Some(step)
    }

    /// Takes due rows out of the queue: row, fence and the number of the attempt.
    pub(super) fn claim(&mut self, limit: usize, now: i64, clock: i64) -> Vec<(usize, i64, i64)> {
        let mut claims = Vec::new();
        for (r, row) in self.rows.iter_mut().enumerate() {
            if claims.len() < limit && row.delivery == DeliveryState::Queued && row.next_at <= now {
                row.delivery = DeliveryState::Claimed;
                row.lease_until = clock + CLAIM_MS;
                row.fence += 1;
                claims.push((r, row.fence, row.attempts + 1));
            }
        }
        claims
    }

    /// The point of no return.
    pub(super) fn dispatch(
        &mut self,
        r: usize,
        (fence, attempt): (i64, i64),
        second: Second,
        now: i64,
        clock: i64,
    ) -> Granted {
        let row = &self.rows[r];
        let forgets = self.mutation == Some(Mutation::ForgetTheFence);
        let held = row.delivery == DeliveryState::Claimed && row.fence == fence;
        if !(held || forgets) || row.state != State::Scheduled || now >= row.expires_at {
            return Granted::No;
        }
        let send_at = match (row.doubts(), second) {
            (0, _) | (_, Second::Same) => None,
            (_, Second::At(send_at)) => Some(send_at),
            (_, Second::Never) => {
                let about = About {
                    attempt: row.attempts,
                    send_at: None,
                    doubt: false,
                };
                self.weigh(r, about, &Evidence::NotFound { second: false }, now);
                return Granted::No;
            }
        };
        let row = &mut self.rows[r];
        if row.lease_until <= clock && !forgets {
            return Granted::No;
        }
        row.delivery = DeliveryState::Dispatching;
        row.attempts = attempt;
        row.lease_until = clock + LEASE_MS;
        row.calls.push((
            attempt,
            Attempt {
                state: AttemptState::Dispatching,
                message: None,
                started_at: now,
                send_at,
                check_at: 0,
                looks: 0,
                absent: 0,
                absent_since: None,
            },
        ));
        Granted::Send(send_at)
    }

    /// What came of a call.
    pub(super) fn report(
        &mut self,
        r: usize,
        (fence, attempt): (i64, i64),
        send_at: Option<i64>,
        outcome: &Outcome,
        now: i64,
    ) {
        let row = &mut self.rows[r];
        if row.fence != fence {
            return;
        }
        if row.delivery == DeliveryState::Claimed && row.attempts + 1 == attempt {
            row.attempts = attempt;
        } else if row.attempts != attempt {
            return;
        }
        let doubt = row.doubts_before(attempt);
        let about = About {
            attempt,
            send_at,
            doubt,
        };
        let step = self.weigh(r, about, &Evidence::Outcome(outcome.clone()), now);
        if step.is_none() && matches!(outcome, Outcome::NotProcessed { .. }) {
            // Not believed, so the attempt stays in doubt and is looked after.
            return;
        }
        let accepted = self.rows[r].delivery == DeliveryState::Accepted;
        let (state, message, check_at) = match outcome {
            Outcome::Accepted { provider_id } => match send_at {
                Some(send_at) => (
                    AttemptState::Scheduled,
                    provider_id.parse().ok(),
                    send_at + RELEASE_MS,
                ),
                None => (AttemptState::Accepted, provider_id.parse().ok(), 0),
            },
            Outcome::NotProcessed { .. } => (AttemptState::NotProcessed, None, 0),
            Outcome::Rejected { .. } => (AttemptState::Rejected, None, 0),
            // A second message that may wait at the provider is looked for, whoever has answered the first.
            Outcome::Unknown { .. } if accepted && send_at.is_none() => {
                (AttemptState::Accepted, None, 0)
            }
            Outcome::Unknown { .. } => (AttemptState::Unknown, None, now),
        };
        self.end(r, attempt, state, message, None, check_at);
    }

    /// What was settled before stays settled, but for `over`; a message is kept whenever it becomes known.
    pub(super) fn end(
        &mut self,
        r: usize,
        n: i64,
        state: AttemptState,
        message: Option<usize>,
        over: Option<AttemptState>,
        check_at: i64,
    ) {
        let Some(attempt) = self.rows[r].call_mut(n) else {
            return;
        };
        let open = matches!(
            attempt.state,
            AttemptState::Dispatching | AttemptState::Unknown
        );
        if open || Some(attempt.state) == over {
            attempt.state = state;
            attempt.check_at = check_at;
        }
        attempt.message = attempt.message.or(message);
    }
}
