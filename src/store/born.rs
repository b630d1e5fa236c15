//! What a new request looks like: its first state, its row and its first event.

use super::bulk::{Insert, Owned, four, insert, owned, rows};
#[cfg(test)]
use super::dialect::Sql;
use super::dialect::Value;
use super::lock::Held;
use super::prepared::Prepared;
use super::record::free_slot;
use super::row::{agent_kind_word, phase_word, reason_word};
use super::sql::Inner;
use super::{Carriage, NewRequest, StoreError};
use crate::domain::delivery::DeliveryState;
use crate::domain::event::EventKind;
use crate::domain::policy::Suppression;
use crate::domain::request::{History, Request, State};
use crate::domain::time::Timestamp;
use crate::domain::trigger::Context;

pub(super) const INSERT: Insert = insert!(
    "requests (desk_id, id, channel, sender, pair_key, listening, listen_until, address_hash, \
     contact_hash, contact, conversation, resolution, slot, idempotency_key, fingerprint, agent_id, \
     agent_name, agent_kind, team, queue, touchpoint, phase, topic, language, timezone, switches, mail, \
     metadata, state, reason, created_at, due_at, expires_at, sent_at, ended_at, link_hash, delivery, \
     attempts, next_at, context, planned_at, wording, delivered_at, reached_at, answered_at, delivery_code, lease_owner, lease_until, \
     fence)",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
     ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, '', '', 0, 0)",
    "$1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::bigint[], $7::bigint[], \
     $8::bytea[], $9::bytea[], $10::bytea[], $11::text[], $12::text[], $13::text[], $14::bytea[], \
     $15::bytea[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], \
     $22::text[], $23::text[], $24::text[], $25::text[], $26::bigint[], $27::text[], $28::text[], \
     $29::text[], $30::text[], $31::bigint[], $32::bigint[], $33::bigint[], $34::bigint[], $35::bigint[], \
     $36::bytea[], $37::text[], $38::bigint[], $39::bigint[], \
     $40::text[], $41::bigint[], $42::text[]",
    ", 0, 0, 0, '', '', 0, 0",
    " on conflict do nothing returning id"
);
#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("born.insert", INSERT.one()),
    ("born.insert_many", INSERT.many()),
];

impl Inner {
    pub(super) fn born(new: &NewRequest, reason: Option<Suppression>) -> Held {
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
            machines_only: false,
            request: Request {
                desk: new.desk,
                id: new.id,
                channel: new.channel.clone(),
                sender: new.sender.clone(),
                contact: new.contact.clone(),
                conversation: new.conversation.clone(),
                resolution: new.resolution.clone(),
                attribution: new.attribution.clone(),
                wording: new.wording.clone(),
                mail: new.mail.clone(),
                metadata: new.metadata.clone(),
                state,
                reason,
                history,
                context: new.context,
                due_at: new.due_at,
                planned_at: new.planned_at,
                expires_at: new.expires_at,
                delivery,
                attempts,
                delivery_code: String::new(),
            },
        }
    }

    /// The row of a new request.
    pub(super) fn row(prepared: &Prepared, held: &Held) -> Result<Vec<Owned>, StoreError> {
        let new = &prepared.new;
        let request = &held.request;
        let about = &request.attribution;
        let contact_hash = prepared.person_hash.unwrap_or(prepared.address_hash);
        // A duplicate does not stand for the resolution: the first one does.
        let slot = match request.reason {
            Some(Suppression::Duplicate) => free_slot(request.id),
            _ => request.resolution.clone(),
        };
        let context = if request.context == Context::default() {
            String::new()
        } else {
            serde_json::to_string(&request.context)
                .map_err(|error| StoreError::Corrupt(error.to_string()))?
        };
        let int = Value::Int;
        Ok(owned(&[
            Value::Id(request.desk.uuid()),
            Value::Id(request.id.uuid()),
            Value::Text(request.channel.as_str()),
            Value::Text(&request.sender),
            Value::Bytes(&prepared.pair_key),
            int(i64::from(held.listening)),
            int(held.listen_until.as_millis()),
            Value::Bytes(&prepared.address_hash),
            Value::Bytes(&contact_hash),
            Value::Bytes(&prepared.contact),
            Value::Text(&request.conversation),
            Value::Text(&request.resolution),
            Value::Text(&slot),
            Value::Bytes(&prepared.idempotency_key),
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
            Value::Text(&prepared.mail),
            Value::Text(&prepared.metadata),
            Value::Text(request.state.as_str()),
            Value::Text(reason_word(request.reason)),
            int(request.history.created_at.as_millis()),
            int(request.due_at.as_millis()),
            int(request.expires_at.as_millis()),
            int(request.history.sent_at.map_or(0, Timestamp::as_millis)),
            int(request.history.ended_at.map_or(0, Timestamp::as_millis)),
            Value::Bytes(new.link.as_ref().map_or(&[], |hash| &hash.0[..])),
            Value::Text(request.delivery.as_str()),
            int(request.attempts),
            int(held.next_at.as_millis()),
            Value::Text(&context),
            int(request.planned_at.map_or(0, Timestamp::as_millis)),
            Value::Text(&new.wording),
        ]))
    }
}

/// The event that a request begins with, and the states that it enters by it.
pub(super) const fn beginning(state: State) -> (EventKind, i64) {
    match state {
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
    }
}
