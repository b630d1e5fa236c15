//! A trigger becomes a request: idempotency, decision, row and event in one transaction.

use super::dialect::{Sql, Tx, Value};
use super::record::{Held, free_slot};
use super::row::{agent_kind_word, phase_word, place, reason_word};
use super::sql::Inner;
use super::{Accepted, Carriage, NewRequest, Pair, StoreError};
use crate::domain::delivery::DeliveryState;
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::policy::{Known, Suppression, decide};
use crate::domain::request::{History, Request, State};
use crate::domain::time::Timestamp;

const BY_KEY: Sql = Sql::both(
    "select id, fingerprint from requests where desk_id = $1 and idempotency_key = $2 and idempotency_key <> $3",
);
const BY_RESOLUTION: Sql = Sql::both(
    "select id, fingerprint, state from requests where desk_id = $1 and conversation = $2 and slot = $3",
);
const BY_PAIR: Sql =
    Sql::both("select desk_id, id, state from requests where pair_key = $1 and listening = 1");
const OPTED_OUT: Sql = Sql::both(
    "select 1 as n from opt_outs where address_hash = $1 and channel = $2 and desk_id in ($3, $4)",
);
const HANG_UP: Sql = Sql::both("update requests set listening = 0 where desk_id = $1 and id = $2");
const INSERT: Sql = Sql::both(
    "insert into requests (desk_id, id, channel, sender, pair_key, listening, listen_until, address_hash, contact_hash, \
     contact, conversation, resolution, slot, idempotency_key, fingerprint, agent_id, agent_name, agent_kind, team, queue, \
     touchpoint, phase, topic, language, timezone, switches, mail, metadata, state, reason, created_at, due_at, expires_at, \
     sent_at, delivered_at, reached_at, answered_at, ended_at, link_hash, delivery, delivery_code, attempts, next_at, \
     lease_owner, lease_until, fence) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
     $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, 0, 0, 0, $35, $36, $37, '', $38, \
     $39, '', 0, 0)",
);
pub(super) const ATTEMPT: Sql = Sql::both(
    "insert into attempts (desk_id, request_id, n, token_hash, provider, provider_id, state, code, started_at, ended_at) \
     values ($1, $2, $3, $4, $5, $6, $7, '', $8, $9)",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("accept.by_key", BY_KEY),
    ("accept.by_resolution", BY_RESOLUTION),
    ("accept.by_pair", BY_PAIR),
    ("accept.opted_out", OPTED_OUT),
    ("accept.hang_up", HANG_UP),
    ("accept.insert", INSERT),
    ("accept.attempt", ATTEMPT),
];

/// The most characters an idempotency key has; a longer one is refused at the door.
const NO_KEY: &[u8] = b"";

