//! A reply and all that follows from it, in one transaction: the reply, the rating, the event (which is also the delta of the
//! totals), and the request's new state.

use super::bulk::{Insert, four, insert, owned, rows};
use super::dialect::{Sql, Value};
use super::emit::Said;
use super::lock::{Answered, Held};
use super::row::rating_columns;
use super::sql::Inner;
use super::tapped::Weighed;
use super::tx::Tx;
use super::{Find, NewReply, Replied, StoreError, Tap};
use crate::domain::delivery::{DeliveryState, Evidence};
use crate::domain::event::{COMMENTED, EventKind};
use crate::domain::follow_up::LowScores;
use crate::domain::id::{DeskId, RatingId};
use crate::domain::opt_out::Origin;
use crate::domain::rating::{Grade, Rating, Score};
use crate::domain::reply::{Effect, ReplyKind, Understood, effect};
use crate::domain::request::{Request, State};
use crate::domain::time::Timestamp;
use crate::domain::view::ClientKey;

const UNCLEAR: Sql = Sql::both(
    "select 1 as n from replies where desk_id = $1 and request_id = $2 and effect = 'unrecognized' limit 1",
);
pub(super) const INSERT_REPLY: Insert = insert!(
    "replies (desk_id, request_id, provider_id, id, kind, grade, raw, effect, received_at, score, client, signs)",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "$1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bytea[], $8::text[], \
     $9::bigint[], $10::bigint[], $11::bytea[], $12::text[]",
    "",
    ""
);
pub(super) const RATING: Sql = Sql::both(concat!(
    "select ",
    rating_columns!(),
    " from ratings g where g.desk_id = $1 and g.request_id = $2"
));
pub(super) const INSERT_RATING: Insert = insert!(
    "ratings (desk_id, id, request_id, score, grade, comment, answered_at, changed_at, \
     elapsed_ms, client)",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "$1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], \
     $8::bigint[], $9::bigint[], $10::bytea[]",
    "",
    ""
);
const CHANGE_RATING: Sql = Sql::both(
    "update ratings set score = $3, comment = $4, changed_at = $5 where desk_id = $1 and id = $2",
);
#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("reply.unclear", UNCLEAR),
    ("reply.insert", INSERT_REPLY.one()),
    ("reply.insert_many", INSERT_REPLY.many()),
    ("reply.rating", RATING),
    ("reply.insert_rating", INSERT_RATING.one()),
    ("reply.insert_rating_many", INSERT_RATING.many()),
    ("reply.change_rating", CHANGE_RATING),
];

impl Inner {
    pub(super) async fn reply(
        &self,
        tx: &mut Tx,
        new: &NewReply,
    ) -> Result<Option<Replied>, StoreError> {
        self.reply_from(tx, new, None).await
    }

    /// A reply; `tap` if it was posted from our page.
    pub(super) async fn reply_from(
        &self,
        tx: &mut Tx,
        new: &NewReply,
        tap: Option<&Tap>,
    ) -> Result<Option<Replied>, StoreError> {
        let locked = self.lock_answered(tx, &new.find, &new.reply.provider_id);
        match locked.await? {
            Some(answered) => self.reply_to(tx, new, tap, answered).await,
            None => Ok(None),
        }
    }

