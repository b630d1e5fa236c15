//! The outbox as a stream: every event gets the next place in the stream of its desk once it is committed, and is read on from a
//! place by whoever is told of it.
//!
//! Places are given here and nowhere else, in small batches, by the replica with that duty. Whoever is committed late gets a later
//! place and is passed by by nobody. Folding into totals is another matter (see `sums`): an event goes once it is folded, has its
//! place, is old enough, and everybody who is to be told has been, or the longest time for that has passed.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use super::dialect::{Sql, Value};
use super::sql::{Inner, SqlStore};
use crate::domain::id::{DeskId, EventId};
use crate::domain::notice::Recorded;
use crate::domain::time::Timestamp;

const UNPLACED: Sql =
    Sql::both("select desk_id, id, at from events where seq = 0 order by id limit $1");
const OLDEST_UNPLACED: Sql = Sql::both("select at from events where seq = 0 order by id limit 1");
/// Locks the stream of the desk until the commit.
const NEXT: Sql = Sql::both(
    "insert into streams (desk_id, seq) values ($1, $2) on conflict (desk_id) do update set seq = streams.seq + excluded.seq \
     returning seq",
);
/// The plus keeps SQLite from reading all events of the desk: each is found in the index of those without a place. PostgreSQL
/// would read that index whole, with all that is dead in it: the sum keeps it from there, and for the range see `bulk`.
const PLACE: Sql = Sql::each(
    "update or fail events set seq = $2 + json_each.key + 1 from json_each($3) where +events.desk_id = $1 \
     and events.id = unhex(json_each.value) and events.seq = 0",
    "update events set seq = $2 + u.n from unnest($3::uuid[]) with ordinality u (id, n) where events.desk_id = $1 \
     and events.id = u.id and events.seq + 0 = 0 and u.n between 1 and 1000000",
);
const HEADS: Sql = Sql::both("select desk_id, seq from streams");
/// Also for desks that have no stream yet: they may have had one that is lost.
const LEAVE: Sql = Sql::both(
    "insert into streams (desk_id, seq) select id, cast($1 as bigint) from desks where true on conflict (desk_id) do update set \
     seq = streams.seq + excluded.seq",
);
const HEAD: Sql = Sql::both("select seq from streams where desk_id = $1");

/// The places of the first events from an instant on. Whoever was committed late has a place behind those that came after it.
const SINCE: Sql = Sql::both(
    "select seq from events where desk_id = $1 and id >= $2 and seq > 0 order by id limit 500",
);
const BEHIND: Sql = Sql::both(
    "select streams.desk_id, streams.seq as head, coalesce(m.seq, 0) as mark from streams \
     left join sink_marks m on m.desk_id = streams.desk_id and m.sink = $1 where streams.seq > coalesce(m.seq, 0)",
);
const MARK: Sql = Sql::both(
    "insert into sink_marks (desk_id, sink, seq) values ($1, $2, $3) on conflict (desk_id, sink) do update set \
     seq = excluded.seq where sink_marks.seq < excluded.seq",
);
/// What somebody is still to be told of begins behind these places.
const TOLD: Sql = Sql::both(
    "select sink as name, seq from sink_marks where desk_id = $1 \
     union all select '' as name, mark from webhooks where desk_id = $1 and state = 'enabled' \
     union all select '' as name, min(r.seq) - 1 from webhook_retries r join webhooks w on w.desk_id = r.desk_id \
     and w.id = r.webhook_id where r.desk_id = $1 and w.state = 'enabled' having count(*) > 0",
);
const DELETE: Sql = Sql::both(
    "delete from events where desk_id = $1 and id in (select id from events where desk_id = $1 and id < $2 \
     and folded = 1 and seq > 0 and seq <= $3 order by id limit $4)",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("outbox.unplaced", UNPLACED),
    ("outbox.oldest_unplaced", OLDEST_UNPLACED),
    ("outbox.next", NEXT),
    ("outbox.place", PLACE),
    ("outbox.heads", HEADS),
    ("outbox.head", HEAD),
    ("outbox.leave", LEAVE),
    ("outbox.since", SINCE),
    ("outbox.behind", BEHIND),
    ("outbox.mark", MARK),
    ("outbox.told", TOLD),
    ("outbox.delete", DELETE),
];

