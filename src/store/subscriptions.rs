//! Webhooks as their desks make and change them: the addresses that they want their events sent to. Addresses and secrets are sealed,
//! because an address of a webhook often holds a secret too. What is sent and what came of it is in `tries`.

use async_trait::async_trait;

use super::StoreError;
use super::dialect::{Row, Sql, Value};
use super::row::{maybe, place};
use super::sql::{Inner, SqlStore};
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, WebhookId};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{
    Health, ROTATION_MS, WEBHOOKS_MAX, Webhook, WebhookFormat, WebhookSecret, WebhookState,
};

macro_rules! webhooks_where {
    ($tail:literal) => {
        Sql::both(concat!(
            "select webhooks.desk_id, webhooks.id, url, secret, old_secret, old_until, kinds, format, description, state, mark, \
             failures, failing_since, open_until, created_at from webhooks where ",
            $tail
        ))
    };
}

const ONE: Sql = webhooks_where!("webhooks.desk_id = $1 and webhooks.id = $2");
const LIST: Sql = webhooks_where!("webhooks.desk_id = $1 order by webhooks.id");
const ADD: Sql = Sql::both(
    "insert into webhooks (desk_id, id, url, secret, old_secret, old_until, kinds, description, state, mark, failures, \
     failing_since, open_until, retry_at, created_at, format) select $1, $2, $3, $4, $5, 0, $6, $7, $8, $9, 0, 0, 0, 0, $10, $12 \
     where (select count(*) from webhooks where desk_id = $1) < $11",
);
const CHANGE: Sql = Sql::both(
    "update webhooks set url = $3, kinds = $4, description = $5, state = $6, format = $7, failures = 0, failing_since = 0, \
     open_until = 0 where desk_id = $1 and id = $2",
);
const REMOVE: Sql = Sql::both("delete from webhooks where desk_id = $1 and id = $2");
const REMOVE_RETRIES: Sql =
    Sql::both("delete from webhook_retries where desk_id = $1 and webhook_id = $2");
const REMOVE_LOG: Sql =
    Sql::both("delete from webhook_deliveries where desk_id = $1 and webhook_id = $2");
const ROTATE: Sql = Sql::both(
    "update webhooks set old_secret = $3, secret = $4, old_until = $5 where desk_id = $1 and id = $2",
);
const REWIND: Sql = Sql::both(
    "update webhooks set mark = $3, failures = 0, failing_since = 0, open_until = 0, retry_at = 0 \
     where desk_id = $1 and id = $2",
);
#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("webhooks.one", ONE),
    ("webhooks.list", LIST),
    ("webhooks.add", ADD),
    ("webhooks.change", CHANGE),
    ("webhooks.remove", REMOVE),
    ("webhooks.remove_retries", REMOVE_RETRIES),
    ("webhooks.remove_log", REMOVE_LOG),
    ("webhooks.rotate", ROTATE),
    ("webhooks.rewind", REWIND),
];

/// What a desk may change of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookChange {
    /// The address.
    pub url: String,
    /// The kinds of events that it wants; none for all.
    pub kinds: Vec<EventKind>,
    /// The shape of what it is sent.
    pub format: WebhookFormat,
    /// The desk's own words for it.
    pub description: String,
    /// Whether it is used.
    pub state: WebhookState,
}

