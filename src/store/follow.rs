//! Low scores: opened and closed with the rating, in its transaction; then what somebody does about them. Notes are sealed: they tell
//! of a customer.

use async_trait::async_trait;

use super::StoreError;
use super::bulk::{Insert, four, insert, owned, rows};
use super::dialect::{Row, Sql, Value};
use super::emit::Said;
use super::follow_list::{LowFilter, follow_ups};
use super::row::{self, place, rating_columns, request_columns};
use super::sql::{Inner, SqlStore};
use super::tx::Tx;
use crate::domain::event::EventKind;
use crate::domain::follow_up::{FollowUp, FollowUpState, LowScores, Refused, Step};
use crate::domain::id::{DeskId, FollowUpId, RatingId, RequestId};
use crate::domain::rating::{Rating, Score};
use crate::domain::request::Request;
use crate::domain::time::Timestamp;

/// A follow-up with what it is about.
pub type Followed = (FollowUp, Rating, Request);

/// Low scores, and what is done about them.
#[async_trait]
pub trait FollowUps: Send + Sync {
    /// Follow-ups, in the order in which they were opened or the other way round.
    async fn follow_ups(
        &self,
        desk: DeskId,
        wanted: &LowFilter,
    ) -> Result<Vec<Followed>, StoreError>;
    /// One follow-up.
    async fn follow_up(&self, desk: DeskId, id: FollowUpId)
    -> Result<Option<Followed>, StoreError>;
    /// Makes a step. `None` if there is no such follow-up.
    async fn follow(
        &self,
        desk: DeskId,
        id: FollowUpId,
        step: &Step,
        now: Timestamp,
    ) -> Result<Option<Result<(), Refused>>, StoreError>;
    /// How many are not closed: by the desk's short name and by state.
    async fn unclosed(&self) -> Result<Vec<(String, FollowUpState, i64)>, StoreError>;
}

const SETTINGS: Sql = Sql::both("select settings from desks where id = $1");
pub(super) const OPEN: Insert = insert!(
    "follow_ups (desk_id, id, rating_id, request_id, score, opened_at, state, owner, told_note, close_note, \
     closed_by, taken_at, told_at, closed_at)",
    "(?, ?, ?, ?, ?, ?, 'open', '', '', '', '', 0, 0, 0)",
    "$1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[]",
    ", 'open', '', '', '', '', 0, 0, 0",
    " on conflict do nothing"
);
const RESCORE: Sql = Sql::both(
    "update follow_ups set score = $3 where desk_id = $1 and rating_id = $2 and state <> 'closed'",
);
const CLOSE: Sql = Sql::both(
    "update follow_ups set state = 'closed', closed_by = $4, closed_at = $3 \
     where desk_id = $1 and rating_id = $2 and state <> 'closed' returning opened_at",
);
/// SQLite would rather read all follow-ups of the desk than those of one rating.
macro_rules! of_rating {
    ($begin:literal, $end:literal) => {
        Sql::each(
            concat!($begin, " indexed by follow_ups_rating ", $end),
            concat!($begin, " ", $end),
        )
    };
}

/// Open again what was closed only because its rating was taken out.
const REOPEN: Sql = of_rating!(
    "update follow_ups",
    "set state = case when owner = '' then 'open' else 'taken' end, closed_by = '', closed_at = 0, score = $3 \
     where desk_id = $1 and rating_id = $2 and closed_by = 'excluded'"
);
/// The rating came back with another score, which nobody has to care for.
const NOT_LOW: Sql = of_rating!(
    "update follow_ups",
    "set closed_by = 'corrected' where desk_id = $1 and rating_id = $2 and closed_by = 'excluded'"
);
const SETTLED: Sql = of_rating!(
    "select 1 as n from follow_ups",
    "where desk_id = $1 and rating_id = $2 and closed_by = 'owner' limit 1"
);

const ONE: Sql = Sql::both(follow_ups!("where f.desk_id = $1 and f.id = $2"));
const LOCK: Sql = Sql::each(
    follow_ups!("where f.desk_id = $1 and f.id = $2"),
    follow_ups!("where f.desk_id = $1 and f.id = $2 for update of f"),
);
const SAVE: Sql = Sql::both(
    "update follow_ups set state = $3, owner = $4, told_note = $5, close_note = $6, closed_by = $7, taken_at = $8, \
     told_at = $9, closed_at = $10 where desk_id = $1 and id = $2",
);
macro_rules! unclosed {
    ($hint:literal) => {
        concat!(
            "select d.slug, t.state, t.n from (select desk_id, state, cast(count(*) as bigint) as n from follow_ups ",
            $hint,
            "where state <> 'closed' group by desk_id, state) t join desks d on d.id = t.desk_id"
        )
    };
}

