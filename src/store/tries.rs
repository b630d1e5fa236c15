//! Telling webhooks: who has something to be told, what is to be tried again, and the log.
//!
//! A webhook has a mark in the stream of its desk, up to which everything was tried once, and a bounded set of places to try again.
//! What was tried is noted afterwards, so whoever dies in between tries the same again, with the same identifiers.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use super::bulk::{Insert, four, insert, owned, rows};
use super::dialect::{Row, Sql, Value};
use super::sql::{Inner, SqlStore};
use super::subscriptions::{identity, keys, state};
use super::tx::Tx;
use crate::domain::id::{DeskId, EventId, WebhookId};
use crate::domain::notice::Recorded;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Delivery, Health, LOG_MS, Webhook, WebhookSecret, WebhookState};

const LOG: Sql = Sql::both(
    "select id, event_id, kind, attempt, at, status, elapsed_ms, error from webhook_deliveries \
     where desk_id = $1 and webhook_id = $2 and id < $3 order by id desc limit $4",
);
const LOGGED: Insert = insert!(
    "webhook_deliveries (desk_id, webhook_id, id, event_id, kind, attempt, at, status, elapsed_ms, error)",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "$1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], \
     $10::text[]",
    "",
    ""
);
const FORGET: Sql = Sql::both(
    "delete from webhook_deliveries where desk_id = $1 and webhook_id = $2 and id in (select id from webhook_deliveries \
     where desk_id = $1 and webhook_id = $2 and id < $3 order by id limit $4)",
);
const BUSY: Sql = Sql::both(
    "select webhooks.desk_id, webhooks.id from webhooks left join streams on streams.desk_id = webhooks.desk_id \
     where webhooks.state = 'enabled' and webhooks.open_until <= $1 and (coalesce(streams.seq, 0) > webhooks.mark \
     or (webhooks.retry_at > 0 and webhooks.retry_at <= $1)) order by webhooks.open_until, webhooks.id limit $2",
);
const HEALTH: Sql = Sql::both(
    "select failures, failing_since, open_until from webhooks where desk_id = $1 and id = $2",
);
const ALL: Sql = Sql::both("select desk_id, id, state, open_until, failures from webhooks");
const RETRIES: Sql = Sql::both(
    "select seq, attempts, next_at from webhook_retries where desk_id = $1 and webhook_id = $2 order by next_at, seq",
);
const RETRY: Sql = Sql::both(
    "insert into webhook_retries (desk_id, webhook_id, seq, attempts, next_at) values ($1, $2, $3, $4, $5) \
     on conflict (desk_id, webhook_id, seq) do update set attempts = excluded.attempts, next_at = excluded.next_at",
);
const SETTLED: Sql =
    Sql::both("delete from webhook_retries where desk_id = $1 and webhook_id = $2 and seq = $3");
/// Not what has been tried often: an address that comes and goes would use up the tries of days in an hour.
const SOON: Sql = Sql::both(
    "update webhook_retries set next_at = $3 where desk_id = $1 and webhook_id = $2 and next_at > $3 and attempts <= 5",
);
/// A webhook that was told to go back meanwhile, or was changed or switched off, stays as it was told.
const TRIED: Sql = Sql::both(
    "update webhooks set mark = case when mark = $3 then $4 else mark end, failures = $5, failing_since = $6, open_until = $7, \
     state = case when state = 'enabled' then $8 else state end, \
     retry_at = coalesce((select min(r.next_at) from webhook_retries r where r.desk_id = $1 and r.webhook_id = $2), 0) \
     where desk_id = $1 and id = $2",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("tries.log", LOG),
    ("tries.logged", LOGGED.one()),
    ("tries.logged_many", LOGGED.many()),
    ("tries.forget", FORGET),
    ("tries.busy", BUSY),
    ("tries.health", HEALTH),
    ("tries.all", ALL),
    ("tries.retries", RETRIES),
    ("tries.retry", RETRY),
    ("tries.settled", SETTLED),
    ("tries.soon", SOON),
    ("tries.tried", TRIED),
];

