//! Permissions to send, for a whole transaction at once: a few statements for all of them, not a few for each.
//!
//! Only what is plain goes this way: a first attempt that nothing stands against. Everything else is left untouched for
//! [`Inner::dispatch`], which looks at each. Both ways keep the same promises, and the tests of that one hold them to it: every send
//! passes here first. What is reported of them afterwards is in `sent`.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::carry::{attempt, now};
use super::claim::named;
use super::dialect::{Row, Sql, Value};
use super::opted_out::OPTED_OUT_OF;
use super::past::{self, Key};
use super::sql::Inner;
use super::tx::Tx;
use super::{Again, Dispatch, Permission, StoreError};
use crate::domain::id::DeskId;
use crate::domain::policy::{Decision, Known, Who, decide};
use crate::domain::time::Timestamp;

/// Locked in one order, so that two writers cannot wait for each other. PostgreSQL is kept from reading the index of all that is under
/// way, with all that is dead in it, by a state that is no column; so each is found by its key.
const LOCK: Sql = Sql::each(
    concat!(
        "select desk_id, id, address_hash, contact_hash, expires_at, due_at, fence from requests where ",
        named!(sqlite),
        " and delivery = 'claimed' and state = 'scheduled' and attempts = 0"
    ),
    concat!(
        "select requests.desk_id, requests.id, address_hash, contact_hash, expires_at, due_at, fence \
         from unnest($1::bytea[]) k(v) join requests on ",
        named!(postgres),
        " where requests.delivery || '' = 'claimed' and state = 'scheduled' and attempts = 0 order by requests.desk_id, requests.id for update of requests"
    ),
);

macro_rules! count_desk {
    ($now:expr) => {
        concat!(
            "insert into ceilings (desk_id, subject, day, n) values ($1, $2, ", $now, " / 86400000, $3) \
             on conflict (desk_id, subject, day) do update set n = ceilings.n + excluded.n where ceilings.n + excluded.n <= $4 returning n"
        )
    };
}

const COUNT_DESK: Sql = Sql::each(count_desk!(now!(sqlite)), count_desk!(now!(postgres)));
/// In the order of the addresses, for the same reason as above. SQLite wants the condition to tell the end of the question.
const COUNT_ADDRESSES: Sql = Sql::each(
    concat!(
        "insert into ceilings (desk_id, subject, day, n) select $1, unhex(value), ",
        now!(sqlite),
        " / 86400000, 1 from json_each($2) where true \
         on conflict (desk_id, subject, day) do update set n = ceilings.n + 1 where ceilings.n < $3 returning subject"
    ),
    concat!(
        "insert into ceilings (desk_id, subject, day, n) select $1::uuid, k.v, ",
        now!(postgres),
        " / 86400000, 1 from unnest($2::bytea[]) k(v) \
         on conflict (desk_id, subject, day) do update set n = ceilings.n + 1 where ceilings.n < $3 returning subject"
    ),
);
const DISPATCH: Sql = Sql::each(
    concat!(
        "update or fail requests set delivery = 'dispatching', attempts = 1, lease_until = ",
        now!(sqlite),
        " + $2 where ",
        named!(sqlite),
        " and delivery = 'claimed' and state = 'scheduled' and attempts = 0 and lease_until > ",
        now!(sqlite),
        " returning id"
    ),
    concat!(
        "update requests set delivery = 'dispatching', attempts = 1, lease_until = ",
        now!(postgres),
        " + $2 from unnest($1::bytea[]) k(v) where ",
        named!(postgres),
        " and requests.delivery || '' = 'claimed' and state = 'scheduled' and attempts = 0 and lease_until > ",
        now!(postgres),
        " returning requests.id"
    ),
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("sends.lock", LOCK),
    ("sends.count_desk", COUNT_DESK),
    ("sends.count_addresses", COUNT_ADDRESSES),
    ("sends.dispatch", DISPATCH),
];

/// A claimed request, as far as the permission to send it depends on it.
struct Waiting<'a> {
    at: usize,
    dispatch: &'a Dispatch,
    address: [u8; 16],
    /// A desk and its own id of the contact, or the address where it gave none.
    person: Key,
    who: Who,
    due_at: Timestamp,
}

impl Inner {
    /// Permits those sends of a transaction that nothing stands against. `None` where one was left, untouched.
    pub(super) async fn dispatch_plain(
        &self,
        tx: &mut Tx,
        all: &[&Dispatch],
    ) -> Result<Vec<Option<Permission>>, StoreError> {
        let mut permissions = vec![None; all.len()];
        if all.is_empty() {
            return Ok(permissions);
        }
        let mut waiting = self.waiting(tx, all).await?;
        self.leave_listed(tx, &mut waiting).await?;
        self.leave_undecided(tx, &mut waiting).await?;
        self.leave_over_ceilings(tx, &mut waiting).await?;
        if waiting.is_empty() {
            return Ok(permissions);
        }
        let keys: Vec<Key> = waiting.iter().map(|one| key_of(one.dispatch)).collect();
        let values = [Value::Keys(&keys), Value::Int(self.lease_ms)];
        let mut committed = HashSet::new();
        for row in tx.rows(DISPATCH, &values).await? {
            committed.insert(row.id("id")?);
        }
        for one in &waiting {
            if !committed.contains(&one.dispatch.request.uuid()) {
                // The claim ended between the look and this.
                self.uncount(tx, one.dispatch.desk, Some(&one.address))
                    .await?;
                permissions[one.at] = Some(Permission::Withdrawn);
                continue;
            }
            let row = attempt(one.dispatch, None, self.lease_ms);
            tx.pending.attempts.push(row);
            permissions[one.at] = Some(Permission::Granted { send_at: None });
        }
        Ok(permissions)
    }

