//! What the events add up to. An event is its own delta until it is folded; a scrape reads folded sums and pending events in
//! one statement (see `known`), so a total is exact at every instant, whoever crashed.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::StoreError;
use super::bulk::{Insert, four, insert, owned, rows};
use super::dialect::{Row, Sql, Value};
use super::outbox::{Behind, TOTALS};
use super::rollup::{self, Rolled, place_columns, since};
use super::row;
use super::sql::Inner;
use crate::domain::rating::Score;
use crate::domain::request::Channel;
use crate::domain::statistics::{Total, Totals};
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

/// The bin of an answer time. Not its number, which the statistics give it: only that times of two bins are never taken for one.
macro_rules! bin {
    () => {
        "case when e.elapsed_ms <= 5000 then 0 when e.elapsed_ms <= 10000 then 1 when e.elapsed_ms <= 15000 then 2 \
         when e.elapsed_ms <= 20000 then 3 when e.elapsed_ms <= 30000 then 4 when e.elapsed_ms <= 45000 then 5 \
         when e.elapsed_ms <= 60000 then 6 when e.elapsed_ms <= 90000 then 7 when e.elapsed_ms <= 120000 then 8 \
         when e.elapsed_ms <= 180000 then 9 when e.elapsed_ms <= 300000 then 10 when e.elapsed_ms <= 600000 then 11 \
         when e.elapsed_ms <= 900000 then 12 when e.elapsed_ms <= 1800000 then 13 when e.elapsed_ms <= 3600000 then 14 \
         when e.elapsed_ms <= 7200000 then 15 when e.elapsed_ms <= 14400000 then 16 when e.elapsed_ms <= 28800000 then 17 \
         when e.elapsed_ms <= 86400000 then 18 when e.elapsed_ms <= 172800000 then 19 when e.elapsed_ms <= 259200000 then 20 else 21 end"
    };
}

/// The next events of a desk, those that are counted alike as one row: their number, the time of all together and of one of them. What
/// happened to them is read beside where their requests are counted; `created_at` is the half hour of that, and -1 without a request.
macro_rules! take {
    ($from:expr, $more:literal) => {
        concat!(
            "select e.folded_early, e.kind, e.channel as event_channel, e.touchpoint as event_touchpoint, e.entered, e.reason, e.score, e.bucket, ",
            bin!(),
            " as bin, coalesce(requests.created_at - requests.created_at % 1800000, -1) as created_at, ",
            place_columns!(),
            ", cast(count(*) as bigint) as n, cast(sum(e.elapsed_ms) as bigint) as took_ms, min(e.elapsed_ms) as elapsed_ms, min(e.at) as at from ",
            $from,
            " group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20",
            $more
        )
    };
}

/// PostgreSQL does not know how few these are, and is told to look for each request by its key. It would sort them to find those that are
/// alike, and compare most columns of most of them; beside a value that has no order it can only hash them (25 and 19 ms for 2,000).
const TAKE: Sql = Sql::each(
    take!(
        concat!(
            "events e left join requests on requests.desk_id = e.desk_id and requests.id = e.request_id and requests.created_at > ",
            since!(),
            " left join ratings g on g.desk_id = requests.desk_id and g.request_id = requests.id \
         where e.desk_id = $1 and e.seq > $2 and e.seq <= $3 and e.seq > 0"
        ),
        ""
    ),
    take!(
        concat!(
            "(select * from events where desk_id = $1 and seq > $2 and seq <= $3 and seq > 0 order by seq offset 0) e \
         left join lateral (select * from requests r where r.desk_id = e.desk_id and r.id = e.request_id and r.created_at > ",
            since!(),
            " offset 0) requests on true left join lateral (select * from ratings t where t.desk_id = requests.desk_id \
         and t.request_id = requests.id offset 0) g on true"
        ),
        ", cast('0' as xid)"
    ),
);
/// The place of the last one, where there are more than are wanted.
const UP_TO: Sql = Sql::both(
    "select seq from events where desk_id = $1 and seq > $2 and seq <= $3 and seq > 0 order by seq limit 1 offset $4",
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
    ("sums.up_to", UP_TO),
    ("sums.oldest", OLDEST),
    ("sums.fold", FOLD),
    ("sums.add", ADD.one()),
    ("sums.add_many", ADD.many()),
];

/// Events of a desk that are counted alike.
pub(super) struct Alike {
    pub(super) desk: Uuid,
    /// Has what [`rollup::spot`] and [`rollup::delta`] read, and `n`.
    pub(super) row: Row,
}

