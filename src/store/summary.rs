//! Answers about groups of requests: kept sums and what is not folded yet, read in one snapshot.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use super::dialect::{Row, Sql, Value};
use super::rollup::{COLUMNS, delta, place_columns, since, spot};
use super::sql::{Inner, SqlStore};
use super::sums::unfolded;
use crate::domain::id::DeskId;
use crate::domain::statistics::counts::{Counts, NUMBERS};
use crate::domain::statistics::grouping::{
    DAY_MS, Dimension, GROUPINGS_MAX, LEVELS, Question, Stretch,
};
use crate::domain::time::Timestamp;

/// One group of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What its requests have in common, in the order of the question.
    pub by: Vec<String>,
    /// The channel; a group of the question is one for each of its channels.
    pub channel: String,
    /// The border that its time begins with, in milliseconds; 0 if the answer is not divided in time.
    pub slot: i64,
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

    /// The day of UTC before which a desk has no results; `None` if it has none at all.
    async fn first_day(&self, desk: DeskId) -> Result<Option<Timestamp>, StoreError>;
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

    async fn first_day(&self, desk: DeskId) -> Result<Option<Timestamp>, StoreError> {
        self.inner.first_day(desk).await
    }
}

/// The parts of an answer, each a JSON array.
macro_rules! parts {
    (sqlite) => {
        "json_extract(value, '$[0]') as part, json_extract(value, '$[1]') as since, json_extract(value, '$[2]') as till, \
         json_extract(value, '$[3]') as slot, json_extract(value, '$[4]') as less from json_each($2)"
    };
    (postgres) => {
        "cast(w::json ->> 0 as bigint) as part, cast(w::json ->> 1 as bigint) as since, cast(w::json ->> 2 as bigint) as till, \
         cast(w::json ->> 3 as bigint) as slot, cast(w::json ->> 4 as bigint) as less from unnest(cast($2 as text[])) w"
    };
}

/// A number chooses the column of each of three groups, and an empty text lets any value pass: one constant for every question.
/// What is read whole and taken away again is a row of its own, so that what comes back is as small as the answer.
macro_rules! sums {
    ($dialect:ident, $from:literal, $end:literal) => {
        concat!(
            "with parts as materialized (select ",
            parts!($dialect),
            ") select case cast($3 as bigint) when 1 then channel when 2 then team when 3 then queue when 4 then touchpoint when 5 then phase \
     when 6 then language when 7 then agent when 8 then topic when 9 then wording else '' end as g1, case cast($4 as bigint) when 1 \
     then channel when 2 then team when 3 then queue when 4 then touchpoint when 5 then phase when 6 then language \
     when 7 then agent when 8 then topic when 9 then wording else '' end as g2, case cast($5 as bigint) when 1 then channel when 2 \
     then team when 3 then queue when 4 then touchpoint when 5 then phase when 6 then language when 7 then agent when \
     8 then topic when 9 then wording else '' end as g3, slot, less, rollups.channel as in_channel, reason, \
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
     as bigint) as t21 from ",
            $from,
            " ($6 = '' or channel = $6) and ($7 = '' or team = $7) and ($8 = '' or queue = $8) and ($9 = '' or touchpoint = $9) \
     and ($10 = '' or phase = $10) and ($11 = '' or language = $11) and ($12 = '' or agent = $12) and ($13 = '' or topic = $13) \
     and ($14 = '' or wording = $14) ",
            $end,
            " group by 1, 2, 3, 4, 5, 6, 7 limit 50001"
        )
    };
}

/// The parts are read one after the other, each by its place in the key: PostgreSQL, which does not know how short they are, would
/// rather read all of the table once.
const SUMS: Sql = Sql::each(
    sums!(
        sqlite,
        "parts cross join rollups on desk_id = $1 and level = parts.part and at >= parts.since and at < parts.till where",
        ""
    ),
    sums!(
        postgres,
        "parts cross join lateral (select * from rollups where desk_id = $1 and level = parts.part and at >= parts.since and at < parts.till and",
        "offset 0) rollups"
    ),
);
/// The same for one agent and parts of which each is one row's time.
const SUMS_OF_ONE: Sql = Sql::each(
    sums!(
        sqlite,
        "parts cross join rollups on desk_id = $1 and level = parts.part and at = parts.since and agent = $12 where",
        ""
    ),
    sums!(
        postgres,
        "parts cross join lateral (select * from rollups where desk_id = $1 and level = parts.part and at = parts.since and agent = $12 and",
        "offset 0) rollups"
    ),
);
/// Requests may be gone by now, and sums do not know what is pending.
const FIRST: Sql = Sql::both(
    "select cast(coalesce(min(at), 0) as bigint) as at from (select at from (select at from rollups where desk_id = $1 and level = 1 \
     order by desk_id, level, at limit 1) t union all select at from (select created_at as at from requests where desk_id = $1 \
     order by desk_id, id limit 1) t) t",
);
macro_rules! pending {
    ($database:ident) => {
        concat!(
            "select e.kind, e.entered, e.reason, e.score, e.bucket, e.elapsed_ms, requests.created_at, ",
            place_columns!(),
            " from ",
            unfolded!($database),
            " join requests on requests.desk_id = e.desk_id and requests.id = e.request_id \
             left join ratings g on g.desk_id = requests.desk_id and g.request_id = requests.id \
             where s.desk_id = $1 and requests.created_at > ",
            since!()
        )
    };
}

