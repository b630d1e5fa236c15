//! A transaction: statements in order, and the rows that wait for its commit.

use std::sync::Arc;

use sqlx::{PgConnection, Row as _, SqliteConnection};
use uuid::Uuid;

use super::StoreError;
use super::bulk::{Column, Insert, Owned, Pending, columns};
use super::dialect::{Row, Sql, Value, array, bound, json};
use super::file::File;
use super::pool::Lent;
use super::server::Server;

/// A statement with values that are given away.
macro_rules! filled {
    ($query:expr, $kind:ident, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                $kind::Id(value) => query.bind(value),
                $kind::Int(value) => query.bind(value),
                $kind::Text(value) => query.bind(value),
                $kind::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

pub(super) use filled;

/// A transaction. Dropping it rolls back.
pub(super) struct Tx {
    pub(super) link: Link,
    /// Rows that nobody reads before the commit, inserted together then.
    pub(super) pending: Pending,
}

/// A transaction of either database.
pub(super) enum Link {
    Sqlite(Lent<SqliteConnection>, Arc<File>),
    Postgres(Lent<PgConnection>, Arc<Server>),
}

impl Tx {
    /// Runs a statement; the number of rows it touched.
    pub(super) async fn execute(
        &mut self,
        sql: Sql,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        Ok(match &mut self.link {
            Link::Sqlite(tx, file) => file
                .ask(bound!(sql.sqlite, values, json).execute(&mut **tx))
                .await?
                .rows_affected(),
            Link::Postgres(tx, server) => {
                let query = bound!(sql.postgres, values, array).persistent(!server.shared);
                server.ask(query.execute(&mut **tx)).await?.rows_affected()
            }
        })
    }

    pub(super) async fn rows(
        &mut self,
        sql: Sql,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        Ok(match &mut self.link {
            Link::Sqlite(tx, file) => file
                .ask(bound!(sql.sqlite, values, json).fetch_all(&mut **tx))
                .await?
                .into_iter()
                .map(Row::Sqlite)
                .collect(),
            Link::Postgres(tx, server) => {
                let query = bound!(sql.postgres, values, array).persistent(!server.shared);
                let rows = server.ask(query.fetch_all(&mut **tx)).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(super) async fn row(
        &mut self,
        sql: Sql,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.pop())
    }

    /// Inserts rows in few statements; how many were new.
    pub(super) async fn insert_all(
        &mut self,
        insert: Insert,
        rows: Vec<Vec<Owned>>,
    ) -> Result<u64, StoreError> {
        let mut new = 0;
        if rows.is_empty() {
            return Ok(new);
        }
        match &mut self.link {
            Link::Sqlite(tx, file) => {
                for (text, rows) in insert.sqlite(rows) {
                    let query = filled!(sqlx::query(text), Owned, rows.into_iter().flatten());
                    new += file.ask(query.execute(&mut **tx)).await?.rows_affected();
                }
            }
            Link::Postgres(tx, server) => {
                let query = sqlx::query(insert.postgres).persistent(!server.shared);
                let query = filled!(query, Column, columns(rows));
                new = server.ask(query.execute(&mut **tx)).await?.rows_affected();
            }
        }
        Ok(new)
    }

    /// The same with a statement that gives back `id`: the identifiers of those that were new, in any order.
    pub(super) async fn insert_new(
        &mut self,
        insert: Insert,
        rows: Vec<Vec<Owned>>,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut new = Vec::with_capacity(rows.len());
        if rows.is_empty() {
            return Ok(new);
        }
        match &mut self.link {
            Link::Sqlite(tx, file) => {
                for (text, rows) in insert.sqlite(rows) {
                    let query = filled!(sqlx::query(text), Owned, rows.into_iter().flatten());
                    for row in file.ask(query.fetch_all(&mut **tx)).await? {
                        new.push(row.try_get("id")?);
                    }
                }
            }
            Link::Postgres(tx, server) => {
                let query = sqlx::query(insert.postgres).persistent(!server.shared);
                let query = filled!(query, Column, columns(rows));
                for row in server.ask(query.fetch_all(&mut **tx)).await? {
                    new.push(row.try_get("id")?);
                }
            }
        }
        Ok(new)
    }

    /// Inserts what is pending but the events. Called by whoever is about to read it, and by [`Self::commit`].
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        for (insert, rows) in self.pending.take() {
            self.insert_all(insert, rows).await?;
        }
        Ok(())
    }

    /// Ends a transaction of which nothing is wanted to stay.
    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        match self.link {
            Link::Sqlite(tx, file) => file.ask(tx.roll_back()).await,
            Link::Postgres(tx, server) => server.ask(tx.roll_back()).await,
        }
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.flush().await?;
        let placed = self.place_events().await?;
        let news = match self.link {
            Link::Sqlite(tx, file) => {
                file.ask(tx.commit()).await?;
                file.news.clone()
            }
            Link::Postgres(tx, server) => {
                server.ask(tx.commit()).await?;
                server.news.clone()
            }
        };
        if placed {
            news.send_replace(());
        }
        Ok(())
    }
}
