//! What a decision has to know of the past: the desk's other asks of a contact, and how many asks the day has had.
//!
//! The asks of a whole batch of triggers are read in one statement. A contact is the same by the address or by the desk's own id.

use std::collections::HashMap;

use uuid::Uuid;

use super::dialect::{Row, Sql, Value};
use super::row::{self, request_columns};
use super::sql::Inner;
use super::tx::Tx;
use super::{NewRequest, PastTrigger, StoreError};
use crate::domain::contact::Contact;
use crate::domain::delivery::DeliveryState;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::policy::{Past, Rules, Who};
use crate::domain::time::Timestamp;

/// Asks that were sent or wait for it. The keys are a desk and a hash in one piece: a desk asks about its own only.
macro_rules! asks {
    (sqlite $hash:literal $key:literal $more:literal) => {
        concat!(
            "select requests.desk_id, requests.id, requests.address_hash, requests.contact_hash, requests.due_at, requests.delivery \
             from json_each($", $key, ") cross join requests on requests.desk_id = unhex(substr(json_each.value, 1, 32)) \
             and requests.", $hash, " = unhex(substr(json_each.value, 33)) and requests.due_at > $3", $more,
            " where requests.state = 'scheduled' or (requests.sent_at > 0 and requests.state <> 'failed')"
        )
    };
    (postgres $hash:literal $key:literal $more:literal) => {
        concat!(
            "select requests.desk_id, requests.id, requests.address_hash, requests.contact_hash, requests.due_at, requests.delivery \
             from unnest($", $key, "::bytea[]) k(v) join requests on requests.desk_id = cast(encode(substring(k.v from 1 for 16), 'hex') as uuid) \
             and requests.", $hash, " = substring(k.v from 17) and requests.due_at > $3", $more,
            " where requests.state = 'scheduled' or (requests.sent_at > 0 and requests.state <> 'failed')"
        )
    };
}

/// The second half finds what went to other addresses of the contact. Its last condition is that of the index.
const ASKS: Sql = Sql::each(
    concat!(
        asks!(sqlite "address_hash" "1" ""),
        " union ",
        asks!(sqlite "contact_hash" "2" " and requests.contact_hash <> requests.address_hash")
    ),
    concat!(
        asks!(postgres "address_hash" "1" ""),
        " union ",
        asks!(postgres "contact_hash" "2" " and requests.contact_hash <> requests.address_hash")
    ),
);
/// Counts one more, unless the day is full: then it gives back nothing. The row stays locked until the decision is committed, so
/// the cap is exact whoever else decides.
const COUNT: Sql = Sql::both(
    "insert into asks_of_day (desk_id, day, n) values ($1, $2, 1) on conflict (desk_id, day) do update \
     set n = asks_of_day.n + 1 where asks_of_day.n < $3 returning n",
);
const COUNTED: Sql = Sql::both("select n from asks_of_day where desk_id = $1 and day = $2");
const TRIGGERS: Sql = Sql::both(concat!(
    "select ",
    request_columns!(),
    ", requests.address_hash, requests.contact_hash from requests where requests.desk_id = $1 and requests.id > $2 \
     and requests.id < $3 order by requests.id limit $4"
));
const FORGET: Sql = Sql::both("delete from asks_of_day where day < $1");

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("past.asks", ASKS),
    ("past.count", COUNT),
    ("past.counted", COUNTED),
    ("past.triggers", TRIGGERS),
    ("past.forget", FORGET),
];

/// The states of a delivery that nobody has begun.
const WAITS: [&str; 2] = [
    DeliveryState::Queued.as_str(),
    DeliveryState::Claimed.as_str(),
];

/// A desk and a hash, or whatever else is meant of it.
pub(super) type Key = [u8; 32];

/// An ask in the store.
pub(super) struct Ask {
    id: RequestId,
    address: Key,
    person: Key,
    due_at: Timestamp,
    /// Nothing was done yet to send it.
    waits: bool,
}

