//! Answers that are kept and not counted, and what managers do to answers and ratings. Nothing here is ever deleted, and every act
//! is in `rating_log` with its reason.

use async_trait::async_trait;

use super::dialect::{Row, Sql, Value};
use super::row::{self, place, rating_columns, request_columns, word};
use super::sql::{Inner, SqlStore};
use super::tx::Tx;
use super::{Find, StoreError};
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, RatingId, ReplyId, RequestId};
use crate::domain::rating::{Exclusion, Grade, Rating, Score, clean_comment};
use crate::domain::request::{Request, State};
use crate::domain::time::Timestamp;

/// What managers ask of the store.
#[async_trait]
pub trait HeldAnswers: Send + Sync {
    /// Answers that are kept and not counted, oldest first, after the given one: of requests that are rated, that are not, or both.
    async fn held_answers(
        &self,
        desk: DeskId,
        rated: Option<bool>,
        after: Option<uuid::Uuid>,
        limit: i64,
    ) -> Result<Vec<(HeldAnswer, Request)>, StoreError>;
    /// Makes the rating of such an answer. `None` if the desk has no such answer.
    async fn release_held(
        &self,
        desk: DeskId,
        answer: ReplyId,
        note: Note,
        window_ms: i64,
    ) -> Result<Option<Release>, StoreError>;
    /// Takes a rating out of the reports, or puts it back. `None` if the desk has no such rating.
    async fn note_rating(
        &self,
        desk: DeskId,
        rating: RatingId,
        excluded: bool,
        note: Note,
    ) -> Result<Option<Noted>, StoreError>;
}

/// Who does something, and why.
#[derive(Debug, Clone)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// Who; empty if the caller does not say.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A rating after a manager's act.
#[derive(Debug, Clone)]
pub struct Noted {
    /// The rating as it stands now.
    pub rating: Rating,
    /// The request that it answers.
    pub request: Request,
}

/// An answer that no person is known to have given.
#[derive(Debug, Clone)]
pub struct HeldAnswer {
    /// Its identifier.
    pub id: ReplyId,
    /// The score.
    pub score: Score,
    /// The words; empty if none.
    pub comment: String,
    /// `auto` or `suspect`.
    pub grade: Grade,
    /// The signs that led to the grade.
    pub signs: Vec<String>,
    /// When it came.
    pub at: Timestamp,
}

/// What releasing an answer came to.
#[derive(Debug, Clone)]
pub enum Release {
    /// It is the rating now, or was made so before.
    Done(Box<Noted>),
    /// The request has a rating already.
    Rated,
    /// The request has ended without an answer.
    Ended,
}

const LIST: Sql = Sql::both(concat!(
    "select p.id as reply_id, p.score as held_score, p.grade as held_grade, p.signs, p.raw, p.received_at, ",
    request_columns!(),
    " from replies p join requests on requests.desk_id = p.desk_id and requests.id = p.request_id \
     where p.desk_id = $1 and p.id > $2 and p.grade in ('auto', 'suspect') and p.effect = 'nothing' \
     and cast($4 as bigint) in (-1, case when exists (select 1 from ratings g where g.desk_id = p.desk_id \
     and g.request_id = p.request_id) then 1 else 0 end) order by p.id limit $3"
));
const ONE: Sql = Sql::both(
    "select p.request_id, p.provider_id, p.id as reply_id, p.score as held_score, p.grade as held_grade, p.signs, p.raw, \
     p.received_at, p.client, p.effect from replies p where p.desk_id = $1 and p.id = $2 and p.grade in ('auto', 'suspect')",
);
const RELEASED: Sql = Sql::both(
    "update replies set effect = 'released' where desk_id = $1 and request_id = $2 and provider_id = $3",
);
const RATING: Sql = Sql::both(concat!(
    "select ",
    rating_columns!(),
    " from ratings g where g.desk_id = $1 and g.id = $2"
));
const EXCLUDE: Sql = Sql::both(
    "update ratings set excluded_at = $3, excluded_by = $4, excluded_reason = $5 where desk_id = $1 and id = $2",
);
const ACTS: Sql = Sql::both(
    "select cast(count(*) as bigint) as n from rating_log where desk_id = $1 and rating_id = $2",
);
const LOG: Sql = Sql::both(
    "insert into rating_log (desk_id, rating_id, n, at, act, actor, reason) values ($1, $2, $3, $4, $5, $6, $7)",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("held.list", LIST),
    ("held.one", ONE),
    ("held.released", RELEASED),
    ("held.rating", RATING),
    ("held.exclude", EXCLUDE),
    ("held.acts", ACTS),
    ("held.log", LOG),
];