/// Webhooks, as desks make and change them.
#[async_trait]
pub trait Subscriptions: Send + Sync {
    /// Adds a webhook; `false` if the desk has as many as it may have.
    async fn add_webhook(
        &self,
        webhook: &Webhook,
        secret: &WebhookSecret,
    ) -> Result<bool, StoreError>;
    /// The webhooks of a desk, oldest first.
    async fn webhooks(&self, desk: DeskId) -> Result<Vec<Webhook>, StoreError>;
    /// One webhook, with the secrets that sign for it now, the newest first.
    async fn webhook(
        &self,
        desk: DeskId,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<Option<(Webhook, Vec<WebhookSecret>)>, StoreError>;
    /// Changes a webhook and forgets how it did before; whether there was one.
    async fn change_webhook(
        &self,
        desk: DeskId,
        id: WebhookId,
        change: &WebhookChange,
    ) -> Result<bool, StoreError>;
    /// Removes a webhook with its log; whether there was one.
    async fn remove_webhook(&self, desk: DeskId, id: WebhookId) -> Result<bool, StoreError>;
    /// Gives a webhook a new secret; until when the one before it goes on signing.
    async fn rotate_webhook(
        &self,
        desk: DeskId,
        id: WebhookId,
        secret: &WebhookSecret,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;
    /// Sends everything behind this place again, at once; whether there was such a webhook.
    async fn rewind_webhook(
        &self,
        desk: DeskId,
        id: WebhookId,
        mark: i64,
    ) -> Result<bool, StoreError>;
}

#[async_trait]
impl Subscriptions for SqlStore {
    async fn add_webhook(
        &self,
        webhook: &Webhook,
        secret: &WebhookSecret,
    ) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let (desk, id) = (webhook.desk, webhook.id);
        let mut tx = inner.database.begin().await?;
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(id.uuid()),
            Value::Bytes(&inner.hide("webhooks.url", desk, id, webhook.url.as_bytes())),
            Value::Bytes(&inner.hide("webhooks.secret", desk, id, secret.bytes())),
            Value::Bytes(b""),
            Value::Text(&words(&webhook.kinds)),
            Value::Text(&webhook.description),
            Value::Text(webhook.state.as_str()),
            Value::Int(webhook.mark),
            Value::Int(webhook.created_at.as_millis()),
            Value::Int(i64::try_from(WEBHOOKS_MAX).unwrap_or(i64::MAX)),
            Value::Text(webhook.format.as_str()),
        ];
        let added = tx.execute(ADD, &values).await? == 1;
        tx.commit().await?;
        Ok(added)
    }

    async fn webhooks(&self, desk: DeskId) -> Result<Vec<Webhook>, StoreError> {
        let rows = self
            .inner
            .database
            .rows(LIST, &[Value::Id(desk.uuid())])
            .await?;
        rows.iter()
            .map(|row| self.inner.read_webhook(row))
            .collect()
    }

    async fn webhook(
        &self,
        desk: DeskId,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<Option<(Webhook, Vec<WebhookSecret>)>, StoreError> {
        self.inner.webhook(desk, id, now).await
    }

    async fn change_webhook(
        &self,
        desk: DeskId,
        id: WebhookId,
        change: &WebhookChange,
    ) -> Result<bool, StoreError> {
        let url = self
            .inner
            .hide("webhooks.url", desk, id, change.url.as_bytes());
        let [desk, id] = keys(desk, id);
        let kinds = words(&change.kinds);
        let values = [
            desk,
            id,
            Value::Bytes(&url),
            Value::Text(&kinds),
            Value::Text(&change.description),
            Value::Text(change.state.as_str()),
            Value::Text(change.format.as_str()),
        ];
        self.inner.touch(CHANGE, &values).await
    }

    async fn remove_webhook(&self, desk: DeskId, id: WebhookId) -> Result<bool, StoreError> {
        let mut tx = self.inner.database.begin().await?;
        let removed = tx.execute(REMOVE, &keys(desk, id)).await? == 1;
        tx.execute(REMOVE_RETRIES, &keys(desk, id)).await?;
        tx.execute(REMOVE_LOG, &keys(desk, id)).await?;
        tx.commit().await?;
        Ok(removed)
    }

    async fn rotate_webhook(
        &self,
        desk: DeskId,
        id: WebhookId,
        secret: &WebhookSecret,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some((_, secrets)) = self.inner.webhook(desk, id, now).await? else {
            return Ok(None);
        };
        let until = now.plus_millis(ROTATION_MS);
        let newest = secrets.first().map_or(&b""[..], WebhookSecret::bytes);
        let old = self.inner.hide("webhooks.old_secret", desk, id, newest);
        let new = self.inner.hide("webhooks.secret", desk, id, secret.bytes());
        let [desk, id] = keys(desk, id);
        let values = [
            desk,
            id,
            Value::Bytes(&old),
            Value::Bytes(&new),
            Value::Int(until.as_millis()),
        ];
        let rotated = self.inner.touch(ROTATE, &values).await?;
        Ok(rotated.then_some(until))
    }

    async fn rewind_webhook(
        &self,
        desk: DeskId,
        id: WebhookId,
        mark: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.inner.database.begin().await?;
        let [desk, id] = keys(desk, id);
        let found = tx.execute(REWIND, &[desk, id, Value::Int(mark)]).await? == 1;
        // What waited to be tried again is behind the place or was given up by whoever asks for this.
        tx.execute(REMOVE_RETRIES, &[desk, id]).await?;
        tx.commit().await?;
        Ok(found)
    }
}

impl Inner {
    fn hide(&self, column: &str, desk: DeskId, id: WebhookId, plain: &[u8]) -> Vec<u8> {
        let place = place(column, desk, id.uuid());
        self.keys.seal(self.entropy.as_ref(), &place, plain)
    }

