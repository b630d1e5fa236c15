//! Carrying: claim, the point of no return, the report, the provider's callbacks, and what dead workers leave behind.
//!
//! Leases are measured on the database's clock, so that replicas whose clocks differ cannot hold one row together.

use super::bulk::owned;
use super::dialect::{Sql, Value};
use super::lock::Held;
use super::row::{self, request_columns};
use super::sql::Inner;
use super::tx::Tx;
use super::{Claim, Dispatch, Find, Permission, Report, StoreError};
use crate::domain::delivery::{DeliveryState, Evidence, Outcome, Status};
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::policy::Suppression;
use crate::domain::request::{Request, State};
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;

/// A claim is held shortly: between it and the point of no return lies only the opening of the way to the provider.
const CLAIM_LEASE_MS: i64 = 15_000;

/// Milliseconds since the epoch, by the database.
macro_rules! now {
    (sqlite) => {
        "cast(unixepoch('subsec') * 1000 as integer)"
    };
    (postgres) => {
        "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)"
    };
}

/// The condition on the state stands twice: without it in the outer update, concurrent claims take the same rows; `skip locked`
/// is only speed. On PostgreSQL the choice is made once, in a materialized part: as a sub-select it may be run again for every
/// row, each time skipping what it has locked itself, and the limit would be none.
const CLAIM: Sql = Sql::each(
    concat!(
        "update requests set delivery = 'claimed', lease_owner = $1, lease_until = ",
        now!(sqlite),
        " + $2, fence = fence + 1 where (desk_id, id) in (select desk_id, id from requests where delivery = 'queued' \
         and next_at <= $3 and channel in (select value from json_each($5)) order by next_at limit $4) \
         and delivery = 'queued' returning ",
        request_columns!()
    ),
    concat!(
        "with due as materialized (select desk_id, id from requests where delivery = 'queued' and next_at <= $3 \
         and channel = any($5::text[]) order by next_at limit $4 for update skip locked) \
         update requests set delivery = 'claimed', lease_owner = $1, lease_until = ",
        now!(postgres),
        " + $2, fence = fence + 1 from due where requests.desk_id = due.desk_id and requests.id = due.id \
         and requests.delivery = 'queued' returning ",
        request_columns!()
    ),
);

macro_rules! dispatch {
    ($now:expr) => {
        concat!(
            "update requests set delivery = 'dispatching', attempts = $4, lease_until = ", $now, " + $5 where desk_id = $1 \
             and id = $2 and fence = $3 and delivery = 'claimed' and state = 'scheduled' and lease_until > ", $now
        )
    };
}

const DISPATCH: Sql = Sql::each(dispatch!(now!(sqlite)), dispatch!(now!(postgres)));

macro_rules! unclaim {
    ($now:expr) => {
        concat!("update requests set delivery = 'queued', lease_until = 0 where delivery = 'claimed' and lease_until <= ", $now)
    };
}

const UNCLAIM: Sql = Sql::each(unclaim!(now!(sqlite)), unclaim!(now!(postgres)));

const RELEASE: Sql = Sql::both(
    "update requests set delivery = 'queued', lease_until = 0 where delivery = 'claimed' and lease_owner = $1",
);

/// For a database that only this process works on: whoever held something is dead.
const TAKE_OVER: Sql =
    Sql::both("update requests set lease_until = 0 where delivery in ('claimed', 'dispatching')");

macro_rules! silent {
    ($now:expr) => {
        concat!(
            "select desk_id, id from requests where delivery = 'dispatching' and lease_until <= ",
            $now,
            " limit 500"
        )
    };
}

const SILENT: Sql = Sql::each(silent!(now!(sqlite)), silent!(now!(postgres)));
const ATTEMPT_BY_TOKEN: Sql =
    Sql::both("select desk_id, request_id, n, provider_id from attempts where token_hash = $1");
const END_ATTEMPT: Sql = Sql::both(
    "update attempts set state = $4, code = $5, provider_id = case when provider_id = '' then $6 else provider_id end, \
     ended_at = $7 where desk_id = $1 and request_id = $2 and n = $3",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("carry.claim", CLAIM),
    ("carry.dispatch", DISPATCH),
    ("carry.unclaim", UNCLAIM),
    ("carry.release", RELEASE),
    ("carry.take_over", TAKE_OVER),
    ("carry.silent", SILENT),
    ("carry.attempt_by_token", ATTEMPT_BY_TOKEN),
    ("carry.end_attempt", END_ATTEMPT),
];

