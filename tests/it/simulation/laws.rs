//! What must hold after every step, and what must have come about in the end. Told in words of its own, so that a mistake of the
//! rules is not repeated here.

use onefive::domain::delivery::{AttemptState, DeliveryState};
use onefive::domain::reply::Understood;
use onefive::domain::request::State;

use super::plan::Promise;
use super::provider::Fate;
use super::store::{Row, Store};
use super::world::{START_MS, TROUBLE_MS, World};

/// Longer than a sleep, an outage, a crash and the clocks' differences together; and the same where there are none of them.
const GRACE_MS: i64 = 5_400_000;
const CALM_MS: i64 = 180_000;

/// What was so after the step before.
#[derive(Debug, Default)]
pub(super) struct Law {
    before: Vec<(State, DeliveryState)>,
    acknowledged: Vec<Seen>,
}

/// A reply that was just acknowledged, and what has to have come of it.
#[derive(Debug)]
pub(super) struct Seen {
    inbound: usize,
    request: usize,
    /// Somebody listens, and the ask has gone out: then it must be kept, and a first score must rate.
    kept: bool,
    rates: bool,
}

impl Seen {
    pub(super) fn of(world: &World, inbound: usize, before: &Row, said: &Understood) -> Self {
        let request = world.inbound[inbound].request;
        let out = world
            .provider
            .of(request)
            .any(|message| matches!(message.fate, Fate::Out | Fate::Arrived | Fate::Failed));
        let open = matches!(
            before.state,
            State::Scheduled | State::Sent | State::Delivered | State::Reached
        );
        Self {
            inbound,
            request,
            kept: before.listening && out,
            rates: before.listening && out && open && matches!(said, Understood::Rating(..)),
        }
    }
}

/// Whether a request may go from one state to another: up, or out.
fn may_go(from: State, to: State) -> bool {
    use State::{
        Answered, Cancelled, Delivered, Expired, Failed, Reached, Scheduled, Sent, Suppressed,
    };
    match from {
        Scheduled => true,
        Sent => !matches!(to, Scheduled | Suppressed),
        Delivered => matches!(to, Reached | Answered | Expired | Cancelled),
        Reached => matches!(to, Answered | Expired | Cancelled),
        Failed => matches!(to, Delivered | Reached | Answered),
        Answered | Expired | Cancelled | Suppressed => false,
    }
}

