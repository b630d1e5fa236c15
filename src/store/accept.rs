//! A trigger becomes a request: idempotency, decision, row and event in one transaction.

use std::collections::HashSet;

use super::born::{self, beginning};
use super::bulk::{Insert, four, insert, owned, rows};
use super::dialect::{Sql, Value};
use super::lock::Held;
use super::past;
use super::prepared::Prepared;
use super::sql::Inner;
use super::tx::Tx;
use super::{Accepted, Carriage, StoreError};
use crate::domain::delivery::AttemptState;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::policy::{Known, Past, Who, decide};
use crate::domain::request::State;

/// Not empty: the condition of the index, as a text, so that it is used whatever the values are.
const BY_KEY: Sql = Sql::each(
    "select id, fingerprint from requests where desk_id = $1 and idempotency_key = $2 and idempotency_key <> x''",
    "select id, fingerprint from requests where desk_id = $1 and idempotency_key = $2 and idempotency_key <> '\\x'",
);
const BY_RESOLUTION: Sql = Sql::both(
    "select id, fingerprint, state from requests where desk_id = $1 and conversation = $2 and slot = $3",
);
const BY_PAIR: Sql =
    Sql::both("select desk_id, id, state from requests where pair_key = $1 and listening = 1");
const HANG_UP: Sql = Sql::both("update requests set listening = 0 where desk_id = $1 and id = $2");
pub(super) const ATTEMPT: Insert = insert!(
    "attempts (desk_id, request_id, n, token_hash, provider, provider_id, state, started_at, \
     ended_at, body_hash, send_at, check_at, code, looks, absent, absent_since)",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, 0, 0)",
    "$1::uuid[], $2::uuid[], $3::bigint[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::bigint[], \
     $9::bigint[], $10::bytea[], $11::bigint[], $12::bigint[]",
    ", '', 0, 0, 0",
    ""
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("accept.by_key", BY_KEY),
    ("accept.by_resolution", BY_RESOLUTION),
    ("accept.by_pair", BY_PAIR),
    ("accept.hang_up", HANG_UP),
    ("accept.attempt", ATTEMPT.one()),
    ("accept.attempt_many", ATTEMPT.many()),
];

impl Inner {
    /// Accepts in one statement those triggers of a batch that nothing stands against: no earlier one with the same key or
    /// resolution, and nobody who holds the pair of addresses. The unique indexes tell; the others are left for
    /// [`Self::accept`], which looks at each. `None` where a trigger was left.
    pub(super) async fn accept_fresh(
        &self,
        tx: &mut Tx,
        news: &[&Prepared],
    ) -> Result<Vec<Option<Accepted>>, StoreError> {
        let alone = decided_alone(news);
        let news: Vec<&Prepared> = news
            .iter()
            .zip(&alone)
            .filter(|(_, alone)| !**alone)
            .map(|(new, _)| *new)
            .collect();
        let opted_out = self.opted_out_of(tx, &news).await?;
        let asks = self.asks_of_all(tx, &news).await?;
        let mut born = Vec::with_capacity(news.len());
        let mut rows = Vec::with_capacity(news.len());
        for ((prepared, opted_out), asks) in news.iter().zip(opted_out).zip(asks) {
            let new = &prepared.new;
            let known = Known {
                opted_out,
                asks,
                ..Known::default()
            };
            let decision = decide(&new.rules, &new.given, &known, new.due_at);
            let held = Self::born(new, decision.reason());
            rows.push(Self::row(prepared, &held)?);
            born.push(held);
        }
        let inserted: HashSet<uuid::Uuid> = tx
            .insert_new(born::INSERT, rows)
            .await?
            .into_iter()
            .collect();
        let mut accepted = Vec::with_capacity(alone.len());
        let mut born = news.into_iter().zip(born);
        for alone in alone {
            let Some((prepared, held)) = (if alone { None } else { born.next() }) else {
                accepted.push(None);
                continue;
            };
            let new = &prepared.new;
            if inserted.contains(&new.id.uuid()) {
                let (kind, entered) = beginning(held.request.state);
                self.emit(tx, &held.request, kind, entered, new.now);
                accepted.push(Some(Accepted::New(Box::new(held.request))));
            } else {
                accepted.push(None);
            }
        }
        Ok(accepted)
    }