impl Inner {
    pub(super) async fn claim_deliveries(
        &self,
        owner: &str,
        channels: &[&str],
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        let mut tx = self.database.begin().await?;
        let values = [
            Value::Text(owner),
            Value::Int(self.lease_ms.min(CLAIM_LEASE_MS)),
            Value::Int(now.as_millis()),
            Value::Int(limit),
            Value::Words(channels),
        ];
        let mut claims = Vec::new();
        for row in tx.rows(CLAIM, &values).await? {
            claims.push(Claim {
                fence: row.int("fence")?,
                request: row::request(&row, &self.keys)?,
            });
        }
        tx.commit().await?;
        Ok(claims)
    }

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
        if self.opted_out_since(tx, &held.request).await? {
            let reason = Suppression::OptedOut;
            held.request.reason = Some(reason);
            held.request.delivery = DeliveryState::Dropped;
            let entered = held.enter(State::Suppressed, dispatch.now);
            self.emit(
                tx,
                &held.request,
                EventKind::RequestSuppressed,
                entered,
                dispatch.now,
            );
            self.save(tx, &held).await?;
            return Ok(Permission::Suppressed(reason));
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
            return Ok(Permission::Withdrawn);
        }
        let values = [
            keys[0],
            keys[1],
            Value::Int(dispatch.attempt),
            Value::Bytes(&dispatch.token.0),
            Value::Text(dispatch.provider),
            Value::Text(""),
            Value::Text(DeliveryState::Dispatching.as_str()),
            Value::Int(dispatch.now.as_millis()),
            Value::Int(0),
        ];
        tx.pending.attempts.push(owned(&values));
        Ok(Permission::Granted)
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
        let (state, code, provider_id) = match &report.outcome {
            Outcome::Accepted { provider_id } => ("accepted", "", provider_id.as_str()),
            Outcome::NotProcessed { code, .. } => ("not_processed", code.as_str(), ""),
            Outcome::Rejected { code, .. } => ("rejected", code.as_str(), ""),
            Outcome::Unknown { code } => ("unknown", code.as_str(), ""),
        };
        let evidence = Evidence::Outcome(report.outcome.clone());
        let step = self
            .weigh(tx, &mut held, report.attempt, &evidence, report.now)
            .await?;
        if step.is_some() {
            self.save(tx, &held).await?;
        }
        // Written even if a callback was faster: the answer's id is worth keeping.
        let attempt = (report.desk, report.request, report.attempt);
        self.end_attempt(tx, attempt, state, code, provider_id, report.now)
            .await?;
        Ok(step.is_some())
    }

    pub(super) async fn status(
        &self,
        tx: &mut Tx,
        token: TokenHash,
        provider_id: &str,
        status: &Status,
        now: Timestamp,
    ) -> Result<Option<Request>, StoreError> {
        let Some(row) = tx.row(ATTEMPT_BY_TOKEN, &[Value::Bytes(&token.0)]).await? else {
            return Ok(None);
        };
        let (desk, id) = (
            DeskId::from_uuid(row.id("desk_id")?),
            RequestId::from_uuid(row.id("request_id")?),
        );
        let (attempt, bound) = (row.int("n")?, row.text("provider_id")?);
        if !bound.is_empty() && bound != provider_id {
            // The token names one message; a callback about another one is not evidence about it.
            return Ok(None);
        }
        let Some(mut held) = self.lock_id(tx, desk, id).await? else {
            return Ok(None);
        };
        let evidence = Evidence::Status(status.clone());
        if self
            .weigh(tx, &mut held, attempt, &evidence, now)
            .await?
            .is_some()
        {
            self.save(tx, &held).await?;
        }
        let (state, code) = match status {
            Status::Taken | Status::Delivered => ("accepted", ""),
            Status::Failed { code, .. } => ("rejected", code.as_str()),
        };
        if bound.is_empty() || state == "rejected" {
            self.end_attempt(tx, (desk, id, attempt), state, code, provider_id, now)
                .await?;
        }
        Ok(Some(held.request))
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
        let attempt = held.request.attempts;
        let mut changed = self
            .weigh(tx, &mut held, attempt, &Evidence::Contact, now)
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

    pub(super) async fn release(&self, owner: &str) -> Result<u64, StoreError> {
        let mut tx = self.database.begin().await?;
        let released = tx.execute(RELEASE, &[Value::Text(owner)]).await?;
        tx.commit().await?;
        Ok(released)
    }

    pub(super) async fn take_over(&self) -> Result<(), StoreError> {
        let mut tx = self.database.begin().await?;
        tx.execute(TAKE_OVER, &[]).await?;
        tx.commit().await
    }

    pub(super) async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.database.begin().await?;
        let mut settled = tx.execute(UNCLAIM, &[]).await?;
        for row in tx.rows(SILENT, &[]).await? {
            let (desk, id) = (
                DeskId::from_uuid(row.id("desk_id")?),
                RequestId::from_uuid(row.id("id")?),
            );
            let Some(mut held) = self.lock_id(&mut tx, desk, id).await? else {
                continue;
            };
            settled += u64::from(self.silence(&mut tx, &mut held, now).await?);
        }
        tx.commit().await?;
        Ok(settled)
    }

    async fn silence(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let attempt = held.request.attempts;
        let Some(step) = self
            .weigh(tx, held, attempt, &Evidence::Silence, now)
            .await?
        else {
            return Ok(false);
        };
        self.save(tx, held).await?;
        let which = (held.request.desk, held.request.id, attempt);
        self.end_attempt(tx, which, "unknown", &step.code, "", now)
            .await?;
        Ok(true)
    }

    async fn end_attempt(
        &self,
        tx: &mut Tx,
        (desk, request, attempt): (DeskId, RequestId, i64),
        state: &str,
        code: &str,
        provider_id: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(request.uuid()),
            Value::Int(attempt),
            Value::Text(state),
            Value::Text(code),
            Value::Text(provider_id),
            Value::Int(now.as_millis()),
        ];
        tx.execute(END_ATTEMPT, &values).await?;
        Ok(())
    }
}
