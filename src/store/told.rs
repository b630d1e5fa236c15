//! Reading events from a place of their stream on, each with what is to be told of it: its words opened, its rating, and its request as
//! it stands now. Events of low scores come with what is done about them.

use std::collections::HashMap;

use super::StoreError;
use super::dialect::{Row, Sql, Value};
use super::follow;
use super::row::{self, place, readable, request_columns};
use super::sql::Inner;
use crate::domain::event::EventKind;
use crate::domain::follow_up::FollowUpState;
use crate::domain::id::{DeskId, EventId, FollowUpId, RatingId, RequestId};
use crate::domain::notice::Recorded;
use crate::domain::rating::{Grade, Score};
use crate::domain::request::Request;
use crate::domain::time::Timestamp;

macro_rules! events_where {
    ($sqlite:literal, $postgres:literal) => {
        Sql::each(events_where!(@ $sqlite), events_where!(@ $postgres))
    };
    (@ $tail:literal) => {
        concat!(
            "select e.id, e.seq, e.kind, e.at, e.request_id, e.reason, e.score, e.elapsed_ms, e.detail, d.slug, \
             coalesce(g.id, e.desk_id) as rating_id, coalesce(g.grade, '') as grade from events e \
             join desks d on d.id = e.desk_id \
             left join ratings g on g.desk_id = e.desk_id and g.request_id = e.request_id \
             where e.desk_id = $1 and ",
            $tail,
            " order by e.seq"
        )
    };
}

const AFTER: Sql = events_where!(
    "e.seq > $2 and e.seq > 0 and e.seq <= $2 + $3",
    "e.seq > $2 and e.seq > 0 and e.seq <= $2 + $3"
);
const AT: Sql = events_where!(
    "e.seq in (select cast(value as integer) from json_each($2)) and e.seq > 0",
    "e.seq = any($2::text[]::bigint[]) and e.seq > 0"
);
/// Where reading goes on when places are missing because old events are gone.
const NEXT_KEPT: Sql = Sql::both(
    "select seq from events where desk_id = $1 and seq > $2 and seq > 0 order by seq limit 1",
);
const REQUESTS: Sql = Sql::each(
    concat!(
        "select ",
        request_columns!(),
        " from requests where requests.desk_id = $1 and requests.id in (select unhex(value) from json_each($2))"
    ),
    concat!(
        "select ",
        request_columns!(),
        " from requests where requests.desk_id = $1 and requests.id in \
         (select encode(u.id, 'hex')::uuid from unnest($2::bytea[]) u (id))"
    ),
);
/// Only looked for where one of the events is about a low score. SQLite would rather read all follow-ups of the desk.
const CARED: Sql = Sql::each(
    "select id, rating_id, state as follow_state, owner, opened_at from follow_ups indexed by follow_ups_rating \
     where desk_id = $1 and rating_id in (select unhex(value) from json_each($2))",
    "select id, rating_id, state as follow_state, owner, opened_at from follow_ups \
     where desk_id = $1 and rating_id in (select encode(u.id, 'hex')::uuid from unnest($2::bytea[]) u (id))",
);
#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("told.after", AFTER),
    ("told.at", AT),
    ("told.next_kept", NEXT_KEPT),
    ("told.requests", REQUESTS),
    ("told.cared", CARED),
];

impl Inner {
    pub(super) async fn events_after(
        &self,
        desk: DeskId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, StoreError> {
        let desk_id = Value::Id(desk.uuid());
        let from = |after| [desk_id, Value::Int(after), Value::Int(limit)];
        // Anybody may ask for what comes after any place.
        let mut after = after.min(i64::MAX - limit);
        loop {
            let mut rows = self.database.rows(AFTER, &from(after)).await?;
            if rows.is_empty() {
                let next = [desk_id, Value::Int(after)];
                if let Some(next) = self.database.row(NEXT_KEPT, &next).await? {
                    rows = self
                        .database
                        .rows(AFTER, &from(next.int("seq")? - 1))
                        .await?;
                }
            }
            let recorded = self.recorded(desk, &rows).await?;
            match rows.last() {
                // Nothing but kinds of a newer version: what comes behind them is told.
                Some(last) if recorded.is_empty() => after = last.int("seq")?,
                _ => return Ok(recorded),
            }
        }
    }

    /// The events at these places, as far as they are still kept.
    pub(super) async fn events_at(
        &self,
        desk: DeskId,
        places: &[i64],
    ) -> Result<Vec<Recorded>, StoreError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = places.iter().map(i64::to_string).collect();
        let words: Vec<&str> = texts.iter().map(String::as_str).collect();
        let values = [Value::Id(desk.uuid()), Value::Words(&words)];
        let rows = self.database.rows(AT, &values).await?;
        self.recorded(desk, &rows).await
    }

