//! The two databases, and the little in which they differ.
//!
//! Everything above this file speaks to [`Database`], [`Tx`], [`Row`] and [`Value`] and is written once. A statement is one
//! text for both wherever possible ([`Sql::both`]); `$1` placeholders, `on conflict` and `returning` are understood by both.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{PgPool, Row as _, SqlitePool};
use uuid::Uuid;

use super::bulk::Pending;
use super::tx::{Link, Tx};
use super::{StoreError, StoreSettings};

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
    /// Several words, in the same way.
    Words(&'a [&'a str]),
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
                Value::Words(words) => query.bind($set::words(words)),
            };
        }
        query
    }};
}

pub(super) use bound;

/// Sets as SQLite's `json_each` reads them.
pub(super) mod json {
    pub(in crate::store) fn set(set: &[[u8; 16]]) -> String {
        let texts: Vec<String> = set.iter().map(hex::encode).collect();
        serde_json::json!(texts).to_string()
    }

    pub(in crate::store) fn words(words: &[&str]) -> String {
        serde_json::json!(words).to_string()
    }
}

/// Sets as PostgreSQL's `any` reads them.
pub(super) mod array {
    pub(in crate::store) fn set(set: &[[u8; 16]]) -> Vec<Vec<u8>> {
        set.iter().map(|bytes| bytes.to_vec()).collect()
    }

    pub(in crate::store) fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
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
    /// One writer, because SQLite has one; readers apart, so that a long read does not stop it.
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

impl Database {
    /// Opens the database that the URL names.
    pub(super) async fn connect(settings: &StoreSettings) -> Result<Self, StoreError> {
        let wait = Duration::from_secs(5);
        if settings.url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(&settings.url)
                .map_err(|error| StoreError::Settings(error.to_string()))?
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // What was acknowledged must survive a power failure: every commit is synced.
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(wait);
            let pool = |connections| {
                SqlitePoolOptions::new()
                    .max_connections(connections)
                    .acquire_timeout(wait)
                    .test_before_acquire(false)
            };
            let write = pool(1).connect_with(options.clone()).await?;
            let read = pool(4).connect_with(options.read_only(true)).await?;
            return Ok(Self::Sqlite { write, read });
        }
        let options = PgConnectOptions::from_str(&settings.url)
            .map_err(|error| StoreError::Settings(error.to_string()))?
            .application_name("onefive")
            .statement_cache_capacity(settings.statement_cache)
            .options([
                ("statement_timeout", "5000"),
                ("idle_in_transaction_session_timeout", "10000"),
                ("lock_timeout", "2000"),
                ("synchronous_commit", "on"),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(wait)
            .connect_with(options)
            .await?;
        Ok(Self::Postgres(pool))
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { write, .. } => sqlx::migrate!("migrations/sqlite").run(write).await,
            Self::Postgres(pool) => sqlx::migrate!("migrations/postgres").run(pool).await,
        }
        .map_err(|error| StoreError::Migration(error.to_string()))
    }

    /// The newest migration that this binary knows.
    pub(super) fn newest_migration(&self) -> i64 {
        let migrator = match self {
            Self::Sqlite { .. } => sqlx::migrate!("migrations/sqlite"),
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
            // Immediate: a transaction that reads first and then writes would otherwise fail with "database is locked"
            // whenever another one wrote in between, whatever the busy timeout.
            Self::Sqlite { write, .. } => Link::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Link::Postgres(pool.begin().await?),
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
            Self::Sqlite { read, .. } => bound!(sql.sqlite, values, json)
                .fetch_all(read)
                .await?
                .into_iter()
                .map(Row::Sqlite)
                .collect(),
            Self::Postgres(pool) => bound!(sql.postgres, values, array)
                .fetch_all(pool)
                .await?
                .into_iter()
                .map(Row::Postgres)
                .collect(),
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
            Self::Sqlite { .. } => 1,
            Self::Postgres(_) => 2,
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

#[cfg(test)]
impl Database {
    /// The columns that a statement gives, once the database has understood it.
    pub(super) async fn columns(&self, sql: Sql) -> Result<Vec<String>, StoreError> {
        use sqlx::{Column as _, Executor as _, SqlSafeStr as _, Statement as _};

        Ok(match self {
            Self::Sqlite { write, .. } => {
                let statement = write.prepare(sql.sqlite.into_sql_str()).await?;
                statement
                    .columns()
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect()
            }
            Self::Postgres(pool) => {
                let statement = pool.prepare(sql.postgres.into_sql_str()).await?;
                statement
                    .columns()
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect()
            }
        })
    }
}

impl From<sqlx::Error> for StoreError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the driver's list of errors grows; what we do not know means that the database did not do it"
    )]
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => Self::Conflict,
            // Serialization failure, deadlock, a lock that was not had in time: nothing was done, and it may be repeated.
            sqlx::Error::Database(database)
                if matches!(
                    database.code().as_deref(),
                    Some("40001" | "40P01" | "55P03")
                ) =>
            {
                Self::Conflict
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_) => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
