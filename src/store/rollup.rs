//! Sums by what a desk asks about: what each event adds, folded together with the totals.
//!
//! A request stays in its sums for good, so whatever comes later is a delta to the same rows. Between two folds an event is
//! pending, and `summary` reads it beside the sums; so the answer is what the rows are at every instant, whoever crashed.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::StoreError;
use super::bulk::{Insert, Owned, four, insert, owned, rows};
use super::dialect::{Row, Sql, Value};
use super::sql::Inner;
use super::sums::Alike;
use super::tx::Tx;
use crate::domain::event::EventKind;
use crate::domain::rating::Grade;
use crate::domain::statistics::counts::{Counts, Happened, NUMBERS};
use crate::domain::statistics::grouping::{LEVELS, Place, SLOT_MS};

/// The columns of [`Counts::numbers`], in that order.
pub(super) const COLUMNS: [&str; NUMBERS] = [
    "scheduled",
    "suppressed",
    "sent",
    "delivered",
    "reached",
    "answered",
    "expired",
    "cancelled",
    "failed",
    "suppressed_later",
    "s1",
    "s2",
    "s3",
    "s4",
    "s5",
    "by_channel",
    "by_tap",
    "by_auto",
    "by_suspect",
    "taken_out",
    "suspect",
    "comments",
    "t0",
    "t1",
    "t2",
    "t3",
    "t4",
    "t5",
    "t6",
    "t7",
    "t8",
    "t9",
    "t10",
    "t11",
    "t12",
    "t13",
    "t14",
    "t15",
    "t16",
    "t17",
    "t18",
    "t19",
    "t20",
    "t21",
];

/// What a request has of every dimension, and the grade of its first answer. Agents of old ones are forgotten.
macro_rules! place_columns {
    () => {
        "requests.channel, requests.team, requests.queue, requests.touchpoint, requests.phase, \
         requests.language, case when requests.created_at < (select d.agents_until from desks d where d.id = requests.desk_id) then '' \
         when requests.agent_id <> '' then requests.agent_id else requests.agent_name end as agent, \
         requests.topic, requests.wording, case when g.first_grade <> '' then g.first_grade else coalesce(g.grade, '') end as grade"
    };
}

pub(super) use place_columns;

/// Requests of that time and before are in no sum: they are older than the sums.
macro_rules! since {
    () => {
        "coalesce((select mark from duties where name = 'sums'), 0)"
    };
}

pub(super) use since;

/// Sums of conversations before these instants know no agents.
macro_rules! borders {
    ($lock:literal) => {
        Sql::each(
            "select id, agents_until from desks where id in (select unhex(value) from json_each($1))",
            concat!(
                "select id, agents_until from desks where id = any($1::uuid[]) order by id",
                $lock
            ),
        )
    };
}

const BORDERS: Sql = borders!("");
/// Nobody moves them until the commit: what is about to be added would go to a sum that was taken apart.
const KEEP: Sql = borders!(" for share");
pub(super) const ADD: Insert = insert!(
    "rollups (desk_id, level, at, channel, team, queue, touchpoint, phase, language, agent, topic, \
     wording, reason, scheduled, suppressed, sent, delivered, reached, answered, expired, cancelled, failed, \
     suppressed_later, s1, s2, s3, s4, s5, by_channel, by_tap, by_auto, by_suspect, taken_out, suspect, comments, t0, t1, t2, t3, t4, t5, t6, \
     t7, t8, t9, t10, t11, t12, t13, t14, t15, t16, t17, t18, t19, t20, t21)",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
     ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "$1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], \
     $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], \
     $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[], \
     $25::bigint[], $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[], $30::bigint[], $31::bigint[], \
     $32::bigint[], $33::bigint[], $34::bigint[], $35::bigint[], $36::bigint[], $37::bigint[], $38::bigint[], \
     $39::bigint[], $40::bigint[], $41::bigint[], $42::bigint[], $43::bigint[], $44::bigint[], $45::bigint[], \
     $46::bigint[], $47::bigint[], $48::bigint[], $49::bigint[], $50::bigint[], $51::bigint[], $52::bigint[], \
     $53::bigint[], $54::bigint[], $55::bigint[], $56::bigint[], $57::bigint[]",
    "",
    " on conflict (desk_id, level, at, channel, team, queue, touchpoint, phase, language, agent, topic, wording, \
     reason) do update set scheduled = rollups.scheduled + excluded.scheduled, suppressed = rollups.suppressed + \
     excluded.suppressed, sent = rollups.sent + excluded.sent, delivered = rollups.delivered + excluded.delivered, \
     reached = rollups.reached + excluded.reached, answered = rollups.answered + excluded.answered, expired = \
     rollups.expired + excluded.expired, cancelled = rollups.cancelled + excluded.cancelled, failed = rollups.failed \
     + excluded.failed, suppressed_later = rollups.suppressed_later + excluded.suppressed_later, s1 = rollups.s1 + excluded.s1, s2 = rollups.s2 + excluded.s2, s3 = rollups.s3 + excluded.s3, \
     s4 = rollups.s4 + excluded.s4, s5 = rollups.s5 + excluded.s5, by_channel = rollups.by_channel + \
     excluded.by_channel, by_tap = rollups.by_tap + excluded.by_tap, by_auto = rollups.by_auto + excluded.by_auto, \
     by_suspect = rollups.by_suspect + excluded.by_suspect, taken_out = rollups.taken_out + excluded.taken_out, \
     suspect = rollups.suspect + excluded.suspect, comments = rollups.comments + excluded.comments, t0 = rollups.t0 + \
     excluded.t0, t1 = rollups.t1 + excluded.t1, t2 = rollups.t2 + excluded.t2, t3 = rollups.t3 + excluded.t3, t4 = \
     rollups.t4 + excluded.t4, t5 = rollups.t5 + excluded.t5, t6 = rollups.t6 + excluded.t6, t7 = rollups.t7 + \
     excluded.t7, t8 = rollups.t8 + excluded.t8, t9 = rollups.t9 + excluded.t9, t10 = rollups.t10 + excluded.t10, t11 \
     = rollups.t11 + excluded.t11, t12 = rollups.t12 + excluded.t12, t13 = rollups.t13 + excluded.t13, t14 = \
     rollups.t14 + excluded.t14, t15 = rollups.t15 + excluded.t15, t16 = rollups.t16 + excluded.t16, t17 = \
     rollups.t17 + excluded.t17, t18 = rollups.t18 + excluded.t18, t19 = rollups.t19 + excluded.t19, t20 = \
     rollups.t20 + excluded.t20, t21 = rollups.t21 + excluded.t21"
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("rollup.borders", BORDERS),
    ("rollup.keep", KEEP),
    ("rollup.add", ADD.one()),
    ("rollup.add_many", ADD.many()),
];

