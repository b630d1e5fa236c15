//! What every step of a request's life does: weigh evidence, save the row, write the event.

use std::sync::atomic::{AtomicU32, Ordering};

use super::StoreError;
use super::bulk::{Insert, insert, owned};
use super::dialect::{Sql, Value};
use super::lock::Held;
use super::row::{place, reason_word};
use super::sql::Inner;
use super::tx::Tx;
use crate::domain::contact::{Address, AddressKind};
use crate::domain::delivery::{DeliveryState, Evidence, Position, Step, step};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{DeskId, EventId, RequestId};
use crate::domain::opt_out::Origin;
use crate::domain::rating::Score;
use crate::domain::request::{Channel, Request, State};
use crate::domain::statistics::answer_bucket;
use crate::domain::time::Timestamp;

const SAVE: Sql = Sql::both(
    "update requests set state = $3, reason = $4, sent_at = $5, delivered_at = $6, reached_at = $7, answered_at = $8, \
     ended_at = $9, delivery = $10, delivery_code = $11, attempts = $12, next_at = $13, listening = $14, listen_until = $15, \
     lease_until = 0 where desk_id = $1 and id = $2",
);
/// Another request may be open between the two addresses by now; then that one is the one that is replied to.
const LISTEN: Sql = Sql::both(
    "update requests set listening = 1 where desk_id = $1 and id = $2 and not exists \
     (select 1 from requests o where o.pair_key = requests.pair_key and o.listening = 1)",
);
const RELEASE_SLOT: Sql = Sql::both("update requests set slot = $3 where desk_id = $1 and id = $2");
pub(super) const EVENT: Insert = insert!(
    "insert into events (desk_id, id, request_id, kind, at, channel, touchpoint, entered, reason, score, \
     bucket, elapsed_ms, detail, folded)",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
    "$1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bigint[], \
     $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bytea[]",
    ", 0",
    " returning id"
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("save", SAVE),
    ("listen", LISTEN),
    ("release_slot", RELEASE_SLOT),
    ("event", EVENT.one()),
    ("event_many", EVENT.many()),
];

/// What an event says besides which request it is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said<'a> {
    /// The states entered by it, see [`Event::entered`].
    pub(super) entered: i64,
    /// The score, if it is about a rating.
    pub(super) score: Option<Score>,
    /// The score that counted before a correction.
    pub(super) before: Option<Score>,
    /// Milliseconds that it took.
    pub(super) elapsed_ms: Option<i64>,
    /// The contact's own words; empty for none.
    pub(super) words: &'a str,
}

/// Which attempt a piece of evidence is about, and what else is known of the request's attempts.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    pub(super) attempt: i64,
    pub(super) send_at: Option<Timestamp>,
    pub(super) doubt: bool,
}

impl About {
    /// A first attempt.
    pub(super) const fn attempt(attempt: i64) -> Self {
        Self {
            attempt,
            send_at: None,
            doubt: false,
        }
    }
}

impl Inner {
    /// Saves what may change.
    pub(super) async fn save(&self, tx: &mut Tx, held: &Held) -> Result<(), StoreError> {
        let request = &held.request;
        let at = |at: Option<Timestamp>| Value::Int(at.map_or(0, Timestamp::as_millis));
        let touched = tx
            .execute(
                SAVE,
                &[
                    Value::Id(request.desk.uuid()),
                    Value::Id(request.id.uuid()),
                    Value::Text(request.state.as_str()),
                    Value::Text(reason_word(request.reason)),
                    at(request.history.sent_at),
                    at(request.history.delivered_at),
                    at(request.history.reached_at),
                    at(request.history.answered_at),
                    at(request.history.ended_at),
                    Value::Text(request.delivery.as_str()),
                    Value::Text(&request.delivery_code),
                    Value::Int(request.attempts),
                    Value::Int(held.next_at.as_millis()),
                    Value::Int(i64::from(held.listening)),
                    Value::Int(held.listen_until.as_millis()),
                ],
            )
            .await?;
        if touched == 1 {
            Ok(())
        } else {
            Err(StoreError::Conflict)
        }
    }

    /// Lets replies between the two addresses come to this request again, unless they belong to another one by now.
    pub(super) async fn listen(&self, tx: &mut Tx, held: &mut Held) -> Result<(), StoreError> {
        if !held.listening {
            let keys = [
                Value::Id(held.request.desk.uuid()),
                Value::Id(held.request.id.uuid()),
            ];
            held.listening = tx.execute(LISTEN, &keys).await? == 1;
        }
        Ok(())
    }