    /// A reply to a request that is locked.
    pub(super) async fn reply_to(
        &self,
        tx: &mut Tx,
        new: &NewReply,
        tap: Option<&Tap>,
        answered: Answered,
    ) -> Result<Option<Replied>, StoreError> {
        let (mut held, rating) = (answered.held, answered.rating);
        // What was not sent yet cannot be answered: whatever the contact writes is about something else. Only the wish to be left
        // alone, or not, is heard.
        let about = self.about_contact(tx, &held).await?;
        let queued = matches!(
            held.request.delivery,
            DeliveryState::Queued | DeliveryState::Claimed
        );
        let unsent = queued && !about.doubt;
        if let Some(sent_at) = new.sent_at
            && !answered.repeated
            && !self.asked_by(tx, &held, sent_at).await?
        {
            return Ok(None);
        }
        let wish = matches!(new.understood, Understood::Stop | Understood::Start);
        if unsent && matches!(new.find, Find::Pair(_)) && !wish {
            return Ok(None);
        }
        let keys = [
            Value::Id(held.request.desk.uuid()),
            Value::Id(held.request.id.uuid()),
        ];
        let spent = match tap {
            Some(tap) => !self.use_view(tx, &held.request, tap, new.reply.at).await?,
            None => false,
        };
        let rules = (&answered.answers, answered.low_scores);
        let weighed = Weighed::of(new, tap, rating.as_ref(), rules);
        let new: &NewReply = &weighed.new;
        if answered.repeated || spent {
            let renewed = self.is_renewed(tx, &held.request, new).await?;
            let effect = if renewed {
                Effect::OptedOut
            } else {
                Effect::Nothing
            };
            let taken = self.take_effect(tx, &mut held, rating, &effect, &weighed);
            let rating = taken.await?;
            return Ok(Some(Replied {
                request: held.request,
                effect,
                rating,
                repeated: !renewed,
                unclear_before: false,
                desk: answered.desk,
            }));
        }

        // What an outage kept from us counts as of when it was said; and what was said since goes before it.
        let said_at = new.sent_at.unwrap_or(new.reply.at);
        let overtaken = new.sent_at.is_some()
            && rating
                .as_ref()
                .is_some_and(|rating| said_at < rating.changed_at);
        let (understood, grade) = (new.understood.clone(), weighed.counts_as);
        // A person's answer takes the place of a machine's for as long as an answer was awaited.
        let ended = rating
            .as_ref()
            .is_some_and(|rating| !rating.grade.is_human() && said_at > held.request.expires_at);
        let effect = if (overtaken || ended) && !wish {
            Effect::Nothing
        } else {
            effect(
                held.request.state,
                rating.as_ref(),
                understood,
                grade,
                said_at,
                new.window_ms,
            )
        };
        let unclear_before =
            matches!(effect, Effect::Unrecognized(_)) && tx.row(UNCLEAR, &keys).await?.is_some();
        let rating = self
            .take_effect(tx, &mut held, rating, &effect, &weighed)
            .await?;
        // A page or a chat may post the same again and again; what changes nothing is not worth a row.
        let posted = matches!(new.reply.kind, ReplyKind::Button | ReplyKind::Click);
        let human = new.reply.grade.is_human();
        let kept = if human {
            !(posted && effect == Effect::Nothing)
        } else {
            self.hold(tx, &mut held, rating.is_some(), new, &effect)
                .await?
        };
        if kept {
            self.keep_reply(tx, &held.request, &weighed, &effect);
        }
        Ok(Some(Replied {
            request: held.request,
            effect,
            rating,
            repeated: false,
            unclear_before,
            desk: answered.desk,
        }))
    }

    async fn take_effect(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        rating: Option<Rating>,
        effect: &Effect,
        weighed: &Weighed<'_>,
    ) -> Result<Option<Rating>, StoreError> {
        let (new, low): (&NewReply, _) = (&weighed.new, weighed.low_scores);
        let by = (new.reply.grade, weighed.client);
        let now = new.reply.at;
        let said_at = new.sent_at.unwrap_or(now);
        match effect {
            Effect::Rated(score, comment) => {
                let answer = (*score, comment.as_str());
                let rules = (new.window_ms, low);
                let rating = self.rate(tx, held, answer, by, (now, now), rules);
                return rating.await.map(Some);
            }
            Effect::Changed(score, words) => {
                let kind = EventKind::RatingChanged;
                let rating = self
                    .claim_rating(tx, &held.request, rating, by, now)
                    .await?;
                let said = (Some(*score), words.as_str());
                return self
                    .change(tx, &held.request, rating, said, kind, low, now)
                    .await;
            }
            Effect::Commented(words) => {
                let kind = EventKind::RatingCommented;
                return self
                    .change(tx, &held.request, rating, (None, words), kind, low, now)
                    .await;
            }
            Effect::OptedOut => {
                let channel = held.request.channel.clone();
                // Two addresses cannot tell desks apart, so what was said between them counts for every desk.
                let desk = match new.find {
                    Find::Pair(_) => DeskId::from_uuid(uuid::Uuid::nil()),
                    Find::Link(_) | Find::Attempt(_) | Find::Request(..) => held.request.desk,
                };
                let address = held.request.contact.known_at().clone();
                let origin = Origin::of_reply(new.reply.kind, &new.reply.provider_id);
                self.put_opt_out(tx, desk, &channel, &address, origin, said_at)
                    .await?;
                self.hold_person(tx, &held.request, said_at).await?;
                // Whoever wants no message is not waited for either.
                let entered = if held.request.state.admits(State::Cancelled) {
                    held.enter(State::Cancelled, now)
                } else {
                    0
                };
                held.call_off();
                held.listening = false;
                self.emit(tx, &held.request, EventKind::ContactOptedOut, entered, now);
                self.save(tx, held).await?;
            }
            Effect::OptedIn => {
                let between = matches!(new.find, Find::Pair(_));
                let request = &held.request;
                let lifted = self.take_back(tx, request, between, said_at, now);
                if lifted.await? {
                    self.emit(tx, &held.request, EventKind::ContactOptedIn, 0, now);
                }
            }
            Effect::Unrecognized(words) => {
                let said = Said {
                    words,
                    ..Said::default()
                };
                let kind = EventKind::ReplyUnrecognized;
                self.emit_said(tx, &held.request, kind, said, now);
            }
            Effect::Helped | Effect::Nothing => {}
        }
        Ok(rating)
    }