impl Inner {
    pub(super) async fn accept(
        &self,
        tx: &mut Tx,
        new: &NewRequest,
    ) -> Result<Accepted, StoreError> {
        let desk = Value::Id(new.desk.uuid());
        let key = self.idempotency_key(new);
        if !key.is_empty() {
            let values = [desk, Value::Bytes(&key), Value::Bytes(NO_KEY)];
            if let Some(row) = tx.row(BY_KEY, &values).await? {
                let same = row.bytes("fingerprint")? == new.fingerprint;
                let id = RequestId::from_uuid(row.id("id")?);
                return if same {
                    self.replay(tx, new.desk, id).await
                } else {
                    Ok(Accepted::KeyReused)
                };
            }
        }

        let mut known = Known::default();
        let values = [
            desk,
            Value::Text(&new.conversation),
            Value::Text(&new.resolution),
        ];
        let mut gives_way = None;
        if let Some(row) = tx.row(BY_RESOLUTION, &values).await? {
            let id = RequestId::from_uuid(row.id("id")?);
            if row.bytes("fingerprint")? == new.fingerprint {
                return self.replay(tx, new.desk, id).await;
            }
            // Somebody who was not asked may be asked after all when the desk says something else, such as an address.
            if row.text("state")? == State::Suppressed.as_str() {
                gives_way = Some(id);
            } else {
                known.duplicate = true;
            }
        }

        let pair = Pair {
            channel: new.channel.clone(),
            ours: new.sender.clone(),
            theirs: new.contact.address.clone(),
        };
        let pair_key = self.pair_key(&pair, new.reply_names_request.then_some(new.desk));
        let mut answered = None;
        if let Some(row) = tx.row(BY_PAIR, &[Value::Bytes(&pair_key)]).await? {
            if row.text("state")? == State::Answered.as_str() {
                // Only waits for a correction or a comment; a new ask goes first.
                answered = Some((
                    DeskId::from_uuid(row.id("desk_id")?),
                    RequestId::from_uuid(row.id("id")?),
                ));
            } else {
                known.open_request = true;
            }
        }
        known.opted_out = self.opted_out(tx, new).await?;

        let reason = decide(new.given, known);
        if new.dry_run {
            return Ok(Accepted::Considered(reason));
        }
        if let Some(id) = gives_way {
            self.release_slot(tx, new.desk, id).await?;
        }
        if let (Some((desk, id)), None) = (answered, reason) {
            tx.execute(HANG_UP, &[Value::Id(desk.uuid()), Value::Id(id.uuid())])
                .await?;
        }
        let held = Self::born(new, reason);
        self.insert(tx, new, &held, &pair_key, &key).await?;
        if let Carriage::Call { attempt, provider } = &new.carriage {
            let values = [
                desk,
                Value::Id(new.id.uuid()),
                Value::Int(1),
                Value::Bytes(&attempt.0),
                Value::Text(provider),
                Value::Text(new.contact.address.expose()),
                Value::Text(DeliveryState::Accepted.as_str()),
                Value::Int(new.now.as_millis()),
                Value::Int(new.now.as_millis()),
            ];
            tx.execute(ATTEMPT, &values).await?;
        }
        let (kind, entered) = match held.request.state {
            State::Suppressed => (EventKind::RequestSuppressed, State::Suppressed.bit()),
            // Handed out in the answer: decided and sent in one go.
            State::Sent => (
                EventKind::RequestSent,
                State::Scheduled.bit() | State::Sent.bit(),
            ),
            State::Scheduled
            | State::Delivered
            | State::Reached
            | State::Answered
            | State::Expired
            | State::Cancelled
            | State::Failed => (EventKind::RequestScheduled, State::Scheduled.bit()),
        };
        self.emit(tx, &held.request, kind, entered, new.now).await?;
        Ok(Accepted::New(Box::new(held.request)))
    }

    async fn replay(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        id: RequestId,
    ) -> Result<Accepted, StoreError> {
        let held = self
            .lock_id(tx, desk, id)
            .await?
            .ok_or(StoreError::Conflict)?;
        Ok(Accepted::Replayed(Box::new(held.request)))
    }

    async fn opted_out(&self, tx: &mut Tx, new: &NewRequest) -> Result<bool, StoreError> {
        let hash = self.address_hash(&new.contact.address);
        let values = [
            Value::Bytes(&hash),
            Value::Text(new.channel.as_str()),
            Value::Id(new.desk.uuid()),
            Value::Id(uuid::Uuid::nil()),
        ];
        Ok(tx.row(OPTED_OUT, &values).await?.is_some())
    }

    /// Whether the contact of a stored request opted out meanwhile.
    pub(super) async fn opted_out_since(
        &self,
        tx: &mut Tx,
        request: &Request,
    ) -> Result<bool, StoreError> {
        let hash = self.address_hash(&request.contact.address);
        let values = [
            Value::Bytes(&hash),
            Value::Text(request.channel.as_str()),
            Value::Id(request.desk.uuid()),
            Value::Id(uuid::Uuid::nil()),
        ];
        Ok(tx.row(OPTED_OUT, &values).await?.is_some())
    }

    /// A keyed hash, because desks put ticket numbers and names into their keys.
    fn idempotency_key(&self, new: &NewRequest) -> Vec<u8> {
        if new.idempotency_key.is_empty() {
            return Vec::new();
        }
        self.keys
            .lookup(&[b"idempotency", new.idempotency_key.as_bytes()])
            .to_vec()
    }

