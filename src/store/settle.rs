//! What happened to attempts after their calls: the provider's callbacks, and what dead workers left behind.

use super::StoreError;
use super::carry::now;
use super::dialect::{Row, Sql, Value};
use super::lock::Held;
use super::record::About;
use super::row;
use super::sql::Inner;
use super::tx::Tx;
use crate::domain::delivery::{AttemptState, Evidence, Status};
use crate::domain::id::{DeskId, RequestId};
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;

/// A second message counts as sent this long after its time, unless it was taken back.
const RELEASE_MS: i64 = 30_000;

/// SQLite takes a partial index only for a statement that repeats the index's condition, so some conditions stand twice.
macro_rules! unclaim {
    ($now:expr) => {
        concat!(
            "update requests set delivery = 'queued', lease_until = 0 where delivery = 'claimed' \
             and delivery in ('claimed', 'dispatching') and lease_until <= ",
            $now
        )
    };
}

const UNCLAIM: Sql = Sql::each(unclaim!(now!(sqlite)), unclaim!(now!(postgres)));

const RELEASE: Sql = Sql::both(
    "update requests set delivery = 'queued', lease_until = 0 where delivery = 'claimed' \
     and delivery in ('claimed', 'dispatching') and lease_owner = $1",
);
const RELEASE_DUTIES: Sql = Sql::both("update duties set until = 0 where owner = $1");

/// For a database that only this process works on: whoever held something is dead.
const TAKE_OVER: Sql =
    Sql::both("update requests set lease_until = 0 where delivery in ('claimed', 'dispatching')");
const TAKE_OVER_DUTIES: Sql = Sql::both("update duties set until = 0");

macro_rules! silent {
    ($now:expr) => {
        concat!(
            "select desk_id, id from requests where delivery = 'dispatching' \
             and delivery in ('claimed', 'dispatching') and lease_until <= ",
            $now,
            " limit 500"
        )
    };
}

const SILENT: Sql = Sql::each(silent!(now!(sqlite)), silent!(now!(postgres)));
/// A second message that nobody wants any more, because the first was heard of or the request has ended, is taken back.
const UNWANTED: Sql = Sql::both(
    "update attempts set state = 'revoking', check_at = $1 where state = 'scheduled' and send_at > $1 and exists \
     (select 1 from requests r where r.desk_id = attempts.desk_id and r.id = attempts.request_id and r.delivery <> 'guarded')",
);
const ATTEMPT_BY_TOKEN: Sql = Sql::both(
    "select desk_id, request_id, n, provider_id, state, send_at from attempts where token_hash = $1",
);
/// What was settled before stays settled; an id is kept whenever it comes.
const END_ATTEMPT: Sql = Sql::both(
    "update attempts set code = case when state in ('dispatching', 'unknown', $8) then $5 else code end, \
     check_at = case when state in ('dispatching', 'unknown', $8) then $9 else check_at end, \
     state = case when state in ('dispatching', 'unknown', $8) then $4 else state end, \
     provider_id = case when provider_id = '' then $6 else provider_id end, ended_at = $7 \
     where desk_id = $1 and request_id = $2 and n = $3",
);
#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("settle.unclaim", UNCLAIM),
    ("settle.release", RELEASE),
    ("settle.release_duties", RELEASE_DUTIES),
    ("settle.take_over", TAKE_OVER),
    ("settle.take_over_duties", TAKE_OVER_DUTIES),
    ("settle.silent", SILENT),
    ("settle.unwanted", UNWANTED),
    ("settle.attempt_by_token", ATTEMPT_BY_TOKEN),
    ("settle.end_attempt", END_ATTEMPT),
];

/// How an attempt ended, or where it stands now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended<'a> {
    pub(super) state: AttemptState,
    pub(super) code: &'a str,
    pub(super) provider_id: &'a str,
    /// A state besides the open ones that this may replace.
    pub(super) over: &'a str,
    /// When it is looked after next; `None` for never.
    pub(super) check_at: Option<Timestamp>,
}

impl<'a> Ended<'a> {
    pub(super) const fn new(state: AttemptState, code: &'a str, provider_id: &'a str) -> Self {
        Self {
            state,
            code,
            provider_id,
            over: "",
            check_at: None,
        }
    }

    pub(super) const fn accepted(provider_id: &'a str) -> Self {
        Self::new(AttemptState::Accepted, "", provider_id)
    }

    pub(super) const fn not_processed(code: &'a str) -> Self {
        Self::new(AttemptState::NotProcessed, code, "")
    }

    pub(super) const fn rejected(code: &'a str) -> Self {
        Self::new(AttemptState::Rejected, code, "")
    }

    /// In doubt, and looked after from now on.
    pub(super) const fn unknown(code: &'a str) -> Self {
        Self::new(AttemptState::Unknown, code, "")
    }

