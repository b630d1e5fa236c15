//! What the events add up to. An event is its own delta until it is folded; a scrape reads folded sums and pending events in
//! one statement (see `known`), so a total is exact at every instant, whoever crashed.

use std::collections::BTreeMap;

use super::StoreError;
use super::bulk::{Insert, four, insert, owned, rows};
use super::dialect::{Row, Sql, Value};
use super::outbox::{Behind, TOTALS};
use super::rollup;
use super::row;
use super::sql::Inner;
use crate::domain::rating::Score;
use crate::domain::request::Channel;
use crate::domain::statistics::Total;
use crate::domain::time::Timestamp;

/// Events that are in no sum yet, as part of a statement: `e`, behind the mark of the totals in the stream `s`. Neither database knows
/// how few these are beside all there are, so each is told to look for them by their places.
macro_rules! unfolded {
    (sqlite) => {
        "streams s left join sink_marks m on m.desk_id = s.desk_id and m.sink = 'totals' \
         cross join events e indexed by events_seq on e.desk_id = s.desk_id and e.seq > coalesce(m.seq, 0) and e.seq <= s.seq \
         and e.seq > 0 and e.folded_early = 0"
    };
    (postgres) => {
        "streams s left join sink_marks m on m.desk_id = s.desk_id and m.sink = 'totals' \
         cross join lateral (select * from events where events.desk_id = s.desk_id and events.seq > coalesce(m.seq, 0) \
         and events.seq <= s.seq and events.seq > 0 and events.folded_early = 0 order by events.seq offset 0) e"
    };
}

pub(super) use unfolded;

const TAKE: Sql = Sql::both(
    "select desk_id, seq, request_id, kind, channel, touchpoint, entered, reason, score, bucket, elapsed_ms, at, folded_early \
     from events where desk_id = $1 and seq > $2 and seq <= $3 and seq > 0 order by seq limit $4",
);
/// The oldest of the first ones of each desk.
const OLDEST: Sql = Sql::both(
    "select min(t.at) as at from (select (select e.at from events e where e.desk_id = s.desk_id and e.seq > coalesce(m.seq, 0) \
     and e.seq > 0 order by e.seq limit 1) as at from streams s left join sink_marks m on m.desk_id = s.desk_id \
     and m.sink = 'totals' where s.seq > coalesce(m.seq, 0)) t having min(t.at) > 0",
);
/// Comes first and is held until the commit: whoever folds at the same time waits and goes on from the new marks, and whoever sees the
/// number of a fold sees all folds before it.
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
    ("sums.oldest", OLDEST),
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
    /// Folds the next events; how many.
    pub(super) async fn fold(&self, limit: i64) -> Result<u64, StoreError> {
        loop {
            // Whoever folds at the same time was faster: on from where they stopped.
            if let Some(folded) = self.fold_next(limit).await? {
                return Ok(folded);
            }
        }
    }

    /// Everything is read and added up before the transaction begins: others write meanwhile, and nobody waits for more than the sums.
    /// What was read still holds then, or nothing is written: events never change, and whatever moves the marks or makes the sums
    /// forget somebody is seen.
    async fn fold_next(&self, limit: i64) -> Result<Option<u64>, StoreError> {
        let (moves, taken) = self.take(limit).await?;
        if moves.is_empty() {
            return Ok(Some(0));
        }
        let sums = add_up(&taken)?;
        let rolled = self.roll_up(&taken).await?;
        let mut tx = self.database.begin().await?;
        let fold = tx.row(FOLD, &[]).await?;
        let fold = fold.ok_or_else(|| StoreError::Corrupt("folds are not numbered".to_owned()))?;
        let fold = fold.int("mark")?;
        for behind in &moves {
            if !tx.move_mark(TOTALS, behind).await? {
                tx.rollback().await?;
                return Ok(None);
            }
        }
        if !rollup::add(&mut tx, rolled).await? {
            tx.rollback().await?;
            return Ok(None);
        }
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
        Ok(Some(taken.len() as u64))
    }

    /// The next events of each desk, and the ways that the marks go over them. Desks with few come first: one with many holds up no
    /// other.
    async fn take(&self, limit: i64) -> Result<(Vec<Behind>, Vec<Row>), StoreError> {
        let mut behind = self.behind(TOTALS).await?;
        behind.sort_by_key(|desk| desk.head - desk.mark);
        let (mut moves, mut taken) = (Vec::new(), Vec::new());
        for Behind { desk, mark, head } in behind {
            let room = limit - i64::try_from(taken.len()).unwrap_or(limit);
            if room <= 0 {
                break;
            }
            let [from, to, most] = [mark, head, room].map(Value::Int);
            let range = [Value::Id(desk.uuid()), from, to, most];
            let rows = self.database.rows(TAKE, &range).await?;
            let all = i64::try_from(rows.len()).is_ok_and(|count| count < room);
            // Places of which there is nothing were left free, or their events are gone.
            let head = match rows.last() {
                Some(last) if !all => last.int("seq")?,
                _ => head,
            };
            moves.push(Behind { desk, mark, head });
            for row in rows {
                if row.int("folded_early")? == 0 {
                    taken.push(row);
                }
            }
        }
        // Ordered like everything that is locked.
        moves.sort_by_key(|behind| behind.desk);
        Ok((moves, taken))
    }

    /// When the oldest event happened that is in no sum yet.
    pub(super) async fn oldest_unfolded(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = self.database.row(OLDEST, &[]).await?;
        row.map(|row| row.int("at").map(Timestamp::from_millis))
            .transpose()
    }
}

/// Sums of events: how many, how long they took together, and when the first happened. Ordered like everything that is locked.
fn add_up(events: &[Row]) -> Result<BTreeMap<Key, (i64, i64, i64)>, StoreError> {
    let mut sums = BTreeMap::new();
    for row in events {
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
    Ok(sums)
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