    /// Locks the requests that are to be sent for the first time, as the claim left them. Of two to one address the second is left, so
    /// that it is counted after the first.
    async fn waiting<'a>(
        &self,
        tx: &mut Tx,
        all: &[&'a Dispatch],
    ) -> Result<Vec<Waiting<'a>>, StoreError> {
        let mut keys: Vec<Key> = all.iter().map(|dispatch| key_of(dispatch)).collect();
        keys.sort_unstable();
        let mut held: HashMap<Uuid, Row> = HashMap::with_capacity(all.len());
        for row in tx.rows(LOCK, &[Value::Keys(&keys)]).await? {
            held.insert(row.id("id")?, row);
        }
        let mut addresses = HashSet::new();
        let mut waiting = Vec::with_capacity(all.len());
        for (at, dispatch) in all.iter().enumerate() {
            let Some(row) = held.remove(&dispatch.request.uuid()) else {
                continue;
            };
            let expires_at = Timestamp::from_millis(row.int("expires_at")?);
            let ours = row.int("fence")? == dispatch.fence && dispatch.attempt == 1;
            // Whoever was erased has no hash.
            let Ok(address) = <[u8; 16]>::try_from(row.bytes("address_hash")?) else {
                continue;
            };
            let known = address != [0; 16];
            if !ours || !known || dispatch.now >= expires_at || !addresses.insert(address) {
                continue;
            }
            let desk = row.id("desk_id")?;
            let person = row.bytes("contact_hash")?;
            let named = person != address;
            let person = past::key(desk, &person);
            waiting.push(Waiting {
                at,
                dispatch,
                address,
                person,
                who: Who {
                    address: past::key(desk, &address),
                    person: named.then_some(person),
                },
                due_at: Timestamp::from_millis(row.int("due_at")?),
            });
        }
        Ok(waiting)
    }

    /// Leaves whoever is on any list, by the address or as a person: each of them is looked at alone.
    async fn leave_listed(
        &self,
        tx: &mut Tx,
        waiting: &mut Vec<Waiting<'_>>,
    ) -> Result<(), StoreError> {
        if waiting.is_empty() {
            return Ok(());
        }
        let hashes: Vec<[u8; 16]> = waiting.iter().map(|one| one.address).collect();
        let persons: Vec<Key> = waiting.iter().map(|one| one.person).collect();
        let values = [Value::Set(&hashes), Value::Keys(&persons)];
        for row in tx.rows(OPTED_OUT_OF, &values).await? {
            let hash = row.bytes("address_hash")?;
            waiting.retain(|one| one.address[..] != hash[..] && one.person[16..] != hash[..]);
        }
        Ok(())
    }

    /// Decides again about those that waited long, and leaves those that are not simply asked.
    async fn leave_undecided(
        &self,
        tx: &mut Tx,
        waiting: &mut Vec<Waiting<'_>>,
    ) -> Result<(), StoreError> {
        let (mut keys, mut since) = (Vec::new(), Timestamp::from_millis(i64::MAX));
        for one in waiting.iter() {
            let Some(rules) = one.dispatch.again.as_deref().map(|again| &again.rules) else {
                continue;
            };
            if rules.need_asks() {
                keys.push(one.who);
                since = since.min(one.dispatch.now.plus_millis(-rules.reach_ms()));
            }
        }
        let asks = self.asks(tx, &keys, since).await?;
        waiting.retain(|one| {
            let Some(Again { rules, given }) = one.dispatch.again.as_deref() else {
                return true;
            };
            let (now, own) = (one.dispatch.now, (one.due_at, one.dispatch.request));
            let known = Known {
                asks: past::before(&asks, rules, one.who, own, now),
                ..Known::default()
            };
            decide(rules, given, &known, now) == Decision::Ask
        });
        Ok(())
    }

    /// Counts the sends against both ceilings, the desks' first as everywhere, and leaves those that are above one; they are not
    /// counted then.
    async fn leave_over_ceilings(
        &self,
        tx: &mut Tx,
        waiting: &mut Vec<Waiting<'_>>,
    ) -> Result<(), StoreError> {
        let mut desks: BTreeMap<DeskId, i64> = BTreeMap::new();
        for one in waiting.iter() {
            *desks.entry(one.dispatch.desk).or_default() += 1;
        }
        let most = self.ceilings;
        for (desk, count) in desks {
            let values = [
                Value::Id(desk.uuid()),
                Value::Bytes(b""),
                Value::Int(count),
                Value::Int(most.desk),
            ];
            if count > most.desk || tx.row(COUNT_DESK, &values).await?.is_none() {
                waiting.retain(|one| one.dispatch.desk != desk);
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let mut hashes: Vec<[u8; 16]> = waiting.iter().map(|one| one.address).collect();
        hashes.sort_unstable();
        let values = [
            Value::Id(Uuid::nil()),
            Value::Set(&hashes),
            Value::Int(most.address),
        ];
        let mut counted = HashSet::with_capacity(hashes.len());
        for row in tx.rows(COUNT_ADDRESSES, &values).await? {
            counted.insert(row.bytes("subject")?);
        }
        let (within, over): (Vec<Waiting<'_>>, Vec<Waiting<'_>>) = std::mem::take(waiting)
            .into_iter()
            .partition(|one| counted.contains(&one.address[..]));
        for one in over {
            self.uncount(tx, one.dispatch.desk, None).await?;
        }
        *waiting = within;
        Ok(())
    }
}

fn key_of(dispatch: &Dispatch) -> Key {
    past::key(dispatch.desk.uuid(), dispatch.request.uuid().as_bytes())
}
