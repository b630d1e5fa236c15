//! What every step of a request's life does: lock the row, save it, write the event.

use super::dialect::{Row, Sql, Tx, Value};
use super::row::{self, reason_word, request_columns};
use super::sql::Inner;
use super::{Find, Pair, StoreError};
use crate::domain::contact::Address;
use crate::domain::delivery::{DeliveryState, Evidence, Position, Step, step};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{DeskId, EventId, RequestId};
use crate::domain::rating::Score;
use crate::domain::request::{Channel, Request, State};
use crate::domain::statistics::answer_bucket;
use crate::domain::time::Timestamp;

/// Statements that lock the row on PostgreSQL; on SQLite the transaction is alone anyway.
macro_rules! locked {
    ($tail:literal, $lock:literal) => {
        Sql::each(
            concat!("select ", request_columns!(), " from requests ", $tail),
            concat!(
                "select ",
                request_columns!(),
                " from requests ",
                $tail,
                " ",
                $lock
            ),
        )
    };
}

const BY_ID: Sql = locked!(
    "where requests.desk_id = $1 and requests.id = $2",
    "for update"
);
const BY_PAIR: Sql = locked!(
    "where requests.pair_key = $1 and requests.listening = 1",
    "for update"
);
const BY_LINK: Sql = locked!("where requests.link_hash = $1", "for update");
const BY_ATTEMPT: Sql = locked!(
    "join attempts a on a.desk_id = requests.desk_id and a.request_id = requests.id where a.token_hash = $1",
    "for update of requests"
);
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
const EVENT: Sql = Sql::both(
    "insert into events (desk_id, id, request_id, kind, at, channel, touchpoint, entered, reason, score, bucket, elapsed_ms, \
     folded) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0)",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("by_id", BY_ID),
    ("by_pair", BY_PAIR),
    ("by_link", BY_LINK),
    ("by_attempt", BY_ATTEMPT),
    ("save", SAVE),
    ("listen", LISTEN),
    ("release_slot", RELEASE_SLOT),
    ("event", EVENT),
];

/// A locked request, with the columns that are no noun's business.
pub(super) struct Held {
    pub(super) request: Request,
    pub(super) fence: i64,
    pub(super) listening: bool,
    pub(super) listen_until: Timestamp,
    pub(super) next_at: Timestamp,
}

impl Held {
    /// Enters `to` and notes when.
    pub(super) fn enter(&mut self, to: State, now: Timestamp) -> i64 {
        let entered = self.request.state.entered_by(to);
        let history = &mut self.request.history;
        match to {
            State::Scheduled => {}
            State::Sent => history.sent_at = Some(now),
            State::Delivered => history.delivered_at = Some(now),
            State::Reached => history.reached_at = Some(now),
            State::Answered => history.answered_at = Some(now),
            State::Suppressed | State::Expired | State::Cancelled | State::Failed => {
                history.ended_at = Some(now);
            }
        }
        if matches!(
            to,
            State::Suppressed | State::Expired | State::Cancelled | State::Failed
        ) {
            self.listening = false;
        }
        // Evidence after a reported failure: it arrived after all, so a reply may come.
        if self.request.state == State::Failed && matches!(to, State::Delivered | State::Reached) {
            history.ended_at = None;
        }
        self.request.state = to;
        entered
    }

    /// What may be on the wire stays as it is known; what is not, never goes out.
    pub(super) fn call_off(&mut self) {
        if matches!(
            self.request.delivery,
            DeliveryState::Queued | DeliveryState::Claimed
        ) {
            self.request.delivery = DeliveryState::Dropped;
        }
    }
}

impl Inner {
    fn held(&self, row: &Row) -> Result<Held, StoreError> {
        let request = row::request(row, &self.keys)?;
        Ok(Held {
            fence: row.int("fence")?,
            listening: row.int("listening")? == 1,
            listen_until: Timestamp::from_millis(row.int("listen_until")?),
            next_at: Timestamp::from_millis(row.int("next_at")?),
            request,
        })
    }

    /// Locks the request that a door names.
    pub(super) async fn lock(&self, tx: &mut Tx, find: &Find) -> Result<Option<Held>, StoreError> {
        let row = match find {
            Find::Pair(pair) => {
                let key = self.pair_key(pair, None);
                tx.row(BY_PAIR, &[Value::Bytes(&key)]).await?
            }
            Find::Link(hash) => tx.row(BY_LINK, &[Value::Bytes(&hash.0)]).await?,
            Find::Attempt(hash) => tx.row(BY_ATTEMPT, &[Value::Bytes(&hash.0)]).await?,
        };
        row.as_ref().map(|row| self.held(row)).transpose()
    }

