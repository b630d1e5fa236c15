//! The two databases, and the little in which they differ.
//!
//! Everything above this file speaks to [`Database`], [`Tx`], [`Row`] and [`Value`] and is written once. A statement is one
//! text for both wherever possible ([`Sql::both`]); `$1` placeholders, `on conflict` and `returning` are understood by both.

use std::str::FromStr;
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{PgPool, Row as _, SqlitePool};
use tokio::sync::watch;
use uuid::Uuid;

use super::bulk::Pending;
use super::file::{self, File};
use super::server::Server;
use super::shared::migrate_shared;
use super::tx::{Link, Tx};
use super::{Condition, StoreError, StoreSettings};

/// A statement. Constants only: nothing is ever built from text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl Sql {
    pub(super) const fn both(text: &'static str) -> Self {
        Self {
            sqlite: text,
            postgres: text,
        }
    }

    pub(super) const fn each(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Id(Uuid),
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Several byte strings: an array on PostgreSQL, a JSON array of hexadecimal texts on SQLite.
    Set(&'a [[u8; 16]]),
    /// Several keys of two such parts, in the same way.
    Keys(&'a [[u8; 32]]),
    /// Several words, in the same way.
    Words(&'a [&'a str]),
    /// Several identifiers, in the same way.
    Ids(&'a [Uuid]),
}

/// A statement with its parameters.
macro_rules! bound {
    ($text:expr, $values:expr, $set:ident) => {{
        let mut query = sqlx::query($text);
        for value in $values {
            query = match value {
                Value::Id(id) => query.bind(*id),
                Value::Int(int) => query.bind(*int),
                Value::Text(text) => query.bind((*text).to_owned()),
                Value::Bytes(bytes) => query.bind(bytes.to_vec()),
                Value::Set(set) => query.bind($set::set(set)),
                Value::Keys(keys) => query.bind($set::set(keys)),
                Value::Words(words) => query.bind($set::words(words)),
                Value::Ids(ids) => query.bind($set::ids(ids)),
            };
        }
        query
    }};
}

pub(super) use bound;

/// Sets as SQLite's `json_each` reads them.
pub(super) mod json {
    pub(in crate::store) fn set<const N: usize>(set: &[[u8; N]]) -> String {
        let texts: Vec<String> = set.iter().map(hex::encode).collect();
        serde_json::json!(texts).to_string()
    }

    pub(in crate::store) fn words(words: &[&str]) -> String {
        serde_json::json!(words).to_string()
    }

    pub(in crate::store) fn ids(ids: &[uuid::Uuid]) -> String {
        let texts: Vec<String> = ids.iter().map(hex::encode).collect();
        serde_json::json!(texts).to_string()
    }
}

/// Sets as PostgreSQL's `any` reads them.
pub(super) mod array {
    pub(in crate::store) fn set<const N: usize>(set: &[[u8; N]]) -> Vec<Vec<u8>> {
        set.iter().map(|bytes| bytes.to_vec()).collect()
    }

    pub(in crate::store) fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    pub(in crate::store) fn ids(ids: &[uuid::Uuid]) -> Vec<uuid::Uuid> {
        ids.to_vec()
    }
}

/// A row of either database. A column that does not decode is corruption, named.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! getter {
    ($name:ident, $type:ty) => {
        pub(super) fn $name(&self, column: &'static str) -> Result<$type, StoreError> {
            match self {
                Self::Sqlite(row) => row.try_get(column),
                Self::Postgres(row) => row.try_get(column),
            }
            .map_err(|error| StoreError::Corrupt(format!("{column}: {error}")))
        }
    };
}

impl Row {
    getter!(id, Uuid);
    getter!(int, i64);
    getter!(text, String);
    getter!(bytes, Vec<u8>);
}

/// The connections.
#[derive(Clone)]
pub(super) enum Database {
    Sqlite(Arc<File>),
    Postgres(Arc<Server>),
}

impl Database {
    /// Opens the database that the URL names.
    pub(super) async fn connect(settings: &StoreSettings) -> Result<Self, StoreError> {
        let wrong = |error: sqlx::Error| StoreError::Settings(error.to_string());
        if settings.url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(&settings.url).map_err(wrong)?;
            return Ok(Self::Sqlite(File::open(options).await?));
        }
        let options = PgConnectOptions::from_str(&settings.url).map_err(wrong)?;
        Ok(Self::Postgres(Server::connect(settings, options).await?))
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        // Through the driver's own pool: it locks for as long as a connection lives, and only from there lets any thread go on with it.
        let migrated = match self {
            Self::Sqlite(file) => {
                let pool = SqlitePool::connect_with(file.mover.options()).await?;
                let migrated = sqlx::migrate!("migrations/sqlite").run(&pool).await;
                pool.close().await;
                migrated
            }
            Self::Postgres(server) if server.shared => {
                return migrate_shared(self, &sqlx::migrate!("migrations/postgres")).await;
            }
            Self::Postgres(server) => {
                let pool = PgPool::connect_with(server.pool().options()).await?;
                let migrated = sqlx::migrate!("migrations/postgres").run(&pool).await;
                pool.close().await;
                migrated
            }
        };
        migrated.map_err(|error| StoreError::Migration(error.to_string()))
    }

    /// The newest migration that this binary knows.
    pub(super) fn newest_migration(&self) -> i64 {
        let migrator = match self {
            Self::Sqlite(_) => sqlx::migrate!("migrations/sqlite"),
            Self::Postgres(_) => sqlx::migrate!("migrations/postgres"),
        };
        migrator
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or(0)
    }

    /// Begins a transaction that will write.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        let link = match self {
            Self::Sqlite(file) => Link::Sqlite(file.begin().await?, Arc::clone(file)),
            Self::Postgres(server) => Link::Postgres(server.begin().await?, Arc::clone(server)),
        };
        Ok(Tx {
            link,
            pending: Pending::default(),
        })
    }

    /// Begins a transaction that only reads, and sees one state of the database throughout.
    pub(super) async fn snapshot(&self) -> Result<Tx, StoreError> {
        let link = match self {
            Self::Sqlite(file) => Link::Sqlite(file.snapshot().await?, Arc::clone(file)),
            Self::Postgres(server) => Link::Postgres(server.snapshot().await?, Arc::clone(server)),
        };
        Ok(Tx {
            link,
            pending: Pending::default(),
        })
    }

    /// Reads outside a transaction.
    pub(super) async fn rows(
        &self,
        sql: Sql,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(file) => {
                let rows = file.ask(async {
                    let mut lent = file.read.take(file::WAIT).await?;
                    let rows = bound!(sql.sqlite, values, json).fetch_all(&mut *lent);
                    let rows = rows.await?;
                    lent.done();
                    Ok(rows)
                });
                rows.await?.into_iter().map(Row::Sqlite).collect()
            }
            // The driver sends a statement and its values in two steps, which a pooler may lead to two sessions.
            Self::Postgres(server) if server.shared => {
                let mut tx = self.begin().await?;
                let rows = tx.rows(sql, values).await?;
                tx.commit().await?;
                rows
            }
            Self::Postgres(server) => {
                let rows = server.ask(async {
                    let mut lent = server.take().await?;
                    let query = bound!(sql.postgres, values, array);
                    let rows = match query.fetch_all(&mut *lent).await {
                        Ok(rows) => rows,
                        Err(error) => {
                            lent.renew(error).await?;
                            let query = bound!(sql.postgres, values, array);
                            query.fetch_all(&mut *lent).await?
                        }
                    };
                    lent.done();
                    Ok(rows)
                });
                rows.await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(super) async fn row(
        &self,
        sql: Sql,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.pop())
    }

    /// How many transactions are worth running side by side.
    pub(super) fn writers(&self) -> usize {
        match self {
            Self::Sqlite(_) => 1,
            Self::Postgres(_) => 2,
        }
    }

    /// Rung when events were committed from here.
    pub(super) fn news(&self) -> &watch::Sender<()> {
        match self {
            Self::Sqlite(file) => &file.news,
            Self::Postgres(server) => &server.news,
        }
    }

    pub(super) fn condition(&self) -> Condition {
        let (busy, idle, log_bytes) = match self {
            Self::Sqlite(file) => {
                let (writes, reads) = (file.write.condition(), file.read.condition());
                let log_bytes = Some(file.log_bytes());
                (writes.0 + reads.0, writes.1 + reads.1, log_bytes)
            }
            Self::Postgres(server) => {
                let (busy, idle) = server.pool().condition();
                (busy, idle, None)
            }
        };
        Condition {
            busy,
            idle,
            log_bytes,
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(file) => file.close().await,
            Self::Postgres(server) => server.close().await,
        }
    }
}