    /// Lets another request stand for the resolution.
    pub(super) async fn release_slot(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        id: RequestId,
    ) -> Result<(), StoreError> {
        let slot = free_slot(id);
        tx.execute(
            RELEASE_SLOT,
            &[
                Value::Id(desk.uuid()),
                Value::Id(id.uuid()),
                Value::Text(&slot),
            ],
        )
        .await?;
        Ok(())
    }

    /// What the contact's answer is evidence about. Only what went back to the queue has to be looked at.
    pub(super) async fn about_contact(
        &self,
        tx: &mut Tx,
        held: &Held,
    ) -> Result<About, StoreError> {
        let queued = matches!(
            held.request.delivery,
            DeliveryState::Queued | DeliveryState::Claimed
        );
        Ok(About {
            doubt: queued && self.doubts(tx, held).await? > 0,
            ..About::attempt(held.request.attempts)
        })
    }

    /// Applies evidence about a delivery. The step, if anything changed; the caller saves.
    pub(super) async fn weigh(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        about: About,
        evidence: &Evidence,
        now: Timestamp,
    ) -> Result<Option<Step>, StoreError> {
        let jitter = u16::from_le_bytes(crate::clock::random(self.entropy.as_ref())) % 1000;
        let position = Position {
            delivery: held.request.delivery,
            state: held.request.state,
            attempt: about.attempt,
            send_at: about.send_at,
            doubt: about.doubt,
            now,
            expires_at: held.request.expires_at,
            jitter,
        };
        let Some(step) = step(position, evidence) else {
            return Ok(None);
        };
        held.request.delivery = step.delivery;
        held.request.delivery_code.clone_from(&step.code);
        if let Some(next) = step.next_at {
            held.next_at = next;
        }
        if let Some(to) = step.state {
            let failed = held.request.state == State::Failed;
            let entered = held.enter(to, now);
            if failed {
                self.listen(tx, held).await?;
            }
            self.emit(tx, &held.request, EventKind::for_state(to), entered, now);
        }
        if step.delivery == DeliveryState::Lost {
            self.emit(tx, &held.request, EventKind::DeliveryLost, 0, now);
        }
        // Taken back, answered or expired while it was on its way: proof that nothing was sent does not revive it.
        if held.request.state != State::Scheduled {
            held.call_off();
        }
        if step.opt_out {
            let request = &held.request;
            self.put_opt_out(
                tx,
                request.desk,
                &request.channel,
                &request.contact.address,
                Origin::Provider,
                now,
            )
            .await?;
            self.emit(tx, request, EventKind::ContactOptedOut, 0, now);
        }
        Ok(Some(step))
    }

    /// Writes an event about a request.
    pub(super) fn emit(
        &self,
        tx: &mut Tx,
        request: &Request,
        kind: EventKind,
        entered: i64,
        now: Timestamp,
    ) {
        self.emit_rated(tx, request, kind, entered, None, now);
    }

    /// Writes an event about a rating: its score, and the answer time where it is the first answer.
    pub(super) fn emit_rated(
        &self,
        tx: &mut Tx,
        request: &Request,
        kind: EventKind,
        entered: i64,
        rated: Option<(Score, i64)>,
        now: Timestamp,
    ) {
        let said = Said {
            entered,
            score: rated.map(|(score, _)| score),
            elapsed_ms: rated.map(|(_, elapsed)| elapsed),
            ..Said::default()
        };
        self.emit_said(tx, request, kind, said, now);
    }

    /// Writes an event with all that it says. Words are sealed: whoever is told of the event reads them, and they can be forgotten.
    pub(super) fn emit_said(
        &self,
        tx: &mut Tx,
        request: &Request,
        kind: EventKind,
        said: Said<'_>,
        now: Timestamp,
    ) {
        let event = Event {
            id: EventId::new(now, in_order(self.random())),
            desk: request.desk,
            request: request.id,
            kind,
            at: now,
            channel: request.channel.clone(),
            touchpoint: request.attribution.touchpoint.clone(),
            entered: said.entered,
            reason: request.reason,
            score: said.score,
            elapsed_ms: said.elapsed_ms,
            before: said.before,
        };
        let detail = if said.words.is_empty() {
            Vec::new()
        } else {
            let place = place("events.detail", event.desk, event.id.uuid());
            self.keys
                .seal(self.entropy.as_ref(), &place, said.words.as_bytes())
        };
        push(tx, &event, &detail);
    }

