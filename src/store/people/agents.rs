//! Forgetting who served in the sums: what was a single agent's goes to nobody's, a few hundred rows at a time.
//!
//! An exclusion or an answer may still come to a conversation whose agent is forgotten. So a desk has one border in time: sums of
//! conversations before it take no agent any more, whatever their rows say. The border moves first, under a lock that whoever folds
//! waits for; from then on nobody writes to a sum that is about to be taken apart, and no sum falls below zero.

use std::collections::BTreeMap;

use super::walk::Walk;
use crate::domain::id::DeskId;
use crate::domain::statistics::counts::NUMBERS;
use crate::domain::statistics::grouping::{DAY_MS, Dimension, LEVELS, Level};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::bulk::owned;
use crate::store::dialect::{Row, Sql, Value};
use crate::store::rollup::{ADD, COLUMNS};
use crate::store::sql::Inner;

const BORDER: Sql =
    Sql::both("update desks set agents_until = $2 where id = $1 and agents_until < $2");
const NAMED: Sql = Sql::both(
    "select * from rollups where desk_id = $1 and level = $2 and at >= $3 and at < $4 and agent <> '' order by at limit $5",
);
const TAKE: Sql = Sql::both(
    "delete from rollups where desk_id = $1 and level = $2 and at = $3 and channel = $4 and team = $5 and queue = $6 \
     and touchpoint = $7 and phase = $8 and language = $9 and agent = $10 and topic = $11 and wording = $12 and reason = $13",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("agents.border", BORDER),
    ("agents.named", NAMED),
    ("agents.take", TAKE),
];

/// What a sum is of: its time, its dimensions without the agent, and the reason.
type Key = (i64, [String; Dimension::ALL.len()], String);

impl Inner {
    /// One step; whether there is more. Sums are of whole days, so agents are forgotten up to a day earlier than everything else.
    pub(super) async fn forget_agents(
        &self,
        desk: DeskId,
        before: Timestamp,
        limit: i64,
    ) -> Result<bool, StoreError> {
        let days = (before.as_millis() + DAY_MS - 1).div_euclid(DAY_MS);
        let border = days * DAY_MS;
        let mut tx = self.database.begin().await?;
        let values = [Value::Id(desk.uuid()), Value::Int(border)];
        tx.execute(BORDER, &values).await?;
        tx.commit().await?;
        let mut more = false;
        for level in LEVELS.iter().filter(|level| level.knows(Dimension::Agent)) {
            more |= self.forget_on_level(desk, level, border, limit).await?;
        }
        Ok(more)
    }

    async fn forget_on_level(
        &self,
        desk: DeskId,
        level: &Level,
        border: i64,
        limit: i64,
    ) -> Result<bool, StoreError> {
        let name = format!("agents_{}", level.code);
        let mut walk = self.walk(desk, &name).await?;
        let begin = <[u8; 8]>::try_from(&walk.reached[..]).map_or(i64::MIN, i64::from_be_bytes);
        let mut tx = self.database.begin().await?;
        let values = [
            Value::Id(desk.uuid()),
            Value::Int(level.code),
            Value::Int(begin),
            Value::Int(border),
            Value::Int(limit),
        ];
        let rows = tx.rows(NAMED, &values).await?;
        let Some(last) = rows.last() else {
            tx.rollback().await?;
            return Ok(false);
        };
        let last = last.int("at")?;
        let mut sums: BTreeMap<Key, [i64; NUMBERS]> = BTreeMap::new();
        for row in &rows {
            let (at, mut place, reason) = key(row)?;
            let mut values = vec![values[0], values[1], Value::Int(at)];
            values.extend(place.iter().map(|text| Value::Text(text)));
            values.push(Value::Text(&reason));
            // Somebody else may be at the same step.
            if tx.execute(TAKE, &values).await? == 0 {
                continue;
            }
            place[Dimension::Agent.place()].clear();
            let sum = sums.entry((at, place, reason)).or_insert([0; NUMBERS]);
            for (number, column) in sum.iter_mut().zip(COLUMNS) {
                *number += row.int(column)?;
            }
        }
        let sums: Vec<_> = sums
            .iter()
            .map(|((at, place, reason), numbers)| {
                let mut values = vec![values[0], values[1], Value::Int(*at)];
                values.extend(place.iter().map(|text| Value::Text(text)));
                values.push(Value::Text(reason));
                values.extend(numbers.iter().copied().map(Value::Int));
                owned(&values)
            })
            .collect();
        tx.insert_all(ADD, sums).await?;
        walk = Walk {
            reached: last.to_be_bytes().to_vec(),
            ..walk
        };
        self.save_walk(&mut tx, desk, &name, &walk).await?;
        tx.commit().await?;
        Ok(rows.len() as u64 >= limit.unsigned_abs())
    }
}

fn key(row: &Row) -> Result<Key, StoreError> {
    let mut place = <[String; Dimension::ALL.len()]>::default();
    for dimension in Dimension::ALL {
        place[dimension.place()] = row.text(dimension.as_str())?;
    }
    Ok((row.int("at")?, place, row.text("reason")?))
}