macro_rules! must {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

impl Law {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            before: store
                .rows
                .iter()
                .map(|row| (row.state, row.delivery))
                .collect(),
            acknowledged: Vec::new(),
        }
    }

    pub(super) fn acknowledged(&mut self, seen: Seen) {
        self.acknowledged.push(seen);
    }

    /// What holds after every step.
    pub(super) fn after_a_step(&mut self, world: &World) -> Result<(), String> {
        for seen in self.acknowledged.drain(..) {
            let row = &world.store.rows[seen.request];
            let kept = row.replies.contains(&seen.inbound);
            must!(
                !seen.kept || kept,
                "text {} was acknowledged and is not there",
                seen.inbound
            );
            must!(
                !seen.rates || row.rating.is_some(),
                "text {} rates and has not",
                seen.inbound
            );
        }
        for (r, row) in world.store.rows.iter().enumerate() {
            let (state, _) = self.before[r];
            must!(
                state == row.state || may_go(state, row.state),
                "request {r} went from {state:?} to {:?}",
                row.state
            );
            self.before[r] = (row.state, row.delivery);
            Self::messages(world, r)?;
            Self::truth(world, r, row)?;
            Self::deadlines(world, r, row)?;
            must!(
                row.counted == u32::from(row.rating.is_some()),
                "request {r} has {} counts and a rating: {}",
                row.counted,
                row.rating.is_some()
            );
        }
        Ok(())
    }

    /// Never twice.
    fn messages(world: &World, r: usize) -> Result<(), String> {
        let live = world
            .provider
            .of(r)
            .filter(|message| message.is_live())
            .count();
        let out = world
            .provider
            .of(r)
            .filter(|message| message.is_live() && message.fate != Fate::Waits)
            .count();
        match world.plan.promise {
            Promise::Strict | Promise::Wait => must!(live <= 1, "request {r} has {live} messages"),
            Promise::Guarded | Promise::GuardedLate => {
                must!(out <= 1, "request {r} has {out} messages that went out");
                must!(live <= 2, "request {r} has {live} messages");
            }
            Promise::Repeat => must!(live <= 2, "request {r} has {live} mails"),
        }
        Ok(())
    }

    /// What the rows say is so at the provider.
    fn truth(world: &World, r: usize, row: &Row) -> Result<(), String> {
        let open = |state| matches!(state, AttemptState::Dispatching | AttemptState::Unknown);
        let doubt = row.calls.iter().any(|(_, attempt)| open(attempt.state));
        let live = world.provider.of(r).any(super::provider::Message::is_live);
        let unsent = matches!(
            row.delivery,
            DeliveryState::Queued | DeliveryState::Claimed | DeliveryState::Dropped
        );
        must!(
            !(unsent && live && !doubt),
            "request {r} is {:?} without a doubt, and its message is there",
            row.delivery
        );
        must!(
            row.delivery != DeliveryState::Accepted || live,
            "request {r} is accepted, and nobody gets its message"
        );
        let answered = row.rating.is_some();
        must!(
            !answered
                || matches!(
                    row.delivery,
                    DeliveryState::Accepted | DeliveryState::Rejected
                ),
            "request {r} is answered, and {:?}",
            row.delivery
        );
        for (n, attempt) in &row.calls {
            let its = |message: &&super::provider::Message| message.attempt == *n;
            must!(
                attempt.state != AttemptState::NotProcessed
                    || !world.provider.of(r).any(|m| its(&m)),
                "attempt {n} of request {r} was not processed, and its message is there"
            );
            if let Some(bound) = attempt.message {
                let message = &world.provider.ledger[bound];
                must!(
                    message.request == r && message.attempt == *n,
                    "attempt {n} of request {r} has the message of another"
                );
            }
            // The first message is known, or the second one has gone out.
            let known = attempt.message.is_some()
                && (attempt.send_at.is_none() || attempt.state == AttemptState::Accepted);
            must!(
                !(known
                    && matches!(
                        row.delivery,
                        DeliveryState::Lost | DeliveryState::Unknown | DeliveryState::Guarded
                    )),
                "request {r} is {:?}, and its message is known",
                row.delivery
            );
        }
        Ok(())
    }

    /// Nothing rests beyond its deadline. While there is trouble, that waits until it is over.
    fn deadlines(world: &World, r: usize, row: &Row) -> Result<(), String> {
        let plan = &world.plan;
        let calm = plan.crash + plan.sleep + plan.failed_commit + plan.unknown_commit == 0;
        let (from, grace) = if calm {
            (0, plan.skew_ms + CALM_MS)
        } else {
            (START_MS + TROUBLE_MS, GRACE_MS)
        };
        let over = |deadline: i64| deadline.max(from) + grace < world.now;
        let held = matches!(
            row.delivery,
            DeliveryState::Claimed | DeliveryState::Dispatching
        );
        must!(
            !held || !over(row.lease_until),
            "request {r} is {:?} for too long",
            row.delivery
        );
        let queued = row.delivery == DeliveryState::Queued;
        must!(
            !queued || !over(row.next_at),
            "request {r} is not taken out of the queue"
        );
        must!(
            !row.state.is_open() || !over(row.expires_at),
            "request {r} has not ended"
        );
        let doubted = matches!(
            row.delivery,
            DeliveryState::Unknown | DeliveryState::Guarded
        );
        let looked_after = row.calls.iter().any(|(_, attempt)| attempt.check_at > 0);
        must!(
            !doubted || looked_after,
            "nobody looks after request {r}, which is {:?}",
            row.delivery
        );
        for (n, attempt) in &row.calls {
            let checked = attempt.check_at == 0 || !over(attempt.check_at);
            must!(checked, "attempt {n} of request {r} is not looked after");
        }
        Ok(())
    }

    /// What has come about in the end.
    pub(super) fn at_the_end(world: &World) -> Result<(), String> {
        for (r, row) in world.store.rows.iter().enumerate() {
            must!(!row.state.is_open(), "request {r} ends as {:?}", row.state);
            let ended = matches!(
                row.delivery,
                DeliveryState::Accepted
                    | DeliveryState::Rejected
                    | DeliveryState::Lost
                    | DeliveryState::Dropped
            );
            must!(ended, "request {r} ends {:?}", row.delivery);
            for (n, attempt) in &row.calls {
                let waits = matches!(
                    attempt.state,
                    AttemptState::Dispatching | AttemptState::Scheduled | AttemptState::Revoking
                );
                let ended = !waits && attempt.check_at == 0;
                must!(ended, "attempt {n} of request {r} ends {:?}", attempt.state);
            }
        }
        for (id, text) in world.inbound.iter().enumerate() {
            let fresh = world.now - text.at < 1_200_000;
            must!(fresh || text.acknowledged, "text {id} was never taken in");
        }
        Ok(())
    }
}