#[cfg(test)]
impl Database {
    /// How SQLite would go about a statement, step by step.
    pub(super) async fn plan(&self, sql: Sql) -> Result<Vec<String>, StoreError> {
        use sqlx::SqlSafeStr as _;

        let Self::Sqlite(file) = self else {
            return Err(StoreError::Settings("only SQLite tells it".to_owned()));
        };
        let text = format!("explain query plan {}", sql.sqlite);
        let mut lent = file.mover.take(file::WAIT).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(text).into_sql_str())
            .fetch_all(&mut *lent)
            .await?;
        rows.iter().map(|row| Ok(row.try_get("detail")?)).collect()
    }

    /// The columns that a statement gives, once the database has understood it.
    pub(super) async fn columns(&self, sql: Sql) -> Result<Vec<String>, StoreError> {
        use sqlx::{Column as _, Executor as _, SqlSafeStr as _, Statement as _};

        Ok(match self {
            Self::Sqlite(file) => {
                let mut lent = file.mover.take(file::WAIT).await?;
                let statement = lent.prepare(sql.sqlite.into_sql_str()).await?;
                statement
                    .columns()
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect()
            }
            Self::Postgres(server) => {
                let mut lent = server.take().await?;
                let statement = lent.prepare(sql.postgres.into_sql_str()).await?;
                statement
                    .columns()
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect()
            }
        })
    }
}
