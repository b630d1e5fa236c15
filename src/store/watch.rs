//! What the conversion watch reads and writes: sends with their quick answers, counted hours, and pauses.

use super::StoreError;
use super::dialect::{Sql, Value};
use super::row::{self, request_columns};
use super::sql::Inner;
use super::tx::Tx;
use crate::domain::contact::AddressKind;
use crate::domain::id::{DeskId, EventId};
use crate::domain::request::State;
use crate::domain::time::Timestamp;
use crate::domain::watch::{Sent, Usual};

/// By the events, whose identifiers are in the order of time: there is no index on when a request was sent. What was delivered
/// before its sending was reported has the sending in that event.
const SENT: Sql = Sql::both(concat!(
    "select ",
    request_columns!(),
    " from events e join requests on requests.desk_id = e.desk_id and requests.id = e.request_id where e.desk_id = $1 \
     and e.id > $2 and e.id < $3 and (e.entered & $4) <> 0 and e.channel in ('sms', 'voice') order by e.id desc limit $5"
));
const NOTE: Sql = Sql::both(
    "insert into watched_hours (desk_id, hour, sent, answered, countries) values ($1, $2, $3, $4, $5) on conflict do nothing",
);
const USUAL: Sql = Sql::both(
    "select sent, answered, countries from watched_hours where desk_id = $1 and hour >= $2 and hour < $3",
);
const PAUSE: Sql = Sql::both(
    "update desks set paused_at = $2, paused_reason = $3 where id = $1 and paused_at = 0",
);
const RESUME: Sql = Sql::both(
    "update desks set paused_at = 0, paused_reason = '', resumed_at = $2 where id = $1 and paused_at > 0",
);
const PAUSED: Sql = Sql::both("select slug from desks where paused_at > 0 order by slug");
const FORGET: Sql = Sql::both("delete from watched_hours where hour < $1");

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("watch.sent", SENT),
    ("watch.note", NOTE),
    ("watch.usual", USUAL),
    ("watch.pause", PAUSE),
    ("watch.resume", RESUME),
    ("watch.paused", PAUSED),
    ("watch.forget", FORGET),
];

const HOUR_MS: i64 = 3_600_000;
/// Counted hours are kept for two weeks.
const KEPT_HOURS: i64 = 14 * 24;

impl Inner {
    pub(super) async fn sent_between(
        &self,
        desk: DeskId,
        from: Timestamp,
        to: Timestamp,
        soon_ms: i64,
        limit: i64,
    ) -> Result<Vec<Sent>, StoreError> {
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(EventId::new(from, [0; 10]).uuid()),
            Value::Id(EventId::new(to, [0; 10]).uuid()),
            Value::Int(State::Sent.bit()),
            Value::Int(limit),
        ];
        let mut sent = Vec::new();
        for row in self.database.rows(SENT, &values).await? {
            let request = row::request(&row, &self.keys);
            let Some(request) = row::readable(row.id("id")?, request)? else {
                continue;
            };
            let history = &request.history;
            if request.contact.address.kind() != AddressKind::Phone {
                continue;
            }
            let answered = history
                .sent_at
                .zip(history.answered_at)
                .is_some_and(|(sent, answered)| answered.millis_since(sent) <= soon_ms);
            sent.push(Sent {
                to: request.contact.address,
                answered,
            });
        }
        Ok(sent)
    }

    pub(super) async fn note_hour(
        &self,
        desk: DeskId,
        hour: i64,
        usual: &Usual,
    ) -> Result<(), StoreError> {
        let number = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let countries: Vec<&str> = usual.countries.iter().map(String::as_str).collect();
        let countries = countries.join(" ");
        let mut tx = self.database.begin().await?;
        let values = [
            Value::Id(desk.uuid()),
            Value::Int(hour),
            number(usual.sent),
            number(usual.answered),
            Value::Text(&countries),
        ];
        tx.execute(NOTE, &values).await?;
        tx.commit().await
    }

    pub(super) async fn usual(
        &self,
        desk: DeskId,
        from: i64,
        to: i64,
    ) -> Result<Usual, StoreError> {
        let values = [Value::Id(desk.uuid()), Value::Int(from), Value::Int(to)];
        let mut usual = Usual::default();
        for row in self.database.rows(USUAL, &values).await? {
            let countries = row.text("countries")?;
            usual.add(Usual {
                sent: row.int("sent")?.unsigned_abs(),
                answered: row.int("answered")?.unsigned_abs(),
                countries: countries.split_whitespace().map(str::to_owned).collect(),
            });
        }
        Ok(usual)
    }

    pub(super) async fn pause(
        &self,
        desk: DeskId,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let values = [
            Value::Id(desk.uuid()),
            Value::Int(now.as_millis()),
            Value::Text(reason),
        ];
        let paused = tx.execute(PAUSE, &values).await? == 1;
        tx.commit().await?;
        Ok(paused)
    }

    pub(super) async fn forget_hours(
        &self,
        tx: &mut Tx,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let old = now.as_millis().div_euclid(HOUR_MS) - KEPT_HOURS;
        tx.execute(FORGET, &[Value::Int(old)]).await
    }

    pub(super) async fn resume(&self, desk: DeskId, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let values = [Value::Id(desk.uuid()), Value::Int(now.as_millis())];
        let resumed = tx.execute(RESUME, &values).await? == 1;
        tx.commit().await?;
        Ok(resumed)
    }

    pub(super) async fn paused(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.database.rows(PAUSED, &[]).await?;
        rows.iter().map(|row| row.text("slug")).collect()
    }
}