    /// Locks one request of a desk.
    pub(super) async fn lock_id(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        id: RequestId,
    ) -> Result<Option<Held>, StoreError> {
        let row = tx
            .row(BY_ID, &[Value::Id(desk.uuid()), Value::Id(id.uuid())])
            .await?;
        row.as_ref().map(|row| self.held(row)).transpose()
    }

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

    /// Applies evidence about a delivery. The step, if anything changed; the caller saves.
    pub(super) async fn weigh(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        attempt: i64,
        evidence: &Evidence,
        now: Timestamp,
    ) -> Result<Option<Step>, StoreError> {
        let jitter = u16::from_le_bytes(crate::clock::random(self.entropy.as_ref())) % 1000;
        let position = Position {
            delivery: held.request.delivery,
            state: held.request.state,
            attempt,
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
            self.emit(tx, &held.request, EventKind::for_state(to), entered, now)
                .await?;
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
                "provider",
                now,
            )
            .await?;
            self.emit(tx, request, EventKind::ContactOptedOut, 0, now)
                .await?;
        }
        Ok(Some(step))
    }

    /// Writes an event about a request.
    pub(super) async fn emit(
        &self,
        tx: &mut Tx,
        request: &Request,
        kind: EventKind,
        entered: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.emit_rated(tx, request, kind, entered, None, now).await
    }

    /// Writes an event about a rating: its score, and the answer time where it is the first answer.
    pub(super) async fn emit_rated(
        &self,
        tx: &mut Tx,
        request: &Request,
        kind: EventKind,
        entered: i64,
        rated: Option<(Score, i64)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let event = Event {
            id: EventId::new(now, self.random()),
            desk: request.desk,
            request: request.id,
            kind,
            at: now,
            channel: request.channel.clone(),
            touchpoint: request.attribution.touchpoint.clone(),
            entered,
            reason: request.reason,
            score: rated.map(|(score, _)| score),
            elapsed_ms: rated.map(|(_, elapsed)| elapsed),
        };
        let bucket = event.elapsed_ms.map_or(-1, |elapsed| {
            i64::try_from(answer_bucket(elapsed)).unwrap_or(-1)
        });
        tx.execute(
            EVENT,
            &[
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
            ],
        )
        .await?;
        Ok(())
    }

    /// The key of a pair of addresses. With a desk it is the desk's own; without, every desk shares it.
    pub(super) fn pair_key(&self, pair: &Pair, desk: Option<DeskId>) -> [u8; 16] {
        let desk = desk.map_or([0; 16], |desk| *desk.uuid().as_bytes());
        let theirs = pair.theirs.lookup_form();
        self.keys.lookup(&[
            b"pair",
            &desk,
            pair.channel.as_str().as_bytes(),
            pair.ours.as_bytes(),
            theirs.as_bytes(),
        ])
    }

    /// The key under which an address is found again.
    pub(super) fn address_hash(&self, address: &Address) -> [u8; 16] {
        let kind = format!("{:?}", address.kind());
        self.keys.lookup(&[
            b"address",
            kind.as_bytes(),
            address.lookup_form().as_bytes(),
        ])
    }

    pub(super) async fn put_opt_out(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        channel: &Channel,
        address: &Address,
        origin: &'static str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let hash = self.address_hash(address);
        let values = [
            Value::Id(desk.uuid()),
            Value::Text(channel.as_str()),
            Value::Bytes(&hash),
            Value::Text(origin),
            Value::Int(now.as_millis()),
        ];
        tx.execute(super::reply::OPT_OUT, &values).await?;
        Ok(())
    }

    pub(super) async fn drop_opt_outs(
        &self,
        tx: &mut Tx,
        channel: &Channel,
        address: &Address,
    ) -> Result<u64, StoreError> {
        let hash = self.address_hash(address);
        tx.execute(
            super::reply::OPT_IN,
            &[Value::Bytes(&hash), Value::Text(channel.as_str())],
        )
        .await
    }
}

/// A text that no resolution can be: resolutions hold no control characters.
pub(super) fn free_slot(id: RequestId) -> String {
    format!("\u{1}{id}")
}
