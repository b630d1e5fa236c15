//! Carrying: the point of no return and the report.
//!
//! Leases are measured on the database's clock, so that replicas whose clocks differ cannot hold one row together. What is plain of
//! both goes through `sends` and `sent`, many at once; here each is looked at.

use super::bulk::{Owned, owned};
use super::dialect::{Sql, Value};
use super::lock::Held;
use super::record::About;
use super::settle::Ended;
use super::sql::Inner;
use super::tx::Tx;
use super::{Ceiling, Dispatch, Find, Permission, Report, Second, StoreError};
use crate::domain::delivery::{AttemptState, DeliveryState, Evidence, Outcome};
use crate::domain::event::EventKind;
use crate::domain::policy::Suppression;
use crate::domain::request::{Request, State};
use crate::domain::time::Timestamp;

/// Milliseconds since the epoch, by the database.
macro_rules! now {
    (sqlite) => {
        "cast(unixepoch('subsec') * 1000 as integer)"
    };
    (postgres) => {
        "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)"
    };
}

macro_rules! dispatch {
    ($now:expr) => {
        concat!(
            "update requests set delivery = 'dispatching', attempts = $4, lease_until = ", $now, " + $5 where desk_id = $1 \
             and id = $2 and fence = $3 and delivery = 'claimed' and state = 'scheduled' and lease_until > ", $now
        )
    };
}

pub(super) use now;

const DISPATCH: Sql = Sql::each(dispatch!(now!(sqlite)), dispatch!(now!(postgres)));

/// Attempts of a request of which nobody knows whether they happened.
const DOUBT_BEFORE: Sql = Sql::both(
    "select cast(count(*) as bigint) as n from attempts where desk_id = $1 and request_id = $2 and state = 'unknown' and n < $3",
);
const IN_DOUBT: Sql = Sql::both(
    "select cast(count(*) as bigint) as n from attempts where desk_id = $1 and request_id = $2 and state = 'unknown'",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("carry.dispatch", DISPATCH),
    ("carry.in_doubt", IN_DOUBT),
    ("carry.doubt_before", DOUBT_BEFORE),
];

impl Inner {
    /// The point of no return. Decides again first: much may have happened since the trigger.
    pub(super) async fn dispatch(
        &self,
        tx: &mut Tx,
        dispatch: &Dispatch,
    ) -> Result<Permission, StoreError> {
        let Some(mut held) = self.lock_id(tx, dispatch.desk, dispatch.request).await? else {
            return Ok(Permission::Withdrawn);
        };
        let claimed =
            held.request.delivery == DeliveryState::Claimed && held.fence == dispatch.fence;
        if !claimed
            || held.request.state != State::Scheduled
            || dispatch.now >= held.request.expires_at
        {
            return Ok(Permission::Withdrawn);
        }
        let doubts = self.doubts(tx, &held).await?;
        let send_at = match (doubts, dispatch.second) {
            (0, _) | (_, Second::Same) => None,
            (_, Second::At(send_at)) => Some(send_at),
            (_, Second::Never) => return self.no_second(tx, held, dispatch.now).await,
        };
        let about = (dispatch.desk, &held.request.channel);
        if self.opted_out(tx, about, &held.request.contact).await? {
            if doubts > 0 {
                return self.no_second(tx, held, dispatch.now).await;
            }
            let reason = Suppression::OptedOut;
            return self.suppress(tx, &mut held, reason, dispatch.now).await;
        }
        // A second message of which the first is in doubt is settled within minutes, and by rules of its own.
        if let Some(again) = dispatch.again.as_deref().filter(|_| doubts == 0)
            && let Some(permission) = self
                .decide_again(tx, &mut held, again, dispatch.now)
                .await?
        {
            return Ok(permission);
        }
        if let Some(ceiling) = self.count_send(tx, &held.request).await? {
            return self
                .over_ceiling(tx, held, ceiling, doubts > 0, dispatch.now)
                .await;
        }
        let keys = [
            Value::Id(dispatch.desk.uuid()),
            Value::Id(dispatch.request.uuid()),
        ];
        let values = [
            keys[0],
            keys[1],
            Value::Int(dispatch.fence),
            Value::Int(dispatch.attempt),
            Value::Int(self.lease_ms),
        ];
        if tx.execute(DISPATCH, &values).await? == 0 {
            self.uncount_send(tx, &held.request).await?;
            return Ok(Permission::Withdrawn);
        }
        tx.pending
            .attempts
            .push(attempt(dispatch, send_at, self.lease_ms));
        Ok(Permission::Granted { send_at })
    }

    /// Attempts of this request in doubt. A request that was never attempted has none, and costs no look.
    pub(super) async fn doubts(&self, tx: &mut Tx, held: &Held) -> Result<i64, StoreError> {
        if held.request.attempts == 0 {
            return Ok(0);
        }
        let keys = [
            Value::Id(held.request.desk.uuid()),
            Value::Id(held.request.id.uuid()),
        ];
        tx.row(IN_DOUBT, &keys)
            .await?
            .map_or(Ok(0), |row| row.int("n"))
    }

    /// Whether an earlier attempt than this may exist at the provider.
    pub(super) async fn doubt_before(
        &self,
        tx: &mut Tx,
        held: &Held,
        attempt: i64,
    ) -> Result<bool, StoreError> {
        if attempt <= 1 {
            return Ok(false);
        }
        let values = [
            Value::Id(held.request.desk.uuid()),
            Value::Id(held.request.id.uuid()),
            Value::Int(attempt),
        ];
        let row = tx.row(DOUBT_BEFORE, &values).await?;
        Ok(row.map_or(Ok(0), |row| row.int("n"))? > 0)
    }