    /// Waits at the provider.
    pub(super) const fn scheduled(provider_id: &'a str, send_at: Timestamp) -> Self {
        Self {
            check_at: Some(send_at.plus_millis(RELEASE_MS)),
            ..Self::new(AttemptState::Scheduled, "", provider_id)
        }
    }
}

/// An attempt's identity.
pub(super) type Which = (DeskId, RequestId, i64);

impl Inner {
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
        let bound = row.text("provider_id")?;
        if !bound.is_empty() && bound != provider_id {
            // The token names one message; a callback about another one is not evidence about it.
            return Ok(None);
        }
        let Some(mut held) = self.lock_id(tx, desk, id).await? else {
            return Ok(None);
        };
        let attempt = row.int("n")?;
        self.weigh_status(tx, &mut held, &row, attempt, provider_id, status, now)
            .await?;
        Ok(Some(held.request))
    }

    /// Weighs what a provider says of a message, by callback or by its list. `row` is the attempt.
    #[expect(clippy::too_many_arguments, reason = "each is one thing that is known")]
    pub(super) async fn weigh_status(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        row: &Row,
        attempt: i64,
        provider_id: &str,
        status: &Status,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let which = (held.request.desk, held.request.id, attempt);
        let send_at = row.int("send_at")?;
        let send_at = (send_at > 0).then(|| Timestamp::from_millis(send_at));
        let state = row::attempt_state(row)?;
        let given_back = matches!(state, AttemptState::Revoking | AttemptState::Revoked);
        if given_back && *status != Status::Delivered {
            // Our own taking back, or its echo: no news about the request.
            return Ok(());
        }
        let doubt = self.doubt_before(tx, held, attempt).await?;
        let about = About {
            attempt,
            send_at,
            doubt,
        };
        let evidence = Evidence::Status(status.clone());
        if self.weigh(tx, held, about, &evidence, now).await?.is_some() {
            self.save(tx, held).await?;
        }
        let ended = match (status, send_at) {
            (Status::Taken, Some(send_at)) if now < send_at => {
                Ended::scheduled(provider_id, send_at)
            }
            (Status::Taken | Status::Delivered, _) => Ended {
                over: AttemptState::Scheduled.as_str(),
                ..Ended::accepted(provider_id)
            },
            (Status::Failed { code, .. }, _) => Ended {
                provider_id,
                over: match state {
                    AttemptState::Accepted | AttemptState::Scheduled => state.as_str(),
                    AttemptState::Dispatching
                    | AttemptState::Unknown
                    | AttemptState::NotProcessed
                    | AttemptState::Rejected
                    | AttemptState::Revoking
                    | AttemptState::Revoked => "",
                },
                ..Ended::rejected(code)
            },
        };
        self.end_attempt(tx, which, ended, now).await
    }

    pub(super) async fn release(&self, owner: &str) -> Result<u64, StoreError> {
        let mut tx = self.database.begin().await?;
        let released = tx.execute(RELEASE, &[Value::Text(owner)]).await?;
        tx.execute(RELEASE_DUTIES, &[Value::Text(owner)]).await?;
        tx.commit().await?;
        Ok(released)
    }

    pub(super) async fn take_over(&self) -> Result<(), StoreError> {
        let mut tx = self.database.begin().await?;
        tx.execute(TAKE_OVER, &[]).await?;
        tx.execute(TAKE_OVER_DUTIES, &[]).await?;
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
            let Some(mut held) = self.lock_readable(&mut tx, desk, id).await? else {
                continue;
            };
            settled += u64::from(self.silence(&mut tx, &mut held, now).await?);
        }
        settled += tx.execute(UNWANTED, &[Value::Int(now.as_millis())]).await?;
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
        let about = About::attempt(attempt);
        let Some(step) = self.weigh(tx, held, about, &Evidence::Silence, now).await? else {
            return Ok(false);
        };
        self.save(tx, held).await?;
        let which = (held.request.desk, held.request.id, attempt);
        self.end_attempt(tx, which, Ended::unknown(&step.code), now)
            .await?;
        Ok(true)
    }

    pub(super) async fn end_attempt(
        &self,
        tx: &mut Tx,
        (desk, request, attempt): Which,
        ended: Ended<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let check_at = if ended.state == AttemptState::Unknown {
            now.as_millis()
        } else {
            ended.check_at.map_or(0, Timestamp::as_millis)
        };
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(request.uuid()),
            Value::Int(attempt),
            Value::Text(ended.state.as_str()),
            Value::Text(ended.code),
            Value::Text(ended.provider_id),
            Value::Int(now.as_millis()),
            Value::Text(ended.over),
            Value::Int(check_at),
        ];
        tx.execute(END_ATTEMPT, &values).await?;
        Ok(())
    }
}