const PENDING: Sql = Sql::each(pending!(sqlite), pending!(postgres));

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("summary.sums", SUMS),
    ("summary.sums_of_one", SUMS_OF_ONE),
    ("summary.first", FIRST),
    ("summary.pending", PENDING),
];

/// Milliseconds of more than a hundred thousand years.
const AGES_MS: i64 = 1 << 52;
/// Days or half hours of a part that are looked up one by one.
const SINGLE_MAX: i64 = 4_000;
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
                let channel = spot.place[Dimension::Channel.place()].clone();
                let key = (by.collect(), question.slot_of(spot.created_at), channel);
                let (_, counts) = delta(&row, spot.grade)?;
                groups.entry(key).or_default().add(&counts);
            }
        }
        let parts = question.stretches();
        let one = question.only.contains_key(&Dimension::Agent);
        let single = if one { single(&parts) } else { None };
        let statement = if single.is_some() { SUMS_OF_ONE } else { SUMS };
        let parts = single.unwrap_or(parts);
        let parts: Vec<String> = parts.iter().map(words).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let rows = tx.rows(statement, &values(desk, question, &parts)).await?;
        if rows.len() + groups.len() > GROUPS_MAX {
            return Ok(None);
        }
        for row in rows {
            let by = ["g1", "g2", "g3"].into_iter().take(question.by.len());
            let by: Vec<String> = by.map(|group| row.text(group)).collect::<Result<_, _>>()?;
            let counts = counts(&row)?;
            let key = (by, row.int("slot")?, row.text("in_channel")?);
            groups.entry(key).or_default().add(&counts);
        }
        tx.rollback().await?;
        let groups = groups.into_iter().map(|((by, slot, channel), mut counts)| {
            counts.reasons.retain(|_, n| *n != 0);
            Group {
                by,
                channel,
                slot,
                counts,
            }
        });
        // Of a day that was read whole nothing may be left.
        let some = groups.filter(|group| !group.counts.is_empty());
        Ok(Some(some.collect()))
    }

    async fn first_day(&self, desk: DeskId) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.database.rows(FIRST, &[Value::Id(desk.uuid())]).await?;
        let at = rows.first().map_or(Ok(0), |row| row.int("at"))?;
        Ok((at > 0).then(|| Timestamp::from_millis(at - at.rem_euclid(DAY_MS))))
    }
}

/// The same parts cut into single days and half hours, as they are kept; `None` if that makes too many, or one has no beginning or no
/// end.
fn single(parts: &[Stretch]) -> Option<Vec<Stretch>> {
    let mut single = Vec::new();
    for part in parts {
        let level = LEVELS.iter().find(|level| level.code == part.level)?;
        let mut from = part.from;
        if from < -AGES_MS || part.to > AGES_MS || (part.to - from) / level.span_ms > SINGLE_MAX {
            return None;
        }
        while from < part.to {
            let to = from + level.span_ms;
            single.push(Stretch { from, to, ..*part });
            from = to;
        }
    }
    Some(single)
}

/// A part as the statement reads it.
fn words(part: &Stretch) -> String {
    let Stretch {
        level,
        from,
        to,
        slot,
        less,
    } = part;
    // Far beyond any time, and numbers that every reader of JSON keeps whole.
    let (from, to) = (from.max(&-AGES_MS), to.min(&AGES_MS));
    format!("[{level}, {from}, {to}, {slot}, {}]", i64::from(*less))
}

fn values<'a>(desk: DeskId, question: &'a Question, parts: &'a [&'a str]) -> Vec<Value<'a>> {
    let mut values = vec![Value::Id(desk.uuid()), Value::Words(parts)];
    for at in 0..GROUPINGS_MAX {
        let chosen = question.by.get(at).map_or(0, |chosen| chosen.place() + 1);
        values.push(Value::Int(i64::try_from(chosen).unwrap_or(0)));
    }
    for dimension in Dimension::ALL {
        let wanted = question.only.get(&dimension);
        values.push(Value::Text(wanted.map_or("", String::as_str)));
    }
    values
}

fn counts(row: &Row) -> Result<Counts, StoreError> {
    let sign = if row.int("less")? == 0 { 1 } else { -1 };
    let mut numbers = [0; NUMBERS];
    for (number, column) in numbers.iter_mut().zip(COLUMNS) {
        *number = sign * row.int(column)?;
    }
    let mut counts = Counts::from_numbers(&numbers);
    let reason = row.text("reason")?;
    if !reason.is_empty() {
        counts.reasons.insert(reason, counts.states[1]);
    }
    Ok(counts)
}
