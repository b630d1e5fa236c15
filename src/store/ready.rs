//! What is asked of the database as a whole: whether the schema fits this binary, and what time it is.

use super::StoreError;
use super::dialect::{Database, Sql};
use super::sql::Inner;
use crate::domain::time::Timestamp;

/// Before the first migration there is not even the table that lists them.
const KNOWN: Sql = Sql::each(
    "select count(*) as n from sqlite_master where type = 'table' and name = '_sqlx_migrations'",
    "select count(*) as n from pg_catalog.pg_tables where schemaname = current_schema() and tablename = '_sqlx_migrations'",
);
const APPLIED: Sql =
    Sql::both("select cast(coalesce(max(version), 0) as bigint) as version from _sqlx_migrations");

/// As leases are measured (see `carry`).
const SHARED_TIME: Sql = Sql::each(
    "select cast(unixepoch('subsec') * 1000 as integer) as now",
    "select cast(extract(epoch from clock_timestamp()) * 1000 as bigint) as now",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("shared_time", SHARED_TIME)];

impl Inner {
    pub(super) async fn ready(&self) -> Result<bool, StoreError> {
        let known = self.database.row(KNOWN, &[]).await?;
        if known.map_or(Ok(0), |row| row.int("n"))? == 0 {
            return Ok(false);
        }
        let row = self.database.row(APPLIED, &[]).await?;
        let applied = row.map_or(Ok(0), |row| row.int("version"))?;
        // A newer schema is fine: expand first, contract later lets old replicas serve during a roll-out.
        Ok(applied >= self.database.newest_migration())
    }

    pub(super) async fn shared_time(&self) -> Result<Option<Timestamp>, StoreError> {
        if matches!(self.database, Database::Sqlite(_)) {
            return Ok(None);
        }
        let row = self.database.row(SHARED_TIME, &[]).await?;
        let millis = row.map(|row| row.int("now")).transpose()?;
        Ok(millis.map(Timestamp::from_millis))
    }
}
