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
use super::{accept, follow, reply};

/// A statement that inserts rows: any number as arrays on PostgreSQL, and on SQLite as many as its text has places for. Each statement
/// there hops to the connection's thread and back, which costs more than to insert a row, so what is over does not go row by row:
/// a longer text takes it, and leaves out the rows that it was given no values for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Insert {
    /// Texts on SQLite with their numbers of rows, the shortest first.
    pub(super) sqlite: [(usize, &'static str); 4],
    pub(super) postgres: &'static str,
}

impl Insert {
    /// The rows in portions, each with its text on SQLite.
    pub(super) fn sqlite(
        &self,
        rows: Vec<Vec<Owned>>,
    ) -> impl Iterator<Item = (&'static str, Vec<Vec<Owned>>)> {
        let texts = self.sqlite;
        let mut rows = rows.into_iter();
        std::iter::from_fn(move || {
            let [.., longest] = texts;
            let enough = texts.into_iter().find(|(places, _)| *places >= rows.len());
            let (places, text) = enough.unwrap_or(longest);
            let portion: Vec<_> = rows.by_ref().take(places).collect();
            (!portion.is_empty()).then_some((text, portion))
        })
    }
}

#[cfg(test)]
impl Insert {
    pub(super) const fn one(self) -> Sql {
        Sql::each(self.sqlite[0].1, self.postgres)
    }

    pub(super) const fn many(self) -> Sql {
        Sql::each(self.sqlite[3].1, self.postgres)
    }
}

macro_rules! four {
    ($rows:expr) => {
        concat!($rows, ", ", $rows, ", ", $rows, ", ", $rows)
    };
}

/// Rows without a desk are those without values.
macro_rules! rows {
    ($table:literal, $rows:expr, $end:literal) => {
        concat!(
            "insert or fail into ",
            $table,
            " select * from (values ",
            $rows,
            ") t where column1 is not null",
            $end
        )
    };
}

/// What SQLite would take back of one statement when a row of it fails, it first copies, page by page and to a file if they are many. A
/// failure takes back the whole transaction here, so statements of many rows are told to `fail` without that (`or fail`).
///
/// The table with its columns, one row of places and constants, the places as arrays, the constants again, and the end.
macro_rules! insert {
    ($table:literal, $row:literal, $arrays:literal, $constants:literal, $end:literal) => {
        Insert {
            sqlite: [
                (1, concat!("insert into ", $table, " values ", $row, $end)),
                (4, rows!($table, four!($row), $end)),
                (16, rows!($table, four!(four!($row)), $end)),
                (64, rows!($table, four!(four!(four!($row))), $end)),
            ],
            postgres: concat!(
                "insert into ",
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

pub(super) use {four, insert, rows};

/// A parameter that outlives the step that made it.
#[derive(Debug, Clone)]
pub(super) enum Owned {
    Id(Uuid),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
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
    Id(Vec<Uuid>),
    Int(Vec<i64>),
    Text(Vec<String>),
    Bytes(Vec<Vec<u8>>),
}

/// Rows turned into columns. All rows of a statement have the same kinds in the same places.
pub(super) fn columns(rows: Vec<Vec<Owned>>) -> Vec<Column> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let mut columns: Vec<Column> = first
        .iter()
        .map(|value| match value {
            Owned::Id(_) => Column::Id(Vec::with_capacity(rows.len())),
            Owned::Int(_) => Column::Int(Vec::with_capacity(rows.len())),
            Owned::Text(_) => Column::Text(Vec::with_capacity(rows.len())),
            Owned::Bytes(_) => Column::Bytes(Vec::with_capacity(rows.len())),
        })
        .collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            match (column, value) {
                (Column::Id(ids), Owned::Id(id)) => ids.push(id),
                (Column::Int(ints), Owned::Int(int)) => ints.push(int),
                (Column::Text(texts), Owned::Text(text)) => texts.push(text),
                (Column::Bytes(all), Owned::Bytes(bytes)) => all.push(bytes),
                // Arrays of unequal length are refused by the database, so a mistake here is seen at once.
                (Column::Id(_) | Column::Int(_) | Column::Text(_) | Column::Bytes(_), _) => {}
            }
        }
    }
    columns
}

/// A row of an event without its last parameter, from which the commit tells its place (see `placed`).
pub(super) struct Unplaced {
    pub(super) desk: Uuid,
    pub(super) row: Vec<Owned>,
}

/// Rows that wait for the commit, by table.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) attempts: Vec<Vec<Owned>>,
    pub(super) replies: Vec<Vec<Owned>>,
    pub(super) ratings: Vec<Vec<Owned>>,
    pub(super) follow_ups: Vec<Vec<Owned>>,
    /// Inserted last of all, and by nobody but the commit.
    pub(super) events: Vec<Unplaced>,
    /// Requests that are saved together, while a set of replies is taken. Whoever takes it saves them.
    pub(super) saves: Option<Vec<Vec<Owned>>>,
    /// Requests whose reply or rating waits here: whoever reads these has to flush first.
    pub(super) answered: Vec<Uuid>,
}

impl Pending {
    /// Everything that waits but the events, with the statement that inserts it.
    pub(super) fn take(&mut self) -> [(Insert, Vec<Vec<Owned>>); 4] {
        let (saves, events) = (self.saves.take(), std::mem::take(&mut self.events));
        let all = std::mem::take(self);
        (self.saves, self.events) = (saves, events);
        [
            (accept::ATTEMPT, all.attempts),
            (reply::INSERT_REPLY, all.replies),
            (reply::INSERT_RATING, all.ratings),
            (follow::OPEN, all.follow_ups),
        ]
    }
}