/// Where a request is counted.
pub(super) struct Spot {
    pub(super) created_at: i64,
    pub(super) place: Place,
    pub(super) grade: Option<Grade>,
}

pub(super) fn spot(row: &Row) -> Result<Spot, StoreError> {
    Ok(Spot {
        created_at: row.int("created_at")?,
        place: [
            row.text("channel")?,
            row.text("team")?,
            row.text("queue")?,
            row.text("touchpoint")?,
            row.text("phase")?,
            row.text("language")?,
            row.text("agent")?,
            row.text("topic")?,
            row.text("wording")?,
        ],
        grade: Grade::parse(&row.text("grade")?),
    })
}

/// What an event adds. Nothing if its kind is unknown here: a newer version may write what an older one reads.
pub(super) fn delta(row: &Row, grade: Option<Grade>) -> Result<(String, Counts), StoreError> {
    let reason = row.text("reason")?;
    let Some(kind) = EventKind::parse(&row.text("kind")?) else {
        return Ok((reason, Counts::default()));
    };
    let happened = Happened {
        kind,
        entered: row.int("entered")?,
        reason: &reason,
        score: row.int("score")?,
        // A correction keeps the score before it where a first answer has its bucket.
        before: row.int("bucket")?,
        elapsed_ms: row.int("elapsed_ms")?,
        grade,
    };
    let counts = Counts::of(&happened);
    // The reason of what was asked about is no group of its own.
    let reason = if counts.reasons.is_empty() {
        String::new()
    } else {
        reason
    };
    Ok((reason, counts))
}

/// Desk, level, time, place and reason of a sum.
type Key = (Uuid, i64, i64, Place, String);

/// What events add to the sums, as the desks' borders were.
pub(super) struct Rolled {
    pub(super) borders: BTreeMap<Uuid, i64>,
    pub(super) rows: Vec<Vec<Owned>>,
}

impl Inner {
    /// Up to when the sums of these desks know no agents. To be asked before the events are read: whoever moves a border afterwards is
    /// seen when the sums are written.
    pub(super) async fn borders(&self, desks: &[Uuid]) -> Result<BTreeMap<Uuid, i64>, StoreError> {
        borders(&self.database.rows(BORDERS, &[Value::Ids(desks)]).await?)
    }
}

/// Adds it to the sums; `false`, and nothing, if a border has moved meanwhile.
pub(super) async fn add(tx: &mut Tx, rolled: Rolled) -> Result<bool, StoreError> {
    let desks: Vec<Uuid> = rolled.borders.keys().copied().collect();
    let kept = borders(&tx.rows(KEEP, &[Value::Ids(&desks)]).await?)?;
    if kept != rolled.borders {
        return Ok(false);
    }
    tx.insert_all(ADD, rolled.rows).await?;
    Ok(true)
}

fn borders(rows: &[Row]) -> Result<BTreeMap<Uuid, i64>, StoreError> {
    rows.iter()
        .map(|row| Ok((row.id("id")?, row.int("agents_until")?)))
        .collect()
}

/// Rows of what events add, in one order, so that two folders lock the sums in the same order and cannot deadlock.
pub(super) fn rows_of(events: &[Alike]) -> Result<Vec<Vec<Owned>>, StoreError> {
    // Much of what is folded together differs in nothing that a level knows; it is added up before the levels are gone through.
    let mut alike: BTreeMap<(Uuid, i64, Place, String), Counts> = BTreeMap::new();
    for Alike { desk, row } in events {
        // Events about nobody's request, such as a wish that was brought in by hand, belong to no group.
        if row.int("created_at")? < 0 {
            continue;
        }
        let spot = spot(row)?;
        let (reason, counts) = delta(row, spot.grade)?;
        if counts.is_empty() {
            continue;
        }
        let finest = spot.created_at - spot.created_at.rem_euclid(SLOT_MS);
        let key = (*desk, finest, spot.place, reason);
        let counts = counts.repeated(row.int("n")?);
        alike.entry(key).or_default().add(&counts);
    }
    let mut sums: BTreeMap<Key, Counts> = BTreeMap::new();
    for ((desk, time, place, reason), counts) in &alike {
        for level in LEVELS {
            let (at, place) = level.key(*time, place);
            let key = (*desk, level.code, at, place, reason.clone());
            sums.entry(key).or_default().add(counts);
        }
    }
    Ok(sums
        .iter()
        .map(|((desk, level, at, place, reason), counts)| {
            let mut values = vec![Value::Id(*desk), Value::Int(*level), Value::Int(*at)];
            values.extend(place.iter().map(|text| Value::Text(text)));
            values.push(Value::Text(reason));
            values.extend(counts.numbers().map(Value::Int));
            owned(&values)
        })
        .collect())
}
