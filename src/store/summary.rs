//! Answers about groups of requests: kept sums and what is not folded yet, read in one snapshot.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use super::dialect::{Row, Sql, Value};
use super::rollup::{COLUMNS, delta, place_columns, since, spot};
use super::sql::{Inner, SqlStore};
use crate::domain::id::DeskId;
use crate::domain::statistics::counts::{Counts, NUMBERS};
use crate::domain::statistics::grouping::{
    Dimension, GROUPINGS_MAX, Question, SLOT_MS, Slots, Stretch,
};

/// One group of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What its requests have in common, in the order of the question.
    pub by: Vec<String>,
    /// The channel; a group of the question is one for each of its channels.
    pub channel: String,
    /// The first day of its time, in days since 1970-01-01; 0 if the answer is not divided in time.
    pub day: i64,
    /// What it adds up to.
    pub counts: Counts,
}

/// Results of a desk by group.
#[async_trait]
pub trait Summaries: Send + Sync {
    /// What requests and ratings add up to, by group in order. Includes everything that is committed.
    /// `None` if there are more of them than may be put together at once.
    async fn groups(
        &self,
        desk: DeskId,
        question: &Question,
    ) -> Result<Option<Vec<Group>>, StoreError>;
}

#[async_trait]
impl Summaries for SqlStore {
    async fn groups(
        &self,
        desk: DeskId,
        question: &Question,
    ) -> Result<Option<Vec<Group>>, StoreError> {
        self.inner.groups(desk, question).await
    }
}

/// A number chooses the column of each of three groups, and an empty text lets any value pass: one constant for every question. Time
/// is divided here, because half hours of a year are many and its weeks are few.
const SUMS: Sql = Sql::both(
    "select case cast($5 as bigint) when 1 then channel when 2 then team when 3 then queue when 4 then touchpoint when 5 then phase \
     when 6 then language when 7 then agent when 8 then topic when 9 then wording else '' end as g1, case cast($6 as bigint) when 1 \
     then channel when 2 then team when 3 then queue when 4 then touchpoint when 5 then phase when 6 then language \
     when 7 then agent when 8 then topic when 9 then wording else '' end as g2, case cast($7 as bigint) when 1 then channel when 2 \
     then team when 3 then queue when 4 then touchpoint when 5 then phase when 6 then language when 7 then agent when \
     8 then topic when 9 then wording else '' end as g3, (at + cast($18 as bigint)) / cast($8 as bigint) as slot, \
     rollups.channel as in_channel, reason, \
     cast(sum(scheduled) as bigint) as scheduled, cast(sum(suppressed) as bigint) as suppressed, cast(sum(sent) as \
     bigint) as sent, cast(sum(delivered) as bigint) as delivered, cast(sum(reached) as bigint) as reached, \
     cast(sum(answered) as bigint) as answered, cast(sum(expired) as bigint) as expired, cast(sum(cancelled) as \
     bigint) as cancelled, cast(sum(failed) as bigint) as failed, cast(sum(suppressed_later) as bigint) as suppressed_later, cast(sum(s1) as bigint) as s1, cast(sum(s2) as \
     bigint) as s2, cast(sum(s3) as bigint) as s3, cast(sum(s4) as bigint) as s4, cast(sum(s5) as bigint) as s5, \
     cast(sum(by_channel) as bigint) as by_channel, cast(sum(by_tap) as bigint) as by_tap, cast(sum(by_auto) as \
     bigint) as by_auto, cast(sum(by_suspect) as bigint) as by_suspect, cast(sum(taken_out) as bigint) as taken_out, \
     cast(sum(suspect) as bigint) as suspect, cast(sum(comments) as bigint) as comments, cast(sum(t0) as bigint) as \
     t0, cast(sum(t1) as bigint) as t1, cast(sum(t2) as bigint) as t2, cast(sum(t3) as bigint) as t3, cast(sum(t4) as \
     bigint) as t4, cast(sum(t5) as bigint) as t5, cast(sum(t6) as bigint) as t6, cast(sum(t7) as bigint) as t7, \
     cast(sum(t8) as bigint) as t8, cast(sum(t9) as bigint) as t9, cast(sum(t10) as bigint) as t10, cast(sum(t11) as \
     bigint) as t11, cast(sum(t12) as bigint) as t12, cast(sum(t13) as bigint) as t13, cast(sum(t14) as bigint) as \
     t14, cast(sum(t15) as bigint) as t15, cast(sum(t16) as bigint) as t16, cast(sum(t17) as bigint) as t17, \
     cast(sum(t18) as bigint) as t18, cast(sum(t19) as bigint) as t19, cast(sum(t20) as bigint) as t20, cast(sum(t21) \
     as bigint) as t21 \
     from rollups where desk_id = $1 and level = $2 and at >= $3 and at < $4 and ($9 = '' or channel = $9) and ($10 = \
     '' or team = $10) and ($11 = '' or queue = $11) and ($12 = '' or touchpoint = $12) and ($13 = '' or phase = $13) \
     and ($14 = '' or language = $14) and ($15 = '' or agent = $15) and ($16 = '' or topic = $16) and ($17 = '' or \
     wording = $17) group by 1, 2, 3, 4, 5, 6 limit 50001",
);
/// SQLite would rather read all events of the desk, because it does not know how few are pending.
macro_rules! pending {
    ($hint:literal) => {
        concat!(
            "select e.kind, e.entered, e.reason, e.score, e.bucket, e.elapsed_ms, ",
            place_columns!(),
            " from events e ",
            $hint,
            "join requests on requests.desk_id = e.desk_id and requests.id = e.request_id \
     left join ratings g on g.desk_id = requests.desk_id and g.request_id = requests.id \
             where e.desk_id = $1 and e.folded = 0 and requests.created_at > ",
            since!()
        )
    };
}

