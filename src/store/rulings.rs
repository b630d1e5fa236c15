//! What a desk's rules need: its settings as they are changed.

use async_trait::async_trait;

use super::StoreError;
use super::dialect::{Sql, Value};
use super::sql::{Inner, SqlStore};
use crate::domain::desk::DeskSettings;
use crate::domain::id::DeskId;

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
}

impl Inner {
    async fn save_settings(
        &self,
        desk: DeskId,
        settings: &DeskSettings,
    ) -> Result<bool, StoreError> {
        let json = serde_json::to_string(settings)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let mut tx = self.database.begin().await?;
        let values = [Value::Id(desk.uuid()), Value::Text(&json)];
        let touched = tx.execute(SAVE, &values).await?;
        tx.commit().await?;
        Ok(touched == 1)
    }
}
