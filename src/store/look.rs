//! Looking after attempts in doubt: whose turn it is, and what was found or not found.
//!
//! An attempt in doubt has a time at which it is looked after next. Whoever claims it moves that time on, so that a replica that
//! dies over it leaves it to another.

use super::dialect::{Row, Sql, Value};
use super::record::About;
use super::row::{self, request_columns};
use super::settle::{Ended, Which};
use super::sql::Inner;
use super::tx::Tx;
use super::{Check, Finding, Settlement, StoreError};
use crate::domain::delivery::{AttemptState, DeliveryState, Evidence};
use crate::domain::time::Timestamp;

/// For as long a check is held by whoever claimed it.
const CHECK_LEASE_MS: i64 = 60_000;
const ATTEMPT_BY_KEY: Sql = Sql::both(
    "select state, send_at from attempts where desk_id = $1 and request_id = $2 and n = $3",
);
const CLAIM_CHECKS: Sql = Sql::both(
    "update attempts set check_at = $1 + $2 where (desk_id, request_id, n) in (select desk_id, request_id, n from attempts \
     where check_at > 0 and check_at <= $1 order by case state when 'revoking' then 0 else 1 end, check_at limit $3) and check_at > 0 and check_at <= $1 \
     returning desk_id, request_id, n, provider, provider_id, state, started_at, body_hash, send_at, looks, absent, absent_since",
);
const REQUEST: Sql = Sql::both(concat!(
    "select ",
    request_columns!(),
    ", cast((select count(*) from attempts a where a.desk_id = requests.desk_id and a.request_id = requests.id \
     and a.state = 'unknown') as bigint) as doubts, \
     cast((select coalesce(max(a.send_at), 0) from attempts a where a.desk_id = requests.desk_id \
     and a.request_id = requests.id and a.n > $3) as bigint) as next_send_at, \
     cast((select coalesce(min(a.started_at), 0) from attempts a where a.desk_id = requests.desk_id \
     and a.request_id = requests.id and a.n > $3) as bigint) as next_started_at \
     from requests where requests.desk_id = $1 and requests.id = $2"
));
const LATER: Sql = Sql::both(
    "update attempts set check_at = $4, looks = $5, absent = $6, absent_since = $7 where desk_id = $1 and request_id = $2 \
     and n = $3 and check_at > 0 and state = $8",
);
const STOP: Sql = Sql::both(
    "update attempts set check_at = 0 where desk_id = $1 and request_id = $2 and n = $3 and state = $4",
);
const TAKEN: Sql = Sql::each(
    "select provider_id from attempts where provider_id in (select value from json_each($1)) and provider_id <> '' \
     and provider = $2",
    "select provider_id from attempts where provider_id = any($1::text[]) and provider_id <> '' and provider = $2",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("look.attempt_by_key", ATTEMPT_BY_KEY),
    ("look.claim_checks", CLAIM_CHECKS),
    ("look.request", REQUEST),
    ("look.later", LATER),
    ("look.stop", STOP),
    ("look.taken", TAKEN),
];

