//! A desk's list of who does not want to be asked.
//!
//! Desks are walls: a wish that holds for every desk is shown to a desk only if one of its own requests has that address, and the
//! address is then read from that request.

use super::{Lifted, OptOutCursor, OptOutPage};
use crate::domain::contact::Address;
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::opt_out::{NewOptOut, OptOut, Origin};
use crate::domain::reply::{ReplyKind, Understood};
use crate::domain::request::{Channel, Request};
use crate::domain::time::Timestamp;
use crate::store::dialect::{Row, Sql, Value};
use crate::store::row;
use crate::store::seal::open_opt_out;
use crate::store::sql::Inner;
use crate::store::tx::Tx;
use crate::store::{NewReply, StoreError};

const OWN: Sql = Sql::both(
    "select channel, address_hash, contact, origin, at from opt_outs where desk_id = $1 \
     and (channel, address_hash) > ($2, $3) order by channel, address_hash limit $4",
);

/// The newest request of the desk that has the address: its identifier and its person. `$1` is the nil desk.
macro_rules! shared {
    ($none:literal) => {
        concat!(
            "select o.channel, o.address_hash, o.origin, o.at, \
             coalesce((select r.id from requests r where r.desk_id = $5 and r.address_hash = o.address_hash \
             order by r.due_at desc, r.id desc limit 1), o.desk_id) as request_id, \
             coalesce((select r.contact from requests r where r.desk_id = $5 and r.address_hash = o.address_hash \
             order by r.due_at desc, r.id desc limit 1), ", $none, ") as contact \
             from opt_outs o where o.desk_id = $1 and (o.channel, o.address_hash) > ($2, $3) \
             order by o.channel, o.address_hash limit $4"
        )
    };
}

const SHARED: Sql = Sql::each(shared!("x''"), shared!("'\\x'"));
const OF_ADDRESS: Sql = Sql::both(
    "select desk_id, channel, contact, origin, at from opt_outs where address_hash = $1 and desk_id in ($2, $3) \
     order by desk_id desc, channel",
);
const KNOWN: Sql =
    Sql::both("select 1 as n from requests where desk_id = $1 and address_hash = $2 limit 1");
const ADD: Sql = Sql::both(
    "insert into opt_outs (desk_id, channel, address_hash, origin, at, contact) values ($1, $2, $3, $4, $5, $6) \
     on conflict do nothing",
);
/// What the contact said meanwhile stays.
const LIFT: Sql = Sql::both(
    "delete from opt_outs where desk_id = $1 and channel = $2 and address_hash = $3 and origin in ('api', 'import')",
);
/// A wish to be asked again lifts what the contact said before it, and nothing that was said since or that a desk said. What the
/// contact says holds on every channel, and so does its end.
const TAKE_BACK: Sql = Sql::both(
    "delete from opt_outs where address_hash = $1 and desk_id in ($2, $3) and at <= $4 \
     and origin not in ('api', 'import') returning desk_id, channel",
);
/// The same at every desk: between two addresses nobody can tell desks apart.
const TAKE_ALL_BACK: Sql = Sql::both(
    "delete from opt_outs where address_hash = $1 and at <= $2 \
     and origin not in ('api', 'import') returning desk_id, channel",
);
/// Whether the contact wants not to be asked, whatever the desk itself says.
const WISHED: Sql = Sql::both(
    "select 1 as n from opt_outs where address_hash = $1 and desk_id in ($2, $3) \
     and origin not in ('api', 'import') limit 1",
);

/// Wishes for every desk that one call looks through: most of them are about people whom the desk does not know.
const LOOK: i64 = 1_000;

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("opt_outs.own", OWN),
    ("opt_outs.shared", SHARED),
    ("opt_outs.of_address", OF_ADDRESS),
    ("opt_outs.known", KNOWN),
    ("opt_outs.add", ADD),
    ("opt_outs.lift", LIFT),
    ("opt_outs.wished", WISHED),
    ("opt_outs.take_back", TAKE_BACK),
    ("opt_outs.take_all_back", TAKE_ALL_BACK),
];

impl Inner {
    pub(super) async fn opt_outs(
        &self,
        desk: DeskId,
        after: Option<&OptOutCursor>,
        limit: i64,
    ) -> Result<OptOutPage, StoreError> {
        let mut items = Vec::new();
        let full = |items: &Vec<OptOut>| i64::try_from(items.len()).unwrap_or(i64::MAX) >= limit;
        let own = after.filter(|after| !after.every_desk);
        if own.is_some() || after.is_none() {
            for row in self.listed(OWN, desk, None, own, limit).await? {
                let cursor = cursor(&row, false)?;
                items.push(self.own_opt_out(&row, desk, &cursor.hash)?);
                if full(&items) {
                    let next = Some(cursor);
                    return Ok(OptOutPage { items, next });
                }
            }
        }
        let nobody = DeskId::from_uuid(uuid::Uuid::nil());
        let shared = after.filter(|after| after.every_desk);
        let rows = self
            .listed(SHARED, nobody, Some(desk), shared, LOOK)
            .await?;
        let all = i64::try_from(rows.len()).unwrap_or(i64::MAX) < LOOK;
        let mut next = None;
        for row in &rows {
            next = Some(cursor(row, true)?);
            items.extend(self.shared_opt_out(row, desk)?);
            if full(&items) {
                return Ok(OptOutPage { items, next });
            }
        }
        let next = next.filter(|_| !all);
        Ok(OptOutPage { items, next })
    }

