//! What every step of a request's life does: weigh evidence, save the row, write the event.

use super::StoreError;
use super::bulk::owned;
use super::dialect::{Sql, Value};
use super::lock::Held;
use super::row::reason_word;
use super::sql::Inner;
use super::tx::Tx;
use crate::domain::contact::{Address, AddressKind};
use crate::domain::delivery::{DeliveryState, Evidence, Position, Step, step};
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::opt_out::Origin;
use crate::domain::request::{Channel, State};
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

pub(super) const OPT_OUT: Sql = Sql::both(
    "insert into opt_outs (desk_id, channel, address_hash, origin, at, contact) values ($1, $2, $3, $4, $5, $6) \
     on conflict (desk_id, channel, address_hash) do update set \
     at = case when excluded.at > opt_outs.at then excluded.at else opt_outs.at end, origin = excluded.origin, \
     contact = case when length(opt_outs.contact) = 0 then excluded.contact else opt_outs.contact end",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("save", SAVE),
    ("listen", LISTEN),
    ("release_slot", RELEASE_SLOT),
    ("opt_out", OPT_OUT),
];

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
        let values = [
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
        ];
        if let Some(saves) = &mut tx.pending.saves {
            saves.push(owned(&values));
            return Ok(());
        }
        if tx.execute(SAVE, &values).await? == 1 {
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
                request.contact.known_at(),
                Origin::Provider,
                now,
            )
            .await?;
            self.hold_person(tx, request, now).await?;
            self.emit(tx, request, EventKind::ContactOptedOut, 0, now);
        }
        Ok(Some(step))
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
        tx.execute(OPT_OUT, &values).await?;
        Ok(())
    }
}

/// A text that no resolution can be: resolutions hold no control characters.
pub(super) fn free_slot(id: RequestId) -> String {
    format!("\u{1}{id}")
}
