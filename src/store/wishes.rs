//! Wishes beside a request that listens: under the desk's own id of a person, so that they hold for all addresses of that person,
//! and between two addresses where nobody waits for a reply any more.

use async_trait::async_trait;

use super::dialect::{Sql, Value};
use super::row::{self, request_columns};
use super::sql::{Inner, SqlStore};
use super::tx::Tx;
use super::{Pair, Replied, Speaker, StoreError};
use crate::domain::contact::{AddressKind, Contact};
use crate::domain::event::EventKind;
use crate::domain::id::DeskId;
use crate::domain::opt_out::Origin;
use crate::domain::reply::{Effect, Understood};
use crate::domain::request::Request;
use crate::domain::time::Timestamp;

const HOLD: Sql = Sql::both(
    "insert into person_opt_outs (desk_id, contact_hash, address_hash, at) values ($1, $2, $3, $4) \
     on conflict (desk_id, contact_hash, address_hash) do update set \
     at = case when excluded.at > person_opt_outs.at then excluded.at else person_opt_outs.at end",
);
/// What was said at an address, to a desk or to every desk.
const LIFT_AT_DESK: Sql =
    Sql::both("delete from person_opt_outs where address_hash = $1 and desk_id = $2 and at <= $3");
const LIFT_AT: Sql = Sql::both("delete from person_opt_outs where address_hash = $1 and at <= $2");
/// What a person said at any address.
const LIFT_OF: Sql =
    Sql::both("delete from person_opt_outs where desk_id = $1 and contact_hash = $2 and at <= $3");
/// Fails where the contact's wish between two addresses is held already.
const FIRST: Sql = Sql::each(
    "insert into opt_outs (desk_id, channel, address_hash, origin, at, contact) values ($1, $2, $3, $4, $5, x'') \
     on conflict do nothing",
    "insert into opt_outs (desk_id, channel, address_hash, origin, at, contact) values ($1, $2, $3, $4, $5, '\\x') \
     on conflict do nothing",
);

/// The newest ask between two addresses that may have arrived. Between telephone numbers any desk may have asked, so each is looked at
/// by its own index: desks are few, and so is what nobody waits for. SQLite would rather read all requests of each desk.
macro_rules! last_asked {
    ($index:literal $pairs:literal) => {
        concat!(
            "select ",
            request_columns!(),
            ", desks.name as desk_name, desks.settings as settings from desks cross join requests ",
            $index,
            "where requests.desk_id = desks.id and requests.address_hash = $1 \
             and requests.pair_key ",
            $pairs,
            " and (requests.sent_at > 0 or (requests.attempts > 0 and requests.state <> 'failed')) \
             order by requests.due_at desc, requests.id desc limit 1"
        )
    };
}

const LAST_ASKED: Sql = Sql::each(
    last_asked!("indexed by requests_address " "in (select unhex(value) from json_each($2))"),
    last_asked!("" "= any($2::bytea[])"),
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("wishes.hold", HOLD),
    ("wishes.lift_at_desk", LIFT_AT_DESK),
    ("wishes.lift_at", LIFT_AT),
    ("wishes.lift_of", LIFT_OF),
    ("wishes.first", FIRST),
    ("wishes.last_asked", LAST_ASKED),
];

/// A wish that no request waits for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Between whom, under each of our names: the same two addresses in all.
    pub pairs: Vec<Pair>,
    /// STOP, START or HELP; anything else is no wish.
    pub understood: Understood,
    /// When it was said.
    pub said_at: Timestamp,
    /// When we heard it.
    pub now: Timestamp,
}

/// What is said where nobody waits for it.
#[async_trait]
pub trait Wishes: Send + Sync {
    /// The newest ask between two addresses that may have arrived, whichever desk's.
    async fn last_asked(&self, pairs: &[Pair]) -> Result<Option<Request>, StoreError>;
    /// Hears a wish that no request waits for. What it did, for the newest ask between the two addresses and its desk; `None` if there
    /// is nobody to answer for: the wish is held all the same.
    async fn hear(&self, wish: &Wish) -> Result<Option<Replied>, StoreError>;
}