    /// Whether a reply that was heard before is a wish made anew. A link's own page and a mail program's click have one name for
    /// ever, so that the second click after a START looks like the first. A text has a name of its own, and is only told twice.
    pub(in crate::store) async fn is_renewed(
        &self,
        tx: &mut Tx,
        request: &Request,
        new: &NewReply,
    ) -> Result<bool, StoreError> {
        if new.understood != Understood::Stop || new.reply.kind != ReplyKind::Click {
            return Ok(false);
        }
        let hash = self.address_hash(request.contact.known_at());
        Ok(!self.has_wished(tx, request.desk, &hash).await?)
    }

    /// Whether the contact with this address said to the desk, or to all, that they do not want to be asked.
    pub(in crate::store) async fn has_wished(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        hash: &[u8],
    ) -> Result<bool, StoreError> {
        let values = [
            Value::Bytes(hash),
            Value::Id(desk.uuid()),
            Value::Id(uuid::Uuid::nil()),
        ];
        Ok(tx.row(WISHED, &values).await?.is_some())
    }

    /// The contact's wish between two addresses taken back, whichever desk it was said to; whether there was one.
    pub(in crate::store) async fn opt_in(
        &self,
        address: &Address,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let hash = self.address_hash(address);
        let values = [Value::Bytes(&hash), Value::Int(at.as_millis())];
        let mut tx = self.database.begin().await?;
        let rows = tx.rows(TAKE_ALL_BACK, &values).await?;
        let every = (DeskId::from_uuid(uuid::Uuid::nil()), true);
        self.lift_said_at(&mut tx, every, &hash, at).await?;
        self.tell_lifted(&mut tx, &rows, None, now)?;
        tx.commit().await?;
        Ok(!rows.is_empty())
    }

    /// Lifts what the contact said to this desk and what counts for every desk; with `between` also what was said to others, which
    /// are told so. Whether anything of it held for this desk.
    pub(in crate::store) async fn drop_opt_outs(
        &self,
        tx: &mut Tx,
        (desk, between): (DeskId, bool),
        address: &Address,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let hash = self.address_hash(address);
        let (hash, at) = (Value::Bytes(&hash), Value::Int(at.as_millis()));
        let rows = if between {
            tx.rows(TAKE_ALL_BACK, &[hash, at]).await?
        } else {
            let (own, shared) = (Value::Id(desk.uuid()), Value::Id(uuid::Uuid::nil()));
            tx.rows(TAKE_BACK, &[hash, own, shared, at]).await?
        };
        let others = self.tell_lifted(tx, &rows, Some(desk), now)?;
        Ok(rows.len() > others)
    }

    /// Tells each desk but `teller`, which speaks for itself, that what was said to it was taken back; how many entries that were.
    fn tell_lifted(
        &self,
        tx: &mut Tx,
        rows: &[Row],
        teller: Option<DeskId>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut told = 0;
        for row in rows {
            let desk = DeskId::from_uuid(row.id("desk_id")?);
            if !desk.uuid().is_nil() && Some(desk) != teller {
                let channel = Channel::from_text(row.text("channel")?);
                self.emit_about(tx, desk, &channel, EventKind::ContactOptedIn, now);
                told += 1;
            }
        }
        Ok(told)
    }

    async fn listed(
        &self,
        sql: Sql,
        desk: DeskId,
        reader: Option<DeskId>,
        after: Option<&OptOutCursor>,
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let channel = after.map_or("", |after| after.channel.as_str());
        let hash: &[u8] = after.map_or(&[], |after| &after.hash);
        let mut values = vec![
            Value::Id(desk.uuid()),
            Value::Text(channel),
            Value::Bytes(hash),
            Value::Int(limit),
        ];
        values.extend(reader.map(|reader| Value::Id(reader.uuid())));
        self.database.rows(sql, &values).await
    }

    fn own_opt_out(&self, row: &Row, desk: DeskId, hash: &[u8; 16]) -> Result<OptOut, StoreError> {
        let listed = open_opt_out(&self.keys, desk, hash, &row.bytes("contact")?)?;
        let (address, reason) = listed.map_or((None, String::new()), |listed| {
            (Some(listed.address), listed.reason)
        });
        opt_out(row, address, reason, false)
    }

