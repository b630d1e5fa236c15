//! What a desk's rules need: its settings as they are changed.

use async_trait::async_trait;

use super::StoreError;
use super::dialect::{Sql, Value};
use super::sql::{Inner, SqlStore};
use crate::domain::desk::DeskSettings;
use crate::domain::id::DeskId;
use crate::domain::policy::{Past, Who};
use crate::domain::request::Request;

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
