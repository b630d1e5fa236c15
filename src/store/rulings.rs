//! What a desk's rules need: its settings as they are changed, past triggers, and what the conversion watch counts and pauses.

use async_trait::async_trait;

use super::StoreError;
use super::dialect::{Sql, Value};
use super::sql::{Inner, SqlStore};
use crate::domain::desk::DeskSettings;
use crate::domain::id::DeskId;
use crate::domain::policy::{Past, Who};
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::watch::{Sent, Usual};

const SAVE: Sql = Sql::both("update desks set settings = $2 where id = $1");

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("rulings.save", SAVE)];

/// What a desk's rules need of the store.
#[async_trait]
pub trait Rulings: Send + Sync {
    /// Replaces the settings of a desk; whether there is one.
    async fn save_settings(
        &self,
        desk: DeskId,
        settings: &DeskSettings,
    ) -> Result<bool, StoreError>;
    /// The triggers of a desk with identifiers between the second and the third of these, in the order in which they came, at most
    /// `limit`. With each the asks of its contact that are due at most `reach_ms` earlier and are not newer than the first.
    async fn past_triggers(
        &self,
        desk: DeskId,
        between: (uuid::Uuid, uuid::Uuid, uuid::Uuid),
        limit: usize,
        reach_ms: i64,
    ) -> Result<Vec<PastTrigger>, StoreError>;
    /// What a desk sent to telephone numbers in that time, at most `limit`, with whether it was answered within `soon_ms`.
    async fn sent_between(
        &self,
        desk: DeskId,
        from: Timestamp,
        to: Timestamp,
        soon_ms: i64,
        limit: i64,
    ) -> Result<Vec<Sent>, StoreError>;
    /// Keeps what was counted of an hour (since 1970) of a desk; the first count stays.
    async fn note_hour(&self, desk: DeskId, hour: i64, usual: &Usual) -> Result<(), StoreError>;
    /// The sum of the counted hours of a desk from `from` to before `to`.
    async fn usual(&self, desk: DeskId, from: i64, to: i64) -> Result<Usual, StoreError>;
    /// Pauses sending of a desk; `false` if it was paused already.
    async fn pause(&self, desk: DeskId, reason: &str, now: Timestamp) -> Result<bool, StoreError>;
    /// Lets a desk send again; `false` if it was not paused.
    async fn resume(&self, desk: DeskId, now: Timestamp) -> Result<bool, StoreError>;
    /// The short names of the desks that are paused.
    async fn paused(&self) -> Result<Vec<String>, StoreError>;
}

/// A trigger of the past, with what was decided in its state and reason.
#[derive(Debug)]
pub struct PastTrigger {
    /// Its request.
    pub request: Request,
    /// How its contact is found again.
    pub who: Who,
    /// Older asks of the contact.
    pub earlier: Vec<Past>,
}

#[async_trait]
impl Rulings for SqlStore {
    async fn save_settings(
        &self,
        desk: DeskId,
        settings: &DeskSettings,
    ) -> Result<bool, StoreError> {
        self.inner.save_settings(desk, settings).await
    }

    async fn past_triggers(
        &self,
        desk: DeskId,
        between: (uuid::Uuid, uuid::Uuid, uuid::Uuid),
        limit: usize,
        reach_ms: i64,
    ) -> Result<Vec<PastTrigger>, StoreError> {
        let triggers = self.inner.past_triggers(desk, between, limit, reach_ms);
        triggers.await
    }

    async fn sent_between(
        &self,
        desk: DeskId,
        from: Timestamp,
        to: Timestamp,
        soon_ms: i64,
        limit: i64,
    ) -> Result<Vec<Sent>, StoreError> {
        self.inner
            .sent_between(desk, from, to, soon_ms, limit)
            .await
    }

    async fn note_hour(&self, desk: DeskId, hour: i64, usual: &Usual) -> Result<(), StoreError> {
        self.inner.note_hour(desk, hour, usual).await
    }

    async fn usual(&self, desk: DeskId, from: i64, to: i64) -> Result<Usual, StoreError> {
        self.inner.usual(desk, from, to).await
    }

    async fn pause(&self, desk: DeskId, reason: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.inner.pause(desk, reason, now).await
    }

    async fn resume(&self, desk: DeskId, now: Timestamp) -> Result<bool, StoreError> {
        self.inner.resume(desk, now).await
    }

    async fn paused(&self) -> Result<Vec<String>, StoreError> {
        self.inner.paused().await
    }
}

impl Inner {
    async fn save_settings(
        &self,
        desk: DeskId,
        settings: &DeskSettings,
    ) -> Result<bool, StoreError> {
        let sealed = self.sealed_settings(desk, settings)?;
        let mut tx = self.database.begin().await?;
        let values = [Value::Id(desk.uuid()), Value::Text(&sealed)];
        let touched = tx.execute(SAVE, &values).await?;
        tx.commit().await?;
        Ok(touched == 1)
    }
}