/// The time of which anything is kept: every level has each request.
const KEPT: Sql = Sql::both(
    "select coalesce((select at from rollups where desk_id = $1 and level = 2 order by at limit 1), 0) as first, \
     coalesce((select at from rollups where desk_id = $1 and level = 2 order by at desc limit 1), 0) as last",
);
const PENDING: Sql = Sql::each(pending!("indexed by events_pending "), pending!(""));

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("summary.sums", SUMS),
    ("summary.kept", KEPT),
    ("summary.pending", PENDING),
];

/// The most groups that are put together at once; the statement reads one more.
const GROUPS_MAX: usize = 50_000;

/// Groups while they are put together.
type Groups = BTreeMap<(Vec<String>, i64, String), Counts>;

impl Inner {
    async fn groups(
        &self,
        desk: DeskId,
        question: &Question,
    ) -> Result<Option<Vec<Group>>, StoreError> {
        // One snapshot: an event is either pending or in a sum, never both and never neither.
        let mut tx = self.database.snapshot().await?;
        let mut groups = Groups::new();
        for row in tx.rows(PENDING, &[Value::Id(desk.uuid())]).await? {
            let spot = spot(&row)?;
            if question.takes(spot.created_at, &spot.place) {
                let by = question.by.iter();
                let by = by.map(|dimension| spot.place[dimension.place()].clone());
                let day = question.slots.day_of(spot.created_at);
                let channel = spot.place[Dimension::Channel.place()].clone();
                let key = (by.collect(), day, channel);
                let (_, counts) = delta(&row, spot.grade)?;
                groups.entry(key).or_default().add(&counts);
            }
        }
        let kept = if question.slots == Slots::None {
            0..0
        } else {
            let row = tx.row(KEPT, &[Value::Id(desk.uuid())]).await?;
            let row = row.ok_or(StoreError::Conflict)?;
            row.int("first")?..row.int("last")?.saturating_add(SLOT_MS)
        };
        for part in question.stretches(kept) {
            let rows = tx.rows(SUMS, &values(desk, question, part)).await?;
            if rows.len() + groups.len() > GROUPS_MAX {
                return Ok(None);
            }
            for row in rows {
                let by = ["g1", "g2", "g3"].into_iter().take(question.by.len());
                let by: Vec<String> = by.map(|group| row.text(group)).collect::<Result<_, _>>()?;
                let day = question.slots.first_day(row.int("slot")?);
                let key = (by, day, row.text("in_channel")?);
                groups.entry(key).or_default().add(&counts(&row)?);
            }
        }
        tx.rollback().await?;
        let groups = groups.into_iter();
        Ok(Some(
            groups
                .map(|((by, day, channel), counts)| Group {
                    by,
                    channel,
                    day,
                    counts,
                })
                .collect(),
        ))
    }
}

fn values(desk: DeskId, question: &Question, part: Stretch) -> Vec<Value<'_>> {
    let mut values = vec![
        Value::Id(desk.uuid()),
        Value::Int(part.level),
        Value::Int(part.from),
        Value::Int(part.to),
    ];
    for at in 0..GROUPINGS_MAX {
        let chosen = question.by.get(at).map_or(0, |chosen| chosen.place() + 1);
        values.push(Value::Int(i64::try_from(chosen).unwrap_or(0)));
    }
    values.push(Value::Int(question.slots.length_ms()));
    for dimension in Dimension::ALL {
        let wanted = question.only.get(&dimension);
        values.push(Value::Text(wanted.map_or("", String::as_str)));
    }
    values.push(Value::Int(part.shift));
    values
}

fn counts(row: &Row) -> Result<Counts, StoreError> {
    let mut numbers = [0; NUMBERS];
    for (number, column) in numbers.iter_mut().zip(COLUMNS) {
        *number = row.int(column)?;
    }
    let mut counts = Counts::from_numbers(&numbers);
    let reason = row.text("reason")?;
    if !reason.is_empty() {
        counts.reasons.insert(reason, counts.states[1]);
    }
    Ok(counts)
}