#[async_trait]
impl HeldAnswers for SqlStore {
    async fn held_answers(
        &self,
        desk: DeskId,
        rated: Option<bool>,
        after: Option<uuid::Uuid>,
        limit: i64,
    ) -> Result<Vec<(HeldAnswer, Request)>, StoreError> {
        let after = after.unwrap_or(uuid::Uuid::nil());
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(after),
            Value::Int(limit),
            Value::Int(rated.map_or(-1, i64::from)),
        ];
        let rows = self.inner.database.rows(LIST, &values).await?;
        let read = |row: &Row| {
            let request = row::request(row, &self.inner.keys)?;
            Ok((self.inner.held_answer(row, desk)?, request))
        };
        rows.iter().map(read).collect()
    }

    async fn release_held(
        &self,
        desk: DeskId,
        answer: ReplyId,
        note: Note,
        window_ms: i64,
    ) -> Result<Option<Release>, StoreError> {
        let mut tx = self.inner.database.begin().await?;
        let released = self
            .inner
            .release_answer(&mut tx, desk, answer, &note, window_ms)
            .await?;
        tx.commit().await?;
        Ok(released)
    }

    async fn note_rating(
        &self,
        desk: DeskId,
        rating: RatingId,
        excluded: bool,
        note: Note,
    ) -> Result<Option<Noted>, StoreError> {
        let mut tx = self.inner.database.begin().await?;
        let noted = self
            .inner
            .note_rating(&mut tx, (desk, rating), excluded, &note)
            .await?;
        tx.commit().await?;
        Ok(noted)
    }
}

impl Inner {
    fn held_answer(&self, row: &Row, desk: DeskId) -> Result<HeldAnswer, StoreError> {
        let id = ReplyId::from_uuid(row.id("reply_id")?);
        let raw = row.bytes("raw")?;
        // The words may have been erased since.
        let raw = if raw.is_empty() {
            raw
        } else {
            self.keys
                .open(&place("replies.raw", desk, id.uuid()), &raw)?
        };
        let raw = String::from_utf8_lossy(&raw).into_owned();
        let words = raw.split_once(' ').map_or("", |(_, words)| words);
        let signs = row.text("signs")?;
        Ok(HeldAnswer {
            id,
            score: Score::try_from(row.int("held_score")?)
                .map_err(|error| StoreError::Corrupt(format!("replies.score: {error}")))?,
            comment: clean_comment(words),
            grade: word(row, "held_grade", Grade::parse)?,
            signs: signs.split_whitespace().map(str::to_owned).collect(),
            at: Timestamp::from_millis(row.int("received_at")?),
        })
    }