/// As large as what is open, whatever was ever closed.
const UNCLOSED: Sql = Sql::each(unclosed!("indexed by follow_ups_open "), unclosed!(""));

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("follow.settings", SETTINGS),
    ("follow.open", OPEN.one()),
    ("follow.open_many", OPEN.many()),
    ("follow.rescore", RESCORE),
    ("follow.close", CLOSE),
    ("follow.reopen", REOPEN),
    ("follow.not_low", NOT_LOW),
    ("follow.settled", SETTLED),
    ("follow.one", ONE),
    ("follow.lock", LOCK),
    ("follow.save", SAVE),
    ("follow.unclosed", UNCLOSED),
];

#[async_trait]
impl FollowUps for SqlStore {
    async fn follow_ups(
        &self,
        desk: DeskId,
        wanted: &LowFilter,
    ) -> Result<Vec<Followed>, StoreError> {
        self.inner.follow_ups(desk, wanted).await
    }

    async fn follow_up(
        &self,
        desk: DeskId,
        id: FollowUpId,
    ) -> Result<Option<Followed>, StoreError> {
        let keys = [Value::Id(desk.uuid()), Value::Id(id.uuid())];
        let row = self.inner.database.row(ONE, &keys).await?;
        row.as_ref().map(|row| self.inner.followed(row)).transpose()
    }

    async fn follow(
        &self,
        desk: DeskId,
        id: FollowUpId,
        step: &Step,
        now: Timestamp,
    ) -> Result<Option<Result<(), Refused>>, StoreError> {
        self.inner.follow(desk, id, step, now).await
    }

    async fn unclosed(&self) -> Result<Vec<(String, FollowUpState, i64)>, StoreError> {
        let rows = self.inner.database.rows(UNCLOSED, &[]).await?;
        rows.iter()
            .map(|row| Ok((row.text("slug")?, state(row, "state")?, row.int("n")?)))
            .collect()
    }
}

impl Inner {
    /// Looks after a score that is new or took the place of `before`, where the desk calls those in `low` low. A good one that was
    /// never low costs nothing.
    pub(super) async fn watch_low(
        &self,
        tx: &mut Tx,
        request: &Request,
        rating: &Rating,
        before: Option<Score>,
        low: LowScores,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let may_be = |score: Score| score.get() <= LowScores::HIGHEST;
        if !may_be(rating.score) && !before.is_some_and(may_be) {
            return Ok(());
        }
        let desk = Value::Id(request.desk.uuid());
        let id = Value::Id(rating.id.uuid());
        if low.is_low(rating.score) {
            let scored = [desk, id, Value::Int(rating.score.into())];
            // A rating that was given just now is followed by nobody.
            if before.is_some() && tx.execute(RESCORE, &scored).await? > 0 {
                return Ok(());
            }
            let opened = FollowUpId::new(now, self.random());
            let values = [
                desk,
                Value::Id(opened.uuid()),
                id,
                Value::Id(request.id.uuid()),
                Value::Int(rating.score.into()),
                Value::Int(now.as_millis()),
            ];
            let opens = if before.is_some() {
                tx.insert_all(OPEN, vec![owned(&values)]).await? > 0
            } else {
                tx.pending.follow_ups.push(owned(&values));
                true
            };
            if opens {
                let said = Said {
                    score: Some(rating.score),
                    elapsed_ms: Some(0),
                    words: &rating.comment,
                    ..Said::default()
                };
                self.emit_said(tx, request, EventKind::RatingLow, said, now);
            }
        } else if before.is_some() {
            self.close_low(tx, request, rating, "corrected", now)
                .await?;
        }
        Ok(())
    }

    /// Closes what is open about a rating because nobody has to care any more.
    async fn close_low(
        &self,
        tx: &mut Tx,
        request: &Request,
        rating: &Rating,
        by: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let values = [
            Value::Id(request.desk.uuid()),
            Value::Id(rating.id.uuid()),
            Value::Int(now.as_millis()),
            Value::Text(by),
        ];
        if let Some(row) = tx.row(CLOSE, &values).await? {
            let opened = Timestamp::from_millis(row.int("opened_at")?);
            let done = Some((rating.score, now.millis_since(opened)));
            self.emit_rated(tx, request, EventKind::FollowUpClosed, 0, done, now);
        }
        Ok(())
    }