    /// A second attempt that may not be made after all: the first one is as lost as it was.
    async fn no_second(
        &self,
        tx: &mut Tx,
        mut held: Held,
        now: Timestamp,
    ) -> Result<Permission, StoreError> {
        let about = About::attempt(held.request.attempts);
        let evidence = Evidence::NotFound { second: false };
        if self
            .weigh(tx, &mut held, about, &evidence, now)
            .await?
            .is_some()
        {
            self.save(tx, &held).await?;
        }
        Ok(Permission::Withdrawn)
    }

    /// More than the ceiling allows: something above is wrong, or the ceiling is. Never sent; what is in doubt stays in doubt.
    async fn over_ceiling(
        &self,
        tx: &mut Tx,
        mut held: Held,
        ceiling: Ceiling,
        doubt: bool,
        now: Timestamp,
    ) -> Result<Permission, StoreError> {
        if doubt {
            self.no_second(tx, held, now).await?;
            return Ok(Permission::Ceiling(ceiling));
        }
        held.request.delivery = DeliveryState::Dropped;
        ceiling.code().clone_into(&mut held.request.delivery_code);
        let entered = held.enter(State::Failed, now);
        self.emit(tx, &held.request, EventKind::RequestFailed, entered, now);
        self.save(tx, &held).await?;
        Ok(Permission::Ceiling(ceiling))
    }

    pub(super) async fn report(&self, tx: &mut Tx, report: &Report) -> Result<bool, StoreError> {
        let Some(mut held) = self.lock_id(tx, report.desk, report.request).await? else {
            return Ok(false);
        };
        if held.fence != report.fence {
            return Ok(false);
        }
        // The way to the provider did not open: the attempt ended before its point of no return and has no row.
        let unopened = held.request.delivery == DeliveryState::Claimed
            && held.request.attempts + 1 == report.attempt;
        if unopened {
            held.request.attempts = report.attempt;
        } else if held.request.attempts != report.attempt {
            return Ok(false);
        }
        let doubt = self.doubt_before(tx, &held, report.attempt).await?;
        let about = About {
            attempt: report.attempt,
            send_at: report.send_at,
            doubt,
        };
        let dispatched = held.request.delivery == DeliveryState::Dispatching;
        let evidence = Evidence::Outcome(report.outcome.clone());
        let step = self
            .weigh(tx, &mut held, about, &evidence, report.now)
            .await?;
        if step.is_some() {
            self.save(tx, &held).await?;
        }
        if dispatched && matches!(report.outcome, Outcome::NotProcessed { .. }) {
            self.uncount_send(tx, &held.request).await?;
        }
        if step.is_none() && matches!(report.outcome, Outcome::NotProcessed { .. }) {
            // Too late to be believed, so the attempt stays in doubt and is looked after.
            return Ok(false);
        }
        // Written even if a callback was faster: the answer's id is worth keeping.
        let attempt = (report.desk, report.request, report.attempt);
        let ended = match &report.outcome {
            Outcome::Accepted { provider_id } => match report.send_at {
                Some(send_at) => Ended::scheduled(provider_id, send_at),
                None => Ended::accepted(provider_id),
            },
            Outcome::NotProcessed { code, .. } => Ended::not_processed(code),
            Outcome::Rejected { code, .. } => Ended::rejected(code),
            // The contact's answer was faster than this. A second message that may wait at the provider is looked for all the
            // same, to be taken back.
            Outcome::Unknown { code }
                if held.request.delivery == DeliveryState::Accepted && report.send_at.is_none() =>
            {
                Ended {
                    code,
                    ..Ended::accepted("")
                }
            }
            Outcome::Unknown { code } => Ended::unknown(code),
        };
        self.end_attempt(tx, attempt, ended, report.now).await?;
        Ok(step.is_some())
    }

    pub(super) async fn reached(
        &self,
        tx: &mut Tx,
        find: &Find,
        now: Timestamp,
    ) -> Result<Option<Request>, StoreError> {
        let Some(mut held) = self.lock(tx, find).await? else {
            return Ok(None);
        };
        let about = self.about_contact(tx, &held).await?;
        let mut changed = self
            .weigh(tx, &mut held, about, &Evidence::Contact, now)
            .await?
            .is_some();
        if held.request.state.admits(State::Reached) {
            let failed = held.request.state == State::Failed;
            let entered = held.enter(State::Reached, now);
            held.call_off();
            if failed {
                self.listen(tx, &mut held).await?;
            }
            self.emit(tx, &held.request, EventKind::RequestReached, entered, now);
            changed = true;
        }
        if changed {
            self.save(tx, &held).await?;
        }
        Ok(Some(held.request))
    }
}

/// The row of an attempt that is about to be made.
pub(super) fn attempt(
    dispatch: &Dispatch,
    send_at: Option<Timestamp>,
    lease_ms: i64,
) -> Vec<Owned> {
    owned(&[
        Value::Id(dispatch.desk.uuid()),
        Value::Id(dispatch.request.uuid()),
        Value::Int(dispatch.attempt),
        Value::Bytes(&dispatch.token.0),
        Value::Text(dispatch.provider),
        Value::Text(""),
        Value::Text(AttemptState::Dispatching.as_str()),
        Value::Int(dispatch.now.as_millis()),
        Value::Int(0),
        Value::Bytes(dispatch.body.as_ref().map_or(&[][..], |hash| &hash[..])),
        Value::Int(send_at.map_or(0, Timestamp::as_millis)),
        // A second message may wait at the provider although its worker died and the request has moved on: it is looked after
        // by itself.
        Value::Int(send_at.map_or(0, |_| dispatch.now.plus_millis(lease_ms).as_millis())),
    ])
}
