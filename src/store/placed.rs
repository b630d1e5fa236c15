//! The last step before a commit: its events go to the ends of the streams of their desks.
//!
//! One statement moves the ends, under locks that last until the commit, and inserts the events behind where they were. Each event knows
//! how many of its desk come after it in the transaction, so its place is the new end less those.

use std::collections::HashMap;

use uuid::Uuid;

use super::StoreError;
use super::bulk::{Column, Insert, Owned, columns, four};
#[cfg(test)]
use super::dialect::Sql;
use super::dialect::json;
use super::tx::{Link, Tx, filled};

macro_rules! columns {
    () => {
        "desk_id, id, request_id, kind, at, channel, touchpoint, entered, reason, score, bucket, elapsed_ms, detail"
    };
}

/// The desks of all events, each as often as it has some; always in the same order, so that two transactions never wait for each other.
macro_rules! ends {
    (sqlite) => {
        "insert into streams (desk_id, seq) select unhex(value), count(*) from json_each(?) where true group by value order by value \
         on conflict (desk_id) do update set seq = streams.seq + excluded.seq"
    };
    (postgres) => {
        "insert into streams (desk_id, seq) select d.id, count(*) from unnest($1::uuid[]) d (id) group by d.id order by d.id \
         on conflict (desk_id) do update set seq = streams.seq + excluded.seq returning desk_id, seq"
    };
}

/// Rows without a desk are those without values (see `bulk`).
macro_rules! events {
    ($rows:expr) => {
        concat!(
            "insert or fail into events (",
            columns!(),
            ", seq, folded_early) select column1, column2, column3, column4, column5, column6, column7, column8, column9, column10, \
             column11, column12, column13, (select streams.seq from streams where streams.desk_id = column1) - column14, 0 \
             from (values ",
            $rows,
            ") t where column1 is not null"
        )
    };
}

macro_rules! row {
    () => {
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    };
}

macro_rules! place {
    ($before:expr) => {
        Insert {
            sqlite: [
                (1, concat!($before, events!(row!()))),
                (4, concat!($before, events!(four!(row!())))),
                (16, concat!($before, events!(four!(four!(row!()))))),
                (64, concat!($before, events!(four!(four!(four!(row!())))))),
            ],
            postgres: POSTGRES,
        }
    };
}

const POSTGRES: &str = concat!(
    "with ends as (",
    ends!(postgres),
    ") insert into events (",
    columns!(),
    ", seq, folded_early) select u.desk_id, u.id, u.request_id, u.kind, u.at, u.channel, u.touchpoint, u.entered, u.reason, u.score, \
     u.bucket, u.elapsed_ms, u.detail, ends.seq - u.after, 0 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], \
     $6::text[], $7::text[], $8::bigint[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bytea[], $14::bigint[]) u (",
    columns!(),
    ", after) join ends on ends.desk_id = u.desk_id"
);
/// Takes the desks of all events before the first rows.
const FIRST: Insert = place!(concat!(ends!(sqlite), "; "));
/// More rows of the same events.
const MORE: Insert = place!("");
/// As many as one statement takes on SQLite.
const PORTION: usize = MORE.sqlite[3].0;

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("placed.ends", Sql::each(ends!(sqlite), POSTGRES)),
    ("placed.one", MORE.one()),
    ("placed.many", MORE.many()),
];

impl Tx {
    /// Inserts the events of this transaction at the ends of their streams; whether there are any. From here on others who write about
    /// these desks wait for the commit.
    pub(super) async fn place_events(&mut self) -> Result<bool, StoreError> {
        let mut events = std::mem::take(&mut self.pending.events);
        if events.is_empty() {
            return Ok(false);
        }
        let mut after: HashMap<Uuid, i64> = HashMap::new();
        for event in events.iter_mut().rev() {
            let after = after.entry(event.desk).or_default();
            event.row.push(Owned::Int(*after));
            *after += 1;
        }
        let desks: Vec<Uuid> = events.iter().map(|event| event.desk).collect();
        let mut rows: Vec<Vec<Owned>> = events.into_iter().map(|event| event.row).collect();
        match &mut self.link {
            Link::Sqlite(tx, file) => {
                let more = rows.split_off(rows.len().min(PORTION));
                for (text, rows) in FIRST.sqlite(rows) {
                    let desks = std::iter::once(Owned::Text(json::ids(&desks)));
                    let values = desks.chain(rows.into_iter().flatten());
                    let query = filled!(sqlx::query(text), Owned, values);
                    file.ask(query.execute(&mut **tx)).await?;
                }
                self.insert_all(MORE, more).await?;
            }
            Link::Postgres(tx, server) => {
                let query = sqlx::query(FIRST.postgres).persistent(!server.shared);
                let query = filled!(query, Column, columns(rows));
                server.ask(query.execute(&mut **tx)).await?;
            }
        }
        Ok(true)
    }
}