    /// The other asks of each trigger's contact, as far as its rules look at them.
    async fn asks_of_all(
        &self,
        tx: &mut Tx,
        news: &[&Prepared],
    ) -> Result<Vec<Vec<Past>>, StoreError> {
        let who: Vec<Option<Who>> = news
            .iter()
            .map(|prepared| {
                let needed = prepared.new.rules.need_asks();
                needed.then(|| prepared.who())
            })
            .collect();
        let keys: Vec<Who> = who.iter().flatten().copied().collect();
        let reach = |prepared: &&Prepared| {
            let new = &prepared.new;
            new.due_at.plus_millis(-new.rules.reach_ms())
        };
        let since = news.iter().map(reach).min().unwrap_or_default();
        let asks = self.asks(tx, &keys, since).await?;
        Ok(news
            .iter()
            .zip(who)
            .map(|(prepared, who)| {
                who.map_or_else(Vec::new, |who| past::of(&asks, who, prepared.new.id))
            })
            .collect())
    }

    pub(super) async fn accept(
        &self,
        tx: &mut Tx,
        prepared: &Prepared,
    ) -> Result<Accepted, StoreError> {
        let new = &prepared.new;
        let desk = Value::Id(new.desk.uuid());
        let key = &prepared.idempotency_key;
        if !key.is_empty() {
            let values = [desk, Value::Bytes(key)];
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

        let mut answered = None;
        let pair = [Value::Bytes(&prepared.pair_key)];
        if let Some(row) = tx.row(BY_PAIR, &pair).await? {
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
        known.opted_out = self
            .opted_out(tx, (new.desk, &new.channel), &new.contact)
            .await?;

        let who = prepared.who();
        known.asks = self
            .asks_of(tx, &new.rules, who, new.id, new.due_at, None)
            .await?;

        let mut decision = decide(&new.rules, &new.given, &known, new.due_at);
        // Counted last: what is not asked for another reason takes nobody's place.
        if decision.reason().is_none() && !self.count_ask(tx, new).await? {
            known.desk_full = true;
            decision = decide(&new.rules, &new.given, &known, new.due_at);
        }
        if new.dry_run {
            return Ok(Accepted::Considered(decision));
        }
        let reason = decision.reason();
        if let Some(id) = gives_way {
            self.release_slot(tx, new.desk, id).await?;
        }
        if let (Some((desk, id)), None) = (answered, reason) {
            tx.execute(HANG_UP, &[Value::Id(desk.uuid()), Value::Id(id.uuid())])
                .await?;
        }
        let held = Self::born(new, reason);
        Self::insert(tx, prepared, &held).await?;
        if let Carriage::Call { attempt, provider } = &new.carriage {
            let values = [
                desk,
                Value::Id(new.id.uuid()),
                Value::Int(1),
                Value::Bytes(&attempt.0),
                Value::Text(provider),
                Value::Text(new.contact.address.expose()),
                Value::Text(AttemptState::Accepted.as_str()),
                Value::Int(new.now.as_millis()),
                Value::Int(new.now.as_millis()),
                Value::Bytes(b""),
                Value::Int(0),
                Value::Int(0),
            ];
            tx.pending.attempts.push(owned(&values));
        }
        let (kind, entered) = beginning(held.request.state);
        self.emit(tx, &held.request, kind, entered, new.now);
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

    async fn insert(tx: &mut Tx, prepared: &Prepared, held: &Held) -> Result<(), StoreError> {
        let row = Self::row(prepared, held)?;
        let inserted = tx.insert_new(born::INSERT, vec![row]).await?;
        // Somebody else was faster since we looked: look again.
        if inserted.is_empty() {
            Err(StoreError::Conflict)
        } else {
            Ok(())
        }
    }
}

/// Which triggers of a batch are left for one by one: those about a contact of whom an earlier one of the batch is, if their
/// rules look at other asks, so that both cannot pass a cap; and those whose desk counts the asks of the day.
fn decided_alone(news: &[&Prepared]) -> Vec<bool> {
    let mut seen = HashSet::new();
    news.iter()
        .map(|prepared| {
            if prepared.new.rules.daily_cap > 0 {
                return true;
            }
            if !prepared.new.rules.need_asks() {
                return false;
            }
            let who = prepared.who();
            let keys = [Some(who.address), who.person];
            let keys = keys.into_iter().flatten();
            // Each is noted, also when another is known already.
            keys.filter(|key| !seen.insert(*key)).count() > 0
        })
        .collect()
}