impl Inner {
    pub(super) async fn claim_checks(
        &self,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Check>, StoreError> {
        let mut tx = self.database.begin().await?;
        let values = [
            Value::Int(now.as_millis()),
            Value::Int(CHECK_LEASE_MS),
            Value::Int(limit),
        ];
        let mut checks = Vec::new();
        for row in tx.rows(CLAIM_CHECKS, &values).await? {
            let keys = [
                Value::Id(row.id("desk_id")?),
                Value::Id(row.id("request_id")?),
                Value::Int(row.int("n")?),
            ];
            if let Some(of) = tx.row(REQUEST, &keys).await? {
                let check = self.check(&of, &row);
                checks.extend(row::readable(row.id("request_id")?, check)?);
            }
        }
        tx.commit().await?;
        Ok(checks)
    }

    fn check(&self, of: &Row, attempt: &Row) -> Result<Check, StoreError> {
        Ok(Check {
            request: row::request(of, &self.keys)?,
            attempt: row::attempt(attempt)?,
            doubts: of.int("doubts")?,
            next_send_at: row::maybe(of, "next_send_at")?,
            next_started_at: row::maybe(of, "next_started_at")?,
        })
    }

    pub(super) async fn taken(
        &self,
        provider: &str,
        ids: &[&str],
    ) -> Result<Vec<String>, StoreError> {
        let values = [Value::Words(ids), Value::Text(provider)];
        let rows = self.database.rows(TAKEN, &values).await?;
        rows.iter().map(|row| row.text("provider_id")).collect()
    }

    /// Records what looking after an attempt came to. `false` if it was settled otherwise meanwhile.
    pub(super) async fn settle(
        &self,
        tx: &mut Tx,
        settlement: &Settlement,
    ) -> Result<bool, StoreError> {
        let Settlement {
            desk,
            request,
            attempt,
            now,
            ..
        } = *settlement;
        let Some(mut held) = self.lock_id(tx, desk, request).await? else {
            return Ok(false);
        };
        let which = (desk, request, attempt);
        match &settlement.finding {
            Finding::Later { at, doubt } => {
                let values = [
                    Value::Id(desk.uuid()),
                    Value::Id(request.uuid()),
                    Value::Int(attempt),
                    Value::Int(at.as_millis()),
                    Value::Int(doubt.looks),
                    Value::Int(doubt.absent),
                    Value::Int(doubt.absent_since.map_or(0, Timestamp::as_millis)),
                    Value::Text(settlement.state.as_str()),
                ];
                Ok(tx.execute(LATER, &values).await? == 1)
            }
            Finding::Found {
                provider_id,
                status,
            } => {
                // As if the provider had called back.
                let keys = [
                    Value::Id(desk.uuid()),
                    Value::Id(request.uuid()),
                    Value::Int(attempt),
                ];
                let Some(row) = tx.row(ATTEMPT_BY_KEY, &keys).await? else {
                    return Ok(false);
                };
                self.weigh_status(tx, &mut held, &row, attempt, provider_id, status, now)
                    .await?;
                Ok(true)
            }
            // Whoever looked has slept since, and another made the second attempt: there is no third.
            Finding::NotFound { second: true } if held.request.attempts != attempt => Ok(false),
            Finding::NotFound { second } => {
                let about = About::attempt(attempt);
                let evidence = Evidence::NotFound { second: *second };
                let step = self.weigh(tx, &mut held, about, &evidence, now).await?;
                if step.is_some() {
                    self.save(tx, &held).await?;
                }
                // A second attempt leaves the first in doubt; it goes on being looked for.
                if !(*second && held.request.delivery == DeliveryState::Queued) {
                    self.stop_looking(tx, which, settlement.state).await?;
                }
                Ok(step.is_some())
            }
            Finding::Released => {
                let about = About::attempt(attempt);
                let step = self
                    .weigh(tx, &mut held, about, &Evidence::Released, now)
                    .await?;
                if step.is_some() {
                    self.save(tx, &held).await?;
                }
                self.replace(
                    tx,
                    which,
                    AttemptState::Scheduled,
                    AttemptState::Accepted,
                    now,
                )
                .await
            }
            Finding::Revoked => {
                self.replace(
                    tx,
                    which,
                    AttemptState::Revoking,
                    AttemptState::Revoked,
                    now,
                )
                .await
            }
            Finding::TooLate => {
                self.replace(
                    tx,
                    which,
                    AttemptState::Revoking,
                    AttemptState::Accepted,
                    now,
                )
                .await
            }
            Finding::Settled => {
                self.stop_looking(tx, which, settlement.state).await?;
                Ok(true)
            }
        }
    }

    async fn replace(
        &self,
        tx: &mut Tx,
        which: Which,
        from: AttemptState,
        to: AttemptState,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let ended = Ended {
            over: from.as_str(),
            ..Ended::new(to, "", "")
        };
        self.end_attempt(tx, which, ended, now).await?;
        Ok(true)
    }

    async fn stop_looking(
        &self,
        tx: &mut Tx,
        (desk, request, attempt): Which,
        state: AttemptState,
    ) -> Result<(), StoreError> {
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(request.uuid()),
            Value::Int(attempt),
            Value::Text(state.as_str()),
        ];
        tx.execute(STOP, &values).await?;
        Ok(())
    }
}
