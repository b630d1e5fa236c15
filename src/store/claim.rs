//! Claims of what is due: a worker takes some for a short while. Measured on the database's clock.

use std::collections::HashMap;

use uuid::Uuid;

use super::carry::now;
use super::dialect::{Sql, Value};
use super::past::{self, Key};
use super::row::{self, request_columns};
use super::sql::Inner;
use super::{Claim, StoreError};
use crate::domain::delivery::DeliveryState;
use crate::domain::time::Timestamp;

/// A claim is held shortly: between it and the point of no return lies only the opening of the way to the provider.
const CLAIM_LEASE_MS: i64 = 15_000;

/// Rows of requests named by keys, a desk and an identifier in one piece: the values of `json_each`, or the elements of an array.
macro_rules! named {
    (sqlite) => {
        "(desk_id, id) in (select unhex(substr(value, 1, 32)), unhex(substr(value, 33)) from json_each($1))"
    };
    (postgres) => {
        "requests.desk_id = cast(encode(substring(k.v from 1 for 16), 'hex') as uuid) \
         and requests.id = cast(encode(substring(k.v from 17), 'hex') as uuid)"
    };
}

/// What is due in one channel: the index is read from its beginning and no further than the limit, however much waits behind it.
/// What belongs to a paused desk stays where it is. `skip locked` is only speed; without it claims wait for each other, always in
/// the same order.
macro_rules! due {
    ($order:literal) => {
        concat!(
            "select desk_id, id, next_at from requests where delivery = 'queued' and channel = $1 and next_at <= $2 \
             and desk_id not in (select desks.id from desks where desks.paused_at > 0) order by ",
            $order
        )
    };
}

const DUE: Sql = Sql::each(
    due!("next_at limit $3"),
    due!("next_at limit $3 for update skip locked"),
);
const DUE_PLAINLY: Sql = Sql::both(due!("next_at, desk_id, id limit $3"));

/// The condition on the state stands twice, here and where the rows were chosen: without it concurrent claims take the same rows.
const CLAIM: Sql = Sql::each(
    concat!(
        "update or fail requests set delivery = 'claimed', lease_owner = $2, lease_until = ",
        now!(sqlite),
        " + $3, fence = fence + 1 where ",
        named!(sqlite),
        " and delivery = 'queued' returning desk_id, id, fence"
    ),
    concat!(
        "update requests set delivery = 'claimed', lease_owner = $2, lease_until = ",
        now!(postgres),
        " + $3, fence = fence + 1 from unnest($1::bytea[]) k(v) where ",
        named!(postgres),
        // No column, so that PostgreSQL finds each by its key, and not in the index of all that waits.
        " and requests.delivery || '' = 'queued' returning requests.desk_id, requests.id, requests.fence"
    ),
);
const CLAIMED: Sql = Sql::each(
    concat!(
        "select ",
        request_columns!(),
        " from requests where ",
        named!(sqlite)
    ),
    concat!(
        "select ",
        request_columns!(),
        " from unnest($1::bytea[]) k(v) join requests on ",
        named!(postgres)
    ),
);

pub(super) use named;

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("claim.due", DUE),
    ("claim.due_plainly", DUE_PLAINLY),
    ("claim.claim", CLAIM),
    ("claim.claimed", CLAIMED),
];

impl Inner {
    pub(super) async fn claim_deliveries(
        &self,
        owner: &str,
        channels: &[&str],
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        let mut tx = self.database.begin().await?;
        let mut due = Vec::new();
        let choice = if self.skip_locked { DUE } else { DUE_PLAINLY };
        for channel in channels {
            let values = [
                Value::Text(channel),
                Value::Int(now.as_millis()),
                Value::Int(limit),
            ];
            for row in tx.rows(choice, &values).await? {
                let key = past::key(row.id("desk_id")?, row.id("id")?.as_bytes());
                due.push((row.int("next_at")?, key));
            }
        }
        // Of all channels together, those that have waited longest.
        due.sort_unstable();
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        if due.is_empty() {
            tx.rollback().await?;
            return Ok(Vec::new());
        }
        let mut keys: Vec<Key> = due.into_iter().map(|(_, key)| key).collect();
        keys.sort_unstable();
        let values = [
            Value::Keys(&keys),
            Value::Text(owner),
            Value::Int(self.lease_ms.min(CLAIM_LEASE_MS)),
        ];
        let (mut claimed, mut fences) = (Vec::new(), HashMap::new());
        for row in tx.rows(CLAIM, &values).await? {
            let id = row.id("id")?;
            claimed.push(past::key(row.id("desk_id")?, id.as_bytes()));
            fences.insert(id, row.int("fence")?);
        }
        tx.commit().await?;
        self.claimed(&claimed, &fences).await
    }

    /// What was claimed, read once others may write again. Whatever moved meanwhile is nobody's claim any more.
    async fn claimed(
        &self,
        keys: &[Key],
        fences: &HashMap<Uuid, i64>,
    ) -> Result<Vec<Claim>, StoreError> {
        let mut claims = Vec::with_capacity(keys.len());
        for row in self.database.rows(CLAIMED, &[Value::Keys(keys)]).await? {
            let (id, fence) = (row.id("id")?, row.int("fence")?);
            // One that cannot be read stays claimed until its lease ends.
            let Some(request) = row::readable(id, row::request(&row, &self.keys))? else {
                continue;
            };
            if request.delivery == DeliveryState::Claimed && fences.get(&id) == Some(&fence) {
                claims.push(Claim { request, fence });
            }
        }
        Ok(claims)
    }
}