    async fn touch(&self, sql: Sql, values: &[Value<'_>]) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let touched = tx.execute(sql, values).await? == 1;
        tx.commit().await?;
        Ok(touched)
    }

    pub(super) async fn webhook(
        &self,
        desk: DeskId,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<Option<(Webhook, Vec<WebhookSecret>)>, StoreError> {
        let Some(row) = self.database.row(ONE, &keys(desk, id)).await? else {
            return Ok(None);
        };
        let webhook = self.read_webhook(&row)?;
        let open = |column| {
            let place = place(&format!("webhooks.{column}"), desk, id.uuid());
            let sealed = row.bytes(column)?;
            self.keys.open(&place, &sealed).map(WebhookSecret::new)
        };
        let mut secrets = vec![open("secret")?];
        if webhook.old_until > now {
            secrets.push(open("old_secret")?);
        }
        Ok(Some((webhook, secrets)))
    }

    fn read_webhook(&self, row: &Row) -> Result<Webhook, StoreError> {
        let (desk, id) = identity(row)?;
        let url = self
            .keys
            .open(&place("webhooks.url", desk, id.uuid()), &row.bytes("url")?)?;
        let at = |column| Ok::<_, StoreError>(maybe(row, column)?.unwrap_or_default());
        let wanted = row.text("kinds")?;
        let kinds: Vec<_> = wanted.split(',').filter_map(EventKind::parse).collect();
        // One that wants only kinds of a newer version gets nothing from this one, for which none would mean all.
        let state = if kinds.is_empty() && !wanted.is_empty() {
            WebhookState::Off
        } else {
            state(row)?
        };
        Ok(Webhook {
            desk,
            id,
            url: String::from_utf8(url)
                .map_err(|_| StoreError::Corrupt("url: is no text".to_owned()))?,
            kinds,
            format: format(row)?,
            description: row.text("description")?,
            state,
            mark: row.int("mark")?,
            health: Health {
                failures: row.int("failures")?,
                failing_since: at("failing_since")?,
                open_until: at("open_until")?,
            },
            old_until: at("old_until")?,
            created_at: at("created_at")?,
        })
    }
}

pub(super) fn keys(desk: DeskId, id: WebhookId) -> [Value<'static>; 2] {
    [Value::Id(desk.uuid()), Value::Id(id.uuid())]
}

pub(super) fn identity(row: &Row) -> Result<(DeskId, WebhookId), StoreError> {
    Ok((
        DeskId::from_uuid(row.id("desk_id")?),
        WebhookId::from_uuid(row.id("id")?),
    ))
}

pub(super) fn state(row: &Row) -> Result<WebhookState, StoreError> {
    let word = row.text("state")?;
    WebhookState::parse(&word)
        .ok_or_else(|| StoreError::Corrupt(format!("state: unknown word {word:?}")))
}

fn format(row: &Row) -> Result<WebhookFormat, StoreError> {
    let word = row.text("format")?;
    WebhookFormat::parse(&word)
        .ok_or_else(|| StoreError::Corrupt(format!("format: unknown word {word:?}")))
}

fn words(kinds: &[EventKind]) -> String {
    let words: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    words.join(",")
}
