//! What a post of the page comes to beside a rating: who may change one, which answers are kept without being counted, and a
//! person's answer in the place of a machine's.

use std::borrow::Cow;

use super::dialect::{Sql, Value};
use super::lock::Held;
use super::sql::Inner;
use super::tx::Tx;
use super::{NewReply, StoreError, Tap};
use crate::domain::event::{EventKind, HELD_BACK};
use crate::domain::follow_up::LowScores;
use crate::domain::grade::AnswerSettings;
use crate::domain::rating::{Grade, Rating, Score};
use crate::domain::reply::{Effect, Understood};
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::view::ClientKey;

/// Answers of machines that are kept for one request; what comes beyond is dropped.
const HELD_MAX: i64 = 20;

/// Whether all that is known of a request's answer is held back.
const HOLD: Sql = Sql::both("update requests set held_back = $3 where desk_id = $1 and id = $2");
const COUNT: Sql = Sql::both(
    "select cast(count(*) as bigint) as n from replies where desk_id = $1 and request_id = $2 \
     and grade in ('auto', 'suspect')",
);
/// A person's answer in the place of one that nobody is known to have given.
const TAKE_RATING: Sql = Sql::both(
    "update ratings set first_grade = case when first_grade = '' then grade else first_grade end, grade = $3, client = $4, answered_at = $5, elapsed_ms = $6 where desk_id = $1 and id = $2",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("tapped.hold", HOLD),
    ("tapped.count", COUNT),
    ("tapped.take_rating", TAKE_RATING),
];

/// A reply once it is known what the request has, who posted it, and what its desk says about such answers.
pub(super) struct Weighed<'a> {
    pub(super) new: Cow<'a, NewReply>,
    pub(super) client: Option<ClientKey>,
    pub(super) signs: String,
    /// The grade by which it is decided what it does.
    pub(super) counts_as: Grade,
    /// Which scores the desk calls low.
    pub(super) low_scores: LowScores,
}

impl<'a> Weighed<'a> {
    pub(super) fn of(
        new: &'a NewReply,
        tap: Option<&Tap>,
        rating: Option<&Rating>,
        (answers, low_scores): (&AnswerSettings, LowScores),
    ) -> Self {
        let mut weighed = Self {
            new: Cow::Borrowed(new),
            client: tap.map(|tap| tap.client),
            signs: tap.map_or_else(String::new, |tap| tap.signs.clone()),
            counts_as: new.reply.grade,
            low_scores,
        };
        let window_ms = answers.window_ms(new.window_ms);
        if window_ms != new.window_ms {
            weighed.new.to_mut().window_ms = window_ms;
        }
        // Mail gateways post the form after the person did, with whatever the page held.
        let stranger =
            tap.is_some_and(|tap| rating.is_some_and(|rating| !rating.is_open_to(tap.client)));
        if stranger && new.reply.grade.is_human() {
            weighed.new.to_mut().reply.grade = Grade::Suspect;
            weighed.counts_as = Grade::Suspect;
            if !weighed.signs.is_empty() {
                weighed.signs.push(' ');
            }
            weighed.signs.push_str("another_client");
        }
        if answers.count_auto && new.reply.grade == Grade::Auto && rating.is_none() {
            weighed.counts_as = Grade::Tap;
        }
        weighed
    }
}

/// The score in a reply; 0 if there is none.
pub(super) fn score_of(understood: &Understood) -> i64 {
    match understood {
        Understood::Rating(score, _) => i64::from(*score),
        Understood::Stop
        | Understood::Start
        | Understood::Help
        | Understood::Reaction
        | Understood::Words(_) => 0,
    }
}

impl Inner {
    /// Counts an answer that no person is known to have given. Whether there is room to keep it.
    pub(super) async fn hold(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        rated: bool,
        new: &NewReply,
        effect: &Effect,
    ) -> Result<bool, StoreError> {
        let request = &held.request;
        let keys = [Value::Id(request.desk.uuid()), Value::Id(request.id.uuid())];
        let kept = tx.row(COUNT, &keys).await?;
        if kept.map_or(Ok(0), |row| row.int("n"))? >= HELD_MAX {
            return Ok(false);
        }
        let kind = match new.reply.grade {
            Grade::Auto => EventKind::RatingAuto,
            Grade::Suspect | Grade::Channel | Grade::Tap => EventKind::RatingSuspect,
        };
        if *effect == Effect::Nothing {
            let score = Score::try_from(score_of(&new.understood)).ok();
            // However many machines answer, the customer is one.
            let first = !rated && !held.machines_only;
            if first {
                tx.execute(HOLD, &[keys[0], keys[1], Value::Int(1)]).await?;
                held.machines_only = true;
            }
            let entered = if first { HELD_BACK } else { 0 };
            let answer = score.map(|score| (score, 0));
            self.emit_rated(tx, &held.request, kind, entered, answer, new.reply.at);
        }
        Ok(true)
    }

    /// The request gets a rating. What is noted beside it if only held answers were known until now.
    pub(super) async fn held_no_more(
        &self,
        tx: &mut Tx,
        held: &mut Held,
    ) -> Result<i64, StoreError> {
        if !held.machines_only {
            return Ok(0);
        }
        let keys = [
            Value::Id(held.request.desk.uuid()),
            Value::Id(held.request.id.uuid()),
        ];
        tx.execute(HOLD, &[keys[0], keys[1], Value::Int(0)]).await?;
        held.machines_only = false;
        Ok(HELD_BACK)
    }

    /// A person answers where nobody is known to have: from now on the rating is theirs.
    pub(super) async fn claim_rating(
        &self,
        tx: &mut Tx,
        request: &Request,
        rating: Option<Rating>,
        by: (Grade, Option<ClientKey>),
        now: Timestamp,
    ) -> Result<Option<Rating>, StoreError> {
        let Some(mut rating) = rating else {
            return Ok(None);
        };
        if rating.grade.is_human() {
            return Ok(Some(rating));
        }
        (rating.grade, rating.client) = by;
        rating.answered_at = now;
        rating.elapsed_ms = now.millis_since(request.history.sent_at.unwrap_or(request.due_at));
        let values = [
            Value::Id(request.desk.uuid()),
            Value::Id(rating.id.uuid()),
            Value::Text(rating.grade.as_str()),
            Value::Bytes(rating.client.as_ref().map_or(&[], |client| &client[..])),
            Value::Int(now.as_millis()),
            Value::Int(rating.elapsed_ms),
        ];
        if tx.execute(TAKE_RATING, &values).await? != 1 {
            return Err(StoreError::Conflict);
        }
        Ok(Some(rating))
    }
}