/// The next events, and what holds of their desks.
#[derive(Default)]
struct Taken {
    moves: Vec<Behind>,
    borders: BTreeMap<Uuid, i64>,
    events: Vec<Alike>,
    /// How many they are.
    count: i64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    desk: Uuid,
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
        let Taken {
            moves,
            borders,
            events,
            count,
        } = self.take(limit).await?;
        if moves.is_empty() {
            return Ok(Some(0));
        }
        let sums = add_up(&events)?;
        let rows = rollup::rows_of(&events)?;
        let rolled = Rolled { borders, rows };
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
        Ok(Some(count.unsigned_abs()))
    }

    /// The next events of each desk, and the ways that the marks go over them. Desks with few come first: one with many holds up no
    /// other.
    async fn take(&self, limit: i64) -> Result<Taken, StoreError> {
        let mut behind = self.behind(TOTALS).await?;
        behind.sort_by_key(|desk| desk.head - desk.mark);
        let desks: Vec<Uuid> = behind.iter().map(|behind| behind.desk.uuid()).collect();
        let mut taken = Taken {
            borders: self.borders(&desks).await?,
            ..Taken::default()
        };
        let mut room = limit;
        for Behind { desk, mark, head } in behind {
            if room <= 0 {
                break;
            }
            // Places of which there is nothing were left free, or their events are gone.
            let mut range = [Value::Id(desk.uuid()), Value::Int(mark), Value::Int(head)];
            let [id, from, to] = range;
            let last = [id, from, to, Value::Int(room - 1)];
            let last = self.database.row(UP_TO, &last).await?;
            let head = last.map_or(Ok(head), |row| row.int("seq"))?;
            range[2] = Value::Int(head);
            taken.moves.push(Behind { desk, mark, head });
            for row in self.database.rows(TAKE, &range).await? {
                let n = row.int("n")?;
                room -= n;
                if row.int("folded_early")? == 0 {
                    taken.count += n;
                    let desk = desk.uuid();
                    taken.events.push(Alike { desk, row });
                }
            }
        }
        // Ordered like everything that is locked.
        taken.moves.sort_by_key(|behind| behind.desk);
        let moved: BTreeSet<Uuid> = taken.moves.iter().map(|moved| moved.desk.uuid()).collect();
        taken.borders.retain(|desk, _| moved.contains(desk));
        Ok(taken)
    }

    /// When the oldest event happened that is in no sum yet.
    pub(super) async fn oldest_unfolded(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = self.database.row(OLDEST, &[]).await?;
        row.map(|row| row.int("at").map(Timestamp::from_millis))
            .transpose()
    }
}

/// Sums of events: how many, how long they took together, and when the first happened. Ordered like everything that is locked.
fn add_up(events: &[Alike]) -> Result<BTreeMap<Key, (i64, i64, i64)>, StoreError> {
    let mut sums = BTreeMap::new();
    for Alike { desk, row } in events {
        let key = Key {
            desk: *desk,
            kind: row.text("kind")?,
            channel: row.text("event_channel")?,
            touchpoint: row.text("event_touchpoint")?,
            entered: row.int("entered")?,
            reason: row.text("reason")?,
            score: row.int("score")?,
            bucket: row.int("bucket")?,
        };
        let at = row.int("at")?;
        let sum = sums.entry(key).or_insert((0, 0, at));
        let (n, took_ms) = (row.int("n")?, row.int("took_ms")?);
        *sum = (sum.0 + n, sum.1 + took_ms, sum.2.min(at));
    }
    Ok(sums)
}

/// A place with one sum; `None` if a newer version wrote it with a word that this one does not know: that one shows it.
pub(super) fn total(row: &Row) -> Result<Option<Totals>, StoreError> {
    let Some(kind) = row::known_kind(row)? else {
        return Ok(None);
    };
    let (score, first_at) = (row.int("score")?, row.int("first_at")?);
    let total = Total {
        kind,
        entered: row.int("entered")?,
        reason: row::reason(row)?,
        score: Score::try_from(score).ok(),
        bucket: usize::try_from(row.int("bucket")?).ok(),
        count: row.int("n")?,
        elapsed_ms: row.int("elapsed_ms")?,
        first_at,
    };
    Ok(Some(Totals {
        desk: row.text("slug")?,
        channel: Channel::from_text(row.text("channel")?),
        touchpoint: row.text("touchpoint")?,
        first_at,
        sums: vec![total],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::statistics::counts::TIMES;
    use crate::domain::statistics::grouping::SLOT_MS;

    #[test]
    fn times_and_half_hours_are_those_of_the_statistics() {
        let bound = |(n, seconds)| format!(" when e.elapsed_ms <= {seconds}000 then {n}");
        let bins: Vec<String> = TIMES.iter().enumerate().map(bound).collect();
        let bins = format!("case{} else {} end", bins.concat(), TIMES.len());
        for text in [TAKE.sqlite, TAKE.postgres] {
            assert!(text.contains(&bins), "{bins}\n{text}");
            assert!(text.contains(&format!("% {SLOT_MS},")), "{text}");
        }
    }
}