/// How far a sink is behind in the stream of a desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// The desk.
    pub desk: DeskId,
    /// The last place that the sink has.
    pub mark: i64,
    /// The last place that there is.
    pub head: i64,
}

/// For how long events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// Milliseconds for which every event is kept.
    pub keep_ms: i64,
    /// Milliseconds after which an event goes even if somebody was never told of it.
    pub longest_ms: i64,
}

/// The events as streams.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Gives up to `limit` committed events their places; the instants at which they happened.
    async fn place_events(&self, limit: i64) -> Result<Vec<Timestamp>, StoreError>;
    /// When the oldest event happened that has no place yet.
    async fn oldest_unplaced(&self) -> Result<Option<Timestamp>, StoreError>;
    /// The last place of every stream.
    async fn heads(&self) -> Result<Vec<(DeskId, i64)>, StoreError>;
    /// The last place of the stream of a desk; 0 if nothing happened yet.
    async fn head(&self, desk: DeskId) -> Result<i64, StoreError>;
    /// Leaves so many places free in the stream of every desk: places that were given before and are lost are not given again.
    async fn leave_places(&self, count: i64) -> Result<(), StoreError>;
    /// Events behind the place `after`, in their order: some of them, and none only if there are none.
    async fn events(
        &self,
        desk: DeskId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, StoreError>;
    /// The place before the first event that happened at `at` or later.
    async fn place_before(&self, desk: DeskId, at: Timestamp) -> Result<i64, StoreError>;
    /// The desks of whose events this sink was not told.
    async fn behind(&self, sink: &str) -> Result<Vec<Behind>, StoreError>;
    /// Notes that a sink was told of everything up to this place.
    async fn mark_sink(&self, sink: &str, desk: DeskId, seq: i64) -> Result<(), StoreError>;
    /// Deletes old events that everybody was told of, among them these sinks; how many. At most `limit` for each desk.
    async fn prune_events(
        &self,
        keeping: Keeping,
        sinks: &[&str],
        now: Timestamp,
        limit: i64,
    ) -> Result<u64, StoreError>;
}

#[async_trait]
impl Outbox for SqlStore {
    async fn place_events(&self, limit: i64) -> Result<Vec<Timestamp>, StoreError> {
        self.inner.place_events(limit).await
    }

    async fn oldest_unplaced(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = self.inner.database.row(OLDEST_UNPLACED, &[]).await?;
        row.map(|row| row.int("at").map(Timestamp::from_millis))
            .transpose()
    }

    async fn heads(&self) -> Result<Vec<(DeskId, i64)>, StoreError> {
        let rows = self.inner.database.rows(HEADS, &[]).await?;
        rows.iter()
            .map(|row| Ok((DeskId::from_uuid(row.id("desk_id")?), row.int("seq")?)))
            .collect()
    }

    async fn head(&self, desk: DeskId) -> Result<i64, StoreError> {
        self.inner.head(desk).await
    }

    async fn leave_places(&self, count: i64) -> Result<(), StoreError> {
        let mut tx = self.inner.database.begin().await?;
        tx.execute(LEAVE, &[Value::Int(count)]).await?;
        tx.commit().await
    }

    async fn events(
        &self,
        desk: DeskId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.inner.events_after(desk, after, limit).await
    }

    async fn place_before(&self, desk: DeskId, at: Timestamp) -> Result<i64, StoreError> {
        let first = EventId::new(at, [0; 10]);
        let keys = [Value::Id(desk.uuid()), Value::Id(first.uuid())];
        let rows = self.inner.database.rows(SINCE, &keys).await?;
        let mut before = self.head(desk).await?;
        for row in rows {
            before = before.min(row.int("seq")? - 1);
        }
        Ok(before)
    }