    /// `None` if the desk has no request with that address.
    fn shared_opt_out(&self, row: &Row, desk: DeskId) -> Result<Option<OptOut>, StoreError> {
        let sealed = row.bytes("contact")?;
        if sealed.is_empty() {
            return Ok(None);
        }
        let id = RequestId::from_uuid(row.id("request_id")?);
        let contact = row::contact(&self.keys, desk, id, &sealed)?;
        opt_out(row, Some(contact.known_at().clone()), String::new(), true).map(Some)
    }

    pub(super) async fn opt_outs_of(
        &self,
        desk: DeskId,
        address: &Address,
    ) -> Result<Vec<OptOut>, StoreError> {
        let hash = self.address_hash(address);
        let (own, nobody) = (Value::Id(desk.uuid()), Value::Id(uuid::Uuid::nil()));
        let values = [Value::Bytes(&hash), own, nobody];
        let rows = self.database.rows(OF_ADDRESS, &values).await?;
        let ours: Vec<bool> = rows
            .iter()
            .map(|row| Ok(row.id("desk_id")? == desk.uuid()))
            .collect::<Result<_, StoreError>>()?;
        // What holds for every desk is asked for only where there is something to show.
        let met = ours.contains(&false) && {
            let values = [own, Value::Bytes(&hash)];
            self.database.row(KNOWN, &values).await?.is_some()
        };
        let mut found = Vec::new();
        for (row, ours) in rows.iter().zip(ours) {
            if ours {
                found.push(self.own_opt_out(row, desk, &hash)?);
            } else if met {
                found.push(opt_out(row, Some(address.clone()), String::new(), true)?);
            }
        }
        Ok(found)
    }

    pub(super) async fn add_opt_outs(
        &self,
        desk: DeskId,
        new: &[NewOptOut],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut tx = self.database.begin().await?;
        let mut added = 0;
        for entry in new {
            let hash = self.address_hash(&entry.address);
            let contact = self.sealed_opt_out(desk, &hash, &entry.address, &entry.reason);
            let values = [
                Value::Id(desk.uuid()),
                Value::Text(entry.channel.as_str()),
                Value::Bytes(&hash),
                Value::Text(entry.origin.as_str()),
                Value::Int(now.as_millis()),
                Value::Bytes(&contact),
            ];
            if tx.execute(ADD, &values).await? == 1 {
                added += 1;
                self.emit_about(
                    &mut tx,
                    desk,
                    &entry.channel,
                    EventKind::ContactOptedOut,
                    now,
                );
            }
        }
        tx.commit().await?;
        Ok(added)
    }

    pub(super) async fn lift_opt_outs(
        &self,
        desk: DeskId,
        address: &Address,
        channel: Option<&Channel>,
        now: Timestamp,
    ) -> Result<Lifted, StoreError> {
        let mut found = self.opt_outs_of(desk, address).await?;
        if let Some(channel) = channel {
            // What the contact said holds on every channel.
            found.retain(|entry| entry.channel == *channel || entry.origin.is_contacts());
        }
        if found.iter().any(|entry| entry.origin.is_contacts()) {
            return Ok(Lifted::ByContact);
        }
        let hash = self.address_hash(address);
        let mut tx = self.database.begin().await?;
        let mut lifted = 0;
        for entry in &found {
            let values = [
                Value::Id(desk.uuid()),
                Value::Text(entry.channel.as_str()),
                Value::Bytes(&hash),
            ];
            if tx.execute(LIFT, &values).await? == 1 {
                lifted += 1;
                self.emit_about(
                    &mut tx,
                    desk,
                    &entry.channel,
                    EventKind::ContactOptedIn,
                    now,
                );
            }
        }
        tx.commit().await?;
        Ok(match lifted {
            0 => Lifted::Nothing,
            lifted => Lifted::Lifted(lifted),
        })
    }
}

fn opt_out(
    row: &Row,
    address: Option<Address>,
    reason: String,
    every_desk: bool,
) -> Result<OptOut, StoreError> {
    let word = row.text("origin")?;
    let origin = Origin::parse(&word)
        .ok_or_else(|| StoreError::Corrupt(format!("origin: unknown word {word:?}")))?;
    Ok(OptOut {
        channel: Channel::from_text(row.text("channel")?),
        address,
        origin,
        reason,
        at: Timestamp::from_millis(row.int("at")?),
        every_desk,
    })
}

fn cursor(row: &Row, every_desk: bool) -> Result<OptOutCursor, StoreError> {
    let hash = row.bytes("address_hash")?;
    Ok(OptOutCursor {
        every_desk,
        channel: row.text("channel")?,
        hash: hash
            .try_into()
            .map_err(|_| StoreError::Corrupt("opt_outs.address_hash: not 16 bytes".to_owned()))?,
    })
}
