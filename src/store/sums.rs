//! What the events add up to. An event is its own delta until it is folded; a scrape reads folded sums and pending events in
//! one statement (see `known`), so a total is exact at every instant, whoever crashed.

use std::collections::BTreeMap;

use super::StoreError;
use super::bulk::{Insert, four, insert, owned, rows};
use super::dialect::{Row, Sql, Value};
use super::rollup::roll_up;
use super::row;
use super::sql::Inner;
use crate::domain::rating::Score;
use crate::domain::request::Channel;
use crate::domain::statistics::Total;

/// Chosen once on PostgreSQL, in a materialized part: a sub-select may be run again for every row, each time skipping what it has
/// locked itself, and the limit would be none. The sum keeps it from the index of what is not folded, which it takes for short however
/// long it is, and would read whole for each event; for the range see `bulk`.
macro_rules! take {
    ($lock:literal) => {
        Sql::each(
            "update or fail events set folded = 1 where (desk_id, id) in (select desk_id, id from events where folded = 0 \
             order by desk_id, id limit $1) and folded = 0 \
             returning desk_id, request_id, kind, channel, touchpoint, entered, reason, score, bucket, elapsed_ms, at",
            concat!(
                "with pending as materialized (select desk_id, id from events where folded = 0 order by desk_id, id limit $1",
                $lock,
                ") update events set folded = 1 from pending where events.desk_id = pending.desk_id \
                 and events.id = pending.id and events.folded + 0 = 0 \
                 and pending.id between '00000000-0000-0000-0000-000000000000' and 'ffffffff-ffff-ffff-ffff-ffffffffffff' \
                 returning events.desk_id, events.request_id, kind, channel, touchpoint, entered, reason, score, bucket, elapsed_ms, at"
            ),
        )
    };
}

const TAKE: Sql = take!(" for update skip locked");
const TAKE_PLAINLY: Sql = take!("");
/// Held until the commit, so that whoever sees the number of a fold sees all folds before it.
const FOLD: Sql =
    Sql::both("update duties set mark = mark + 1 where name = 'folds' returning mark");
const ADD: Insert = insert!(
    "totals (desk_id, kind, channel, touchpoint, entered, reason, score, bucket, n, elapsed_ms, first_at, changed)",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "$1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], \
     $10::bigint[], $11::bigint[], $12::bigint[]",
    "",
    " on conflict (desk_id, kind, channel, touchpoint, entered, reason, score, bucket) do update set \
     n = totals.n + excluded.n, elapsed_ms = totals.elapsed_ms + excluded.elapsed_ms, changed = excluded.changed, \
     first_at = case when excluded.first_at < totals.first_at then excluded.first_at else totals.first_at end"
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("sums.take", TAKE),
    ("sums.take_plainly", TAKE_PLAINLY),
    ("sums.fold", FOLD),
    ("sums.add", ADD.one()),
    ("sums.add_many", ADD.many()),
];

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    desk: uuid::Uuid,
    kind: String,
    channel: String,
    touchpoint: String,
    entered: i64,
    reason: String,
    score: i64,
    bucket: i64,
}

impl Inner {
    pub(super) async fn fold(&self, limit: i64) -> Result<u64, StoreError> {
        let mut tx = self.database.begin().await?;
        // Ordered, so that two folders lock the sums in the same order and cannot deadlock.
        let mut sums: BTreeMap<Key, (i64, i64, i64)> = BTreeMap::new();
        let take = if self.skip_locked { TAKE } else { TAKE_PLAINLY };
        let taken = tx.rows(take, &[Value::Int(limit)]).await?;
        for row in &taken {
            let key = Key {
                desk: row.id("desk_id")?,
                kind: row.text("kind")?,
                channel: row.text("channel")?,
                touchpoint: row.text("touchpoint")?,
                entered: row.int("entered")?,
                reason: row.text("reason")?,
                score: row.int("score")?,
                bucket: row.int("bucket")?,
            };
            let at = row.int("at")?;
            let sum = sums.entry(key).or_insert((0, 0, at));
            *sum = (sum.0 + 1, sum.1 + row.int("elapsed_ms")?, sum.2.min(at));
        }
        if taken.is_empty() {
            tx.rollback().await?;
            return Ok(0);
        }
        roll_up(&mut tx, &taken).await?;
        let fold = tx.row(FOLD, &[]).await?;
        let fold = fold.ok_or_else(|| StoreError::Corrupt("folds are not numbered".to_owned()))?;
        let fold = fold.int("mark")?;
        let row = |(key, (n, elapsed_ms, first_at)): (&Key, &(i64, i64, i64))| {
            owned(&[
                Value::Id(key.desk),
                Value::Text(&key.kind),
                Value::Text(&key.channel),
                Value::Text(&key.touchpoint),
                Value::Int(key.entered),
                Value::Text(&key.reason),
                Value::Int(key.score),
                Value::Int(key.bucket),
                Value::Int(*n),
                Value::Int(*elapsed_ms),
                Value::Int(*first_at),
                Value::Int(fold),
            ])
        };
        tx.insert_all(ADD, sums.iter().map(row).collect()).await?;
        tx.commit().await?;
        Ok(taken.len() as u64)
    }
}

/// A total; `None` if a newer version wrote it with a word that this one does not know: that one shows it.
pub(super) fn total(row: &Row) -> Result<Option<Total>, StoreError> {
    let Some(kind) = row::known_kind(row)? else {
        return Ok(None);
    };
    let score = row.int("score")?;
    Ok(Some(Total {
        desk: row.text("slug")?,
        kind,
        channel: Channel::from_text(row.text("channel")?),
        touchpoint: row.text("touchpoint")?,
        entered: row.int("entered")?,
        reason: row::reason(row)?,
        score: Score::try_from(score).ok(),
        bucket: usize::try_from(row.int("bucket")?).ok(),
        count: row.int("n")?,
        elapsed_ms: row.int("elapsed_ms")?,
        first_at: row.int("first_at")?,
    }))
}
