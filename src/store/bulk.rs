//! Rows that are inserted together. What a step writes and nobody reads before the commit waits here, so that a batch of writes
//! costs PostgreSQL one statement a table and not one a row.
//!
//! Where PostgreSQL joins such arrays with a table, it takes them for ten rows, and a table that it has not counted yet for a small
//! one that is best read whole. That plan is kept while the table grows. So each of these statements says something about the
//! arrays that is always true and that the planner takes for rare, a range: then it looks for each row by its key, at any size.

use uuid::Uuid;

#[cfg(test)]
use super::dialect::Sql;
use super::dialect::Value;
use super::{accept, emit, reply};

/// Rows that one statement inserts on SQLite; what is over goes row by row.
pub(super) const ROWS: usize = 16;

/// A statement that inserts rows: one, [`ROWS`] at once, and any number as arrays on PostgreSQL. All give back `id`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Insert {
    pub(super) one: &'static str,
    pub(super) many: &'static str,
    pub(super) postgres: &'static str,
}

#[cfg(test)]
impl Insert {
    pub(super) const fn one(self) -> Sql {
        Sql::each(self.one, self.postgres)
    }

    pub(super) const fn many(self) -> Sql {
        Sql::each(self.many, self.postgres)
    }
}

/// The table with its columns, one row of places and constants, the places as arrays, the constants again, and the end.
macro_rules! insert {
    ($table:literal, $row:literal, $arrays:literal, $constants:literal, $end:literal) => {
        Insert {
            one: concat!($table, " values ", $row, $end),
            many: concat!(
                $table, " values ", $row, ", ", $row, ", ", $row, ", ", $row, ", ", $row, ", ",
                $row, ", ", $row, ", ", $row, ", ", $row, ", ", $row, ", ", $row, ", ", $row, ", ",
                $row, ", ", $row, ", ", $row, ", ", $row, $end
            ),
            postgres: concat!(
                $table,
                " select u.*",
                $constants,
                " from unnest(",
                $arrays,
                ") u",
                $end
            ),
        }
    };
}

pub(super) use insert;

/// A parameter that outlives the step that made it.
#[derive(Debug, Clone)]
pub(super) enum Owned {
    Id(Uuid),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Owned {
    pub(super) fn as_value(&self) -> Value<'_> {
        match self {
            Self::Id(id) => Value::Id(*id),
            Self::Int(int) => Value::Int(*int),
            Self::Text(text) => Value::Text(text),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// Parameters that outlive the step. A set is no column's value.
pub(super) fn owned(values: &[Value<'_>]) -> Vec<Owned> {
    values
        .iter()
        .map(|value| match value {
            Value::Id(id) => Owned::Id(*id),
            Value::Int(int) => Owned::Int(*int),
            Value::Text(text) => Owned::Text((*text).to_owned()),
            Value::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
            Value::Set(set) => Owned::Bytes(set.concat()),
            Value::Keys(keys) => Owned::Bytes(keys.concat()),
            Value::Words(words) => Owned::Text(words.concat()),
            Value::Ids(ids) => Owned::Bytes(ids.iter().flat_map(|id| *id.as_bytes()).collect()),
        })
        .collect()
}

/// One parameter of every row.
pub(super) enum Column {
    Ids(Vec<Uuid>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Bytes(Vec<Vec<u8>>),
}

/// Rows turned into columns. All rows of a statement have the same kinds in the same places.
pub(super) fn columns(rows: &[Vec<Owned>]) -> Vec<Column> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let mut columns: Vec<Column> = first
        .iter()
        .map(|value| match value {
            Owned::Id(_) => Column::Ids(Vec::with_capacity(rows.len())),
            Owned::Int(_) => Column::Ints(Vec::with_capacity(rows.len())),
            Owned::Text(_) => Column::Texts(Vec::with_capacity(rows.len())),
            Owned::Bytes(_) => Column::Bytes(Vec::with_capacity(rows.len())),
        })
        .collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            match (column, value) {
                (Column::Ids(ids), Owned::Id(id)) => ids.push(*id),
                (Column::Ints(ints), Owned::Int(int)) => ints.push(*int),
                (Column::Texts(texts), Owned::Text(text)) => texts.push(text.clone()),
                (Column::Bytes(all), Owned::Bytes(bytes)) => all.push(bytes.clone()),
                // Arrays of unequal length are refused by the database, so a mistake here is seen at once.
                (Column::Ids(_) | Column::Ints(_) | Column::Texts(_) | Column::Bytes(_), _) => {}
            }
        }
    }
    columns
}

/// Rows that wait for the commit, by table.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) attempts: Vec<Vec<Owned>>,
    pub(super) replies: Vec<Vec<Owned>>,
    pub(super) ratings: Vec<Vec<Owned>>,
    pub(super) events: Vec<Vec<Owned>>,
    /// Requests whose reply or rating waits here: whoever reads these has to flush first.
    pub(super) answered: Vec<Uuid>,
}

impl Pending {
    /// Everything that waits, with the statement that inserts it.
    pub(super) fn take(&mut self) -> [(Insert, Vec<Vec<Owned>>); 4] {
        let all = std::mem::take(self);
        [
            (accept::ATTEMPT, all.attempts),
            (reply::INSERT_REPLY, all.replies),
            (reply::INSERT_RATING, all.ratings),
            (emit::EVENT, all.events),
        ]
    }
}