    /// Writes an event that is about no request: a desk's own change of its opt-outs.
    pub(super) fn emit_about(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        channel: &Channel,
        kind: EventKind,
        now: Timestamp,
    ) {
        let event = Event {
            id: EventId::new(now, in_order(self.random())),
            desk,
            request: RequestId::from_uuid(uuid::Uuid::nil()),
            kind,
            at: now,
            channel: channel.clone(),
            touchpoint: String::new(),
            entered: 0,
            reason: None,
            score: None,
            elapsed_ms: None,
            before: None,
        };
        push(tx, &event, &[]);
    }

    /// A wish between two addresses, which counts for every desk.
    pub(super) async fn opt_out(
        &self,
        channel: &Channel,
        address: &Address,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.database.begin().await?;
        let nobody = DeskId::from_uuid(uuid::Uuid::nil());
        self.put_opt_out(&mut tx, nobody, channel, address, Origin::Reply, now)
            .await?;
        tx.commit().await
    }

    /// The wish taken back; whether there was one.
    pub(super) async fn opt_in(
        &self,
        channel: &Channel,
        address: &Address,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let nobody = DeskId::from_uuid(uuid::Uuid::nil());
        let removed = self
            .drop_opt_outs(&mut tx, nobody, channel, address, at)
            .await?;
        tx.commit().await?;
        Ok(removed > 0)
    }

    pub(super) async fn put_opt_out(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        channel: &Channel,
        address: &Address,
        origin: Origin,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Nobody: the person was erased meanwhile.
        if address.kind() == AddressKind::None {
            return Ok(());
        }
        let hash = self.address_hash(address);
        let contact = self.sealed_opt_out(desk, &hash, address, "");
        let values = [
            Value::Id(desk.uuid()),
            Value::Text(channel.as_str()),
            Value::Bytes(&hash),
            Value::Text(origin.as_str()),
            Value::Int(now.as_millis()),
            Value::Bytes(&contact),
        ];
        tx.execute(super::reply::OPT_OUT, &values).await?;
        Ok(())
    }

    /// Lifts what counts for every desk and what counts for this one.
    pub(super) async fn drop_opt_outs(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        channel: &Channel,
        address: &Address,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let hash = self.address_hash(address);
        let values = [
            Value::Bytes(&hash),
            Value::Text(channel.as_str()),
            Value::Id(desk.uuid()),
            Value::Id(uuid::Uuid::nil()),
            Value::Int(at.as_millis()),
        ];
        tx.execute(super::reply::OPT_IN, &values).await
    }
}

/// Inserts an event with the commit. The score before a correction stands where a first answer has its bucket.
fn push(tx: &mut Tx, event: &Event, detail: &[u8]) {
    let bucket = match (event.kind, event.before, event.elapsed_ms) {
        (EventKind::RatingChanged, before, _) => before.map_or(0, i64::from),
        (_, _, Some(elapsed)) => i64::try_from(answer_bucket(elapsed)).unwrap_or(-1),
        (..) => -1,
    };
    tx.pending.events.push(owned(&[
        Value::Id(event.desk.uuid()),
        Value::Id(event.id.uuid()),
        Value::Id(event.request.uuid()),
        Value::Text(event.kind.as_str()),
        Value::Int(event.at.as_millis()),
        Value::Text(event.channel.as_str()),
        Value::Text(&event.touchpoint),
        Value::Int(event.entered),
        Value::Text(reason_word(event.reason)),
        Value::Int(event.score.map_or(0, i64::from)),
        Value::Int(bucket),
        Value::Int(event.elapsed_ms.unwrap_or(0)),
        Value::Bytes(detail),
    ]));
}

/// Events of one millisecond have identifiers in the order in which they were made here, so that a stream tells them in that order.
fn in_order(mut random: [u8; 10]) -> [u8; 10] {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let [a, b, c, d] = MADE.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // The version takes the first 4 of these 80 bits, and the variant the 17th and 18th.
    let counted = [a << 2 | b >> 6, b << 2 | c >> 6, c & 0x3f, d];
    random[..4].copy_from_slice(&counted);
    random
}

/// A text that no resolution can be: resolutions hold no control characters.
pub(super) fn free_slot(id: RequestId) -> String {
    format!("\u{1}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_millisecond_are_in_the_order_in_which_they_were_made() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let made: Vec<EventId> = (0..1_000)
            .map(|n: u16| EventId::new(now, in_order([n.to_le_bytes()[0]; 10])))
            .collect();
        assert!(made.is_sorted());
        let mut once = made.clone();
        once.dedup();
        assert_eq!(once.len(), made.len());
    }
}