    /// A manager took the rating out of the reports, or put it back: what does not count needs nobody, and what counts again and is
    /// low needs somebody again, unless it was cared for.
    pub(super) async fn watch_noted(
        &self,
        tx: &mut Tx,
        request: &Request,
        rating: &Rating,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if rating.excluded.is_some() {
            return self.close_low(tx, request, rating, "excluded", now).await;
        }
        let desk = Value::Id(request.desk.uuid());
        let low = match tx.row(SETTINGS, &[desk]).await? {
            Some(row) => self.settings(&row, request.desk)?.low_scores,
            None => LowScores::default(),
        };
        let keys = [desk, Value::Id(rating.id.uuid())];
        if !low.is_low(rating.score) {
            tx.execute(NOT_LOW, &keys).await?;
            return Ok(());
        }
        let scored = [keys[0], keys[1], Value::Int(rating.score.into())];
        let open = tx.execute(REOPEN, &scored).await? > 0;
        if open || tx.row(SETTLED, &keys).await?.is_some() {
            return Ok(());
        }
        self.watch_low(tx, request, rating, None, low, now).await
    }

    async fn follow(
        &self,
        desk: DeskId,
        id: FollowUpId,
        step: &Step,
        now: Timestamp,
    ) -> Result<Option<Result<(), Refused>>, StoreError> {
        let mut tx = self.database.begin().await?;
        let keys = [Value::Id(desk.uuid()), Value::Id(id.uuid())];
        let Some(row) = tx.row(LOCK, &keys).await? else {
            return Ok(None);
        };
        let (mut follow_up, _, request) = self.followed(&row)?;
        let first = match follow_up.step(step, now) {
            Ok(first) => first,
            Err(refused) => return Ok(Some(Err(refused))),
        };
        let at = |at: Option<Timestamp>| Value::Int(at.map_or(0, Timestamp::as_millis));
        let note = |column, note: &str| self.seal_text(column, desk, id.uuid(), note);
        let told_note = note("follow_ups.told_note", &follow_up.told_note);
        let close_note = note("follow_ups.close_note", &follow_up.close_note);
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(id.uuid()),
            Value::Text(follow_up.state.as_str()),
            Value::Text(&follow_up.owner),
            Value::Text(&told_note),
            Value::Text(&close_note),
            Value::Text(&follow_up.closed_by),
            at(follow_up.taken_at),
            at(follow_up.told_at),
            at(follow_up.closed_at),
        ];
        if tx.execute(SAVE, &values).await? != 1 {
            return Err(StoreError::Conflict);
        }
        if first {
            let kind = match step {
                Step::Take { .. } => EventKind::FollowUpTaken,
                Step::Told { .. } => EventKind::FollowUpTold,
                Step::Close { .. } => EventKind::FollowUpClosed,
            };
            let took = Some((follow_up.score, now.millis_since(follow_up.opened_at)));
            self.emit_rated(&mut tx, &request, kind, 0, took, now);
        }
        tx.commit().await?;
        Ok(Some(Ok(())))
    }

    pub(super) fn followed(&self, row: &Row) -> Result<Followed, StoreError> {
        let request = row::request(row, &self.keys)?;
        let rating = row::rating(row, &self.keys, request.desk)?;
        Ok((self.follow_up_of(row, request.desk)?, rating, request))
    }

    /// The columns of a follow-up alone.
    pub(super) fn follow_up_of(&self, row: &Row, desk: DeskId) -> Result<FollowUp, StoreError> {
        let id = row.id("follow_id")?;
        let score = Score::try_from(row.int("low_score")?);
        let note = |column: &'static str| {
            let place = place(&format!("follow_ups.{column}"), desk, id);
            self.keys.open_text(&place, row.text(column)?)
        };
        Ok(FollowUp {
            id: FollowUpId::from_uuid(id),
            rating: RatingId::from_uuid(row.id("rating_id")?),
            request: RequestId::from_uuid(row.id("request_id")?),
            score: score.map_err(|error| StoreError::Corrupt(format!("score: {error}")))?,
            state: state(row, "follow_state")?,
            owner: row.text("owner")?,
            told_note: note("told_note")?,
            close_note: note("close_note")?,
            closed_by: row.text("closed_by")?,
            opened_at: Timestamp::from_millis(row.int("opened_at")?),
            taken_at: row::maybe(row, "taken_at")?,
            told_at: row::maybe(row, "told_at")?,
            closed_at: row::maybe(row, "closed_at")?,
        })
    }
}

pub(super) fn state(row: &Row, column: &'static str) -> Result<FollowUpState, StoreError> {
    let word = row.text(column)?;
    FollowUpState::parse(&word)
        .ok_or_else(|| StoreError::Corrupt(format!("{column}: unknown word {word:?}")))
}
