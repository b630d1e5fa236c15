//! A transaction: statements in order, and the rows that wait for its commit.

use sqlx::{Postgres, Row as _, Sqlite, Transaction};
use uuid::Uuid;

use super::StoreError;
use super::bulk::{Column, Owned, Pending, columns};
use super::dialect::{Row, Sql, Value, array, bound, json};

/// A transaction. Dropping it rolls back.
pub(super) struct Tx {
    pub(super) link: Link,
    /// Rows that nobody reads before the commit, inserted together then.
    pub(super) pending: Pending,
}

/// A transaction of either database.
pub(super) enum Link {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// Runs a statement; the number of rows it touched.
    pub(super) async fn execute(
        &mut self,
        sql: Sql,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        Ok(match &mut self.link {
            Link::Sqlite(tx) => bound!(sql.sqlite, values, json)
                .execute(&mut **tx)
                .await?
                .rows_affected(),
            Link::Postgres(tx) => bound!(sql.postgres, values, array)
                .execute(&mut **tx)
                .await?
                .rows_affected(),
        })
    }

    pub(super) async fn rows(
        &mut self,
        sql: Sql,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        Ok(match &mut self.link {
            Link::Sqlite(tx) => bound!(sql.sqlite, values, json)
                .fetch_all(&mut **tx)
                .await?
                .into_iter()
                .map(Row::Sqlite)
                .collect(),
            Link::Postgres(tx) => bound!(sql.postgres, values, array)
                .fetch_all(&mut **tx)
                .await?
                .into_iter()
                .map(Row::Postgres)
                .collect(),
        })
    }

    pub(super) async fn row(
        &mut self,
        sql: Sql,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.pop())
    }

    /// Inserts rows: one by one on SQLite, where a statement costs no way to a server; as one statement over arrays on
    /// PostgreSQL. The statement gives back the `id` of each row that was new; these are returned.
    pub(super) async fn insert_all(
        &mut self,
        sql: Sql,
        rows: &[Vec<Owned>],
    ) -> Result<Vec<Uuid>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut new = Vec::with_capacity(rows.len());
        match &mut self.link {
            Link::Sqlite(tx) => {
                for row in rows {
                    let values: Vec<Value<'_>> = row.iter().map(Owned::as_value).collect();
                    let query = bound!(sql.sqlite, &values, json);
                    if let Some(row) = query.fetch_optional(&mut **tx).await? {
                        new.push(row.try_get("id")?);
                    }
                }
            }
            Link::Postgres(tx) => {
                let mut query = sqlx::query(sql.postgres);
                for column in columns(rows) {
                    query = match column {
                        Column::Ids(ids) => query.bind(ids),
                        Column::Ints(ints) => query.bind(ints),
                        Column::Texts(texts) => query.bind(texts),
                        Column::Bytes(bytes) => query.bind(bytes),
                    };
                }
                for row in query.fetch_all(&mut **tx).await? {
                    new.push(row.try_get("id")?);
                }
            }
        }
        Ok(new)
    }

    /// Inserts what is pending. Called by whoever is about to read it, and by [`Self::commit`].
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        for (sql, rows) in self.pending.take() {
            self.insert_all(sql, &rows).await?;
        }
        Ok(())
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.flush().await?;
        match self.link {
            Link::Sqlite(tx) => tx.commit().await?,
            Link::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}