/// What a webhook is to be told.
#[derive(Debug, Clone)]
pub struct WebhookWork {
    /// The webhook.
    pub webhook: Webhook,
    /// The secrets that sign for it, the newest first.
    pub secrets: Vec<WebhookSecret>,
    /// What is to be tried again by now, with the number of tries so far, in the order of the stream.
    pub again: Vec<(i64, Recorded)>,
    /// Places that were to be tried again and whose events are no longer kept.
    pub gone: Vec<i64>,
    /// How many wait to be tried again, by now or later.
    pub waiting: i64,
    /// What it has not seen, wanted or not, in the order of the stream.
    pub fresh: Vec<Recorded>,
    /// The last place of the stream before the look: without anything fresh, nothing up to here can be told.
    pub head: i64,
}

/// What was tried.
#[derive(Debug, Clone)]
pub struct WebhookTries {
    /// Whose webhook.
    pub desk: DeskId,
    /// The webhook.
    pub id: WebhookId,
    /// Its mark before.
    pub from: i64,
    /// Its mark now.
    pub to: i64,
    /// How it does now.
    pub health: Health,
    /// Whether it is used from now on.
    pub state: WebhookState,
    /// Places that are not to be tried again.
    pub settled: Vec<i64>,
    /// Places to try again: the tries so far, and when.
    pub again: Vec<(i64, i64, Timestamp)>,
    /// Every try.
    pub log: Vec<Delivery>,
    /// By when to try again whatever has been tried a few times only.
    pub soon: Option<Timestamp>,
}