#[async_trait]
impl Wishes for SqlStore {
    async fn last_asked(&self, pairs: &[Pair]) -> Result<Option<Request>, StoreError> {
        let mut tx = self.inner.database.snapshot().await?;
        let asked = self.inner.last_asked(&mut tx, pairs).await?;
        tx.commit().await?;
        Ok(asked.map(|(request, _)| request))
    }

    async fn hear(&self, wish: &Wish) -> Result<Option<Replied>, StoreError> {
        self.inner.hear(wish).await
    }
}

impl Inner {
    async fn last_asked(
        &self,
        tx: &mut Tx,
        pairs: &[Pair],
    ) -> Result<Option<(Request, Speaker)>, StoreError> {
        let Some(first) = pairs.first() else {
            return Ok(None);
        };
        let hash = self.address_hash(&first.theirs);
        let keys: Vec<[u8; 16]> = pairs.iter().map(|pair| self.pair_key(pair, None)).collect();
        let row = tx
            .row(LAST_ASKED, &[Value::Bytes(&hash), Value::Set(&keys)])
            .await?;
        let Some(row) = row else { return Ok(None) };
        let request = row::readable(row.id("id")?, row::request(&row, &self.keys))?;
        let Some(request) = request else {
            return Ok(None);
        };
        let speaker = self.speaker(&row, request.desk)?;
        Ok(Some((request, speaker)))
    }

    async fn hear(&self, wish: &Wish) -> Result<Option<Replied>, StoreError> {
        let mut tx = self.database.begin().await?;
        let (asked, desk) = self.last_asked(&mut tx, &wish.pairs).await?.unzip();
        let effect = match wish.understood {
            Understood::Stop => {
                let first = self.hold_between(&mut tx, wish, asked.as_ref()).await?;
                first.then_some((Effect::OptedOut, EventKind::ContactOptedOut))
            }
            Understood::Start => {
                let lifted = self.lift_between(&mut tx, wish, asked.as_ref()).await?;
                lifted.then_some((Effect::OptedIn, EventKind::ContactOptedIn))
            }
            Understood::Help
            | Understood::Reaction
            | Understood::Rating(..)
            | Understood::Words(_) => None,
        };
        if let (Some(request), Some((_, kind))) = (&asked, &effect) {
            self.emit(&mut tx, request, *kind, 0, wish.now);
        }
        tx.commit().await?;
        let effect = match effect {
            Some((effect, _)) => effect,
            None if wish.understood == Understood::Help => Effect::Helped,
            None => Effect::Nothing,
        };
        Ok(asked.zip(desk).map(|(request, desk)| Replied {
            request,
            repeated: effect == Effect::Nothing,
            effect,
            rating: None,
            unclear_before: false,
            desk,
        }))
    }

    /// Holds what was said between two addresses, for every desk; whether the contact had not said so before.
    async fn hold_between(
        &self,
        tx: &mut Tx,
        wish: &Wish,
        asked: Option<&Request>,
    ) -> Result<bool, StoreError> {
        let Some(pair) = wish.pairs.first() else {
            return Ok(false);
        };
        let (hash, nobody) = (self.address_hash(&pair.theirs), uuid::Uuid::nil());
        let every = DeskId::from_uuid(nobody);
        let desk = asked.map_or(every, |request| request.desk);
        let held = self.has_wished(tx, desk, &hash).await?;
        let values = [
            Value::Id(nobody),
            Value::Text(pair.channel.as_str()),
            Value::Bytes(&hash),
            Value::Text(Origin::Reply.as_str()),
            Value::Int(wish.said_at.as_millis()),
        ];
        // Of two that are heard at once, the second waits here and is not the first.
        let first = tx.execute(FIRST, &values).await? == 1 && !held;
        let (channel, theirs) = (&pair.channel, &pair.theirs);
        self.put_opt_out(tx, every, channel, theirs, Origin::Reply, wish.said_at)
            .await?;
        if let Some(request) = asked {
            self.hold_person(tx, request, wish.said_at).await?;
        }
        Ok(first)
    }