impl Ask {
    /// Whether it went to this contact and is not the one that is decided about.
    fn is_of(&self, who: Who, but: RequestId) -> bool {
        self.id != but && (self.address == who.address || Some(self.person) == who.person)
    }

    fn as_past(&self, who: Who) -> Past {
        Past {
            due_at: self.due_at,
            same_address: self.address == who.address,
        }
    }
}

impl Inner {
    /// The keys of a contact.
    pub(super) fn who(&self, desk: DeskId, contact: &Contact) -> Who {
        let address_hash = self.address_hash(contact.known_at());
        Who {
            address: key(desk.uuid(), &address_hash),
            person: (!contact.id.is_empty()).then(|| key(desk.uuid(), &self.contact_hash(contact))),
        }
    }

    /// The asks of these contacts that are due after `since`.
    pub(super) async fn asks(
        &self,
        tx: &mut Tx,
        who: &[Who],
        since: Timestamp,
    ) -> Result<Vec<Ask>, StoreError> {
        if who.is_empty() {
            return Ok(Vec::new());
        }
        let addresses: Vec<Key> = who.iter().map(|who| who.address).collect();
        let persons: Vec<Key> = who.iter().filter_map(|who| who.person).collect();
        let values = [
            Value::Keys(&addresses),
            Value::Keys(&persons),
            Value::Int(since.as_millis()),
        ];
        tx.rows(ASKS, &values).await?.iter().map(ask).collect()
    }

    /// The triggers of a desk between `last` and `end`, in the order in which they came, with the asks of their contacts that are
    /// older than `first`. Read beside everything that is written.
    pub(super) async fn past_triggers(
        &self,
        desk: DeskId,
        (first, last, end): (Uuid, Uuid, Uuid),
        limit: usize,
        reach_ms: i64,
    ) -> Result<Vec<PastTrigger>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(last),
            Value::Id(end),
            Value::Int(limit),
        ];
        let mut triggers = Vec::new();
        for row in self.database.rows(TRIGGERS, &values).await? {
            let request = row::request(&row, &self.keys);
            let Some(request) = row::readable(row.id("id")?, request)? else {
                continue;
            };
            let who = Who {
                address: key(desk.uuid(), &row.bytes("address_hash")?),
                person: Some(key(desk.uuid(), &row.bytes("contact_hash")?)),
            };
            triggers.push(PastTrigger {
                request,
                who,
                earlier: Vec::new(),
            });
        }
        // Whoever is forgotten has no hash, so nothing tells these contacts apart: none has asks of its own.
        let known = |key: &Key| key[16..] != [0; 16];
        let addresses = triggers.iter().map(|past| past.who.address);
        let addresses: Vec<Key> = addresses.filter(known).collect();
        let persons = triggers.iter().filter_map(|past| past.who.person);
        let persons: Vec<Key> = persons.filter(known).collect();
        let due = triggers.iter().map(|past| past.request.due_at).min();
        let since = due.unwrap_or_default().plus_millis(-reach_ms);
        let values = [
            Value::Keys(&addresses),
            Value::Keys(&persons),
            Value::Int(since.as_millis()),
        ];
        let rows = if reach_ms > 0 {
            self.database.rows(ASKS, &values).await?
        } else {
            Vec::new()
        };
        let mut asks: Vec<Ask> = rows.iter().map(ask).collect::<Result<_, _>>()?;
        asks.retain(|ask| ask.id.uuid() <= first);
        let mut by_key: HashMap<Key, Vec<&Ask>> = HashMap::new();
        for ask in &asks {
            by_key.entry(ask.address).or_default().push(ask);
            if ask.person[16..] != ask.address[16..] {
                by_key.entry(ask.person).or_default().push(ask);
            }
        }
        for past in &mut triggers {
            let who = past.who;
            let own = by_key.get(&who.address).into_iter().flatten();
            let others = who.person.and_then(|person| by_key.get(&person));
            let others = others.into_iter().flatten();
            let others = others.filter(|ask| ask.address != who.address);
            past.earlier = own.chain(others).map(|ask| ask.as_past(who)).collect();
        }
        Ok(triggers)
    }

    /// The asks of one contact, without the request itself, as the rules look at them. `waits`: the request itself has waited, and was
    /// due then.
    pub(super) async fn asks_of(
        &self,
        tx: &mut Tx,
        rules: &Rules,
        who: Who,
        but: RequestId,
        due_at: Timestamp,
        waits: Option<Timestamp>,
    ) -> Result<Vec<Past>, StoreError> {
        if !rules.need_asks() {
            return Ok(Vec::new());
        }
        let since = due_at.plus_millis(-rules.reach_ms());
        let asks = self.asks(tx, &[who], since).await?;
        Ok(match waits {
            Some(own) => before(&asks, rules, who, (own, but), due_at),
            None => of(&asks, who, but),
        })
    }

    /// Counts one more ask on the day of a desk; whether there was room for it. A desk without a cap has no row.
    pub(super) async fn count_ask(
        &self,
        tx: &mut Tx,
        new: &NewRequest,
    ) -> Result<bool, StoreError> {
        if new.rules.daily_cap == 0 {
            return Ok(true);
        }
        let (desk, day) = (Value::Id(new.desk.uuid()), Value::Int(new.day));
        let cap = i64::from(new.rules.daily_cap);
        if new.dry_run {
            let row = tx.row(COUNTED, &[desk, day]).await?;
            return Ok(row.map_or(Ok(0), |row| row.int("n"))? < cap);
        }
        let counted = tx.row(COUNT, &[desk, day, Value::Int(cap)]).await?;
        Ok(counted.is_some())
    }

    /// Forgets the counts of days that are over everywhere.
    pub(super) async fn forget_days(&self, tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
        let day = now.as_millis().div_euclid(86_400_000) - 2;
        tx.execute(FORGET, &[Value::Int(day)]).await
    }
}