/// Telling webhooks.
#[async_trait]
pub trait Tries: Send + Sync {
    /// The log of a webhook, newest first, from before this entry on.
    async fn webhook_deliveries(
        &self,
        desk: DeskId,
        id: WebhookId,
        before: Option<uuid::Uuid>,
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError>;
    /// Webhooks that have something to be told now.
    async fn busy_webhooks(
        &self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<(DeskId, WebhookId)>, StoreError>;
    /// What a webhook is to be told: what is to be tried again by now, and up to `limit` events that it has not seen.
    async fn webhook_work(
        &self,
        desk: DeskId,
        id: WebhookId,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<WebhookWork>, StoreError>;
    /// How a webhook does, also if the rest of it cannot be read.
    async fn webhook_health(
        &self,
        desk: DeskId,
        id: WebhookId,
    ) -> Result<Option<Health>, StoreError>;
    /// Notes what was tried.
    async fn record_tries(&self, tries: &WebhookTries) -> Result<(), StoreError>;
    /// State and health of every webhook.
    async fn webhook_states(&self) -> Result<Vec<(WebhookState, Health)>, StoreError>;
    /// Forgets old entries of the logs; how many. At most `limit` for each webhook.
    async fn forget_deliveries(&self, now: Timestamp, limit: i64) -> Result<u64, StoreError>;
}

#[async_trait]
impl Tries for SqlStore {
    async fn webhook_deliveries(
        &self,
        desk: DeskId,
        id: WebhookId,
        before: Option<uuid::Uuid>,
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let [desk, id] = keys(desk, id);
        let before = Value::Id(before.unwrap_or(uuid::Uuid::max()));
        let values = [desk, id, before, Value::Int(limit)];
        let rows = self.inner.database.rows(LOG, &values).await?;
        rows.iter().map(delivery).collect()
    }

    async fn busy_webhooks(
        &self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<(DeskId, WebhookId)>, StoreError> {
        let values = [Value::Int(now.as_millis()), Value::Int(limit)];
        let rows = self.inner.database.rows(BUSY, &values).await?;
        rows.iter().map(identity).collect()
    }

    async fn webhook_work(
        &self,
        desk: DeskId,
        id: WebhookId,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<WebhookWork>, StoreError> {
        self.inner.webhook_work(desk, id, limit, now).await
    }

    async fn webhook_health(
        &self,
        desk: DeskId,
        id: WebhookId,
    ) -> Result<Option<Health>, StoreError> {
        let row = self.inner.database.row(HEALTH, &keys(desk, id)).await?;
        row.map(|row| {
            let at = |column| row.int(column).map(Timestamp::from_millis);
            Ok(Health {
                failures: row.int("failures")?,
                failing_since: at("failing_since")?,
                open_until: at("open_until")?,
            })
        })
        .transpose()
    }

    async fn record_tries(&self, tries: &WebhookTries) -> Result<(), StoreError> {
        let mut tx = self.inner.database.begin().await?;
        record(&mut tx, tries).await?;
        tx.commit().await
    }

    async fn webhook_states(&self) -> Result<Vec<(WebhookState, Health)>, StoreError> {
        let rows = self.inner.database.rows(ALL, &[]).await?;
        rows.iter()
            .map(|row| {
                let health = Health {
                    failures: row.int("failures")?,
                    open_until: Timestamp::from_millis(row.int("open_until")?),
                    ..Health::default()
                };
                Ok((state(row)?, health))
            })
            .collect()
    }

    async fn forget_deliveries(&self, now: Timestamp, limit: i64) -> Result<u64, StoreError> {
        let before = EventId::new(now.plus_millis(-LOG_MS), [0; 10]).uuid();
        let mut gone = 0;
        for row in self.inner.database.rows(ALL, &[]).await? {
            let (desk, id) = identity(&row)?;
            let [desk, id] = keys(desk, id);
            let values = [desk, id, Value::Id(before), Value::Int(limit)];
            let mut tx = self.inner.database.begin().await?;
            gone += tx.execute(FORGET, &values).await?;
            tx.commit().await?;
        }
        Ok(gone)
    }
}

impl Inner {
    async fn webhook_work(
        &self,
        desk: DeskId,
        id: WebhookId,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<WebhookWork>, StoreError> {
        let Some((webhook, secrets)) = self.webhook(desk, id, now).await? else {
            return Ok(None);
        };
        let mut attempts = BTreeMap::new();
        let mut waiting = 0;
        for row in self.database.rows(RETRIES, &keys(desk, id)).await? {
            waiting += 1;
            let due = row.int("next_at")? <= now.as_millis();
            if due && attempts.len() < usize::try_from(limit).unwrap_or(0) {
                attempts.insert(row.int("seq")?, row.int("attempts")?);
            }
        }
        let places: Vec<i64> = attempts.keys().copied().collect();
        let kept = self.events_at(desk, &places).await?;
        let gone = places.into_iter();
        let gone = gone.filter(|place| kept.iter().all(|event| event.seq != *place));
        let gone = gone.collect();
        let again = kept.into_iter();
        let again = again.map(|event| (attempts.get(&event.seq).copied().unwrap_or(1), event));
        let again = again.collect();
        let head = self.head(desk).await?;
        let fresh = self.events_after(desk, webhook.mark, limit).await?;
        Ok(Some(WebhookWork {
            webhook,
            secrets,
            again,
            gone,
            waiting,
            fresh,
            head,
        }))
    }
}

async fn record(tx: &mut Tx, tries: &WebhookTries) -> Result<(), StoreError> {
    let [desk, id] = keys(tries.desk, tries.id);
    let rows: Vec<_> = tries
        .log
        .iter()
        .map(|entry| {
            owned(&[
                desk,
                id,
                Value::Id(entry.id),
                Value::Id(entry.event.uuid()),
                Value::Text(&entry.kind),
                Value::Int(entry.attempt),
                Value::Int(entry.at.as_millis()),
                Value::Int(entry.status),
                Value::Int(entry.elapsed_ms),
                Value::Text(&entry.error),
            ])
        })
        .collect();
    tx.insert_all(LOGGED, rows).await?;
    for seq in &tries.settled {
        tx.execute(SETTLED, &[desk, id, Value::Int(*seq)]).await?;
    }
    for (seq, attempts, next_at) in &tries.again {
        let next_at = Value::Int(next_at.as_millis());
        let values = [desk, id, Value::Int(*seq), Value::Int(*attempts), next_at];
        tx.execute(RETRY, &values).await?;
    }
    if let Some(soon) = tries.soon {
        tx.execute(SOON, &[desk, id, Value::Int(soon.as_millis())])
            .await?;
    }
    let health = tries.health;
    let values = [
        desk,
        id,
        Value::Int(tries.from),
        Value::Int(tries.to),
        Value::Int(health.failures),
        Value::Int(health.failing_since.as_millis()),
        Value::Int(health.open_until.as_millis()),
        Value::Text(tries.state.as_str()),
    ];
    tx.execute(TRIED, &values).await?;
    Ok(())
}

fn delivery(row: &Row) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.id("id")?,
        event: EventId::from_uuid(row.id("event_id")?),
        kind: row.text("kind")?,
        attempt: row.int("attempt")?,
        at: Timestamp::from_millis(row.int("at")?),
        status: row.int("status")?,
        elapsed_ms: row.int("elapsed_ms")?,
        error: row.text("error")?,
    })
}