    async fn recorded(&self, desk: DeskId, rows: &[Row]) -> Result<Vec<Recorded>, StoreError> {
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            ids.push(row.id("request_id")?.into_bytes());
        }
        ids.sort_unstable();
        ids.dedup();
        let mut requests: HashMap<uuid::Uuid, Request> = HashMap::new();
        if !ids.is_empty() {
            let values = [Value::Id(desk.uuid()), Value::Set(&ids)];
            for row in self.database.rows(REQUESTS, &values).await? {
                let id = row.id("id")?;
                // One request that cannot be read does not hold up the stream; its events are told without it.
                if let Some(request) = readable(id, row::request(&row, &self.keys))? {
                    requests.insert(id, request);
                }
            }
        }
        let recorded: Result<Vec<_>, _> = rows
            .iter()
            .filter_map(|row| self.event(desk, row, &requests).transpose())
            .collect();
        self.with_follow_ups(desk, recorded?).await
    }

    /// The same events; those about a low score with what is done about it. A rating that was corrected and is low again has several:
    /// the last one that was there when the event happened is meant.
    async fn with_follow_ups(
        &self,
        desk: DeskId,
        mut recorded: Vec<Recorded>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let mut ratings: Vec<_> = recorded.iter().filter_map(low_rating).collect();
        ratings.sort_unstable();
        ratings.dedup();
        if ratings.is_empty() {
            return Ok(recorded);
        }
        let values = [Value::Id(desk.uuid()), Value::Set(&ratings)];
        let mut found: HashMap<[u8; 16], Vec<Cared>> = HashMap::new();
        for row in self.database.rows(CARED, &values).await? {
            let cared = Cared {
                opened_at: row.int("opened_at")?,
                id: row.id("id")?,
                state: follow::state(&row, "follow_state")?,
                owner: row.text("owner")?,
            };
            let of_one = found.entry(row.id("rating_id")?.into_bytes()).or_default();
            of_one.push(cared);
        }
        for of_one in found.values_mut() {
            of_one.sort_by_key(|cared| cared.id);
        }
        for event in &mut recorded {
            let of_one = low_rating(event).and_then(|rating| found.get(&rating));
            let then = of_one.and_then(|all| {
                let at = event.at.as_millis();
                let then = all.iter().rfind(|cared| cared.opened_at <= at);
                // Clocks of replicas differ a little.
                then.or_else(|| all.first())
            });
            event.follow_up = then.map(|cared| {
                (
                    FollowUpId::from_uuid(cared.id),
                    cared.state,
                    cared.owner.clone(),
                )
            });
        }
        Ok(recorded)
    }

    /// An event; `None` if a newer version wrote it with a word that this one does not know.
    fn event(
        &self,
        desk: DeskId,
        row: &Row,
        requests: &HashMap<uuid::Uuid, Request>,
    ) -> Result<Option<Recorded>, StoreError> {
        let (id, about) = (row.id("id")?, row.id("request_id")?);
        let Some(kind) = row::known_kind(row)? else {
            return Ok(None);
        };
        let sealed = row.bytes("detail")?;
        // Words that do not open are not told; the event itself is.
        let words = if sealed.is_empty() {
            Vec::new()
        } else {
            let opened = self.keys.open(&place("events.detail", desk, id), &sealed);
            opened.unwrap_or_default()
        };
        let grade = Grade::parse(&row.text("grade")?);
        let rating = RatingId::from_uuid(row.id("rating_id")?);
        let elapsed_ms = row.int("elapsed_ms")?;
        Ok(Some(Recorded {
            id: EventId::from_uuid(id),
            seq: row.int("seq")?,
            kind,
            at: Timestamp::from_millis(row.int("at")?),
            desk,
            slug: row.text("slug")?,
            request_id: RequestId::from_uuid(about),
            request: requests.get(&about).cloned().map(Box::new),
            rating: grade.map(|grade| (rating, grade)),
            score: Score::try_from(row.int("score")?).ok(),
            elapsed_ms: (kind == EventKind::RatingCreated).then_some(elapsed_ms),
            reason: row::reason(row)?,
            words: String::from_utf8(words).unwrap_or_default(),
            follow_up: None,
        }))
    }
}

/// What is done about a low score.
struct Cared {
    opened_at: i64,
    id: uuid::Uuid,
    state: FollowUpState,
    owner: String,
}

/// The rating of an event that is about a low score.
fn low_rating(event: &Recorded) -> Option<[u8; 16]> {
    let (rating, _) = event.rating?;
    let low = matches!(
        event.kind,
        EventKind::RatingLow
            | EventKind::FollowUpTaken
            | EventKind::FollowUpTold
            | EventKind::FollowUpClosed
    );
    low.then(|| rating.uuid().into_bytes())
}
