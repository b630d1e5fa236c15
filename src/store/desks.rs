//! Desks and their keys.

use std::sync::Arc;

use super::StoreError;
use super::dialect::{Row, Sql, Value};
use super::row::{maybe, place};
use super::sql::Inner;
use crate::domain::desk::{ApiKey, Desk, DeskSettings, Paused, Scope};
use crate::domain::id::{DeskId, KeyId};
use crate::domain::time::Timestamp;

const ADD: Sql = Sql::both(
    "insert into desks (id, slug, name, settings, created_at) values ($1, $2, $3, $4, $5) on conflict (slug) do nothing",
);
const LIST: Sql = Sql::both(
    "select id, slug, name, settings, created_at, paused_at, paused_reason, resumed_at from desks order by id",
);
const BY_SLUG: Sql = Sql::both(
    "select id, slug, name, settings, created_at, paused_at, paused_reason, resumed_at from desks where slug = $1",
);
const BY_ID: Sql = Sql::both(
    "select id, slug, name, settings, created_at, paused_at, paused_reason, resumed_at from desks where id = $1",
);
const ADD_KEY: Sql = Sql::both(
    "insert into api_keys (desk_id, id, handle, hash, scopes, created_at, revoked_at) values ($1, $2, $3, $4, $5, $6, 0)",
);
const KEY: Sql = Sql::both(
    "select desk_id, id, handle, hash, scopes, created_at from api_keys where handle = $1 and revoked_at = 0",
);
const REVOKE: Sql = Sql::both(
    "update api_keys set revoked_at = $3 where desk_id = $1 and handle = $2 and revoked_at = 0 returning id",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("desks.add", ADD),
    ("desks.list", LIST),
    ("desks.by_slug", BY_SLUG),
    ("desks.by_id", BY_ID),
    ("desks.add_key", ADD_KEY),
    ("desks.key", KEY),
    ("desks.revoke", REVOKE),
];

impl Inner {
    pub(super) async fn add_desk(
        &self,
        slug: &str,
        name: &str,
        settings: &DeskSettings,
        now: Timestamp,
    ) -> Result<Option<Desk>, StoreError> {
        let desk = Desk {
            id: DeskId::new(now, self.random()),
            slug: slug.to_owned(),
            name: name.to_owned(),
            settings: settings.clone(),
            created_at: now,
            paused: None,
            resumed_at: None,
        };
        let json = self.sealed_settings(desk.id, settings)?;
        let values = [
            Value::Id(desk.id.uuid()),
            Value::Text(slug),
            Value::Text(name),
            Value::Text(&json),
            Value::Int(now.as_millis()),
        ];
        let mut tx = self.database.begin().await?;
        let added = tx.execute(ADD, &values).await?;
        tx.commit().await?;
        Ok((added == 1).then_some(desk))
    }

    pub(super) async fn desks(&self) -> Result<Vec<Desk>, StoreError> {
        // One desk whose settings do not open, for want of a key, must not stop what is done for the others.
        let mut desks = Vec::new();
        for row in self.database.rows(LIST, &[]).await? {
            // All of them together would only drive out the few that are busy.
            let id = DeskId::from_uuid(row.id("id")?);
            let text = row.text("settings")?;
            match self
                .open_settings(id, &text)
                .and_then(|settings| desk(&row, settings))
            {
                Ok(desk) => desks.push(desk),
                Err(StoreError::Corrupt(_)) => {
                    tracing::error!(desk = %id, "a desk cannot be read and is skipped");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(desks)
    }

    pub(super) async fn find_desk(&self, slug: &str) -> Result<Option<Desk>, StoreError> {
        self.database
            .row(BY_SLUG, &[Value::Text(slug)])
            .await?
            .as_ref()
            .map(|row| self.read_desk(row))
            .transpose()
    }

    pub(super) async fn desk(&self, id: DeskId) -> Result<Option<Desk>, StoreError> {
        self.database
            .row(BY_ID, &[Value::Id(id.uuid())])
            .await?
            .as_ref()
            .map(|row| self.read_desk(row))
            .transpose()
    }

    pub(super) async fn add_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let values = [
            Value::Id(key.desk.uuid()),
            Value::Id(key.id.uuid()),
            Value::Text(&key.handle),
            Value::Bytes(&key.hash),
            Value::Text(&scopes.join(" ")),
            Value::Int(key.created_at.as_millis()),
        ];
        let mut tx = self.database.begin().await?;
        tx.execute(ADD_KEY, &values).await?;
        tx.commit().await
    }

    pub(super) async fn find_key(&self, handle: &str) -> Result<Option<ApiKey>, StoreError> {
        self.database
            .row(KEY, &[Value::Text(handle)])
            .await?
            .as_ref()
            .map(key)
            .transpose()
    }

    pub(super) async fn revoke_key(
        &self,
        desk: DeskId,
        handle: &str,
        now: Timestamp,
    ) -> Result<Option<KeyId>, StoreError> {
        let mut tx = self.database.begin().await?;
        let values = [
            Value::Id(desk.uuid()),
            Value::Text(handle),
            Value::Int(now.as_millis()),
        ];
        let revoked = tx
            .row(REVOKE, &values)
            .await?
            .map(|row| row.id("id"))
            .transpose()?;
        tx.commit().await?;
        Ok(revoked.map(KeyId::from_uuid))
    }

    fn open_settings(&self, id: DeskId, sealed: &str) -> Result<DeskSettings, StoreError> {
        let place = place("desks.settings", id, id.uuid());
        let settings = self.keys.open_text(&place, sealed.to_owned())?;
        serde_json::from_str(&settings)
            .map_err(|error| StoreError::Corrupt(format!("desks.settings: {error}")))
    }

    /// The column `settings` of the desk `id`.
    pub(super) fn settings(&self, row: &Row, id: DeskId) -> Result<Arc<DeskSettings>, StoreError> {
        let open = |sealed: &str| self.open_settings(id, sealed);
        self.opened.get_or_open(id, row.text("settings")?, open)
    }

    fn read_desk(&self, row: &Row) -> Result<Desk, StoreError> {
        let settings = self.settings(row, DeskId::from_uuid(row.id("id")?))?;
        desk(row, DeskSettings::clone(&settings))
    }
}

fn desk(row: &Row, settings: DeskSettings) -> Result<Desk, StoreError> {
    Ok(Desk {
        id: DeskId::from_uuid(row.id("id")?),
        slug: row.text("slug")?,
        name: row.text("name")?,
        settings,
        created_at: Timestamp::from_millis(row.int("created_at")?),
        paused: match maybe(row, "paused_at")? {
            Some(at) => Some(Paused {
                at,
                reason: row.text("paused_reason")?,
            }),
            None => None,
        },
        resumed_at: maybe(row, "resumed_at")?,
    })
}

fn key(row: &Row) -> Result<ApiKey, StoreError> {
    let hash = row.bytes("hash")?;
    Ok(ApiKey {
        id: KeyId::from_uuid(row.id("id")?),
        desk: DeskId::from_uuid(row.id("desk_id")?),
        handle: row.text("handle")?,
        hash: hash
            .try_into()
            .map_err(|_| StoreError::Corrupt("api_keys.hash: not 32 bytes".to_owned()))?,
        scopes: row
            .text("scopes")?
            .split(' ')
            .filter_map(Scope::parse)
            .collect(),
        created_at: Timestamp::from_millis(row.int("created_at")?),
    })
}