    /// Takes back what was said between two addresses; whether there was something.
    async fn lift_between(
        &self,
        tx: &mut Tx,
        wish: &Wish,
        asked: Option<&Request>,
    ) -> Result<bool, StoreError> {
        match (asked, wish.pairs.first()) {
            (Some(request), _) => {
                self.take_back(tx, request, true, wish.said_at, wish.now)
                    .await
            }
            (None, Some(pair)) => {
                let nobody = (DeskId::from_uuid(uuid::Uuid::nil()), true);
                self.lift_said_at(tx, nobody, &self.address_hash(&pair.theirs), wish.said_at)
                    .await?;
                self.drop_opt_outs(tx, nobody, &pair.theirs, wish.said_at, wish.now)
                    .await
            }
            (None, None) => Ok(false),
        }
    }

    /// The key of a person under the desk's own id, if it gave one and the person is known.
    pub(super) fn person_hash(&self, contact: &Contact) -> Option<[u8; 16]> {
        let known = !contact.id.is_empty() && contact.known_at().kind() != AddressKind::None;
        known.then(|| self.contact_hash(contact))
    }

    /// The key under which the desk's own id of a contact is found again.
    pub(super) fn contact_hash(&self, contact: &Contact) -> [u8; 16] {
        self.keys.lookup(&[b"contact", contact.id.as_bytes()])
    }

    /// Holds a contact's wish under the desk's id of the person too.
    pub(super) async fn hold_person(
        &self,
        tx: &mut Tx,
        request: &Request,
        said_at: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(person) = self.person_hash(&request.contact) else {
            return Ok(());
        };
        let address = self.address_hash(request.contact.known_at());
        self.hold_hashes(tx, request.desk, (&person, &address), said_at)
            .await
    }

    pub(super) async fn hold_hashes(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        (person, address): (&[u8], &[u8]),
        said_at: Timestamp,
    ) -> Result<(), StoreError> {
        let values = [
            Value::Id(desk.uuid()),
            Value::Bytes(person),
            Value::Bytes(address),
            Value::Int(said_at.as_millis()),
        ];
        tx.execute(HOLD, &values).await?;
        Ok(())
    }

    /// Takes back what the contact of a request said: at this address (with `between`, to whichever desk), and at any other under the
    /// desk's id of the person. Whether anything of it held for the request's desk.
    pub(super) async fn take_back(
        &self,
        tx: &mut Tx,
        request: &Request,
        between: bool,
        said_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let address = request.contact.known_at();
        let mut persons = 0;
        if let Some(person) = self.person_hash(&request.contact) {
            let values = [
                Value::Id(request.desk.uuid()),
                Value::Bytes(&person),
                Value::Int(said_at.as_millis()),
            ];
            persons = tx.execute(LIFT_OF, &values).await?;
        }
        let to = (request.desk, between);
        self.lift_said_at(tx, to, &self.address_hash(address), said_at)
            .await?;
        let lifted = self.drop_opt_outs(tx, to, address, said_at, now).await?;
        Ok(lifted || persons > 0)
    }

    pub(super) async fn lift_said_at(
        &self,
        tx: &mut Tx,
        (desk, between): (DeskId, bool),
        address: &[u8; 16],
        said_at: Timestamp,
    ) -> Result<(), StoreError> {
        let (address, at) = (Value::Bytes(address), Value::Int(said_at.as_millis()));
        if between {
            tx.execute(LIFT_AT, &[address, at]).await?;
        } else {
            let desk = Value::Id(desk.uuid());
            tx.execute(LIFT_AT_DESK, &[address, desk, at]).await?;
        }
        Ok(())
    }
}
