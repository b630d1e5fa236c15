//! The store's double, second part: callbacks, what dead workers left behind, and what looking after attempts came to.

use std::fmt;

use onefive::domain::delivery::{AttemptState, DeliveryState, Evidence, Status};
use onefive::domain::settling::Doubt;
use onefive::domain::time::Timestamp;

use super::mutation::Mutation;
use super::store::{About, RELEASE_MS, Row, Store};
use super::world::START_MS;

/// For how long a look is held.
const CHECK_MS: i64 = 60_000;

/// What looking after an attempt came to.
#[derive(Clone)]
pub(super) enum Finding {
    Later(i64, Option<Doubt>),
    Found(usize, Status),
    NotFound { second: bool },
    Released,
    Revoked,
    TooLate,
    Settled,
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later(at, Some(doubt)) => {
                let Doubt { looks, absent, .. } = doubt;
                write!(
                    f,
                    "comes back at {} ms, {absent} of {looks} absent",
                    at - START_MS
                )
            }
            Self::Later(at, None) => write!(f, "comes back at {} ms", at - START_MS),
            Self::Found(message, status) => write!(f, "found message {message}, {status:?}"),
            Self::NotFound { second: true } => f.write_str("not found: a second attempt"),
            Self::NotFound { second: false } => f.write_str("not found: given up"),
            Self::Released => f.write_str("the second message went out"),
            Self::Revoked => f.write_str("the second message is taken back"),
            Self::TooLate => f.write_str("too late to take it back"),
            Self::Settled => f.write_str("nothing left to look for"),
        }
    }
}

impl Store {
    /// A callback on an attempt's own token, or a find in the list.
    pub(super) fn status(&mut self, r: usize, n: i64, message: usize, status: &Status, now: i64) {
        let row = &self.rows[r];
        let Some(attempt) = row.call(n) else {
            return;
        };
        if attempt.message.is_some_and(|bound| bound != message) {
            return;
        }
        let given_back = matches!(
            attempt.state,
            AttemptState::Revoking | AttemptState::Revoked
        );
        if given_back && *status != Status::Delivered {
            return;
        }
        let send_at = attempt.send_at;
        let doubt = row.doubts_before(n);
        let about = About {
            attempt: n,
            send_at,
            doubt,
        };
        self.weigh(r, about, &Evidence::Status(status.clone()), now);
        let (state, over, check_at) = match (status, send_at) {
            (Status::Taken, Some(send_at)) if now < send_at => {
                (AttemptState::Scheduled, None, send_at + RELEASE_MS)
            }
            (Status::Taken | Status::Delivered, _) => {
                (AttemptState::Accepted, Some(AttemptState::Scheduled), 0)
            }
            (Status::Failed { .. }, _) => (AttemptState::Rejected, Some(AttemptState::Accepted), 0),
        };
        self.end(r, n, state, Some(message), over, check_at);
    }

    /// What dead workers left behind, and second messages that nobody wants any more.
    pub(super) fn sweep(&mut self, now: i64, clock: i64) {
        for r in 0..self.rows.len() {
            let row = &mut self.rows[r];
            let over = row.lease_until <= clock;
            if row.delivery == DeliveryState::Claimed && over {
                row.delivery = DeliveryState::Queued;
            } else if row.delivery == DeliveryState::Dispatching && over {
                let attempt = row.attempts;
                let about = About {
                    attempt,
                    send_at: None,
                    doubt: false,
                };
                if self.weigh(r, about, &Evidence::Silence, now).is_some() {
                    self.end(r, attempt, AttemptState::Unknown, None, None, now);
                }
            }
            let row = &mut self.rows[r];
            if row.delivery != DeliveryState::Dispatching && over {
                // The request was settled otherwise, and whoever made this attempt has died over it: it may wait at the provider.
                for (_, attempt) in &mut row.calls {
                    if attempt.state == AttemptState::Dispatching {
                        attempt.state = AttemptState::Unknown;
                        attempt.check_at = now;
                    }
                }
            }
            let unwanted = row.delivery != DeliveryState::Guarded;
            if unwanted && self.mutation != Some(Mutation::LetTheSecondGo) {
                for (_, attempt) in &mut row.calls {
                    let waits = attempt.send_at.is_some_and(|send_at| send_at > now);
                    if attempt.state == AttemptState::Scheduled && waits {
                        attempt.state = AttemptState::Revoking;
                        attempt.check_at = now;
                    }
                }
            }
        }
    }

    /// Takes attempts that are due to be looked after: row, number, and what is known.
    pub(super) fn claim_checks(&mut self, limit: usize, now: i64) -> Vec<(usize, i64, Row)> {
        let mut checks = Vec::new();
        for (r, row) in self.rows.iter_mut().enumerate() {
            for c in 0..row.calls.len() {
                let (n, attempt) = &mut row.calls[c];
                if checks.len() < limit && attempt.check_at > 0 && attempt.check_at <= now {
                    attempt.check_at = now + CHECK_MS;
                    let n = *n;
                    checks.push((r, n, row.clone()));
                }
            }
        }
        checks
    }

    /// Records what looking after an attempt came to.
    pub(super) fn settle(&mut self, r: usize, n: i64, finding: &Finding, now: i64) {
        let about = About {
            attempt: n,
            send_at: None,
            doubt: false,
        };
        match finding {
            Finding::Later(check_at, doubt) => {
                let attempt = self.rows[r]
                    .call_mut(n)
                    .filter(|attempt| attempt.check_at > 0);
                let Some(attempt) = attempt else { return };
                attempt.check_at = *check_at;
                if let Some(doubt) = doubt {
                    attempt.looks = doubt.looks;
                    attempt.absent = doubt.absent;
                    attempt.absent_since = doubt.absent_since.map(Timestamp::as_millis);
                }
            }
            Finding::Found(message, status) => self.status(r, n, *message, status, now),
            // Whoever looked has slept since, and another has made the second attempt: there is no third.
            Finding::NotFound { second: true } if self.rows[r].attempts != n => {}
            Finding::NotFound { second } => {
                self.weigh(r, about, &Evidence::NotFound { second: *second }, now);
                if !(*second && self.rows[r].delivery == DeliveryState::Queued) {
                    self.stop_looking(r, n);
                }
            }
            Finding::Released => {
                self.weigh(r, about, &Evidence::Released, now);
                let over = Some(AttemptState::Scheduled);
                self.end(r, n, AttemptState::Accepted, None, over, 0);
            }
            Finding::Revoked => {
                let over = Some(AttemptState::Revoking);
                self.end(r, n, AttemptState::Revoked, None, over, 0);
            }
            Finding::TooLate => {
                let over = Some(AttemptState::Revoking);
                self.end(r, n, AttemptState::Accepted, None, over, 0);
            }
            Finding::Settled => self.stop_looking(r, n),
        }
    }

    fn stop_looking(&mut self, r: usize, n: i64) {
        if let Some(attempt) = self.rows[r].call_mut(n) {
            attempt.check_at = 0;
        }
    }
}