    fn born(new: &NewRequest, reason: Option<Suppression>) -> Held {
        let (state, delivery, attempts) = match (reason, &new.carriage) {
            (Some(_), _) => (State::Suppressed, DeliveryState::None, 0),
            (None, Carriage::Queue) => (State::Scheduled, DeliveryState::Queued, 0),
            (None, Carriage::Answer) => (State::Sent, DeliveryState::None, 0),
            (None, Carriage::Call { .. }) => (State::Sent, DeliveryState::Accepted, 1),
        };
        let history = History {
            created_at: new.now,
            sent_at: (state == State::Sent).then_some(new.now),
            ended_at: (state == State::Suppressed).then_some(new.now),
            ..History::default()
        };
        Held {
            fence: 0,
            listening: state != State::Suppressed,
            listen_until: new.expires_at,
            next_at: new.due_at,
            request: Request {
                desk: new.desk,
                id: new.id,
                channel: new.channel.clone(),
                sender: new.sender.clone(),
                contact: new.contact.clone(),
                conversation: new.conversation.clone(),
                resolution: new.resolution.clone(),
                attribution: new.attribution.clone(),
                mail: new.mail.clone(),
                metadata: new.metadata.clone(),
                state,
                reason,
                history,
                due_at: new.due_at,
                expires_at: new.expires_at,
                delivery,
                attempts,
                delivery_code: String::new(),
            },
        }
    }

    async fn insert(
        &self,
        tx: &mut Tx,
        new: &NewRequest,
        held: &Held,
        pair_key: &[u8],
        key: &[u8],
    ) -> Result<(), StoreError> {
        let request = &held.request;
        let about = &request.attribution;
        let plain = serde_json::to_vec(&request.contact)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let sealed = self.keys.seal(
            self.entropy.as_ref(),
            &place("requests.contact", request.desk, request.id.uuid()),
            &plain,
        );
        let address_hash = self.address_hash(&request.contact.address);
        let contact_hash = if request.contact.id.is_empty() {
            address_hash
        } else {
            self.keys
                .lookup(&[b"contact", request.contact.id.as_bytes()])
        };
        // A duplicate does not stand for the resolution: the first one does.
        let slot = match request.reason {
            Some(Suppression::Duplicate) => free_slot(request.id),
            _ => request.resolution.clone(),
        };
        let mail = match &request.mail {
            Some(mail) => serde_json::to_string(mail)
                .map_err(|error| StoreError::Corrupt(error.to_string()))?,
            None => String::new(),
        };
        let metadata = request.metadata.to_string();
        let int = Value::Int;
        tx.execute(
            INSERT,
            &[
                Value::Id(request.desk.uuid()),
                Value::Id(request.id.uuid()),
                Value::Text(request.channel.as_str()),
                Value::Text(&request.sender),
                Value::Bytes(pair_key),
                int(i64::from(held.listening)),
                int(held.listen_until.as_millis()),
                Value::Bytes(&address_hash),
                Value::Bytes(&contact_hash),
                Value::Bytes(&sealed),
                Value::Text(&request.conversation),
                Value::Text(&request.resolution),
                Value::Text(&slot),
                Value::Bytes(key),
                Value::Bytes(&new.fingerprint),
                Value::Text(&about.agent.id),
                Value::Text(&about.agent.name),
                Value::Text(agent_kind_word(about.agent.kind)),
                Value::Text(&about.team),
                Value::Text(&about.queue),
                Value::Text(&about.touchpoint),
                Value::Text(phase_word(about.phase)),
                Value::Text(&about.topic),
                Value::Text(&about.language),
                Value::Text(&about.timezone),
                int(i64::from(about.switches)),
                Value::Text(&mail),
                Value::Text(&metadata),
                Value::Text(request.state.as_str()),
                Value::Text(reason_word(request.reason)),
                int(request.history.created_at.as_millis()),
                int(request.due_at.as_millis()),
                int(request.expires_at.as_millis()),
                int(request.history.sent_at.map_or(0, Timestamp::as_millis)),
                int(request.history.ended_at.map_or(0, Timestamp::as_millis)),
                Value::Bytes(new.link.as_ref().map_or(NO_KEY, |hash| &hash.0)),
                Value::Text(request.delivery.as_str()),
                int(request.attempts),
                int(held.next_at.as_millis()),
            ],
        )
        .await?;
        Ok(())
    }
}