    /// The first counted answer, given by `by` at the first of `times` and recorded at the second, where the desk gives this time
    /// for corrections and calls these scores low.
    pub(super) async fn rate(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        (score, comment): (Score, &str),
        (grade, client): (Grade, Option<ClientKey>),
        (answered_at, now): (Timestamp, Timestamp),
        (window_ms, low): (i64, LowScores),
    ) -> Result<Rating, StoreError> {
        let about = self.about_contact(tx, held).await?;
        // An answer proves that the ask arrived, whatever was known about it.
        self.weigh(tx, held, about, &Evidence::Contact, now).await?;
        let asked_at = held.request.history.sent_at.unwrap_or(held.request.due_at);
        let rating = Rating {
            id: RatingId::new(now, self.random()),
            request: held.request.id,
            score,
            grade,
            comment: comment.to_owned(),
            answered_at,
            changed_at: now,
            elapsed_ms: answered_at.millis_since(asked_at),
            client,
            excluded: None,
        };
        let entered = held.enter(State::Answered, now);
        held.call_off();
        let sealed = self.sealed_comment(held.request.desk, &rating);
        // An answer through a link may be to an ask that failed, while a newer one is open between the two addresses.
        self.listen(tx, held).await?;
        held.listen_until = now.plus_millis(window_ms);
        let values = [
            Value::Id(held.request.desk.uuid()),
            Value::Id(rating.id.uuid()),
            Value::Id(rating.request.uuid()),
            Value::Int(rating.score.into()),
            Value::Text(rating.grade.as_str()),
            Value::Text(&sealed),
            Value::Int(answered_at.as_millis()),
            Value::Int(now.as_millis()),
            Value::Int(rating.elapsed_ms),
            Value::Bytes(rating.client.as_ref().map_or(&[], |client| &client[..])),
        ];
        tx.pending.ratings.push(owned(&values));
        tx.pending.answered.push(held.request.id.uuid());
        self.save(tx, held).await?;
        let beside = self.held_no_more(tx, held).await?;
        let said = Said {
            entered: entered | beside | first_words("", comment),
            score: Some(score),
            elapsed_ms: Some(rating.elapsed_ms),
            words: comment,
            ..Said::default()
        };
        let kind = EventKind::RatingCreated;
        self.emit_said(tx, &held.request, kind, said, now);
        self.watch_low(tx, &held.request, &rating, None, low, now)
            .await?;
        Ok(rating)
    }

    /// A correction or an added comment. The counter of first answers does not move: it counts answers, not opinions.
    #[expect(
        clippy::too_many_arguments,
        reason = "one private step with one caller per kind of change"
    )]
    async fn change(
        &self,
        tx: &mut Tx,
        request: &Request,
        rating: Option<Rating>,
        (score, words): (Option<Score>, &str),
        kind: EventKind,
        low: LowScores,
        now: Timestamp,
    ) -> Result<Option<Rating>, StoreError> {
        let Some(mut rating) = rating else {
            return Ok(None);
        };
        let was = rating.score;
        // A rating that was taken out of the reports does not count before, and not afterwards.
        let before = rating.excluded.is_none().then_some(was);
        let entered = first_words(&rating.comment, words);
        rating.score = score.unwrap_or(rating.score);
        if !words.is_empty() {
            words.clone_into(&mut rating.comment);
        }
        rating.changed_at = now;
        let comment = self.sealed_comment(request.desk, &rating);
        let values = [
            Value::Id(request.desk.uuid()),
            Value::Id(rating.id.uuid()),
            Value::Int(rating.score.into()),
            Value::Text(&comment),
            Value::Int(now.as_millis()),
        ];
        if tx.execute(CHANGE_RATING, &values).await? != 1 {
            return Err(StoreError::Conflict);
        }
        let changed = kind == EventKind::RatingChanged;
        let said = Said {
            entered,
            score: Some(rating.score),
            before: before.filter(|_| changed),
            elapsed_ms: (!changed).then_some(0),
            words,
        };
        self.emit_said(tx, request, kind, said, now);
        // While it is taken out it is nobody's care; that is looked at when it is put back.
        if changed && rating.excluded.is_none() {
            self.watch_low(tx, request, &rating, Some(was), low, now)
                .await?;
        }
        Ok(Some(rating))
    }
}

/// What is noted beside the states entered when words come where there were none.
fn first_words(before: &str, words: &str) -> i64 {
    if before.is_empty() && !words.is_empty() {
        COMMENTED
    } else {
        0
    }
}