    async fn release_answer(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        answer: ReplyId,
        note: &Note,
        window_ms: i64,
    ) -> Result<Option<Release>, StoreError> {
        let keys = [Value::Id(desk.uuid()), Value::Id(answer.uuid())];
        let Some(row) = tx.row(ONE, &keys).await? else {
            return Ok(None);
        };
        let request = RequestId::from_uuid(row.id("request_id")?);
        let provider_id = row.text("provider_id")?;
        let find = Find::Request(desk, request);
        let Some(answered) = self.lock_answered(tx, &find, &provider_id).await? else {
            return Ok(None);
        };
        // Read again under the lock: somebody else may have released it.
        let Some(row) = tx.row(ONE, &keys).await? else {
            return Ok(None);
        };
        let mut held = answered.held;
        if let Some(rating) = answered.rating {
            let again = row.text("effect")? == "released" && !rating.grade.is_human();
            let request = held.request;
            return Ok(Some(if again {
                Release::Done(Box::new(Noted { rating, request }))
            } else {
                Release::Rated
            }));
        }
        if !held.request.state.admits(State::Answered) {
            return Ok(Some(Release::Ended));
        }
        let kept = self.held_answer(&row, desk)?;
        let rules = (answered.answers.window_ms(window_ms), answered.low_scores);
        let client = row.bytes("client")?.try_into().ok();
        let (answer, by) = ((kept.score, kept.comment.as_str()), (kept.grade, client));
        let times = (kept.at, note.at);
        let rating = self.rate(tx, &mut held, answer, by, times, rules).await?;
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(request.uuid()),
            Value::Text(&provider_id),
        ];
        tx.execute(RELEASED, &values).await?;
        self.log(tx, (desk, rating.id), "released", note).await?;
        // Without a score: the rating was counted when it was made, a line above.
        self.emit(tx, &held.request, EventKind::RatingRestored, 0, note.at);
        let request = held.request;
        Ok(Some(Release::Done(Box::new(Noted { rating, request }))))
    }

    async fn note_rating(
        &self,
        tx: &mut Tx,
        (desk, id): (DeskId, RatingId),
        excluded: bool,
        note: &Note,
    ) -> Result<Option<Noted>, StoreError> {
        let keys = [Value::Id(desk.uuid()), Value::Id(id.uuid())];
        let Some(row) = tx.row(RATING, &keys).await? else {
            return Ok(None);
        };
        let request = RequestId::from_uuid(row.id("request_id")?);
        // The request's row is what everything that is done to its rating waits for.
        let Some(held) = self.lock_id(tx, desk, request).await? else {
            return Ok(None);
        };
        let Some(row) = tx.row(RATING, &keys).await? else {
            return Ok(None);
        };
        let mut rating = row::rating(&row, &self.keys, desk)?;
        let request = held.request;
        if rating.excluded.is_some() == excluded {
            return Ok(Some(Noted { rating, request }));
        }
        rating.excluded = excluded.then(|| Exclusion {
            at: note.at,
            by: note.by.clone(),
            reason: note.reason.clone(),
        });
        let (at, by, reason) = match &rating.excluded {
            Some(now) => (now.at.as_millis(), now.by.as_str(), now.reason.as_str()),
            None => (0, "", ""),
        };
        let values = [
            keys[0],
            keys[1],
            Value::Int(at),
            Value::Text(by),
            Value::Text(reason),
        ];
        tx.execute(EXCLUDE, &values).await?;
        let (act, kind) = if excluded {
            ("excluded", EventKind::RatingExcluded)
        } else {
            ("restored", EventKind::RatingRestored)
        };
        self.log(tx, (desk, id), act, note).await?;
        self.emit_rated(tx, &request, kind, 0, Some((rating.score, 0)), note.at);
        self.watch_noted(tx, &request, &rating, note.at).await?;
        Ok(Some(Noted { rating, request }))
    }

    /// Writes down what a manager did. The request is locked, so that the numbers follow each other.
    async fn log(
        &self,
        tx: &mut Tx,
        (desk, rating): (DeskId, RatingId),
        act: &'static str,
        note: &Note,
    ) -> Result<(), StoreError> {
        let keys = [Value::Id(desk.uuid()), Value::Id(rating.uuid())];
        let acts = tx.row(ACTS, &keys).await?;
        let acts = acts.map_or(Ok(0), |row| row.int("n"))?;
        let values = [
            keys[0],
            keys[1],
            Value::Int(acts + 1),
            Value::Int(note.at.as_millis()),
            Value::Text(act),
            Value::Text(&note.by),
            Value::Text(&note.reason),
        ];
        tx.execute(LOG, &values).await?;
        Ok(())
    }
}
