//! The outbox as a stream: every event has a place in the stream of its desk, and is read on from a place by whoever is told of it.
//!
//! Places are given as the last step before a commit (see `placed`), under a lock on the stream that ends with it. So the order
//! of places is the order of commits, there is no gap, and whoever has read up to a place passes by nobody. An event is written once;
//! how far each reader has come, and the totals are one of them (see `sums`), is a mark beside it. An event goes once it is folded,
//! is old enough, and everybody who is to be told has been, or the longest time for that has passed.

use async_trait::async_trait;
use tokio::sync::watch;

use super::StoreError;
use super::dialect::{Sql, Value};
use super::sql::{Inner, SqlStore};
use super::tx::Tx;
use crate::domain::id::{DeskId, EventId};
use crate::domain::notice::Recorded;
use crate::domain::time::Timestamp;

const HEADS: Sql = Sql::both("select desk_id, seq from streams");
/// Also for desks that have no stream yet: they may have had one that is lost.
const LEAVE: Sql = Sql::both(
    "insert into streams (desk_id, seq) select id, cast($1 as bigint) from desks where true on conflict (desk_id) do update set \
     seq = streams.seq + excluded.seq",
);
const HEAD: Sql = Sql::both("select seq from streams where desk_id = $1");

/// The places of the first events from an instant on. Whoever was committed late has a place behind those that came after it.
const SINCE: Sql =
    Sql::both("select seq from events where desk_id = $1 and id >= $2 order by id limit 500");
const BEHIND: Sql = Sql::both(
    "select streams.desk_id, streams.seq as head, coalesce(m.seq, 0) as mark from streams \
     left join sink_marks m on m.desk_id = streams.desk_id and m.sink = $1 where streams.seq > coalesce(m.seq, 0)",
);
const MARK: Sql = Sql::both(
    "insert into sink_marks (desk_id, sink, seq) values ($1, $2, $3) on conflict (desk_id, sink) do update set \
     seq = excluded.seq where sink_marks.seq < excluded.seq",
);
/// The same from one place to another: touches nothing if somebody has moved it meanwhile.
const MOVE: Sql = Sql::both(
    "insert into sink_marks (desk_id, sink, seq) values ($1, $2, $4) on conflict (desk_id, sink) do update set \
     seq = excluded.seq where sink_marks.seq = $3",
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
     and seq <= $3 order by id limit $4)",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("outbox.heads", HEADS),
    ("outbox.head", HEAD),
    ("outbox.leave", LEAVE),
    ("outbox.since", SINCE),
    ("outbox.behind", BEHIND),
    ("outbox.mark", MARK),
    ("outbox.move", MOVE),
    ("outbox.told", TOLD),
    ("outbox.delete", DELETE),
];

/// The totals as one who reads the streams.
pub(super) const TOTALS: &str = "totals";

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
    /// Rung when events were committed here.
    fn news(&self) -> watch::Receiver<()>;
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
    fn news(&self) -> watch::Receiver<()> {
        self.inner.database.news().subscribe()
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
        self.inner.behind(sink).await
    }

    async fn mark_sink(&self, sink: &str, desk: DeskId, seq: i64) -> Result<(), StoreError> {
        let mut tx = self.inner.database.begin().await?;
        tx.mark(sink, desk, seq).await?;
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
            let (told, folded) = self.inner.told(desk, sinks).await?;
            for (age, up_to) in [(keeping.keep_ms, told), (keeping.longest_ms, folded)] {
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

    /// Desks of whose events this sink was not told.
    pub(super) async fn behind(&self, sink: &str) -> Result<Vec<Behind>, StoreError> {
        let rows = self.database.rows(BEHIND, &[Value::Text(sink)]).await?;
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

    /// Up to which place everybody was told who is to be told of a desk's events, and up to which they are folded.
    async fn told(&self, desk: DeskId, sinks: &[&str]) -> Result<(i64, i64), StoreError> {
        let (mut told, mut folded) = (i64::MAX, 0);
        let mut missing = sinks.to_vec();
        for row in self.database.rows(TOLD, &[Value::Id(desk.uuid())]).await? {
            let (name, seq) = (row.text("name")?, row.int("seq")?);
            match name.as_str() {
                TOTALS => folded = seq,
                name if name.is_empty() || sinks.contains(&name) => {
                    told = told.min(seq);
                    missing.retain(|sink| *sink != name);
                }
                // Marks of sinks that are not configured any more hold up nothing.
                _ => {}
            }
        }
        let told = if missing.is_empty() { told } else { 0 };
        Ok((told.min(folded), folded))
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

impl Tx {
    /// Notes that a sink has everything up to this place.
    pub(super) async fn mark(
        &mut self,
        sink: &str,
        desk: DeskId,
        seq: i64,
    ) -> Result<(), StoreError> {
        let values = [Value::Id(desk.uuid()), Value::Text(sink), Value::Int(seq)];
        self.execute(MARK, &values).await.map(|_| ())
    }

    /// Notes that a sink has everything from its mark up to this place; `false` if the mark stands elsewhere by now.
    pub(super) async fn move_mark(
        &mut self,
        sink: &str,
        behind: &Behind,
    ) -> Result<bool, StoreError> {
        let values = [
            Value::Id(behind.desk.uuid()),
            Value::Text(sink),
            Value::Int(behind.mark),
            Value::Int(behind.head),
        ];
        Ok(self.execute(MOVE, &values).await? > 0)
    }
}