/// What of these asks stands before one that has waited: when it was due and which it is. Of two that wait for one person the
/// earlier goes first, so that they do not stop each other.
pub(super) fn before(
    asks: &[Ask],
    rules: &Rules,
    who: Who,
    (own, but): (Timestamp, RequestId),
    now: Timestamp,
) -> Vec<Past> {
    if !rules.need_asks() {
        return Vec::new();
    }
    let since = now.plus_millis(-rules.reach_ms());
    asks.iter()
        .filter(|ask| ask.due_at > since)
        .filter(|ask| !ask.waits || (ask.due_at, ask.id.uuid()) < (own, but.uuid()))
        .filter(|ask| ask.is_of(who, but))
        .map(|ask| ask.as_past(who))
        .collect()
}

/// What of these asks went to a contact.
pub(super) fn of(asks: &[Ask], who: Who, but: RequestId) -> Vec<Past> {
    asks.iter()
        .filter(|ask| ask.is_of(who, but))
        .map(|ask| ask.as_past(who))
        .collect()
}

fn ask(row: &Row) -> Result<Ask, StoreError> {
    let desk = row.id("desk_id")?;
    Ok(Ask {
        id: RequestId::from_uuid(row.id("id")?),
        address: key(desk, &row.bytes("address_hash")?),
        person: key(desk, &row.bytes("contact_hash")?),
        due_at: Timestamp::from_millis(row.int("due_at")?),
        waits: WAITS.contains(&row.text("delivery")?.as_str()),
    })
}

/// A desk and a hash in one piece.
pub(super) fn key(desk: Uuid, hash: &[u8]) -> Key {
    let mut key = [0; 32];
    key[..16].copy_from_slice(desk.as_bytes());
    let length = hash.len().min(16);
    key[16..16 + length].copy_from_slice(&hash[..length]);
    key
}
