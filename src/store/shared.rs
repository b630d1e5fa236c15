//! Bringing the schema up to date behind a pooler that shares sessions between transactions: the driver's own way wants a lock
//! that a session holds, and statements that a session remembers. Here all of it is one transaction, with the same table.

use sqlx::migrate::Migrator;

use super::StoreError;
use super::dialect::{Database, Sql, Value};
use super::tx::{Link, Tx};

const LOCK: Sql = Sql::both("select pg_advisory_xact_lock(1516) is null as done");
const TABLE: Sql = Sql::both(
    "create table if not exists _sqlx_migrations (version bigint primary key, description text not null, \
     installed_on timestamptz not null default now(), success boolean not null, checksum bytea not null, \
     execution_time bigint not null)",
);
const APPLIED: Sql = Sql::both("select version, checksum from _sqlx_migrations");
const NOTE: Sql = Sql::both(
    "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values ($1, $2, true, $3, 0)",
);

/// Applies what was not applied yet: all of it, or nothing.
pub(super) async fn migrate_shared(
    database: &Database,
    migrator: &Migrator,
) -> Result<(), StoreError> {
    let wrong = |error: StoreError| StoreError::Migration(error.to_string());
    let mut tx = database.begin().await?;
    tx.rows(LOCK, &[]).await.map_err(wrong)?;
    tx.execute(TABLE, &[]).await.map_err(wrong)?;
    let mut applied = std::collections::BTreeMap::new();
    for row in tx.rows(APPLIED, &[]).await.map_err(wrong)? {
        applied.insert(row.int("version")?, row.bytes("checksum")?);
    }
    for migration in migrator.iter() {
        match applied.get(&migration.version) {
            Some(checksum) if *checksum == *migration.checksum => {}
            Some(_) => {
                let message = format!(
                    "migration {} was changed after it was applied",
                    migration.version
                );
                return Err(StoreError::Migration(message));
            }
            None => {
                script(&mut tx, migration.sql.clone())
                    .await
                    .map_err(wrong)?;
                let values = [
                    Value::Int(migration.version),
                    Value::Text(&migration.description),
                    Value::Bytes(&migration.checksum),
                ];
                tx.execute(NOTE, &values).await.map_err(wrong)?;
            }
        }
    }
    tx.commit().await
}

async fn script(tx: &mut Tx, sql: sqlx::SqlStr) -> Result<(), StoreError> {
    match &mut tx.link {
        Link::Sqlite(tx, file) => {
            file.ask(sqlx::raw_sql(sql).execute(&mut **tx)).await?;
        }
        Link::Postgres(tx, server) => {
            server.ask(sqlx::raw_sql(sql).execute(&mut **tx)).await?;
        }
    }
    Ok(())
}
