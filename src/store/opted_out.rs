//! Whether a contact does not want to be asked: at an address, or as the person whom a desk knows by an id of its own.

use std::collections::HashSet;

use super::dialect::{Sql, Value};
use super::prepared::Prepared;
use super::sql::Inner;
use super::tx::Tx;
use super::{NewRequest, StoreError};
use crate::domain::contact::Contact;
use crate::domain::id::DeskId;
use crate::domain::opt_out::{EVERY_CHANNEL, Origin};
use crate::domain::request::Channel;

/// What the contact said holds on every channel and for the person; what the desk said, on the channel that it named.
const OPTED_OUT: Sql = Sql::both(
    "select 1 as n from opt_outs where address_hash = $1 and desk_id in ($2, $3) \
     and (channel in ('*', $4) or origin not in ('api', 'import')) \
     union all select 1 as n from person_opt_outs where desk_id = $2 and contact_hash = $5",
);
/// The keys of persons are a desk and a hash in one piece.
pub(super) const OPTED_OUT_OF: Sql = Sql::each(
    "select address_hash, desk_id, channel, origin from opt_outs where address_hash in (select unhex(value) from json_each($1)) \
     union all select person_opt_outs.contact_hash, person_opt_outs.desk_id, '*', 'reply' from json_each($2) \
     cross join person_opt_outs where person_opt_outs.desk_id = unhex(substr(json_each.value, 1, 32)) \
     and person_opt_outs.contact_hash = unhex(substr(json_each.value, 33))",
    "select address_hash, desk_id, channel, origin from opt_outs where address_hash = any($1::bytea[]) \
     union all select p.contact_hash, p.desk_id, '*', 'reply' from unnest($2::bytea[]) k(v) \
     join person_opt_outs p on p.desk_id = cast(encode(substring(k.v from 1 for 16), 'hex') as uuid) \
     and p.contact_hash = substring(k.v from 17)",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] =
    &[("opted_out.one", OPTED_OUT), ("opted_out.of", OPTED_OUT_OF)];

impl Inner {
    /// Which of the triggers' contacts opted out.
    pub(super) async fn opted_out_of(
        &self,
        tx: &mut Tx,
        news: &[&Prepared],
    ) -> Result<Vec<bool>, StoreError> {
        let hashes: Vec<[u8; 16]> = news.iter().map(|new| new.address_hash).collect();
        let persons: Vec<Option<[u8; 32]>> = news.iter().map(|new| new.wisher()).collect();
        let keys: Vec<[u8; 32]> = persons.iter().flatten().copied().collect();
        let values = [Value::Set(&hashes), Value::Keys(&keys)];
        let mut listed = HashSet::new();
        for row in tx.rows(OPTED_OUT_OF, &values).await? {
            let (channel, origin) = (row.text("channel")?, row.text("origin")?);
            let narrow = channel != EVERY_CHANNEL.as_str()
                && Origin::parse(&origin).is_some_and(|origin| !origin.is_contacts());
            listed.insert((
                row.bytes("address_hash")?,
                row.id("desk_id")?,
                narrow.then_some(channel),
            ));
        }
        let on_list = |hash: &[u8], desk, new: &NewRequest| {
            let channel = Some(new.channel.as_str().to_owned());
            listed.contains(&(hash.to_vec(), desk, None))
                || listed.contains(&(hash.to_vec(), desk, channel))
        };
        let nil = uuid::Uuid::nil();
        Ok(news
            .iter()
            .zip(&hashes)
            .zip(&persons)
            .map(|((prepared, hash), person)| {
                let new = &prepared.new;
                let own = |hash: &[u8]| on_list(hash, new.desk.uuid(), new);
                !listed.is_empty()
                    && (own(hash)
                        || on_list(hash, nil, new)
                        || person.is_some_and(|key| own(&key[16..])))
            })
            .collect())
    }

    /// Whether a contact opted out: at this address, or as the person whom the desk knows.
    pub(super) async fn opted_out(
        &self,
        tx: &mut Tx,
        (desk, channel): (DeskId, &Channel),
        contact: &Contact,
    ) -> Result<bool, StoreError> {
        let hash = self.address_hash(contact.known_at());
        let person = self.person_hash(contact);
        let values = [
            Value::Bytes(&hash),
            Value::Id(desk.uuid()),
            Value::Id(uuid::Uuid::nil()),
            Value::Text(channel.as_str()),
            Value::Bytes(person.as_ref().map_or(&[], |person| &person[..])),
        ];
        Ok(tx.row(OPTED_OUT, &values).await?.is_some())
    }
}