    async fn behind(&self, sink: &str) -> Result<Vec<Behind>, StoreError> {
        let rows = self
            .inner
            .database
            .rows(BEHIND, &[Value::Text(sink)])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Behind {
                    desk: DeskId::from_uuid(row.id("desk_id")?),
                    mark: row.int("mark")?,
                    head: row.int("head")?,
                })
            })
            .collect()
    }

    async fn mark_sink(&self, sink: &str, desk: DeskId, seq: i64) -> Result<(), StoreError> {
        let mut tx = self.inner.database.begin().await?;
        let values = [Value::Id(desk.uuid()), Value::Text(sink), Value::Int(seq)];
        tx.execute(MARK, &values).await?;
        tx.commit().await
    }

    async fn prune_events(
        &self,
        keeping: Keeping,
        sinks: &[&str],
        now: Timestamp,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let mut gone = 0;
        for (desk, _) in self.heads().await? {
            let told = self.inner.told(desk, sinks).await?;
            for (age, up_to) in [(keeping.keep_ms, told), (keeping.longest_ms, i64::MAX)] {
                let before = EventId::new(now.plus_millis(-age), [0; 10]);
                gone += self.inner.delete_events(desk, before, up_to, limit).await?;
            }
        }
        Ok(gone)
    }
}

impl Inner {
    pub(super) async fn head(&self, desk: DeskId) -> Result<i64, StoreError> {
        let keys = [Value::Id(desk.uuid())];
        let row = self.database.row(HEAD, &keys).await?;
        row.map_or(Ok(0), |row| row.int("seq"))
    }

    async fn place_events(&self, limit: i64) -> Result<Vec<Timestamp>, StoreError> {
        // Most looks find nothing, and looking alone is no transaction that writes.
        if self
            .database
            .rows(UNPLACED, &[Value::Int(1)])
            .await?
            .is_empty()
        {
            return Ok(Vec::new());
        }
        let mut tx = self.database.begin().await?;
        let mut by_desk: BTreeMap<uuid::Uuid, Vec<uuid::Uuid>> = BTreeMap::new();
        let mut placed = Vec::new();
        for row in tx.rows(UNPLACED, &[Value::Int(limit)]).await? {
            let ids = by_desk.entry(row.id("desk_id")?).or_default();
            ids.push(row.id("id")?);
            placed.push(Timestamp::from_millis(row.int("at")?));
        }
        for (desk, ids) in &by_desk {
            let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
            let values = [Value::Id(*desk), Value::Int(count)];
            let last = tx.row(NEXT, &values).await?.ok_or(StoreError::Conflict)?;
            let before = last.int("seq")? - count;
            let values = [Value::Id(*desk), Value::Int(before), Value::Ids(ids)];
            // Somebody else gave some of them their places: nothing of this counts, so that no place stays empty.
            if tx.execute(PLACE, &values).await? != ids.len() as u64 {
                return Err(StoreError::Conflict);
            }
        }
        tx.commit().await?;
        Ok(placed)
    }

    /// Up to which place everybody was told who is to be told of a desk's events.
    async fn told(&self, desk: DeskId, sinks: &[&str]) -> Result<i64, StoreError> {
        let mut told = i64::MAX;
        let mut missing = sinks.to_vec();
        for row in self.database.rows(TOLD, &[Value::Id(desk.uuid())]).await? {
            let (name, seq) = (row.text("name")?, row.int("seq")?);
            // Marks of sinks that are not configured any more hold up nothing.
            if name.is_empty() || sinks.contains(&name.as_str()) {
                told = told.min(seq);
                missing.retain(|sink| *sink != name);
            }
        }
        Ok(if missing.is_empty() { told } else { 0 })
    }

    async fn delete_events(
        &self,
        desk: DeskId,
        before: EventId,
        up_to: i64,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.database.begin().await?;
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(before.uuid()),
            Value::Int(up_to),
            Value::Int(limit),
        ];
        let gone = tx.execute(DELETE, &values).await?;
        tx.commit().await?;
        Ok(gone)
    }
}
